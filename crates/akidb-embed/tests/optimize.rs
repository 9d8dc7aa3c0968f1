//! `optimize` as a user meets it.

mod common;

use common::{akidb, builtin, json};

#[test]
fn files_for_coreml_are_written_and_judged() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("new").display().to_string();
    let args = [
        "optimize",
        &builtin(""),
        "--target",
        "coreml",
        "--shapes",
        "2x8,1x4",
        "-o",
        &out,
    ];
    let first = akidb(&args);
    assert_eq!((first.code, first.stderr.as_str()), (0, ""));
    assert_eq!(
        first
            .stdout
            .matches("(100 %) are for CoreML, in one partition")
            .count(),
        2
    );
    assert!(
        first.stdout.contains("refused: Gather: not in the table"),
        "{}",
        first.stdout
    );
    for file in [
        "coreml.json",
        "config.json",
        "tokenizer.json",
        "1_Pooling/config.json",
    ] {
        assert!(dir.path().join("new").join(file).is_file(), "{file}");
    }
    // Again, over the old ones, as JSON.
    let again = akidb(&[&args[..], &["--json", "--precision", "f32"]].concat());
    assert_eq!(again.code, 0, "{}", again.stderr);
    let report = json(&again.stdout);
    assert_eq!(report["manifest"]["precision"], "f32");
    assert_eq!(
        report["manifest"]["shapes"][1]["file"],
        "coreml/model_2x8.onnx"
    );
    let file = &report["files"]["coreml/model_2x8.onnx"];
    assert_eq!(file["nodes"], file["supported"]);
    assert!(report["source"]["partitions"].as_u64().unwrap() > 6);
}

#[test]
fn check_writes_nothing() {
    let out = akidb(&[
        "optimize",
        &builtin("onnx/model_fp16.onnx"),
        "--target",
        "coreml",
        "--check",
    ]);
    assert_eq!((out.code, out.stderr.as_str()), (0, ""));
    assert!(out.stdout.contains("partitions"), "{}", out.stdout);
}

#[test]
fn errors_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().display().to_string();
    let model = builtin("");
    let out = akidb(&[
        "optimize", &model, "--target", "coreml", "--shapes", "1x9999", "-o", &path,
    ]);
    assert_eq!(out.code, 1);
    assert_eq!(
        out.stderr,
        "error: no files can be made of the model\n\
         caused by: shape 1x9999: a text has at most 2048 tokens\n\
         hint: give other --shapes\n"
    );
    let out = akidb(&[
        "optimize", &model, "--target", "coreml", "--shapes", "8", "-o", &path,
    ]);
    assert_eq!(out.code, 2);
    assert!(out.stderr.contains("such as 8x128"), "{}", out.stderr);
    let out = akidb(&["optimize", &model, "--target", "coreml"]);
    assert_eq!(out.code, 2);
    let out = akidb(&["optimize", &path, "--target", "coreml", "--check"]);
    assert_eq!(out.code, 2);
    assert!(
        out.stderr.contains("has none of onnx/model.onnx"),
        "{}",
        out.stderr
    );
}
