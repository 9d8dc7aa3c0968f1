//! What the text of a pair is: what the tokenizer makes of two texts, what Qwen3-Reranker's authors
//! publish, or what the model's own chat template makes of it.

use super::chat::{ChatTemplate, ChatTemplateError, Roles};
use super::template::{INSTRUCTION, Template};
use crate::error::EmbedError;
use crate::model::{ChatTemplateFile, ModelFiles, ScoringHead, Settings};
use crate::tokenizer::TextTokenizer;

/// How a query and a document become one text.
#[derive(Debug)]
pub(super) enum PairText {
    /// As the tokenizer's post-processor puts them together.
    Tokenizer,
    Published {
        /// Where the caller has none.
        instruction: String,
    },
    Own {
        template: Box<ChatTemplate>,
        /// Where the caller has none; without it, what the template says.
        instruction: Option<String>,
        takes_instruction: bool,
    },
}

/// The text before a document and behind it.
pub(super) struct Around {
    /// Tokenized apart from what follows.
    pub(super) head: String,
    pub(super) prompt: String,
    pub(super) tail: String,
}

impl PairText {
    /// The form that the model's files ask for, and what of it no file says.
    pub(super) fn of(
        files: &ModelFiles,
        settings: &Settings,
        head: &ScoringHead,
        tokenizer: &TextTokenizer,
    ) -> Result<(Self, Option<String>), EmbedError> {
        if matches!(head, ScoringHead::Classifier(_)) {
            return Ok((Self::Tokenizer, None));
        }
        let prompts = &settings.prompts;
        let named = prompts.default.as_ref();
        let own = named.and_then(|name| prompts.by_name.get(name)).cloned();
        let instruction = own.filter(|prompt| !prompt.is_empty());
        let published = Self::Published {
            instruction: instruction
                .clone()
                .unwrap_or_else(|| INSTRUCTION.to_owned()),
        };
        let Some(file) = ChatTemplateFile::read(files)? else {
            return Ok((published, None));
        };
        let template = match ChatTemplate::new(file) {
            Ok(template) => template,
            Err((file, error)) => {
                return not_renderable(&file, &error).map(|guess| (published, guess));
            }
        };
        if is_published(&template) {
            return Ok((published, None));
        }
        let guess = match template.roles() {
            Roles::QueryDocument if tokenizer.stands_alone(template.tail())? => None,
            Roles::QueryDocument => Some(format!(
                "pairs: what stands behind a document in {} is tokenized apart from it",
                template.file()
            )),
            Roles::SystemUser => Some(format!(
                "pairs: by {} as a system and a user message, not as Qwen3-Reranker's authors publish it",
                template.file()
            )),
        };
        let own = Self::Own {
            takes_instruction: template.takes_instruction(),
            template: Box::new(template),
            instruction,
        };
        Ok((own, guess))
    }

    /// What the model is told to look for; `None` where it isn't told, or its template says it.
    pub(super) fn instruction<'a>(&'a self, own: Option<&'a str>) -> Option<&'a str> {
        match self {
            Self::Tokenizer => None,
            Self::Published { instruction } => Some(own.unwrap_or(instruction)),
            Self::Own {
                template,
                instruction,
                ..
            } => {
                let default = match template.roles() {
                    Roles::QueryDocument => None,
                    Roles::SystemUser => Some(INSTRUCTION),
                };
                own.or(instruction.as_deref()).or(default)
            }
        }
    }

    /// The text around each document; `None` where the tokenizer puts two texts together.
    pub(super) fn around(
        &self,
        own_instruction: Option<&str>,
        query: &str,
    ) -> Result<Option<Around>, EmbedError> {
        let instruction = self.instruction(own_instruction);
        match self {
            Self::Tokenizer => match own_instruction {
                Some(_) => Err(EmbedError::NoInstruction),
                None => Ok(None),
            },
            Self::Published { .. } => {
                let Template { head, prompt, tail } =
                    Template::new(instruction.unwrap_or_default(), query);
                let tail = tail.to_owned();
                Ok(Some(Around { head, prompt, tail }))
            }
            Self::Own {
                takes_instruction: false,
                ..
            } if own_instruction.is_some() => Err(EmbedError::NoInstruction),
            Self::Own { template, .. } => {
                let around = template.around_document(instruction, query);
                let (prompt, tail) = around.map_err(|e| unsupported(template.file(), &e))?;
                Ok(Some(Around {
                    // The template's text and the document are tokenized in one.
                    head: String::new(),
                    prompt,
                    tail,
                }))
            }
        }
    }
}

/// Whether the template is another way to write what the authors publish.
fn is_published(template: &ChatTemplate) -> bool {
    let queries = [
        ("an instruction", "a query"),
        ("other words", " in <two>\nlines "),
    ];
    queries.iter().all(|(instruction, query)| {
        let Template { head, prompt, tail } = Template::new(instruction, query);
        let own = template.around_document(Some(instruction), query);
        // Not every default is the authors'.
        let unsaid = match template.roles() {
            Roles::QueryDocument => template.around_document(None, query),
            Roles::SystemUser => template.around_document(Some(INSTRUCTION), query),
        };
        let default = Template::new(INSTRUCTION, query);
        let is = |around: Result<(String, String), _>, before: String| {
            around.is_ok_and(|(own_before, own_tail)| own_before == before && own_tail == tail)
        };
        is(own, head + &prompt) && is(unsaid, default.head + &default.prompt)
    })
}

/// A template that can't be rendered is an error where the model is known to need it, else told.
fn not_renderable(
    file: &ChatTemplateFile,
    error: &ChatTemplateError,
) -> Result<Option<String>, EmbedError> {
    if file.is_pipeline {
        return Err(unsupported(&file.file, error));
    }
    Ok(Some(format!(
        "pairs: as Qwen3-Reranker's authors publish it, not by {}, because {error}",
        file.file
    )))
}

fn unsupported(file: &str, error: &ChatTemplateError) -> EmbedError {
    EmbedError::ChatTemplate {
        file: file.to_owned(),
        message: error.to_string(),
    }
}
