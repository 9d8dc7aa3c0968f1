//! Runs the built program.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test helper fails by panicking")]

use std::io::Write;
use std::process::{Command, Stdio};

/// What a run left behind.
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) bytes: Vec<u8>,
}

/// Runs with nothing on standard input and no model installed.
pub(crate) fn akidb(args: &[&str]) -> Outcome {
    run_with_stdin(args, b"")
}

pub(crate) fn run_with_stdin(args: &[&str], stdin: &[u8]) -> Outcome {
    run_with(args, stdin, &[])
}

pub(crate) fn run_with(args: &[&str], stdin: &[u8], variables: &[(&str, &str)]) -> Outcome {
    let mut child = Command::new(env!("CARGO_BIN_EXE_akidb-embed"))
        .args(args)
        .env(
            "AKIDB_HOME",
            std::env::temp_dir().join("akidb-no-such-home"),
        )
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let stdin = stdin.to_vec();
    let feeder = std::thread::spawn(move || {
        // The program may stop reading early.
        let _ = pipe.write_all(&stdin);
    });
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    Outcome {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        bytes: output.stdout,
    }
}

pub(crate) fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

/// Checks that it failed with nothing on standard output, and what it said.
pub(crate) fn failed(out: &Outcome, code: i32, words: &[&str]) {
    assert_eq!(
        (out.code, out.stdout.as_str()),
        (code, ""),
        "{}",
        out.stderr
    );
    assert!(out.stderr.starts_with("error: "), "{}", out.stderr);
    assert!(!out.stderr.contains("panicked"), "{}", out.stderr);
    for word in words {
        assert!(
            out.stderr.contains(word),
            "{word:?} is missing in:\n{}",
            out.stderr
        );
    }
}

/// A file of the built-in model.
pub(crate) fn builtin(name: &str) -> String {
    format!(
        "{}/../../models/akidb-mini/{name}",
        env!("CARGO_MANIFEST_DIR")
    )
}
