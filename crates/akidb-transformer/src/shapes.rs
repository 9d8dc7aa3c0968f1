//! Do a decoder's tensors fit its configuration?

use akidb_onnx::tensor::Tensor;
use akidb_onnx::{Error, shorten};

use crate::config::DecoderConfig;
use crate::transformer::{Block, Transformer};

/// Refuses a decoder with a tensor of another shape than its configuration asks for.
pub(crate) fn check(decoder: &Transformer, config: &DecoderConfig) -> Result<(), Error> {
    let table = decoder.embeddings.words.tensor();
    expect(table, &[config.vocab_size, config.hidden_size])?;
    if let Some(norm) = &decoder.final_norm
        && norm.weight.dims() != [config.hidden_size]
    {
        // Either may be the wrong one.
        let norm = &norm.weight;
        let (table, dims) = (shorten(table.name()), table.dims());
        let why = format!("has shape {:?}, but {table:?} has {dims:?}", norm.dims());
        return Err(Error::tensor(norm.name(), why));
    }
    if decoder.blocks.len() != config.num_hidden_layers {
        return Err(Error::graph(format!(
            "{} layers, not {}",
            decoder.blocks.len(),
            config.num_hidden_layers
        )));
    }
    let mut blocks = decoder.blocks.iter();
    blocks.try_for_each(|block| check_block(config, block))
}

fn check_block(config: &DecoderConfig, block: &Block) -> Result<(), Error> {
    let hidden = config.hidden_size;
    let queries = config.num_attention_heads * config.head_dim;
    let keys = config.num_key_value_heads * config.head_dim;
    let inner = config.intermediate_size;
    let (attention, mlp) = (&block.attention, &block.mlp);
    for (norm, len) in [
        (&block.attention_norms.before, hidden),
        (&attention.query_norm, config.head_dim),
        (&attention.key_norm, config.head_dim),
        (&block.mlp_norms.before, hidden),
    ] {
        if let Some(norm) = norm {
            expect(&norm.weight, &[len])?;
        }
    }
    for (linear, k, n) in [
        (Some(&attention.query), hidden, queries),
        (Some(&attention.key), hidden, keys),
        (Some(&attention.value), hidden, keys),
        (Some(&attention.output), queries, hidden),
        (mlp.gate.as_ref(), hidden, inner),
        (Some(&mlp.up), hidden, inner),
        (Some(&mlp.down), inner, hidden),
    ] {
        let Some(linear) = linear else { continue };
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
