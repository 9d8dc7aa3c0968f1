//! Quantized layers that are broken, or of another kind: an error each that names what it is about.

use std::time::{Duration, Instant};

use akidb_onnx::Error;
use akidb_onnx::model::OnnxModel;
use akidb_onnx::proto::ModelProto;
use akidb_onnx::proto::tensor_proto::DataType;
use akidb_testing::graphs::quantize::*;
use akidb_testing::graphs::*;
use akidb_transformer::{Transformer, recognise};

const Q: &str = "0.q_proj";

fn recognised(model: &ModelProto) -> Result<Transformer, Error> {
    recognise(&OnnxModel::from_bytes(encode(model))?, None)
}

/// Every form in one model: q 4 bits, k and gate/up 8-bit integers, v 8 bits, o NF4.
fn every_form() -> ModelProto {
    let mut model = decoder(&small());
    to_nbits(&mut model, Q, 4);
    to_nbits(&mut model, "0.v_proj", 8);
    to_integer(&mut model, &["0.k_proj"], DataType::Int8);
    to_integer(&mut model, &["1.gate_proj", "1.up_proj"], DataType::Uint8);
    to_bnb4(&mut model, "0.o_proj");
    to_quantized_table(&mut model);
    model
}

fn spoilt(change: impl FnOnce(&mut ModelProto)) -> Error {
    let mut model = every_form();
    change(&mut model);
    recognised(&model).unwrap_err()
}

/// The changed model is broken; the error's text has `parts`.
fn broken(parts: &[&str], change: impl FnOnce(&mut ModelProto)) {
    let error = spoilt(change);
    assert!(!error.is_not_recognised(), "called sound: {error}");
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

/// The changed model is sound, but not recognised; the error's text has `parts`.
fn unknown(parts: &[&str], change: impl FnOnce(&mut ModelProto)) {
    let error = spoilt(change);
    assert!(error.is_not_recognised(), "called broken: {error}");
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

fn accepted(change: impl FnOnce(&mut ModelProto)) {
    let mut model = every_form();
    change(&mut model);
    assert_eq!(recognised(&model).unwrap().decoder_config(), small());
}

fn set_float(model: &mut ModelProto, name: &str, value: f32) {
    let tensor = initializer(model, name);
    let mut data = tensor.raw_data.take().unwrap().to_vec();
    let at = data.len() - 4;
    data[at..].copy_from_slice(&value.to_le_bytes());
    tensor.raw_data = Some(data.into());
}

#[test]
fn every_form_is_recognised_and_dequantized() {
    let decoder = recognised(&every_form()).unwrap();
    assert_eq!(decoder.decoder_config(), small());
    let mut row = [0.0; 6];
    decoder.embeddings.words.read_row(0, &mut row).unwrap();
    assert_eq!(row, [-99, -58, -17, 24, 65, 106].map(|v| v as f32 / 64.0));
    decoder.blocks[0]
        .attention
        .key
        .dequantize(0, &mut row)
        .unwrap();
    // Codes 41 (16 k) mod 251 as signed bytes, less the zero point 3.
    let want = [0, 656, 1312, 1968, 2624, 3280].map(|i| (i % 251) as u8 as i8);
    assert_eq!(row, want.map(|v| (f32::from(v) - 3.0) / 64.0));
    for layer in &decoder.blocks {
        for linear in [
            &layer.attention.query,
            &layer.attention.value,
            &layer.attention.output,
            &layer.mlp.up,
        ] {
            let mut all = vec![f32::NAN; linear.in_features() * linear.out_features()];
            linear.dequantize(0, &mut all).unwrap();
            assert!(all.iter().all(|v| v.is_finite()));
        }
    }
}

#[test]
fn every_prefix_and_flipped_byte_is_survived() {
    let whole = encode(&every_form());
    for i in (0..whole.len()).step_by(3) {
        assert!(OnnxModel::from_bytes(whole.slice(..i)).is_err());
        let mut bytes = whole.to_vec();
        bytes[i] ^= [0x01, 0x80, 0xff][i % 9 / 3];
        let Ok(decoder) = OnnxModel::from_bytes(bytes.into()).and_then(|m| recognise(&m, None))
        else {
            continue;
        };
        // What is recognised can be read whole.
        let mut row = vec![0.0; decoder.embeddings.words.hidden_size()];
        decoder.embeddings.words.read_row(0, &mut row).unwrap();
        for layer in &decoder.blocks {
            for linear in [
                &layer.attention.query,
                &layer.attention.key,
                &layer.attention.output,
                layer.mlp.gate.as_ref().unwrap(),
            ] {
                let mut all = vec![0.0; linear.in_features() * linear.out_features()];
                linear.dequantize(0, &mut all).unwrap();
            }
        }
    }
}

#[test]
fn scales_infinite_or_nan() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for name in [
            "0.q_proj.scales",
            "0.v_proj.scales",
            "0.k_proj.scale",
            "1.up_proj.scale",
            "0.o_proj.absmax",
            "embed_tokens.scale",
        ] {
            broken(&[name, &bad.to_string()], |m| set_float(m, name, bad));
        }
    }
}

