//! Decoders with a cache, causal attention and last-token pooling, against PyTorch.

use std::path::Path;

use akidb_backend::{Backend, BackendErrorKind, Pooling, TokenBatch};
use akidb_rten::{GraphOptions, RtenModel, RtenOptions};
use akidb_testing::{akidb_mini_goldens, builtin_model_dir, cosine, fixture, hidden_goldens};

const HELLO: [u32; 5] = [9707, 11, 1879, 0, 16381];

fn load(path: &Path) -> RtenModel {
    RtenModel::load(path, RtenOptions::new(Pooling::LastToken)).unwrap()
}

fn builtin() -> RtenModel {
    load(&builtin_model_dir().join("onnx/model_fp16.onnx"))
}

fn rows(model: &RtenModel, texts: &[&[u32]]) -> Vec<Vec<f32>> {
    let batch: TokenBatch = texts.iter().collect();
    let width = model.info().hidden_size;
    let mut out = vec![f32::NAN; texts.len() * width];
    model.forward(&batch, &mut out).unwrap();
    out.chunks_exact(width).map(<[f32]>::to_vec).collect()
}

#[test]
fn the_builtin_model_gives_what_pytorch_gives() {
    let goldens = akidb_mini_goldens();
    let texts: Vec<&[u32]> = goldens.iter().map(|g| &*g.ids).collect();
    let rows = rows(&builtin(), &texts);
    for (row, golden) in rows.iter().zip(&goldens) {
        let similarity = cosine(row, &golden.vector);
        assert!(similarity > 0.99999, "{similarity} for {:?}", golden.text);
    }
}

#[test]
fn small_decoders_give_what_pytorch_gives() {
    for (file, goldens) in [
        ("tiny/onnx/model.onnx", "tiny"),
        ("tiny-external/onnx/model.onnx", "tiny"),
        ("tiny-f16/onnx/model_fp16.onnx", "tiny-f16"),
        ("tiny-gqa/onnx/model.onnx", "tiny"),
    ] {
        let model = load(&fixture(file));
        assert_eq!(model.info().device, "cpu", "{file}");
        let goldens = hidden_goldens(goldens);
        let texts: Vec<&[u32]> = goldens.iter().map(|g| &*g.ids).collect();
        for (row, golden) in rows(&model, &texts).iter().zip(&goldens) {
            let similarity = cosine(row, &golden.hidden);
            assert!(
                similarity > 0.99999,
                "{file}: {similarity} at {} tokens",
                golden.ids.len()
            );
        }
    }
}

#[test]
fn the_builtin_model_describes_itself() {
    let info = builtin().info().clone();
    assert_eq!(
        (info.backend, info.precision, &*info.device),
        ("rten", "f32", "cpu")
    );
    assert_eq!((info.hidden_size, info.vocab_size), (256, Some(16384)));
    assert_eq!((info.max_tokens, info.pooling), (None, Pooling::LastToken));
}

#[test]
fn a_model_in_the_program_is_the_same_model() {
    static MODEL: &[u8] = include_bytes!("../../../../models/akidb-mini/onnx/model_fp16.onnx");
    let model = RtenModel::from_static(MODEL, RtenOptions::new(Pooling::LastToken)).unwrap();
    assert_eq!(rows(&model, &[&HELLO]), rows(&builtin(), &[&HELLO]));
}

#[test]
fn a_text_is_the_same_alone_and_in_any_batch() {
    let model = builtin();
    let texts: Vec<Vec<u32>> = [5, 1, 300, 7, 64, 63, 5, 2000, 12, 90, 1]
        .iter()
        .enumerate()
        .map(|(i, &n)| (0..n).map(|j| (i as u32 * 977 + j * 31) % 16000).collect())
        .collect();
    let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    let together = rows(&model, &texts);
    for (text, row) in texts.iter().zip(&together) {
        let alone = &rows(&model, &[text])[0];
        let similarity = cosine(alone, row);
        assert!(
            similarity > 0.999_999,
            "{similarity} at {} tokens",
            text.len()
        );
    }
}

#[test]
fn threads_and_packed_weights_change_nothing_that_matters() {
    let path = builtin_model_dir().join("onnx/model_fp16.onnx");
    let expected = &rows(&builtin(), &[&HELLO])[0];
    for (threads, prepack_weights) in [(1, false), (3, true)] {
        let options = RtenOptions {
            threads: std::num::NonZeroUsize::new(threads),
            prepack_weights,
            ..RtenOptions::new(Pooling::LastToken)
        };
        let model = RtenModel::load(&path, options).unwrap();
        assert!(cosine(&rows(&model, &[&HELLO])[0], expected) > 0.999_999);
    }
}

#[test]
fn calls_that_do_not_fit_are_refused() {
    let options = RtenOptions {
        graph: GraphOptions {
            max_tokens: Some(4),
            ..GraphOptions::new(Pooling::LastToken)
        },
        ..RtenOptions::new(Pooling::LastToken)
    };
    let model = RtenModel::load(&fixture("tiny/onnx/model.onnx"), options).unwrap();
    let width = model.info().hidden_size;
    let call = |texts: &[&[u32]], out_len: usize| {
        let batch: TokenBatch = texts.iter().collect();
        model
            .forward(&batch, &mut vec![0.0; out_len])
            .map_err(|error| {
                assert_eq!(error.kind(), BackendErrorKind::InvalidInput);
                error.to_string()
            })
    };
    assert_eq!(call(&[], 0), Ok(()));
    assert_eq!(call(&[&[1, 2, 3, 299]], width), Ok(()));
    let refused = |texts: &[&[u32]], out_len| call(texts, out_len).unwrap_err();
    assert!(refused(&[&[1]], width + 1).contains("out holds"));
    assert!(refused(&[], 1).contains("out holds"));
    assert_eq!(refused(&[&[1], &[]], 2 * width), "text 1 has no tokens");
    assert_eq!(
        refused(&[&[1; 5]], width),
        "text 0 has 5 tokens, the model takes 4"
    );
    let outside = "text 0 has token id 300, the vocabulary ends at 300";
    assert_eq!(refused(&[&[1, 300]], width), outside);
    assert!(refused(&[&[u32::MAX]], width).contains("token id 4294967295"));
}

#[test]
fn a_width_other_than_stated_is_refused() {
    let options = RtenOptions {
        graph: GraphOptions {
            hidden_size: Some(1024),
            ..GraphOptions::new(Pooling::LastToken)
        },
        ..RtenOptions::new(Pooling::LastToken)
    };
    let error = RtenModel::load(&fixture("tiny/onnx/model.onnx"), options)
        .err()
        .unwrap();
    assert_eq!(error.kind(), BackendErrorKind::InvalidModel);
    assert!(error.to_string().contains("1024"), "{error}");
}
