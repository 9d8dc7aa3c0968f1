//! What is refused, and when: before work begins, or without half a file.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use akidb_bulk::NoListener;
use akidb_bulk::corpus::{CorpusError, Folder, Keep, Manifest, Runner};
use akidb_embedding::Encoding;
use arrow_array::types::Int32Type;
use arrow_array::{Int32Array, ListArray, StringArray};

use crate::common::Corpus;

fn error(corpus: &Corpus) -> CorpusError {
    let error = corpus.run().unwrap_err();
    assert!(!corpus.out().join("_manifest.json").exists());
    error
}

#[test]
fn columns_that_do_not_fit_are_told_before_work_begins() {
    let mut corpus = Corpus::new();
    let texts = || Arc::new(StringArray::from(vec!["a"]));
    corpus.write_parquet("a.parquet", 1, &[("body", texts()), ("n", texts())]);
    assert_eq!(
        error(&corpus).to_string().split(" has no ").last().unwrap(),
        "column \"text\"; it has body, n"
    );
    corpus.write_parquet("a.parquet", 1, &[("text", texts()), ("n", texts())]);
    corpus.write_parquet(
        "b.parquet",
        1,
        &[
            ("text", texts()),
            ("n", Arc::new(Int32Array::from(vec![1]))),
        ],
    );
    corpus.settings.keep = Keep::Columns(vec!["n".to_owned()]);
    assert!(matches!(error(&corpus), CorpusError::ColumnTypes { column, .. } if column == "n"));
    corpus.settings.keep = Keep::Columns(vec!["none".to_owned()]);
    assert!(matches!(error(&corpus), CorpusError::NoColumn { column, .. } if column == "none"));
    corpus.settings.keep = Keep::Columns(vec!["tokens".to_owned()]);
    assert!(matches!(error(&corpus), CorpusError::Reserved(column) if column == "tokens"));
    corpus.settings.keep = Keep::Columns(Vec::new());
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1)])]);
    corpus.write_parquet("b.parquet", 1, &[("text", Arc::new(lists))]);
    assert!(matches!(error(&corpus), CorpusError::ColumnType { column, .. } if column == "text"));
    assert!(!corpus.out().exists());
}

#[test]
fn damaged_files_are_told_before_work_begins() {
    let corpus = Corpus::new();
    for (name, content) in [
        ("a.parquet", &b"PAR1 and then something else PAR1"[..]),
        ("a.parquet", b""),
        ("a.jsonl.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\xff"),
        ("a.txt.zst", b"\x28\xb5\x2f\xfd"),
        ("a.txt.zst", b"no zstd"),
    ] {
        corpus.write(name, content);
        let error = error(&corpus);
        assert!(
            matches!(
                error,
                CorpusError::Read { .. } | CorpusError::Parquet { .. }
            ),
            "{name}: {error}"
        );
        fs::remove_file(corpus.path(name)).unwrap();
    }
    assert!(!corpus.out().exists());
}

#[test]
fn other_work_is_never_mixed() {
    let mut corpus = Corpus::new();
    corpus.write("a.txt", "one\ntwo\n");
    corpus.run().unwrap();
    corpus.options.encoding = Encoding::I8;
    let differences = |corpus: &Corpus| match corpus.run().unwrap_err() {
        CorpusError::OtherWork { differences, .. } => differences,
        other => panic!("{other}"),
    };
    assert_eq!(
        differences(&corpus),
        ["encoding is \"f32\" there and \"int8\" now"]
    );
    corpus.options.encoding = Encoding::F32;
    corpus.write("a.txt", "one\nTWO\n");
    assert_eq!(differences(&corpus), ["a.txt has changed"]);
    fs::remove_file(corpus.path("a.txt")).unwrap();
    corpus.write("b.txt", "one\n");
    assert_eq!(differences(&corpus), ["a.txt is no input any more"]);

    let aside = Folder::move_aside(&corpus.out()).unwrap().unwrap();
    assert!(aside.join("_manifest.json").is_file());
    assert_eq!(corpus.run().unwrap().rows_out, 1);
    // A folder of somebody else's.
    let theirs = corpus.dir.path().join("in");
    assert!(matches!(
        Folder::move_aside(&theirs),
        Err(CorpusError::NotAFolder(_))
    ));
    let plan = corpus.plan().unwrap();
    assert!(matches!(
        Folder::begin(&theirs, &plan, None),
        Err(CorpusError::NotAFolder(_))
    ));
}

