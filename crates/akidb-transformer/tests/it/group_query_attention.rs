//! `GroupQueryAttention` in the forms that are a decoder's attention, and in those that only look
//! like it.

use akidb_onnx::model::OnnxModel;
use akidb_onnx::proto::ModelProto;
use akidb_onnx::{Error, ErrorKind};
use akidb_testing::graphs::*;
use akidb_transformer::{DecoderConfig, recognise};

const ATTENTION: &str = "0.attention";

/// The small decoder with `GroupQueryAttention`, rotary outside.
fn gqa() -> ModelProto {
    let mut model = decoder(&small());
    let nodes = [
        new_node(
            "",
            "ReduceSum",
            "sum",
            &["attention_mask", "[1]"],
            &["sum"],
            vec![],
        ),
        new_node("", "Sub", "last", &["sum", "[1]"], &["last"], vec![]),
        new_node(
            "",
            "Cast",
            "seqlens_k",
            &["last"],
            &["seqlens_k"],
            vec![int("to", 6)],
        ),
        new_node(
            "",
            "Shape",
            "lengths",
            &["attention_mask"],
            &["lengths"],
            vec![],
        ),
        new_node(
            "",
            "Gather",
            "length",
            &["lengths", "[1]"],
            &["length"],
            vec![],
        ),
        new_node(
            "",
            "Cast",
            "total",
            &["length"],
            &["total"],
            vec![int("to", 6)],
        ),
    ];
    graph(&mut model).node.extend(nodes);
    for i in 0..2 {
        // What carries the past on is left out.
        let output = &mut graph(&mut model).output;
        output.retain(|o| !o.name().starts_with(&format!("present.{i}.")));
        let attention = node(&mut model, &format!("{i}.attention"));
        attention.op_type = Some("GroupQueryAttention".into());
        attention.input = vec![
            format!("{i}.q.rotary"),
            format!("{i}.k.rotary"),
            format!("{i}.v_proj"),
            format!("past.{i}.key"),
            format!("past.{i}.value"),
            "seqlens_k".into(),
            "total".into(),
        ];
        set(attention, int("kv_num_heads", 2));
    }
    model
}

/// As [`gqa`], rotary inside.
fn rotary_inside() -> ModelProto {
    let mut model = gqa();
    for i in 0..2 {
        let attention = node(&mut model, &format!("{i}.attention"));
        attention.input[0] = format!("{i}.q.joined");
        attention.input[1] = format!("{i}.k.joined");
        attention.input.extend(["cos".into(), "sin".into()]);
        set(attention, int("do_rotary", 1));
    }
    model
}

/// As [`gqa`], with q, k and v of one product.
fn packed() -> ModelProto {
    let mut model = gqa();
    for i in 0..2 {
        let name = |part: &str| format!("{i}.{part}");
        let mut columns = Vec::new();
        for part in ["q_proj", "k_proj", "v_proj"] {
            let weight = initializer(&mut model, &name(&format!("{part}.weight"))).clone();
            let width = weight.dims[1] as usize;
            let data = weight.raw_data.unwrap();
            columns.push(
                data.chunks(4 * width)
                    .map(<[u8]>::to_vec)
                    .collect::<Vec<_>>(),
            );
        }
        let rows = (0..6).flat_map(|k| columns.iter().flat_map(move |c| c[k].clone()));
        let mut weight = floats(&name("qkv.weight"), &[6, 64], &[]);
        weight.raw_data = Some(rows.collect::<Vec<u8>>().into());
        graph(&mut model).initializer.push(weight);
        let nodes = &mut graph(&mut model).node;
        nodes.retain(|n| {
            ![name("q_proj"), name("k_proj"), name("v_proj")].contains(&n.name().to_owned())
        });
        let inputs = [&*name("input_layernorm"), &*name("qkv.weight")];
        nodes.push(new_node(
            "",
            "MatMul",
            &name("qkv"),
            &inputs,
            &[&name("qkv")],
            vec![],
        ));
        let outputs = ["q_proj", "k_proj", "v_proj"].map(name);
        nodes.push(new_node(
            "",
            "Split",
            &name("split"),
            &[&name("qkv"), "sizes"],
            &outputs.each_ref().map(|s| &**s),
            vec![int("axis", -1)],
        ));
    }
    graph(&mut model)
        .initializer
        .push(longs("sizes", &[3], &[32, 16, 16]));
    model
}

