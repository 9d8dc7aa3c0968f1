//! One grammar for all commands, and a calm voice.

use std::fs;
use std::path::Path;

use crate::common::{Outcome, akidb, builtin, failed, json, run_with, run_with_stdin};

/// A copy of the built-in model under another name, in the store of `home`.
fn install(home: &Path, id: &str) {
    let model = home.join("models").join(id);
    for name in [
        "config.json",
        "tokenizer.json",
        "1_Pooling/config.json",
        "onnx/model_fp16.onnx",
    ] {
        let to = model.join(name);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(builtin(name), to).unwrap();
    }
}

fn at(home: &Path, args: &[&str], more: &[(&str, &str)]) -> Outcome {
    let home = [("AKIDB_HOME", home.to_str().unwrap())];
    run_with(args, b"", &[&home[..], more].concat())
}

#[test]
fn the_model_is_an_argument_or_a_flag_wherever_it_is_one() {
    for command in ["inspect", "validate", "verify", "doctor"] {
        for args in [
            &[command, "akidb-mini"][..],
            &[command, "-m", "akidb-mini"],
            &[command, "--model", "akidb-mini"],
        ] {
            let out = akidb(args);
            assert_eq!((out.code, out.stderr.as_str()), (0, ""), "{args:?}");
        }
        let out = akidb(&[command, "akidb-mini", "-m", "akidb-mini"]);
        assert_eq!(out.code, 2, "{command}");
    }
    let work = ["--batch", "1", "--tokens", "3", "--runs", "1", "--json"];
    for model in [&["akidb-mini"][..], &["-m", "akidb-mini"]] {
        let out = akidb(&[&["bench"], model, &work].concat());
        assert_eq!(out.code, 0, "{}", out.stderr);
        let optimize = ["--target", "coreml", "--check"];
        let out = akidb(&[&["optimize"], model, &optimize].concat());
        assert_eq!(out.code, 0, "{}", out.stderr);
        let out = akidb(&[&["models", "show"], model].concat());
        assert_eq!(out.code, 0, "{}", out.stderr);
        let out = akidb(&[&["models", "pull"], model].concat());
        assert_eq!(out.stdout, "akidb-mini is built in\n");
        for command in [&["models", "verify"][..], &["models", "remove", "--yes"]] {
            let out = akidb(&[command, model].concat());
            failed(&out, 2, &["akidb-mini is built in"]);
        }
        let out = akidb(&[&["models", "export"], model, &["x.tar"]].concat());
        failed(&out, 2, &["akidb-mini is built in"]);
    }
    failed(&akidb(&["models", "pull"]), 2, &["ID"]);
}

#[test]
fn the_default_is_set_and_not_what_happens_to_be_installed() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let model = |variables: &[(&str, &str)]| {
        let out = at(home, &["embed", "a"], variables);
        assert_eq!(out.code, 0, "{}", out.stderr);
        (
            json(&out.stdout)["model"].as_str().unwrap().to_owned(),
            out.stderr,
        )
    };
    let mini = || "akidb-mini".to_owned();
    // With nothing else installed there is nothing to say.
    assert_eq!(model(&[]), (mini(), String::new()));
    install(home, "me/one");
    install(home, "two");
    let (id, said) = model(&[]);
    assert_eq!(id, mini());
    assert!(
        said.starts_with("model: akidb-mini, the built-in one"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1);

    assert_eq!(
        model(&[("AKIDB_MODEL", "two")]),
        ("two".to_owned(), String::new())
    );
    let set = at(home, &["models", "default", "me/one"], &[]);
    assert_eq!((set.code, set.stdout.as_str()), (0, "me/one\n"));
    assert_eq!(model(&[]), ("me/one".to_owned(), String::new()));
    assert_eq!(model(&[("AKIDB_MODEL", "two")]).0, "two");
    assert_eq!(at(home, &["models", "default"], &[]).stdout, "me/one\n");
    let inspected = at(home, &["inspect"], &[]);
    assert!(inspected.stdout.contains("me/one"), "{}", inspected.stdout);
    let listed = at(home, &["models", "list"], &[]).stdout;
    assert!(listed.contains("me/one (directory, default)"), "{listed}");

    // One that is gone is not silently another one.
    fs::remove_dir_all(home.join("models/me")).unwrap();
    let gone = at(home, &["embed", "a"], &[]);
    failed(&gone, 2, &["no model \"me/one\""]);
    let unset = at(home, &["models", "default", "--unset"], &[]);
    assert_eq!((unset.code, unset.stdout.as_str()), (0, "akidb-mini\n"));
    assert_eq!(model(&[]).0, mini());

    assert_eq!(unset.stderr, "none is set: the built-in model is meant\n");

    let unknown = at(home, &["models", "default", "tow"], &[]);
    failed(&unknown, 2, &["tow is not installed"]);
    assert_eq!(at(home, &["models", "default"], &[]).stdout, "akidb-mini\n");
}

