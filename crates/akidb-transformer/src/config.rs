//! The decoder's `config.json`.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use akidb_onnx::{Disagreement, Error, ErrorKind, shorten};
use akidb_onnx::{parse_json, read_small};

/// What `config.json` calls the family.
pub(crate) const MODEL_TYPE: &str = "qwen3";

/// What models are called that have this body, whatever head is on it.
const ARCHITECTURES: [&str; 3] = [
    "Qwen3ForCausalLM",
    "Qwen3ForSequenceClassification",
    "Qwen3Model",
];

/// Longest `config.json` that is read, in bytes.
pub(crate) const MAX_CONFIG_BYTES: usize = 1 << 20;

/// Sizes and constants of a decoder, named as in Hugging Face's `config.json`.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct DecoderConfig {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Query heads; a multiple of `num_key_value_heads`.
    pub num_attention_heads: usize,
    /// Key/value heads.
    pub num_key_value_heads: usize,
    /// Width of one head; even.
    pub head_dim: usize,
    /// Width inside the MLP.
    pub intermediate_size: usize,
    /// Rows of the embedding table.
    pub vocab_size: usize,
    /// Epsilon of every RMSNorm.
    pub rms_norm_eps: f32,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Longest text in tokens.
    pub max_position_embeddings: usize,
}

/// The file as it is. Newer writers put `rope_theta` into `rope_parameters`.
#[derive(Deserialize)]
struct ConfigJson {
    model_type: Option<String>,
    architectures: Option<Vec<String>>,
    hidden_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    intermediate_size: Option<usize>,
    vocab_size: Option<usize>,
    rms_norm_eps: Option<f64>,
    rope_theta: Option<f64>,
    rope_parameters: Option<RopeParameters>,
    rope_scaling: Option<Value>,
    max_position_embeddings: Option<usize>,
    hidden_act: Option<String>,
    attention_bias: Option<bool>,
    use_sliding_window: Option<bool>,
    is_causal: Option<bool>,
    use_bidirectional_attention: Option<bool>,
    layer_types: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct RopeParameters {
    rope_theta: Option<f64>,
    rope_type: Option<String>,
}

impl DecoderConfig {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// As [`Self::from_json`], and when the file can't be read.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let json = read_small(path, MAX_CONFIG_BYTES)?;
        Self::from_json(&json).map_err(|e| e.at(path))
    }

    /// Reads the text of a `config.json`.
    ///
    /// # Errors
    /// When it is no JSON, lacks a value or has an impossible one, or asks for something that a
    /// [`DecoderBlock`](crate::DecoderBlock) can't express: another architecture or activation, scaled
    /// rotary embeddings, a sliding window, biases.
    pub fn from_json(json: &[u8]) -> Result<Self, Error> {
        let json: ConfigJson = parse_json(json).map_err(ErrorKind::Json)?;
        json.check_supported()?;
        let rope_theta = match &json.rope_parameters {
            Some(RopeParameters {
                rope_theta: Some(theta),
                ..
            }) => Some(*theta),
            _ => json.rope_theta,
        };
        let hidden_size = need("hidden_size", json.hidden_size)?;
        let num_attention_heads = need("num_attention_heads", json.num_attention_heads)?;
        let config = Self {
            hidden_size,
            num_hidden_layers: need("num_hidden_layers", json.num_hidden_layers)?,
            num_attention_heads,
            num_key_value_heads: json.num_key_value_heads.unwrap_or(num_attention_heads),
            head_dim: json
                .head_dim
                .unwrap_or(hidden_size / num_attention_heads.max(1)),
            intermediate_size: need("intermediate_size", json.intermediate_size)?,
            vocab_size: need("vocab_size", json.vocab_size)?,
            rms_norm_eps: need("rms_norm_eps", json.rms_norm_eps)? as f32,
            rope_theta: need("rope_theta", rope_theta)?,
            max_position_embeddings: need("max_position_embeddings", json.max_position_embeddings)?,
        };
        config.check()?;
        Ok(config)
    }

    /// Refuses sizes that are zero, absurd, or contradict each other.
    pub(crate) fn check(&self) -> Result<(), Error> {
        for (key, value, max) in [
            ("hidden_size", self.hidden_size, 1 << 16),
            ("num_hidden_layers", self.num_hidden_layers, MAX_LAYERS),
            ("num_attention_heads", self.num_attention_heads, 1 << 10),
            ("num_key_value_heads", self.num_key_value_heads, 1 << 10),
            ("head_dim", self.head_dim, MAX_HEAD_DIM),
            ("intermediate_size", self.intermediate_size, 1 << 20),
            ("vocab_size", self.vocab_size, 1 << 24),
            (
                "max_position_embeddings",
                self.max_position_embeddings,
                1 << 24,
            ),
        ] {
            if value == 0 || value > max {
                return Err(invalid(key, format!("{value} is not between 1 and {max}")));
            }
        }
        if !self
            .num_attention_heads
            .is_multiple_of(self.num_key_value_heads)
        {
            let why = format!(
                "{} is no multiple of num_key_value_heads {}",
                self.num_attention_heads, self.num_key_value_heads
            );
            return Err(invalid("num_attention_heads", why));
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(invalid("head_dim", format!("{} is odd", self.head_dim)));
        }
        // The last also refuses NaN.
        if !(self.rms_norm_eps > 0.0 && self.rms_norm_eps < 1.0) {
            let why = format!("{} is not between 0 and 1", self.rms_norm_eps);
            return Err(invalid("rms_norm_eps", why));
        }
        if !(self.rope_theta > 1.0 && self.rope_theta <= 1e12) {
            let why = format!("{} is not between 1 and 1e12", self.rope_theta);
            return Err(invalid("rope_theta", why));
        }
        Ok(())
    }

