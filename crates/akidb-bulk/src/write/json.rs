//! The shape of OpenAI's embeddings API, with the provenance beside it.

use std::io::{self, Write};

use akidb_embedding::{Embedding, Provenance, Values};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::failed::fields;
use crate::row::Row;

/// A row with its vector.
pub(super) struct Item<'a> {
    pub(super) row: &'a Row,
    pub(super) keep: &'a [String],
    pub(super) embedding: &'a Embedding,
    /// Each line of JSON Lines stands alone; a list says it once.
    pub(super) provenance: Option<&'a Provenance>,
}

impl Serialize for Item<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(provenance) = self.provenance {
            map.serialize_entry("model", &provenance.model)?;
            if let Some(fallback) = &provenance.fallback {
                map.serialize_entry("fallback", fallback)?;
            }
        }
        map.serialize_entry("object", "embedding")?;
        map.serialize_entry("index", &self.row.index)?;
        fields(&mut map, self.row, self.keep)?;
        map.serialize_entry("embedding", &Numbers(&self.embedding.values))?;
        if let Values::I8 { scale, .. } = self.embedding.values {
            // What one step of a code is worth.
            map.serialize_entry("scale", &scale)?;
        }
        map.serialize_entry("tokens", &self.embedding.tokens)?;
        map.serialize_entry("truncated", &self.embedding.truncated)?;
        map.end()
    }
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
    prompt_tokens: u64,
    total_tokens: u64,
}

/// What comes before the items.
pub(super) fn head(out: &mut dyn Write, provenance: &Provenance) -> io::Result<()> {
    let model = serde_json::to_string(&provenance.model)?;
    write!(out, "{{\"object\":\"list\",\"model\":{model},\"data\":[")
}

/// What comes after them.
pub(super) fn tail(out: &mut dyn Write, tokens: u64, provenance: &Provenance) -> io::Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_has_its_line_its_id_and_what_is_kept() {
        let row = Row {
            index: 3,
            line: Some(7),
            id: Some("a".into()),
            kept: vec![serde_json::json!({"x": 1})],
            input: Ok("text".into()),
        };
        let embedding = Embedding {
            values: Values::F32(vec![0.5]),
            tokens: 2,
            truncated: false,
        };
        let item = Item {
            row: &row,
            keep: &["meta".to_owned()],
            embedding: &embedding,
            provenance: None,
        };
        assert_eq!(
            serde_json::to_string(&item).unwrap(),
            "{\"object\":\"embedding\",\"index\":3,\"line\":7,\"id\":\"a\",\"meta\":{\"x\":1},\
             \"embedding\":[0.5],\"tokens\":2,\"truncated\":false}"
        );
    }
}
