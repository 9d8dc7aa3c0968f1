//! Any bytes as a bundle: import it. A model that is there afterwards is whole, and nothing outside
//! its directory is touched.
#![no_main]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use akidb_models::{Removal, Store};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

/// Size of a header, and of what files are padded to.
const BLOCK: usize = 512;

static TOP: LazyLock<TempDir> = LazyLock::new(|| {
    // In memory where that can be: files are synced.
    let directory = ["/dev/shm", "/tmp"]
        .into_iter()
        .find(|d| Path::new(d).is_dir());
    directory
        .map_or_else(TempDir::new, TempDir::new_in)
        .unwrap()
});

/// Makes the checksums of the headers agree: otherwise no change of one would get further.
fn with_checksums(data: &[u8]) -> Vec<u8> {
    let mut bytes = data.to_vec();
    let mut at = 0;
    while let Some(block) = bytes
        .get_mut(at..)
        .and_then(|rest| rest.first_chunk_mut::<BLOCK>())
    {
        if block.iter().all(|byte| *byte == 0) {
            break;
        }
        let mut header = tar::Header::from_byte_slice(block).clone();
        header.set_cksum();
        block.copy_from_slice(header.as_bytes());
        let size = header.entry_size().unwrap_or(0);
        let Ok(size) = usize::try_from(size) else {
            break;
        };
        let Some(next) = size
            .checked_next_multiple_of(BLOCK)
            .and_then(|n| n.checked_add(at))
        else {
            break;
        };
        at = next.saturating_add(BLOCK);
    }
    bytes
}

/// All files but the store's locks.
fn tree(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with(".locks") {
                tree(&path, found);
            }
        } else {
            found.push(path);
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let top = TOP.path();
    let home = top.join("home");
    let file = top.join("model.tar");
    fs::write(&file, with_checksums(data)).unwrap();
    let store = Store::open(Some(home.clone()), None).unwrap();
    if let Ok(manifest) = store.import(&file, false, &mut |_| {}) {
        let id = manifest.id.as_str();
        let model = store.find(id).unwrap().unwrap();
        assert!(model.root.starts_with(&home));
        let verified = store.verify(id, &mut |_| {}).unwrap();
        assert_eq!((verified.damaged, verified.unknown), (vec![], 0));
        let second = top.join("second.tar");
        store.export(id, &second, &mut |_| {}).unwrap();
        fs::remove_file(&second).unwrap();
        assert!(store.remove(id, &Removal::All).unwrap().whole);
    }
    let mut left = Vec::new();
    tree(top, &mut left);
    assert_eq!(left, [file]);
    let _ = fs::remove_dir_all(&home);
});
