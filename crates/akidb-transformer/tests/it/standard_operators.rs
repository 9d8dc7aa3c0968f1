//! ONNX's own `Attention`, `RotaryEmbedding` and `RMSNormalization` in the forms that are a
//! decoder's, and in those that only look like it.

use akidb_onnx::model::OnnxModel;
use akidb_onnx::proto::ModelProto;
use akidb_onnx::{Error, ErrorKind};
use akidb_testing::graphs::standard::*;
use akidb_testing::graphs::*;
use akidb_transformer::{Transformer, recognise};

const ATTENTION: &str = "0.attention";

fn recognised(model: &ModelProto) -> Result<Transformer, Error> {
    recognise(&OnnxModel::from_bytes(encode(model))?, None)
}

/// Names of all weights, and the sizes.
fn summary(decoder: &Transformer) -> String {
    let mut text = format!("{:?}", decoder.decoder_config());
    for block in decoder.decoder_blocks().unwrap().0 {
        let norms = [
            block.input_layernorm,
            block.q_norm,
            block.k_norm,
            block.post_attention_layernorm,
        ];
        let linears = block.linears();
        let linears = linears.map(|linear| linear.weight().tensor().name());
        text += &format!("{linears:?} {:?}", norms.map(|norm| norm.name()));
    }
    text
}

fn accepted(mut model: ModelProto, change: impl FnOnce(&mut ModelProto)) {
    change(&mut model);
    let want = recognised(&decoder(&small())).unwrap();
    assert_eq!(summary(&recognised(&model).unwrap()), summary(&want));
}

/// The changed model is not recognised; the error names `node` and has `part` in it.
fn refused(mut model: ModelProto, node: &str, part: &str, change: impl FnOnce(&mut ModelProto)) {
    change(&mut model);
    let error = recognised(&model).unwrap_err();
    let text = error.to_string();
    match error.kind() {
        ErrorKind::NotRecognised { node: named, .. } if named == node => {}
        _ => panic!("{node} is not named: {text}"),
    }
    assert!(text.contains(part), "{part:?} is not in {text:?}");
}

/// All operators ONNX's own, on tokens.
fn tokens() -> ModelProto {
    let mut model = decoder(&small());
    standard_norms(&mut model);
    standard_rotary(&mut model, &small());
    standard_attention(&mut model, &small());
    model
}

/// All operators ONNX's own, on heads.
fn heads() -> ModelProto {
    let mut model = tokens();
    heads_first(&mut model, &small());
    for i in 0..2 {
        let attention = node(&mut model, &format!("{i}.attention"));
        attention
            .attribute
            .retain(|a| !a.name().ends_with("num_heads"));
    }
    model
}

/// [`tokens`] with a mask in place of `is_causal`.
fn masked(mask: &str) -> ModelProto {
    let mut model = tokens();
    bool_mask(&mut model);
    for i in 0..2 {
        let attention = node(&mut model, &format!("{i}.attention"));
        attention.input[3] = mask.into();
        set(attention, int("is_causal", 0));
    }
    model
}

#[test]
fn each_operator_alone_and_all_together() {
    for parts in 1..8 {
        let mut model = decoder(&small());
        if parts & 1 != 0 {
            standard_norms(&mut model);
        }
        if parts & 2 != 0 {
            standard_rotary(&mut model, &small());
        }
        if parts & 4 != 0 {
            standard_attention(&mut model, &small());
        }
        accepted(model, |_| {});
    }
}