    /// Where `self`, from `config.json`, and `graph` differ. `rope_theta` and
    /// `max_position_embeddings` are not compared: a graph has a table, not these numbers.
    pub(crate) fn disagreements(&self, graph: &Self) -> Vec<Disagreement> {
        let sizes = [
            ("hidden_size", self.hidden_size, graph.hidden_size),
            (
                "num_hidden_layers",
                self.num_hidden_layers,
                graph.num_hidden_layers,
            ),
            (
                "num_attention_heads",
                self.num_attention_heads,
                graph.num_attention_heads,
            ),
            (
                "num_key_value_heads",
                self.num_key_value_heads,
                graph.num_key_value_heads,
            ),
            ("head_dim", self.head_dim, graph.head_dim),
            (
                "intermediate_size",
                self.intermediate_size,
                graph.intermediate_size,
            ),
            ("vocab_size", self.vocab_size, graph.vocab_size),
        ];
        let mut found: Vec<Disagreement> = sizes
            .into_iter()
            .filter(|(_, config, graph)| config != graph)
            .map(|(key, config, graph)| Disagreement {
                key,
                config: config.to_string(),
                graph: graph.to_string(),
            })
            .collect();
        let (config, graph) = (self.rms_norm_eps, graph.rms_norm_eps);
        // Files of f16 round it.
        if (config - graph).abs() > 1e-3 * config {
            found.push(Disagreement {
                key: "rms_norm_eps",
                config: format!("{config:e}"),
                graph: format!("{graph:e}"),
            });
        }
        found
    }
}

/// Most layers that a decoder can have.
pub(crate) const MAX_LAYERS: usize = 1 << 10;
/// Widest head that a decoder can have.
pub(crate) const MAX_HEAD_DIM: usize = 1 << 10;

impl ConfigJson {
    fn check_supported(&self) -> Result<(), Error> {
        let architectures = self.architectures.as_deref().unwrap_or(&[]);
        let known = |a: &String| ARCHITECTURES.contains(&a.as_str());
        match self.model_type.as_deref() {
            Some(MODEL_TYPE) => {}
            None if architectures.iter().any(known) => {}
            None if architectures.is_empty() => {
                return Err(invalid("model_type", "is missing".into()));
            }
            other => return Err(unsupported("model_type", other.unwrap_or("null"))),
        }
        if !architectures.is_empty() && !architectures.iter().any(known) {
            return Err(unsupported("architectures", &architectures.join(", ")));
        }
        if let Some(act) = self.hidden_act.as_deref().filter(|&act| act != "silu") {
            return Err(unsupported("hidden_act", act));
        }
        if self.attention_bias == Some(true) {
            return Err(unsupported("attention_bias", "true"));
        }
        if self.use_sliding_window == Some(true) {
            return Err(unsupported("use_sliding_window", "true"));
        }
        if self.is_causal == Some(false) {
            return Err(unsupported("is_causal", "false"));
        }
        if self.use_bidirectional_attention == Some(true) {
            return Err(unsupported("use_bidirectional_attention", "true"));
        }
        let full = |t: &&String| *t != "full_attention";
        if let Some(other) = self.layer_types.iter().flatten().find(full) {
            return Err(unsupported("layer_types", other));
        }
        if let Some(scaling) = &self.rope_scaling {
            return Err(unsupported("rope_scaling", &scaling.to_string()));
        }
        let rope_type = self
            .rope_parameters
            .as_ref()
            .and_then(|p| p.rope_type.as_deref());
        if let Some(other) = rope_type.filter(|&t| t != "default") {
            return Err(unsupported("rope_parameters.rope_type", other));
        }
        Ok(())
    }
}

fn need<T>(key: &'static str, value: Option<T>) -> Result<T, Error> {
    value.ok_or_else(|| invalid(key, "is missing".into()))
}

fn invalid(key: &'static str, why: String) -> Error {
    ErrorKind::Config { key, why }.into()
}