/// As [`packed`], the rotary and the norms of heads inside as well.
fn norm_inside() -> ModelProto {
    let mut model = packed();
    for i in 0..2 {
        let attention = node(&mut model, &format!("{i}.attention"));
        attention.input[0] = format!("{i}.qkv");
        attention.input[1].clear();
        attention.input[2].clear();
        attention.input.extend(["cos".into(), "sin".into()]);
        attention.input.resize(14, String::new());
        attention.input.push(format!("{i}.q_norm.weight"));
        attention.input.push(format!("{i}.k_norm.weight"));
        set(attention, int("do_rotary", 1));
        set(attention, float("qk_norm_epsilon", 1e-5));
    }
    model
}

/// As [`gqa`] or [`rotary_inside`], queries, keys and values put side by side.
fn side_by_side(mut model: ModelProto) -> ModelProto {
    for i in 0..2 {
        let name = format!("{i}.packed");
        let attention = node(&mut model, &format!("{i}.attention"));
        let operands = attention.input[..3].to_vec();
        attention.input[0].clone_from(&name);
        attention.input[1].clear();
        attention.input[2].clear();
        let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
        let concat = new_node(
            "",
            "Concat",
            &name,
            &operands,
            &[&name],
            vec![int("axis", -1)],
        );
        graph(&mut model).node.push(concat);
    }
    model
}

fn recognised(model: &ModelProto) -> Result<DecoderConfig, Error> {
    let model = OnnxModel::from_bytes(encode(model))?;
    Ok(recognise(&model, None)?.decoder_config())
}

fn refused_in(mut model: ModelProto, node: &str, change: impl FnOnce(&mut ModelProto)) {
    change(&mut model);
    match recognised(&model).map_err(|e| (e.to_string(), e)) {
        Err((text, error)) => match error.kind() {
            ErrorKind::NotRecognised { node: named, .. } if named == node => {}
            _ => panic!("{node} is not named: {text}"),
        },
        Ok(config) => panic!("recognised as {config:?}"),
    }
}

/// The changed decoder with rotary inside is not recognised, because of the attention.
fn refused(change: impl FnOnce(&mut ModelProto)) {
    refused_in(rotary_inside(), ATTENTION, change);
}

fn accepted(mut model: ModelProto, change: impl FnOnce(&mut ModelProto)) {
    change(&mut model);
    assert_eq!(recognised(&model).unwrap(), small());
}

#[test]
fn rotary_outside_inside_and_packed() {
    accepted(gqa(), |_| {});
    accepted(rotary_inside(), |_| {});
    accepted(packed(), |_| {});
}

#[test]
fn packed_projections_are_told_apart() {
    let weights = |model: ModelProto| {
        let model = OnnxModel::from_bytes(encode(&model)).unwrap();
        let decoder = recognise(&model, None).unwrap();
        let layers = decoder.blocks.iter();
        let linears =
            layers.flat_map(|l| [&l.attention.query, &l.attention.key, &l.attention.value]);
        let dequantized = linears.map(|linear| {
            let mut all = vec![0.0; linear.in_features() * linear.out_features()];
            linear.dequantize(0, &mut all).unwrap();
            all
        });
        dequantized.collect::<Vec<_>>()
    };
    assert!(weights(packed()) == weights(gqa()));
    assert!(weights(norm_inside()) == weights(gqa()));
    assert!(weights(side_by_side(rotary_inside())) == weights(gqa()));
}

