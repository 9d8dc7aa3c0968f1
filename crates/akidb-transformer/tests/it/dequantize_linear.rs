//! Weights behind a `DequantizeLinear`.

use akidb_onnx::Error;
use akidb_onnx::model::OnnxModel;
use akidb_onnx::proto::ModelProto;
use akidb_onnx::proto::tensor_proto::DataType;
use akidb_testing::graphs::quantize::*;
use akidb_testing::graphs::*;
use akidb_transformer::{LinearWeight, Transformer, recognise};

const Q: &str = "0.q_proj";
const DEQUANTIZE: &str = "0.q_proj.dequantize";

const PER_OUTPUT: Dequantize = Dequantize {
    dtype: DataType::Int8,
    transposed: false,
    axis: Some(1),
    block_size: 0,
};

/// As ONNX Runtime's quantizer writes 4 bits without its own operators.
const BLOCKS: Dequantize = Dequantize {
    dtype: DataType::Uint4,
    transposed: false,
    axis: Some(0),
    block_size: 4,
};

fn recognised(model: &ModelProto) -> Result<Transformer, Error> {
    recognise(&OnnxModel::from_bytes(encode(model))?, None)
}

fn with(form: Dequantize) -> ModelProto {
    let mut model = decoder(&small());
    to_dequantize(&mut model, Q, form);
    model
}

fn spoilt(form: Dequantize, change: impl FnOnce(&mut ModelProto)) -> Error {
    let mut model = with(form);
    change(&mut model);
    recognised(&model).unwrap_err()
}

/// The changed model is broken; the error's text has `parts`.
fn broken(form: Dequantize, parts: &[&str], change: impl FnOnce(&mut ModelProto)) {
    let error = spoilt(form, change);
    assert!(!error.is_not_recognised(), "called sound: {error}");
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

/// The changed model is sound, but not recognised; the error names the node and has `part`.
fn unknown(form: Dequantize, part: &str, change: impl FnOnce(&mut ModelProto)) {
    let error = spoilt(form, change);
    assert!(error.is_not_recognised(), "called broken: {error}");
    let text = error.to_string();
    assert!(text.contains(DEQUANTIZE) && text.contains(part), "{text}");
}

/// Element i of the codes or zero points.
fn code(dtype: DataType, i: usize) -> f32 {
    let byte = |i: usize| (i * 41 % 251) as u8;
    let nibble = byte(i / 2) >> (4 * (i % 2)) & 15;
    match dtype {
        DataType::Int8 => f32::from(byte(i) as i8),
        DataType::Uint8 => f32::from(byte(i)),
        DataType::Uint4 => f32::from(nibble),
        _ => f32::from(nibble) - if nibble < 8 { 0.0 } else { 16.0 },
    }
}

#[test]
fn every_type_and_kind_of_scale() {
    for dtype in [
        DataType::Int8,
        DataType::Uint8,
        DataType::Int4,
        DataType::Uint4,
    ] {
        for transposed in [false, true] {
            for (axis, block_size) in [
                (None, 0),
                (Some(0), 0),
                (Some(1), 0),
                (Some(0), 4),
                (Some(1), 4),
                (Some(0), 3),
                (Some(1), 5),
            ] {
                let form = Dequantize {
                    dtype,
                    transposed,
                    axis,
                    block_size,
                };
                let decoder = recognised(&with(form)).unwrap();
                assert_eq!(decoder.decoder_config(), small());
                let linear = &decoder.blocks[0].attention.query;
                let is_integer = matches!(linear.weight(), LinearWeight::MatMulInteger(_));
                let fits = matches!(dtype, DataType::Int8 | DataType::Uint8)
                    && !transposed
                    && block_size == 0
                    && axis != Some(0);
                assert_eq!(
                    is_integer, fits,
                    "{dtype:?} {transposed} {axis:?} {block_size}"
                );
                let mut found = [f32::NAN; 32 * 6];
                linear.dequantize(0, &mut found).unwrap();
                let columns = if transposed { 6 } else { 32 };
                for (i, found) in found.into_iter().enumerate() {
                    let (output, input) = (i / 6, i % 6);
                    let (row, column) = match transposed {
                        true => (output, input),
                        false => (input, output),
                    };
                    let scale = match (axis, block_size) {
                        (None, _) => 0,
                        (Some(0), 0) => row,
                        (Some(_), 0) => column,
                        (Some(0), size) => row / size * columns + column,
                        (Some(_), size) => row * columns.div_ceil(size) + column / size,
                    };
                    let want = (code(dtype, row * columns + column) - code(dtype, scale))
                        * ((scale + 1) as f32 / 64.0);
                    assert_eq!(
                        found, want,
                        "{dtype:?} {axis:?} {block_size} {output} {input}"
                    );
                }
            }
        }
    }
}

#[test]
fn no_zero_points_and_defaults() {
    for form in [PER_OUTPUT, BLOCKS] {
        let mut model = with(form);
        node(&mut model, DEQUANTIZE).input.truncate(2);
        recognised(&model).unwrap();
    }
    let mut model = with(PER_OUTPUT);
    node(&mut model, DEQUANTIZE).attribute.clear();
    recognised(&model).unwrap();
    let mut model = with(PER_OUTPUT);
    set(node(&mut model, DEQUANTIZE), int("axis", -1));
    set(node(&mut model, DEQUANTIZE), int("output_dtype", 10));
    recognised(&model).unwrap();
}

#[test]
fn attributes_of_another_kind() {
    for axis in [2, -3] {
        unknown(PER_OUTPUT, &format!("axis is {axis}"), |m| {
            set(node(m, DEQUANTIZE), int("axis", axis))
        });
    }
    unknown(PER_OUTPUT, "output_dtype is 7", |m| {
        set(node(m, DEQUANTIZE), int("output_dtype", 7))
    });
    unknown(PER_OUTPUT, "\"offset\" is not expected", |m| {
        set(node(m, DEQUANTIZE), int("offset", 1))
    });
    broken(BLOCKS, &[DEQUANTIZE, "block_size is -4"], |m| {
        set(node(m, DEQUANTIZE), int("block_size", -4))
    });
}

#[test]
fn block_sizes_that_do_not_fit_the_scales() {
    // 6 inputs have two blocks of 3, 4 or 5.
    for (size, blocks) in [(1, 6), (2, 3), (6, 1), (i64::MAX, 1)] {
        let want = format!("[{blocks}, 32] are needed");
        broken(BLOCKS, &["0.q_proj.scales", &want], |m| {
            set(node(m, DEQUANTIZE), int("block_size", size))
        });
    }
    broken(BLOCKS, &["0.q_proj.scales", "one value or 6"], |m| {
        set(node(m, DEQUANTIZE), int("block_size", 0))
    });
}

#[test]
fn scales_zero_negative_infinite_or_nan() {
    let set_scale = |value: f32| {
        move |m: &mut ModelProto| {
            let tensor = initializer(m, "0.q_proj.scales");
            let mut data = tensor.raw_data.take().unwrap().to_vec();
            data[..4].copy_from_slice(&value.to_le_bytes());
            tensor.raw_data = Some(data.into());
        }
    };
    for form in [PER_OUTPUT, BLOCKS] {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let parts = ["0.q_proj.scales", &bad.to_string()];
            broken(form, &parts, set_scale(bad));
        }
    }
    for bad in [0.0, -0.5] {
        let parts = ["0.q_proj.scales", "finite and positive"];
        broken(PER_OUTPUT, &parts, set_scale(bad));
        // Of blocks: ONNX Runtime's quantizer writes both.
        let mut model = with(BLOCKS);
        set_scale(bad)(&mut model);
        recognised(&model).unwrap();
    }
}

