//! Pulling models from a hub that works.

use std::fs;

use crate::common::{COMMIT, ID, LARGE, NEXT, model_files, options, request, setup, tree};
use akidb_models::{Error, Hub, HubOptions, Machine, Removal, Request, Store};
use akidb_testing::{Faults, HubFile};

#[test]
fn a_model_arrives_with_the_files_of_one_variant() {
    let setup = setup();
    let (pulled, told) = setup.pull_telling(&request("f32"));
    let pulled = pulled.unwrap();
    assert_eq!((pulled.id.as_str(), pulled.variant.as_str()), (ID, "f32"));
    assert_eq!(pulled.revision.to_string(), COMMIT);
    assert_eq!((pulled.fetched, pulled.size), (3_040_018, 3_040_018));
    assert!(told[0].contains("files: 6"), "{}", told[0]);
    setup.is_whole("f32");
    let root = format!("models/{ID}/snapshots/{COMMIT}");
    let files = tree(setup.home.path());
    let expected = [
        "models/.locks/owner--model".to_owned(),
        format!("models/{ID}/akidb-model.json"),
        format!("{root}/1_Pooling/config.json"),
        format!("{root}/config.json"),
        format!("{root}/onnx/model.onnx"),
        format!("{root}/onnx/model.onnx_data"),
        format!("{root}/tokenizer.json"),
        format!("{root}/tokenizer_config.json"),
    ];
    assert_eq!(files, expected);
    let found = setup.store.find(ID).unwrap().unwrap();
    assert_eq!(found.root, pulled.root);
    assert_eq!(found.revision.as_deref(), Some(COMMIT));
    assert_eq!(
        found.manifest().unwrap().license.as_deref(),
        Some("apache-2.0")
    );
}

#[test]
fn a_second_variant_fetches_only_what_is_missing() {
    let setup = setup();
    setup.pull("f32").unwrap();
    let before = setup.hub.sent();
    let pulled = setup.pull("int8").unwrap();
    assert_eq!(
        (pulled.fetched, setup.hub.sent() - before),
        (200_000, 200_000)
    );
    setup.is_whole("int8");
    setup.is_whole("f32");
    // All of it is here: only the listing is asked for.
    let pulled = setup.pull("int8").unwrap();
    assert_eq!((pulled.fetched, setup.hub.sent() - before), (0, 200_000));
}

#[test]
fn a_damaged_file_is_fetched_again() {
    let setup = setup();
    let root = setup.pull("int8").unwrap().root;
    let weights = root.join("onnx/model_int8.onnx");
    let mut bytes = fs::read(&weights).unwrap();
    bytes[100_000] ^= 1;
    fs::write(&weights, &bytes).unwrap();
    let verified = setup.store.verify(ID, &mut |_| {}).unwrap();
    assert_eq!(
        verified.damaged,
        ["onnx/model_int8.onnx has another checksum"]
    );
    assert_eq!(setup.pull("int8").unwrap().fetched, 200_000);
    setup.is_whole("int8");

    // Another size is seen without reading the file, and such a model is not found.
    fs::write(&weights, "short").unwrap();
    let error = setup.store.find(ID).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "owner/model is damaged: onnx/model_int8.onnx has 5 bytes instead of 200000"
    );
    fs::remove_file(&weights).unwrap();
    assert!(
        setup
            .store
            .find(ID)
            .unwrap_err()
            .to_string()
            .ends_with("model_int8.onnx is missing")
    );
    setup.pull("int8").unwrap();
    setup.is_whole("int8");
}

#[test]
fn damage_is_noted_until_the_file_is_replaced() {
    let setup = setup();
    setup.pull("f32").unwrap();
    let root = setup.pull("int8").unwrap().root;
    let damaged = || {
        let model = setup.store.model(ID).unwrap().unwrap();
        let manifest = model.manifest().unwrap();
        ["f32", "int8"].map(|name| manifest.is_damaged(manifest.variant(name).unwrap()))
    };
    let verify = || setup.store.verify(ID, &mut |_| {}).unwrap().damaged.len();
    fs::write(root.join("onnx/model_int8.onnx"), [1; 200_000]).unwrap();
    assert_eq!((verify(), damaged()), (1, [false, true]));
    // What every variant needs.
    fs::write(root.join("config.json"), "[]").unwrap();
    assert_eq!((verify(), damaged()), (2, [true, true]));
    setup.pull("f32").unwrap();
    assert_eq!(damaged(), [false, true]);
    setup.pull("int8").unwrap();
    assert_eq!((damaged(), verify()), ([false, false], 0));
}

