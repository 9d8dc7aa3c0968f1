//! Families that turn their heads: from config.json and named tensors, and from graphs.

use akidb_onnx::model::OnnxModel;
use akidb_onnx::{Error, ErrorKind};
use akidb_testing::fixture;
use akidb_transformer::{
    Block, Linear, Mask, ModelConfig, Norm, NormKind, Rotary, RotaryScaling, Transformer,
    dense_from_safetensors, from_onnx, from_safetensors,
};
use serde_json::{Value, json};

const FAMILIES: [&str; 4] = ["nomic", "modernbert", "gemma", "qwen3-bidirectional"];

fn json_of(family: &str) -> Value {
    let path = fixture(format!("tiny-families/{family}/config.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn config(json: &Value) -> Result<ModelConfig, Error> {
    ModelConfig::from_json(json.to_string().as_bytes())
}

fn tensors(family: &str, json: &Value) -> Result<Transformer, Error> {
    from_safetensors(
        &fixture(format!("tiny-families/{family}")),
        &config(json).unwrap(),
    )
}

fn is_unsupported(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unsupported { .. })
}

fn window(n: usize) -> Mask {
    Mask::Window {
        before: n,
        after: n,
    }
}

fn rotary(base: f64, width: usize) -> Rotary {
    Rotary {
        base,
        position_scale: 1.0,
        width,
        scaling: RotaryScaling::None,
    }
}

#[test]
fn configs_say_where_tokens_look_and_how_heads_are_turned() {
    let facts = |family: &str| {
        let model = tensors(family, &json_of(family)).unwrap();
        let of_block = |block: &Block| (block.attention.mask, block.attention.rotary.unwrap());
        let blocks: Vec<_> = model.blocks.iter().map(of_block).collect();
        (blocks, model.max_tokens)
    };
    let full = (Mask::Full, rotary(1000.0, 12));
    assert_eq!(facts("nomic"), (vec![full; 2], 8192));
    let (global, local) = (
        (Mask::Full, rotary(160_000.0, 12)),
        (window(8), rotary(10_000.0, 12)),
    );
    let expected = vec![global, local, local, global];
    assert_eq!(facts("modernbert"), (expected, 256));
    let (global, local) = (
        (Mask::Full, rotary(1e6, 16)),
        (window(8), rotary(10_000.0, 16)),
    );
    let expected = vec![local, local, global, local];
    assert_eq!(facts("gemma"), (expected, 256));
    let full = (Mask::Full, rotary(1e6, 16));
    assert_eq!(facts("qwen3-bidirectional"), (vec![full; 2], 512));
}

#[test]
fn tensors_and_graph_are_one_model() {
    for family in FAMILIES {
        let json = json_of(family);
        let tensors = tensors(family, &json).unwrap();
        let path = fixture(format!("tiny-families/{family}/onnx/model.onnx"));
        let graph = OnnxModel::open(&path).unwrap();
        let alone = from_onnx(&graph, None).unwrap();
        let graph = from_onnx(&graph, Some(&config(&json).unwrap())).unwrap();
        assert_eq!(graph.max_tokens, tensors.max_tokens, "{family}");
        assert_eq!(graph.embeddings.scale, tensors.embeddings.scale, "{family}");
        for graph in [&graph, &alone] {
            assert_eq!(graph.blocks.len(), tensors.blocks.len(), "{family}");
            for (graph, tensors) in graph.blocks.iter().zip(&tensors.blocks) {
                check_same(graph, tensors, family);
            }
        }
    }
}

fn check_same(graph: &Block, tensors: &Block, family: &str) {
    let facts = |block: &Block| {
        let attention = &block.attention;
        (
            (
                attention.heads,
                attention.key_value_heads,
                attention.head_dim,
            ),
            (attention.mask, attention.rotary, block.mlp.activation),
        )
    };
    assert_eq!(facts(graph), facts(tensors), "{family}");
    let scales = [graph.attention.scale, tensors.attention.scale];
    assert!((scales[0] / scales[1] - 1.0).abs() < 1e-6, "{family}");
    let norms = |block: &Block| {
        let (attention, mlp) = (&block.attention_norms, &block.mlp_norms);
        let attention = [&attention.before, &attention.after, &attention.of_sum];
        let mlp = [&mlp.before, &mlp.after, &mlp.of_sum];
        let heads = [&block.attention.query_norm, &block.attention.key_norm];
        let all = attention.into_iter().chain(mlp).chain(heads);
        all.map(|norm| norm.as_ref().map(of_norm))
            .collect::<Vec<_>>()
    };
    for (graph, tensors) in norms(graph).iter().zip(norms(tensors)) {
        let (Some(graph), Some(tensors)) = (graph, &tensors) else {
            assert_eq!(graph, &tensors, "{family}");
            continue;
        };
        for (a, b) in graph.iter().zip(tensors) {
            assert!((a - b).abs() < 1e-6, "{family}");
        }
    }
    let linears = |block: &Block| {
        let (attention, mlp) = (&block.attention, &block.mlp);
        let all = [
            Some(&attention.query),
            Some(&attention.key),
            Some(&attention.value),
            Some(&attention.output),
            mlp.gate.as_ref(),
            Some(&mlp.up),
            Some(&mlp.down),
        ];
        all.map(|linear| linear.map(of_linear))
    };
    assert_eq!(linears(graph), linears(tensors), "{family}");
}

/// What rows are multiplied by, and what is added.
fn of_norm(norm: &Norm) -> Vec<f32> {
    let more = if norm.kind == NormKind::RmsPlusOne {
        1.0
    } else {
        0.0
    };
    let mut values: Vec<f32> = norm.weight.to_f32_vec().unwrap();
    values.iter_mut().for_each(|weight| *weight += more);
    if let Some(bias) = &norm.bias {
        values.extend(bias.to_f32_vec().unwrap().iter().filter(|x| **x != 0.0));
    }
    values
}

fn of_linear(linear: &Linear) -> Vec<f32> {
    let mut weights = vec![0.0; linear.in_features() * linear.out_features()];
    linear.dequantize(0, &mut weights).unwrap();
    weights
}

#[test]
fn what_changes_the_result_and_is_not_done_is_refused_by_name() {
    let cases = [
        ("nomic", "causal", json!(true)),
        ("nomic", "prenorm", json!(true)),
        ("nomic", "rotary_emb_fraction", json!(0.5)),
        ("nomic", "rotary_emb_interleaved", json!(true)),
        ("nomic", "rotary_scaling_factor", json!(2.0)),
        ("nomic", "activation_function", json!("relu")),
        ("nomic", "num_experts", json!(8)),
        ("modernbert", "mlp_bias", json!(true)),
        ("modernbert", "hidden_activation", json!("relu")),
        ("modernbert", "layer_types", json!(["a", "b", "c", "d"])),
        ("gemma", "attn_logit_softcapping", json!(50.0)),
        ("gemma", "hidden_activation", json!("gelu")),
        (
            "gemma",
            "rope_scaling",
            json!({"rope_type": "longrope", "factor": 4.0}),
        ),
        ("qwen3-bidirectional", "hidden_act", json!("gelu")),
        ("qwen3-bidirectional", "use_sliding_window", json!(true)),
        (
            "qwen3-bidirectional",
            "rope_scaling",
            json!({"type": "longrope", "factor": 4.0}),
        ),
    ];
    for (family, key, value) in cases {
        let mut json = json_of(family);
        json[key] = value;
        if key == "use_sliding_window" {
            json["sliding_window"] = json!(64);
        }
        let error = config(&json).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Unsupported { key: k, .. } if *k == key),
            "{family} {key}: {error}"
        );
    }
}

