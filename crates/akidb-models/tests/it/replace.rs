//! Other files take the place of installed ones: afterwards, and at every moment before, the model is
//! the old one or the new one.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{COMMIT, ID, Setup, setup, tree};
use akidb_models::{Error, Removal, Store};
use akidb_testing::HubFile;

/// Files of a model that differ with `letter`, in content and not in size.
fn files(letter: u8, more: &[&'static str]) -> Vec<(&'static str, HubFile)> {
    let names = ["config.json", "tokenizer.json", "onnx/model_int8.onnx"];
    let names = names.iter().chain(more);
    names
        .map(|name| (*name, HubFile::small(vec![letter; 1_000])))
        .collect()
}

/// A bundle of such files, all of the same revision.
fn bundle(setup: &Setup, letter: u8, more: &[&'static str]) -> PathBuf {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(Some(home.path().to_owned()), None).unwrap();
    setup.hub.put(ID, COMMIT, files(letter, more));
    let hub = akidb_models::Hub::new(setup.options.clone()).unwrap();
    hub.pull(&store, &crate::common::request("int8"), &|_| ())
        .unwrap();
    let to = setup
        .home
        .path()
        .join(format!("{}.tar", char::from(letter)));
    store.export(ID, &to, &mut |_| {}).unwrap();
    to
}

impl Setup {
    fn import(&self, file: &Path, replace: bool) -> Result<PathBuf, Error> {
        self.store.import(file, replace, &mut |_| {})?;
        Ok(self.store.find(ID)?.unwrap().root)
    }

    fn model(&self) -> PathBuf {
        self.home.path().join("models").join(ID)
    }

    /// The model's files are those with this letter.
    fn has(&self, letter: u8) {
        let root = self.store.find(ID).unwrap().unwrap().root;
        for (name, file) in files(letter, &[]) {
            assert_eq!(fs::read(root.join(name)).unwrap(), file.bytes(), "{name}");
        }
        let verified = self.store.verify(ID, &mut |_| {}).unwrap();
        assert_eq!(verified.damaged, Vec::<String>::new());
    }
}

#[test]
fn other_files_of_the_same_revision_get_a_directory_of_their_own() {
    let setup = setup();
    let [a, b] = [b'a', b'b'].map(|letter| bundle(&setup, letter, &[]));
    let first = setup.import(&a, false).unwrap();
    assert!(setup.import(&b, false).is_err());
    setup.has(b'a');
    let second = setup.import(&b, true).unwrap();
    setup.has(b'b');
    assert_ne!(first, second);
    assert!(!first.exists());
    assert_eq!(setup.import(&a, true).unwrap(), first);
    setup.has(b'a');
    assert!(!second.exists());
    assert_eq!(setup.store.unfinished().unwrap(), []);

    // The same model makes the same bundle, wherever it lies and whenever it came.
    setup.import(&b, true).unwrap();
    let path = setup.model().join("akidb-model.json");
    let mut manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    manifest["installed"] = 1_000.into();
    manifest["verified"] = 2_000.into();
    fs::write(&path, manifest.to_string()).unwrap();
    let again = setup.home.path().join("again.tar");
    setup.store.export(ID, &again, &mut |_| {}).unwrap();
    assert!(fs::read(&b).unwrap() == fs::read(&again).unwrap());
}

#[test]
fn a_file_with_the_name_of_an_installed_directory() {
    let setup = setup();
    let a = bundle(&setup, b'a', &["1_Pooling/config.json"]);
    // Its licence becomes a file with the name of the other's directory.
    let renamed = setup.home.path().join("renamed.tar");
    let with_license = bundle(&setup, b'b', &["LICENSE.txt"]);
    rename_in_bundle(&with_license, &renamed, "LICENSE.txt", "1_Pooling");
    setup.import(&a, false).unwrap();
    assert!(setup.import(&renamed, false).is_err());
    setup.has(b'a');
    let root = setup.import(&renamed, true).unwrap();
    setup.has(b'b');
    assert!(root.join("1_Pooling").is_file());
    setup.import(&a, true).unwrap();
    setup.has(b'a');

    // In one bundle, no disk could hold both.
    let both = bundle(&setup, b'c', &["1_Pooling/config.json", "LICENSE.txt"]);
    rename_in_bundle(&both, &renamed, "LICENSE.txt", "1_Pooling");
    let error = setup.import(&renamed, true).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("another's directory"), "{source}");
    setup.has(b'a');
}

/// Writes a bundle anew with another name for one of its files.
fn rename_in_bundle(from: &Path, to: &Path, old: &str, new: &str) {
    let mut archive = tar::Archive::new(fs::File::open(from).unwrap());
    let mut renamed = tar::Builder::new(fs::File::create(to).unwrap());
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
        let mut header = entry.header().clone();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        if path == "akidb-model.json" {
            let json = String::from_utf8(bytes).unwrap();
            bytes = json
                .replace(&format!("\"{old}\""), &format!("\"{new}\""))
                .into();
            header.set_size(bytes.len() as u64);
        } else if path == old {
            header.set_path(new).unwrap();
        }
        header.set_cksum();
        renamed.append(&header, bytes.as_slice()).unwrap();
    }
    renamed.finish().unwrap();
}

