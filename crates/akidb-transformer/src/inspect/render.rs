//! An inspection as text.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use super::{Architecture, Content, Dim, EncoderSizes, Inspection, OnnxFile, TensorFile, Value};
use crate::config::DecoderConfig;
use crate::families::{EncoderConfig, ModelConfig};

impl Display for Inspection {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(config) = &self.config {
            match &config.error {
                None => writeln!(f, "{}", config.path.display())?,
                // The error names the file.
                Some(error) => writeln!(f, "{error}")?,
            }
            if let Some(config) = &config.config {
                writeln!(f, "  {config}")?;
            }
        }
        for file in &self.files {
            writeln!(f, "{} ({})", file.path.display(), Size(file.bytes))?;
            match &file.content {
                Content::Onnx(file) => onnx(f, file)?,
                Content::Safetensors(file) => tensors(f, file)?,
                Content::Error(error) => writeln!(f, "  error: {error}")?,
            }
        }
        Ok(())
    }
}

fn onnx(f: &mut Formatter<'_>, file: &OnnxFile) -> fmt::Result {
    write!(f, "  ONNX IR {}", file.ir_version)?;
    if !file.producer.is_empty() {
        write!(f, ", by {}", file.producer)?;
    }
    writeln!(f, ", {}", list(&file.opsets))?;
    values(f, "inputs", &file.inputs)?;
    values(f, "outputs", &file.outputs)?;
    for (domain, operators) in &file.operators {
        let count: usize = operators.values().sum();
        writeln!(f, "  {count} nodes of {domain}: {}", list(operators))?;
    }
    tensors(f, &file.tensors)
}

fn tensors(f: &mut Formatter<'_>, file: &TensorFile) -> fmt::Result {
    if let Some(precision) = &file.precision {
        writeln!(
            f,
            "  precision: {precision} ({})",
            sizes(&file.linear_bytes)
        )?;
    }
    writeln!(f, "  constants: {}", sizes(&file.constant_bytes))?;
    for external in &file.external_files {
        write!(f, "  external file {} ", external.path)?;
        match (external.bytes, &external.error) {
            (Some(bytes), None) => writeln!(f, "({})", Size(bytes))?,
            (_, error) => {
                let error = error.as_deref().unwrap_or("is missing");
                writeln!(f, "(needs {}): error: {error}", Size(external.needed))?;
            }
        }
    }
    match &file.architecture {
        Architecture::Decoder(config) => writeln!(f, "  architecture: {config}")?,
        Architecture::Encoder(summary) => writeln!(f, "  architecture: {}", summary.sizes)?,
        Architecture::NotRecognised(why) => writeln!(f, "  architecture: not recognised: {why}")?,
        Architecture::Broken(why) => writeln!(f, "  architecture: error: {why}")?,
    }
    for disagreement in &file.disagreements {
        writeln!(f, "  error: {disagreement}")?;
    }
    Ok(())
}

/// The first few: a decoder has two inputs and outputs for each layer's keys and values.
fn values(f: &mut Formatter<'_>, what: &str, values: &[Value]) -> fmt::Result {
    const SHOWN: usize = 6;
    writeln!(f, "  {what}:")?;
    for value in values.iter().take(SHOWN) {
        write!(f, "    {} {}", value.name, value.dtype)?;
        match &value.shape {
            Some(shape) => {
                let dims: Vec<String> = shape.iter().map(Dim::to_string).collect();
                writeln!(f, " [{}]", dims.join(", "))?;
            }
            None => writeln!(f)?,
        }
    }
    if values.len() > SHOWN {
        writeln!(f, "    and {} more", values.len() - SHOWN)?;
    }
    Ok(())
}

fn list(counts: &BTreeMap<String, impl Display>) -> String {
    let parts: Vec<String> = counts.iter().map(|(k, v)| format!("{k} {v}")).collect();
    parts.join(", ")
}

fn sizes(bytes: &BTreeMap<String, u64>) -> String {
    let parts: Vec<String> = bytes
        .iter()
        .map(|(k, &v)| format!("{k} {}", Size(v)))
        .collect();
    parts.join(", ")
}

impl Display for Dim {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(len) => len.fmt(f),
            Self::Named(name) => name.fmt(f),
        }
    }
}

impl Display for DecoderConfig {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "decoder, {} layers, hidden_size {}, {} heads over {}, head_dim {}, \
             intermediate_size {}, vocab_size {}, rope_theta {}, rms_norm_eps {:e}, \
             max_position_embeddings {}",
            self.num_hidden_layers,
            self.hidden_size,
            self.num_attention_heads,
            self.num_key_value_heads,
            self.head_dim,
            self.intermediate_size,
            self.vocab_size,
            self.rope_theta,
            self.rms_norm_eps,
            self.max_position_embeddings
        )
    }
}

impl Display for ModelConfig {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decoder(config) => config.fmt(f),
            Self::Encoder(config) => config.fmt(f),
            Self::Rotary(config) => config.sizes().fmt(f),
        }
    }
}

impl Display for EncoderConfig {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.sizes().fmt(f)
    }
}

impl Display for EncoderSizes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "encoder, {} layers, hidden_size {}, {} heads, intermediate_size {}, vocab_size {}, \
             {} tokens",
            self.num_hidden_layers,
            self.hidden_size,
            self.num_attention_heads,
            self.intermediate_size,
            self.vocab_size,
            self.max_tokens
        )
    }
}

/// A number of bytes, in powers of 1000.
struct Size(u64);

impl Display for Size {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes @ 0..1_000 => write!(f, "{bytes} B"),
            bytes @ 1_000..1_000_000 => write!(f, "{:.1} kB", bytes as f64 / 1e3),
            bytes @ 1_000_000..1_000_000_000 => write!(f, "{:.1} MB", bytes as f64 / 1e6),
            bytes => write!(f, "{:.2} GB", bytes as f64 / 1e9),
        }
    }
}