#[test]
fn an_input_that_changes_midway_is_told_and_leaves_no_unit() {
    let mut corpus = Corpus::new();
    corpus.settings.unit_rows = 2;
    for (name, change) in [("a.txt", "one\n"), ("b.jsonl", ""), ("c.csv", "text\n")] {
        let content = match name {
            "a.txt" => "one\ntwo\nthree\n".to_owned(),
            "c.csv" => "text\none\ntwo\nthree\n".to_owned(),
            _ => "{\"text\": \"a\"}\n".repeat(3),
        };
        corpus.write(name, &content);
        let plan = corpus.plan().unwrap();
        let folder = Folder::begin(&corpus.out(), &plan, None).unwrap();
        let runner = Runner::new(&corpus.embedder, &corpus.options, &plan, &folder).unwrap();
        corpus.write(name, change);
        let error = runner
            .run(&plan.units, &AtomicBool::new(false), &mut NoListener)
            .unwrap_err();
        assert!(
            matches!(error, CorpusError::Changed { .. }),
            "{name}: {error}"
        );
        fs::remove_file(corpus.path(name)).unwrap();
        let error = runner.run_unit(&plan.units[0]).unwrap_err();
        assert!(matches!(error, CorpusError::Read { .. }), "{name}: {error}");
        let error = Manifest::finish(&corpus.out(), &plan).unwrap_err();
        assert!(
            matches!(error, CorpusError::Missing { units: 2, .. }),
            "{name}: {error}"
        );
        fs::remove_dir_all(corpus.out()).unwrap();
    }
}

#[test]
fn too_many_errors_are_the_end() {
    let corpus = Corpus::new();
    let lines: String = (0..100)
        .map(|n| {
            if n < 3 {
                "{}\n".to_owned()
            } else {
                format!("{{\"text\": \"{n}\"}}\n")
            }
        })
        .collect();
    corpus.write("a.jsonl", lines);
    let plan = corpus.plan().unwrap();
    let folder = Folder::begin(&corpus.out(), &plan, None).unwrap();
    let run = |rate: f64| {
        let runner = Runner::new(&corpus.embedder, &corpus.options, &plan, &folder).unwrap();
        let runner = runner.max_error_rate(rate);
        runner.run(&plan.units, &AtomicBool::new(false), &mut NoListener)
    };
    let error = run(0.02).unwrap_err();
    assert!(
        matches!(&error, CorpusError::TooManyErrors { errors: 3, rows: 100, first, .. } if first.starts_with("row 0: ")),
        "{error}"
    );
    run(0.03).unwrap();
    assert_eq!(Manifest::finish(&corpus.out(), &plan).unwrap().errors, 3);
}

#[cfg(unix)]
#[test]
fn an_output_that_cannot_be_written_is_told() {
    use std::os::unix::fs::PermissionsExt;

    let corpus = Corpus::new();
    corpus.write("a.txt", "one\n");
    fs::create_dir(corpus.out()).unwrap();
    fs::set_permissions(corpus.out(), fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(corpus.out().join("x"), "").is_ok() {
        fs::remove_file(corpus.out().join("x")).unwrap();
        println!("SKIPPED: a read-only folder (this user may write everywhere)");
        return;
    }
    assert!(matches!(error(&corpus), CorpusError::Write { .. }));
}
