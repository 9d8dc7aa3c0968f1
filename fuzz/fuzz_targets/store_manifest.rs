//! Any bytes as a JSON file of the model store: list, find, verify and remove what it describes.
//! Nothing else in the store is touched, and what an interrupted import announced is no part of a model.
#![no_main]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use akidb_models::{Removal, Store};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

const ID: &str = "owner/model";
const COMMIT: &str = "00112233445566778899aabbccddeeff00112233";

/// What the first byte chooses from; where it is large, a model is installed beside the last.
const FILES: [&str; 3] = [
    "models/owner/model/akidb-model.json",
    "catalog.json",
    "models/owner/model/.akidb-model.json.pending",
];

/// A manifest of the files that [`fill`] makes, behind a byte.
const INSTALLED: &[u8] = include_bytes!("../seeds/store_manifest/manifest");

static HOME: LazyLock<TempDir> = LazyLock::new(|| {
    // In memory where that can be: files are synced.
    let directory = ["/dev/shm", "/tmp"]
        .into_iter()
        .find(|d| Path::new(d).is_dir());
    directory
        .map_or_else(TempDir::new, TempDir::new_in)
        .unwrap()
});

/// Files that a manifest may describe, in and beside the model.
fn fill(home: &Path) {
    let snapshot = format!("home/models/{ID}/snapshots/{COMMIT}");
    for file in [
        "config.json",
        "tokenizer.json",
        "onnx/model.onnx",
        "onnx/model_int8.onnx",
    ] {
        put(&home.join(&snapshot).join(file));
    }
    put(&home.join(format!("home/models/{ID}/.partial/part")));
    for file in others() {
        put(&home.join(file));
    }
}

/// Files of other models, and outside.
fn others() -> [&'static str; 4] {
    [
        "home/models/owner/other/config.json",
        "home/models/owner/model/notes.txt",
        "home/settings.json",
        "outside/config.json",
    ]
}

fn put(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, "{}").unwrap();
}

/// All files with their contents.
fn tree(directory: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tree(&path, found);
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&which, bytes)) = data.split_first() else {
        return;
    };
    let top = HOME.path();
    let home = top.join("home");
    fill(top);
    let file = home.join(FILES[usize::from(which) % FILES.len()]);
    fs::write(&file, bytes).unwrap();
    if file.ends_with(FILES[2]) && which > 127 {
        let manifest = home.join(FILES[0]);
        fs::write(&manifest, &INSTALLED[1..]).unwrap();
        let store = Store::open(Some(home.clone()), None).unwrap();
        let unfinished = store.unfinished().unwrap();
        assert!(unfinished.iter().all(|model| model.id.as_str() == ID));
        // A directory in a file's place isn't deleted.
        if let Ok(removed) = store.remove(ID, &Removal::Unfinished) {
            assert!(removed.files.iter().all(|file| !file.exists()));
            assert_eq!(store.unfinished().unwrap(), []);
        }
        let verified = store.verify(ID, &mut |_| {}).unwrap();
        assert_eq!((verified.damaged, verified.unknown), (vec![], 0));
        fill(top);
        fs::write(&file, bytes).unwrap();
    }
    if let Ok(store) = Store::open(Some(home.clone()), None) {
        for entry in store.catalog().models() {
            assert_eq!(store.catalog().get(&entry.id), Some(entry));
        }
        let _ = (
            store.find("qwen3-embedding-0.6b"),
            store.unused(Duration::ZERO),
            store.unfinished(),
        );
        for model in store.installed().into_iter().flatten() {
            let _ = (model.variants(), model.last_used());
            model.mark_used();
        }
        let _ = (store.find(ID), store.verify(ID, &mut |_| {}));
        for what in [
            Removal::Unfinished,
            Removal::Variant("int8".into()),
            Removal::Keep("f32".into()),
            Removal::All,
        ] {
            let _ = store.remove(ID, &what);
        }
    }
    let mut left = BTreeMap::new();
    tree(top, &mut left);
    for other in others() {
        assert_eq!(
            left.get(&top.join(other)).map(Vec::as_slice),
            Some(&b"{}"[..]),
            "{other}"
        );
    }
    let _ = fs::remove_dir_all(home.join("models/owner/model"));
    let _ = fs::remove_file(&file);
});
