//! Finding and removing models.

use std::fs;
use std::path::Path;

use crate::common::{COMMIT, ID, setup, tree};
use akidb_models::{Error, Removal, Store};

fn by_hand(home: &Path, id: &str) {
    let dir = home.join("models").join(id);
    fs::create_dir_all(dir.join("onnx")).unwrap();
    fs::write(dir.join("config.json"), "{}").unwrap();
    fs::write(dir.join("onnx/model_q4.onnx"), "weights").unwrap();
}

#[test]
fn models_are_found_by_id_and_by_short_name() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(Some(home.path().to_owned()), None).unwrap();
    assert!(store.installed().unwrap().is_empty());
    by_hand(home.path(), "one");
    by_hand(home.path(), "sentence-transformers/all-MiniLM-L6-v2");
    let ids: Vec<_> = store
        .installed()
        .unwrap()
        .into_iter()
        .map(|m| m.id)
        .collect();
    assert_eq!(ids, ["one", "sentence-transformers/all-MiniLM-L6-v2"]);
    let found = store.find("all-minilm-l6-v2").unwrap().unwrap();
    assert_eq!(found.id, "sentence-transformers/all-MiniLM-L6-v2");
    assert_eq!(
        found.variants().unwrap().into_iter().collect::<Vec<_>>(),
        [("q4".to_owned(), 7)]
    );
    assert!(store.find("two").unwrap().is_none());
    assert!(store.find("../one").unwrap().is_none());

    by_hand(home.path(), "akidb-mini");
    assert!(matches!(store.installed(), Err(Error::NameTaken { .. })));
}

#[test]
fn the_parts_of_a_model_are_no_models() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(Some(home.path().to_owned()), None).unwrap();
    by_hand(home.path(), "mine");
    let models = home.path().join("models");
    for dir in ["mine/1_Pooling", "empty", "owner/empty"] {
        fs::create_dir_all(models.join(dir)).unwrap();
        fs::write(models.join(dir).join("config.json"), "{}").unwrap();
    }
    let installed = store.installed().unwrap();
    let ids: Vec<_> = installed.into_iter().map(|m| m.id).collect();
    assert_eq!(ids, ["mine"]);
    assert!(store.find("mine/1_Pooling").unwrap().is_none());
    // Its own error says what it lacks.
    assert!(store.find("empty").unwrap().is_some());
}

#[test]
fn a_store_without_a_home_holds_nothing() {
    let store = Store::open(None, None).unwrap();
    assert!(store.installed().unwrap().is_empty());
    assert!(store.find("one").unwrap().is_none());
    assert!(matches!(store.models(), Err(Error::NoHome)));
}

#[test]
fn what_somebody_else_put_there_is_never_touched() {
    let setup = setup();
    by_hand(setup.home.path(), "mine");
    let error = setup.store.remove("mine", &Removal::All).unwrap_err();
    assert!(matches!(error, Error::NotOurs { .. }), "{error}");

    let root = setup.pull("f32").unwrap().root;
    fs::write(root.join("onnx/notes.txt"), "mine").unwrap();
    let removed = setup.store.remove(ID, &Removal::All).unwrap();
    assert_eq!((removed.whole, removed.bytes), (true, 3_040_018));
    setup.nothing_but_mine(&root);
    let files = tree(setup.home.path());
    let left: Vec<_> = files.iter().filter(|f| f.contains(ID)).collect();
    assert_eq!(
        left,
        [&format!("models/{ID}/snapshots/{COMMIT}/onnx/notes.txt")]
    );
}

impl crate::common::Setup {
    fn nothing_but_mine(&self, root: &Path) {
        assert!(self.store.find(ID).unwrap().is_none());
        assert!(root.join("onnx/notes.txt").is_file());
    }
}

