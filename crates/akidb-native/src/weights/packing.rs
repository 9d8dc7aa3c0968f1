//! From a file's linear layers to a packed weight.

use akidb_kernels::{
    Int8Type, Isa, NBitsCodes, NBitsFormat, NR, PackedBf16, PackedF32, PackedInt8, PackedNBits,
    Precision, ShapeError, Weight, quantize_int4, quantize_int8,
};
use akidb_onnx::tensor::{DataType, Tensor};
use akidb_transformer::{Linear, LinearWeight, Transformer};

use crate::error::EngineError;

/// Rows of a weight that are read at a time: so many outputs lie in one panel.
const ROWS_AT_A_TIME: usize = NR;

/// Weights along K with one scale, where better weights are made into 4 bits.
const INT4_BLOCK_SIZE: usize = 32;

/// A linear layer among the columns of a packed weight.
pub(super) struct Part<'a> {
    linear: &'a Linear,
    first_column: usize,
    /// Outputs in neighbouring columns; if not all, whole panels.
    run: usize,
    /// Columns from the first of these to the first of the next ones.
    stride: usize,
}

impl<'a> Part<'a> {
    /// A layer, which must be `k` by `width`, in neighbouring columns.
    pub(super) fn new(
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
            run: width,
            stride: width,
        })
    }

    /// The layer with `run` outputs in neighbouring columns, whole panels or all of them, and the
    /// next ones `stride` columns behind those.
    pub(super) fn in_runs(self, [run, stride]: [usize; 2]) -> Self {
        Self {
            run: run.min(self.run),
            stride,
            ..self
        }
    }

    /// Column of an output.
    fn column(&self, output: usize) -> usize {
        self.first_column + output / self.run * self.stride + output % self.run
    }

    /// Calls `write` with the index of an output and the f32 weights of some outputs from there
    /// on, `[outputs, k]`, until all are done.
    fn for_outputs(
        &self,
        write: impl FnMut(usize, &[f32]) -> Result<(), ShapeError>,
    ) -> Result<(), EngineError> {
        let shape = [self.linear.out_features(), self.linear.in_features()];
        let read = |first, rows: &mut [f32]| self.linear.dequantize(first, rows);
        self.for_rows(shape, read, write)
    }

    /// Calls `read`, then `write` with the index of a row and some rows from there on, until all
    /// of `[rows, width]` are done.
    fn for_rows(
        &self,
        [rows, width]: [usize; 2],
        read: impl Fn(usize, &mut [f32]) -> Result<(), akidb_onnx::Error>,
        mut write: impl FnMut(usize, &[f32]) -> Result<(), ShapeError>,
    ) -> Result<(), EngineError> {
        let tensor = self.linear.weight().tensor();
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
}

