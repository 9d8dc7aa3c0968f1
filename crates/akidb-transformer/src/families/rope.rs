//! What config.json files say of rotary embeddings, in two styles.

use akidb_onnx::Error;
use serde::Deserialize;
use serde_json::Value;

use super::checks::{invalid, unsupported};
use crate::transformer::{Mask, Rotary};

/// `rope_parameters` of newer files, and `rope_scaling` of older ones.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct RopeParameters {
    pub(super) rope_theta: Option<f64>,
    /// Older files say `type`.
    #[serde(alias = "type")]
    rope_type: Option<String>,
    factor: Option<f64>,
    mixed_b: Option<Value>,
    partial_rotary_factor: Option<f64>,
}

impl RopeParameters {
    /// How heads are turned; `base` where this doesn't say it. `key` is what config.json calls it.
    ///
    /// # Errors
    /// When angles depend on more than the position.
    pub(super) fn rotary(
        &self,
        key: &'static str,
        base: f64,
        head_dim: usize,
    ) -> Result<Rotary, Error> {
        let base = self.rope_theta.unwrap_or(base);
        let factor = self.factor.unwrap_or(1.0);
        if let Some(part) = self.partial_rotary_factor.filter(|part| *part != 1.0) {
            return Err(unsupported(key, &format!("partial_rotary_factor {part}")));
        }
        let (base, position_scale) = match self.rope_type.as_deref() {
            None | Some("default") => (base, 1.0),
            Some("linear") => (base, 1.0 / factor),
            // NTK-aware, fixed: https://kexue.fm/archives/9706
            Some("ntk") if self.mixed_b.as_ref().is_none_or(Value::is_null) => {
                let slower = factor.powf(2.0 / head_dim as f64);
                (base * factor, 1.0 / slower)
            }
            Some(other) => return Err(unsupported(key, other)),
        };
        Ok(Rotary {
            base,
            position_scale,
            width: head_dim,
        })
    }
}

/// `rope_parameters` of models whose layers turn their heads in two ways.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct LayerRopes {
    pub(super) full_attention: RopeParameters,
    pub(super) sliding_attention: RopeParameters,
}

/// Whether each layer sees the whole text: as `layer_types` say, else by its number.
pub(super) fn kinds_of_layers(
    layer_types: Option<&[String]>,
    count: usize,
    is_full: impl Fn(usize) -> bool,
) -> Result<Vec<bool>, Error> {
    let Some(layer_types) = layer_types else {
        return Ok((0..count).map(is_full).collect());
    };
    if layer_types.len() != count {
        let why = format!("{} kinds of {count} layers", layer_types.len());
        return Err(invalid("layer_types", why));
    }
    let kinds = layer_types.iter().map(|kind| match kind.as_str() {
        "full_attention" => Ok(true),
        "sliding_attention" => Ok(false),
        other => Err(unsupported("layer_types", other)),
    });
    kinds.collect()
}

/// Layers of two kinds: those that see the whole text, and those that see a window.
pub(super) fn of_kinds(
    kinds: &[bool],
    full: (Mask, Rotary),
    near: (Mask, Rotary),
) -> Vec<(Mask, Rotary)> {
    let kinds = kinds.iter();
    kinds
        .map(|is_full| if *is_full { full } else { near })
        .collect()
}