#[test]
fn packed_operands() {
    accepted(norm_inside(), |_| {});
    accepted(side_by_side(gqa()), |_| {});
    accepted(side_by_side(rotary_inside()), |m| {
        set(node(m, "0.packed"), int("axis", 2));
    });
    refused_in(side_by_side(gqa()), "0.packed", |m| {
        set(node(m, "0.packed"), int("axis", 1));
    });
    refused_in(side_by_side(gqa()), "0.packed", |m| {
        node(m, "0.packed").input.truncate(2);
    });
    refused_in(side_by_side(gqa()), ATTENTION, |m| {
        node(m, ATTENTION).input[1] = "0.k.rotary".into();
    });
    // In another order.
    let mut model = side_by_side(gqa());
    node(&mut model, "0.packed").input.swap(0, 1);
    recognised(&model).unwrap_err();
}

#[test]
fn norms_of_heads_inside() {
    // Not packed.
    accepted(norm_inside(), |m| {
        let attention = node(m, ATTENTION);
        attention.input[0] = "0.q_proj".into();
        attention.input[1] = "0.k_proj".into();
        attention.input[2] = "0.v_proj".into();
    });
    accepted(norm_inside(), |m| {
        let attention = node(m, ATTENTION);
        set(attention, float("q_norm_epsilon", 1e-5));
        set(attention, float("k_norm_epsilon", 1e-5));
        set(attention, float("qk_norm_epsilon", 0.5));
    });
    refused_in(norm_inside(), ATTENTION, |m| {
        node(m, ATTENTION).input[14].clear();
    });
    refused_in(norm_inside(), ATTENTION, |m| {
        node(m, ATTENTION).input.truncate(15);
    });
    refused_in(norm_inside(), ATTENTION, |m| {
        set(node(m, ATTENTION), float("k_norm_epsilon", 1e-4));
    });
    // 1e-6 unless it is said.
    refused_in(norm_inside(), ATTENTION, |m| {
        let attention = node(m, ATTENTION);
        attention
            .attribute
            .retain(|a| a.name() != "qk_norm_epsilon");
    });
    refused_in(norm_inside(), ATTENTION, |m| {
        let attention = node(m, ATTENTION);
        attention.input.drain(7..9);
        attention.input.splice(7..7, [String::new(), String::new()]);
        set(attention, int("do_rotary", 0));
    });
    refused_in(norm_inside(), ATTENTION, |m| {
        node(m, ATTENTION).input[1] = "0.k_proj".into();
    });
    for (key, value) in [
        ("num_heads", 1 << 40),
        ("kv_num_heads", -2),
        ("num_heads", 5),
    ] {
        let mut model = norm_inside();
        for i in 0..2 {
            set(node(&mut model, &format!("{i}.attention")), int(key, value));
        }
        recognised(&model).unwrap_err();
    }
}

#[test]
fn what_is_usual_may_be_said() {
    accepted(rotary_inside(), |m| {
        let attention = node(m, ATTENTION);
        set(attention, int("local_window_size", -1));
        set(attention, int("smooth_softmax", -1));
        set(attention, int("causal", 1));
        set(attention, int("qk_output", 0));
        set(attention, int("sliding_window_cache", 0));
        set(attention, string("k_quant_type", "NONE"));
        set(attention, string("v_quant_type", "NONE"));
        set(attention, int("rotary_interleaved", 0));
        set(attention, float("softcap", 0.0));
        set(attention, float("scale", 0.0));
        attention.input.push("position_ids".into());
        attention.input.push(String::new());
    });
}

#[test]
fn attributes_of_another_attention() {
    refused(|m| set(node(m, ATTENTION), int("local_window_size", 4)));
    refused(|m| set(node(m, ATTENTION), int("smooth_softmax", 1)));
    refused(|m| set(node(m, ATTENTION), int("rotary_interleaved", 1)));
    refused(|m| set(node(m, ATTENTION), int("causal", 0)));
    refused(|m| set(node(m, ATTENTION), int("qk_output", 1)));
    refused(|m| set(node(m, ATTENTION), int("sliding_window_cache", 1)));
    refused(|m| set(node(m, ATTENTION), string("k_quant_type", "PER_TENSOR")));
    refused(|m| set(node(m, ATTENTION), string("v_quant_type", "")));
    refused(|m| set(node(m, ATTENTION), float("softcap", 50.0)));
    refused(|m| set(node(m, ATTENTION), float("softcap", f32::NAN)));
    refused(|m| set(node(m, ATTENTION), float("scale", 1.0)));
    refused(|m| set(node(m, ATTENTION), int("do_rotary", 2)));
    refused(|m| set(node(m, ATTENTION), int("kv_cache_bit_width", 8)));
    refused(|m| set(node(m, ATTENTION), int("kv_num_heads", 1)));
    refused(|m| set(node(m, ATTENTION), int("num_heads", 2)));
}

