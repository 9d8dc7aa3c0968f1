//! Decoders with a cache, causal attention and last-token pooling, against PyTorch.

use akidb_backend::{Backend, Pooling};
use akidb_onnxruntime::{OnnxRuntimeModel, OnnxRuntimeOptions, Optimization, SessionOptions};
use akidb_testing::{
    akidb_mini_goldens, builtin_model_dir, cosine, fixture, hidden_goldens, max_abs_diff,
};

use crate::common::{library, load, options, rows};

const HELLO: [u32; 5] = [9707, 11, 1879, 0, 16381];

#[test]
fn the_builtin_model_gives_what_pytorch_gives() {
    let Some(library) = library() else { return };
    let path = builtin_model_dir().join("onnx/model_fp16.onnx");
    let model = load(library, &path, Pooling::LastToken).unwrap();
    let info = model.info();
    assert_eq!(
        (info.backend, info.precision, &*info.device),
        ("onnxruntime", "f16", "cpu")
    );
    assert_eq!((info.hidden_size, info.vocab_size), (256, Some(16384)));
    assert_eq!(model.fallback(), None);

    let goldens = akidb_mini_goldens();
    let texts: Vec<&[u32]> = goldens.iter().map(|g| &*g.ids).collect();
    for (row, golden) in rows(&model, &texts).unwrap().iter().zip(&goldens) {
        let similarity = cosine(row, &golden.vector);
        assert!(similarity > 0.9999, "{similarity} for {:?}", golden.text);
    }
}

#[test]
fn small_decoders_give_what_pytorch_gives() {
    let Some(library) = library() else { return };
    for (file, goldens, device, limit) in [
        ("tiny/onnx/model.onnx", "tiny", "cpu", 2e-5),
        ("tiny-external/onnx/model.onnx", "tiny", "cpu", 2e-5),
        ("tiny-f16/onnx/model_fp16.onnx", "tiny-f16", "cpu", 2e-2),
        ("tiny-gqa/onnx/model.onnx", "tiny", "cpu", 2e-5),
        ("tiny-opset23/onnx/model.onnx", "tiny", "cpu", 2e-5),
    ] {
        let model = load(library, &fixture(file), Pooling::LastToken).unwrap();
        assert_eq!(model.info().device, device, "{file}");
        let goldens = hidden_goldens(goldens);
        let texts: Vec<&[u32]> = goldens.iter().map(|g| &*g.ids).collect();
        for (row, golden) in rows(&model, &texts).unwrap().iter().zip(&goldens) {
            let worst = max_abs_diff(row, &golden.hidden);
            let tokens = golden.ids.len();
            assert!(worst <= limit, "{file}: {worst} at {tokens} tokens");
        }
    }
}

#[test]
fn quantized_decoders_give_what_their_weights_say() {
    let Some(library) = library() else { return };
    // Without these, ONNX Runtime adds pairs of 8-bit products in 16 bits on x86, where they saturate.
    #[cfg(target_arch = "x86_64")]
    let saturates = !is_x86_feature_detected!("avx512vnni") && !is_x86_feature_detected!("avxvnni");
    #[cfg(not(target_arch = "x86_64"))]
    let saturates = false;
    for (variant, precision, least) in [
        ("int8", "int8", 0.996),
        ("uint8", "int8", 0.996),
        ("int8_per_channel", "int8", 0.996),
        ("q4", "int4", 0.999_999),
        ("q4f16", "int4", 0.999),
        ("bnb4", "int4", 0.999_999),
        ("mixed", "int4", 0.99),
        ("gqa", "int4", 0.99),
    ] {
        let path = fixture(format!("tiny-quantized/onnx/model_{variant}.onnx"));
        let model = load(library, &path, Pooling::LastToken).unwrap();
        assert_eq!(model.info().precision, precision, "{variant}");
        let alone = model.info().device.contains("one text at a time");
        let mixes = ["int8", "uint8", "int8_per_channel", "mixed", "gqa"].contains(&variant);
        assert_eq!(alone, mixes, "{variant}");
        let goldens = hidden_goldens(&format!("tiny-quantized/model_{variant}"));
        let texts: Vec<&[u32]> = goldens.iter().map(|g| &*g.ids).collect();
        if saturates && mixes {
            println!("SKIPPED: the vectors of {variant}: ONNX Runtime's sums saturate on this CPU");
            continue;
        }
        for (row, golden) in rows(&model, &texts).unwrap().iter().zip(&goldens) {
            let similarity = cosine(row, &golden.hidden);
            assert!(similarity > least, "{variant}: {similarity}");
        }
    }
}

#[test]
fn a_model_in_the_program_is_the_same_model() {
    static MODEL: &[u8] = include_bytes!("../../../../models/akidb-mini/onnx/model_fp16.onnx");
    let Some(library) = library() else { return };
    let options = options(Pooling::LastToken);
    let bytes = OnnxRuntimeModel::from_static(library, MODEL, &options).unwrap();
    let path = builtin_model_dir().join("onnx/model_fp16.onnx");
    let file = OnnxRuntimeModel::load(library, &path, &options).unwrap();
    let texts = [&HELLO[..]];
    assert_eq!(rows(&bytes, &texts).unwrap(), rows(&file, &texts).unwrap());
}

#[test]
fn a_text_is_the_same_alone_and_in_any_batch() {
    let Some(library) = library() else { return };
    let path = fixture("tiny/onnx/model.onnx");
    let model = load(library, &path, Pooling::LastToken).unwrap();
    let texts: Vec<Vec<u32>> = [5, 1, 300, 7, 64, 63, 5, 400, 12, 90, 1]
        .iter()
        .enumerate()
        .map(|(i, &n)| (0..n).map(|j| (i as u32 * 977 + j * 31) % 298).collect())
        .collect();
    let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    let together = rows(&model, &texts).unwrap();
    for (text, row) in texts.iter().zip(&together) {
        let alone = &rows(&model, &[text]).unwrap()[0];
        let similarity = cosine(alone, row);
        let tokens = text.len();
        assert!(similarity > 0.999_999, "{similarity} at {tokens} tokens");
    }
}

#[test]
fn settings_change_nothing_that_matters() {
    let Some(library) = library() else { return };
    let path = builtin_model_dir().join("onnx/model_fp16.onnx");
    let plain = load(library, &path, Pooling::LastToken).unwrap();
    let expected = &rows(&plain, &[&HELLO]).unwrap()[0];
    for (threads, arena, memory_pattern, optimization) in [
        (1, false, true, Optimization::Disabled),
        (3, true, false, Optimization::Basic),
        (2, true, true, Optimization::Extended),
    ] {
        let options = OnnxRuntimeOptions {
            threads: std::num::NonZeroUsize::new(threads),
            session: SessionOptions {
                arena,
                memory_pattern,
                optimization,
            },
            ..options(Pooling::LastToken)
        };
        let model = OnnxRuntimeModel::load(library, &path, &options).unwrap();
        let row = &rows(&model, &[&HELLO]).unwrap()[0];
        assert!(cosine(row, expected) > 0.999_99);
    }
}

#[test]
fn several_threads_may_call_at_once() {
    let Some(library) = library() else { return };
    let path = fixture("tiny/onnx/model.onnx");
    let model = load(library, &path, Pooling::LastToken).unwrap();
    let expected = rows(&model, &[&[1, 2, 3]]).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20 {
                    assert_eq!(rows(&model, &[&[1, 2, 3]]).unwrap(), expected);
                }
            });
        }
    });
}
