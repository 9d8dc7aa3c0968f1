//! What config.json files say of rotary embeddings, in two styles.

use akidb_onnx::Error;
use serde::Deserialize;
use serde_json::Value;

use super::checks::{invalid, unsupported};
use crate::rotary::{Rotary, RotaryScaling};
use crate::transformer::Mask;

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
    original_max_position_embeddings: Option<usize>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    beta_fast: Option<f64>,
    beta_slow: Option<f64>,
    truncate: Option<bool>,
    attention_factor: Option<f64>,
    mscale: Option<f64>,
    mscale_all_dim: Option<f64>,
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
        if !(factor.is_finite() && factor >= 1.0) {
            return Err(invalid(key, format!("a factor of {factor}")));
        }
        let mut scaling = RotaryScaling::None;
        let (base, position_scale) = match self.rope_type.as_deref() {
            None | Some("default") => (base, 1.0),
            Some("linear") => (base, 1.0 / factor),
            Some("llama3") => {
                scaling = self.llama3(key)?;
                (base, 1.0)
            }
            Some("yarn") => {
                scaling = self.yarn(key)?;
                (base, 1.0)
            }
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
            scaling,
        })
    }

    fn llama3(&self, key: &'static str) -> Result<RotaryScaling, Error> {
        let (low, high) = (
            need(key, "low_freq_factor", self.low_freq_factor)?,
            need(key, "high_freq_factor", self.high_freq_factor)?,
        );
        if !(low > 0.0 && low < high && high.is_finite()) {
            let why = format!("low_freq_factor {low} and high_freq_factor {high}");
            return Err(invalid(key, why));
        }
        Ok(RotaryScaling::Llama3 {
            factor: need(key, "factor", self.factor)?,
            low_freq_factor: low,
            high_freq_factor: high,
            original_max_position: self.original_max_position(key)?,
        })
    }

    fn yarn(&self, key: &'static str) -> Result<RotaryScaling, Error> {
        let factor = need(key, "factor", self.factor)?;
        let scale = |by: f64| 0.1 * by * factor.ln() + 1.0;
        let learned = match (self.mscale, self.mscale_all_dim) {
            (Some(one), Some(all)) if one != 0.0 && all != 0.0 => scale(one) / scale(all),
            _ => scale(1.0),
        };
        // 0 is as good as none.
        let or = |given: Option<f64>, default: f64| given.filter(|x| *x != 0.0).unwrap_or(default);
        let (beta_fast, beta_slow) = (or(self.beta_fast, 32.0), or(self.beta_slow, 1.0));
        let attention_factor = self.attention_factor.unwrap_or(learned);
        let is_sound = beta_slow > 0.0
            && beta_slow <= beta_fast
            && beta_fast.is_finite()
            && attention_factor > 0.0
            && attention_factor.is_finite();
        if !is_sound {
            let why = format!(
                "beta_fast {beta_fast}, beta_slow {beta_slow}, attention_factor {attention_factor}"
            );
            return Err(invalid(key, why));
        }
        Ok(RotaryScaling::Yarn {
            factor,
            beta_fast,
            beta_slow,
            truncate: self.truncate.unwrap_or(true),
            attention_factor,
            original_max_position: self.original_max_position(key)?,
        })
    }

    fn original_max_position(&self, key: &'static str) -> Result<usize, Error> {
        let name = "original_max_position_embeddings";
        match need(key, name, self.original_max_position_embeddings)? {
            0 => Err(invalid(key, format!("{name} 0"))),
            tokens => Ok(tokens),
        }
    }
}

fn need<T>(key: &'static str, name: &str, value: Option<T>) -> Result<T, Error> {
    value.ok_or_else(|| invalid(key, format!("no {name}")))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Golden {
        head_dim: usize,
        rope_parameters: RopeParameters,
        inv_freq: Vec<f64>,
        attention_factor: f32,
    }

    #[test]
    fn frequencies_are_those_of_transformers() {
        let goldens = include_str!("../../../akidb-testing/goldens/rope.jsonl");
        for (place, line) in goldens.lines().enumerate() {
            let golden: Golden = serde_json::from_str(line).unwrap();
            let rope = golden.rope_parameters;
            let rotary = rope
                .rotary("rope_parameters", 1.0, golden.head_dim)
                .unwrap();
            let found = rotary.inverse_frequencies();
            assert_eq!(found.len(), golden.inv_freq.len());
            for (found, expected) in found.iter().zip(&golden.inv_freq) {
                let difference = (f64::from(*found) / expected - 1.0).abs();
                assert!(difference < 2e-6, "{place}: {found} {expected}");
            }
            let difference = rotary.attention_factor() - golden.attention_factor;
            assert!(difference.abs() < 1e-6, "{place}: {difference}");
        }
        assert_eq!(goldens.lines().count(), 7);
    }

    #[test]
    fn what_is_missing_or_impossible_is_told() {
        for (rope, says) in [
            (
                r#"{"rope_type": "yarn", "factor": 4.0}"#,
                "original_max_position_embeddings",
            ),
            (
                r#"{"rope_type": "yarn", "factor": 0.5, "original_max_position_embeddings": 8}"#,
                "0.5",
            ),
            (r#"{"type": "llama3", "factor": 8.0}"#, "low_freq_factor"),
            (
                r#"{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0, "high_freq_factor": 1.0,
                "original_max_position_embeddings": 8}"#,
                "low_freq_factor 4",
            ),
            (r#"{"rope_type": "longrope", "factor": 8.0}"#, "longrope"),
        ] {
            let rope: RopeParameters = serde_json::from_str(rope).unwrap();
            let error = rope.rotary("rope_scaling", 1e4, 64).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