#[test]
fn scales_zero_or_negative() {
    for bad in [0.0, -0.5] {
        for name in ["0.k_proj.scale", "1.gate_proj.scale", "embed_tokens.scale"] {
            broken(&[name, "finite and positive"], |m| set_float(m, name, bad));
        }
        // Of blocks: ONNX Runtime's quantizer writes both.
        accepted(|m| set_float(m, "0.q_proj.scales", bad));
    }
    accepted(|m| set_float(m, "0.o_proj.absmax", 0.0));
    broken(&["0.o_proj.absmax", "-0.5"], |m| {
        set_float(m, "0.o_proj.absmax", -0.5)
    });
}

#[test]
fn one_large_tensor_of_scales_used_everywhere_is_scanned_once() {
    let mut model = decoder(&akidb_transformer::DecoderConfig {
        num_hidden_layers: 500,
        ..small()
    });
    let (n, blocks) = (1 << 14, 256);
    let codes = bytes(
        "codes",
        DataType::Uint8,
        &[n, blocks, 8],
        vec![0; n * blocks * 8],
    );
    let scales = floats("scales", &[n, blocks], &vec![1.0; n * blocks]);
    for node in &mut graph(&mut model).node {
        // The widths of q and k are looked at on the way, those of the others in the end.
        let later = ["v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
        if later.iter().any(|name| node.name().ends_with(name)) {
            node.op_type = Some("MatMulNBits".into());
            node.domain = Some(MS.into());
            node.input.truncate(1);
            node.input.extend(["codes".into(), "scales".into()]);
            let k = 16 * blocks as i64;
            node.attribute = vec![int("K", k), int("N", n as i64), int("block_size", 16)];
        }
    }
    graph(&mut model).initializer.extend([codes, scales]);
    let start = Instant::now();
    let error = recognised(&model).unwrap_err().to_string();
    assert!(error.contains("\"codes\": has shape"), "{error}");
    // Scanning them for each of 2 500 layers takes minutes, once takes milliseconds.
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn three_bits() {
    unknown(&[Q, "MatMulNBits", "bits is 3"], |m| {
        set(node(m, Q), int("bits", 3))
    });
    unknown(&[Q, "bits is -4"], |m| set(node(m, Q), int("bits", -4)));
    // Four, when nothing is said.
    accepted(|m| node(m, Q).attribute.retain(|a| a.name() != "bits"));
    broken(&["0.v_proj.codes"], |m| {
        node(m, "0.v_proj").attribute.retain(|a| a.name() != "bits")
    });
}

#[test]
fn block_sizes_that_do_not_match_the_codes() {
    for size in [32, 64, 128] {
        broken(&["0.q_proj.codes", "attributes need"], |m| {
            set(node(m, Q), int("block_size", size))
        });
        broken(&["0.o_proj.absmax", "attributes need"], |m| {
            set(node(m, "0.o_proj"), int("block_size", size))
        });
    }
    for size in [1, 8, 24, 512, i64::MAX] {
        for name in [Q, "0.o_proj"] {
            broken(&[&format!("{name}.codes"), "are known"], |m| {
                set(node(m, name), int("block_size", size));
            });
        }
    }
    for size in [0, -16] {
        for name in [Q, "0.o_proj"] {
            broken(&[name, &format!("block_size is {size}")], |m| {
                set(node(m, name), int("block_size", size));
            });
        }
    }
}

#[test]
fn sizes_that_do_not_match_the_codes() {
    for name in [Q, "0.v_proj", "0.o_proj"] {
        for key in ["K", "N"] {
            for size in [0, -1, i64::MIN] {
                broken(&[name, &format!("{key} is {size}")], |m| {
                    set(node(m, name), int(key, size));
                });
            }
            broken(&[name, &format!("{key} is 0")], |m| {
                node(m, name).attribute.retain(|a| a.name() != key);
            });
            for size in [1, i64::MAX] {
                let error = spoilt(|m| set(node(m, name), int(key, size)));
                assert!(!error.is_not_recognised() && error.to_string().contains(name));
            }
        }
    }
}

#[test]
fn four_bits_and_an_odd_number_of_inputs() {
    // With 5 inputs the last half byte of a block's codes is not used; blocks of MatMulBnb4 go on
    // in the next output.
    let config = akidb_transformer::DecoderConfig {
        hidden_size: 5,
        ..small()
    };
    let mut model = decoder(&config);
    to_nbits(&mut model, Q, 4);
    to_bnb4(&mut model, "1.q_proj");
    let decoder = recognised(&model).unwrap();
    let mut row = [0.0; 5];
    decoder.blocks[0]
        .attention
        .query
        .dequantize(31, &mut row)
        .unwrap();
    decoder.blocks[1]
        .attention
        .query
        .dequantize(31, &mut row)
        .unwrap();
}

#[test]
fn a_block_size_that_does_not_divide_the_inputs() {
    // 37 inputs in blocks of 16: the operators leave the rest of the last block unused.
    let config = akidb_transformer::DecoderConfig {
        hidden_size: 37,
        ..small()
    };
    let mut model = decoder(&config);
    to_nbits(&mut model, Q, 4);
    to_nbits(&mut model, "0.k_proj", 8);
    to_bnb4(&mut model, "0.v_proj");
    let layer = recognised(&model).unwrap().blocks.remove(0);
    let mut row = [0.0; 37];
    for linear in [
        &layer.attention.query,
        &layer.attention.key,
        &layer.attention.value,
    ] {
        linear.dequantize(15, &mut row).unwrap();
    }
    // Whole blocks only, as a writer would store them that leaves the rest out.
    initializer(&mut model, "0.q_proj.codes").dims = vec![32, 2, 8];
    let data = initializer(&mut model, "0.q_proj.codes").raw_data.take();
    initializer(&mut model, "0.q_proj.codes").raw_data = data.map(|d| d.slice(..32 * 2 * 8));
    let text = recognised(&model).unwrap_err().to_string();
    assert!(text.contains("need u8 of shape [32, 3, 8]"), "{text}");
}

#[test]
fn zero_points_out_of_range() {
    for (name, dtype, value) in [
        ("0.k_proj.zero_point", "i8", 128),
        ("0.k_proj.zero_point", "i8", -129),
        ("1.up_proj.zero_point", "u8", 256),
        ("1.up_proj.zero_point", "u8", -1),
        ("embed_tokens.zero_point", "u8", 300),
    ] {
        let want = format!("value {value} does not fit its type");
        broken(&[name, &want], |m| {
            let tensor = initializer(m, name);
            tensor.raw_data = None;
            tensor.int32_data = vec![value];
        });
        accepted(|m| {
            let tensor = initializer(m, name);
            tensor.raw_data = None;
            tensor.int32_data = vec![if dtype == "i8" { -128 } else { 255 }];
        });
    }
    broken(&["0.q_proj.zero_points", "value 256 does not fit"], |m| {
        let tensor = initializer(m, "0.q_proj.zero_points");
        tensor.raw_data = None;
        tensor.int32_data = vec![256; 32];
    });
    // Floats may lie outside the codes' range, but not anywhere.
    let as_floats = |value: f32| {
        move |m: &mut ModelProto| {
            let name = "0.q_proj.zero_points";
            *initializer(m, name) = floats(name, &[32, 1], &[value; 32]);
        }
    };
    accepted(as_floats(-1.5));
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        broken(&["0.q_proj.zero_points", "is not finite"], as_floats(bad));
    }
}

#[test]
fn layouts_of_other_devices() {
    unknown(&[Q, "weight_prepacked is 1"], |m| {
        set(node(m, Q), int("weight_prepacked", 1))
    });
    accepted(|m| {
        set(node(m, Q), int("weight_prepacked", 0));
        set(node(m, Q), int("accuracy_level", 4));
        set(node(m, "0.o_proj"), int("training_mode", 0));
    });
    for name in [Q, "0.o_proj"] {
        unknown(&[name, "\"order\" is not expected"], |m| {
            set(node(m, name), int("order", 1))
        });
    }
}

#[test]
fn codes_of_wrong_length_or_type() {
    for name in ["0.q_proj.codes", "0.v_proj.codes", "0.o_proj.codes"] {
        broken(&[name, "u8 of shape"], |m| {
            initializer(m, name).data_type = Some(DataType::Int8 as i32);
        });
        for add in [-1, 1] {
            broken(&[name, "u8 of shape"], |m| {
                let tensor = initializer(m, name);
                let last = tensor.dims.last_mut().unwrap();
                *last += add;
                let len = tensor.dims.iter().product::<i64>() as usize;
                tensor.raw_data = Some(vec![0; len].into());
            });
        }
    }
    for name in ["0.k_proj.codes", "embed_tokens"] {
        let floats = |m: &mut ModelProto| {
            let tensor = initializer(m, name);
            let len = tensor.raw_data.as_ref().unwrap().len();
            tensor.data_type = Some(DataType::Float as i32);
            tensor.raw_data = Some(vec![0; 4 * len].into());
        };
        broken(&[name, "8-bit codes"], floats);
    }
    // As many codes, of another shape: outputs that nothing else has.
    broken(&["0.k_proj.codes", "[16, 6]"], |m| {
        initializer(m, "0.k_proj.codes").dims = vec![16, 6];
    });
    unknown(&["0.k_proj.product", "two axes"], |m| {
        initializer(m, "0.k_proj.codes").dims = vec![96];
    });
}

#[test]
fn scales_of_wrong_length_or_type() {
    for name in ["0.q_proj.scales", "0.v_proj.scales", "0.o_proj.absmax"] {
        broken(&[name, "floats of shape"], |m| {
            *initializer(m, name) = floats(name, &[5], &[1.0; 5]);
        });
    }
    for name in ["0.k_proj.scale", "0.k_proj.zero_point"] {
        broken(&[name, "one value or 16"], |m| {
            let tensor = initializer(m, name);
            tensor.dims = vec![2];
            let one = tensor.raw_data.take().unwrap();
            tensor.raw_data = Some([&*one, &*one].concat().into());
        });
    }
    unknown(&["dequantize", "one is expected"], |m| {
        *initializer(m, "embed_tokens.scale") = floats("embed_tokens.scale", &[2], &[1.0; 2]);
    });
    for name in ["0.q_proj.scales", "0.o_proj.absmax", "0.k_proj.scale"] {
        unknown(&[name, "not a float"], |m| {
            initializer(m, name).data_type = Some(DataType::Int32 as i32);
        });
    }
}

#[test]
fn zero_points_of_wrong_length_or_type() {
    for name in ["0.q_proj.zero_points", "0.v_proj.zero_points"] {
        broken(&[name, "attributes need shape"], |m| {
            *initializer(m, name) = bytes(name, DataType::Uint8, &[5], vec![0; 5]);
        });
        broken(&[name, "attributes need floats"], |m| {
            initializer(m, name).data_type = Some(DataType::Int8 as i32);
        });
    }
    for (name, other) in [
        ("0.k_proj.zero_point", DataType::Uint8),
        ("1.up_proj.zero_point", DataType::Int8),
        ("embed_tokens.zero_point", DataType::Int8),
    ] {
        broken(&[name, "zero points are"], |m| {
            initializer(m, name).data_type = Some(other as i32);
        });
    }
    broken(&["embed_tokens.zero_point", "one value"], |m| {
        let name = "embed_tokens.zero_point";
        *initializer(m, name) = bytes(name, DataType::Uint8, &[6], vec![0; 6]);
    });
    // They may be absent.
    accepted(|m| node(m, Q).input.truncate(3));
    accepted(|m| node(m, "0.v_proj").input[3].clear());
    accepted(|m| node(m, "0.k_proj.product").input.truncate(3));
    accepted(|m| node(m, "dequantize").input.truncate(2));
}

#[test]
fn permuted_inputs_and_biases() {
    for index in [4, 5] {
        unknown(&[Q, &format!("input {index} is not expected")], |m| {
            let input = &mut node(m, Q).input;
            input.resize(index, String::new());
            input.push("0.q_proj.scales".into());
        });
    }
    accepted(|m| node(m, Q).input.resize(6, String::new()));
}

#[test]
fn values_that_are_no_constants() {
    for (name, input) in [
        (Q, 1),
        (Q, 2),
        (Q, 3),
        ("0.o_proj", 1),
        ("0.o_proj", 2),
        ("0.k_proj.product", 1),
        ("0.k_proj.product", 3),
        ("0.k_proj.scales", 1),
        ("dequantize", 1),
        ("dequantize", 2),
        ("embed", 0),
    ] {
        unknown(&[name, "is no constant"], |m| {
            node(m, name).input[input] = "past.0.key".into();
        });
    }
}

#[test]
fn other_types_of_bitsandbytes() {
    accepted(|m| set(node(m, "0.o_proj"), int("quant_type", 0)));
    for quant_type in [2, -1] {
        unknown(&["0.o_proj", "quant_type"], |m| {
            set(node(m, "0.o_proj"), int("quant_type", quant_type))
        });
    }
    unknown(&["0.o_proj", "quant_type"], |m| {
        node(m, "0.o_proj").attribute.truncate(3)
    });
    accepted(|m| set(node(m, "0.o_proj"), int("transB", 1)));
    unknown(&["0.o_proj", "transB is 0"], |m| {
        set(node(m, "0.o_proj"), int("transB", 0))
    });
}

#[test]
fn operands_of_integer_products_in_another_order() {
    accepted(|m| {
        node(m, "0.k_proj").input.swap(0, 1);
        node(m, "0.k_proj.scales").input.swap(0, 1);
        node(m, "1.up_proj").input.swap(0, 1);
        node(m, "1.gate_proj.scales").input.swap(0, 1);
    });
}

#[test]
fn integer_products_with_the_scale_or_zero_point_of_another_value() {
    unknown(&["1.up_proj.product", "another zero point"], |m| {
        node(m, "1.up_proj.product").input[2] = "0.input_layernorm.zero_point".into();
    });
    unknown(&["1.up_proj.product", "another zero point"], |m| {
        node(m, "1.up_proj.product").input[2].clear();
    });
    unknown(&["1.up_proj.scales", "input's scale"], |m| {
        node(m, "1.up_proj.scales").input[0] = "0.input_layernorm.scale".into();
    });
    unknown(&["1.post_attention_layernorm.quantize"], |m| {
        node(m, "1.up_proj.product").input[0] = "1.post_attention_layernorm.zero_point".into();
    });
    unknown(&["1.product", "not made of the same value"], |m| {
        let other = "0.input_layernorm";
        for (node_name, input, part) in [
            ("1.up_proj.product", 0, "quantized"),
            ("1.up_proj.product", 2, "zero_point"),
            ("1.up_proj.scales", 0, "scale"),
        ] {
            node(m, node_name).input[input] = format!("{other}.{part}");
        }
    });
}

#[test]
fn integer_products_cast_to_half() {
    unknown(&["0.k_proj"], |m| {
        set(
            node(m, "0.k_proj.cast"),
            int("to", DataType::Float16 as i64),
        )
    });
}