#[test]
fn heads_first_and_the_norm_before_or_after() {
    accepted(heads(), |_| {});
    accepted(heads(), |m| {
        for part in ["q", "k"] {
            let (split, norm) = (format!("0.{part}.split"), format!("0.{part}_norm"));
            let transpose = format!("0.{part}.joined");
            node(m, &transpose).input[0] = split;
            node(m, &norm).input[0] = transpose;
            node(m, &format!("0.{part}.rotary")).input[0] = norm;
        }
    });
    // The norm of what lies flat.
    accepted(heads(), |m| {
        let (flat, of_heads) = (shape(m, &[0, -1, 8]), shape(m, &[0, -1, 4, 8]));
        node(m, "0.q.split").input[1] = flat;
        add_node(m, "Reshape", "0.again", &["0.q_norm", &of_heads]);
        node(m, "0.q.joined").input[0] = "0.again".into();
    });
    accepted(heads(), |m| {
        set(node(m, ATTENTION), int("q_num_heads", 4));
        set(node(m, ATTENTION), int("kv_num_heads", 2));
        set(node(m, "0.k.rotary"), int("num_heads", 2));
    });
    for of_heads in [[0, -1, 2, 8], [-1, 0, 2, 8], [1, -1, 2, 8], [0, 0, -1, 8]] {
        accepted(heads(), |m| {
            node(m, "0.k.split").input[1] = shape(m, &[0, 0, 2, 8]);
            node(m, "0.v.split").input[1] = shape(m, &of_heads);
        });
    }
}

#[test]
fn rotary_of_tokens_before_attention_of_heads_and_the_other_way_round() {
    accepted(heads(), |m| {
        for (part, count) in [("q", 4), ("k", 2)] {
            let name = |what: &str| format!("0.{part}.{what}");
            let (of_tokens, of_heads) =
                (shape(m, &[0, -1, 8 * count]), shape(m, &[0, 0, count, 8]));
            replace(
                m,
                &name("joined"),
                "Reshape",
                &[&format!("0.{part}_norm"), &of_tokens],
            );
            set(node(m, &name("rotary")), int("num_heads", count));
            add_node(
                m,
                "Reshape",
                &name("of_heads"),
                &[&name("rotary"), &of_heads],
            );
            add_node(m, "Transpose", &name("swapped"), &[&name("of_heads")]);
            set(node(m, &name("swapped")), ints("perm", &SWAP));
            let index = usize::from(part == "k");
            node(m, ATTENTION).input[index] = name("swapped");
        }
    });
    let of_heads = || {
        let mut model = tokens();
        for i in 0..2 {
            for (part, count) in [("q", 4), ("k", 2)] {
                let name = |what: &str| format!("{i}.{part}.{what}");
                let norm = format!("{i}.{part}_norm");
                let (split, joined) = (
                    shape(&mut model, &[0, 0, count, 8]),
                    shape(&mut model, &[0, -1, 8 * count]),
                );
                node(&mut model, &name("split")).input[1] = split;
                replace(&mut model, &name("joined"), "Transpose", &[&norm]);
                set(node(&mut model, &name("joined")), ints("perm", &SWAP));
                add_node(
                    &mut model,
                    "Transpose",
                    &name("swapped"),
                    &[&name("rotary")],
                );
                set(node(&mut model, &name("swapped")), ints("perm", &SWAP));
                add_node(
                    &mut model,
                    "Reshape",
                    &name("of_tokens"),
                    &[&name("swapped"), &joined],
                );
                let index = usize::from(part == "k");
                node(&mut model, &format!("{i}.attention")).input[index] = name("of_tokens");
            }
        }
        model
    };
    accepted(of_heads(), |_| {});
    refused(of_heads(), "0.q.swapped", "perm", |m| {
        set(node(m, "0.q.swapped"), ints("perm", &[0, 1, 2, 3]));
    });
    refused(of_heads(), "0.k.of_tokens", "[0, -1, 8]", |m| {
        node(m, "0.k.of_tokens").input[1] = "[0, -1, 8]".into();
    });
}

#[test]
fn rotary_without_positions_takes_rows_of_the_tables() {
    let rows = || {
        let mut model = tokens();
        add_node(&mut model, "Gather", "cos_rows", &["cos", "position_ids"]);
        add_node(&mut model, "Gather", "sin_rows", &["sin", "position_ids"]);
        for name in ["0.q.rotary", "0.k.rotary"] {
            let input = &mut node(&mut model, name).input;
            input[1] = "cos_rows".into();
            input[2] = "sin_rows".into();
            input.truncate(3);
        }
        model
    };
    accepted(rows(), |_| {});
    refused(rows(), "cos_rows", "position_ids", |m| {
        node(m, "cos_rows").input[1] = "input_ids".into();
    });
    refused(rows(), "sin_rows", "axis is 1", |m| {
        set(node(m, "sin_rows"), int("axis", 1));
    });
    refused(rows(), "cos", "rows of the rotary tables", |m| {
        node(m, "0.q.rotary").input[1] = "cos".into();
    });
    refused(rows(), "0.k.rotary", "other tables", |m| {
        node(m, "0.k.rotary").input.swap(1, 2);
    });
}