#[test]
fn codes_scales_and_zero_points_of_wrong_length_or_type() {
    for form in [PER_OUTPUT, BLOCKS] {
        for (name, part) in [
            ("0.q_proj.codes", "bytes, there are"),
            ("0.q_proj.scales", "bytes, there are"),
            ("0.q_proj.zero_points", "bytes, there are"),
        ] {
            broken(form, &[name, part], |m| {
                let tensor = initializer(m, name);
                let data = tensor.raw_data.take().unwrap();
                tensor.raw_data = Some(data.slice(1..));
            });
        }
        broken(form, &["0.q_proj.zero_points", "zero points are"], |m| {
            let name = "0.q_proj.zero_points";
            let dims = initializer(m, name).dims.clone();
            let len = dims.iter().product::<i64>() as usize;
            let dims: Vec<usize> = dims.iter().map(|&d| d as usize).collect();
            *initializer(m, name) = bytes(name, DataType::Uint8, &dims, vec![0; len]);
        });
        broken(form, &["0.q_proj.zero_points", "[]"], |m| {
            let name = "0.q_proj.zero_points";
            let dtype = if form.block_size == 0 {
                DataType::Int8
            } else {
                DataType::Uint4
            };
            *initializer(m, name) = bytes(name, dtype, &[], vec![0]);
        });
        broken(form, &["0.q_proj.scales", "are needed"], |m| {
            *initializer(m, "0.q_proj.scales") = floats("0.q_proj.scales", &[5], &[1.0; 5]);
        });
        unknown(form, "not a float", |m| {
            initializer(m, "0.q_proj.scales").data_type = Some(DataType::Int32 as i32);
        });
        unknown(form, "two axes", |m| {
            let tensor = initializer(m, "0.q_proj.codes");
            tensor.dims = vec![tensor.dims.iter().product()];
        });
        broken(form, &["0.q_proj.codes", "4- or 8-bit codes"], |m| {
            *initializer(m, "0.q_proj.codes") = longs("0.q_proj.codes", &[6, 32], &[0; 192]);
        });
        unknown(form, "is no constant", |m| {
            node(m, DEQUANTIZE).input[0] = "embed".into()
        });
    }
}
