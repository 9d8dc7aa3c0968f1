//! Do a decoder's tensors fit its configuration?

use akidb_onnx::tensor::Tensor;
use akidb_onnx::{Error, shorten};

use crate::config::DecoderConfig;
use crate::decoder::{Decoder, DecoderLayer};

/// Refuses a decoder with a tensor of another shape than its configuration asks for.
pub(crate) fn check(decoder: &Decoder) -> Result<(), Error> {
    let config = &decoder.config;
    let (table, norm) = (decoder.embed_tokens.tensor(), &decoder.norm);
    expect(table, &[config.vocab_size, config.hidden_size])?;
    if norm.dims() != [config.hidden_size] {
        // Either may be the wrong one.
        let (table, dims) = (shorten(table.name()), table.dims());
        let why = format!("has shape {:?}, but {table:?} has {dims:?}", norm.dims());
        return Err(Error::tensor(norm.name(), why));
    }
    if decoder.layers.len() != config.num_hidden_layers {
        return Err(Error::graph(format!(
            "{} layers, not {}",
            decoder.layers.len(),
            config.num_hidden_layers
        )));
    }
    decoder
        .layers
        .iter()
        .try_for_each(|layer| check_layer(config, layer))
}

fn check_layer(config: &DecoderConfig, layer: &DecoderLayer) -> Result<(), Error> {
    let hidden = config.hidden_size;
    let queries = config.num_attention_heads * config.head_dim;
    let keys = config.num_key_value_heads * config.head_dim;
    let inner = config.intermediate_size;
    for (norm, len) in [
        (&layer.input_layernorm, hidden),
        (&layer.q_norm, config.head_dim),
        (&layer.k_norm, config.head_dim),
        (&layer.post_attention_layernorm, hidden),
    ] {
        expect(norm, &[len])?;
    }
    for (linear, k, n) in [
        (&layer.q_proj, hidden, queries),
        (&layer.k_proj, hidden, keys),
        (&layer.v_proj, hidden, keys),
        (&layer.o_proj, queries, hidden),
        (&layer.gate_proj, hidden, inner),
        (&layer.up_proj, hidden, inner),
        (&layer.down_proj, inner, hidden),
    ] {
        if (linear.in_features(), linear.out_features()) != (k, n) {
            let tensor = linear.weight().tensor();
            let why = format!(
                "has shape {:?} and makes {} values of {}, the model's sizes need {n} of {k}",
                tensor.dims(),
                linear.out_features(),
                linear.in_features()
            );
            return Err(Error::tensor(tensor.name(), why));
        }
    }
    Ok(())
}

fn expect(tensor: &Tensor, dims: &[usize]) -> Result<(), Error> {
    if tensor.dims() == dims {
        return Ok(());
    }
    let why = format!(
        "has shape {:?}, the model's sizes need {dims:?}",
        tensor.dims()
    );
    Err(Error::tensor(tensor.name(), why))
}
