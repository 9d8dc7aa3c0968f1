//! The shape of OpenAI's embeddings API, with the provenance beside it.

use std::io::{self, Write};

use serde::{Serialize, Serializer};

use akidb_embedding::{Embedding, Provenance, Values};

#[derive(Serialize)]
struct Item<'a> {
    /// Each line of JSON Lines stands alone; a list says it once.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    /// The same.
    #[serde(skip_serializing_if = "Option::is_none")]
    fallback: Option<&'a str>,
    object: &'static str,
    index: usize,
    embedding: Numbers<'a>,
    /// What one step of an int8 code is worth.
    #[serde(skip_serializing_if = "Option::is_none")]
    scale: Option<f32>,
    tokens: usize,
    truncated: bool,
}

struct Numbers<'a>(&'a Values);

impl Serialize for Numbers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Values::F32(values) => values.serialize(serializer),
            Values::F16(values) => serializer.collect_seq(values.iter().map(|h| h.to_f32())),
            Values::I8 { codes, .. } => codes.serialize(serializer),
            Values::Binary(bytes) => bytes.serialize(serializer),
        }
    }
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
}

fn write_item(
    out: &mut dyn Write,
    index: usize,
    embedding: &Embedding,
    provenance: Option<&Provenance>,
) -> io::Result<()> {
    let item = Item {
        model: provenance.map(|p| p.model.as_str()),
        fallback: provenance.and_then(|p| p.fallback.as_deref()),
        object: "embedding",
        index,
        embedding: Numbers(&embedding.values),
        scale: match embedding.values {
            Values::I8 { scale, .. } => Some(scale),
            _ => None,
        },
        tokens: embedding.tokens,
        truncated: embedding.truncated,
    };
    Ok(serde_json::to_writer(out, &item)?)
}

/// One element of `data`.
pub(super) fn item(out: &mut dyn Write, index: usize, embedding: &Embedding) -> io::Result<()> {
    if index > 0 {
        out.write_all(b",")?;
    }
    write_item(out, index, embedding, None)
}

/// One line of JSON Lines.
pub(super) fn line(
    out: &mut dyn Write,
    index: usize,
    embedding: &Embedding,
    provenance: &Provenance,
) -> io::Result<()> {
    write_item(out, index, embedding, Some(provenance))?;
    out.write_all(b"\n")
}

/// What comes before the items.
pub(super) fn head(out: &mut dyn Write, provenance: &Provenance) -> io::Result<()> {
    let model = serde_json::to_string(&provenance.model)?;
    write!(out, "{{\"object\":\"list\",\"model\":{model},\"data\":[")
}

/// What comes after them.
pub(super) fn tail(out: &mut dyn Write, tokens: usize, provenance: &Provenance) -> io::Result<()> {
    let usage = serde_json::to_string(&Usage {
        prompt_tokens: tokens,
        total_tokens: tokens,
    })?;
    let mut rest = serde_json::to_value(provenance)?;
    if let Some(fields) = rest.as_object_mut() {
        // Already said at the top.
        fields.remove("model");
    }
    let rest = rest.to_string();
    let rest = rest.trim_start_matches('{');
    writeln!(out, "],\"usage\":{usage},{rest}")
}
