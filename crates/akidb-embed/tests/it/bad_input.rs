//! Wrong input: a clear error, the right exit status, nothing on standard output.

use std::path::Path;

use crate::common::{Outcome, akidb, builtin, failed, run_with_stdin};

/// A copy of the built-in model that a test may damage.
fn damaged(damage: impl FnOnce(&Path)) -> (tempfile::TempDir, Outcome) {
    let dir = tempfile::tempdir().unwrap();
    for name in [
        "onnx/model_fp16.onnx",
        "config.json",
        "tokenizer.json",
        "1_Pooling/config.json",
    ] {
        let to = dir.path().join(name);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(builtin(name), &to).unwrap();
    }
    damage(dir.path());
    let out = akidb(&["embed", "a", "--model", dir.path().to_str().unwrap()]);
    (dir, out)
}

#[test]
fn an_undamaged_copy_works() {
    let (_dir, out) = damaged(|_| {});
    assert_eq!((out.code, out.stderr.as_str()), (0, ""));
}

#[test]
fn an_unknown_model() {
    let out = akidb(&["embed", "a", "--model", "nowhere"]);
    failed(&out, 2, &["no model \"nowhere\"", "hint: ", "akidb-mini"]);
}

#[test]
fn a_directory_without_weights() {
    let (_dir, out) = damaged(|dir| std::fs::remove_dir_all(dir.join("onnx")).unwrap());
    failed(&out, 2, &["holds no weights", "hint: ", "model.onnx"]);
}

#[test]
fn a_directory_without_a_tokenizer() {
    let (_dir, out) = damaged(|dir| std::fs::remove_file(dir.join("tokenizer.json")).unwrap());
    failed(&out, 1, &["has no tokenizer.json", "hint: "]);
}

#[test]
fn a_truncated_onnx_file() {
    let (_dir, out) = damaged(|dir| {
        let path = dir.join("onnx/model_fp16.onnx");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    });
    failed(&out, 1, &["model_fp16.onnx"]);
}

#[test]
fn an_empty_onnx_file() {
    let (_dir, out) = damaged(|dir| std::fs::write(dir.join("onnx/model_fp16.onnx"), "").unwrap());
    failed(&out, 1, &["model_fp16.onnx", "empty"]);
}

#[test]
fn a_config_that_contradicts_the_graph() {
    for (from, to) in [
        ("\"hidden_size\": 256", "\"hidden_size\": 512"),
        ("\"num_hidden_layers\": 6", "\"num_hidden_layers\": 7"),
        ("\"num_key_value_heads\": 2", "\"num_key_value_heads\": 4"),
        ("\"rope_theta\": 1000000", "\"rope_theta\": 10000"),
    ] {
        let (_dir, out) = damaged(|dir| {
            let path = dir.join("config.json");
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.contains(from));
            std::fs::write(&path, text.replace(from, to)).unwrap();
        });
        let key = from.split('"').nth(1).unwrap();
        failed(&out, 1, &["config.json", key]);
    }
}

#[test]
fn a_tokenizer_that_does_not_fit_the_vocabulary() {
    let (_dir, out) = damaged(|dir| {
        let path = dir.join("config.json");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(
            &path,
            text.replace("\"vocab_size\": 16384", "\"vocab_size\": 1000"),
        )
        .unwrap();
    });
    failed(&out, 1, &["tokenizer.json", "special token", "vocab_size"]);
}

#[test]
fn broken_json_files() {
    for name in ["config.json", "tokenizer.json", "1_Pooling/config.json"] {
        for text in ["", "{", "[1]", "{\"model\": null"] {
            let (_dir, out) = damaged(|dir| std::fs::write(dir.join(name), text).unwrap());
            failed(&out, 1, &[name]);
        }
    }
}

#[test]
fn dimensions_out_of_range() {
    for dim in ["0", "257", "99999999999"] {
        let out = akidb(&["embed", "a", "-m", "akidb-mini", "--dim", dim]);
        failed(&out, 2, &["1 to 256"]);
    }
}

#[test]
fn token_limits_out_of_range() {
    for limit in ["0", "1", "2049"] {
        let out = akidb(&["embed", "a", "-m", "akidb-mini", "--max-tokens", limit]);
        failed(&out, 2, &["2 to 2048"]);
    }
}

#[test]
fn an_unknown_variant() {
    let out = akidb(&["embed", "a", "-m", "akidb-mini", "--variant", "q4"]);
    failed(&out, 2, &["no variant \"q4\"", "hint: it has: fp16"]);
}

#[test]
fn invalid_utf8_on_stdin() {
    let args = ["embed", "-m", "akidb-mini", "--on-error", "fail"];
    let out = run_with_stdin(&args, b"fine\nab\xff\n");
    failed(
        &out,
        1,
        &[
            "line 2 of standard input",
            "not valid UTF-8 from byte 2 on",
            "hint: ",
        ],
    );
}

