//! Any bytes as a file of a corpus, of which kind the first byte says: what is planned is what is read, and
//! each row comes out or is an error.
#![no_main]

use std::fs;
use std::sync::LazyLock;
use std::sync::atomic::AtomicBool;

use akidb_bulk::NoListener;
use akidb_bulk::corpus::{CorpusSettings, Folder, Keep, Manifest, Plan, Runner};
use akidb_embedding::{BackendChoice, EmbedOptions, Embedder};
use libfuzzer_sys::fuzz_target;

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/akidb-testing/fixtures/tiny");
const NAMES: [&str; 4] = ["a.jsonl", "a.csv", "a.tsv", "a.txt"];

/// Longer texts are the model's work, not the readers'.
const MOST_BYTES: usize = 4096;

static EMBEDDER: LazyLock<Embedder> = LazyLock::new(|| {
    let builder = Embedder::builder().model(FIXTURE).backend(BackendChoice::Native).threads(1);
    builder.build().unwrap()
});

fuzz_target!(|data: &[u8]| {
    let Some((&which, content)) = data.split_first() else {
        return;
    };
    if content.len() > MOST_BYTES {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (path, out) = (dir.path().join(NAMES[usize::from(which) % NAMES.len()]), dir.path().join("out"));
    fs::write(&path, content).unwrap();
    let options = EmbedOptions::default();
    let settings = CorpusSettings {
        inputs: vec![path.to_string_lossy().into_owned()],
        keep: if which & 0x80 == 0 { Keep::All } else { Keep::Columns(Vec::new()) },
        unit_rows: 3,
        ..CorpusSettings::default()
    };
    // A header without a column for texts, or with one that can't be kept.
    let Ok(plan) = Plan::new(&settings, &EMBEDDER, &options, &out, None) else {
        return;
    };
    let folder = Folder::begin(&out, &plan, None).unwrap();
    let runner = Runner::new(&EMBEDDER, &options, &plan, &folder).unwrap();
    runner.run(&plan.units, &AtomicBool::new(false), &mut NoListener).unwrap();
    let manifest = Manifest::finish(&out, &plan).unwrap();
    assert_eq!(manifest.rows_in, manifest.rows_out + manifest.errors);
});
