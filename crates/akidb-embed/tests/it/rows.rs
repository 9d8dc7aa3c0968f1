//! `embed` on files: rows that are bad, what goes along, where vectors go, and what an end leaves.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::common::{Outcome, akidb, failed, run_with_stdin};

/// Lines of which some are bad, each in its own way, and a blank one.
const LINES: &[u8] = b"{\"text\": \"a\", \"n\": 1, \"url\": \"u, 1\"}\n\
{\"text\": null}\n\
\n\
{\"body\": \"a\"}\n\
{\"text\": 5}\n\
{\n\
[1]\n\
{\"text\": \"\\ud83d\"}\n\
{\"text\": \"\xff\"}\n\
{\"text\": [99999999]}\n\
{\"text\": \"b\", \"n\": \"two\"}\n";

fn embed(args: &[&str], stdin: &[u8]) -> Outcome {
    run_with_stdin(&[&["embed", "-m", "akidb-mini"], args].concat(), stdin)
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(crate::common::json).collect()
}

fn numbers(rows: &[Value], object: &str) -> Vec<u64> {
    let rows = rows.iter().filter(|row| row["object"] == object);
    rows.map(|row| row["line"].as_u64().unwrap()).collect()
}

#[test]
fn bad_rows_are_objects_in_their_places_and_the_others_go_on() {
    let out = embed(&["--jsonl", "-", "--format", "jsonl"], LINES);
    assert_eq!(out.code, 1, "{}", out.stderr);
    let rows = lines(&out.stdout);
    assert_eq!(numbers(&rows, "embedding"), [1, 11]);
    assert_eq!(numbers(&rows, "error"), [2, 4, 5, 6, 7, 8, 9, 10]);
    let index: Vec<_> = rows.iter().map(|row| row["index"].clone()).collect();
    assert_eq!(index, (0..10).map(Value::from).collect::<Vec<_>>());
    for (row, words) in [
        (1, "its field \"text\" is null"),
        (2, "it has no field \"text\""),
        (3, "is a number"),
        (4, "it is not valid JSON"),
        (5, "it is a list, not an object"),
        (6, "it is not valid JSON"),
        (7, "it is not valid UTF-8 from byte 10 on"),
        (8, "the input at index 8"),
    ] {
        let message = rows[row]["message"].as_str().unwrap();
        assert!(message.contains(words), "{words}: {message}");
    }
    assert!(
        out.stderr
            .starts_with("error: 8 of 10 texts could not be embedded\n"),
        "{}",
        out.stderr
    );
    let last = out.stderr.lines().last().unwrap();
    assert!(last.starts_with("2 texts, 4 tokens, "), "{last}");
    assert!(
        last.ends_with("; 8 rows failed; 1 blank line left out"),
        "{last}"
    );

    // A list has them, too.
    let out = embed(&["--jsonl", "-", "--format", "json"], LINES);
    assert_eq!(out.code, 1);
    let list = crate::common::json(&out.stdout);
    let data = list["data"].as_array().unwrap();
    assert_eq!(numbers(data, "error"), [2, 4, 5, 6, 7, 8, 9, 10]);
    assert_eq!(list["usage"]["total_tokens"], 4);
}

