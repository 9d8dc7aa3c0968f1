//! Integers of 4 and 8 bits that stand for a quantized weight's values.

use akidb_onnx::Error;
use akidb_onnx::tensor::{DataType, Tensor};

/// Refuses zero points of another type than the codes.
pub(super) fn check_zero_point_type(zero_points: &Tensor, codes: &Tensor) -> Result<(), Error> {
    if zero_points.dtype() == codes.dtype() {
        return Ok(());
    }
    let why = format!(
        "zero points are {}, the codes {}",
        zero_points.dtype(),
        codes.dtype()
    );
    Err(Error::tensor(zero_points.name(), why))
}

/// Codes from element `start` on, as numbers.
///
/// # Errors
/// When there are fewer, or the tensor holds no codes.
pub(super) fn read_codes(codes: &Tensor, start: usize, out: &mut [f32]) -> Result<(), Error> {
    let end = start.checked_add(out.len());
    let data = codes.data();
    let within = end.filter(|&end| end <= codes.len());
    let bytes = match codes.dtype() {
        DataType::I4 | DataType::U4 => within.map(|end| start / 2..end.div_ceil(2)),
        _ => within.map(|end| start..end),
    };
    let Some(bytes) = bytes.and_then(|range| data.get(range)) else {
        let why = format!(
            "elements {start} and {} more were asked for, there are {}",
            out.len(),
            codes.len()
        );
        return Err(Error::tensor(codes.name(), why));
    };
    match codes.dtype() {
        DataType::I8 => {
            for (value, &byte) in out.iter_mut().zip(bytes) {
                *value = f32::from(byte.cast_signed());
            }
        }
        DataType::U8 => {
            for (value, &byte) in out.iter_mut().zip(bytes) {
                *value = f32::from(byte);
            }
        }
        DataType::U4 => nibbles(bytes, start, out, f32::from),
        // The sign is the highest of four bits.
        DataType::I4 => nibbles(bytes, start, out, |code| {
            f32::from((code ^ 8).cast_signed() - 8)
        }),
        other => {
            let why = format!("{other} where codes are needed");
            return Err(Error::tensor(codes.name(), why));
        }
    }
    Ok(())
}

/// The first byte holds element `start`, in its low half when that is even.
fn nibbles(bytes: &[u8], start: usize, out: &mut [f32], value_of: impl Fn(u8) -> f32) {
    let halves = bytes.iter().flat_map(|&byte| [byte & 0x0f, byte >> 4]);
    for (value, code) in out.iter_mut().zip(halves.skip(start % 2)) {
        *value = value_of(code);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_half_a_byte_from_any_start() {
        let read = |dtype, start, count: usize| {
            let data = vec![0x10, 0x78, 0x0f];
            let codes = Tensor::new("w", dtype, vec![5], data.into()).unwrap();
            let mut out = vec![f32::NAN; count];
            read_codes(&codes, start, &mut out).map(|()| out)
        };
        for (dtype, want) in [
            (DataType::U4, [0.0, 1.0, 8.0, 7.0, 15.0]),
            (DataType::I4, [0.0, 1.0, -8.0, 7.0, -1.0]),
        ] {
            for start in 0..=5 {
                for count in 0..=5 - start {
                    let found = read(dtype, start, count).unwrap();
                    assert_eq!(found, want[start..start + count], "{dtype} {start}");
                }
            }
            // The last byte has room for one more.
            read(dtype, 5, 1).unwrap_err();
            read(dtype, 0, 6).unwrap_err();
            read(dtype, usize::MAX, 1).unwrap_err();
        }
    }

    #[test]
    fn floats_are_no_codes() {
        let floats = Tensor::new("w", DataType::F32, vec![1], vec![0; 4].into()).unwrap();
        read_codes(&floats, 0, &mut [0.0]).unwrap_err();
    }
}
