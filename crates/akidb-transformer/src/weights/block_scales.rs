//! Scales and zero points of a table's blocks (`com.microsoft.GatherBlockQuantized`).

use akidb_onnx::Error;
use akidb_onnx::tensor::{DataType, Tensor};

use super::codes::read_codes;

/// Blocks whose scales and zero points are read together.
const BLOCKS_AT_A_TIME: usize = 64;

/// Each block of a row has a scale and a zero point. Cloning shares the tensors.
#[derive(Debug, Clone)]
pub(super) struct BlockScales {
    block_size: usize,
    /// Blocks of a row.
    blocks: usize,
    scales: Tensor,
    zero_points: ZeroPoints,
}

#[derive(Debug, Clone)]
enum ZeroPoints {
    /// The same everywhere.
    All(f32),
    /// Codes, and how many of them a row has: there may be more than blocks.
    ByBlock(Tensor, usize),
}

/// Codes one by one, however they are packed: 4-bit ones in `u8` become `u4`, two of a byte.
pub(super) fn unpacked(codes: &Tensor, bits: usize) -> Result<Tensor, Error> {
    match (codes.dtype(), bits, codes.dims()) {
        (DataType::U8, 4, &[rows, bytes]) => {
            let dims = vec![rows, bytes.saturating_mul(2)];
            Tensor::new(codes.name(), DataType::U4, dims, codes.data().clone())
        }
        (DataType::U8, 8, [_, _]) | (DataType::U4 | DataType::I4, 4, [_, _]) => Ok(codes.clone()),
        (dtype, _, dims) => {
            let why = format!("{dtype} of shape {dims:?} is no table of {bits}-bit codes");
            Err(Error::tensor(codes.name(), why))
        }
    }
}

impl BlockScales {
    /// With scales that are known to be finite. Of `codes`, `[rows, width]` as [`unpacked`] gives them; `packed` is what the file has.
    pub(super) fn new(
        codes: &Tensor,
        packed: &Tensor,
        bits: usize,
        block_size: usize,
        scales: Tensor,
        zero_points: Option<&Tensor>,
    ) -> Result<Self, Error> {
        let &[rows, width] = codes.dims() else {
            return Err(Error::tensor(codes.name(), "has not two axes"));
        };
        if block_size < 16 || !block_size.is_power_of_two() {
            let why = format!("no blocks of {block_size} are known");
            return Err(Error::tensor(codes.name(), why));
        }
        let blocks = width.div_ceil(block_size);
        if !scales.dtype().is_float() || scales.dims() != [rows, blocks] {
            let (dtype, dims) = (scales.dtype(), scales.dims());
            let why = format!(
                "is {dtype} of shape {dims:?}, not floats of {:?}",
                [rows, blocks]
            );
            return Err(Error::tensor(scales.name(), why));
        }
        let zero_points = match zero_points {
            // As ONNX Runtime has it: the middle for bytes, 0 for types of 4 bits.
            None if packed.dtype() == DataType::U8 => ZeroPoints::All((1u32 << (bits - 1)) as f32),
            None => ZeroPoints::All(0.0),
            Some(given) if given.dtype() == packed.dtype() => {
                let given = unpacked(given, bits)?;
                match *given.dims() {
                    // A row begins with a byte of its own.
                    [of, each] if of == rows && each >= blocks && each - blocks < 2 => {
                        ZeroPoints::ByBlock(given, each)
                    }
                    ref dims => {
                        let why = format!("has shape {dims:?}, there are {:?}", [rows, blocks]);
                        return Err(Error::tensor(given.name(), why));
                    }
                }
            }
            Some(given) => {
                let why = format!("is {}, the codes are {}", given.dtype(), packed.dtype());
                return Err(Error::tensor(given.name(), why));
            }
        };
        Ok(Self {
            block_size,
            blocks,
            scales,
            zero_points,
        })
    }

    /// Makes values of the codes of row `id`: `(code - zero_point) * scale`, in f32.
    pub(super) fn apply(&self, id: usize, row: &mut [f32]) -> Result<(), Error> {
        let mut scales = [0.0; BLOCKS_AT_A_TIME];
        let mut zeros = [0.0; BLOCKS_AT_A_TIME];
        for (part, values) in row
            .chunks_mut(BLOCKS_AT_A_TIME * self.block_size)
            .enumerate()
        {
            let (first, count) = (
                part * BLOCKS_AT_A_TIME,
                values.len().div_ceil(self.block_size),
            );
            let (scales, zeros) = (&mut scales[..count], &mut zeros[..count]);
            self.scales.read_f32(id * self.blocks + first, scales)?;
            match &self.zero_points {
                ZeroPoints::All(zero) => zeros.fill(*zero),
                ZeroPoints::ByBlock(codes, each) => read_codes(codes, id * each + first, zeros)?,
            }
            let blocks = values.chunks_mut(self.block_size);
            for (block, (scale, zero)) in blocks.zip(scales.iter().zip(zeros)) {
                for value in block {
                    *value = (*value - *zero) * scale;
                }
            }
        }
        Ok(())
    }
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
