//! From the tensors of a file to packed weights.

use akidb_kernels::{Isa, NR};
use akidb_onnx::decoder::{Decoder, DecoderLayer, EmbeddingTable};
use akidb_onnx::tensor::Tensor;

use crate::dims::Dims;
use crate::engine::Precision;
use crate::error::EngineError;
use crate::packing::{Part, pack};
use crate::pool::Pool;
use crate::product::Weight;

/// All weights of a model.
#[derive(Debug)]
pub(crate) struct Weights {
    /// `[vocab_size, hidden_size]`, left in the file.
    pub(crate) embed_tokens: EmbeddingTable,
    pub(crate) layers: Vec<Layer>,
    /// `[hidden_size]`.
    pub(crate) norm: Vec<f32>,
}

/// Weights of a layer.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) input_layernorm: Vec<f32>,
    /// Columns as [`Dims`] says.
    pub(crate) qkv: Weight,
    pub(crate) q_norm: Vec<f32>,
    pub(crate) k_norm: Vec<f32>,
    pub(crate) o: Weight,
    pub(crate) post_attention_layernorm: Vec<f32>,
    /// Panels of gate and up in turn.
    pub(crate) gate_up: Weight,
    pub(crate) down: Weight,
}

impl Weights {
    /// Packs every weight for the arithmetic that `precision` asks for, and checks that it is
    /// finite.
    pub(crate) fn pack(
        decoder: &Decoder,
        dims: &Dims,
        precision: Precision,
        isa: Isa,
        pool: &Pool,
    ) -> Result<Self, EngineError> {
        let expected = decoder.config.num_hidden_layers;
        let actual = decoder.layers.len();
        if actual != expected {
            return Err(EngineError::Layers { expected, actual });
        }
        let table = decoder.embed_tokens.tensor();
        check_shape(table, &[dims.vocab_size, dims.hidden_size])?;
        let mut layers: Vec<Option<Layer>> = Vec::new();
        layers.resize_with(actual, || None);
        let tasks = layers.iter_mut().zip(&decoder.layers).collect();
        pool.for_each(
            tasks,
            |(packed, layer): (&mut Option<Layer>, &DecoderLayer)| {
                *packed = Some(pack_layer(layer, dims, precision, isa)?);
                Ok(())
            },
        )?;
        Ok(Self {
            embed_tokens: decoder.embed_tokens.clone(),
            layers: layers.into_iter().flatten().collect(),
            norm: vector(&decoder.norm, dims.hidden_size)?,
        })
    }
}

impl Weights {
    /// Arithmetic of the linear layers.
    pub(crate) fn precision(&self) -> &'static str {
        self.layers
            .first()
            .map_or("f32", |layer| layer.qkv.precision())
    }
}

fn pack_layer(
    layer: &DecoderLayer,
    dims: &Dims,
    precision: Precision,
    isa: Isa,
) -> Result<Layer, EngineError> {
    let hidden = dims.hidden_size;
    let qkv = [
        Part::new(&layer.q_proj, 0, hidden, dims.q_width)?,
        Part::new(&layer.k_proj, dims.k_column, hidden, dims.kv_width)?,
        Part::new(&layer.v_proj, dims.v_column, hidden, dims.kv_width)?,
    ];
    let o = [Part::new(&layer.o_proj, 0, dims.q_width, hidden)?];
    let inner = dims.intermediate_size;
    let gate_up = [
        Part::new(&layer.gate_proj, 0, hidden, inner)?.alternating(),
        Part::new(&layer.up_proj, NR, hidden, inner)?.alternating(),
    ];
    let down = [Part::new(&layer.down_proj, 0, inner, hidden)?];
    Ok(Layer {
        input_layernorm: vector(&layer.input_layernorm, hidden)?,
        qkv: pack(&qkv, hidden, dims.qkv_width(), precision, isa)?,
        q_norm: vector(&layer.q_norm, dims.head_dim)?,
        k_norm: vector(&layer.k_norm, dims.head_dim)?,
        o: pack(&o, dims.q_width, hidden, precision, isa)?,
        post_attention_layernorm: vector(&layer.post_attention_layernorm, hidden)?,
        gate_up: pack(&gate_up, hidden, dims.gate_up_width(), precision, isa)?,
        down: pack(&down, inner, hidden, precision, isa)?,
    })
}

fn vector(tensor: &Tensor, len: usize) -> Result<Vec<f32>, EngineError> {
    check_shape(tensor, &[len])?;
    let values = tensor.to_f32_vec()?;
    check_finite(tensor, 0, &values)?;
    Ok(values)
}

fn check_shape(tensor: &Tensor, expected: &[usize]) -> Result<(), EngineError> {
    if tensor.dims() == expected {
        return Ok(());
    }
    Err(EngineError::TensorShape {
        name: tensor.name().to_owned(),
        expected: expected.to_vec(),
        actual: tensor.dims().to_vec(),
    })
}

/// `values` start at element `first` of the tensor.
pub(crate) fn check_finite(
    tensor: &Tensor,
    first: usize,
    values: &[f32],
) -> Result<(), EngineError> {
    // Without a way out of the loop the compiler can vectorise it.
    if values.iter().fold(true, |all, v| all & v.is_finite()) {
        return Ok(());
    }
    let bad = values.iter().enumerate().find(|(_, v)| !v.is_finite());
    let (offset, value) = bad.unwrap_or((0, &f32::NAN));
    Err(EngineError::NotFinite {
        name: tensor.name().to_owned(),
        element: first + offset,
        value: *value,
    })
}