#[test]
fn a_negative_number_is_a_wrong_value_and_no_option() {
    for (args, option) in [
        (["embed", "--dim", "-1", "a"], "--dim"),
        (["rerank", "--top", "-1", "a"], "--top"),
        (["bench", "--threads", "-2", "--json"], "--threads"),
    ] {
        let out = akidb(&args);
        assert_eq!(out.code, 2, "{}", out.stderr);
        let said = format!("invalid value '{}' for '{option}", args[2]);
        assert!(out.stderr.contains(&said), "{}", out.stderr);
    }
    let out = akidb(&["similarity", "--no-normalize", "a", "b"]);
    failed(&out, 2, &["--no-normalize changes no similarity"]);
}

#[test]
fn quiet_says_errors_alone() {
    let home = tempfile::tempdir().unwrap();
    install(home.path(), "one");
    let long = "word ".repeat(40);
    let embed = ["embed", &long, "--max-tokens", "16"];
    let loud = at(home.path(), &embed, &[]);
    assert_eq!(loud.stderr.lines().count(), 2, "{}", loud.stderr);
    for (flag, variables) in [
        (&["-q"][..], &[][..]),
        (&["--quiet"], &[]),
        (&[], &[("AKIDB_LOG", "off")]),
        (&[], &[("AKIDB_LOG", "error")]),
    ] {
        let out = at(home.path(), &[&embed[..], flag].concat(), variables);
        assert_eq!((out.code, out.stderr.as_str()), (0, ""), "{flag:?}");
        let nowhere = [&["embed", "a", "-m", "nowhere"], flag].concat();
        failed(
            &at(home.path(), &nowhere, variables),
            2,
            &["no model", "hint: "],
        );
    }
    let before = at(home.path(), &["-q", "embed", "a"], &[]);
    assert_eq!((before.code, before.stderr.as_str()), (0, ""));
    let rows = run_with_stdin(&["embed", "-q", "--format", "csv"], b"a\n\xff\n");
    assert_eq!(rows.code, 1);
    assert!(
        rows.stderr.contains("line 2 of standard input"),
        "{}",
        rows.stderr
    );
    assert!(!rows.stderr.contains("texts/s"), "{}", rows.stderr);
}

#[test]
fn a_model_that_another_backend_runs_is_no_warning() {
    let model = akidb_testing::fixture("forms/mask-float");
    let args = ["embed", "a", "-m", model.to_str().unwrap()];
    let out = akidb(&args);
    assert_eq!((out.code, out.stderr.as_str()), (0, ""));
    // The answer says it.
    let answer = json(&out.stdout);
    assert_ne!(answer["backend"], "native");
    assert!(answer["fallback"].is_string(), "{}", answer["fallback"]);
}

