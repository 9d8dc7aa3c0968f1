use super::*;

fn tensor(name: &str, dtype: DataType, dims: &[usize], data: Vec<u8>) -> Tensor {
    Tensor::new(name, dtype, dims.to_vec(), data.into()).unwrap()
}

fn floats(name: &str, dims: &[usize], values: &[f32]) -> Tensor {
    let data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    tensor(name, DataType::F32, dims, data)
}

/// 2 outputs of 37 inputs: 3 blocks of 16.
fn attributes(bits: usize) -> MatMulNBitsAttributes {
    MatMulNBitsAttributes {
        in_features: 37,
        out_features: 2,
        bits,
        block_size: 16,
    }
}

fn codes(bits: usize) -> Tensor {
    let bytes = (0..12 * bits).map(|i| (i * 41 % 256) as u8).collect();
    tensor("w", DataType::U8, &[2, 3, 2 * bits], bytes)
}

const SCALES: [f32; 6] = [0.5, -2.0, 0.0, 1.0, 3.0, -0.25];

fn scales() -> Tensor {
    floats("scales", &[2, 3], &SCALES)
}

/// Element k of an output, straight from the definition.
fn element(bits: usize, output: usize, k: usize, zero_points: [f32; 6]) -> f32 {
    let code = if bits == 8 {
        (output * 48 + k) * 41 % 256
    } else {
        let byte = (output * 24 + k / 2) * 41 % 256;
        if k.is_multiple_of(2) {
            byte % 16
        } else {
            byte / 16
        }
    };
    let block = output * 3 + k / 16;
    (code as f32 - zero_points[block]) * SCALES[block]
}

fn check(bits: usize, zero_points: Option<Tensor>, values: [f32; 6]) {
    for scales in [scales(), floats("scales", &[6], &SCALES)] {
        let weight =
            MatMulNBits::new(attributes(bits), codes(bits), scales, zero_points.clone()).unwrap();
        for output in 0..2 {
            let mut out = [f32::NAN; 37];
            weight.read_output(output, &mut out).unwrap();
            for (k, &value) in out.iter().enumerate() {
                assert_eq!(value, element(bits, output, k, values), "{output} {k}");
            }
        }
    }
}

fn refused(zero_points: Option<Tensor>, bits: usize, codes: Tensor, scales: Tensor) -> String {
    let error = MatMulNBits::new(attributes(bits), codes, scales, zero_points).unwrap_err();
    error.to_string()
}

#[test]
fn without_zero_points_the_middle_of_the_range() {
    check(4, None, [8.0; 6]);
    check(8, None, [128.0; 6]);
}

#[test]
fn packed_zero_points_of_an_odd_number_of_blocks() {
    // Each output begins with a byte of its own; the last half of it is not used.
    let packed = vec![0x21, 0xf3, 0xe4, 0xf5];
    for dims in [&[2, 2][..], &[4]] {
        let packed = tensor("zero_points", DataType::U8, dims, packed.clone());
        check(4, Some(packed), [1.0, 2.0, 3.0, 4.0, 14.0, 5.0]);
    }
    let bytes = vec![0, 1, 255, 128, 7, 200];
    for dims in [&[2, 3][..], &[6]] {
        let bytes = tensor("zero_points", DataType::U8, dims, bytes.clone());
        check(8, Some(bytes), [0.0, 1.0, 255.0, 128.0, 7.0, 200.0]);
    }
}

#[test]
fn float_zero_points_beyond_the_codes_are_legal() {
    let values = [0.5, -75.0, 15.0, 16.5, 8.0, 1e6];
    check(4, Some(floats("zero_points", &[2, 3], &values)), values);
    check(8, Some(floats("zero_points", &[6], &values)), values);
}

#[test]
fn half_scales() {
    let bytes = [0x3c00u16, 0x3800, 0xc000, 0, 0x3c00, 0x3c00].map(u16::to_le_bytes);
    let scales = tensor("scales", DataType::F16, &[2, 3], bytes.concat());
    let weight = MatMulNBits::new(attributes(4), codes(4), scales, None).unwrap();
    let mut read = [0.0; 6];
    weight.read_scales(0, &mut read).unwrap();
    assert_eq!(read, [1.0, 0.5, -2.0, 0.0, 1.0, 1.0]);
}

#[test]
fn outputs_of_more_blocks_than_are_read_at_a_time() {
    let blocks = 2 * BLOCKS_AT_A_TIME + 3;
    let attributes = MatMulNBitsAttributes {
        in_features: blocks * 16 - 5,
        out_features: 2,
        ..attributes(8)
    };
    let codes: Vec<u8> = (0..2 * blocks * 16).map(|i| (i % 251) as u8).collect();
    let codes = tensor("w", DataType::U8, &[2, blocks, 16], codes);
    let values: Vec<f32> = (0..2 * blocks).map(|i| i as f32).collect();
    let scales = floats("scales", &[2, blocks], &values);
    let weight = MatMulNBits::new(attributes, codes, scales, None).unwrap();
    for output in 0..2 {
        let mut out = vec![0.0; attributes.in_features];
        weight.read_output(output, &mut out).unwrap();
        for (k, &value) in out.iter().enumerate() {
            let code = ((output * blocks * 16 + k) % 251) as f32;
            let scale = (output * blocks + k / 16) as f32;
            assert_eq!(value, (code - 128.0) * scale);
        }
    }
}

