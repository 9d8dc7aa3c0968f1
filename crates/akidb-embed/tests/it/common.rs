//! Runs the built program.

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
        .env_remove("AKIDB_LOG")
        .env_remove("AKIDB_MODEL")
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

/// Runs with a terminal of so many columns as standard output; its exit status, and what it wrote
/// there and to standard error.
#[cfg(unix)]
pub(crate) fn on_terminal(args: &[&str], columns: u16) -> (i32, String, String) {
    use std::io::Read;
    let size = nix::pty::Winsize {
        ws_row: 40,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let terminal = nix::pty::openpty(Some(&size), None).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_akidb-embed"));
    command
        .args(args)
        .env(
            "AKIDB_HOME",
            std::env::temp_dir().join("akidb-no-such-home"),
        )
        .env_remove("AKIDB_LOG")
        .env_remove("AKIDB_MODEL")
        .stdin(Stdio::null())
        .stdout(terminal.slave)
        .stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    // Its end of the terminal is the only one that is open.
    drop(command);
    let mut written = Vec::new();
    // Linux ends with an error when nobody has the other end open.
    let _ = std::fs::File::from(terminal.master).read_to_end(&mut written);
    let output = child.wait_with_output().unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8_lossy(&written).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}
