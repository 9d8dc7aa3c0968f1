//! A model that overflows on one token.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "every test file uses a part of this; a test helper fails by panicking"
)]

use std::path::Path;

use serde_json::Value;

/// The token, as a text.
pub(crate) const OVERFLOWS: &str = "Z";

/// Makes `to` a copy of the `tiny` model in which the values of [`OVERFLOWS`], and so the states of
/// all tokens after it, are not finite.
///
/// Only this token's embedding is not 0 in column 0, which the first layer's `v_proj` multiplies by
/// nearly the largest f32.
pub(crate) fn overflowing_model(to: &Path) {
    overflowing(to, 10.0, 3e38);
}

/// Makes `to` a copy of the `tiny` model in which the state of [`OVERFLOWS`] is finite, and its
/// square isn't.
pub(crate) fn model_of_overflowing_squares(to: &Path) {
    overflowing(to, 1e20, 0.0);
}

fn overflowing(to: &Path, embedding: f32, v_proj: f32) {
    let from = akidb_testing::fixture("tiny");
    std::fs::create_dir_all(to.join("1_Pooling")).unwrap();
    for file in ["config.json", "tokenizer.json", "1_Pooling/config.json"] {
        std::fs::copy(from.join(file), to.join(file)).unwrap();
    }
    let tokenizer: Value =
        serde_json::from_slice(&std::fs::read(from.join("tokenizer.json")).unwrap()).unwrap();
    let token = tokenizer["model"]["vocab"][OVERFLOWS].as_u64().unwrap() as usize;

    let mut bytes = std::fs::read(from.join("model.safetensors")).unwrap();
    let (length, _) = bytes.split_first_chunk::<8>().unwrap();
    let data = 8 + u64::from_le_bytes(*length) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..data]).unwrap();
    let mut first_column = |name: &str, value: &dyn Fn(usize) -> f32| {
        let tensor = &header[name];
        assert_eq!(tensor["dtype"], "F32");
        let number = |list: &str, i: usize| tensor[list][i].as_u64().unwrap() as usize;
        let (rows, columns) = (number("shape", 0), number("shape", 1));
        for row in 0..rows {
            let at = data + number("data_offsets", 0) + row * columns * 4;
            bytes[at..at + 4].copy_from_slice(&value(row).to_le_bytes());
        }
    };
    first_column("model.embed_tokens.weight", &|row| {
        if row == token { embedding } else { 0.0 }
    });
    first_column("model.layers.0.self_attn.v_proj.weight", &|_| v_proj);
    std::fs::write(to.join("model.safetensors"), bytes).unwrap();
}
