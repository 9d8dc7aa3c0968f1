//! What clients ask for.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use akidb_embedding::{OnLong, RerankOptions, Scoring};

use crate::ask::Ranking;
use crate::http::truncate::Truncate;
use crate::http::unread::Unread;
use crate::problem::{Cause, Problem};
use crate::service::{Class, EmbeddingService};

#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct RerankRequest {
    /// Which model; without it, the server's first.
    #[schema(example = "akidb-mini")]
    pub(crate) model: Option<String>,
    /// What the documents should answer.
    pub(crate) query: String,
    /// Texts, or objects with a `text`.
    pub(crate) documents: Documents,
    /// Give only so many, the best; 0 is all of them.
    pub(crate) top_n: Option<usize>,
    /// Whether the answer has the documents, too. Default: false.
    pub(crate) return_documents: Option<bool>,
    /// The fields of documents that are objects, one line each. Default: `text`.
    pub(crate) rank_fields: Option<Vec<String>>,
    /// A document is cut to so many tokens.
    #[schema(minimum = 1)]
    pub(crate) max_tokens_per_doc: Option<usize>,
    /// A pair is cut to so many tokens, the document's end first; -1 is what the model takes.
    #[schema(minimum = -1)]
    pub(crate) truncate_prompt_tokens: Option<i64>,
    /// What to do with documents that are too long (not others'). Default: true.
    pub(crate) truncate: Option<Truncate>,
    /// The task in your own words, for models that take one (not others').
    pub(crate) instruction: Option<String>,
    /// `model` or `cosine` (not others'). Default: by the model where it is a reranker.
    #[schema(value_type = Option<String>, example = "model")]
    pub(crate) scoring: Option<Scoring>,
    /// How urgent it is: 0 goes before all others. Default: by the number of documents.
    #[schema(maximum = 999)]
    pub(crate) priority: Option<u32>,
    /// Documents are not read in parts; not looked at.
    #[serde(default, rename = "max_chunks_per_doc")]
    #[schema(value_type = Option<Value>)]
    pub(crate) _max_chunks_per_doc: Option<Unread>,
    /// The client's user; not looked at.
    #[serde(default, rename = "user")]
    #[schema(value_type = Option<Value>)]
    pub(crate) _user: Option<Unread>,
}

/// Documents as they come.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = RerankDocuments)]
pub(crate) struct Documents(Vec<DocumentInput>);

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = RerankDocumentInput)]
#[serde(untagged)]
enum DocumentInput {
    Text(String),
    Fields(BTreeMap<String, Value>),
}

impl Documents {
    /// The texts, whichever way they came.
    fn texts(self, rank_fields: Option<&[String]>) -> Result<Vec<String>, Problem> {
        if self.0.is_empty() {
            let empty = Problem::new(Cause::Empty, "`documents` cannot be empty");
            return Err(empty.at("documents"));
        }
        let texts = self.0.into_iter().enumerate();
        texts
            .map(|(index, document)| match document {
                DocumentInput::Text(text) => Ok(text),
                DocumentInput::Fields(fields) => text_of(index, &fields, rank_fields),
            })
            .collect()
    }
}

/// The text of a document of several fields.
fn text_of(
    index: usize,
    fields: &BTreeMap<String, Value>,
    rank_fields: Option<&[String]>,
) -> Result<String, Problem> {
    let missing = |field: &str| {
        let message = format!("the document at index {index} has no text `{field}`");
        Problem::invalid("documents", message)
    };
    let text = |field: &str| fields.get(field).and_then(Value::as_str);
    let Some(names) = rank_fields.filter(|names| !names.is_empty()) else {
        return text("text")
            .map(str::to_owned)
            .ok_or_else(|| missing("text"));
    };
    let lines: Vec<String> = names
        .iter()
        .filter_map(|name| Some(format!("{name}: {}", text(name)?)))
        .collect();
    match lines.is_empty() {
        true => Err(missing(names.first().map_or("text", String::as_str))),
        false => Ok(lines.join("\n")),
    }
}

impl RerankRequest {
    /// How urgent it is said to be.
    pub(super) fn class(&self) -> Result<Option<Class>, Problem> {
        match self.priority {
            None => Ok(None),
            Some(0) => Ok(Some(Class::Interactive)),
            Some(1..=999) => Ok(Some(Class::Bulk)),
            Some(_) => Err(Problem::invalid("priority", "`priority` is 0 to 999")),
        }
    }

    /// What is to be ranked, and how.
    pub(super) async fn ranking(self, service: &EmbeddingService) -> Result<Ranking, Problem> {
        if self.query.is_empty() {
            return Err(Problem::new(Cause::Empty, "`query` cannot be empty").at("query"));
        }
        let max_tokens = match self.truncate_prompt_tokens {
            None | Some(-1) => None,
            Some(most) => {
                let most = usize::try_from(most).ok().filter(|most| *most > 0);
                let wrong = "`truncate_prompt_tokens` is -1 or 1 and more";
                let most = most.ok_or_else(|| Problem::invalid("truncate_prompt_tokens", wrong))?;
                let facts = service.model_facts(self.model.as_deref()).await?;
                Some(most.min(facts.max_tokens))
            }
        };
        if self.max_tokens_per_doc == Some(0) {
            let wrong = "`max_tokens_per_doc` is 1 and more";
            return Err(Problem::invalid("max_tokens_per_doc", wrong));
        }
        Ok(Ranking {
            documents: self.documents.texts(self.rank_fields.as_deref())?,
            model: self.model,
            query: self.query,
            options: RerankOptions {
                scoring: self.scoring,
                instruction: self.instruction,
                max_tokens,
                max_document_tokens: self.max_tokens_per_doc,
                on_long: self.truncate.map_or(OnLong::Truncate, Truncate::on_long),
                top_n: self.top_n.filter(|most| *most > 0),
            },
            keep_documents: self.return_documents.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(json: &str, rank_fields: &[&str]) -> Result<Vec<String>, Problem> {
        let documents: Documents = serde_json::from_str(json).unwrap();
        let rank_fields: Vec<String> = rank_fields.iter().map(|name| name.to_string()).collect();
        documents.texts(Some(&rank_fields))
    }

    #[test]
    fn documents_are_texts_or_objects() {
        let both = texts(r#"["a", {"text": "b", "id": 7}]"#, &[]).unwrap();
        assert_eq!(both, ["a", "b"]);
        let fields = r#"[{"title": "t", "body": "b", "text": "x"}]"#;
        assert_eq!(
            texts(fields, &["title", "body"]).unwrap(),
            ["title: t\nbody: b"]
        );
        let problem = texts(r#"["a", {"id": 7}]"#, &[]).unwrap_err();
        assert!(problem.message.contains("index 1"), "{}", problem.message);
        assert!(texts(fields, &["none"]).is_err());
        assert_eq!(texts("[]", &[]).unwrap_err().cause, Cause::Empty);
    }
}
