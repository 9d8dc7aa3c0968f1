//! Files that are written to while an engine has them mapped.

use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use akidb_backend::{Backend, BackendError, BackendErrorKind, TokenBatch};
use akidb_native::{Engine, EngineOptions, PackedCache, SourceFile};
use akidb_testing::fixture;
use akidb_transformer::{DecoderConfig, decoder_from_safetensors};

/// An engine of a copy of `tiny` in `directory`, and its files: the weights, and the pack where
/// there is one.
fn engine(directory: &Path) -> (Engine, Vec<PathBuf>) {
    let weights = directory.join("model.safetensors");
    if !weights.exists() {
        fs::copy(fixture("tiny/model.safetensors"), &weights).unwrap();
    }
    let config = DecoderConfig::open(&fixture("tiny/config.json")).unwrap();
    let decoder = decoder_from_safetensors(&weights, &config).unwrap();
    let packed = directory.join("packed");
    let cache = PackedCache::new(packed.clone(), vec![SourceFile::new(&weights).unwrap()]);
    let options = EngineOptions {
        packed_cache: Some(cache.min_bytes(0)),
        ..EngineOptions::default()
    };
    let engine = Engine::new(&decoder, options).unwrap();
    let packs = fs::read_dir(packed).unwrap();
    let files = packs.map(|entry| entry.unwrap().path()).chain([weights]);
    (engine, files.collect())
}

fn row(engine: &Engine) -> Result<Vec<f32>, BackendError> {
    let batch: TokenBatch = [[1, 2, 3]].into_iter().collect();
    let mut row = vec![0.0; engine.info().hidden_size];
    engine.forward(&batch, &mut row).map(|()| row)
}

#[test]
fn a_file_that_is_cut_under_the_engine_is_named_before_a_pass() {
    for attacked in [0, 1] {
        let directory = tempfile::tempdir().unwrap();
        engine(directory.path());
        let (engine, files) = engine(directory.path());
        assert!(engine.is_from_cache());
        row(&engine).unwrap();
        // As `cp` does first; a page of it that is then read raises SIGBUS.
        let file = File::options().write(true).open(&files[attacked]).unwrap();
        file.set_len(0).unwrap();
        let error = row(&engine).unwrap_err();
        assert_eq!(error.kind(), BackendErrorKind::Failed);
        let cause = error.source().unwrap().to_string();
        let name = files[attacked].display().to_string();
        assert!(cause.contains(&name), "{cause}");
        assert!(cause.contains("renaming"), "{cause}");
    }
}

#[test]
fn files_that_are_replaced_by_renaming_disturb_no_engine() {
    let directory = tempfile::tempdir().unwrap();
    engine(directory.path());
    let (engine, files) = engine(directory.path());
    let before = row(&engine).unwrap();
    for file in files {
        let new = file.with_extension("new");
        fs::write(&new, "something else").unwrap();
        fs::rename(new, file).unwrap();
    }
    assert_eq!(row(&engine).unwrap(), before);
}
