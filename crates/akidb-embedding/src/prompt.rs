//! What is put before a text.

use std::collections::BTreeMap;

use crate::error::EmbedError;

/// What a text is for, and so what is put before it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Prompt {
    /// A text to be found: the model's `document` prompt, usually none.
    #[default]
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

impl Prompt {
    /// The characters put before a text.
    pub(crate) fn resolve(&self, prompts: &BTreeMap<String, String>) -> Result<String, EmbedError> {
        let named = |names: &[&str]| names.iter().find_map(|n| prompts.get(*n)).cloned();
        match self {
            Self::Document => Ok(named(&["document", "passage"]).unwrap_or_default()),
            Self::Query => Ok(named(&["query"]).unwrap_or_default()),
            Self::Literal(text) => Ok(text.clone()),
            Self::Named(name) => named(&[name]).ok_or_else(|| EmbedError::UnknownPrompt {
                name: name.clone(),
                known: prompts.keys().cloned().collect(),
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

    fn prompts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
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
}
