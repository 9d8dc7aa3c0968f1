//! Models that travel as one file, and files that only look like one.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{ID, Setup, setup, tree};
use akidb_models::{BundleError, Error, ExportError, Manifest, Store};

fn exported() -> (Setup, PathBuf) {
    let setup = setup();
    setup.pull("int8").unwrap();
    let file = setup.home.path().join("model.tar");
    setup.store.export(ID, &file, &mut |_| {}).unwrap();
    (setup, file)
}

fn import(file: &Path) -> (tempfile::TempDir, Store, Result<Manifest, Error>) {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(Some(home.path().to_owned()), None).unwrap();
    let result = store.import(file, false, &mut |_| {});
    (home, store, result)
}

fn why(error: Error) -> BundleError {
    match error {
        Error::Bundle { source, .. } => source,
        other => panic!("{other}"),
    }
}

/// Fails, and leaves no file behind.
fn refused(file: &Path) -> BundleError {
    let (home, store, result) = import(file);
    assert!(store.installed().unwrap().is_empty());
    let files = tree(home.path());
    assert!(files.iter().all(|f| f.contains(".locks")), "{files:?}");
    why(result.unwrap_err())
}

/// The entries of a bundle, to be changed and written again.
fn entries(file: &Path) -> Vec<(tar::Header, Vec<u8>)> {
    let mut archive = tar::Archive::new(fs::File::open(file).unwrap());
    let entry = |entry: std::io::Result<tar::Entry<'_, fs::File>>| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
        (entry.header().clone(), bytes)
    };
    archive.entries().unwrap().map(entry).collect()
}

fn write(file: &Path, entries: &[(tar::Header, Vec<u8>)]) {
    let mut archive = tar::Builder::new(fs::File::create(file).unwrap());
    for (header, bytes) in entries {
        archive.append(header, bytes.as_slice()).unwrap();
    }
    archive.finish().unwrap();
}

fn with_name(header: &tar::Header, name: &str) -> tar::Header {
    let mut header = header.clone();
    // Past the library's own checks.
    let field = &mut header.as_ustar_mut().unwrap().name;
    field.fill(0);
    field[..name.len()].copy_from_slice(name.as_bytes());
    header.set_cksum();
    header
}

#[test]
fn a_model_survives_the_journey() {
    let (setup, file) = exported();
    assert!(!setup.home.path().join("model.tar.partial").exists());
    let (_home, store, result) = import(&file);
    let manifest = result.unwrap();
    assert_eq!(manifest.id.as_str(), ID);
    let there = store.find(ID).unwrap().unwrap();
    let here = setup.store.find(ID).unwrap().unwrap();
    assert_eq!(there.revision, here.revision);
    assert_eq!(
        there.manifest().unwrap().files,
        here.manifest().unwrap().files
    );
    assert!(store.verify(ID, &mut |_| {}).unwrap().damaged.is_empty());
    // Once more is no harm, and the same model makes the same file.
    store.import(&file, false, &mut |_| {}).unwrap();
    let other = setup.home.path().join("other.tar");
    setup.store.export(ID, &other, &mut |_| {}).unwrap();
    assert!(fs::read(&file).unwrap() == fs::read(&other).unwrap());
}

#[test]
fn a_damaged_model_is_not_exported() {
    let (setup, file) = exported();
    fs::remove_file(&file).unwrap();
    let root = setup.store.find(ID).unwrap().unwrap().root;
    fs::write(root.join("config.json"), "[]").unwrap();
    let error = setup.store.export(ID, &file, &mut |_| {}).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    assert!(!file.exists() && !setup.home.path().join("model.tar.partial").exists());
}

#[test]
fn a_bundle_that_is_cut_off_anywhere() {
    let (_setup, file) = exported();
    let whole = fs::read(&file).unwrap();
    for len in [0, 100, 512, 1_000, 3_000, 100_000, whole.len() / 2] {
        fs::write(&file, &whole[..len]).unwrap();
        refused(&file);
    }
}

