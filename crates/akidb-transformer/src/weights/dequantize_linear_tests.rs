use super::*;
use crate::weights::{Linear, LinearWeight};

fn tensor(name: &str, dtype: DataType, dims: &[usize], data: Vec<u8>) -> Tensor {
    Tensor::new(name, dtype, dims.to_vec(), data.into()).unwrap()
}

fn floats(dims: &[usize]) -> Tensor {
    let values = (0..dims.iter().product()).map(|i: usize| scale(i).to_le_bytes());
    tensor("scales", DataType::F32, dims, values.flatten().collect())
}

/// The i-th scale.
fn scale(i: usize) -> f32 {
    0.5 + i as f32
}

const TYPES: [DataType; 4] = [DataType::I8, DataType::U8, DataType::I4, DataType::U4];

/// Codes that repeat only after a while; the i-th is `code`.
fn codes(name: &str, dtype: DataType, dims: &[usize]) -> Tensor {
    let len: usize = dims.iter().product();
    let bytes = match dtype {
        DataType::I4 | DataType::U4 => (0..len.div_ceil(2))
            .map(|i| nibble(2 * i) | nibble(2 * i + 1) << 4)
            .collect(),
        _ => (0..len).map(byte).collect(),
    };
    tensor(name, dtype, dims, bytes)
}

fn byte(i: usize) -> u8 {
    (i * 41 % 251) as u8
}

fn nibble(i: usize) -> u8 {
    (i * 7 % 16) as u8
}

fn code(dtype: DataType, i: usize) -> f32 {
    match dtype {
        DataType::I8 => f32::from(byte(i) as i8),
        DataType::U8 => f32::from(byte(i)),
        DataType::U4 => f32::from(nibble(i)),
        _ => f32::from(nibble(i)) - if nibble(i) < 8 { 0.0 } else { 16.0 },
    }
}

fn attributes(axis: usize, block_size: Option<usize>) -> DequantizeLinearAttributes {
    DequantizeLinearAttributes {
        order: WeightOrder::InOut,
        axis,
        block_size,
    }
}

/// Codes `[rows, columns]` of every type and order, with the scale of `(row, column)` at
/// `scale_at`.
fn check(
    [rows, columns]: [usize; 2],
    scale_dims: &[usize],
    of: DequantizeLinearAttributes,
    scale_at: impl Fn(usize, usize) -> usize,
) {
    for dtype in TYPES {
        for zero in [false, true] {
            let value = |row, column| {
                let at = scale_at(row, column);
                let zero_point = if zero { code(dtype, at) } else { 0.0 };
                (code(dtype, row * columns + column) - zero_point) * scale(at)
            };
            for order in [WeightOrder::InOut, WeightOrder::OutIn] {
                let of = DequantizeLinearAttributes { order, ..of };
                let zero_points = zero.then(|| codes("zero_points", dtype, scale_dims));
                let w = codes("w", dtype, &[rows, columns]);
                let weight = DequantizeLinear::new(of, w, floats(scale_dims), zero_points).unwrap();
                let linear = Linear::new(LinearWeight::DequantizeLinear(weight)).unwrap();
                let (n, k) = match order {
                    WeightOrder::InOut => (columns, rows),
                    WeightOrder::OutIn => (rows, columns),
                };
                assert_eq!((linear.out_features(), linear.in_features()), (n, k));
                for first in [0, n / 2] {
                    let mut out = vec![f32::NAN; (n - first) * k];
                    linear.dequantize(first, &mut out).unwrap();
                    for (i, &found) in out.iter().enumerate() {
                        let (output, input) = (first + i / k, i % k);
                        let want = match order {
                            WeightOrder::InOut => value(input, output),
                            WeightOrder::OutIn => value(output, input),
                        };
                        assert_eq!(found, want, "{dtype} {order:?} {of:?} {output} {input}");
                    }
                }
            }
        }
    }
}

#[test]
fn one_scale() {
    check([5, 7], &[], attributes(1, None), |_, _| 0);
    check([5, 7], &[1], attributes(0, None), |_, _| 0);
}

#[test]
fn a_scale_for_each_row_or_column() {
    check([5, 7], &[5], attributes(0, None), |row, _| row);
    check([5, 70], &[70], attributes(1, None), |_, column| column);
}

