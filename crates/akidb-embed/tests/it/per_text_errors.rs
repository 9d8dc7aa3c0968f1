//! What is wrong with one text harms no other line of JSON Lines.

#[path = "../../../akidb-embedding/tests/it/common.rs"]
mod overflow;

use crate::common::{akidb, json, run_with_stdin};
use overflow::{OVERFLOWS, overflowing_model};

#[test]
fn a_text_that_overflows_is_told_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    overflowing_model(dir.path());
    let model = dir.path().to_str().unwrap();
    let texts = ["the fox", OVERFLOWS, "a", OVERFLOWS];
    let out = run_with_stdin(
        &["embed", "--format", "jsonl", "-m", model],
        texts.join("\n").as_bytes(),
    );
    assert_eq!(out.code, 1, "{}", out.stderr);
    let lines: Vec<_> = out.stdout.lines().map(json).collect();
    let objects: Vec<_> = lines.iter().map(|line| line["object"].clone()).collect();
    assert_eq!(objects, ["embedding", "error", "embedding", "error"]);
    assert_eq!(
        lines[3]["message"],
        "the vector of the text at index 3 is not finite"
    );
    let sound = akidb(&["embed", "the fox", "a", "--format", "jsonl", "-m", model]);
    assert_eq!(sound.code, 0, "{}", sound.stderr);
    for (line, alone) in lines.iter().step_by(2).zip(sound.stdout.lines().map(json)) {
        assert_eq!(line["embedding"], alone["embedding"]);
    }
    assert!(
        out.stderr
            .starts_with("error: 2 of 4 texts could not be embedded\n"),
        "{}",
        out.stderr
    );
}

/// Texts are embedded 128 at a time; the index goes on.
#[test]
fn indices_are_counted_over_all_of_the_input() {
    let mut lines = "{\"text\": \"a\"}\n".repeat(200);
    lines.push_str("{\"text\": [99999999]}\n{\"text\": \"b\"}\n");
    let out = run_with_stdin(
        &[
            "embed",
            "--jsonl",
            "-",
            "--format",
            "jsonl",
            "-m",
            "akidb-mini",
        ],
        lines.as_bytes(),
    );
    assert_eq!(out.code, 1);
    assert_eq!(out.stdout.lines().count(), 202);
    assert_eq!(json(out.stdout.lines().last().unwrap())["index"], 201);
    let error = json(out.stdout.lines().nth(200).unwrap());
    assert_eq!(error["index"], 200);
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("the input at index 200"), "{message}");
}

#[test]
fn a_default_prompt_goes_before_texts_without_a_role() {
    let dir = tempfile::tempdir().unwrap();
    overflowing_model(dir.path());
    let prompts = r#"{"prompts": {"query": "q: ", "sts": "s: "}, "default_prompt_name": "sts"}"#;
    std::fs::write(
        dir.path().join("config_sentence_transformers.json"),
        prompts,
    )
    .unwrap();
    let model = dir.path().to_str().unwrap();
    let embed = |role: &[&str]| {
        let out = akidb(&[&["embed", "a", "-m", model, "--format", "json"], role].concat());
        assert_eq!(out.code, 0, "{}", out.stderr);
        json(&out.stdout)
    };
    let plain = embed(&[]);
    assert_eq!(plain["instruction"], "s: ");
    assert_eq!(embed(&["--as", "document"])["instruction"], "");
    assert_eq!(embed(&["--as", "query"])["instruction"], "q: ");
    let said = akidb(&[
        "embed", "s: a", "--as", "document", "-m", model, "--format", "json",
    ]);
    assert_eq!(json(&said.stdout)["data"], plain["data"]);
}