#[test]
fn formats_without_a_place_leave_bad_rows_out_and_tell() {
    let text = embed(&["--jsonl", "-", "--format", "text"], LINES);
    let sound = embed(&["--format", "text"], b"a\nb\n");
    assert_eq!((text.code, sound.code), (1, 0));
    assert_eq!(text.stdout, sound.stdout);
    for words in [
        "line 2 of standard input: its field \"text\" is null",
        "line 9 of standard input: it is not valid UTF-8",
        "error: 8 of 10 texts could not be embedded\nhint: each line above says why",
    ] {
        assert!(text.stderr.contains(words), "{words}:\n{}", text.stderr);
    }

    let npy = embed(&["--jsonl", "-", "--format", "npy"], LINES);
    assert_eq!(npy.code, 1);
    assert!(npy.stdout.contains("'shape': (2, 256)"));
    let csv = embed(&["--format", "csv", "--dim", "1"], b"\xff\na\n");
    assert_eq!(csv.code, 1);
    let rows: Vec<_> = csv.stdout.lines().collect();
    assert_eq!(rows[0], "index,line,tokens,truncated,v0");
    assert!(rows[1].starts_with("1,2,2,false,"), "{}", rows[1]);
    assert_eq!(rows.len(), 2);

    // Very many are counted.
    let many = "{}\n".repeat(200);
    let out = embed(&["--jsonl", "-", "--format", "csv"], many.as_bytes());
    assert_eq!((out.code, out.stderr.matches("no field").count()), (1, 10));
    for words in [
        "and 190 more: --errors FILE takes all of them",
        "error: 200 of 200 texts could not be embedded",
        "hint: name the field with --field",
    ] {
        assert!(out.stderr.contains(words), "{words}:\n{}", out.stderr);
    }
}

#[test]
fn the_first_bad_row_is_the_end_where_that_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    for format in ["jsonl", "npy", "csv", "json"] {
        let file = dir.path().join("out");
        let args = ["--jsonl", "-", "--format", format, "--on-error", "fail"];
        let to = ["-o", file.to_str().unwrap()];
        let out = embed(&[&args[..], &to].concat(), LINES);
        let words = [
            "error: line 2 of standard input can't be used\n",
            "caused by: its field \"text\" is null",
            "hint: put a text there",
        ];
        failed(&out, 1, &words);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "{format}");
    }
    let args = ["--jsonl", "-", "--format", "csv", "--on-error", "object"];
    failed(&embed(&args, LINES), 2, &["csv has no place"]);
}

#[test]
fn errors_go_to_a_file_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let errors = dir.path().join("errors.jsonl");
    fs::write(&errors, "of an earlier run").unwrap();
    let to = errors.to_str().unwrap();
    for format in ["jsonl", "npy"] {
        let args = ["--jsonl", "-", "--errors", to, "--id-field", "n"];
        let args = match format {
            "npy" => &args[..4],
            _ => &args[..],
        };
        let out = embed(&[args, &["--format", format]].concat(), LINES);
        assert_eq!(out.code, 1);
        let told = lines(&fs::read_to_string(&errors).unwrap());
        assert_eq!(numbers(&told, "error"), [2, 4, 5, 6, 7, 8, 9, 10]);
        assert!(
            out.stderr.contains("errors.jsonl says why"),
            "{}",
            out.stderr
        );
        assert!(!out.stderr.contains("line 2"), "{}", out.stderr);
        if format == "jsonl" {
            assert_eq!(numbers(&lines(&out.stdout), "embedding"), [1, 11]);
            assert_eq!(lines(&out.stdout).len(), 2);
        }
    }
    // Where all goes well it is empty.
    assert_eq!(embed(&["--errors", to], b"a\n").code, 0);
    assert_eq!(fs::read(&errors).unwrap(), b"");
    let nowhere = dir.path().join("no/where");
    let out = embed(&["--errors", nowhere.to_str().unwrap()], b"a\n");
    failed(&out, 1, &["no/where can't be written"]);
}