/// What is added to the columns of parts that lie side by side, `n` in all.
pub(super) fn bias(parts: &[Part<'_>], n: usize) -> Result<Option<Vec<f32>>, EngineError> {
    if parts.iter().all(|part| part.linear.bias().is_none()) {
        return Ok(None);
    }
    let mut all = vec![0.0; n];
    for part in parts {
        let Some(bias) = part.linear.bias() else {
            continue;
        };
        for (output, value) in super::vector(bias, part.linear.out_features())?
            .into_iter()
            .enumerate()
        {
            if let Some(column) = all.get_mut(part.column(output)) {
                *column = value;
            }
        }
    }
    Ok(Some(all))
}

/// Packs parts side by side, `k` by `n` in all.
pub(super) fn pack(
    parts: &[Part<'_>],
    k: usize,
    n: usize,
    precision: Precision,
    isa: Isa,
) -> Result<Weight, EngineError> {
    let codes = StoredCodes::of(parts);
    Ok(match (precision, codes) {
        (Precision::Auto, Some(codes)) => codes.pack(parts, k, n)?,
        (wanted, Some(codes)) if wanted == codes.precision() => codes.pack(parts, k, n)?,
        (Precision::Auto, None) if isa.has_bf16() && are_half(parts) => bf16(parts, k, n)?,
        (Precision::Bf16, _) => bf16(parts, k, n)?,
        (Precision::Int8, _) => int8(parts, k, n, isa)?,
        (Precision::Int4, _) => int4(parts, k, n, isa)?,
        (Precision::Auto | Precision::F32, _) => {
            let mut packed = PackedF32::zeros(k, n)?;
            floats(
                parts,
                &mut packed,
                |packed, k0, n0, width, rows| packed.write_kn(k0, n0, width, rows),
                |packed, n0, columns| packed.write_nk(n0, columns),
            )?;
            Weight::F32(packed)
        }
    })
}

/// `Auto` as f32 where every weight comes to that: one pack is kept for both.
pub(super) fn settled(precision: Precision, model: &Transformer, isa: Isa) -> Precision {
    let other =
        |linear: &Linear| linear.weight().is_quantized() || (isa.has_bf16() && is_half(linear));
    match precision {
        Precision::Auto if !model.linears().any(other) => Precision::F32,
        wanted => wanted,
    }
}

/// True when every weight is stored in 16 bits.
fn are_half(parts: &[Part<'_>]) -> bool {
    parts.iter().all(|part| is_half(part.linear))
}

fn is_half(linear: &Linear) -> bool {
    match linear.weight() {
        LinearWeight::InOut(weight) | LinearWeight::OutIn(weight) => {
            matches!(weight.dtype(), DataType::F16 | DataType::BF16)
        }
        _ => false,
    }
}

fn bf16(parts: &[Part<'_>], k: usize, n: usize) -> Result<Weight, EngineError> {
    let mut packed = PackedBf16::zeros(k, n)?;
    floats(
        parts,
        &mut packed,
        |packed, k0, n0, width, rows| packed.write_kn(k0, n0, width, rows),
        |packed, n0, columns| packed.write_nk(n0, columns),
    )?;
    Ok(Weight::Bf16(packed))
}

/// Writes weights of any form as f32, in the order in which they are stored.
fn floats<P>(
    parts: &[Part<'_>],
    packed: &mut P,
    write_kn: impl Fn(&mut P, usize, usize, usize, &[f32]) -> Result<(), ShapeError>,
    write_nk: impl Fn(&mut P, usize, &[f32]) -> Result<(), ShapeError>,
) -> Result<(), EngineError> {
    for part in parts {
        let linear = part.linear;
        let (k, width) = (linear.in_features(), linear.out_features());
        match linear.weight() {
            LinearWeight::InOut(weight) if weight.dims() == [k, width] => {
                let read = |first, rows: &mut [f32]| weight.read_f32(first * width, rows);
                let run = part.run;
                let mut columns = Vec::new();
                part.for_rows([k, width], read, |first, rows| {
                    if run == width {
                        return write_kn(packed, first, part.first_column, width, rows);
                    }
                    for output in (0..width).step_by(run) {
                        let outputs = output..width.min(output + run);
                        columns.clear();
                        for row in rows.chunks_exact(width) {
                            columns.extend_from_slice(&row[outputs.clone()]);
                        }
                        write_kn(packed, first, part.column(output), outputs.len(), &columns)?;
                    }
                    Ok(())
                })?;
            }
            _ => part.for_outputs(|first, rows| write_nk(packed, part.column(first), rows))?,
        }
    }
    Ok(())
}

/// Weights of any form, as 8-bit codes with one scale for each output.
fn int8(parts: &[Part<'_>], k: usize, n: usize, isa: Isa) -> Result<Weight, EngineError> {
    let mut packed = PackedInt8::zeros(k, n, Int8Type::I8)?;
    let mut codes = vec![0; k];
    for part in parts {
        part.for_outputs(|first, rows| {
            for (output, row) in (first..).zip(rows.chunks_exact(k)) {
                let scale = quantize_int8(isa, row, &mut codes)?;
                let column = part.column(output);
                packed.write_nk(column, &codes)?;
                packed.write_quantization(column, &[scale], &[0])?;
            }
            Ok(())
        })?;
    }
    Ok(Weight::Int8(packed))
}

/// Weights of any form, as 4-bit codes with one scale for each block.
fn int4(parts: &[Part<'_>], k: usize, n: usize, isa: Isa) -> Result<Weight, EngineError> {
    let format = NBitsFormat {
        codes: NBitsCodes::Int4,
        block_size: INT4_BLOCK_SIZE,
        zero_points: false,
    };
    let mut packed = PackedNBits::zeros(k, n, format)?;
    let mut codes = vec![0; k];
    let mut scales = vec![0.0; k.div_ceil(INT4_BLOCK_SIZE)];
    for part in parts {
        part.for_outputs(|first, rows| {
            for (output, row) in (first..).zip(rows.chunks_exact(k)) {
                quantize_int4(isa, row, INT4_BLOCK_SIZE, &mut codes, &mut scales)?;
                packed.write_column(part.column(output), &codes, &scales, None)?;
            }
            Ok(())
        })?;
    }
    Ok(Weight::NBits(packed))
}

/// Form of the codes that a file has.
#[derive(Clone, Copy)]
enum StoredCodes {
    /// Of `MatMulInteger`.
    Int8(Int8Type),
    /// With a scale for each block.
    NBits(NBitsFormat),
}

impl StoredCodes {
    /// `None` when a part is of another form, or the parts' forms differ.
    fn of(parts: &[Part<'_>]) -> Option<Self> {
        if let Some(int8_type) = stored_int8_type(parts) {
            return Some(Self::Int8(int8_type));
        }
        let formats: Vec<NBitsFormat> = parts.iter().map(stored_format).collect::<Option<_>>()?;
        let first = *formats.first()?;
        let same = |other: &NBitsFormat| {
            (other.codes, other.block_size) == (first.codes, first.block_size)
        };
        formats.iter().all(same).then_some(Self::NBits(NBitsFormat {
            zero_points: formats.iter().any(|format| format.zero_points),
            ..first
        }))
    }

    /// Arithmetic of their product.
    fn precision(self) -> Precision {
        match self {
            Self::Int8(_) => Precision::Int8,
            Self::NBits(format) => format.precision(),
        }
    }

    fn pack(self, parts: &[Part<'_>], k: usize, n: usize) -> Result<Weight, EngineError> {
        match self {
            Self::Int8(int8_type) => stored_int8(parts, k, n, int8_type),
            Self::NBits(format) => stored_nbits(parts, k, n, format),
        }
    }
}

/// The type of all parts' codes, if they are those of `MatMulInteger`.
fn stored_int8_type(parts: &[Part<'_>]) -> Option<Int8Type> {
    let mut types = parts.iter().map(|part| match part.linear.weight() {
        LinearWeight::MatMulInteger(weight) => match weight.codes().dtype() {
            DataType::I8 => Some(Int8Type::I8),
            DataType::U8 => Some(Int8Type::U8),
            _ => None,
        },
        _ => None,
    });
    let first = types.next()??;
    types.all(|other| other == Some(first)).then_some(first)
}

fn stored_int8(
    parts: &[Part<'_>],
    k: usize,
    n: usize,
    int8_type: Int8Type,
) -> Result<Weight, EngineError> {
    let mut packed = PackedInt8::zeros(k, n, int8_type)?;
    for part in parts {
        let LinearWeight::MatMulInteger(weight) = part.linear.weight() else {
            continue;
        };
        let (first, width) = (part.linear.first_output(), part.linear.out_features());
        let mut scales = vec![0.0; width];
        weight.read_scales(first, &mut scales)?;
        let mut zero_points = vec![0.0; width];
        weight.read_zero_points(first, &mut zero_points)?;
        // The low byte is the code's, signed or not.
        let zero_points: Vec<u8> = zero_points.iter().map(|zero| *zero as i16 as u8).collect();
        let codes = weight.codes();
        let stride = weight.out_features();
        let run = part.run;
        let mut buffer = Vec::with_capacity(ROWS_AT_A_TIME * run);
        for output in (0..width).step_by(run) {
            let column = part.column(output);
            let outputs = output..width.min(output + run);
            let (scales, zero_points) = (&scales[outputs.clone()], &zero_points[outputs.clone()]);
            packed.write_quantization(column, scales, zero_points)?;
            for k0 in (0..k).step_by(ROWS_AT_A_TIME) {
                buffer.clear();
                for row in k0..k.min(k0 + ROWS_AT_A_TIME) {
                    let start = row * stride + first + output;
                    let row = codes.data().get(start..start + outputs.len());
                    buffer.extend_from_slice(row.unwrap_or_default());
                }
                packed.write_kn(k0, column, outputs.len(), &buffer)?;
            }
        }
    }
    Ok(Weight::Int8(packed))
}

/// The format of a part's codes, if they have a scale for each block of an output.
fn stored_format(part: &Part<'_>) -> Option<NBitsFormat> {
    match part.linear.weight() {
        LinearWeight::MatMulNBits(weight) => {
            let attributes = weight.attributes();
            Some(NBitsFormat {
                codes: match attributes.bits {
                    4 => NBitsCodes::Int4,
                    _ => NBitsCodes::Int8,
                },
                block_size: attributes.block_size,
                zero_points: weight.has_zero_points(),
            })
        }
        LinearWeight::MatMulBnb4(weight) => {
            let attributes = weight.attributes();
            let block_size = attributes.block_size;
            // Otherwise blocks go on from one output to the next.
            let whole = attributes.in_features.is_multiple_of(block_size);
            let fits = block_size == 16 || block_size.is_multiple_of(32);
            (whole && fits).then_some(NBitsFormat {
                codes: NBitsCodes::Levels(*attributes.quant_type.table()),
                block_size,
                zero_points: false,
            })
        }
        _ => None,
    }
}

fn stored_nbits(
    parts: &[Part<'_>],
    k: usize,
    n: usize,
    format: NBitsFormat,
) -> Result<Weight, EngineError> {
    let mut packed = PackedNBits::zeros(k, n, format)?;
    let blocks = k.div_ceil(format.block_size);
    let mut codes = vec![0; k];
    let (mut scales, mut zero_points) = (vec![0.0; blocks], vec![0.0; blocks]);
    for part in parts {
        for output in 0..part.linear.out_features() {
            let stored = part.linear.first_output() + output;
            match part.linear.weight() {
                LinearWeight::MatMulNBits(weight) => {
                    weight.read_codes(stored, &mut codes)?;
                    weight.read_scales(stored * blocks, &mut scales)?;
                    weight.read_zero_points(stored * blocks, &mut zero_points)?;
                }
                LinearWeight::MatMulBnb4(weight) => {
                    weight.read_codes(stored, &mut codes)?;
                    weight.absmax().read_f32(stored * blocks, &mut scales)?;
                }
                _ => continue,
            }
            let zero_points = format.zero_points.then_some(&*zero_points);
            packed.write_column(part.column(output), &codes, &scales, zero_points)?;
        }
    }
    Ok(Weight::NBits(packed))
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
