//! `verify`, on a sound model and on noise.

use akidb_onnx::model::OnnxModel;
use akidb_onnx::proto::tensor_proto::DataType;

use crate::common::{akidb, json};

#[test]
fn the_built_in_model_is_right_in_every_precision() {
    for precision in ["auto", "f32", "bf16", "int8"] {
        let out = akidb(&["verify", "-m", "akidb-mini", "--precision", precision]);
        assert_eq!(out.code, 0, "{precision}\n{}{}", out.stdout, out.stderr);
        assert!(out.stdout.ends_with("The vectors are right.\n"));
        assert!(
            out.stdout
                .contains("right: cosine to known vectors (PyTorch")
        );
        assert!(out.stdout.contains("right: cosine to rten"));
    }
    let out = akidb(&["verify", "-m", "akidb-mini", "--json"]);
    let report = json(&out.stdout);
    assert_eq!(report["right"], true);
    assert_eq!(report["checks"][0]["values"].as_array().unwrap().len(), 11);
}

#[test]
fn without_a_name_it_says_which_model_it_is() {
    let out = akidb(&["verify"]);
    assert_eq!(out.code, 0, "{}{}", out.stdout, out.stderr);
    assert!(out.stdout.starts_with("akidb-mini, "), "{}", out.stdout);
}

/// A decoder with random weights, which no check of its files can tell from a trained one.
#[test]
fn a_model_that_returns_noise_fails() {
    let model = akidb_testing::fixture("tiny");
    let out = akidb(&["verify", "-m", model.to_str().unwrap()]);
    assert_eq!(out.code, 1, "{}{}", out.stdout, out.stderr);
    assert!(out.stdout.contains("WRONG: nearer to the same meaning"));
    assert!(out.stdout.ends_with("The vectors are WRONG.\n"));
    let expected = "error: the vectors of tiny are wrong\nhint: don't use them: ";
    assert!(out.stderr.contains(expected), "{}", out.stderr);
    let out = akidb(&["verify", "-m", model.to_str().unwrap(), "--json"]);
    assert_eq!((out.code, &json(&out.stdout)["right"]), (1, &false.into()));
}

/// The built-in model as ONNX Runtime's quantizers write it.
fn variants() -> Option<std::path::PathBuf> {
    let dir = akidb_testing::mini_variants();
    if dir.is_none() {
        akidb_testing::skip("no variants of akidb-mini (scripts/make_mini_variants.py makes them)");
    }
    dir
}

#[test]
fn every_published_form_of_a_model_is_right() {
    let Some(dir) = variants() else { return };
    for variant in [
        "f32",
        "fp16",
        "int8",
        "quantized",
        "uint8",
        "q4",
        "q4f16",
        "bnb4",
    ] {
        let out = akidb(&["verify", "-m", dir.to_str().unwrap(), "--variant", variant]);
        assert_eq!(out.code, 0, "{variant}\n{}{}", out.stdout, out.stderr);
        assert!(
            out.stdout.contains("right: cosine to known vectors"),
            "{}",
            out.stdout
        );
    }
}

#[test]
fn a_quantised_file_with_damaged_weights_is_wrong() {
    let Some(dir) = variants() else { return };
    let copy = tempfile::tempdir().unwrap();
    let model = copy.path().join("akidb-mini");
    std::fs::create_dir_all(model.join("onnx")).unwrap();
    for file in ["config.json", "tokenizer.json"] {
        std::fs::copy(dir.join(file), model.join(file)).unwrap();
    }
    let file = dir.join("onnx/model_int8.onnx");
    let graph = OnnxModel::open(&file).unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    let weights = graph.graph().initializer.iter();
    let weights = weights.filter(|tensor| tensor.data_type() == DataType::Int8);
    let weights = weights.filter_map(|tensor| tensor.raw_data.as_deref());
    let mut reversed = 0;
    // Those of linear layers: 32 768 to 196 608 values each.
    for weight in weights.filter(|w| (30_000..300_000).contains(&w.len())) {
        let mut places = bytes.windows(64).enumerate();
        let (at, _) = places.find(|(_, window)| *window == &weight[..64]).unwrap();
        bytes[at..at + weight.len()].reverse();
        reversed += 1;
    }
    assert!(reversed > 20, "{reversed}");
    std::fs::write(model.join("onnx/model_int8.onnx"), bytes).unwrap();
    let out = akidb(&["verify", "-m", model.to_str().unwrap()]);
    assert_eq!(out.code, 1, "{}{}", out.stdout, out.stderr);
    assert!(
        out.stdout.ends_with("The vectors are WRONG.\n"),
        "{}{}",
        out.stdout,
        out.stderr
    );
}

/// A reranker with random weights ranks nothing.
#[test]
fn a_rerankers_scores_are_looked_at() {
    let model = akidb_testing::fixture("tiny-rerankers/qwen3-seq");
    let model = model.to_str().unwrap();
    let out = akidb(&["verify", "-m", model]);
    assert_eq!(out.code, 1, "{}{}", out.stdout, out.stderr);
    let wrong = "WRONG: more probable than documents of another meaning";
    assert!(out.stdout.contains(wrong), "{}", out.stdout);
    assert!(
        out.stdout.ends_with("The scores are WRONG.\n"),
        "{}",
        out.stdout
    );
    let expected = "error: the scores of qwen3-seq are wrong\nhint: don't use them: ";
    assert!(out.stderr.contains(expected), "{}", out.stderr);
    let report = json(&akidb(&["verify", "-m", model, "--json"]).stdout);
    assert_eq!(report["provenance"]["scoring"], "model");
    let out = akidb(&["doctor", model]).stdout;
    assert!(out.contains("scores documents for a query"), "{out}");
    assert!(out.contains("its scores are WRONG"), "{out}");
    assert!(!out.contains("makes no vectors"), "{out}");
}
