//! `--backend onnxruntime` on the command line.

use crate::common::{Outcome, akidb, failed, json};

fn tiny() -> String {
    let path = akidb_testing::fixture("tiny");
    path.to_str().unwrap().to_owned()
}

fn embed(more: &[&str]) -> Outcome {
    let model = tiny();
    let mut args = vec!["embed", "a text", "--model", &model];
    args.extend(more);
    akidb(&args)
}

fn library() -> Option<String> {
    let library = akidb_testing::onnxruntime_library();
    if library.is_none() {
        akidb_testing::skip("no ONNX Runtime library (scripts/fetch_onnxruntime.sh gets one)");
    }
    library.map(|path| path.to_str().unwrap().to_owned())
}

#[test]
fn the_answer_says_what_ran() {
    let Some(library) = library() else { return };
    for choice in [["--backend", "onnxruntime"], ["--provider", "cpu"]] {
        let out = embed(&[&["--ort-library", &library][..], &choice].concat());
        assert_eq!((out.code, &*out.stderr), (0, ""));
        let answer = json(&out.stdout);
        assert_eq!(answer["backend"], "onnxruntime");
        assert_eq!(answer["device"], "cpu");
        assert_eq!(answer["data"][0]["embedding"].as_array().unwrap().len(), 28);
    }
}

#[test]
fn settings_are_taken() {
    let Some(library) = library() else { return };
    let out = embed(&[
        "--ort-library",
        &library,
        "--backend",
        "onnxruntime",
        "--ort-no-arena",
        "--ort-memory-pattern",
        "--ort-optimization",
        "basic",
        "--threads",
        "1",
    ]);
    assert_eq!((out.code, &*out.stderr), (0, ""));
}

#[test]
fn a_library_that_is_not_there_or_is_none() {
    let named = |library: &str| embed(&["--backend", "onnxruntime", "--ort-library", library]);
    let words = ["error: ONNX Runtime can't be used", "caused by: ", "hint: "];
    failed(&named("nowhere.so"), 1, &words);
    failed(
        &named("nowhere.so"),
        1,
        &["nowhere.so: there is no ONNX Runtime library"],
    );
    let cargo = env!("CARGO_MANIFEST_DIR").to_owned() + "/Cargo.toml";
    failed(&named(&cargo), 1, &words);
    failed(&named(&cargo), 1, &["Cargo.toml: it can't be opened: "]);
}

#[test]
fn providers_and_options_that_make_no_sense() {
    failed(&embed(&["--provider", "metal"]), 2, &["metal", "coreml"]);
    failed(&embed(&["--provider-option", "a=b"]), 2, &["--provider"]);
    let option = |text| embed(&["--provider", "coreml", "--provider-option", text]);
    failed(&option("nonsense"), 2, &["KEY=VALUE"]);
    failed(&option("units=all"), 2, &["`units`", "`ml_compute_units`"]);
    failed(
        &option("ml_compute_units=gpu"),
        2,
        &["`gpu`", "`cpu_and_gpu`"],
    );
    let auto = embed(&["--provider", "auto", "--provider-option", "a=b"]);
    failed(&auto, 2, &["auto"]);
    failed(
        &embed(&["--provider", "cpu", "--backend", "rten"]),
        1,
        &["provider"],
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_provider_that_the_library_lacks() {
    let Some(library) = library() else { return };
    let out = embed(&["--ort-library", &library, "--provider", "coreml"]);
    failed(
        &out,
        1,
        &[
            "the coreml provider is not in",
            "hint: the library has: ",
            "cpu",
        ],
    );
}

#[test]
fn a_file_says_what_flags_can() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ort.json");
    let path = path.to_str().unwrap();
    let config = |text: &str| std::fs::write(path, text).unwrap();
    config(r#"{"provider": "coreml", "provider_options": {"units": "all"}}"#);
    let out = embed(&["--ort-config", path]);
    failed(
        &out,
        2,
        &["ort.json can't be used", "`units`", "`ml_compute_units`"],
    );
    config(r#"{"sesion": {}}"#);
    let out = embed(&["--ort-config", path]);
    failed(
        &out,
        2,
        &[
            "`sesion`",
            "`session`",
            "hint: it is a JSON object with the keys",
        ],
    );
    config(r#"{"provider": "metal"}"#);
    failed(
        &embed(&["--ort-config", path]),
        2,
        &["\"metal\"", "hint: there are: auto, cpu"],
    );
    failed(
        &embed(&["--ort-config", "nowhere.json"]),
        1,
        &["nowhere.json can't be read"],
    );

    let Some(library) = library() else { return };
    let session = r#"{"arena": false, "memory_pattern": true, "optimization": "basic"}"#;
    let library = serde_json::Value::from(library);
    config(&format!(
        r#"{{"library": {library}, "provider": "cpu", "session": {session}}}"#
    ));
    let out = embed(&["--ort-config", path]);
    assert_eq!((out.code, &*out.stderr), (0, ""));
    assert_eq!(json(&out.stdout)["backend"], "onnxruntime");
    // A flag comes before the file.
    let out = embed(&["--ort-config", path, "--provider", "auto"]);
    assert_eq!(json(&out.stdout)["backend"], "native");
}
