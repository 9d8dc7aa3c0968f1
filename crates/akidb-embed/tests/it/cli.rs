//! The command line as a user meets it: output, exit status, and the words of every error.

use crate::common::{akidb, json, run_with, run_with_stdin};

#[test]
fn embed_prints_the_openai_shape_when_piped() {
    let out = akidb(&["embed", "Hello, world!", "--model", "akidb-mini"]);
    assert_eq!((out.code, out.stderr.as_str()), (0, ""));
    let answer = json(&out.stdout);
    assert_eq!(answer["object"], "list");
    assert_eq!(answer["model"], "akidb-mini");
    assert_eq!(answer["data"][0]["object"], "embedding");
    assert_eq!(answer["data"][0]["index"], 0);
    assert_eq!(answer["data"][0]["tokens"], 5);
    assert_eq!(answer["data"][0]["truncated"], false);
    assert_eq!(
        answer["data"][0]["embedding"].as_array().unwrap().len(),
        256
    );
    assert_eq!(answer["usage"]["prompt_tokens"], 5);
    assert_eq!(answer["usage"]["total_tokens"], 5);
    assert_eq!(answer["backend"], "native");
    assert_eq!(answer["variant"], "fp16");
    // The file is f16: what it runs in is up to the CPU.
    assert!(["bf16", "f32"].contains(&answer["precision"].as_str().unwrap_or_default()));
    assert_eq!(answer["pooling"], "last_token");
    assert_eq!(answer["instruction"], "");
    assert_eq!(answer["dimension"], 256);
}

#[test]
fn stdin_is_one_text_a_line_empty_lines_too() {
    let out = run_with_stdin(
        &["embed", "--format", "jsonl", "-m", "akidb-mini"],
        b"a\n\nb\r\n",
    );
    assert_eq!((out.code, out.stderr.as_str()), (0, ""));
    let tokens: Vec<_> = out
        .stdout
        .lines()
        .map(|l| json(l)["tokens"].clone())
        .collect();
    assert_eq!(tokens, [2, 1, 2]);
}

#[test]
fn jsonl_reads_a_field_of_texts_or_token_ids() {
    let lines = br#"{"body": "Hello, world!"}
{"body": [9707, 11, 1879, 0]}
"#;
    let out = run_with_stdin(
        &[
            "embed",
            "--jsonl",
            "-",
            "--field",
            "body",
            "--format",
            "text",
            "-m",
            "akidb-mini",
        ],
        lines,
    );
    assert_eq!((out.code, out.stderr.as_str()), (0, ""));
    let vectors: Vec<_> = out.stdout.lines().collect();
    assert_eq!(vectors.len(), 2);
    assert_eq!(vectors[0], vectors[1]);
}

#[test]
fn a_cut_is_the_prefix_of_the_whole_normalised_again() {
    let values = |args: &[&str]| -> Vec<f64> {
        let all = [
            &["embed", "Hello", "-m", "akidb-mini", "--format", "text"],
            args,
        ]
        .concat();
        let out = akidb(&all);
        assert_eq!((out.code, out.stderr.as_str()), (0, ""));
        out.stdout
            .split_whitespace()
            .map(|x| x.parse().unwrap())
            .collect()
    };
    let whole = values(&[]);
    let cut = values(&["--dim", "64"]);
    assert_eq!((whole.len(), cut.len()), (256, 64));
    let norm = whole[..64].iter().map(|x| x * x).sum::<f64>().sqrt();
    for (a, b) in whole.iter().zip(&cut) {
        assert!((a / norm - b).abs() < 1e-6);
    }
    let raw = values(&["--no-normalize"]);
    assert!(raw.iter().map(|x| x * x).sum::<f64>().sqrt() > 1.5);
}

#[test]
fn csv_has_a_header() {
    let out = akidb(&[
        "embed",
        "a",
        "b",
        "--dim",
        "2",
        "--format",
        "csv",
        "-m",
        "akidb-mini",
    ]);
    let lines: Vec<_> = out.stdout.lines().collect();
    assert_eq!(lines[0], "index,tokens,truncated,v0,v1");
    assert!(lines[1].starts_with("0,2,false,") && lines[2].starts_with("1,2,false,"));
    assert_eq!(lines.len(), 3);
}