#[test]
fn the_machine_chooses_where_the_user_does_not() {
    let setup = setup();
    let (pulled, told) = setup.pull_telling(&Request {
        variant: None,
        ..request("")
    });
    assert_eq!(pulled.unwrap().variant, "int8");
    assert!(
        told[0].contains("8-bit arithmetic is the fastest on this CPU"),
        "{}",
        told[0]
    );
    let bf16 = Request {
        variant: None,
        machine: Machine {
            coreml: false,
            bf16: true,
        },
        ..request("")
    };
    let (pulled, told) = setup.pull_telling(&bf16);
    assert_eq!(pulled.unwrap().variant, "f32");
    assert!(told[0].contains("there is no fp16"), "{}", told[0]);
}

#[test]
fn what_is_not_there_is_told() {
    let setup = setup();
    let error = setup.pull("q4").unwrap_err();
    assert_eq!(error.to_string(), "owner/model has no variant \"q4\"");
    assert_eq!(error.hint().unwrap(), "it has: f32, int8");
    let pull = |model: &str, revision: Option<&str>| {
        let request = Request {
            model: model.to_owned(),
            revision: revision.map(str::to_owned),
            ..request("f32")
        };
        setup.pull_with(&request).unwrap_err()
    };
    let error = pull("owner/other", None);
    assert_eq!(
        error.to_string(),
        "the hub has no owner/other at revision main"
    );
    assert!(matches!(pull(ID, Some("v1/é?")), Error::NotFound { .. }));
    assert!(matches!(pull("../../etc", None), Error::Name(_)));
    setup.hub.put(
        "owner/empty",
        COMMIT,
        [("config.json", HubFile::small("{}"))],
    );
    assert!(matches!(pull("owner/empty", None), Error::NoModel { .. }));
    assert!(!setup.home.path().join("models").exists());
}

#[test]
fn names_that_would_leave_the_model_are_not_fetched() {
    let setup = setup();
    let mut files = model_files();
    for name in [
        "../../evil.json",
        "onnx/../../x.onnx",
        "/abs.onnx",
        "onnx/a\\b.onnx",
    ] {
        files.push((name, HubFile::small("evil")));
    }
    setup.hub.put(ID, COMMIT, files);
    setup.pull("f32").unwrap();
    setup.is_whole("f32");
    assert!(tree(setup.home.path()).iter().all(|f| !f.contains("evil")));
}

#[test]
fn another_revision_replaces_only_when_asked_to() {
    let setup = setup();
    setup.pull("f32").unwrap();
    setup.pull("int8").unwrap();
    let mut files = model_files();
    files[0].1 = HubFile::small("{\"new\": 1}");
    setup.hub.put(ID, NEXT, files);
    let error = setup.pull("int8").unwrap_err();
    assert!(matches!(error, Error::OtherRevision { .. }), "{error}");
    setup.is_whole("f32");
    let replace = Request {
        replace: true,
        ..request("int8")
    };
    let pulled = setup.pull_with(&replace).unwrap();
    assert_eq!(pulled.revision.to_string(), NEXT);
    let found = setup.store.find(ID).unwrap().unwrap();
    let config = fs::read_to_string(found.root.join("config.json")).unwrap();
    assert_eq!(config, "{\"new\": 1}");
    // The other variant was of the old revision.
    assert_eq!(
        found.variants().unwrap().into_keys().collect::<Vec<_>>(),
        ["int8"]
    );
    let old = tree(setup.home.path())
        .into_iter()
        .filter(|f| f.contains(COMMIT));
    assert_eq!(old.count(), 0);
}

#[test]
fn a_pinned_model_that_is_here_needs_no_network() {
    let mut setup = setup();
    let pinned = Request {
        revision: Some(COMMIT.to_owned()),
        ..request("int8")
    };
    setup.pull_with(&pinned).unwrap();
    setup.hub.take_log();
    assert_eq!(setup.pull_with(&pinned).unwrap().fetched, 0);
    assert_eq!(setup.hub.take_log(), []);
    setup.options.offline = true;
    assert_eq!(setup.pull_with(&pinned).unwrap().fetched, 0);
    assert_eq!(setup.pull("int8").unwrap().fetched, 0);
    assert!(matches!(setup.pull("f32"), Err(Error::Offline { .. })));
    setup.store.remove(ID, &Removal::All).unwrap();
    assert!(matches!(
        setup.pull_with(&pinned),
        Err(Error::Offline { .. })
    ));
    assert_eq!(setup.hub.take_log(), []);
}

