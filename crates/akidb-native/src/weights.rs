//! From the tensors of a file to packed weights.

use akidb_kernels::{Int8Type, PackedF32, PackedInt8, ShapeError};
use akidb_onnx::decoder::{Decoder, DecoderLayer, EmbeddingTable, Linear, LinearWeight};
use akidb_onnx::tensor::{DataType, Tensor};

use crate::dims::Dims;
use crate::engine::Precision;
use crate::error::EngineError;
use crate::pool::Pool;
use crate::product::Weight;

/// Rows of a weight that are read at a time: enough to write whole runs of a panel.
const ROWS_AT_A_TIME: usize = 32;

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
    /// Columns as [`Dims`] says.
    pub(crate) gate_up: Weight,
    pub(crate) down: Weight,
}

impl Weights {
    /// Packs every weight, in f32 however the file stores it, and checks that it is finite.
    pub(crate) fn pack(
        decoder: &Decoder,
        dims: &Dims,
        precision: Precision,
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
        pool.run(
            &mut vec![(); pool.threads()],
            tasks,
            |(), (packed, layer)| {
                *packed = Some(pack_layer(layer, dims, precision)?);
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

fn pack_layer(
    layer: &DecoderLayer,
    dims: &Dims,
    precision: Precision,
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
        Part::new(&layer.gate_proj, 0, hidden, inner)?,
        Part::new(&layer.up_proj, dims.up_column, hidden, inner)?,
    ];
    let down = [Part::new(&layer.down_proj, 0, inner, hidden)?];
    Ok(Layer {
        input_layernorm: vector(&layer.input_layernorm, hidden)?,
        qkv: pack(&qkv, hidden, dims.qkv_width(), precision)?,
        q_norm: vector(&layer.q_norm, dims.head_dim)?,
        k_norm: vector(&layer.k_norm, dims.head_dim)?,
        o: pack(&o, dims.q_width, hidden, precision)?,
        post_attention_layernorm: vector(&layer.post_attention_layernorm, hidden)?,
        gate_up: pack(&gate_up, hidden, dims.gate_up_width(), precision)?,
        down: pack(&down, inner, hidden, precision)?,
    })
}

/// A linear layer among the columns of a packed weight.
struct Part<'a> {
    linear: &'a Linear,
    first_column: usize,
}

impl<'a> Part<'a> {
    /// A layer, which must be `k` by `width`.
    fn new(
        linear: &'a Linear,
        first_column: usize,
        k: usize,
        width: usize,
    ) -> Result<Self, EngineError> {
        let actual = [linear.in_features(), linear.out_features()];
        if actual != [k, width] {
            return Err(EngineError::TensorShape {
                name: linear.weight().tensor().name().to_owned(),
                expected: vec![k, width],
                actual: actual.to_vec(),
            });
        }
        Ok(Self {
            linear,
            first_column,
        })
    }
}

/// Packs parts side by side.
fn pack(
    parts: &[Part<'_>],
    k: usize,
    n: usize,
    precision: Precision,
) -> Result<Weight, EngineError> {
    if precision == Precision::Auto
        && let Some(packed) = pack_int8(parts, k, n)?
    {
        return Ok(Weight::Int8(packed));
    }
    Ok(Weight::F32(pack_f32(parts, k, n)?))
}

/// 8-bit codes as the file has them; `None` when a part is of another form, or when the parts'
/// codes are of different types.
fn pack_int8(parts: &[Part<'_>], k: usize, n: usize) -> Result<Option<PackedInt8>, EngineError> {
    let mut weights = Vec::new();
    for part in parts {
        let LinearWeight::MatMulInteger(weight) = part.linear.weight() else {
            return Ok(None);
        };
        weights.push((part, weight));
    }
    let dtypes = || weights.iter().map(|(_, weight)| weight.codes().dtype());
    let int8_type = if dtypes().all(|dtype| dtype == DataType::I8) {
        Int8Type::I8
    } else if dtypes().all(|dtype| dtype == DataType::U8) {
        Int8Type::U8
    } else {
        return Ok(None);
    };
    let mut packed = PackedInt8::zeros(k, n, int8_type)?;
    for (part, weight) in weights {
        let (first, width) = (part.linear.first_output(), part.linear.out_features());
        let mut scales = vec![0.0; width];
        weight.read_scales(first, &mut scales)?;
        let mut zero_points = vec![0.0; width];
        weight.read_zero_points(first, &mut zero_points)?;
        // The low byte is the code's, signed or not.
        let zero_points: Vec<u8> = zero_points.iter().map(|zero| *zero as i16 as u8).collect();
        packed.write_quantization(part.first_column, &scales, &zero_points)?;
        let codes = weight.codes();
        let stride = weight.out_features();
        let mut buffer = Vec::with_capacity(ROWS_AT_A_TIME * width);
        for k0 in (0..k).step_by(ROWS_AT_A_TIME) {
            buffer.clear();
            for row in k0..k.min(k0 + ROWS_AT_A_TIME) {
                let start = row * stride + first;
                let row = codes.data().get(start..start + width);
                buffer.extend_from_slice(row.unwrap_or_default());
            }
            packed.write_kn(k0, part.first_column, width, &buffer)?;
        }
    }
    Ok(Some(packed))
}

/// Weights of any form, as f32. Room is made only now, when the file is known to hold as much.
fn pack_f32(parts: &[Part<'_>], k: usize, n: usize) -> Result<PackedF32, EngineError> {
    let mut packed = PackedF32::zeros(k, n)?;
    for &Part {
        linear,
        first_column,
    } in parts
    {
        let tensor = linear.weight().tensor();
        let width = linear.out_features();
        match linear.weight() {
            // Already in the order of panels.
            LinearWeight::InOut(weight) if weight.dims() == [k, width] => for_rows(
                tensor,
                [k, width],
                |first, rows| weight.read_f32(first * width, rows),
                |first, rows| packed.write_kn(first, first_column, width, rows),
            )?,
            _ => for_rows(
                tensor,
                [width, k],
                |first, rows| linear.dequantize(first, rows),
                |first, rows| packed.write_nk(first_column + first, rows),
            )?,
        }
    }
    Ok(packed)
}

/// Calls `read`, then `write` with the index of a row and some rows from there on, until all of
/// `[rows, width]` are done.
fn for_rows(
    tensor: &Tensor,
    [rows, width]: [usize; 2],
    read: impl Fn(usize, &mut [f32]) -> Result<(), akidb_onnx::Error>,
    mut write: impl FnMut(usize, &[f32]) -> Result<(), ShapeError>,
) -> Result<(), EngineError> {
    let mut buffer = vec![0.0; ROWS_AT_A_TIME.min(rows) * width];
    let mut row = 0;
    while row < rows {
        let count = ROWS_AT_A_TIME.min(rows - row);
        let values = &mut buffer[..count * width];
        read(row, values)?;
        check_finite(tensor, row * width, values)?;
        write(row, values)?;
        row += count;
    }
    Ok(())
}

impl Weights {
    /// Arithmetic of the linear layers.
    pub(crate) fn precision(&self) -> &'static str {
        match self.layers.first().map(|layer| &layer.qkv) {
            Some(Weight::Int8(_)) => "int8",
            Some(Weight::F32(_)) | None => "f32",
        }
    }
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
fn check_finite(tensor: &Tensor, first: usize, values: &[f32]) -> Result<(), EngineError> {
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
