//! The table of a `com.microsoft.GatherBlockQuantized`: as a `DequantizeLinear` has it, but for how codes of
//! half a byte are packed and what no zero points mean.

use akidb_onnx::Error;
use akidb_onnx::tensor::{DataType, Tensor};

use super::codes::check_zero_point_type;
use super::dequantize_linear::{DequantizeLinear, DequantizeLinearAttributes, WeightOrder};

/// See `EmbeddingTable::quantized_by_block`.
pub(super) fn block_table(
    packed: &Tensor,
    (bits, block_size): (usize, usize),
    scales: Tensor,
    zero_points: Option<&Tensor>,
) -> Result<DequantizeLinear, Error> {
    let codes = match (packed.dtype(), bits, packed.dims()) {
        (DataType::U8, 4, &[rows, bytes]) => in_halves(packed, [rows, bytes.saturating_mul(2)])?,
        (DataType::U8, 8, [_, _]) | (DataType::U4 | DataType::I4, 4, [_, _]) => packed.clone(),
        (dtype, _, dims) => {
            let why = format!("{dtype} of shape {dims:?} is no table of {bits}-bit codes");
            return Err(Error::tensor(packed.name(), why));
        }
    };
    if block_size < 16 || !block_size.is_power_of_two() {
        let why = format!("no blocks of {block_size} are known");
        return Err(Error::tensor(packed.name(), why));
    }
    let zero_points = match zero_points {
        Some(given) => {
            check_zero_point_type(given, packed)?;
            match bits {
                4 if given.dtype() == DataType::U8 => Some(zero_points_in_halves(given, &scales)?),
                _ => Some(given.clone()),
            }
        }
        // As ONNX Runtime has it: the middle for bytes, 0 for types of 4 bits.
        None if packed.dtype() == DataType::U8 => {
            let (middle, bytes) = match bits {
                4 => (0x88, scales.len().div_ceil(2)),
                _ => (0x80, scales.len()),
            };
            let dims = scales.dims().to_vec();
            let data = vec![middle; bytes].into();
            Some(Tensor::new(packed.name(), codes.dtype(), dims, data)?)
        }
        None => None,
    };
    let attributes = DequantizeLinearAttributes {
        order: WeightOrder::OutIn,
        axis: 1,
        block_size: Some(block_size),
    };
    DequantizeLinear::unscanned(attributes, codes, scales, zero_points)
}

/// The same bytes, two codes in each.
fn in_halves(packed: &Tensor, dims: [usize; 2]) -> Result<Tensor, Error> {
    Tensor::new(
        packed.name(),
        DataType::U4,
        dims.to_vec(),
        packed.data().clone(),
    )
}

/// Zero points one after another: packed, a row begins with a byte of its own.
fn zero_points_in_halves(packed: &Tensor, scales: &Tensor) -> Result<Tensor, Error> {
    let wrong = |tensor: &Tensor| {
        let why = format!("has shape {:?}, not one value a block", tensor.dims());
        Error::tensor(tensor.name(), why)
    };
    let &[rows, blocks] = scales.dims() else {
        return Err(wrong(scales));
    };
    if packed.dims() != [rows, blocks.div_ceil(2)] {
        return Err(wrong(packed));
    }
    if blocks % 2 == 0 {
        return in_halves(packed, [rows, blocks]);
    }
    let halves = |byte: &u8| [byte & 0x0f, byte >> 4];
    let packed_rows = packed.data().chunks(blocks.div_ceil(2));
    let codes: Vec<u8> = packed_rows
        .flat_map(|row| row.iter().flat_map(halves).take(blocks))
        .collect();
    let pairs = codes.chunks(2);
    let bytes: Vec<u8> = pairs
        .map(|pair| pair.iter().rev().fold(0, |byte, code| byte << 4 | code))
        .collect();
    Tensor::new(
        packed.name(),
        DataType::U4,
        vec![rows, blocks],
        bytes.into(),
    )
}

#[cfg(test)]
mod tests {
    use super::super::EmbeddingTable;
    use super::*;