#[test]
fn ids_and_other_fields_go_along() {
    let args = ["--jsonl", "-", "--id-field", "n", "--keep", "url", "more"];
    let out = embed(&[&args[..], &["--format", "jsonl"]].concat(), LINES);
    let rows = lines(&out.stdout);
    assert_eq!(
        (&rows[0]["id"], &rows[0]["url"]),
        (&json!(1), &json!("u, 1"))
    );
    assert_eq!(rows[0]["more"], Value::Null);
    assert_eq!(
        (&rows[9]["id"], &rows[9]["line"]),
        (&json!("two"), &json!(11))
    );
    // An object without an id has no place in what is joined by ids.
    let message = rows[7]["message"].as_str().unwrap();
    assert!(message.contains("not valid UTF-8"), "{message}");
    let message = rows[8]["message"].as_str().unwrap();
    assert_eq!(message, "it has no field \"n\"");

    let csv = embed(
        &[&args[..], &["--format", "csv", "--dim", "1"]].concat(),
        LINES,
    );
    let rows: Vec<_> = csv.stdout.lines().collect();
    assert_eq!(rows[0], "index,line,id,url,more,tokens,truncated,v0");
    assert!(
        rows[1].starts_with("0,1,1,\"u, 1\",,2,false,"),
        "{}",
        rows[1]
    );
    assert!(rows[2].starts_with("9,11,two,,,2,false,"), "{}", rows[2]);

    for (format, field, words) in [
        ("npy", "url", "npy has no place for the fields url"),
        ("text", "url", "text has no place for the fields url"),
        ("jsonl", "tokens", "a field \"tokens\" can't be kept"),
        ("csv", "v0", "a field \"v0\" can't be kept"),
        ("jsonl", "id", "--id-field id"),
    ] {
        let out = embed(
            &["--jsonl", "-", "--keep", field, "--format", format],
            LINES,
        );
        failed(&out, 2, &[words]);
    }
    failed(&akidb(&["embed", "a", "--keep", "url"]), 2, &["--keep"]);
    failed(&akidb(&["embed", "--keep", "url"]), 2, &["--jsonl"]);
}

#[test]
fn truncated_texts_are_named_by_their_lines() {
    let long = "word ".repeat(40);
    let text = format!("a\n{long}\n\n{long}\n");
    let out = embed(&["--max-tokens", "16"], text.as_bytes());
    assert_eq!(
        out.stderr,
        "warning: 2 texts were longer than 16 tokens: the end was cut off (lines 2, 4)\n"
    );
    let args = ["--max-tokens", "16", "--on-long", "truncate-start"];
    let many = format!("a\n{}", format!("{long}\n").repeat(12));
    let out = embed(&args, many.as_bytes());
    assert_eq!(
        out.stderr,
        "warning: 12 texts were longer than 16 tokens: the start was cut off (lines 2, 3, 4, 5, 6, \
         7, 8, 9, 10, 11 and 2 more)\n"
    );
    let blank = format!("\n{{\"text\": \"{long}\"}}\n");
    let out = embed(&["--max-tokens", "16", "--jsonl", "-"], blank.as_bytes());
    assert!(out.stderr.contains("(line 2)"), "{}", out.stderr);
}

#[test]
fn a_files_ending_says_the_format() {
    let dir = tempfile::tempdir().unwrap();
    let to = |name: &str, more: &[&str]| {
        let path = dir.path().join(name);
        let out = embed(&[&["-o", path.to_str().unwrap()], more].concat(), b"a\nb\n");
        (out, fs::read(path).unwrap_or_default())
    };
    for (name, begin) in [
        ("a.npy", &b"\x93NUMPY"[..]),
        ("a.jsonl", b"{\"model\":"),
        ("a.json", b"{\"object\":\"list\""),
        ("a.CSV", b"index,line,"),
        ("vectors", b"{\"object\":\"list\""),
    ] {
        let (out, bytes) = to(name, &[]);
        assert_eq!((out.code, out.stdout.as_str()), (0, ""), "{}", out.stderr);
        assert!(bytes.starts_with(begin), "{name}");
        let said = format!("→ {}\n", dir.path().join(name).display());
        assert!(
            out.stderr.starts_with("2 texts, 4 tokens, "),
            "{}",
            out.stderr
        );
        assert!(out.stderr.ends_with(&said), "{}", out.stderr);
    }
    let (out, bytes) = to("a.txt", &[]);
    assert_eq!(
        (out.code, bytes.iter().filter(|b| **b == b'\n').count()),
        (0, 2)
    );
    let (out, bytes) = to("b.npy", &["--format", "json"]);
    failed(&out, 2, &["--format json contradicts the ending of", "npy"]);
    assert_eq!(bytes, b"");
    let (out, bytes) = to("b.parquet", &[]);
    assert_eq!(out.code, 0, "{}", out.stderr);
    assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
    let (out, bytes) = to("b.jsonl.gz", &[]);
    failed(&out, 2, &["no format has the ending .gz", "--format"]);
    assert_eq!(bytes, b"");
}