#[test]
fn a_line_of_50_megabytes_is_truncated_and_told() {
    let mut line = b"word ".repeat(10 << 20);
    line.push(b'\n');
    let out = run_with_stdin(&["embed", "-m", "akidb-mini"], &line);
    assert_eq!(out.code, 0, "{}", out.stderr);
    assert!(
        out.stderr.contains("longer than 2048 tokens"),
        "{}",
        out.stderr
    );
}

#[test]
fn json_lines_that_are_not_what_they_should_be() {
    for (line, words) in [
        ("{", "not valid JSON"),
        ("[1]", "it is a list, not an object"),
        ("{\"body\": \"a\"}", "no field \"text\""),
        ("{\"text\": 5}", "is a number, not a text or a list"),
        ("{\"text\": null}", "is null, not a text or a list"),
        ("{\"text\": null}", "hint: put a text there"),
        ("{\"text\": [-1]}", "entry 0 of it is no token id"),
        ("{\"text\": [16384]}", "outside the vocabulary"),
    ] {
        let out = run_with_stdin(
            &[
                "embed",
                "--jsonl",
                "-",
                "-m",
                "akidb-mini",
                "--on-error",
                "fail",
            ],
            line.as_bytes(),
        );
        failed(&out, 1, &[words]);
    }
}

#[test]
fn a_jsonl_file_that_is_not_there() {
    failed(
        &akidb(&["embed", "--jsonl", "nowhere.jsonl"]),
        1,
        &["nowhere.jsonl can't be read"],
    );
}

#[test]
fn an_output_directory_that_is_not_there() {
    let out = akidb(&["embed", "a", "-m", "akidb-mini", "-o", "nowhere/out.json"]);
    let words = [
        "nowhere/out.json can't be written",
        "caused by: there is no directory nowhere\n",
    ];
    failed(&out, 1, &words);
}

#[test]
fn one_text_has_no_similarity() {
    failed(
        &akidb(&["similarity", "a", "-m", "akidb-mini"]),
        2,
        &["two texts or more"],
    );
}

#[test]
fn inspecting_what_is_not_a_model() {
    failed(
        &akidb(&["inspect", "nowhere"]),
        2,
        &["no model \"nowhere\""],
    );
    failed(
        &akidb(&["inspect", &builtin("tokenizer.json")]),
        1,
        &["tokenizer.json"],
    );
}

#[test]
fn bench_refuses_more_tokens_than_the_model_takes() {
    for tokens in ["2049", "4000000000"] {
        let out = akidb(&["bench", "-m", "akidb-mini", "--tokens", tokens]);
        failed(&out, 2, &["at most 2048"]);
    }
}

#[cfg(unix)]
#[test]
fn a_device_in_place_of_a_json_file() {
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        let (_dir, out) = damaged(|dir| {
            let path = dir.join(name);
            let _ = std::fs::remove_file(&path);
            std::os::unix::fs::symlink("/dev/zero", path).unwrap();
        });
        failed(&out, 1, &[name, "not a regular file"]);
    }
}

#[test]
fn environment_variables_that_make_no_sense() {
    for (name, value) in [("AKIDB_ISA", "sse9"), ("AKIDB_LOG", "loud")] {
        let args = ["embed", "a", "-m", "akidb-mini", "--backend", "rten"];
        let out = crate::common::run_with(&args, b"", &[(name, value)]);
        failed(&out, 2, &[name]);
    }
}

#[test]
fn arguments_that_contradict_each_other() {
    let embed = ["embed", "a", "-m", "akidb-mini"];
    let as_document = ["--as", "document", "--instruction", "find a song"];
    let out = akidb(&[&embed[..], &as_document].concat());
    failed(&out, 2, &["--instruction is for queries"]);

    for precision in ["bf16", "int8", "int4"] {
        let rten = ["--backend", "rten", "--precision", precision];
        let out = akidb(&[&embed[..], &rten].concat());
        let words = format!("rten computes this file in f32, not in {precision}");
        failed(&out, 2, &[&words, "hint: only the native engine"]);
    }
    let rten = ["--backend", "rten", "--precision", "f32"];
    assert_eq!(akidb(&[&embed[..], &rten].concat()).code, 0);

    for args in [
        &["embed", "--field", "body"][..],
        &["embed", "a", "--field", "body"],
        &["bench", "--text", "a", "--field", "body"],
    ] {
        failed(&akidb(args), 2, &["--field"]);
    }
}

#[test]
fn bench_refuses_a_batch_of_more_texts_than_there_are() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "{\"text\": \"a\"}\n{\"text\": \"b\"}\n").unwrap();
    let path = file.path().to_str().unwrap();
    let out = akidb(&["bench", "-m", "akidb-mini", "--batch", "3", "--jsonl", path]);
    failed(&out, 2, &["--batch 3", "has only 2 texts"]);
}

#[test]
fn unknown_arguments_are_usage_errors() {
    for args in [
        &["embed", "--frmat", "json"][..],
        &["embed", "a", "--threads", "0"],
        &["emed"],
    ] {
        assert_eq!(akidb(args).code, 2);
    }
}