#[test]
fn another_rotary() {
    let name = "0.q.rotary";
    refused(tokens(), name, "interleaved is 1", |m| {
        set(node(m, name), int("interleaved", 1))
    });
    refused(tokens(), name, "rotary_embedding_dim is 4, not 8", |m| {
        set(node(m, name), int("rotary_embedding_dim", 4))
    });
    accepted(tokens(), |m| {
        set(node(m, name), int("rotary_embedding_dim", 8))
    });
    refused(tokens(), name, "num_heads is 2, not 4", |m| {
        set(node(m, name), int("num_heads", 2))
    });
    refused(tokens(), name, "num_heads is missing", |m| {
        node(m, name).attribute.clear()
    });
    refused(tokens(), name, "\"scale\" is not expected", |m| {
        set(node(m, name), float("scale", 1.0))
    });
    refused(tokens(), name, "position_ids", |m| {
        node(m, name).input[3] = "input_ids".into()
    });
    refused(tokens(), name, "other tables", |m| {
        node(m, name).input.swap(1, 2)
    });
}

#[test]
fn another_norm() {
    // Its epsilon is that of the others unless it is said.
    accepted(tokens(), |m| node(m, "0.k_norm").attribute.clear());
    refused(tokens(), "0.k_norm", "epsilon is 0.000001", |m| {
        set(node(m, "0.k_norm"), float("epsilon", 1e-6))
    });
    refused(tokens(), "0.k_norm", "axis is 1, not -1", |m| {
        set(node(m, "0.k_norm"), int("axis", 1))
    });
    refused(tokens(), "0.k_norm", "stash_type is 16", |m| {
        set(node(m, "0.k_norm"), int("stash_type", 16))
    });
    refused(tokens(), "norm", "\"bias\" is not expected", |m| {
        set(node(m, "norm"), float("bias", 0.0))
    });
}

#[test]
fn attributes_of_another_attention() {
    for model in [tokens, heads] {
        let refused = |part, attribute| {
            refused(model(), ATTENTION, part, |m| {
                set(node(m, ATTENTION), attribute)
            });
        };
        refused("softcap is 50", float("softcap", 50.0));
        refused("softcap is NaN", float("softcap", f32::NAN));
        refused("scale is 1", float("scale", 1.0));
        // Not the usual one, as it is for ONNX Runtime's operators.
        refused("scale is 0", float("scale", 0.0));
        refused("is_causal is 2", int("is_causal", 2));
        refused("q_num_heads is 2, not 4", int("q_num_heads", 2));
        refused("kv_num_heads is 4, not 2", int("kv_num_heads", 4));
        refused("kv_num_heads is -2", int("kv_num_heads", -2));
        refused("softmax_precision is 7", int("softmax_precision", 7));
        refused("\"window\" is not expected", int("window", 4));
        accepted(model(), |m| {
            set(node(m, ATTENTION), float("softcap", 0.0));
            set(node(m, ATTENTION), float("scale", 8f32.powf(-0.5)));
            set(node(m, ATTENTION), int("softmax_precision", 1));
            set(node(m, ATTENTION), int("qk_matmul_output_mode", 1));
        });
    }
    for name in ["q_num_heads", "kv_num_heads"] {
        refused(tokens(), ATTENTION, &format!("{name} is missing"), |m| {
            node(m, ATTENTION).attribute.retain(|a| a.name() != name)
        });
    }
}

#[test]
fn inputs_of_another_attention() {
    for index in [4, 5] {
        refused(tokens(), ATTENTION, &format!("input {index}"), |m| {
            node(m, ATTENTION).input[index] = "cos".into()
        });
    }
    // Lengths, as of opset 24.
    refused(tokens(), ATTENTION, "input 6", |m| {
        node(m, ATTENTION).input.push("input_ids".into())
    });
    refused(tokens(), ATTENTION, "same value", |m| {
        node(m, "0.v_proj").input[0] = "embed".into()
    });
    accepted(tokens(), |m| node(m, ATTENTION).input.truncate(3));
    refused(tokens(), ATTENTION, "input 2 is missing", |m| {
        node(m, ATTENTION).input.truncate(2)
    });
}