#[test]
fn a_name_that_is_nearly_one_is_asked_back() {
    let home = tempfile::tempdir().unwrap();
    install(home.path(), "team/support-embedder");
    for (args, words) in [
        (
            &["embed", "a", "-m", "akidb-minni"][..],
            "did you mean akidb-mini?",
        ),
        (
            &["embed", "a", "-m", "team/suport-embedder"],
            "did you mean team/support-embedder?",
        ),
        (
            &["inspect", "qwen3-embeding-0.6b"],
            "did you mean qwen3-embedding-0.6b?",
        ),
        (
            &["models", "pull", "qwen3-embeding-0.6b"],
            "did you mean qwen3-embedding-0.6b?",
        ),
        (
            &["models", "remove", "support-embeder", "-y"],
            "did you mean team/support-embedder?",
        ),
        (
            &["models", "default", "support-embeder"],
            "did you mean team/support-embedder?",
        ),
    ] {
        failed(&at(home.path(), args, &[]), 2, &[words]);
    }
    let out = akidb(&["embed", "a", "-m", "nowhere"]);
    assert!(!out.stderr.contains("did you mean"), "{}", out.stderr);
}

#[test]
fn help_is_short_and_begins_with_examples() {
    for flag in ["-h", "--help"] {
        let out = akidb(&["embed", flag]);
        let begin = "Turn texts into vectors\n\nExamples:\n  akidb-embed embed ";
        assert!(out.stdout.starts_with(begin), "{}", out.stdout);
        let place = |heading: &str| out.stdout.find(&format!("\n{heading}:\n")).unwrap();
        let headings = [
            "Options",
            "Output",
            "Vectors",
            "How the model is run",
            "ONNX Runtime",
        ];
        assert!(headings.map(place).is_sorted(), "{}", out.stdout);
        assert!(out.stdout.lines().count() < 100, "{}", out.stdout);
    }
    let all = akidb(&["--help"]).stdout;
    for words in ["AKIDB_MODEL", "AKIDB_SERVE_CONFIG", "completions", "doctor"] {
        assert!(all.contains(words), "{words}");
    }
    assert_eq!(akidb(&["--version"]).stdout.lines().count(), 1);
}

#[test]
fn shells_complete_and_manual_pages_are_written() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let out = akidb(&["completions", shell]);
        assert_eq!((out.code, out.stderr.as_str()), (0, ""), "{shell}");
        for words in ["similarity", "on-error", "models"] {
            assert!(out.stdout.contains(words), "{shell}: {words}");
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let pages = dir.path().join("man1");
    let out = akidb(&["man", pages.to_str().unwrap()]);
    assert_eq!((out.code, out.stderr.as_str()), (0, ""));
    for page in [
        "akidb-embed.1",
        "akidb-embed-embed.1",
        "akidb-embed-models-pull.1",
    ] {
        let text = fs::read_to_string(pages.join(page)).unwrap();
        assert!(
            text.contains(".SH NAME") && text.contains("Examples:"),
            "{page}:\n{text}"
        );
    }
}

#[test]
fn many_texts_are_told_as_their_nearest_pairs() {
    let texts = [
        "how do I resume a download",
        "continue an interrupted transfer",
        "bake a chocolate cake",
        "a recipe for a cake with chocolate",
        "the key lets you log in",
        "log files are compressed every night",
        "water the tomatoes in the morning",
        "an index finds neighbours",
        "a b",
        "a c",
        "a d",
        "a e",
    ];
    let similarity = |more: &[&str]| {
        let out = akidb(&[&["similarity", "-m", "akidb-mini"], &texts[..], more].concat());
        assert_eq!((out.code, out.stderr.as_str()), (0, ""));
        out.stdout
    };
    let pairs = similarity(&[]);
    let lines: Vec<_> = pairs.lines().collect();
    assert!(
        lines.iter().all(|line| line.chars().count() <= 80),
        "{pairs}"
    );
    assert_eq!(lines.len(), 21);
    assert!(
        lines[20].starts_with("and 46 pairs that are less near"),
        "{pairs}"
    );
    let values = lines[..20].iter().map(|line| {
        let value = line.split_whitespace().next().unwrap();
        value.parse::<f32>().unwrap()
    });
    let values: Vec<_> = values.collect();
    assert!(values.is_sorted_by(|a, b| a >= b), "{pairs}");
    assert_eq!(similarity(&["--format", "pairs"]), pairs);
    assert_eq!(similarity(&["--format", "table"]).lines().count(), 13);
    assert_eq!(similarity(&["--format", "csv"]).lines().count(), 12);
}