    fn tensor(dtype: DataType, dims: &[usize], data: Vec<u8>) -> Tensor {
        Tensor::new("t", dtype, dims.to_vec(), data.into()).unwrap()
    }

    fn floats(dims: &[usize], values: &[f32]) -> Tensor {
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        tensor(DataType::F32, dims, bytes)
    }

    /// Two rows of 40: three blocks, the last one of 8, and zero points that end in half a byte.
    #[test]
    fn blocks_of_a_row_and_halves_of_bytes() {
        let scales = || floats(&[2, 3], &[1.0, 10.0, 100.0, -1.0, 0.5, 0.0]);
        // Codes 1 and 2 in turn.
        let bytes = tensor(DataType::U8, &[2, 20], vec![0x21; 40]);
        let halves = tensor(DataType::U4, &[2, 40], vec![0x21; 40]);
        let signed = tensor(DataType::I4, &[2, 40], vec![0xf1; 40]);
        let of_bytes = tensor(DataType::U8, &[2, 2], vec![0x10, 0x02, 0x43, 0x05]);
        let of_halves = tensor(DataType::U4, &[2, 3], vec![0x10, 0x32, 0x54]);
        let rows = |codes, zero_points| {
            let table = EmbeddingTable::quantized_by_block(codes, (4, 16), scales(), zero_points);
            let table = table.unwrap();
            assert_eq!((table.vocab_size(), table.hidden_size()), (2, 40));
            [0, 1].map(|id| {
                let mut row = vec![f32::NAN; 40];
                table.read_row(id, &mut row).unwrap();
                // The first two of each block.
                [row[0], row[1], row[16], row[17], row[32], row[39]]
            })
        };
        let with_zeros = [
            [1.0, 2.0, 0.0, 10.0, -100.0, 0.0],
            [2.0, 1.0, -1.5, -1.0, 0.0, 0.0],
        ];
        assert_eq!(rows(&bytes, Some(&of_bytes)), with_zeros);
        assert_eq!(rows(&halves, Some(&of_halves)), with_zeros);
        assert_eq!(
            rows(&bytes, None)[0],
            [-7.0, -6.0, -70.0, -60.0, -700.0, -600.0]
        );
        assert_eq!(rows(&halves, None)[0], [1.0, 2.0, 10.0, 20.0, 100.0, 200.0]);
        assert_eq!(
            rows(&signed, None)[0],
            [1.0, -1.0, 10.0, -10.0, 100.0, -100.0]
        );
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let codes = tensor(DataType::U8, &[2, 32], vec![0; 64]);
        let scales = floats(&[2, 2], &[1.0; 4]);
        let zeros = tensor(DataType::U8, &[2, 2], vec![0; 4]);
        let load = |codes: &Tensor, form, scales: &Tensor, zeros: Option<&Tensor>| {
            EmbeddingTable::quantized_by_block(codes, form, scales.clone(), zeros)
        };
        load(&codes, (8, 16), &scales, Some(&zeros)).unwrap();
        for form in [(8, 0), (8, 8), (8, 24), (8, 32), (8, 1 << 63), (4, 16)] {
            load(&codes, form, &scales, Some(&zeros)).unwrap_err();
        }
        for scales in [
            floats(&[2, 1], &[1.0; 2]),
            floats(&[4], &[1.0; 4]),
            zeros.clone(),
        ] {
            load(&codes, (8, 16), &scales, None).unwrap_err();
        }
        for zeros in [
            tensor(DataType::U8, &[4], vec![0; 4]),
            tensor(DataType::U8, &[2, 1], vec![0; 2]),
            tensor(DataType::U8, &[2, 3], vec![0; 6]),
            tensor(DataType::U8, &[2, 4], vec![0; 8]),
            tensor(DataType::U4, &[2, 2], vec![0; 2]),
            scales.clone(),
        ] {
            load(&codes, (8, 16), &scales, Some(&zeros)).unwrap_err();
        }
        load(&scales, (8, 16), &scales, None).unwrap_err();
        load(
            &tensor(DataType::U8, &[64], vec![0; 64]),
            (8, 16),
            &scales,
            None,
        )
        .unwrap_err();
    }
}