#[test]
fn no_file_is_lost_to_another_of_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let docs = path("docs.jsonl");
    fs::write(&docs, LINES).unwrap();
    let other = format!("{}/./docs.jsonl", dir.path().display());
    for (args, words) in [
        (
            ["-o", &other, "-q"],
            "the input and the output are one file",
        ),
        (
            ["--errors", &other, "-q"],
            "the input and the file of --errors",
        ),
    ] {
        let out = embed(&[&["--jsonl", &docs], &args[..]].concat(), b"");
        failed(&out, 2, &[words]);
        assert_eq!(fs::read(&docs).unwrap(), LINES);
    }
    let both = path("both.jsonl");
    let out = embed(&["--jsonl", &docs, "-o", &both, "--errors", &both], b"");
    failed(&out, 2, &["the output and the file of --errors"]);

    let lines = path("lines.txt");
    fs::write(&lines, "a\nb\n").unwrap();
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_akidb-embed"))
        .args(["embed", "-m", "akidb-mini", "-o", &lines])
        .stdin(fs::File::open(&lines).unwrap())
        .status();
    assert_eq!(out.unwrap().code(), Some(2));
    assert_eq!(fs::read_to_string(&lines).unwrap(), "a\nb\n");

    let out = embed(&[&lines, "--dim", "2"], b"");
    assert!(
        out.code == 0 && out.stderr.contains("is taken as a text"),
        "{}",
        out.stderr
    );
    let out = embed(&["-", "--format", "text"], b"a\nb\n");
    assert_eq!((out.code, out.stdout.lines().count()), (0, 2));
}

#[test]
fn what_the_input_is_not_is_told() {
    let utf_16 = embed(&[], b"\xff\xfeh\0i\0\n\0");
    failed(&utf_16, 1, &["UTF-16", "hint: convert it to UTF-8"]);
    let ids = embed(
        &["--jsonl", "-", "--format", "text"],
        b"{\"text\": [1, -1]}\n",
    );
    assert!(
        ids.stderr.contains("entry 1 of it is no token id"),
        "{}",
        ids.stderr
    );
    let rows = b"{\"text\": \"a\", \"url\": 1}\n";
    let out = embed(&["--jsonl", "-", "--keep", "url,urll"], rows);
    assert!(
        out.code == 0 && out.stderr.contains("no row has the field \"urll\""),
        "{}",
        out.stderr
    );
}

#[test]
fn a_hint_is_one_for_all_rows_that_failed() {
    for (rows, hint) in [
        (
            &b"{\"text\": null}\n{\n"[..],
            "hint: each line above says why",
        ),
        (b"{}\n{\"a\": 1}\n", "hint: name the field with --field"),
    ] {
        let out = embed(&["--jsonl", "-", "--format", "text"], rows);
        assert_eq!(out.code, 1);
        assert!(out.stderr.contains(hint), "{}", out.stderr);
    }
}

