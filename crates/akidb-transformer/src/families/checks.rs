//! What all families check of a config.json and of tensors.

use akidb_onnx::tensor::Tensor;
use akidb_onnx::{Disagreement, Error, ErrorKind, shorten};

use crate::inspect::EncoderSizes;
use crate::transformer::{Activation, Transformer};

/// Most layers, and the largest of every other size, that are believed.
pub(super) const MAX_LAYERS: usize = 1 << 10;
const MAX_SIZE: usize = 1 << 24;

/// Refuses sizes that are zero or absurd.
pub(super) fn check_sizes(sizes: &EncoderSizes) -> Result<(), Error> {
    for (key, value, max) in [
        ("num_hidden_layers", sizes.num_hidden_layers, MAX_LAYERS),
        ("hidden_size", sizes.hidden_size, MAX_SIZE),
        ("num_attention_heads", sizes.num_attention_heads, MAX_SIZE),
        ("intermediate_size", sizes.intermediate_size, MAX_SIZE),
        ("vocab_size", sizes.vocab_size, MAX_SIZE),
        ("max_position_embeddings", sizes.max_tokens, MAX_SIZE),
    ] {
        if value == 0 || value > max {
            return Err(invalid(key, format!("{value} is not between 1 and {max}")));
        }
    }
    Ok(())
}

/// Refuses an epsilon that no norm has, NaN among them.
pub(super) fn check_epsilon(key: &'static str, epsilon: f32) -> Result<(), Error> {
    if epsilon > 0.0 && epsilon < 1.0 {
        return Ok(());
    }
    Err(invalid(key, format!("{epsilon} is not between 0 and 1")))
}

/// Where a model's sizes are others than `config`'s, save for its longest text.
pub(super) fn disagreements(config: &EncoderSizes, model: &Transformer) -> Vec<Disagreement> {
    let found = EncoderSizes::of(model);
    let sizes = [
        ("hidden_size", config.hidden_size, found.hidden_size),
        (
            "num_hidden_layers",
            config.num_hidden_layers,
            found.num_hidden_layers,
        ),
        (
            "num_attention_heads",
            config.num_attention_heads,
            found.num_attention_heads,
        ),
        (
            "intermediate_size",
            config.intermediate_size,
            found.intermediate_size,
        ),
        ("vocab_size", config.vocab_size, found.vocab_size),
    ];
    let others = sizes
        .into_iter()
        .filter(|(_, config, graph)| config != graph);
    let disagreement = |(key, config, graph): (_, usize, usize)| Disagreement {
        key,
        config: config.to_string(),
        graph: graph.to_string(),
    };
    others.map(disagreement).collect()
}

/// The tensor, which must be of floats and of this shape.
pub(super) fn shaped(tensor: Tensor, dims: &[usize]) -> Result<Tensor, Error> {
    if tensor.dims() == dims && tensor.dtype().is_float() {
        return Ok(tensor);
    }
    let why = format!(
        "is {} of shape {:?}, config.json needs floats of {dims:?}",
        tensor.dtype(),
        tensor.dims()
    );
    Err(Error::tensor(tensor.name(), why))
}

/// The function that a config.json names.
pub(super) fn activation(key: &'static str, name: Option<&str>) -> Result<Activation, Error> {
    match name {
        None | Some("gelu" | "gelu_python") => Ok(Activation::GeluErf),
        Some("gelu_new" | "gelu_pytorch_tanh" | "gelu_fast") => Ok(Activation::GeluTanh),
        Some(other) => Err(unsupported(key, other)),
    }
}

/// What a file must say; other backends do without.
pub(super) fn need<T>(key: &'static str, value: Option<T>) -> Result<T, Error> {
    value.ok_or_else(|| unsupported(key, "nothing"))
}

/// A value that can't be.
pub(super) fn invalid(key: &'static str, why: String) -> Error {
    ErrorKind::Config { key, why }.into()
}

/// A value that asks for something that isn't done.
pub(super) fn unsupported(key: &'static str, value: &str) -> Error {
    ErrorKind::Unsupported {
        key,
        value: shorten(value),
    }
    .into()
}