#[test]
fn a_bundle_with_a_byte_turned_over() {
    let (_setup, file) = exported();
    let whole = fs::read(&file).unwrap();
    let weights = whole.len() - 100_000;
    let mut damaged = whole;
    damaged[weights] ^= 1;
    fs::write(&file, &damaged).unwrap();
    assert!(matches!(refused(&file), BundleError::Checksum(_)));
}

#[test]
fn names_that_leave_the_model() {
    let (_setup, file) = exported();
    let sound = entries(&file);
    for name in [
        "../evil",
        "/etc/evil",
        "onnx/../../evil",
        "a\\b",
        "evil.json",
    ] {
        let mut entries = sound.clone();
        entries[2].0 = with_name(&entries[2].0, name);
        write(&file, &entries);
        let error = refused(&file);
        let named = matches!(error, BundleError::Name(_) | BundleError::Unexpected(_));
        assert!(named, "{name}: {error}");
    }
    // Also when the manifest names them.
    let mut entries = sound;
    let manifest = String::from_utf8(entries[0].1.clone()).unwrap();
    entries[0].1 = manifest
        .replace("\"config.json\"", "\"../config\"")
        .into_bytes();
    let len = entries[0].1.len() as u64;
    entries[0].0.set_size(len);
    entries[0].0.set_cksum();
    write(&file, &entries);
    assert!(matches!(refused(&file), BundleError::Manifest(_)));
}

#[test]
fn links_and_extensions_of_the_format() {
    let (_setup, file) = exported();
    let sound = entries(&file);
    use tar::EntryType as E;
    for kind in [
        E::Symlink,
        E::Link,
        E::Directory,
        E::GNULongName,
        E::XHeader,
        E::GNUSparse,
        E::Char,
    ] {
        let mut entries = sound.clone();
        entries[1].0.set_entry_type(kind);
        entries[1].0.set_cksum();
        write(&file, &entries);
        assert!(
            matches!(refused(&file), BundleError::NotAFile(_)),
            "{kind:?}"
        );
    }
}

#[test]
fn bombs_and_missing_or_doubled_files() {
    let (_setup, file) = exported();
    let sound = entries(&file);
    let mut entries = sound.clone();
    let last = entries.pop().unwrap();
    write(&file, &entries);
    // Shorter than what it promises.
    refused(&file);
    entries.push(entries[1].clone());
    entries.push(last);
    write(&file, &entries);
    assert!(matches!(refused(&file), BundleError::Unexpected(_)));

    let mut entries = sound;
    let manifest = String::from_utf8(entries[0].1.clone()).unwrap();
    let size = |size: &str| manifest.replace("\"size\": 200000", &format!("\"size\": {size}"));
    for promised in ["18446744073709551615", "900000000000"] {
        let json = size(promised);
        assert_ne!(json, manifest);
        entries[0].0.set_size(json.len() as u64);
        entries[0].0.set_cksum();
        entries[0].1 = json.into_bytes();
        write(&file, &entries);
        assert!(matches!(refused(&file), BundleError::Bomb));
    }
}

#[test]
fn other_files_are_no_bundles() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.tar");
    fs::write(&file, vec![b'x'; 10_000]).unwrap();
    refused(&file);
    let mut header = tar::Header::new_ustar();
    header.set_path("config.json").unwrap();
    header.set_size(2);
    header.set_cksum();
    write(&file, &[(header, b"{}".to_vec())]);
    assert!(matches!(refused(&file), BundleError::NoManifest));
    let (_home, _store, result) = import(&dir.path().join("none.tar"));
    assert!(matches!(result, Err(Error::Read { .. })));
}

