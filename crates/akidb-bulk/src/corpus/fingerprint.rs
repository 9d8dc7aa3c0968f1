//! What vectors of a corpus depend on, beside its rows.

use std::collections::BTreeMap;

use akidb_embedding::{EmbedError, EmbedOptions, Embedder};
use arrow_schema::Schema;
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_128;

use super::settings::{CorpusSettings, Keep};

/// Each thing by its name. Two units of the same fingerprint may stand side by side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(BTreeMap<String, String>);

impl Fingerprint {
    /// Of a model, options and settings.
    pub(super) fn of(
        embedder: &Embedder,
        options: &EmbedOptions,
        settings: &CorpusSettings,
        kept: &Schema,
    ) -> Result<Self, EmbedError> {
        let provenance = embedder.provenance(options)?;
        let max_tokens = options.max_tokens.unwrap_or(embedder.max_tokens());
        let columns = kept.fields().iter();
        let columns = columns.map(|field| format!("{}: {}", field.name(), field.data_type()));
        let or_none = |value: Option<String>| value.unwrap_or_else(|| "none".to_owned());
        let parts = [
            ("akidb-embed version", env!("CARGO_PKG_VERSION").to_owned()),
            ("model checksum", embedder.checksum()?),
            ("variant", provenance.variant),
            ("backend", provenance.backend),
            ("precision", provenance.precision),
            ("pooling", provenance.pooling),
            ("prompt", provenance.instruction),
            ("task", or_none(provenance.task)),
            ("dimension", provenance.dimension.to_string()),
            ("normalized", provenance.normalized.to_string()),
            ("encoding", provenance.encoding),
            ("max tokens", max_tokens.to_string()),
            ("on long", options.on_long.as_str().to_owned()),
            ("text", settings.text.to_string()),
            ("id", or_none(settings.id.clone())),
            ("keep", keep(&settings.keep)),
            ("columns", columns.collect::<Vec<_>>().join(", ")),
            ("format", settings.format.as_str().to_owned()),
            ("unit rows", settings.unit_rows.to_string()),
            (
                "chunks",
                or_none(
                    settings
                        .chunks
                        .map(|c| format!("{} tokens, overlap {}", c.tokens, c.overlap)),
                ),
            ),
        ];
        let parts = parts.map(|(name, value)| (name.to_owned(), value));
        Ok(Self(parts.into_iter().collect()))
    }

    /// It as 32 hexadecimal digits.
    pub fn hash(&self) -> String {
        let mut hasher = XxHash3_128::new();
        for (name, value) in &self.0 {
            for text in [name, value] {
                hasher.write(&(text.len() as u64).to_le_bytes());
                hasher.write(text.as_bytes());
            }
        }
        format!("{:032x}", hasher.finish_128())
    }

    /// What is different in `now`.
    pub(super) fn differences(&self, now: &Self) -> Vec<String> {
        let names = self
            .0
            .keys()
            .chain(now.0.keys().filter(|name| !self.0.contains_key(*name)));
        names
            .filter_map(|name| {
                let value = |of: &Self| of.0.get(name).cloned().unwrap_or_default();
                let (there, here) = (value(self), value(now));
                (there != here).then(|| format!("{name} is {there:?} there and {here:?} now"))
            })
            .collect()
    }
}

fn keep(keep: &Keep) -> String {
    match keep {
        Keep::All => "all".to_owned(),
        Keep::Columns(columns) => columns.join(", "),
    }
}
