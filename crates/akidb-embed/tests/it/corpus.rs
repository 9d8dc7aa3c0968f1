//! `run`: a corpus exactly once.

use std::fs;
use std::path::Path;

use crate::common::{Outcome, akidb, failed, json, run_with};

/// A folder with `rows` rows in each of three files; its path, and that of an output beside it.
fn corpus(dir: &Path, rows: usize) -> (String, String) {
    let input = dir.join("in");
    fs::create_dir(&input).unwrap();
    for file in 0..3 {
        let line =
            |row: usize| format!("{{\"text\": \"text {row} of {file}\", \"url\": \"u{row}\"}}\n");
        let lines: String = (0..rows).map(line).collect();
        fs::write(input.join(format!("{file}.jsonl")), lines).unwrap();
    }
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    (path(&input), path(&dir.join("out")))
}

fn well(out: &Outcome) -> &str {
    assert_eq!((out.code, out.stdout.as_str()), (0, ""), "{}", out.stderr);
    out.stderr.lines().last().unwrap()
}

#[test]
fn the_same_command_goes_on_and_says_what_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out) = corpus(dir.path(), 40);
    let command = ["run", &input, "--out", &out, "--unit-rows", "25"];
    let first = akidb(&command);
    let last = format!("120 rows in, 120 out, 0 errors → {out}");
    assert_eq!(well(&first), last);
    assert!(
        first
            .stderr
            .starts_with("3 files, 120 rows, 6 units; at most "),
        "{}",
        first.stderr
    );
    // Nothing is left to do.
    let again = akidb(&command);
    assert_eq!(again.stderr, format!("{last}\n"));
    assert_eq!(akidb(&[&command[..], &["-q"]].concat()).stderr, "");
    // One is missing.
    let unit = fs::read_dir(&out).unwrap().flatten();
    let mut units = unit
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some());
    let unit = units
        .find(|path| path.extension().unwrap() == "parquet")
        .unwrap();
    let bytes = fs::read(&unit).unwrap();
    fs::remove_file(&unit).unwrap();
    failed(
        &akidb(&[&command[..], &["--finish"]].concat()),
        1,
        &["1 of 6 units missing", "hint: "],
    );
    let third = akidb(&command);
    assert_eq!(well(&third), last);
    assert!(
        third.stderr.contains("5 units there before"),
        "{}",
        third.stderr
    );
    assert_eq!(fs::read(&unit).unwrap(), bytes);
}

#[test]
fn other_work_is_refused_and_moved_aside_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out) = corpus(dir.path(), 5);
    well(&akidb(&["run", &input, "--out", &out]));
    let other = ["run", &input, "--out", &out, "--encoding", "int8"];
    failed(
        &akidb(&other),
        2,
        &["encoding is \"f32\" there and \"int8\" now", "--force"],
    );
    let forced = akidb(&[&other[..], &["--force"]].concat());
    assert_eq!(
        well(&forced),
        format!("15 rows in, 15 out, 0 errors → {out}")
    );
    assert!(forced.stderr.contains("out is now "), "{}", forced.stderr);
    assert!(Path::new(&format!("{out}.1/_manifest.json")).is_file());
    // The same work isn't moved.
    well(&akidb(&[&other[..], &["--force"]].concat()));
    assert!(!Path::new(&format!("{out}.2")).exists());
    failed(
        &akidb(&["run", &input, "--out", &input]),
        2,
        &["it is in the folder of the output"],
    );
}