#[test]
fn npy_is_what_numpy_reads() {
    for (encoding, descr, columns, size) in [
        ("f32", "<f4", 256, 4),
        ("f16", "<f2", 256, 2),
        ("int8", "|i1", 256, 1),
        ("binary", "|u1", 32, 1),
    ] {
        let out = akidb(&[
            "embed",
            "a",
            "b",
            "c",
            "--format",
            "npy",
            "--encoding",
            encoding,
            "-m",
            "akidb-mini",
        ]);
        assert_eq!(&out.bytes[..8], b"\x93NUMPY\x01\x00");
        let length = usize::from(u16::from_le_bytes([out.bytes[8], out.bytes[9]]));
        assert_eq!((10 + length) % 64, 0);
        let header = std::str::from_utf8(&out.bytes[10..10 + length]).unwrap();
        assert_eq!(
            header.trim_end(),
            format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (3, {columns}), }}")
        );
        assert!(header.ends_with('\n'));
        assert_eq!(out.bytes.len() - 10 - length, 3 * columns * size);
    }
}

#[test]
fn int8_comes_with_its_scale() {
    let whole = json(&akidb(&["embed", "a", "-m", "akidb-mini"]).stdout);
    let codes = json(&akidb(&["embed", "a", "-m", "akidb-mini", "--encoding", "int8"]).stdout);
    let scale = codes["data"][0]["scale"].as_f64().unwrap();
    let pairs = whole["data"][0]["embedding"]
        .as_array()
        .unwrap()
        .iter()
        .zip(codes["data"][0]["embedding"].as_array().unwrap());
    for (x, code) in pairs {
        assert!((x.as_f64().unwrap() - code.as_f64().unwrap() * scale).abs() <= scale * 0.5001);
    }
}

#[test]
fn truncation_is_told() {
    let text = "word ".repeat(40);
    let out = akidb(&["embed", &text, "--max-tokens", "16", "-m", "akidb-mini"]);
    assert_eq!(out.code, 0);
    assert_eq!(
        out.stderr,
        "warning: 1 text was longer than 16 tokens: the end was cut off (text 1)\n"
    );
    assert_eq!(json(&out.stdout)["data"][0]["truncated"], true);
    let out = akidb(&[
        "embed",
        "a",
        &text,
        "--max-tokens",
        "16",
        "--on-long",
        "error",
        "--on-error",
        "fail",
        "-m",
        "akidb-mini",
    ]);
    assert_eq!(out.code, 1);
    assert_eq!(
        out.stderr,
        "error: text 2 can't be used\n\
         caused by: the text at index 1 is longer than 16 tokens\n\
         hint: shorten the text, or allow truncation (--on-long truncate)\n"
    );
}

#[test]
fn a_query_carries_the_instruction() {
    let query = json(&akidb(&["embed", "a", "--as", "query", "-m", "akidb-mini"]).stdout);
    let instruction = query["instruction"].as_str().unwrap();
    assert!(
        instruction.starts_with("Instruct: Given a web search query"),
        "{instruction}"
    );
    let own = json(
        &akidb(&[
            "embed",
            "a",
            "--instruction",
            "Find code",
            "-m",
            "akidb-mini",
        ])
        .stdout,
    );
    assert_eq!(own["instruction"], "Instruct: Find code\nQuery:");
}

#[test]
fn similarity_prints_a_table_json_and_csv() {
    let texts = [
        "how do I resume a download",
        "continue an interrupted transfer",
        "bake a chocolate cake",
    ];
    let call = |format: &str| {
        let args = [
            &["similarity", "-m", "akidb-mini", "--format", format],
            &texts[..],
        ]
        .concat();
        let out = akidb(&args);
        assert_eq!((out.code, out.stderr.as_str()), (0, ""));
        out.stdout
    };
    let table = call("table");
    assert!(
        !table.contains('\u{1b}'),
        "no colours when piped: {table:?}"
    );
    assert_eq!(table.lines().count(), 4);
    assert!(table.contains("bake a chocolate cake"));

    let answer = json(&call("json"));
    let cell = |i: usize, j: usize| answer["similarity"][i][j].as_f64().unwrap();
    assert!((cell(0, 0) - 1.0).abs() < 1e-6);
    assert_eq!(cell(0, 1), cell(1, 0));
    assert!(cell(0, 1) > cell(0, 2) + 0.1);

    assert_eq!(call("csv").lines().next().unwrap().split(',').count(), 3);
}

#[test]
fn inspect_tells_what_the_model_is() {
    let path = crate::common::builtin("onnx/model_fp16.onnx");
    let out = akidb(&["inspect", &path]);
    assert_eq!((out.code, out.stderr.as_str()), (0, ""));
    for word in [
        "input_ids",
        "last_hidden_state",
        "MultiHeadAttention",
        "hidden_size",
    ] {
        assert!(
            out.stdout.contains(word),
            "{word} is missing in:\n{}",
            out.stdout
        );
    }
    let portable = |args: &[&str]| run_with(args, b"", &[("AKIDB_ISA", "portable")]).stdout;
    assert!(portable(&["inspect", &path]).ends_with("\nthis machine\n  cpu tier: portable\n"));
    let report = json(&portable(&["inspect", &path, "--json"]));
    assert_eq!(report["cpu_tier"], "portable");
}