#[test]
fn impossible_values_are_refused() {
    let cases = [
        ("nomic", "n_head", json!(0)),
        ("nomic", "n_head", json!(5)),
        ("nomic", "n_layer", json!(1u64 << 40)),
        ("nomic", "rotary_emb_base", json!(0.5)),
        ("nomic", "layer_norm_epsilon", json!(-1.0)),
        ("modernbert", "num_hidden_layers", json!(0)),
        ("modernbert", "layer_types", json!(["full_attention"])),
        ("modernbert", "global_rope_theta", json!(1e300)),
        ("gemma", "head_dim", json!(15)),
        ("gemma", "num_key_value_heads", json!(2)),
        ("gemma", "query_pre_attn_scalar", json!(-20.0)),
        (
            "gemma",
            "rope_scaling",
            json!({"rope_type": "linear", "factor": 0.0}),
        ),
        ("qwen3-bidirectional", "vocab_size", json!(0)),
        ("qwen3-bidirectional", "hidden_size", json!(1u64 << 40)),
    ];
    for (family, key, value) in cases {
        let mut json = json_of(family);
        json[key] = value.clone();
        let error = match config(&json) {
            Err(error) => error,
            // Heads that don't fill the width are found with the tensors.
            Ok(_) => tensors(family, &json).unwrap_err(),
        };
        assert!(!is_unsupported(&error), "{family} {key} {value}: {error}");
    }
}

