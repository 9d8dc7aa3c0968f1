//! Which forms of graph are a decoder, and which only look like one.

use akidb_onnx::model::OnnxModel;
use akidb_onnx::proto::ModelProto;
use akidb_onnx::{Error, ErrorKind};
use akidb_testing::graphs::*;
use akidb_transformer::{DecoderConfig, recognise};

fn recognised(model: &ModelProto) -> Result<DecoderConfig, Error> {
    let model = OnnxModel::from_bytes(encode(model))?;
    Ok(recognise(&model, None)?.decoder_config())
}

/// The model, changed, is sound but not recognised, and the error names `node`.
fn refused(node: &str, change: impl FnOnce(&mut ModelProto)) {
    let mut model = decoder(&small());
    change(&mut model);
    match recognised(&model).map_err(|e| (e.to_string(), e)) {
        Err((text, error)) => match error.kind() {
            ErrorKind::NotRecognised { node: named, .. } if named == node => {}
            _ => panic!("{node} is not named: {text}"),
        },
        Ok(config) => panic!("recognised as {config:?}"),
    }
}

fn accepted(change: impl FnOnce(&mut ModelProto)) {
    let mut model = decoder(&small());
    change(&mut model);
    assert_eq!(recognised(&model).unwrap(), small());
}

#[test]
fn the_builders_form() {
    accepted(|_| {});
}

#[test]
fn as_many_key_as_query_heads_need_no_repetition() {
    let config = DecoderConfig {
        num_key_value_heads: 4,
        ..small()
    };
    let mut model = decoder(&config);
    assert_eq!(recognised(&model).unwrap(), config);
    for i in 0..2 {
        // The past goes into the attention instead.
        let node = node(&mut model, &format!("{i}.attention"));
        node.input[1] = format!("{i}.k.rotary");
        node.input[2] = format!("{i}.v_proj");
        node.input.push(format!("past.{i}.key"));
        node.input.push(format!("past.{i}.value"));
    }
    assert_eq!(recognised(&model).unwrap(), config);
}

#[test]
fn operands_in_another_order() {
    accepted(|m| {
        node(m, "0.silu").input.swap(0, 1);
        node(m, "1.product").input.swap(0, 1);
        node(m, "norm").input.swap(0, 1);
    });
}

#[test]
fn sums_of_their_own_before_plain_norms() {
    accepted(|m| {
        let names = ["0.post_attention_layernorm", "1.input_layernorm", "norm"];
        for name in names {
            let skip = node(m, name);
            let sum = format!("{name}.sum");
            let (a, b, weight) = (&skip.input[0], &skip.input[1], &skip.input[2]);
            let add = new_node("", "Add", "add", &[a, b], &[&sum], vec![]);
            skip.input = vec![sum, weight.clone()];
            skip.output.truncate(1);
            skip.domain = None;
            skip.op_type = Some("SimplifiedLayerNormalization".into());
            graph(m).node.push(add);
        }
    });
}

#[test]
fn casts_between_float_types() {
    accepted(|m| {
        for value in ["embed", "0.attention", "1.up_proj", "1.k_norm"] {
            let cast = format!("{value}.cast");
            for node in &mut graph(m).node {
                for input in node.input.iter_mut().filter(|i| *i == value) {
                    input.clone_from(&cast);
                }
            }
            let node = new_node("", "Cast", &cast, &[value], &[&cast], vec![int("to", 10)]);
            graph(m).node.push(node);
        }
    });
}

#[test]
fn a_cast_to_integers_is_no_cast() {
    refused("0.cast", |m| {
        node(m, "0.o_proj").input[0] = "0.cast".into();
        let inputs = ["0.attention"];
        let cast = new_node(
            "",
            "Cast",
            "0.cast",
            &inputs,
            &["0.cast"],
            vec![int("to", 7)],
        );
        graph(m).node.push(cast);
    });
}

#[test]
fn the_output_by_name_or_alone() {
    accepted(|m| {
        let output = graph(m).output[0].clone();
        graph(m).output.push(output);
        graph(m).output[0].name = Some("last_hidden_state".into());
        node(m, "norm").output[0] = "last_hidden_state".into();
        graph(m).output.last_mut().unwrap().name = Some("embed".into());
    });
    refused("norm", |m| {
        let output = graph(m).output[0].clone();
        graph(m).output.push(output);
        graph(m).output.last_mut().unwrap().name = Some("embed".into());
    });
}