#[test]
fn blocks_that_are_not_there() {
    for zero_points in [None, Some(tensor("z", DataType::U8, &[4], vec![0; 4]))] {
        let weight = MatMulNBits::new(attributes(4), codes(4), scales(), zero_points).unwrap();
        weight.read_scales(5, &mut [0.0; 2]).unwrap_err();
        weight.read_scales(usize::MAX, &mut [0.0]).unwrap_err();
        weight.read_zero_points(5, &mut [0.0; 2]).unwrap_err();
        weight.read_zero_points(usize::MAX, &mut [0.0]).unwrap_err();
    }
}

#[test]
fn scales_and_float_zero_points_infinite_or_nan() {
    for bad in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
        let values = [1.0, 1.0, 1.0, 1.0, bad, 1.0];
        let want = format!("{bad} at element 4 is not finite");
        let text = refused(None, 4, codes(4), floats("scales", &[6], &values));
        assert!(text.contains(&want) && text.contains("scales"), "{text}");
        let zero_points = floats("zero_points", &[6], &values);
        let text = refused(Some(zero_points), 4, codes(4), scales());
        assert!(
            text.contains(&want) && text.contains("zero_points"),
            "{text}"
        );
    }
}

#[test]
fn scales_zero_and_negative_are_legal() {
    // As `SCALES` has them; ONNX Runtime's quantizer writes both.
    MatMulNBits::new(attributes(4), codes(4), scales(), None).unwrap();
}

#[test]
fn scales_of_wrong_length_or_type() {
    for dims in [&[5][..], &[7], &[3, 2], &[2, 2], &[1, 6], &[0]] {
        let len = dims.iter().product();
        let text = refused(None, 4, codes(4), floats("scales", dims, &vec![1.0; len]));
        assert!(text.contains("need floats of shape [2, 3]"), "{text}");
    }
    let bytes = tensor("scales", DataType::U8, &[2, 3], vec![1; 6]);
    refused(None, 4, codes(4), bytes);
}

#[test]
fn zero_points_of_wrong_length_or_type() {
    for dims in [&[3][..], &[6], &[2, 3], &[5], &[0]] {
        let len = dims.iter().product();
        let packed = tensor("zero_points", DataType::U8, dims, vec![0; len]);
        let text = refused(Some(packed), 4, codes(4), scales());
        assert!(text.contains("need shape [2, 2]"), "{text}");
    }
    let signed = tensor("zero_points", DataType::I8, &[2, 2], vec![0; 4]);
    refused(Some(signed), 4, codes(4), scales());
    let short = floats("zero_points", &[5], &[0.0; 5]);
    refused(Some(short), 4, codes(4), scales());
}

#[test]
fn codes_of_wrong_length_or_type() {
    for (dims, bits) in [
        (&[2, 3, 16][..], 4),
        (&[2, 3, 8], 8),
        (&[2, 2, 8], 4),
        (&[3, 3, 8], 4),
        (&[6, 8], 4),
        (&[48], 4),
    ] {
        let codes = tensor("w", DataType::U8, dims, vec![0; dims.iter().product()]);
        let text = refused(None, bits, codes, scales());
        assert!(text.contains("attributes need u8 of shape"), "{text}");
    }
    let signed = tensor("w", DataType::I8, &[2, 3, 8], vec![0; 48]);
    refused(None, 4, signed, scales());
}

#[test]
fn impossible_attributes() {
    for (bits, block_size) in [
        (3, 16),
        (2, 16),
        (0, 16),
        (16, 16),
        (4, 0),
        (4, 24),
        (4, 512),
    ] {
        let attributes = MatMulNBitsAttributes {
            block_size,
            ..attributes(bits)
        };
        MatMulNBits::new(attributes, codes(4), scales(), None).unwrap_err();
    }
    for (in_features, out_features) in [(usize::MAX, 2), (37, usize::MAX), (49, 2), (32, 2), (0, 2)]
    {
        let attributes = MatMulNBitsAttributes {
            in_features,
            out_features,
            ..attributes(4)
        };
        MatMulNBits::new(attributes, codes(4), scales(), None).unwrap_err();
    }
}

#[test]
fn codes_come_one_to_a_byte() {
    for bits in [4, 8] {
        let weight = MatMulNBits::new(attributes(bits), codes(bits), scales(), None).unwrap();
        for output in 0..2 {
            let mut out = [0; 37];
            weight.read_codes(output, &mut out).unwrap();
            for (k, code) in out.into_iter().enumerate() {
                let middle = (1 << (bits - 1)) as f32;
                let scale = SCALES[output * 3 + k / 16];
                let expected = element(bits, output, k, [middle; 6]);
                assert_eq!((f32::from(code) - middle) * scale, expected, "{output} {k}");
            }
        }
        assert!(weight.read_codes(2, &mut [0; 37]).is_err());
        assert!(weight.read_codes(usize::MAX, &mut [0; 37]).is_err());
        assert!(weight.read_codes(0, &mut [0; 38]).is_err());
    }
}