#[test]
fn blocks_along_either_axis_and_a_shorter_last_one() {
    for size in [1, 2, 3, 5, 9] {
        let blocks = 5_usize.div_ceil(size);
        let of = attributes(0, Some(size));
        check([5, 67], &[blocks, 67], of, |r, c| r / size * 67 + c);
        let blocks = 67_usize.div_ceil(size);
        let of = attributes(1, Some(size));
        check([5, 67], &[5, blocks], of, |r, c| r * blocks + c / size);
    }
}

fn refused(
    of: DequantizeLinearAttributes,
    codes: Tensor,
    scales: Tensor,
    zero_points: Option<Tensor>,
) -> String {
    let error = DequantizeLinear::new(of, codes, scales, zero_points).unwrap_err();
    error.to_string()
}

#[test]
fn scales_that_are_zero_negative_infinite_or_nan() {
    let bad = |value: f32, dims: &[usize]| {
        let data = value.to_le_bytes().repeat(dims.iter().product());
        tensor("scales", DataType::F32, dims, data)
    };
    let w = || codes("w", DataType::I4, &[3, 2]);
    for value in [0.0, -1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
        for (axis, dims) in [(0, &[][..]), (0, &[3]), (1, &[2])] {
            let text = refused(attributes(axis, None), w(), bad(value, dims), None);
            assert!(text.contains("is not finite and positive"), "{text}");
        }
        let blocks = bad(value, &[2, 2]);
        let in_blocks = DequantizeLinear::new(attributes(0, Some(2)), w(), blocks, None);
        assert_eq!(in_blocks.is_ok(), value.is_finite(), "{value}");
    }
}

#[test]
fn scales_and_zero_points_of_wrong_length() {
    for (axis, block_size, dims) in [
        (0, None, &[2][..]),
        (1, None, &[3]),
        (0, None, &[0]),
        (1, None, &[1, 2]),
        (0, Some(2), &[3, 2]),
        (0, Some(2), &[2]),
        (0, Some(2), &[4]),
        (1, Some(2), &[3, 2]),
        (1, Some(1), &[3, 1]),
        (0, Some(2), &[]),
    ] {
        let w = codes("w", DataType::U8, &[3, 2]);
        let text = refused(attributes(axis, block_size), w, floats(dims), None);
        assert!(text.contains("are needed"), "{text}");
    }
    for dims in [&[3][..], &[1, 2], &[]] {
        let w = codes("w", DataType::U4, &[3, 2]);
        let zero = codes("zero_points", DataType::U4, dims);
        let text = refused(attributes(1, None), w, floats(&[2]), Some(zero));
        assert!(text.contains("the scales have [2]"), "{text}");
    }
}

#[test]
fn impossible_axes_and_blocks() {
    for (axis, block_size) in [(2, None), (0, Some(0)), (1, Some(0)), (2, Some(1))] {
        let w = codes("w", DataType::U8, &[3, 2]);
        let text = refused(attributes(axis, block_size), w, floats(&[]), None);
        assert!(text.contains("are known"), "{text}");
    }
    let w = codes("w", DataType::U8, &[3, 2]);
    let largest = attributes(0, Some(usize::MAX));
    DequantizeLinear::new(largest, w, floats(&[1, 2]), None).unwrap();
}

#[test]
fn wrong_types() {
    let one = attributes(1, None);
    let floating = tensor("w", DataType::F32, &[1, 1], vec![0; 4]);
    refused(one, floating, floats(&[]), None);
    refused(one, codes("w", DataType::U4, &[4]), floats(&[]), None);
    let integers = tensor("scales", DataType::I32, &[], vec![1, 0, 0, 0]);
    refused(one, codes("w", DataType::U4, &[1, 1]), integers, None);
    for (dtype, other) in [
        (DataType::I4, DataType::U4),
        (DataType::U4, DataType::U8),
        (DataType::I8, DataType::I4),
    ] {
        let zero = codes("zero_points", other, &[]);
        let text = refused(one, codes("w", dtype, &[3, 2]), floats(&[]), Some(zero));
        assert!(text.contains("zero points are"), "{text}");
    }
}