#[test]
fn causal_by_attribute_without_a_mask() {
    accepted(|m| {
        for i in 0..2 {
            let attention = node(m, &format!("{i}.attention"));
            attention.input.truncate(3);
            set(attention, int("unidirectional", 1));
        }
    });
}

#[test]
fn attention_to_what_comes_after() {
    refused("1.attention", |m| node(m, "1.attention").input.truncate(3));
    refused("1.attention", |m| {
        node(m, "mask_of_one").input[1] = "no_padding".into();
    });
    // Less(i + 1, j) closes the past instead of the future.
    refused("less", |m| node(m, "less").input.swap(0, 1));
    refused("less", |m| node(m, "causal").input.swap(1, 2));
    refused("less", |m| node(m, "next").input[1] = "[0]".into());
    refused("less", |m| node(m, "row").input[0] = "[1]".into());
}

#[test]
fn masks_that_differ_between_layers() {
    refused("0.attention", |m| {
        node(m, "0.attention").input[5] = "mask_of_one".into();
    });
    refused("0.attention", |m| {
        set(node(m, "0.attention"), int("unidirectional", 1));
    });
}

#[test]
fn masks_with_more_in_them() {
    refused("1.attention", |m| {
        node(m, "wide_mask").input[0] = "position_ids".into();
    });
    refused("1.attention", |m| {
        node(m, "mask_of_one").input[0] = "causal".into();
    });
    // A sliding window has a second comparison.
    refused("window", |m| {
        let window = new_node(
            "",
            "Less",
            "window",
            &["column", "row"],
            &["window"],
            vec![],
        );
        graph(m).node.push(window);
        node(m, "no_padding").input[0] = "window".into();
    });
    refused("window", |m| {
        let window = new_node(
            "",
            "GreaterOrEqual",
            "window",
            &["row", "column"],
            &["w"],
            vec![],
        );
        graph(m).node.push(window);
        node(m, "no_padding").input[0] = "w".into();
    });
    // Slopes, as in ALiBi.
    refused("slope", |m| {
        let value = tensor_attribute("value", floats("", &[], &[0.5]));
        let slope = new_node("", "Constant", "slope", &[], &["slope"], vec![value]);
        graph(m).node.push(slope);
        node(m, "padding").input[0] = "slope".into();
    });
    refused("1.attention", |m| {
        graph(m).initializer.push(floats("slopes", &[4], &[0.5; 4]));
        node(m, "padding").input[0] = "slopes".into();
    });
}

#[test]
fn another_attention() {
    refused("0.attention", |m| {
        set(node(m, "0.attention"), float("scale", 1.0))
    });
    refused("0.attention", |m| {
        set(node(m, "0.attention"), float("scale", f32::NAN))
    });
    refused("0.attention", |m| {
        set(node(m, "0.attention"), int("num_heads", 2))
    });
    refused("0.attention", |m| {
        set(node(m, "0.attention"), int("num_heads", -4))
    });
    refused("0.attention", |m| {
        node(m, "0.attention").input[3] = "cos".into()
    });
    refused("0.attention", |m| {
        node(m, "0.attention").input.push("cos".into())
    });
    refused("0.attention", |m| {
        node(m, "0.v_proj").input[0] = "embed".into()
    });
    refused("0.attention", |m| {
        node(m, "0.attention").op_type = Some("PagedAttention".into());
    });
    accepted(|m| set(node(m, "0.attention"), float("scale", 0.0)));
    refused("0.attention", |m| {
        set(node(m, "0.attention"), int("window", 4))
    });
    accepted(|m| set(node(m, "0.attention"), float("mask_filter_value", -1e4)));
}

#[test]
fn heads_repeated_in_another_order() {
    refused("0.key.unsqueeze", |m| {
        node(m, "0.key.unsqueeze").input[1] = "[1]".into()
    });
    refused("1.value.to_seq", |m| {
        set(node(m, "1.value.to_seq"), ints("perm", &[0, 1, 2, 3]));
    });
    refused("1.value.to_heads", |m| {
        node(m, "1.value.to_heads").attribute.clear()
    });
    refused("present.1.key", |m| {
        node(m, "present.1.key").input.swap(0, 1)
    });
    refused("present.1.key", |m| {
        set(node(m, "present.1.key"), int("axis", 1))
    });
}

