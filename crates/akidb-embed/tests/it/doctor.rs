//! `doctor` as a user meets it.

use crate::common::{akidb, json};

#[test]
fn the_machine_without_a_model() {
    let out = akidb(&["doctor"]);
    assert_eq!((out.code, &*out.stderr), (0, ""));
    for word in [
        "program",
        "cpu",
        "native",
        "rten",
        "onnxruntime",
        "akidb-mini (built in)",
    ] {
        assert!(
            out.stdout.contains(word),
            "{word:?} is missing in:\n{}",
            out.stdout
        );
    }
}

#[test]
fn a_model_on_each_backend() {
    let tiny = akidb_testing::fixture("tiny");
    let library = akidb_testing::onnxruntime_library();
    let library = library.unwrap_or_else(|| "nowhere.so".into());
    let args = ["doctor", "--json", "-m", tiny.to_str().unwrap()];
    let out = akidb(&[&args[..], &["--ort-library", library.to_str().unwrap()]].concat());
    assert_eq!((out.code, &*out.stderr), (0, ""));
    let report = json(&out.stdout);
    assert_eq!(report["model"]["auto"]["backend"], "native");
    let coreml = report["model"]["coreml"].as_object().unwrap();
    let (file, coverage) = coreml.iter().next().unwrap();
    assert!(file.ends_with("onnx/model.onnx"), "{file}");
    assert!(coverage["partitions"].as_u64().unwrap() > 1, "{coverage}");
    assert_eq!(coverage["operators"]["Gather"]["supported"], 0);
    let backends = report["model"]["backends"].as_array().unwrap();
    assert_eq!(backends.len(), 3);
    for backend in &backends[..2] {
        assert!(backend["one_text_ms"].as_f64().unwrap() > 0.0, "{backend}");
    }
    let onnxruntime = &report["machine"]["onnxruntime"];
    if onnxruntime["state"] == "found" {
        assert!(
            onnxruntime["providers"]
                .as_array()
                .unwrap()
                .contains(&"cpu".into())
        );
        assert!(backends[2]["one_text_ms"].as_f64().unwrap() > 0.0);
    } else {
        akidb_testing::skip("no ONNX Runtime library (scripts/fetch_onnxruntime.sh gets one)");
        assert!(onnxruntime["why"].as_str().unwrap().contains("nowhere.so"));
        assert!(backends[2]["why"].as_str().unwrap().contains("nowhere.so"));
    }
}

#[test]
fn a_model_that_no_backend_runs() {
    let dir = tempfile::tempdir().unwrap();
    let tiny = akidb_testing::fixture("tiny");
    for file in ["config.json", "tokenizer.json"] {
        std::fs::copy(tiny.join(file), dir.path().join(file)).unwrap();
    }
    std::fs::write(dir.path().join("model.onnx"), "nonsense").unwrap();
    let out = akidb(&["doctor", "-m", dir.path().to_str().unwrap()]);
    assert_eq!(out.code, 1);
    assert!(out.stdout.contains("can't: "), "{}", out.stdout);
    assert!(
        out.stderr.starts_with("error: no backend runs this model"),
        "{}",
        out.stderr
    );
}

#[test]
fn coreml_is_told_for_people_too() {
    // Elsewhere than on a Mac it must be named, and runs nothing.
    let out = akidb(&["doctor", "-m", "akidb-mini", "--provider", "coreml"]);
    for words in [
        "coreml       akidb-mini",
        "are for CoreML, in",
        "unsupported: ",
    ] {
        assert!(out.stdout.contains(words), "{words:?} in:\n{}", out.stdout);
    }
    let out = akidb(&["doctor", "akidb-mini"]);
    assert_eq!(out.code, 0, "{}", out.stderr);
    if cfg!(not(target_os = "macos")) {
        assert!(!out.stdout.contains("CoreML"), "{}", out.stdout);
    }
}

#[test]
fn one_report_has_everything_and_no_home() {
    let home = tempfile::tempdir().unwrap();
    let model = home.path().join("models/akidb-mini");
    std::fs::create_dir_all(model.join("onnx")).unwrap();
    for file in ["config.json", "tokenizer.json", "onnx/model_fp16.onnx"] {
        std::fs::copy(crate::common::builtin(file), model.join(file)).unwrap();
    }
    let path = home.path().join("report.json");
    let name = home.path().to_str().unwrap();
    let args = [
        "doctor",
        "--report",
        path.to_str().unwrap(),
        "-m",
        model.to_str().unwrap(),
    ];
    let out = crate::common::run_with(&args, b"", &[("HOME", name), ("USERPROFILE", name)]);
    assert_eq!(out.code, 0, "{}", out.stderr);
    let text = std::fs::read_to_string(path).unwrap();
    assert!(!text.contains(name), "{text}");
    let report = json(&text);
    assert_eq!(report["doctor"]["model"]["auto"]["model"], "akidb-mini");
    let coreml = report["doctor"]["model"]["coreml"].as_object().unwrap();
    assert!(coreml.keys().all(|file| file.starts_with("~/models/")));
    assert_eq!(report["verify"]["right"], true);
    assert!(report["bench"][0]["median_ms"].as_f64().unwrap() > 0.0);
    let out = akidb(&["doctor", "--report", "x.json"]);
    assert_eq!(out.code, 2);
}

#[test]
fn a_line_each_says_what_the_others_say_and_the_next_command_is_named() {
    let out = akidb(&["doctor"]);
    let next = "next         akidb-embed doctor MODEL";
    assert!(out.stdout.contains(next), "{}", out.stdout);

    let out = akidb(&["doctor", "akidb-mini"]);
    for line in [
        "inspect        fp16 weights, vectors of 256 values, last_token pooling\n",
        "validate       its files are whole and agree",
        "models verify  its checksums are not known",
        "verify         its vectors are right\n",
        "next           akidb-embed embed \"a text\" -m akidb-mini\n",
    ] {
        assert!(out.stdout.contains(line), "{line}:\n{}", out.stdout);
    }

    // Files that contradict each other are to be looked at first.
    let dir = tempfile::tempdir().unwrap();
    let tiny = akidb_testing::fixture("tiny");
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        std::fs::copy(tiny.join(file), dir.path().join(file)).unwrap();
    }
    std::fs::create_dir(dir.path().join("1_Pooling")).unwrap();
    std::fs::write(dir.path().join("1_Pooling/config.json"), "[").unwrap();
    let model = dir.path().to_str().unwrap();
    let out = akidb(&["doctor", model]);
    let next = format!("next           akidb-embed validate {model}\n");
    assert!(out.stdout.contains(&next), "{}", out.stdout);
}
