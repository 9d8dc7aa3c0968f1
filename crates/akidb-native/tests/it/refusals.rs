//! Models and calls that must be refused, with a kind and a word on what is wrong.

use crate::common::{config, decoder, engine, tensor};
use akidb_backend::{Backend, BackendError, BackendErrorKind, TokenBatch};
use akidb_native::{Engine, EngineOptions};
use akidb_transformer::{
    EmbeddingTable, Linear, LinearWeight, NormKind, RelativeBias, Transformer,
};

fn refused(decoder: &Transformer) -> BackendError {
    Engine::new(decoder, EngineOptions::default()).unwrap_err()
}

/// A sound decoder after `spoil`.
fn spoilt(spoil: impl FnOnce(&mut Transformer)) -> BackendError {
    let mut decoder = decoder(&config(2, 4, 2, 16), 1);
    spoil(&mut decoder);
    let error = refused(&decoder);
    assert_eq!(error.kind(), BackendErrorKind::InvalidModel, "{error}");
    error
}

/// Another table of words.
fn words(d: &mut Transformer, dims: [usize; 2]) {
    let table = tensor("words", &dims, &vec![0.0; dims[0] * dims[1]]);
    d.embeddings.words = EmbeddingTable::new(table).unwrap();
}

/// A linear layer of these widths.
fn linear(k: usize, n: usize) -> Linear {
    Linear::new(LinearWeight::InOut(tensor(
        "linear",
        &[k, n],
        &vec![0.0; k * n],
    )))
    .unwrap()
}

#[test]
fn models() {
    let error = spoilt(|d| words(d, [97, 0]));
    assert_eq!(error.to_string(), "hidden_size 0 is out of range");
    let error = spoilt(|d| d.blocks[0].attention.key_value_heads = 3);
    assert_eq!(
        error.to_string(),
        "num_attention_heads 4 is no multiple of num_key_value_heads"
    );
    let spoils: [fn(&mut Transformer); 13] = [
        // Sizes that the tensors don't have are refused before room is made for them.
        |d| words(d, [1, 1 << 20]),
        |d| d.blocks[0].mlp.gate = Some(linear(1, 1 << 20)),
        |d| d.blocks[0].attention.head_dim = 17,
        |d| d.blocks[0].attention.head_dim = usize::MAX,
        |d| d.blocks[0].mlp.gate = Some(linear(0, 1 << 40)),
        |d| d.blocks[0].attention.heads = usize::MAX - 1,
        |d| d.max_tokens = usize::MAX,
        |d| words(d, [0, 52]),
        |d| words(d, [97, 51]),
        |d| d.blocks[0].mlp.up = linear(52, 74),
        |d| d.blocks[1].mlp.gate = Some(linear(52, 74)),
        |d| d.blocks[1].mlp.down = linear(75, 51),
        |d| d.blocks[1].attention.output = linear(64, 51),
    ];
    for spoil in spoils {
        spoilt(spoil);
    }
    let error = spoilt(|d| d.blocks.clear());
    assert_eq!(error.to_string(), "num_hidden_layers 0 is out of range");
    let error = spoilt(|d| {
        let q_norm = d.blocks[1].attention.query_norm.as_mut().unwrap();
        q_norm.weight = tensor("q_norm", &[2, 8], &[1.0; 16]);
    });
    assert_eq!(
        error.to_string(),
        "tensor \"q_norm\" has shape [2, 8], expected [16]"
    );
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let error = spoilt(|d| {
            let LinearWeight::InOut(weight) = d.blocks[0].mlp.down.weight() else {
                unreachable!("even layers are stored so");
            };
            let mut values = weight.to_f32_vec().unwrap();
            values[3333] = bad;
            let bad = tensor("down", &[75, 52], &values);
            d.blocks[0].mlp.down = Linear::new(LinearWeight::InOut(bad)).unwrap();
        });
        let expected = format!("tensor \"down\" holds {bad} at element 3333");
        assert_eq!(error.to_string(), expected);
        spoilt(|d| {
            let mut values = vec![1.0; 52];
            values[51] = bad;
            d.final_norm.as_mut().unwrap().weight = tensor("norm", &[52], &values);
        });
    }
}

#[test]
fn models_of_another_kind_are_named() {
    type Case = (&'static str, fn(&mut Transformer));
    let cases: [Case; 6] = [
        ("otherwise than by RMSNorm", |d| {
            d.blocks[0].attention.key_norm.as_mut().unwrap().kind = NormKind::Layer;
        }),
        ("turned in part", |d| {
            d.blocks[1].attention.rotary.as_mut().unwrap().width = 8;
        }),
        ("gate has a bias", |d| {
            let bias = tensor("bias", &[75], &[0.0; 75]);
            d.blocks[1].mlp.up = d.blocks[1].mlp.up.clone().with_bias(bias).unwrap();
        }),
        ("does not see the whole text", |d| {
            let values = tensor("bias", &[32, 4], &[0.0; 128]);
            d.blocks[1].attention.relative_bias = Some(RelativeBias {
                table: EmbeddingTable::new(values).unwrap(),
                max_distance: 128,
            });
        }),
        ("SiLU without a gate", |d| d.blocks[1].mlp.gate = None),
        ("differ in their heads", |d| {
            d.blocks[1].attention.heads = 2;
        }),
    ];
    for (part, change) in cases {
        let mut decoder = decoder(&config(2, 4, 2, 16), 1);
        change(&mut decoder);
        let error = refused(&decoder);
        assert_eq!(error.kind(), BackendErrorKind::UnsupportedModel, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn calls() {
    let mut config = config(1, 2, 1, 4);
    config.max_position_embeddings = 10;
    let engine = engine(&decoder(&config, 1), 2, None);
    let call = |texts: &[&[u32]], len: usize| {
        let batch: TokenBatch = texts.iter().collect();
        engine.forward(&batch, &mut vec![0.0; len])
    };
    assert!(call(&[], 0).is_ok());
    assert!(call(&[&[96; 10]], 52).is_ok());
    for (texts, len, expected) in [
        (&[&[1][..], &[]][..], 104, "text 1 has no tokens"),
        (&[&[1; 11]], 52, "text 0 has 11 tokens, the model takes 10"),
        (
            &[&[1, 97]],
            52,
            "text 0 has token id 97, the vocabulary ends at 97",
        ),
        (
            &[&[u32::MAX]],
            52,
            "text 0 has token id 4294967295, the vocabulary ends at 97",
        ),
        (
            &[&[1]],
            51,
            "the output has room for 51 values, 1 states of 52 were asked for",
        ),
        (
            &[&[1]],
            0,
            "the output has room for 0 values, 1 states of 52 were asked for",
        ),
    ] {
        let error = call(texts, len).unwrap_err();
        assert_eq!(error.kind(), BackendErrorKind::InvalidInput);
        assert_eq!(error.to_string(), expected);
    }
    // After errors the engine still works.
    assert!(call(&[&[1, 2]], 52).is_ok());
}

#[test]
fn info() {
    let engine = engine(&decoder(&config(1, 2, 1, 4), 1), 1, None);
    let info = engine.info();
    assert_eq!((info.backend, info.precision), ("native", "f32"));
    assert_eq!(info.device, akidb_kernels::Isa::detect().to_string());
    assert_eq!((info.hidden_size, info.vocab_size), (52, Some(97)));
    assert_eq!(info.max_tokens, Some(12_000));
}