#[test]
fn numbers_of_heads_that_the_weights_do_not_have() {
    for (key, value) in [("kv_num_heads", 1), ("kv_num_heads", -2), ("num_heads", 8)] {
        let mut model = rotary_inside();
        for i in 0..2 {
            set(node(&mut model, &format!("{i}.attention")), int(key, value));
        }
        recognised(&model).unwrap_err();
    }
}

#[test]
fn inputs_of_another_attention() {
    // A bias, a sink, and others to come.
    for index in 10..14 {
        refused(|m| {
            let input = &mut node(m, ATTENTION).input;
            input.resize(index, String::new());
            input.push("cos".into());
        });
    }
    refused(|m| node(m, ATTENTION).input[3] = "cos".into());
    refused(|m| {
        let input = &mut node(m, ATTENTION).input;
        input.push("input_ids".into());
    });
    refused(|m| node(m, ATTENTION).input[2] = String::new());
    refused_in(rotary_inside(), ATTENTION, |m| {
        node(m, "0.v_proj").input[0] = "embed".into()
    });
    // Tables that nothing uses.
    refused_in(gqa(), ATTENTION, |m| {
        node(m, ATTENTION)
            .input
            .extend(["cos".into(), "sin".into()]);
    });
}

#[test]
fn rotary_both_inside_and_outside_or_with_other_tables() {
    refused_in(rotary_inside(), "0.q.rotary", |m| {
        node(m, ATTENTION).input[0] = "0.q.rotary".into();
    });
    refused_in(rotary_inside(), "0.q.joined", |m| {
        set(node(m, ATTENTION), int("do_rotary", 0));
    });
    // The walk sees the last layer first.
    refused(|m| node(m, ATTENTION).input.swap(7, 8));
}

#[test]
fn lengths_that_do_not_come_from_the_mask() {
    let last = "1.attention";
    for (name, input, other) in [
        ("last", 0, "length"),
        ("last", 1, "[0]"),
        ("sum", 0, "input_ids"),
        ("sum", 1, "[0]"),
        ("seqlens_k", 0, "sum"),
        ("lengths", 0, "input_ids"),
        ("length", 1, "[0]"),
        ("total", 0, "last"),
    ] {
        refused_in(rotary_inside(), last, |m| {
            node(m, name).input[input] = other.into()
        });
    }
    refused_in(rotary_inside(), last, |m| {
        set(node(m, "length"), int("axis", 1))
    });
    refused_in(rotary_inside(), last, |m| {
        set(node(m, "total"), int("to", 7))
    });
    refused_in(rotary_inside(), last, |m| {
        node(m, last).input[5] = "total".into()
    });
    // Layers that differ.
    refused(|m| node(m, ATTENTION).input[5] = "total".into());
    refused(|m| node(m, ATTENTION).input.truncate(5));
}

#[test]
fn packed_weights_split_otherwise() {
    refused_in(packed(), "1.split", |m| {
        set(node(m, "1.split"), int("axis", 1))
    });
    refused_in(packed(), "1.split", |m| {
        node(m, "1.split").attribute.clear()
    });
    refused_in(packed(), "1.split", |m| {
        node(m, "1.split").input.truncate(1)
    });
    for sizes in [
        [32, 16, 17],
        [-1, 16, 16],
        [i64::MAX, i64::MAX, i64::MAX],
        [16, 16, 32],
        [16, 32, 16],
    ] {
        let mut model = packed();
        *initializer(&mut model, "sizes") = longs("sizes", &[3], &sizes);
        let error = recognised(&model).unwrap_err();
        assert!(!error.is_not_recognised(), "{sizes:?}: {error}");
    }
}