#[cfg(unix)]
#[test]
fn only_regular_files_are_replaced() {
    use std::os::unix::fs::{FileTypeExt, symlink};
    use std::process::{Command, Stdio};
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let to = |path: &Path| embed(&["--format", "text", "-o", path.to_str().unwrap()], b"a\n");

    symlink("target", at("link")).unwrap();
    assert_eq!(to(&at("link")).code, 0);
    assert!(at("link").is_symlink() && at("target").is_file());
    let expected = fs::read(at("target")).unwrap();

    assert!(
        Command::new("mkfifo")
            .arg(at("pipe"))
            .status()
            .unwrap()
            .success()
    );
    let reader = Command::new("cat")
        .arg(at("pipe"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    assert_eq!(to(&at("pipe")).code, 0);
    assert_eq!(reader.wait_with_output().unwrap().stdout, expected);
    let kind = fs::symlink_metadata(at("pipe")).unwrap().file_type();
    assert!(kind.is_fifo());

    // What the shell has opened goes on where it stood.
    let file = fs::File::create(at("opened")).unwrap();
    for _ in 0..2 {
        let status = Command::new(env!("CARGO_BIN_EXE_akidb-embed"))
            .args(["embed", "a", "-q", "-m", "akidb-mini", "--format", "text"])
            .args(["-o", "/dev/stdout"])
            .stdout(file.try_clone().unwrap())
            .status();
        assert!(status.unwrap().success());
    }
    assert_eq!(
        fs::read(at("opened")).unwrap(),
        [&expected[..], &expected].concat()
    );
    assert_eq!(
        embed(&["--format", "text", "-o", "/dev/stdout"], b"a\n").bytes,
        expected
    );
}

#[cfg(unix)]
mod ended {
    use std::io::{Read, Write};
    use std::path::Path;
    use std::process::{Child, Command, Stdio};
    use std::time::Duration;

    use super::*;

    /// What has been read of it before the rest, which never comes.
    const FIRST: usize = 128;

    /// The program, when it has written [`FIRST`] lines and waits for more.
    fn started(to: &Path) -> Child {
        let mut child = Command::new(env!("CARGO_BIN_EXE_akidb-embed"))
            .args(["embed", "-m", "akidb-mini", "--dim", "1", "-o"])
            .arg(to)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = b"line\n".repeat(FIRST + 70);
        child.stdin.as_mut().unwrap().write_all(&lines).unwrap();
        let directory = to.parent().unwrap();
        // The header of csv is one of them.
        let wanted = FIRST + usize::from(to.ends_with("out.csv"));
        let written = || -> usize {
            let lines = names(directory).into_iter().map(|name| {
                let text = fs::read(directory.join(name)).unwrap_or_default();
                text.iter().filter(|byte| **byte == b'\n').count()
            });
            lines.sum()
        };
        for _ in 0..1200 {
            if written() >= wanted {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(written() >= wanted);
        child
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap().flatten();
        entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    }

    fn kill(mut child: Child, signal: &str) -> (Option<i32>, String) {
        let kill = Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status();
        assert!(kill.unwrap().success());
        let mut stderr = String::new();
        let mut pipe = child.stderr.take().unwrap();
        pipe.read_to_string(&mut stderr).unwrap();
        (child.wait().unwrap().code(), stderr)
    }

    #[test]
    fn an_interrupt_keeps_whole_lines_and_says_where_it_stopped() {
        let dir = tempfile::tempdir().unwrap();
        for (name, head) in [("out.jsonl", 0), ("out.csv", 1)] {
            let to = dir.path().join(name);
            fs::write(&to, "of an earlier run").unwrap();
            let (code, stderr) = kill(started(&to), "-INT");
            assert_eq!(code, Some(130));
            let partial = format!("{}.partial", to.display());
            let words = "interrupted: the last row written is that of line ";
            assert!(
                stderr.contains(words) && stderr.contains(&partial),
                "{stderr}"
            );
            let last = stderr.split(words).nth(1).unwrap();
            let last: usize = last.split(';').next().unwrap().parse().unwrap();
            assert!(last >= FIRST, "{stderr}");
            let kept = fs::read_to_string(&partial).unwrap();
            assert_eq!(kept.lines().count(), last + head);
            assert!(kept.ends_with('\n'));
            assert_eq!(fs::read_to_string(&to).unwrap(), "of an earlier run");
            assert_eq!(names(dir.path()).len(), 2, "{:?}", names(dir.path()));
            fs::remove_file(partial).unwrap();
            fs::remove_file(to).unwrap();
        }
    }

    #[test]
    fn what_a_killed_run_leaves_is_named_and_removed_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("out.jsonl");
        let (code, _) = kill(started(&to), "-KILL");
        assert_eq!(code, None);
        let left = names(dir.path());
        assert!(left.len() == 1 && left[0].contains("out.jsonl"), "{left:?}");
        let out = embed(&["-o", to.to_str().unwrap()], b"a\n");
        assert_eq!(out.code, 0, "{}", out.stderr);
        assert_eq!(names(dir.path()), ["out.jsonl"]);
    }
}