fn unsupported(key: &'static str, value: &str) -> Error {
    ErrorKind::Unsupported {
        key,
        value: shorten(value),
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINI: &str = r#"{
        "model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "hidden_act": "silu",
        "hidden_size": 256, "num_hidden_layers": 6, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 64, "intermediate_size": 768,
        "vocab_size": 16384, "rms_norm_eps": 1e-06, "rope_theta": 1000000, "rope_scaling": null,
        "max_position_embeddings": 2048, "attention_bias": false, "sliding_window": null,
        "use_sliding_window": false
    }"#;

    fn changed(key: &str, value: Value) -> Result<DecoderConfig, Error> {
        let mut json: Value = serde_json::from_str(MINI).unwrap();
        match value {
            Value::Null => json.as_object_mut().unwrap().remove(key),
            value => json.as_object_mut().unwrap().insert(key.into(), value),
        };
        DecoderConfig::from_json(json.to_string().as_bytes())
    }

    #[test]
    fn a_config_is_read() {
        let config = DecoderConfig::from_json(MINI.as_bytes()).unwrap();
        assert_eq!(config.num_key_value_heads, 2);
        assert_eq!(config.rms_norm_eps, 1e-6);
        assert_eq!(config.rope_theta, 1e6);
    }

    #[test]
    fn defaults_are_those_of_transformers() {
        assert_eq!(changed("head_dim", Value::Null).unwrap().head_dim, 64);
        let config = changed("num_key_value_heads", Value::Null).unwrap();
        assert_eq!(config.num_key_value_heads, 4);
        changed("model_type", Value::Null).unwrap();
        changed("architectures", Value::Null).unwrap();
    }

    #[test]
    fn rope_parameters_replace_rope_theta() {
        let mut json: Value = serde_json::from_str(MINI).unwrap();
        json.as_object_mut().unwrap().remove("rope_theta");
        json["rope_parameters"] = serde_json::json!({"rope_theta": 5e5, "rope_type": "default"});
        let config = DecoderConfig::from_json(json.to_string().as_bytes()).unwrap();
        assert_eq!(config.rope_theta, 5e5);
        json["rope_parameters"]["rope_type"] = "yarn".into();
        let error = DecoderConfig::from_json(json.to_string().as_bytes()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "unsupported, because config.json says rope_parameters.rope_type = yarn"
        );
    }

    #[test]
    fn what_is_not_supported_is_named() {
        for (key, value) in [
            ("model_type", "bert".into()),
            (
                "architectures",
                serde_json::json!(["Qwen3ForTokenClassification"]),
            ),
            ("hidden_act", "gelu".into()),
            ("attention_bias", true.into()),
            ("use_sliding_window", true.into()),
            ("is_causal", false.into()),
            ("use_bidirectional_attention", true.into()),
            (
                "layer_types",
                serde_json::json!(["full_attention", "sliding_attention"]),
            ),
            (
                "rope_scaling",
                serde_json::json!({"type": "yarn", "factor": 4.0}),
            ),
        ] {
            let error = changed(key, value).unwrap_err();
            assert!(
                matches!(error.kind(), ErrorKind::Unsupported { key: k, .. } if *k == key),
                "{error}"
            );
        }
    }

    #[test]
    fn impossible_values_are_refused() {
        for (key, value) in [
            ("hidden_size", serde_json::json!(0)),
            ("hidden_size", serde_json::json!(1u64 << 40)),
            ("num_hidden_layers", serde_json::json!(0)),
            ("num_attention_heads", serde_json::json!(3)),
            ("num_attention_heads", serde_json::json!(0)),
            ("num_key_value_heads", serde_json::json!(0)),
            ("head_dim", serde_json::json!(63)),
            ("intermediate_size", serde_json::json!(u64::MAX)),
            ("vocab_size", serde_json::json!(0)),
            ("rms_norm_eps", serde_json::json!(0.0)),
            ("rms_norm_eps", serde_json::json!(-1e-6)),
            ("rms_norm_eps", serde_json::json!(1e300)),
            ("rope_theta", serde_json::json!(0.5)),
            ("rope_theta", serde_json::json!(1e300)),
            ("max_position_embeddings", serde_json::json!(0)),
            ("vocab_size", Value::Null),
            ("rope_theta", Value::Null),
        ] {
            let error = changed(key, value.clone()).unwrap_err();
            assert!(
                matches!(error.kind(), ErrorKind::Config { key: k, .. } if *k == key),
                "{key} {value}: {error}"
            );
        }
        for (key, value) in [
            ("hidden_size", serde_json::json!(-1)),
            ("hidden_size", serde_json::json!(1.5)),
            ("head_dim", serde_json::json!("64")),
        ] {
            let error = changed(key, value.clone()).unwrap_err();
            assert!(
                matches!(error.kind(), ErrorKind::Json(_)),
                "{key} {value}: {error}"
            );
        }
        DecoderConfig::from_json(b"").unwrap_err();
        DecoderConfig::from_json(b"[]").unwrap_err();
        DecoderConfig::from_json(&b"[".repeat(100_000)).unwrap_err();
    }
}