#[test]
fn the_token_goes_to_the_hub_and_nowhere_else() {
    let mut setup = setup();
    let faults = Faults {
        token: Some("secret".to_owned()),
        ..Faults::default()
    };
    setup.hub.fail(faults);
    let error = setup.pull("f32").unwrap_err();
    assert!(
        matches!(error, Error::Refused { status: 401, .. }),
        "{error}"
    );
    setup.with_token(" secret\n");
    setup.hub.take_log();
    setup.pull("f32").unwrap();
    for request in setup.hub.take_log() {
        let expected = (!request.storage).then(|| "Bearer secret".to_owned());
        assert_eq!(request.authorization, expected, "{request:?}");
    }
    assert!(!format!("{:?}", setup.options).contains("secret"));
}

#[test]
fn a_server_that_lists_names_only_is_asked_for_the_rest() {
    let setup = setup();
    setup.hub.fail(Faults {
        names_only: true,
        ..Faults::default()
    });
    setup.pull("f32").unwrap();
    setup.is_whole("f32");
    let heads = setup
        .hub
        .take_log()
        .into_iter()
        .filter(|r| r.method == "HEAD");
    assert_eq!(heads.count(), 6);
}

#[test]
fn large_files_come_in_parts_and_the_hub_is_asked_once_for_their_place() {
    let setup = setup();
    setup.pull("f32").unwrap();
    let log = setup.hub.take_log();
    let parts = log
        .iter()
        .filter(|r| r.storage && r.range.is_some())
        .count();
    assert_eq!(parts, LARGE.div_ceil(256 << 10));
    let asked = log
        .iter()
        .filter(|r| r.path.contains("/resolve/") && r.path.ends_with("_data"));
    // Each thread asks before the first answer is there.
    assert!(asked.count() <= setup.options.connections);
}

#[test]
fn two_pulls_at_once_do_not_harm_each_other() {
    let setup = setup();
    setup.hub.fail(Faults {
        bytes_per_second: Some(4_000_000),
        ..Faults::default()
    });
    std::thread::scope(|scope| {
        let pulls = ["f32", "f32", "int8"].map(|variant| scope.spawn(|| setup.pull(variant)));
        for pull in pulls {
            pull.join().unwrap().unwrap();
        }
    });
    setup.is_whole("f32");
    setup.is_whole("int8");
    assert_eq!(setup.hub.sent(), 3_240_018);
}

#[test]
fn a_model_of_the_hugging_face_cache_is_used_where_it_is() {
    let hub = crate::common::setup().hub;
    let cache = tempfile::tempdir().unwrap();
    let home = tempfile::tempdir().unwrap();
    let model = cache.path().join("models--owner--model");
    let root = model.join("snapshots").join(COMMIT);
    fs::create_dir_all(model.join("refs")).unwrap();
    fs::write(model.join("refs/main"), COMMIT).unwrap();
    let store = Store::open(Some(home.path().to_owned()), Some(cache.path().to_owned())).unwrap();
    let put = |name: &str| {
        let files = model_files();
        let file = &files.iter().find(|(n, _)| *n == name).unwrap().1;
        fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
        fs::write(root.join(name), file.bytes()).unwrap();
    };
    put("config.json");
    put("onnx/model_int8.onnx");
    assert!(store.find(ID).unwrap().is_none());
    put("tokenizer.json");
    let found = store.find(ID).unwrap().unwrap();
    assert_eq!(
        (&found.root, found.revision.as_deref()),
        (&root, Some(COMMIT))
    );
    assert_eq!(store.hub_cached().len(), 1);
    assert!(store.installed().unwrap().is_empty());

    let hub_options = |offline| HubOptions {
        offline,
        ..options(&hub)
    };
    let pull = |offline| {
        let request = request("int8");
        Hub::new(hub_options(offline))
            .unwrap()
            .pull(&store, &request, &|_| {})
    };
    assert!(pull(true).unwrap().in_hub_cache);
    put("tokenizer_config.json");
    put("1_Pooling/config.json");
    let sent = hub.sent();
    let pulled = pull(false).unwrap();
    assert!(pulled.in_hub_cache);
    assert_eq!((hub.sent(), &pulled.root), (sent, &root));
    let error = store.remove(ID, &Removal::All).unwrap_err();
    assert!(matches!(error, Error::NotOurs { .. }), "{error}");
    assert!(model.is_dir());

    // A damaged copy is left alone, and not used.
    fs::write(pulled.root.join("config.json"), "[]").unwrap();
    let pulled = pull(false).unwrap();
    assert!(!pulled.in_hub_cache && pulled.root.starts_with(home.path()));
    assert_eq!(store.find(ID).unwrap().unwrap().root, pulled.root);
}

