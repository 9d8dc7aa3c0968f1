//! What is put before a text.

use std::collections::BTreeMap;

use crate::error::EmbedError;

/// What a text is for, and so what is put before it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Prompt {
    /// The model's default prompt (`default_prompt_name`); without one, as a document.
    #[default]
    Default,
    /// A text to be found: the model's `document` prompt, usually none.
    Document,
    /// A text to find others with: the model's `query` prompt.
    Query,
    /// A query for a task in your own words, put in place of the query prompt's.
    Instruction(String),
    /// One of the model's prompts by name.
    Named(String),
    /// Exactly this, ahead of the text.
    Literal(String),
}

/// Where a query prompt names its task: `Instruct: {task}\nQuery:`.
const TASK: &str = "Instruct: ";

/// A model's prompts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Prompts {
    pub(crate) by_name: BTreeMap<String, String>,
    /// Name of the one for texts whose role nobody named.
    pub(crate) default: Option<String>,
}

impl Prompt {
    /// The characters put before a text.
    pub(crate) fn resolve(&self, prompts: &Prompts) -> Result<String, EmbedError> {
        let by_name = &prompts.by_name;
        let named = |names: &[&str]| names.iter().find_map(|n| by_name.get(*n)).cloned();
        match self {
            Self::Default => match &prompts.default {
                Some(name) => Self::Named(name.clone()).resolve(prompts),
                None => Self::Document.resolve(prompts),
            },
            Self::Document => Ok(named(&["document", "passage"]).unwrap_or_default()),
            Self::Query => Ok(named(&["query"]).unwrap_or_default()),
            Self::Literal(text) => Ok(text.clone()),
            Self::Named(name) => named(&[name]).ok_or_else(|| EmbedError::UnknownPrompt {
                name: name.clone(),
                known: by_name.keys().cloned().collect(),
            }),
            Self::Instruction(task) => named(&["query"])
                .as_deref()
                .and_then(|query| query.strip_prefix(TASK))
                .and_then(|query| query.split_once('\n'))
                .map(|(_, rest)| format!("{TASK}{task}\n{rest}"))
                .ok_or(EmbedError::NoInstruction),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompts(pairs: &[(&str, &str)]) -> Prompts {
        let owned = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
        Prompts {
            by_name: pairs.iter().map(owned).collect(),
            default: None,
        }
    }

    #[test]
    fn an_instruction_takes_the_place_of_the_task() {
        let qwen = prompts(&[("query", "Instruct: Given a web search query\nQuery:")]);
        let resolve = |p: Prompt| p.resolve(&qwen).unwrap();
        assert_eq!(resolve(Prompt::Document), "");
        assert_eq!(
            resolve(Prompt::Query),
            "Instruct: Given a web search query\nQuery:"
        );
        assert_eq!(
            resolve(Prompt::Instruction("Find code".to_owned())),
            "Instruct: Find code\nQuery:"
        );
        assert_eq!(resolve(Prompt::Literal("> ".to_owned())), "> ");
    }

    #[test]
    fn other_families_use_their_own_prompts() {
        let e5 = prompts(&[("query", "query: "), ("passage", "passage: ")]);
        assert_eq!(Prompt::Document.resolve(&e5).unwrap(), "passage: ");
        assert_eq!(
            Prompt::Named("query".to_owned()).resolve(&e5).unwrap(),
            "query: "
        );
        assert!(matches!(
            Prompt::Instruction("x".to_owned()).resolve(&e5),
            Err(EmbedError::NoInstruction)
        ));
        let error = Prompt::Named("code".to_owned()).resolve(&e5).unwrap_err();
        assert_eq!(error.hint().unwrap(), "it has: passage, query");
    }

    #[test]
    fn the_default_prompt_is_for_texts_without_a_role() {
        let mut model = prompts(&[("query", "q: "), ("sts", "s: "), ("document", "d: ")]);
        assert_eq!(Prompt::Default.resolve(&model).unwrap(), "d: ");
        model.default = Some("sts".to_owned());
        for (prompt, text) in [
            (Prompt::default(), "s: "),
            (Prompt::Document, "d: "),
            (Prompt::Query, "q: "),
            (Prompt::Literal(String::new()), ""),
        ] {
            assert_eq!(prompt.resolve(&model).unwrap(), text, "{prompt:?}");
        }
    }
}