#[test]
fn config_and_tensors_must_agree() {
    let cases = [
        ("nomic", "n_inner", json!(71), "fc12"),
        ("nomic", "n_layer", json!(1), "config.json says 1 layers"),
        ("nomic", "n_layer", json!(3), "encoder.layers.2"),
        ("nomic", "qkv_proj_bias", json!(true), "Wqkv.bias"),
        ("nomic", "vocab_size", json!(419), "word_embeddings"),
        ("modernbert", "norm_bias", json!(true), "norm.bias"),
        ("modernbert", "attention_bias", json!(true), "Wqkv.bias"),
        ("gemma", "head_dim", json!(8), "q_proj"),
        (
            "qwen3-bidirectional",
            "attention_bias",
            json!(true),
            "q_proj.bias",
        ),
        (
            "qwen3-bidirectional",
            "model_type",
            json!("qwen2"),
            "q_proj.bias",
        ),
    ];
    for (family, key, value, part) in cases {
        let mut json = json_of(family);
        json[key] = value;
        let error = tensors(family, &json).unwrap_err().to_string();
        assert!(error.contains(part), "{family} {key}: {error}");
    }
}

#[test]
fn newer_files_say_it_in_other_words() {
    let mut modernbert = json_of("modernbert");
    let keys = modernbert.as_object_mut().unwrap();
    for old in [
        "global_rope_theta",
        "local_rope_theta",
        "global_attn_every_n_layers",
    ] {
        keys.remove(old);
    }
    modernbert["layer_types"] = json!([
        "full_attention",
        "sliding_attention",
        "sliding_attention",
        "full_attention"
    ]);
    modernbert["rope_parameters"] = json!({
        "full_attention": {"rope_theta": 160000.0, "rope_type": "default"},
        "sliding_attention": {"rope_theta": 10000.0, "rope_type": "default"}
    });
    assert_eq!(
        config(&modernbert).unwrap(),
        config(&json_of("modernbert")).unwrap()
    );
    let mut qwen3 = json_of("qwen3-bidirectional");
    qwen3.as_object_mut().unwrap().remove("rope_theta");
    qwen3["rope_parameters"] = json!({"rope_theta": 1000000, "rope_type": "default"});
    let old = json_of("qwen3-bidirectional");
    assert_eq!(config(&qwen3).unwrap(), config(&old).unwrap());
    // Causal, it is the decoder that it always was.
    qwen3["is_causal"] = json!(true);
    assert!(matches!(config(&qwen3).unwrap(), ModelConfig::Decoder(_)));
}