/// A hub with a model whose graph names a file that no rule of names would find.
fn hub_with_a_constant_file(setup: &crate::common::Setup) {
    let onnx = akidb_testing::fixture("forms/constant-file/onnx");
    let read = |name: &str| HubFile::large(fs::read(onnx.join(name)).unwrap());
    let files = vec![
        ("config.json", HubFile::small("{}")),
        ("tokenizer.json", HubFile::small("{}")),
        ("onnx/model.onnx", read("model.onnx")),
        (
            "onnx/Constant_7_attr__value",
            read("Constant_7_attr__value"),
        ),
        ("onnx/somebody_else", HubFile::small("not the graph's")),
    ];
    setup.hub.put(ID, COMMIT, files);
}

#[test]
fn a_file_that_only_the_graph_names_belongs_to_the_model() {
    let setup = setup();
    hub_with_a_constant_file(&setup);
    let pulled = setup.pull("f32").unwrap();
    let files = |store: &Store| {
        let found = store.find(ID).unwrap().unwrap();
        let manifest = found.manifest().unwrap();
        let files = &manifest.variant("f32").unwrap().files;
        files
            .iter()
            .map(|file| file.as_str().to_owned())
            .collect::<Vec<_>>()
    };
    let expected = ["onnx/Constant_7_attr__value", "onnx/model.onnx"];
    assert_eq!(files(&setup.store), expected);
    let data = pulled.root.join(expected[0]);
    assert_eq!(fs::read(&data).unwrap().len(), 32);
    assert!(!pulled.root.join("onnx/somebody_else").exists());
    let size = |name: &str| fs::metadata(pulled.root.join(name)).unwrap().len();
    let names = ["config.json", "tokenizer.json"].iter().chain(&expected);
    assert_eq!(pulled.size, names.map(|name| size(name)).sum::<u64>());

    // It is missed where it is missing, and fetched again.
    fs::remove_file(&data).unwrap();
    setup.store.find(ID).unwrap_err();
    assert_eq!(setup.pull("f32").unwrap().fetched, 32);

    // And it travels.
    let bundle = setup.home.path().join("bundle.tar");
    setup.store.export(ID, &bundle, &mut |_| {}).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let other = Store::open(Some(elsewhere.path().to_owned()), None).unwrap();
    other.import(&bundle, false, &mut |_| {}).unwrap();
    assert_eq!(files(&other), expected);
    let root = other.find(ID).unwrap().unwrap().root;
    assert_eq!(fs::read(root.join(expected[0])).unwrap().len(), 32);
}

#[cfg(unix)]
#[test]
fn a_cached_model_is_exported_with_the_files_that_its_graph_names() {
    let home = tempfile::tempdir().unwrap();
    let cache = home.path().join("hub");
    let snapshot = cache.join("models--owner--model/snapshots").join(COMMIT);
    fs::create_dir_all(snapshot.join("onnx")).unwrap();
    let form = akidb_testing::fixture("forms/constant-file");
    for file in [
        "config.json",
        "tokenizer.json",
        "onnx/model.onnx",
        "onnx/Constant_7_attr__value",
    ] {
        fs::copy(form.join(file), snapshot.join(file)).unwrap();
    }
    let store = Store::open(Some(home.path().join("store")), Some(cache)).unwrap();
    let bundle = home.path().join("bundle.tar");
    store.export(ID, &bundle, &mut |_| {}).unwrap();
    let imported = store.import(&bundle, false, &mut |_| {}).unwrap();
    assert_eq!(imported.id.as_str(), ID);
    let root = store.find(ID).unwrap().unwrap().root;
    assert!(root.join("onnx/Constant_7_attr__value").is_file());
}