#[test]
fn inspect_takes_ids_and_says_what_runs_a_file() {
    let out = akidb(&["inspect", "akidb-mini"]);
    assert_eq!((out.code, out.stderr.as_str()), (0, ""));
    let words = "akidb-mini fp16 runs on the native engine\nthis machine\n";
    assert!(out.stdout.contains(words), "{}", out.stdout);

    // Another pooling than a decoder's own.
    let home = tempfile::tempdir().unwrap();
    let model = home.path().join("models/me/mini");
    for name in ["config.json", "tokenizer.json", "onnx/model_fp16.onnx"] {
        let to = model.join(name);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(crate::common::builtin(name), to).unwrap();
    }
    std::fs::create_dir(model.join("1_Pooling")).unwrap();
    let pooling = "{\"pooling_mode_mean_tokens\": true}";
    std::fs::write(model.join("1_Pooling/config.json"), pooling).unwrap();
    let variables = [("AKIDB_HOME", home.path().to_str().unwrap())];
    let inspect = |args: &[&str]| run_with(args, b"", &variables).stdout;
    let text = inspect(&["inspect", "me/mini"]);
    assert!(text.contains("runs on the native engine"), "{text}");
    let report = json(&inspect(&["inspect", "me/mini", "--json"]));
    assert_eq!(
        report["runs_on"][0]["backends"],
        serde_json::json!(["native"])
    );
}

#[test]
fn inspect_says_where_encoders_run() {
    let report = |file: &str| {
        let path = akidb_testing::fixture("tiny-bert").join("onnx").join(file);
        let path = path.to_str().unwrap();
        let out = akidb(&["inspect", path, "--json"]);
        assert_eq!((out.code, out.stderr.as_str()), (0, ""));
        (json(&out.stdout), akidb(&["inspect", path]).stdout)
    };
    for file in ["model.onnx", "model_int8.onnx"] {
        let (report, text) = report(file);
        assert_eq!(
            report["runs_on"][0]["backends"],
            serde_json::json!(["native"])
        );
        assert!(text.contains("runs on the native engine\n"), "{text}");
    }
}

#[test]
fn an_output_file_appears_only_when_complete() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("out.npy");
    let args = [
        "embed",
        "-m",
        "akidb-mini",
        "--format",
        "npy",
        "-o",
        file.to_str().unwrap(),
    ];
    let fail = [&args[..], &["--on-error", "fail"]].concat();
    let out = run_with_stdin(&fail, b"fine\n\xff broken\n");
    assert_eq!(out.code, 1);
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        0,
        "a partial file was left behind"
    );
    let out = run_with_stdin(&args, b"fine\n");
    assert_eq!((out.code, out.stdout.as_str()), (0, ""));
    assert!(std::fs::metadata(&file).unwrap().len() > 1024);
}

#[cfg(unix)]
#[test]
fn an_existing_file_keeps_its_mode_a_link_its_target_and_a_device_its_nature() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let (file, link) = (dir.path().join("private"), dir.path().join("link"));
    std::fs::write(&file, "old").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let write = |path: &std::path::Path| {
        let path = path.to_str().unwrap();
        akidb(&[
            "embed",
            "a",
            "-m",
            "akidb-mini",
            "--format",
            "text",
            "-o",
            path,
        ])
    };
    assert_eq!(write(&link).code, 0);
    assert!(link.is_symlink());
    assert!(std::fs::metadata(&file).unwrap().len() > 1000);
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );

    assert_eq!(write(std::path::Path::new("/dev/null")).code, 0);
    assert!(!std::path::Path::new("/dev/null").is_file());

    let out = write(dir.path());
    assert_eq!((out.code, out.stderr.contains("is a directory")), (2, true));
    assert!(write(std::path::Path::new("-")).stdout.len() > 1000);
}

/// The program is stopped while it waits for further lines.
#[cfg(unix)]
#[test]
fn an_interrupt_leaves_no_partial_file() {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_akidb-embed"))
        .args(["embed", "-m", "akidb-mini", "--format", "text", "-o"])
        .arg(dir.path().join("out.txt"))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&b"line\n".repeat(200)).unwrap();
    let files = || std::fs::read_dir(dir.path()).unwrap().count();
    for _ in 0..600 {
        if files() > 0 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(files(), 1, "the temporary file");
    // The handler is set right after the file is made.
    std::thread::sleep(std::time::Duration::from_millis(500));
    let kill = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(files(), 0);
}