#[test]
fn shards_are_named_by_number_or_by_the_scheduler() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out) = corpus(dir.path(), 8);
    let command = ["run", &input, "--out", &out, "--unit-rows", "4"];
    let with =
        |more: &[&'static str]| -> Vec<&str> { command.iter().chain(more).copied().collect() };
    let first = akidb(&with(&["--shard", "1/3"]));
    assert!(
        well(&first).starts_with("shard 1/3: 8 rows, "),
        "{}",
        first.stderr
    );
    let slurm = [
        ("SLURM_ARRAY_TASK_ID", "12"),
        ("SLURM_ARRAY_TASK_MIN", "10"),
        ("SLURM_ARRAY_TASK_COUNT", "3"),
    ];
    well(&run_with(&with(&["--shard", "auto"]), b"", &slurm));
    failed(&akidb(&with(&["--finish"])), 1, &["2 units of shard 2/3"]);
    let status = akidb(&["run", "--status", &out]);
    assert_eq!((status.code, status.stderr.as_str()), (0, ""));
    assert!(
        status
            .stdout
            .starts_with("4 of 6 units there, 16 of 24 rows (66.7 %), 0 errors, 0 worked on\n"),
        "{}",
        status.stdout
    );
    let job = [("JOB_COMPLETION_INDEX", "1")];
    well(&run_with(&with(&["--shard", "auto/3"]), b"", &job));
    well(&akidb(&with(&["--finish"])));
    let status = akidb(&["run", "--status", &out, "--watch"]);
    assert!(
        status.stdout.contains("6 of 6 units there") && status.stdout.contains("finished"),
        "{}",
        status.stdout
    );
    failed(
        &akidb(&with(&["--shard", "auto"])),
        2,
        &["SLURM_ARRAY_TASK_ID"],
    );
    assert_eq!(akidb(&with(&["--shard", "4/3"])).code, 2);
    failed(
        &akidb(&["run", "--status", &input]),
        2,
        &["no work was begun"],
    );
}

#[test]
fn bad_rows_are_told_and_too_many_are_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out) = corpus(dir.path(), 50);
    fs::write(format!("{input}/bad.jsonl"), "{}\n{\"text\": 1}\n").unwrap();
    let command = ["run", &input, "--out", &out, "-q"];
    failed(
        &akidb(&command),
        1,
        &[
            "2 of 152 rows failed",
            "row 0: it has no field \"text\"",
            "--max-error-rate",
        ],
    );
    let allowed = akidb(&[&command[..4], &["--max-error-rate", "2%"]].concat());
    assert_eq!(
        well(&allowed),
        format!("152 rows in, 150 out, 2 errors → {out}")
    );
    failed(&akidb(&command), 1, &["2 of 152 rows failed"]);
    assert_eq!(
        akidb(&[&command[..], &["--max-error-rate", "2"]].concat()).code,
        2
    );
}

#[test]
fn what_is_meant_wrongly_is_told_before_work_begins() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out) = corpus(dir.path(), 2);
    for (args, words) in [
        (&["--text", "a,b"][..], &["--template \"{a}\\n{b}\""][..]),
        (&["--template", "{a"], &["a brace is not closed"]),
        (&["--template", "{a}", "--text", "b"], &["--text b"]),
        (
            &["--keep", "nothing"],
            &["no column \"nothing\"", "text, url"],
        ),
        (&["--keep", "url,error"], &["\"error\" can't be kept"]),
        (&["--unit-rows", "0"], &["a unit has a row at least"]),
        (&["--dim", "100000"], &["100000"]),
    ] {
        let args = [&["run", &input, "--out", &out], args].concat();
        failed(&akidb(&args), 2, words);
    }
    failed(
        &akidb(&["run", "no-such-file.jsonl", "--out", &out]),
        2,
        &["there is no such file"],
    );
    assert_eq!(akidb(&["run", &input]).code, 2);
    assert!(!Path::new(&out).exists());
}

#[test]
fn machines_are_told_in_json() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out) = corpus(dir.path(), 3);
    let told = akidb(&[
        "run",
        &input,
        "--out",
        &out,
        "--keep",
        "url",
        "--log-json",
        "-q",
    ]);
    well_json(&told);
    let manifest = json(&fs::read_to_string(format!("{out}/_manifest.json")).unwrap());
    assert_eq!(manifest["rows_out"], 9);
    assert_eq!(manifest["units"][2]["file"], "2.jsonl");
    assert_eq!(manifest["fingerprint"]["keep"], "url");
}

fn well_json(out: &Outcome) {
    assert_eq!(out.code, 0, "{}", out.stderr);
    let events: Vec<_> = out.stderr.lines().map(json).collect();
    let mut written = events.iter().filter(|event| event["event"] == "written");
    assert_eq!(written.clone().count(), 3, "{}", out.stderr);
    assert_eq!(written.next_back().unwrap()["units_there"], 3);
}
