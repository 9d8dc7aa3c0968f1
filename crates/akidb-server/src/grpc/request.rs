//! Between the messages and the service's own types.

use akidb_embedding::{EmbedOptions, Input, OnLong, Prompt, Role, Scoring};

use super::proto;
use crate::problem::Problem;
use crate::service::EmbedAnswer;

/// What a request asks for, beside its texts.
pub(crate) fn options(request: &proto::EmbedRequest) -> Result<EmbedOptions, Problem> {
    let input_type = proto::InputType::try_from(request.input_type)
        .map_err(|_| Problem::invalid("input_type", "there is no such input type"))?;
    let role = match input_type {
        proto::InputType::Query => Some(Role::Query),
        proto::InputType::Document => Some(Role::Document),
        proto::InputType::Unspecified => None,
    };
    let prompt = Prompt::of(role, request.instruction.clone())
        .map_err(|error| Problem::invalid("instruction", error.to_string()))?;
    Ok(EmbedOptions {
        prompt,
        dimension: request
            .dimensions
            .map(|n| usize::try_from(n).unwrap_or(usize::MAX)),
        normalize: request.normalize.unwrap_or(true),
        on_long: if request.truncate.unwrap_or(true) {
            OnLong::Truncate
        } else {
            OnLong::Error
        },
        ..EmbedOptions::default()
    })
}

/// The texts, taken out of the request.
pub(crate) fn inputs(texts: Vec<String>) -> Result<Vec<Input<'static>>, Problem> {
    if texts.is_empty() {
        return Err(Problem::invalid("texts", "there is no text to embed"));
    }
    Ok(texts.into_iter().map(Input::from).collect())
}

/// Whether a model that pools as `has` says does what `wanted` asks for.
pub(crate) fn check_pooling(wanted: Option<&str>, has: &str) -> Result<(), Problem> {
    let Some(wanted) = wanted else { return Ok(()) };
    let plain = wanted.to_ascii_lowercase().replace('-', "_");
    let plain = plain.strip_suffix("_pooling").unwrap_or(&plain);
    let name = match plain {
        "last" | "lasttoken" => "last_token",
        other => other,
    };
    if name == has {
        return Ok(());
    }
    Err(Problem::invalid(
        "pooling",
        format!("the model's pooling is {has}, {wanted:?} is not possible"),
    ))
}

pub(crate) fn provenance(from: &akidb_embedding::Provenance) -> proto::Provenance {
    proto::Provenance {
        model: from.model.clone(),
        revision: from.revision.clone(),
        variant: from.variant.clone(),
        precision: from.precision.clone(),
        backend: from.backend.clone(),
        device: from.device.clone(),
        pooling: from.pooling.clone(),
        instruction: from.instruction.clone(),
        normalized: from.normalized,
        fallback: from.fallback.clone(),
        scoring: scoring(from.scoring).into(),
        guesses: from.guesses.clone(),
    }
}

pub(crate) fn scoring(from: Option<Scoring>) -> proto::Scoring {
    match from {
        None => proto::Scoring::Unspecified,
        Some(Scoring::Model) => proto::Scoring::Model,
        Some(Scoring::Cosine) => proto::Scoring::Cosine,
    }
}

pub(crate) fn response(answer: EmbedAnswer, milliseconds: f64) -> proto::EmbedResponse {
    let embeddings = answer
        .embeddings
        .into_iter()
        .map(|embedding| proto::Embedding {
            tokens: number(embedding.tokens),
            truncated: embedding.truncated,
            values: embedding.values.into_f32().unwrap_or_default(),
        })
        .collect();
    proto::EmbedResponse {
        embeddings,
        model: answer.provenance.model.clone(),
        dimension: number(answer.provenance.dimension),
        usage: Some(proto::Usage {
            total_tokens: answer.total_tokens as u64,
            duration_ms: milliseconds,
        }),
        provenance: Some(provenance(&answer.provenance)),
    }
}

pub(crate) fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