#[test]
fn a_byte_order_mark_and_blank_json_lines_are_no_text() {
    let embed = |args: &[&str], stdin: &[u8]| {
        let args = [&["embed", "--format", "text", "-m", "akidb-mini"], args].concat();
        let out = run_with_stdin(&args, stdin);
        assert_eq!((out.code, out.stderr.as_str()), (0, ""));
        out.stdout
    };
    let expected = embed(&[], b"a\n");
    assert_eq!(embed(&[], "\u{feff}a\n".as_bytes()), expected);
    let json = "\u{feff}{\"text\": \"a\"}\r\n\n  \n";
    assert_eq!(embed(&["--jsonl", "-"], json.as_bytes()), expected);
}

#[test]
fn bench_ranks_with_a_reranker() {
    let model = akidb_testing::fixture("tiny-rerankers/bert");
    let model = model.to_string_lossy();
    let args = ["bench", "-m", &model, "--batch", "3", "--tokens", "40"];
    let out = akidb(&[&args[..], &["--runs", "2", "--json"]].concat());
    assert_eq!((out.code, out.stderr.as_str()), (0, ""));
    let timing = json(&out.stdout);
    assert_eq!(
        (&timing["total_tokens"], &timing["batch"]),
        (&json("120"), &json("3"))
    );
}

#[test]
fn bench_prints_one_object_for_each_piece_of_work() {
    let args = [
        "bench",
        "-m",
        "akidb-mini",
        "--batch",
        "2",
        "--tokens",
        "7",
        "--runs",
        "3",
        "--json",
    ];
    let out = akidb(&args);
    assert_eq!((out.code, out.stderr.as_str()), (0, ""));
    let timing = json(&out.stdout);
    assert_eq!(timing["total_tokens"], 14);
    assert_eq!(
        (&timing["backend"], &timing["runs"]),
        (&json("\"native\""), &json("3"))
    );
    for key in ["median_ms", "min_ms", "tokens_per_s", "read_gb_s"] {
        assert!(timing[key].as_f64().unwrap() > 0.0, "{key}");
    }
    assert!(timing["min_ms"].as_f64() <= timing["median_ms"].as_f64());
    assert!(timing["tier"].is_string());
}

#[test]
fn rerank_prints_the_best_first() {
    let documents = ["bake a chocolate cake", "continue an interrupted transfer"];
    let query = "how do I resume a download";
    let rerank = |more: &[&str]| {
        let args = [&["rerank", query, "-m", "akidb-mini"], &documents[..], more].concat();
        akidb(&args)
    };
    let out = rerank(&[]);
    assert_eq!((out.code, out.stderr.as_str()), (0, ""));
    let answer = json(&out.stdout);
    assert_eq!(answer["object"], "rerank");
    assert_eq!(answer["scoring"], "cosine");
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results.len(), 2);
    assert_eq!(results[0]["index"], 1);
    assert_eq!(results[0]["document"]["text"], documents[1]);
    let bars = rerank(&["--format", "bars", "--top", "1"]).stdout;
    assert_eq!(bars.lines().count(), 1);
    assert!(bars.contains('█') && bars.contains(documents[1]), "{bars}");
    let csv = rerank(&["--format", "csv"]).stdout;
    let second = csv.lines().nth(1).unwrap();
    assert!(second.starts_with("1,") && second.ends_with(",\"continue an interrupted transfer\""));
    assert_eq!(rerank(&["--format", "jsonl"]).stdout.lines().count(), 2);
    let model = rerank(&["--scoring", "model"]);
    assert_eq!(model.code, 2);
    assert!(
        model.stderr.contains("is an embedding model"),
        "{}",
        model.stderr
    );
}

#[test]
fn a_reranker_ranks_and_makes_no_vectors() {
    let model = akidb_testing::fixture("tiny-rerankers/xlmr");
    let model = model.to_str().unwrap();
    let lines = b"{\"body\": \"Paris\"}\n{\"body\": \"sort a list\"}\n";
    let out = run_with_stdin(
        &[
            "rerank", "France", "-m", model, "--jsonl", "-", "--field", "body", "--format", "jsonl",
        ],
        lines,
    );
    assert_eq!((out.code, out.stderr.as_str()), (0, ""));
    assert_eq!(out.stdout.lines().count(), 2);
    let out = akidb(&["embed", "a", "-m", model]);
    assert_eq!(out.code, 2, "{}", out.stderr);
    assert!(out.stderr.contains("is a reranker"), "{}", out.stderr);
}
