//! What is put before a text.

use std::collections::BTreeMap;

use akidb_backend::choice;

use crate::error::EmbedError;

/// What a text is for, and so what is put before it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Prompt {
    /// The model's default prompt (`default_prompt_name`); without one, as a document.
    #[default]
    Default,
    /// A text to be found: the model's prompt for documents, usually none. Prompts for a role are found
    /// by their names (`document`, `passage`, `search_document`, `retrieval.passage` …);
    /// [`Provenance::prompt`](crate::Provenance::prompt) says which it is.
    Document,
    /// A text to find others with: the model's prompt for queries.
    Query,
    /// A query for a task in your own words, put in place of the query prompt's.
    Instruction(String),
    /// One of the model's prompts by name.
    Named(String),
    /// Exactly this, ahead of the text.
    Literal(String),
}

/// What a text is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// To be found.
    Document,
    /// To find others with.
    Query,
}

choice!(Role, "role",
    Document = "document": "",
    Query = "query": "",
);

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
    /// The prompt of texts of a role, with the task of queries in your own words where there is one.
    /// A task without a role is for queries.
    ///
    /// # Errors
    /// [`EmbedError::InstructionForDocuments`].
    pub fn of(role: Option<Role>, instruction: Option<String>) -> Result<Self, EmbedError> {
        match (instruction, role) {
            (Some(_), Some(Role::Document)) => Err(EmbedError::InstructionForDocuments),
            (Some(task), _) => Ok(Self::Instruction(task)),
            (None, Some(Role::Query)) => Ok(Self::Query),
            (None, Some(Role::Document)) => Ok(Self::Document),
            (None, None) => Ok(Self::Default),
        }
    }

    /// The name of the model's prompt that is meant; none where it has no such prompt, or where it is
    /// none of the model's.
    pub(crate) fn name<'a>(&self, prompts: &'a Prompts) -> Result<Option<&'a str>, EmbedError> {
        let by_name = &prompts.by_name;
        let of_role = |role: Role| Ok(role.among(by_name.keys().map(String::as_str)));
        match self {
            Self::Default => match &prompts.default {
                Some(name) => Ok(Some(name)),
                None => of_role(Role::Document),
            },
            Self::Document => of_role(Role::Document),
            Self::Query | Self::Instruction(_) => of_role(Role::Query),
            Self::Literal(_) => Ok(None),
            Self::Named(name) => match by_name.get_key_value(name) {
                Some((name, _)) => Ok(Some(name)),
                None => Err(EmbedError::UnknownPrompt {
                    name: name.clone(),
                    known: by_name.keys().cloned().collect(),
                }),
            },
        }
    }

    /// The characters put before a text.
    pub(crate) fn resolve(&self, prompts: &Prompts) -> Result<String, EmbedError> {
        let name = self.name(prompts)?;
        let of_model = name.and_then(|name| prompts.by_name.get(name)).cloned();
        let of_model = of_model.unwrap_or_default();
        match self {
            Self::Literal(text) => Ok(text.clone()),
            Self::Instruction(task) => of_model
                .strip_prefix(TASK)
                .and_then(|query| query.split_once('\n'))
                .map(|(_, rest)| format!("{TASK}{task}\n{rest}"))
                .ok_or(EmbedError::NoInstruction),
            _ => Ok(of_model),
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
    fn a_task_is_for_queries_and_a_role_may_be_left_out() {
        let task = || Some("Find code".to_owned());
        let find = Prompt::Instruction("Find code".to_owned());
        assert_eq!(Prompt::of(None, None).unwrap(), Prompt::Default);
        assert_eq!(Prompt::of(None, task()).unwrap(), find);
        assert_eq!(Prompt::of(Some(Role::Query), task()).unwrap(), find);
        assert_eq!(Prompt::of(Some(Role::Query), None).unwrap(), Prompt::Query);
        let document = Some(Role::Document);
        assert_eq!(Prompt::of(document, None).unwrap(), Prompt::Document);
        assert!(matches!(
            Prompt::of(document, task()),
            Err(EmbedError::InstructionForDocuments)
        ));
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
        let names = [Prompt::Query, Prompt::Document, Prompt::Default];
        let names = names.map(|prompt| prompt.name(&e5).unwrap().map(str::to_owned));
        assert_eq!(
            names,
            ["query", "passage", "passage"].map(|n| Some(n.to_owned()))
        );
        let jina = prompts(&[("retrieval.query", "q: "), ("retrieval.passage", "d: ")]);
        assert_eq!(Prompt::Query.resolve(&jina).unwrap(), "q: ");
        assert_eq!(Prompt::Document.resolve(&jina).unwrap(), "d: ");
        assert_eq!(Prompt::Literal("q: ".to_owned()).name(&jina).unwrap(), None);
        let error = Prompt::Named("code".to_owned()).resolve(&e5).unwrap_err();
        let hint = error.hint().unwrap();
        assert_eq!(hint.to_string(), "it has: passage, query");
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
