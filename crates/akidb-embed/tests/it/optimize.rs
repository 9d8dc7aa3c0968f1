//! `optimize` as a user meets it.

use crate::common::{akidb, builtin, json};

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
    let (_, own) = first
        .stdout
        .split_once("The model's own graphs, which CoreML would run less well:")
        .unwrap();
    assert!(own.contains("refused: Gather: not in the table"), "{own}");
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
        "coreml.2/model_2x8.onnx"
    );
    assert!(!dir.path().join("new/coreml").exists());
    let file = format!("{out}/coreml.2/model_2x8.onnx");
    let file = &report["files"][file];
    assert_eq!(file["nodes"], file["supported"]);
    let source = report["source"].as_object().unwrap();
    let (_, source) = source.iter().next().unwrap();
    assert!(source["partitions"].as_u64().unwrap() > 6);
}

#[test]
fn graphs_never_lie_beside_the_settings_of_another_model() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().display().to_string();
    let optimize = |model: &str| {
        akidb(&[
            "optimize", model, "--target", "coreml", "--shapes", "1x4", "-o", &out,
        ])
    };
    assert_eq!(optimize(&builtin("")).code, 0);
    // Ends midway, as if it were killed.
    let in_the_way = |directory: &str| {
        let weights = dir.path().join(directory).join("weights.onnx_data");
        let _ = std::fs::remove_file(&weights);
        std::fs::create_dir_all(&weights).unwrap();
    };
    in_the_way("coreml.2");
    assert_eq!(optimize(&builtin("")).code, 1);
    assert!(
        dir.path().join("coreml.json").is_file(),
        "the same settings"
    );
    in_the_way("coreml");
    let other = akidb_testing::fixture("tiny").display().to_string();
    assert_eq!(optimize(&other).code, 1);
    assert!(!dir.path().join("coreml.json").exists());
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
    assert_eq!(out.code, 2);
    assert_eq!(
        out.stderr,
        "error: no files can be made of the model\n\
         caused by: shape 1x9999: a text has at most 2048 tokens\n\
         hint: give other --shapes\n"
    );
    for shapes in ["0x32", "1x32,1x32"] {
        let new = format!("{path}/new");
        let out = akidb(&[
            "optimize", &model, "--target", "coreml", "--shapes", shapes, "-o", &new,
        ]);
        assert_eq!(out.code, 2, "{}", out.stderr);
        assert!(!std::path::Path::new(&new).exists(), "{shapes}");
    }
    let out = akidb(&[
        "optimize", &model, "--target", "coreml", "--shapes", "8", "-o", &path,
    ]);
    assert_eq!(out.code, 2);
    assert!(out.stderr.contains("such as 8x128"), "{}", out.stderr);
    let out = akidb(&["optimize", &model, "--target", "coreml"]);
    assert_eq!(out.code, 2);
    let out = akidb(&["optimize", &path, "--target", "coreml", "--check"]);
    assert_eq!(out.code, 2);
    assert!(out.stderr.contains("holds no weights"), "{}", out.stderr);
    let out = akidb(&["optimize", "no-such-model", "--target", "coreml", "--check"]);
    assert_eq!(out.code, 2);
    assert!(out.stderr.contains("there is no model"), "{}", out.stderr);
}

#[test]
fn a_model_is_named_by_its_id_and_what_is_written_runs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let out = akidb(&[
        "optimize",
        "akidb-mini",
        "--target",
        "coreml",
        "--shapes",
        "1x16,2x32",
        "-o",
        path,
    ]);
    assert_eq!((out.code, out.stderr.as_str()), (0, ""));
    assert!(out.stdout.contains("\nakidb-mini: "), "{}", out.stdout);
    let out = akidb(&["validate", path]);
    assert_eq!((out.code, out.stderr.as_str()), (0, ""), "{}", out.stdout);
    assert!(out.stdout.contains("model_1x16.onnx: ok"), "{}", out.stdout);
    let out = akidb(&["optimize", path, "--target", "coreml", "--check"]);
    assert_eq!(out.stdout.matches("(100 %)").count(), 2, "{}", out.stdout);
    let out = akidb(&[
        "optimize", path, "--target", "coreml", "--shapes", "1x8", "-o", path,
    ]);
    assert_eq!(out.code, 2);
    assert!(out.stderr.contains("for CoreML already"), "{}", out.stderr);
    let Some(library) = akidb_testing::onnxruntime_library() else {
        return akidb_testing::skip(
            "no ONNX Runtime library (scripts/fetch_onnxruntime.sh gets one)",
        );
    };
    let library = library.to_str().unwrap();
    let embed = |model, more: &[&str]| {
        let args = ["embed", "a text", "another one", "--model", model];
        json(&akidb(&[&args[..], more].concat()).stdout)
    };
    let coreml = embed(path, &["--ort-library", library]);
    assert_eq!(coreml["device"], "cpu, shapes 1x16 2x32");
    assert_eq!(
        (&coreml["precision"], &coreml["variant"]),
        (&"f16".into(), &"coreml".into())
    );
    let native = embed("akidb-mini", &[]);
    for i in 0..2 {
        let vector = |answer: &serde_json::Value| -> Vec<f32> {
            serde_json::from_value(answer["data"][i]["embedding"].clone()).unwrap()
        };
        assert!(akidb_testing::cosine(&vector(&coreml), &vector(&native)) > 0.999);
    }
}

#[test]
fn files_of_somebody_else_are_not_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.json");
    std::fs::write(&config, "mine").unwrap();
    let out = dir.path().display().to_string();
    let model = builtin("");
    let out = akidb(&[
        "optimize", &model, "--target", "coreml", "--shapes", "1x4", "-o", &out,
    ]);
    crate::common::failed(&out, 2, &["config.json is there already"]);
    assert_eq!(std::fs::read_to_string(&config).unwrap(), "mine");
}
