//! What is said of a library that can't be used. A process of its own: one that has opened a library
//! says of every other that it is open, so that no test here opens one that works.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use akidb_onnxruntime::{Library, LibraryProblem, LibrarySearch, OnnxRuntimeError};

use common::chain;

fn open(path: &Path) -> OnnxRuntimeError {
    let search = LibrarySearch {
        library: Some(path.to_owned()),
        ..LibrarySearch::default()
    };
    Library::find(&search).unwrap_err()
}

fn problem(path: &Path) -> LibraryProblem {
    match open(path) {
        OnnxRuntimeError::Library(error) => error.problem,
        other => panic!("{other}"),
    }
}

#[test]
fn a_file_that_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path().join("none.so"), dir.path().to_owned()] {
        assert!(matches!(problem(&path), LibraryProblem::Missing));
    }
    let error = open(&dir.path().join("none.so"));
    assert!(chain(&error).contains("none.so"), "{}", chain(&error));
    assert!(error.hint().unwrap().contains("1.22"));
}

#[test]
fn a_file_that_is_no_library() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        file.path(),
        "not a library, but long enough for a header, by some bytes more",
    )
    .unwrap();
    assert!(matches!(problem(file.path()), LibraryProblem::Open(_)));
}

#[test]
fn a_library_for_other_processors() {
    let other: u8 = if cfg!(target_arch = "x86_64") {
        0xb7
    } else {
        0x3e
    };
    let mut elf = vec![0; 128];
    elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
    elf[18] = other;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), elf).unwrap();
    let message = chain(&open(file.path()));
    assert!(message.contains("built for"), "{message}");
    assert!(message.contains(std::env::consts::ARCH), "{message}");
}

/// A shared library made of `source` by the C compiler.
fn compiled(dir: &Path, source: &str) -> Option<PathBuf> {
    let (code, library) = (dir.join("lib.c"), dir.join("libonnxruntime.so.9"));
    std::fs::write(&code, source).unwrap();
    let mut compiler = Command::new("cc");
    let compiler = compiler.args(["-shared", "-fPIC", "-o"]);
    match compiler.arg(&library).arg(&code).status() {
        Ok(status) if status.success() => Some(library),
        _ => {
            akidb_testing::skip("no C compiler to make a library with");
            None
        }
    }
}

const OLD: &str = r#"
static const void *get_api(unsigned v) { return 0; }
static const char *version(void) { return "1.16.3"; }
static const struct { const void *(*a)(unsigned); const char *(*b)(void); } base = { get_api, version };
const void *OrtGetApiBase(void) { return &base; }
"#;

#[cfg(target_os = "linux")]
#[test]
fn a_library_that_is_too_old_by_name_and_by_search() {
    let dir = tempfile::tempdir().unwrap();
    let Some(library) = compiled(dir.path(), OLD) else {
        return;
    };
    let error = open(&library);
    assert!(chain(&error).contains("it is ONNX Runtime 1.16.3; 1.22 or newer is needed"));
    assert!(error.hint().unwrap().contains("pip install"));

    // By search it is passed over, and named when nothing better turns up.
    let search = LibrarySearch {
        directories: vec![dir.path().to_owned()],
        ..LibrarySearch::default()
    };
    if let Err(OnnxRuntimeError::NoLibrary { unusable }) = Library::find(&search) {
        assert!(unusable.iter().any(|error| error.path == library));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_library_that_is_something_else() {
    let dir = tempfile::tempdir().unwrap();
    if let Some(library) = compiled(dir.path(), "int nothing(void) { return 0; }") {
        assert!(matches!(problem(&library), LibraryProblem::NotOnnxRuntime));
    }
}