#[test]
fn decoders_of_other_names() {
    let common = json!({
        "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "intermediate_size": 96, "vocab_size": 100,
        "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "max_position_embeddings": 512,
        "hidden_act": "silu"
    });
    let with = |model_type: &str, more: Value| {
        let mut json = common.clone();
        json["model_type"] = json!(model_type);
        for (key, value) in more.as_object().unwrap() {
            json[key] = value.clone();
        }
        config(&json)
    };
    for (model_type, more) in [
        ("mistral", json!({"sliding_window": 16})),
        ("mistral", json!({"sliding_window": null})),
        (
            "qwen2",
            json!({"sliding_window": 16, "use_sliding_window": false}),
        ),
        ("qwen2", json!({"is_causal": false})),
        (
            "llama",
            json!({"rope_scaling": {"rope_type": "linear", "factor": 8.0}}),
        ),
        (
            "qwen3",
            json!({"rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}}),
        ),
    ] {
        let found = with(model_type, more.clone());
        assert!(
            matches!(found, Ok(ModelConfig::Rotary(_))),
            "{model_type} {more}"
        );
    }
    for (model_type, more) in [
        ("mistral", json!({"sliding_window": 16, "is_causal": false})),
        (
            "qwen2",
            json!({"sliding_window": 16, "use_sliding_window": true}),
        ),
        (
            "llama",
            json!({"rope_scaling": {"rope_type": "longrope", "factor": 8.0}}),
        ),
        ("llama", json!({"mlp_bias": true})),
    ] {
        let error = with(model_type, more.clone()).unwrap_err();
        assert!(is_unsupported(&error), "{model_type} {more}: {error}");
    }
    let gte = |more: Value| with("new", more);
    assert!(
        gte(json!({"rope_scaling": {"type": "ntk", "factor": 2.0}, "hidden_act": "gelu"})).is_ok()
    );
    for more in [
        json!({"hidden_act": "gelu", "position_embedding_type": "absolute"}),
        json!({"hidden_act": "gelu", "layer_norm_type": "rms_norm"}),
        json!({"hidden_act": "gelu", "logn_attention_scale": true}),
        json!({"hidden_act": "gelu", "rope_scaling": {"type": "ntk", "factor": 2.0, "mixed_b": 0.6}}),
    ] {
        assert!(is_unsupported(&gte(more).unwrap_err()));
    }
}

#[test]
fn layers_behind_the_pooling() {
    let dir = fixture("tiny-families/gemma");
    for (name, k, n) in [("2_Dense", 48, 96), ("3_Dense", 96, 48)] {
        let dense = dense_from_safetensors(&dir.join(name)).unwrap();
        let linear = &dense.linear;
        assert_eq!((linear.in_features(), linear.out_features()), (k, n));
        assert!(linear.bias().is_none());
    }
    let copy = tempfile::tempdir().unwrap();
    let weights = dir.join("2_Dense/model.safetensors");
    std::fs::copy(weights, copy.path().join("model.safetensors")).unwrap();
    for (json, part) in [
        (
            json!({"in_features": 48, "out_features": 96, "bias": true}),
            "linear.bias",
        ),
        (
            json!({"in_features": 47, "out_features": 96, "bias": false}),
            "linear.weight",
        ),
        (json!({"in_features": 48, "bias": false}), "out_features"),
        (
            json!({"in_features": 48, "out_features": 96, "bias": false,
                   "activation_function": "torch.nn.modules.activation.ReLU"}),
            "ReLU",
        ),
    ] {
        std::fs::write(copy.path().join("config.json"), json.to_string()).unwrap();
        let error = dense_from_safetensors(copy.path()).unwrap_err();
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            text.push_str(&error.to_string());
            cause = error.source();
        }
        assert!(text.contains(part), "{json}: {text}");
    }
    assert!(dense_from_safetensors(&dir.join("4_Dense")).is_err());
}