#[test]
fn a_pull_takes_back_what_a_bundle_replaced() {
    let setup = setup();
    let b = bundle(&setup, b'b', &[]);
    let mut right = files(b'b', &[]);
    right.retain(|(name, _)| *name != "config.json");
    right.push(("config.json", HubFile::small(vec![b'a'; 1_000])));
    setup.import(&b, false).unwrap();
    setup.hub.put(ID, COMMIT, right);
    let sent = setup.hub.sent();
    let root = setup.pull("int8").unwrap().root;
    assert_eq!(
        setup.hub.sent() - sent,
        1_000,
        "what is right is not fetched again"
    );
    assert_eq!(
        fs::read(root.join("config.json")).unwrap(),
        vec![b'a'; 1_000]
    );
    assert_eq!(
        fs::read(root.join("tokenizer.json")).unwrap(),
        vec![b'b'; 1_000]
    );
    assert!(
        setup
            .store
            .verify(ID, &mut |_| {})
            .unwrap()
            .damaged
            .is_empty()
    );
    assert_eq!(setup.store.find(ID).unwrap().unwrap().root, root);
}

/// As an import is killed when all files are in place and the manifest isn't.
fn killed_before_the_end(setup: &Setup) {
    let model = setup.model();
    fs::rename(
        model.join("akidb-model.json"),
        model.join(".akidb-model.json.pending"),
    )
    .unwrap();
}

#[test]
fn what_a_killed_import_has_put_into_place_is_seen_and_removed() {
    for whole in [Removal::Unfinished, Removal::All] {
        let setup = setup();
        let a = bundle(&setup, b'a', &[]);
        setup.import(&a, false).unwrap();
        killed_before_the_end(&setup);
        setup.nothing_is_visible();
        let unfinished = setup.store.unfinished().unwrap();
        assert_eq!(unfinished.len(), 1);
        assert!(unfinished[0].bytes >= 3_000, "{unfinished:?}");
        let removed = setup.store.remove(ID, &whole).unwrap();
        assert_eq!(
            (removed.files.len(), removed.bytes),
            (3, unfinished[0].bytes)
        );
        let left = tree(&setup.home.path().join("models"));
        assert_eq!(left, [".locks/owner--model"]);
        assert_eq!(setup.store.unfinished().unwrap(), []);
    }
}

#[test]
fn the_next_import_or_pull_takes_the_place_of_a_killed_one() {
    let setup = setup();
    let a = bundle(&setup, b'a', &["LICENSE"]);
    let b = bundle(&setup, b'b', &[]);
    setup.import(&a, false).unwrap();
    killed_before_the_end(&setup);
    setup.import(&b, false).unwrap();
    setup.has(b'b');
    let files = tree(&setup.model());
    assert!(
        files.iter().all(|file| !file.contains("LICENSE")),
        "{files:?}"
    );

    // A pull uses what is right.
    killed_before_the_end(&setup);
    let sent = setup.hub.sent();
    setup.pull("int8").unwrap();
    setup.has(b'b');
    assert_eq!(setup.hub.sent(), sent);
    assert_eq!(setup.store.unfinished().unwrap(), []);
}

#[test]
fn a_killed_replacement_leaves_the_installed_model_alone() {
    let setup = setup();
    let [a, b] = [b'a', b'b'].map(|letter| bundle(&setup, letter, &[]));
    let root = setup.import(&a, false).unwrap();
    let manifest = setup.model().join("akidb-model.json");
    let installed = fs::read(&manifest).unwrap();
    setup.import(&b, true).unwrap();
    // Back to the moment before the manifest was renamed.
    killed_before_the_end(&setup);
    fs::write(&manifest, installed).unwrap();
    for (name, file) in files(b'a', &[]) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file.bytes()).unwrap();
    }
    setup.has(b'a');
    assert!(setup.store.unfinished().unwrap()[0].bytes >= 3_000);
    let removed = setup.store.remove(ID, &Removal::Unfinished).unwrap();
    assert_eq!(removed.files.len(), 3);
    setup.has(b'a');
    assert_eq!(setup.store.unfinished().unwrap(), []);
    assert_eq!(tree(&setup.model()).len(), 4);
}