#[test]
fn heads_repeated_to_another_number() {
    refused("0.attention", |m| {
        node(m, "0.key.join").input[1] = "[0, -1, 8]".into()
    });
    refused("0.value.join", |m| {
        node(m, "0.value.join").input[1] = "shape".into()
    });
    refused("1.value.split", |m| {
        node(m, "1.value.split").input[1] = "[0, -1, 8]".into()
    });
    refused("1.attention", |m| {
        node(m, "1.value.split").input[1] = "[1, 4, 1, 1]".into();
    });
}

#[test]
fn another_rotary_embedding() {
    refused("0.q.rotary", |m| {
        set(node(m, "0.q.rotary"), int("interleaved", 1))
    });
    refused("0.q.rotary", |m| {
        set(node(m, "0.q.rotary"), float("scale", 2.0))
    });
    refused("0.q.rotary", |m| {
        set(node(m, "0.q.rotary"), int("rotary_embedding_dim", 4))
    });
    refused("0.q.rotary", |m| {
        node(m, "0.q.rotary").input[1] = "input_ids".into()
    });
    refused("0.q.rotary", |m| {
        set(node(m, "0.q.rotary"), int("num_heads", 8))
    });
    refused("0.q.rotary", |m| {
        set(node(m, "0.q.rotary"), int("partial", 1))
    });
    accepted(|m| set(node(m, "0.q.rotary"), int("num_heads", 4)));
    refused("1.k.rotary", |m| node(m, "1.k.rotary").input.swap(2, 3));
    refused("1.q.rotary", |m| {
        let sin = initializer(m, "sin").clone();
        *initializer(m, "cos") = akidb_onnx::proto::TensorProto {
            name: Some("cos".into()),
            ..sin
        };
    });
}

#[test]
fn weights_stored_the_other_way_round() {
    let turned = |perm: Option<&[i64]>| {
        let perm = perm.map(|perm| ints("perm", perm));
        move |m: &mut ModelProto| {
            initializer(m, "0.k_proj.weight").dims = vec![16, 6];
            let transpose = new_node(
                "",
                "Transpose",
                "turned",
                &["0.k_proj.weight"],
                &["turned"],
                perm.into_iter().collect(),
            );
            graph(m).node.push(transpose);
            node(m, "0.k_proj").input[1] = "turned".into();
        }
    };
    accepted(turned(None));
    accepted(turned(Some(&[1, 0])));
    refused("turned", turned(Some(&[0, 1])));
}

#[test]
fn another_mlp() {
    refused("0.sigmoid", |m| {
        node(m, "0.sigmoid").op_type = Some("Tanh".into())
    });
    refused("0.sigmoid", |m| {
        node(m, "0.sigmoid").input[0] = "0.up_proj".into()
    });
    refused("0.product", |m| {
        node(m, "0.product").op_type = Some("Add".into())
    });
    refused("0.product", |m| {
        node(m, "0.up_proj").input[0] = "embed".into()
    });
}

#[test]
fn another_residual_stream() {
    let name = "1.post_attention_layernorm";
    refused(name, |m| {
        node(m, "norm").input[0] = "1.input_layernorm.sum".into()
    });
    refused("1.input_layernorm", |m| {
        node(m, name).input[0] = "embed".into()
    });
    refused(name, |m| node(m, name).input.push("norm.weight".into()));
    refused("norm", |m| node(m, "norm").input[0] = "0.o_proj".into());
    refused(name, |m| node(m, name).attribute.clear());
    refused("1.k_norm", |m| {
        set(node(m, "1.k_norm"), float("epsilon", 1e-6))
    });
    refused("1.k_norm", |m| set(node(m, "1.k_norm"), int("axis", 1)));
    refused("1.k_norm", |m| {
        set(node(m, "1.k_norm"), int("stash_type", 10))
    });
    refused("1.k_norm", |m| {
        set(node(m, "1.k_norm"), float("offset", 1.0))
    });
    refused("norm", |m| set(node(m, "norm"), float("offset", 1.0)));
}

#[test]
fn another_embedding() {
    refused("embed", |m| {
        node(m, "embed").input[1] = "position_ids".into()
    });
    refused("embed", |m| set(node(m, "embed"), int("axis", 1)));
    refused("embed", |m| node(m, "embed").op_type = Some("Scale".into()));
}

#[test]
fn a_model_of_norms_alone() {
    refused("norm", |m| {
        let norm = node(m, "norm");
        norm.op_type = Some("SimplifiedLayerNormalization".into());
        norm.domain = None;
        norm.input = vec!["embed".into(), "norm.weight".into()];
    });
}
