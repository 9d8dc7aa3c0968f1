//! Answers as JSON, and what they say of where vectors come from.

use std::borrow::Cow;
use std::sync::Arc;

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::{Serialize, Serializer};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use akidb_embedding::{Embedding, Provenance};

use crate::problem::{Cause, Problem};
use crate::service::EmbedAnswer;

/// Answers of more numbers are written where nobody else waits: 16 K are about a millisecond.
const MANY: usize = 16 << 10;

/// Most numbers with what stands between them are written in so many: memory for all of them is taken at
/// once, as that for twice as many would be when it grows.
const NUMBER_BYTES: usize = 12;

/// A JSON answer that holds about so many numbers.
pub(crate) async fn json<T>(value: T, numbers: usize) -> Result<Response, Problem>
where
    T: Serialize + Send + 'static,
{
    let write = move || {
        let mut json = Vec::with_capacity(numbers.saturating_mul(NUMBER_BYTES));
        serde_json::to_writer(&mut json, &value).map(|()| json)
    };
    let written = if numbers < MANY {
        write()
    } else {
        let stopped = |_| Problem::new(Cause::Stopping, "the server is stopping");
        tokio::task::spawn_blocking(write).await.map_err(stopped)?
    };
    let failed = |_| Problem::new(Cause::Model, "the answer can't be written");
    Ok((
        [(CONTENT_TYPE, "application/json")],
        written.map_err(failed)?,
    )
        .into_response())
}

/// Numbers of all vectors of an answer.
pub(crate) fn numbers(answer: &EmbedAnswer) -> usize {
    answer
        .embeddings
        .len()
        .saturating_mul(answer.provenance.dimension)
}

/// The f32 values of a vector; nothing where it has another encoding.
pub(crate) fn floats(embedding: &Embedding) -> &[f32] {
    embedding.values.as_f32().unwrap_or_default()
}

/// f32 values as base64 of their bytes, the least first.
pub(crate) fn base64(values: &[f32]) -> String {
    use ::base64::{Engine, prelude::BASE64_STANDARD};
    let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    BASE64_STANDARD.encode(bytes)
}

/// What the model saw of one input.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(crate) struct Seen {
    /// Tokens, special ones included.
    tokens: usize,
    /// The text was longer, and part of it was not seen.
    truncated: bool,
}

/// For each input, what the model saw of it.
pub(crate) fn seen(answer: &EmbedAnswer) -> Vec<Seen> {
    let of = |e: &Embedding| Seen {
        tokens: e.tokens,
        truncated: e.truncated,
    };
    answer.embeddings.iter().map(of).collect()
}

/// Where vectors come from, as answers say it.
#[derive(Debug, Clone)]
pub(crate) struct Origin(pub(crate) Arc<Provenance>);

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl ToSchema for Origin {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Provenance")
    }
}

impl PartialSchema for Origin {
    fn schema() -> RefOr<Schema> {
        let texts = [
            ("model", "Model id"),
            ("variant", "Which weight file"),
            ("precision", "Arithmetic of the linear layers"),
            ("backend", "What ran the model"),
            ("device", "CPU tier or execution provider"),
            ("pooling", "How tokens became one vector"),
            ("instruction", "What was put before each text"),
            (
                "encoding",
                "Element type of the vectors before the interface's own",
            ),
        ];
        let text = || ObjectBuilder::new().schema_type(Type::String);
        let mut object = ObjectBuilder::new().description(Some(
            "Where vectors come from; those of different provenance should not be compared",
        ));
        for (name, description) in texts {
            object = object
                .property(name, text().description(Some(description)))
                .required(name);
        }
        let revision = <Option<String>>::schema();
        let dimension = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(1))
            .description(Some("Length of the vectors"));
        let normalized = ObjectBuilder::new()
            .schema_type(Type::Boolean)
            .description(Some("Whether they have length 1"));
        let guesses = ArrayBuilder::new()
            .items(text())
            .description(Some("What no file of the model says and was guessed"));
        object
            .property("revision", revision)
            .required("revision")
            .property("dimension", dimension)
            .required("dimension")
            .property("normalized", normalized)
            .required("normalized")
            .property(
                "fallback",
                text().description(Some(
                    "Why another backend than the preferred one ran, where that is so",
                )),
            )
            .property(
                "scoring",
                text().description(Some(
                    "Where documents are ranked: model, or cosine of the vectors of query and document",
                )),
            )
            .property(
                "prompt",
                text().description(Some("Name of the model's prompt that was put before texts")),
            )
            .property(
                "task",
                text().description(Some(
                    "The model's adaptation that ran, where it has several",
                )),
            )
            .property(
                "matryoshka",
                text().description(Some(
                    "Where vectors are cut: named, or unknown where the model names no lengths",
                )),
            )
            .property("guesses", guesses)
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The digits that count, without sign, point, exponent and zeros around them.
    fn digits(number: &str) -> String {
        let mantissa = number.split('e').next().unwrap_or_default();
        let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
        digits.trim_matches('0').to_owned()
    }

    #[test]
    fn floats_are_written_with_as_few_digits_as_they_need() {
        let values = [
            0.1,
            1e-7,
            -0.033_203_125,
            16_777_216.0,
            f32::MIN_POSITIVE,
            f32::MAX,
            0.3,
        ];
        for value in values {
            let written = serde_json::to_string(&value).unwrap();
            assert_eq!(written.parse::<f32>().unwrap(), value);
            assert_eq!(digits(&written), digits(&format!("{value:e}")), "{written}");
        }
    }

    #[test]
    fn base64_has_the_least_byte_first() {
        assert_eq!(base64(&[1.0, -2.0]), "AACAPwAAAMA=");
    }
}
