//! Models and calls that must be refused, with a kind and a word on what is wrong.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use akidb_backend::{Backend, BackendError, BackendErrorKind, TokenBatch};
use akidb_native::{Engine, EngineOptions};
use akidb_transformer::{Decoder, Linear, LinearWeight};
use common::{config, decoder, engine, tensor};

fn refused(decoder: &Decoder) -> BackendError {
    Engine::new(decoder, EngineOptions::default()).unwrap_err()
}

/// A sound decoder after `spoil`.
fn spoilt(spoil: impl FnOnce(&mut Decoder)) -> BackendError {
    let mut decoder = decoder(&config(2, 4, 2, 16), 1);
    spoil(&mut decoder);
    let error = refused(&decoder);
    assert_eq!(error.kind(), BackendErrorKind::InvalidModel, "{error}");
    error
}

#[test]
fn models() {
    let error = spoilt(|d| d.config.hidden_size = 0);
    assert_eq!(error.to_string(), "hidden_size 0 is out of range");
    let error = spoilt(|d| d.config.num_key_value_heads = 3);
    assert_eq!(
        error.to_string(),
        "num_attention_heads 4 is no multiple of num_key_value_heads"
    );
    let spoils: [fn(&mut Decoder); 13] = [
        // Sizes that the tensors don't have are refused before room is made for them.
        |d| d.config.hidden_size = 1 << 20,
        |d| (d.config.hidden_size, d.config.intermediate_size) = (1 << 20, 1 << 20),
        |d| d.config.head_dim = 17,
        |d| d.config.head_dim = usize::MAX,
        |d| d.config.intermediate_size = 1 << 40,
        |d| d.config.num_attention_heads = usize::MAX - 1,
        |d| d.config.max_position_embeddings = usize::MAX,
        |d| d.config.vocab_size = usize::MAX,
        |d| d.config.vocab_size = 98,
        |d| d.config.hidden_size = 51,
        |d| d.config.intermediate_size = 74,
        |d| d.config.head_dim = 18,
        |d| d.config.num_attention_heads = 8,
    ];
    for spoil in spoils {
        spoilt(spoil);
    }
    let error = spoilt(|d| d.layers.truncate(1));
    assert_eq!(
        error.to_string(),
        "there are 1 layers, num_hidden_layers says 2"
    );
    let error = spoilt(|d| d.layers[1].q_norm = tensor("q_norm", &[2, 8], &[1.0; 16]));
    assert_eq!(
        error.to_string(),
        "tensor \"q_norm\" has shape [2, 8], expected [16]"
    );
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let error = spoilt(|d| {
            let LinearWeight::InOut(weight) = d.layers[0].down_proj.weight() else {
                unreachable!("even layers are stored so");
            };
            let mut values = weight.to_f32_vec().unwrap();
            values[3333] = bad;
            let bad = tensor("down", &[75, 52], &values);
            d.layers[0].down_proj = Linear::new(LinearWeight::InOut(bad)).unwrap();
        });
        let expected = format!("tensor \"down\" holds {bad} at element 3333");
        assert_eq!(error.to_string(), expected);
        spoilt(|d| {
            let mut values = vec![1.0; 52];
            values[51] = bad;
            d.norm = tensor("norm", &[52], &values);
        });
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
