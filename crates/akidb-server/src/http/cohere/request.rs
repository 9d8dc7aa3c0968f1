//! What Cohere's clients ask for.

use serde::Deserialize;
use utoipa::ToSchema;

use akidb_embedding::{Input, Prompt};

use super::types::EmbeddingType;
use crate::http::inputs::Inputs;
use crate::http::schemas::Texts;
use crate::http::truncate::Truncate;
use crate::problem::{Cause, Problem};
use crate::service::Class;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CohereEmbedRequest)]
pub(crate) struct EmbedRequest {
    /// Which model; without it, the server's first.
    #[schema(example = "akidb-mini")]
    pub(super) model: Option<String>,
    /// `/v2/embed` wants it.
    pub(super) input_type: Option<InputType>,
    /// The texts; these or `inputs`.
    #[serde(default)]
    #[schema(value_type = Option<Texts>)]
    texts: Option<Inputs>,
    /// The same, each text in parts; images are refused.
    #[schema(min_items = 1)]
    inputs: Option<Vec<EmbedInput>>,
    /// Refused: models here take texts alone.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>, max_items = 0)]
    images: Option<Inputs>,
    /// Texts are cut to so many tokens, or to what the model takes where that is less.
    #[schema(minimum = 2)]
    pub(super) max_tokens: Option<usize>,
    /// Keep only the first so many values (Matryoshka).
    #[schema(minimum = 1)]
    pub(super) output_dimension: Option<usize>,
    /// How vectors are written: one or several. Default: float.
    pub(super) embedding_types: Option<Vec<EmbeddingType>>,
    /// What to do with texts that are too long. Default: END.
    pub(super) truncate: Option<Truncate>,
    /// How urgent it is: 0 goes before all others. Default: by the number of texts.
    #[schema(maximum = 999)]
    priority: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[schema(as = CohereInputType)]
#[serde(rename_all = "snake_case")]
pub(crate) enum InputType {
    /// Texts to be found.
    SearchDocument,
    /// Texts to find others with.
    SearchQuery,
    /// Texts to classify.
    Classification,
    /// Texts to cluster.
    Clustering,
}

impl InputType {
    pub(super) fn prompt(self) -> Prompt {
        match self {
            Self::SearchDocument => Prompt::Document,
            Self::SearchQuery => Prompt::Query,
            Self::Classification | Self::Clustering => Prompt::Default,
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CohereInput)]
pub(crate) struct EmbedInput {
    /// Its parts, joined with a line break between.
    #[schema(min_items = 1)]
    content: Vec<Content>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CohereContent)]
pub(crate) struct Content {
    #[serde(rename = "type")]
    _kind: ContentType,
    text: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CohereContentType)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ContentType {
    Text,
}

impl EmbedRequest {
    /// The texts, whichever way they came.
    pub(super) fn texts(&mut self) -> Result<Vec<Input<'static>>, Problem> {
        if self
            .images
            .as_ref()
            .is_some_and(|images| !images.list.is_empty())
        {
            return Err(Problem::invalid(
                "images",
                "images are not supported by this model",
            ));
        }
        let joined = |input: EmbedInput| {
            let parts: Vec<String> = input.content.into_iter().map(|part| part.text).collect();
            if parts.is_empty() {
                let message = "`content` of an input cannot be empty";
                return Err(Problem::new(Cause::Empty, message));
            }
            Ok(parts.join("\n"))
        };
        let texts = match (self.texts.take(), self.inputs.take()) {
            (Some(_), Some(_)) => {
                return Err(Problem::invalid("inputs", "`texts` or `inputs`, not both"));
            }
            (Some(texts), None) => texts.texts("texts")?,
            (None, Some(inputs)) => inputs.into_iter().map(joined).collect::<Result<_, _>>()?,
            (None, None) => Vec::new(),
        };
        if texts.is_empty() {
            return Err(Problem::new(Cause::Empty, "`texts` cannot be empty"));
        }
        Ok(texts.into_iter().map(Input::from).collect())
    }

    /// How urgent it is said to be.
    pub(super) fn class(&self) -> Result<Option<Class>, Problem> {
        match self.priority {
            None => Ok(None),
            Some(0) => Ok(Some(Class::Interactive)),
            Some(1..=999) => Ok(Some(Class::Bulk)),
            Some(_) => Err(Problem::invalid("priority", "`priority` is 0 to 999")),
        }
    }
}