#[test]
fn keys_and_values_after_past_ones_or_repeated() {
    // Past ones are put first outside.
    let outside = || {
        let mut model = heads();
        for (i, part) in [(0, "key"), (0, "value"), (1, "key"), (1, "value")] {
            let name = format!("present.{i}.{part}");
            let (index, new) = match part {
                "key" => (1, format!("{i}.k.rotary")),
                _ => (2, format!("{i}.v.heads")),
            };
            node(&mut model, &name).input[1] = new;
            let attention = node(&mut model, &format!("{i}.attention"));
            attention.input[index] = name;
            attention.input.truncate(4);
        }
        model
    };
    accepted(outside(), |_| {});
    refused(outside(), "present.0.key", "axis is 1", |m| {
        set(node(m, "present.0.key"), int("axis", 1))
    });
    refused(outside(), "present.0.value", "input", |m| {
        node(m, "present.0.value").input.swap(0, 1)
    });
    // As many keys as queries, by the subgraph that ONNX Runtime's builder writes.
    let repeated = || {
        let mut model = tokens();
        for i in 0..2 {
            let attention = node(&mut model, &format!("{i}.attention"));
            attention.input[1] = format!("{i}.key.join");
            attention.input[2] = format!("{i}.value.join");
            attention.input.truncate(3);
            set(attention, int("kv_num_heads", 4));
        }
        model
    };
    accepted(repeated(), |_| {});
    refused(repeated(), ATTENTION, "kv_num_heads is 2, not 4", |m| {
        set(node(m, ATTENTION), int("kv_num_heads", 2))
    });
    refused(repeated(), ATTENTION, "repeated as", |m| {
        node(m, ATTENTION).input[2] = "0.v_proj".into();
    });
}

#[test]
fn heads_put_in_another_order() {
    for name in ["0.q.joined", "0.k.joined", "0.v.heads", "0.turned"] {
        refused(heads(), name, "perm is not", |m| {
            set(node(m, name), ints("perm", &[0, 2, 3, 1]))
        });
        refused(heads(), name, "perm is not", |m| {
            node(m, name).attribute.clear()
        });
    }
    for (name, sizes) in [
        ("0.q.split", &[0, 0, 2, 8][..]),
        ("0.k.split", &[0, 0, 4, 8]),
        ("0.k.split", &[-1, 1, 2, 8]),
        ("0.v.split", &[0, 0, 4, 4]),
        ("0.v.split", &[0, 2, 0, 8]),
        ("0.v.split", &[0, -1, -1, 8]),
        ("0.v.split", &[0, 0, 2, 8, 1]),
        ("0.v.split", &[0, 0]),
        ("0.v.split", &[0]),
        ("0.joined", &[0, 0, 16]),
        ("0.joined", &[0, 0, 4, 8]),
        ("0.joined", &[-1, 1, 32]),
    ] {
        refused(heads(), name, &format!("{sizes:?}"), |m| {
            node(m, name).input[1] = shape(m, sizes)
        });
    }
    refused(heads(), "0.v.split", "allowzero", |m| {
        set(node(m, "0.v.split"), int("allowzero", 1))
    });
    // Values as tokens among heads, and heads among tokens.
    refused(heads(), "0.v_proj", "heads of values", |m| {
        node(m, ATTENTION).input[2] = "0.v_proj".into()
    });
    refused(tokens(), "0.q.joined", "a norm", |m| join(m, 0, &small()));
}