#[test]
fn one_variant_goes_and_the_others_stay() {
    let setup = setup();
    setup.pull("f32").unwrap();
    setup.pull("int8").unwrap();
    let unknown = setup
        .store
        .removal(ID, &Removal::Keep("q4".to_owned()))
        .unwrap_err();
    assert_eq!(unknown.hint().unwrap(), "it has: f32, int8");
    let plan = setup
        .store
        .removal(ID, &Removal::Keep("int8".to_owned()))
        .unwrap();
    assert_eq!(
        (plan.variants.as_slice(), plan.bytes),
        (&["f32".to_owned()][..], 3_000_005)
    );
    setup.is_whole("f32");
    let removed = setup
        .store
        .remove(ID, &Removal::Variant("fp32".to_owned()))
        .unwrap();
    assert_eq!(removed, plan);
    // The graph first: without it the weights are not a model.
    assert!(removed.files[0].ends_with("onnx/model.onnx"));
    setup.is_whole("int8");
    let removed = setup
        .store
        .remove(ID, &Removal::Variant("int8".to_owned()))
        .unwrap();
    assert!(removed.whole);
    assert_eq!(tree(setup.home.path()), ["models/.locks/owner--model"]);
    assert!(!setup.home.path().join("models/owner").exists());
    let error = setup.store.remove(ID, &Removal::All).unwrap_err();
    assert!(matches!(error, Error::NotInstalled { .. }), "{error}");
}

#[test]
fn a_download_that_was_given_up_can_be_removed() {
    let setup = setup();
    setup.hub.fail(akidb_testing::Faults {
        flip: Some((1_000_000, usize::MAX)),
        ..Default::default()
    });
    setup.pull("f32").unwrap_err();
    let removed = setup.store.remove(ID, &Removal::All).unwrap();
    assert!(removed.bytes > 0);
    assert_eq!(tree(setup.home.path()), ["models/.locks/owner--model"]);
}

#[test]
fn a_manifest_that_is_damaged_is_told() {
    let setup = setup();
    setup.pull("int8").unwrap();
    let path = setup
        .home
        .path()
        .join(format!("models/{ID}/akidb-model.json"));
    let text = fs::read_to_string(&path).unwrap();
    let evil = text.replace("\"config.json\"", "\"../../../config.json\"");
    assert_ne!(evil, text);
    for wrong in ["", "{}", &text[..text.len() / 2], &evil] {
        fs::write(&path, wrong).unwrap();
        let error = setup.store.find(ID).unwrap_err();
        assert!(matches!(error, Error::Manifest { .. }), "{error}");
    }
}

#[test]
fn a_manifest_that_is_damaged_hides_no_other_model() {
    let setup = setup();
    setup.pull("int8").unwrap();
    by_hand(setup.home.path(), "other");
    let directory = setup.home.path().join("models").join(ID);
    let manifest = directory.join("akidb-model.json");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, "{").unwrap();
    assert!(setup.store.find("other").unwrap().is_some());
    // Which model is meant where none is named can't be told.
    assert!(setup.store.installed().is_err());
    let (models, errors) = setup.store.installed_and_unreadable().unwrap();
    assert_eq!((models.len(), errors.len()), (1, 1));
    let hint = errors[0].error.hint().unwrap();
    assert!(hint.contains("akidb-model.json and pull"), "{hint}");
    for error in [
        setup.store.find(ID).unwrap_err(),
        setup.store.verify(ID, &mut |_| {}).unwrap_err(),
        setup.store.remove(ID, &Removal::All).unwrap_err(),
        setup.pull("int8").unwrap_err(),
    ] {
        assert!(matches!(error, Error::Manifest { .. }), "{error}");
    }
    // What the hint says.
    fs::remove_file(&manifest).unwrap();
    let sent = setup.hub.sent();
    setup.pull("int8").unwrap();
    setup.is_whole("int8");
    assert_eq!(setup.hub.sent(), sent);

    // A manifest of another model, as after renaming the directory.
    fs::write(&manifest, text.replace(ID, "owner/else")).unwrap();
    let error = setup.store.find(ID).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("describes owner/else"), "{source}");
}