#[cfg(unix)]
#[test]
fn a_terminal_gets_what_it_can_show() {
    use crate::common::on_terminal;
    let npy = ["embed", "a", "-m", "akidb-mini", "--format", "npy"];
    let (code, shown, said) = on_terminal(&npy, 80);
    assert_eq!((code, shown.as_str()), (2, ""));
    assert!(said.starts_with("error: npy is not text"), "{said}");
    assert!(said.contains("hint: name a file with -o"), "{said}");
    for format in ["csv", "jsonl"] {
        let args = ["embed", "a", "b", "-m", "akidb-mini", "--format", format];
        let (code, shown, said) = on_terminal(&args, 80);
        assert_eq!((code, said.as_str()), (0, ""));
        assert!(shown.lines().count() > 1);
    }
    let (code, shown, _) = on_terminal(&["embed", "a", "-m", "akidb-mini"], 80);
    assert!(code == 0 && shown.contains("256 values"), "{shown}");

    let texts: Vec<_> = ["one", "two", "three", "four", "five", "six"].to_vec();
    let args = [&["similarity", "-m", "akidb-mini"], &texts[..]].concat();
    let lines = |columns| on_terminal(&args, columns).1.lines().count();
    assert_eq!((lines(80), lines(50)), (7, 15));
}

#[test]
fn files_that_are_not_what_they_seem_are_named() {
    let dir = tempfile::tempdir().unwrap();
    install(dir.path(), "m");
    let model = dir.path().join("models/m");
    let name = model.to_str().unwrap();
    let embed = || akidb(&["embed", "a", "-m", name]);
    let pointer = "version https://git-lfs.github.com/spec/v1\n\
                   oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n\
                   size 12345\n";
    let tokenizer = fs::read(model.join("tokenizer.json")).unwrap();
    let weights = fs::read(model.join("onnx/model_fp16.onnx")).unwrap();

    fs::write(model.join("tokenizer.json"), pointer).unwrap();
    failed(
        &embed(),
        1,
        &[
            "tokenizer.json",
            "Git LFS pointer",
            "hint: run git lfs pull",
        ],
    );
    fs::write(
        model.join("tokenizer.json"),
        &tokenizer[..tokenizer.len() / 2],
    )
    .unwrap();
    failed(
        &embed(),
        1,
        &[
            "tokenizer.json is cut off",
            "hint: it was not fetched whole",
        ],
    );
    fs::write(model.join("tokenizer.json"), &tokenizer).unwrap();

    fs::write(model.join("onnx/model_fp16.onnx"), pointer).unwrap();
    let words = [
        "model_fp16.onnx: is a Git LFS pointer",
        "hint: run git lfs pull",
    ];
    failed(&embed(), 1, &words);
    let validated = akidb(&["validate", name]);
    assert_eq!(validated.code, 1);
    for words in [
        "model_fp16.onnx: error: is a Git LFS pointer",
        "run git lfs pull",
    ] {
        assert!(validated.stdout.contains(words), "{}", validated.stdout);
    }
    fs::write(model.join("onnx/model_fp16.onnx"), weights).unwrap();
    assert_eq!(embed().code, 0);

    let bundle = dir.path().join("m.tar.gz");
    fs::write(&bundle, b"\x1f\x8b\x08\0\0\0\0\0").unwrap();
    let import = at(
        dir.path(),
        &["models", "import", bundle.to_str().unwrap()],
        &[],
    );
    failed(&import, 1, &["compressed with gzip", "hint: gunzip "]);
    fs::write(&bundle, b"no archive at all").unwrap();
    let import = at(
        dir.path(),
        &["models", "import", bundle.to_str().unwrap()],
        &[],
    );
    failed(
        &import,
        1,
        &["hint: a bundle is what akidb-embed models export writes"],
    );
}