#[test]
fn a_boolean_mask() {
    accepted(masked("bool_mask"), |_| {});
    accepted(masked("past"), |_| {});
    accepted(masked("bool_mask"), |m| {
        // The next position is above.
        add_node(m, "Add", "after", &["queries", "[1]"]);
        replace(m, "past", "Greater", &["after", "keys"]);
    });
    accepted(masked("bool_mask"), |m| {
        add_node(m, "Add", "after", &["row", "[1]"]);
        node(m, "queries").input[0] = "after".into();
        replace(m, "past", "Less", &["row", "queries"]);
    });
    accepted(masked("bool_mask"), |m| {
        replace(m, "past", "GreaterOrEqual", &["queries", "row"])
    });
    for (op_type, number) in [("Greater", "[0]"), ("Equal", "[1]")] {
        accepted(masked("bool_mask"), |m| {
            replace(m, "not_padding", op_type, &["attention_mask", number])
        });
    }
    // Padding alone, when the attention is causal itself.
    accepted(masked("wide_not_padding"), |m| {
        for i in 0..2 {
            set(node(m, &format!("{i}.attention")), int("is_causal", 1));
        }
    });
    // A bias of floats.
    accepted(masked("mask"), |_| {});
}

#[test]
fn another_boolean_mask() {
    let last = "1.attention";
    refused(masked("wide_not_padding"), last, "causal", |_| {});
    refused(masked(""), last, "is_causal is 0", |_| {});
    refused(masked("bool_mask"), "past", "not expected", |m| {
        node(m, "past").input.swap(0, 1)
    });
    for op_type in ["Less", "Greater", "GreaterOrEqual", "Equal"] {
        refused(masked("bool_mask"), "past", "not expected", |m| {
            node(m, "past").op_type = Some(op_type.into())
        });
    }
    refused(masked("bool_mask"), "past", "not expected", |m| {
        node(m, "row").input[0] = "[1]".into()
    });
    refused(masked("bool_mask"), "past", "not expected", |m| {
        node(m, "queries").input[1] = shape(m, &[0])
    });
    // A window: a second comparison.
    refused(masked("bool_mask"), "window", "not expected", |m| {
        add_node(m, "Less", "window", &["queries", "keys"]);
        add_node(m, "And", "both", &["window", "bool_mask"]);
        for i in 0..2 {
            node(m, &format!("{i}.attention")).input[3] = "both".into();
        }
    });
    refused(masked("bool_mask"), "bool_mask", "not expected", |m| {
        node(m, "bool_mask").op_type = Some("Or".into());
        add_node(m, "And", "both", &["bool_mask", "bool_mask"]);
        for i in 0..2 {
            node(m, &format!("{i}.attention")).input[3] = "both".into();
        }
    });
    refused(masked("bool_mask"), "not_padding", "not expected", |m| {
        node(m, "not_padding").input[0] = "position_ids".into()
    });
    refused(masked("bool_mask"), "not_padding", "not expected", |m| {
        replace(m, "not_padding", "Equal", &["attention_mask", "[0]"])
    });
    refused(
        masked("closed_to_all"),
        "closed_to_all",
        "not expected",
        |m| add_node(m, "Not", "closed_to_all", &["past"]),
    );
    refused(tokens(), ATTENTION, "another mask", |m| {
        set(node(m, ATTENTION), int("is_causal", 0))
    });
    // A tower of them does not hang.
    refused(masked("bool_mask"), last, "too many nodes", |m| {
        for i in 0..40 {
            let before = if i == 0 {
                "past".into()
            } else {
                format!("and{}", i - 1)
            };
            add_node(m, "And", &format!("and{i}"), &[&before, &before]);
        }
        node(m, "wide_past").input[0] = "and39".into();
    });
}

#[test]
fn every_rewired_input_is_survived() {
    for model in [heads(), masked("bool_mask")] {
        let nodes = model.graph.as_ref().unwrap().node.clone();
        let of_layer: Vec<_> = (0..nodes.len())
            .filter(|&i| !nodes[i].name().starts_with("1."))
            .collect();
        let mut values: Vec<String> = of_layer
            .iter()
            .map(|&i| nodes[i].output[0].clone())
            .collect();
        values.extend(["", "input_ids", "cos"].map(String::from));
        let mut count = 0;
        for &i in &of_layer {
            for input in 0..nodes[i].input.len() {
                for value in values.iter().step_by(3) {
                    let mut model = model.clone();
                    graph(&mut model).node[i].input[input].clone_from(value);
                    if let Ok(decoder) = recognised(&model) {
                        count += 1;
                        assert_eq!(decoder.decoder_config(), small());
                    }
                }
            }
        }
        println!("{count} of the rewired graphs are decoders");
    }
}