#[cfg(unix)]
#[test]
fn a_pipe_is_no_bundle() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("x.tar");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    if !made.is_ok_and(|status| status.success()) {
        akidb_testing::skip("there is no mkfifo");
        return;
    }
    for other in [&*pipe, dir.path(), Path::new("/dev/zero")] {
        let (_home, _store, result) = import(other);
        let error = result.unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(source, "it is not a regular file", "{}", other.display());
    }
}

#[test]
fn a_bundle_that_gives_a_known_revision_other_files() {
    let (_setup, file) = exported();
    let (home, store, result) = import(&file);
    result.unwrap();
    let mut entries = entries(&file);
    let config = entries
        .iter_mut()
        .find(|(_, bytes)| bytes == b"{}")
        .unwrap();
    config.1 = b"[]".to_vec();
    let mut manifest: serde_json::Value = serde_json::from_slice(&entries[0].1).unwrap();
    for file in manifest["files"].as_array_mut().unwrap() {
        if file["path"] == "config.json" {
            // Of `[]`.
            file["sha256"] =
                "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945".into();
        }
    }
    entries[0].1 = manifest.to_string().into_bytes();
    let len = entries[0].1.len() as u64;
    entries[0].0.set_size(len);
    entries[0].0.set_cksum();
    write(&file, &entries);
    let error = store.import(&file, false, &mut |_| {}).unwrap_err();
    assert!(matches!(why(error), BundleError::Differs(_)));
    let config = || fs::read(store.find(ID).unwrap().unwrap().root.join("config.json"));
    assert_eq!(config().unwrap(), b"{}");
    store.import(&file, true, &mut |_| {}).unwrap();
    assert_eq!(config().unwrap(), b"[]");
    drop(home);
}

#[test]
fn what_an_import_that_was_killed_has_left_goes() {
    let (_setup, file) = exported();
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(Some(home.path().to_owned()), None).unwrap();
    let partial = home.path().join("models").join(ID).join(".partial");
    fs::create_dir_all(&partial).unwrap();
    fs::write(partial.join("99.import"), "half").unwrap();
    assert_eq!(store.unfinished().unwrap().len(), 1);
    store.import(&file, false, &mut |_| {}).unwrap();
    assert!(!partial.exists());
}

#[test]
fn a_bundle_that_cannot_be_written_is_told_so() {
    let setup = setup();
    setup.pull("int8").unwrap();
    let export = |name: &str, to: &Path| {
        let error = setup.store.export(name, to, &mut |_| {}).unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string);
        (error.to_string(), source.unwrap_or_default())
    };
    let nowhere = setup.home.path().join("nowhere/m.tar");
    let (error, source) = export(ID, &nowhere);
    assert_eq!(
        error,
        format!("the bundle {} can't be written", nowhere.display())
    );
    assert!(source.contains("os error"), "{source}");

    let by_hand = setup.home.path().join("models/mine");
    fs::create_dir_all(&by_hand).unwrap();
    fs::write(by_hand.join("config.json"), "{}").unwrap();
    let to = setup.home.path().join("m.tar");
    let error = setup.store.export("mine", &to, &mut |_| {}).unwrap_err();
    let no_revision = matches!(
        &error,
        Error::Export {
            source: ExportError::NoRevision(_),
            ..
        }
    );
    assert!(no_revision, "{error}");
    assert!(export("akidb-mini", &to).0.contains("is built in"));
}

#[test]
fn a_bundle_makes_a_damaged_model_whole() {
    let setup = setup();
    let root = setup.pull("int8").unwrap().root;
    let file = setup.home.path().join("m.tar");
    setup.store.export(ID, &file, &mut |_| {}).unwrap();
    fs::write(root.join("onnx/model_int8.onnx"), [1; 200_000]).unwrap();
    let verified = setup.store.verify(ID, &mut |_| {}).unwrap();
    assert_eq!(verified.damaged.len(), 1);
    let manifest = setup.store.import(&file, false, &mut |_| {}).unwrap();
    assert!(manifest.damaged.is_empty());
    setup.is_whole("int8");
}
