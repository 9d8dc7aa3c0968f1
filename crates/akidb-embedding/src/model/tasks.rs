//! Adaptations of a model to tasks, one of which a graph runs by its number.

use crate::error::EmbedError;
use crate::prompt::{Prompt, Prompts, Role};

/// As jina-embeddings-v3, the model that began this, numbers them in its `lora_adaptations`.
const PUBLISHED: [&str; 5] = [
    "retrieval.query",
    "retrieval.passage",
    "separation",
    "classification",
    "text-matching",
];

/// A model's adaptations; the place of one is its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tasks {
    names: Vec<String>,
    /// No file says what their numbers are.
    pub(super) guessed: bool,
}

impl Tasks {
    /// Those of config.json's `lora_adaptations`, else those of the published model where prompts are
    /// named as there.
    pub(super) fn of(adaptations: Option<Vec<String>>, prompts: &Prompts) -> Option<Self> {
        if let Some(names) = adaptations {
            return Some(Self {
                names,
                guessed: false,
            });
        }
        let named = |name: &&str| prompts.by_name.contains_key(*name);
        let as_published = PUBLISHED.iter().take(2).all(named);
        as_published.then(|| Self {
            names: PUBLISHED.map(str::to_owned).into(),
            guessed: true,
        })
    }

    /// Number and name of the adaptation for a prompt's texts.
    pub(super) fn for_prompt(
        &self,
        prompt: &Prompt,
        default: Option<&str>,
    ) -> Result<(u32, &str), EmbedError> {
        let of_role = |role: Role| role.among(self.names.iter().map(String::as_str));
        let wanted = match (prompt, default) {
            (Prompt::Query | Prompt::Instruction(_), _) => of_role(Role::Query),
            (Prompt::Named(name), _) => Some(name.as_str()),
            (Prompt::Default, Some(name)) => Some(name),
            _ => of_role(Role::Document),
        };
        let place = wanted.and_then(|wanted| self.names.iter().position(|name| name == wanted));
        let found = place.and_then(|at| Some((u32::try_from(at).ok()?, self.names.get(at)?)));
        match found {
            Some((number, name)) => Ok((number, name)),
            None => Err(EmbedError::Unsupported(format!(
                "the model has no adaptation for {}: it has {}",
                wanted.map_or("this role".to_owned(), |name| format!("{name:?}")),
                self.names.join(", ")
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompts(names: &[&str]) -> Prompts {
        let named = |name: &&str| ((*name).to_owned(), String::new());
        Prompts {
            by_name: names.iter().map(named).collect(),
            default: None,
        }
    }

    #[test]
    fn a_role_has_its_adaptation() {
        let names = ["sts", "retrieval.passage", "retrieval.query"];
        let names = names.map(str::to_owned).to_vec();
        let tasks = Tasks::of(Some(names), &prompts(&[])).unwrap();
        let of = |prompt: &Prompt, default| tasks.for_prompt(prompt, default);
        assert_eq!(of(&Prompt::Query, None).unwrap(), (2, "retrieval.query"));
        assert_eq!(
            of(&Prompt::Document, None).unwrap(),
            (1, "retrieval.passage")
        );
        assert_eq!(of(&Prompt::Default, None).unwrap().0, 1);
        assert_eq!(of(&Prompt::Default, Some("sts")).unwrap().0, 0);
        let named = |name: &str| Prompt::Named(name.to_owned());
        assert_eq!(of(&named("sts"), None).unwrap(), (0, "sts"));
        assert_eq!(of(&Prompt::Literal("x".to_owned()), None).unwrap().0, 1);
        let error = of(&named("code"), None).unwrap_err().to_string();
        assert!(
            error.contains("\"code\"") && error.contains("sts, "),
            "{error}"
        );
    }

    #[test]
    fn numbers_that_no_file_says_are_a_guess() {
        let published = prompts(&["retrieval.query", "retrieval.passage"]);
        let tasks = Tasks::of(None, &published).unwrap();
        assert!(tasks.guessed);
        assert_eq!(tasks.for_prompt(&Prompt::Query, None).unwrap().0, 0);
        assert_eq!(Tasks::of(None, &prompts(&["query", "passage"])), None);
    }
}
