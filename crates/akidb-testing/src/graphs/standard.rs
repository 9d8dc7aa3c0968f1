//! Parts of a small decoder in ONNX's own operators of opset 23.

use akidb_onnx::proto::ModelProto;
use akidb_transformer::DecoderConfig;

use super::{graph, int, ints, longs, new_node, node, set};

/// Puts heads before tokens, or tokens before heads.
pub const SWAP: [i64; 4] = [0, 2, 1, 3];

/// An initializer with these numbers; gives its name.
pub fn shape(model: &mut ModelProto, values: &[i64]) -> String {
    let name = format!("shape{values:?}");
    if graph(model).initializer.iter().all(|t| t.name() != name) {
        let tensor = longs(&name, &[values.len()], values);
        graph(model).initializer.push(tensor);
    }
    name
}

/// Adds a node of ONNX's own domain with one output of its name.
pub fn add_node(model: &mut ModelProto, op_type: &str, name: &str, inputs: &[&str]) {
    let node = new_node("", op_type, name, inputs, &[name], vec![]);
    graph(model).node.push(node);
}

/// Turns the node into one of another operator, with other inputs and no attributes.
pub fn replace(model: &mut ModelProto, name: &str, op_type: &str, inputs: &[&str]) {
    let node = node(model, name);
    node.domain = None;
    node.op_type = Some(op_type.into());
    node.input = inputs.iter().map(|input| input.to_string()).collect();
    node.attribute.clear();
}

/// All norms as `RMSNormalization`.
pub fn standard_norms(model: &mut ModelProto) {
    let mut sums = Vec::new();
    for node in &mut graph(model).node {
        match node.op_type() {
            "SimplifiedLayerNormalization" => {}
            "SkipSimplifiedLayerNormalization" => {
                let sum = format!("{}.sum", node.name());
                let (a, b) = (&node.input[0], &node.input[1]);
                sums.push(new_node("", "Add", &sum, &[a, b], &[&sum], vec![]));
                node.input = vec![sum, node.input[2].clone()];
                node.output.truncate(1);
                node.domain = None;
            }
            _ => continue,
        }
        node.op_type = Some("RMSNormalization".into());
    }
    graph(model).node.extend(sums);
}

/// All rotary embeddings as ONNX's own, of tokens.
pub fn standard_rotary(model: &mut ModelProto, c: &DecoderConfig) {
    for i in 0..c.num_hidden_layers {
        for (part, heads) in [("q", c.num_attention_heads), ("k", c.num_key_value_heads)] {
            let name = format!("{i}.{part}.rotary");
            let joined = format!("{i}.{part}.joined");
            replace(
                model,
                &name,
                "RotaryEmbedding",
                &[&joined, "cos", "sin", "position_ids"],
            );
            set(node(model, &name), int("num_heads", heads as i64));
        }
    }
}

/// `Attention` of tokens.
pub fn standard_attention(model: &mut ModelProto, c: &DecoderConfig) {
    for i in 0..c.num_hidden_layers {
        let name = |part: &str| format!("{i}.{part}");
        let past = ["key", "value"].map(|kind| format!("past.{i}.{kind}"));
        replace(
            model,
            &name("attention"),
            "Attention",
            &[
                &name("q.rotary"),
                &name("k.rotary"),
                &name("v_proj"),
                "",
                &past[0],
                &past[1],
            ],
        );
        let attention = node(model, &name("attention"));
        set(attention, int("q_num_heads", c.num_attention_heads as i64));
        set(attention, int("kv_num_heads", c.num_key_value_heads as i64));
        set(attention, int("is_causal", 1));
    }
}

/// Puts heads first before the rotary, after their norm, and undoes it after attention.
pub fn heads_first(model: &mut ModelProto, c: &DecoderConfig) {
    let dim = c.head_dim as i64;
    for i in 0..c.num_hidden_layers {
        let name = |part: &str| format!("{i}.{part}");
        for (part, heads) in [("q", c.num_attention_heads), ("k", c.num_key_value_heads)] {
            let of_heads = shape(model, &[0, 0, heads as i64, dim]);
            node(model, &name(&format!("{part}.split"))).input[1] = of_heads;
            let norm = name(&format!("{part}_norm"));
            let transpose = name(&format!("{part}.joined"));
            replace(model, &transpose, "Transpose", &[&norm]);
            set(node(model, &transpose), ints("perm", &SWAP));
            let rotary = node(model, &name(&format!("{part}.rotary")));
            rotary.attribute.retain(|a| a.name() != "num_heads");
        }
        let (split, swapped) = (name("v.split"), name("v.heads"));
        let of_heads = shape(model, &[0, 0, c.num_key_value_heads as i64, dim]);
        add_node(model, "Reshape", &split, &[&name("v_proj"), &of_heads]);
        add_node(model, "Transpose", &swapped, &[&split]);
        set(node(model, &swapped), ints("perm", &SWAP));
        node(model, &name("attention")).input[2] = swapped;
        join(model, i, c);
    }
}

/// Puts together what the attention makes of each head.
pub fn join(model: &mut ModelProto, i: usize, c: &DecoderConfig) {
    let name = |part: &str| format!("{i}.{part}");
    let (turned, joined) = (name("turned"), name("joined"));
    let of_tokens = shape(model, &[0, 0, (c.num_attention_heads * c.head_dim) as i64]);
    add_node(model, "Transpose", &turned, &[&name("attention")]);
    set(node(model, &turned), ints("perm", &SWAP));
    add_node(model, "Reshape", &joined, &[&turned, &of_tokens]);
    node(model, &name("o_proj")).input[0] = joined;
}

/// What [`decoder`](super::decoder) makes its mask of, as booleans: `bool_mask`.
pub fn bool_mask(model: &mut ModelProto) {
    let axes = [&[0][..], &[1], &[1, 2], &[0, 1]].map(|axes| shape(model, axes));
    add_node(model, "Unsqueeze", "keys", &["row", &axes[0]]);
    add_node(model, "Unsqueeze", "queries", &["row", &axes[1]]);
    add_node(model, "LessOrEqual", "past", &["keys", "queries"]);
    add_node(model, "Unsqueeze", "wide_past", &["past", &axes[3]]);
    add_node(model, "Cast", "not_padding", &["attention_mask"]);
    set(node(model, "not_padding"), int("to", 9));
    add_node(
        model,
        "Unsqueeze",
        "wide_not_padding",
        &["not_padding", &axes[2]],
    );
    add_node(
        model,
        "And",
        "bool_mask",
        &["wide_past", "wide_not_padding"],
    );
}
