//! What can go wrong between the hub and the disk: afterwards there is either a whole model, or a
//! clear error and nothing to load.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::common::{COMMIT, ID, LARGE, Setup, model_files, request, setup};
use akidb_models::{Error, Event, Hub, Removal, Store};
use akidb_testing::{Faults, HubFile, skip};

fn faults() -> Faults {
    Faults::default()
}

/// The pull fails, nothing is visible, and once the fault is gone the next pull works.
fn fails_clearly(setup: &Setup, faults: Faults) -> Error {
    setup.hub.fail(faults);
    let error = setup.pull("f32").unwrap_err();
    setup.nothing_is_visible();
    setup.hub.fail(Faults::default());
    setup.pull("f32").unwrap();
    setup.is_whole("f32");
    error
}

#[test]
fn a_connection_that_is_cut_again_and_again() {
    let setup = setup();
    for cut in [100_000, 20_000] {
        setup.hub.fail(Faults {
            cut_after: Some(cut),
            ..faults()
        });
        let before = setup.hub.sent();
        setup.pull("f32").unwrap();
        setup.is_whole("f32");
        // Every byte that arrived is kept: no more is sent than the model has.
        assert!(
            setup.hub.sent() - before <= 3_100_000,
            "{}",
            setup.hub.sent()
        );
        setup.store.remove(ID, &Removal::All).unwrap();
    }
}

#[test]
fn a_connection_that_is_cut_before_anything_arrives() {
    let setup = setup();
    let error = fails_clearly(
        &setup,
        Faults {
            cut_after: Some(0),
            ..faults()
        },
    );
    assert!(
        matches!(error, Error::Network { attempts: 6, .. }),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("goes on where it stopped"));
}

#[test]
fn a_caller_that_panics_ends_the_pull() {
    let setup = setup();
    let hub = Hub::new(setup.options.clone()).unwrap();
    let tell = |event: Event<'_>| assert!(!matches!(event, Event::Arrived { .. }));
    let pull = || hub.pull(&setup.store, &request("f32"), &tell).map(drop);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(pull));
    assert!(result.is_err());
    setup.nothing_is_visible();
    setup.pull("f32").unwrap();
    setup.is_whole("f32");
}

#[test]
fn a_hub_that_is_busy_names_a_pause() {
    let setup = setup();
    let started = SystemTime::now();
    setup.hub.fail(Faults {
        statuses: vec![
            (429, Some("1".to_owned())),
            (503, None),
            (503, Some("Thu, 01 Jan 1970 00:00:00 GMT".to_owned())),
            (500, Some("soon".to_owned())),
        ],
        ..faults()
    });
    setup.pull("f32").unwrap();
    setup.is_whole("f32");
    assert!(started.elapsed().unwrap() >= Duration::from_secs(1));
}

#[test]
fn a_pause_that_is_too_long_or_a_clock_that_is_wrong_ends_the_pull() {
    let setup = setup();
    for pause in ["86400", "Fri, 31 Dec 9999 23:59:59 GMT"] {
        let error = fails_clearly(
            &setup,
            Faults {
                statuses: vec![(429, Some(pause.to_owned())); 9],
                ..faults()
            },
        );
        assert!(matches!(error, Error::Busy { .. }), "{error}");
        setup.store.remove(ID, &Removal::All).unwrap();
    }
}

#[test]
fn times_in_the_future_are_no_harm() {
    let setup = setup();
    setup.pull("int8").unwrap();
    let manifest = setup
        .home
        .path()
        .join(format!("models/{ID}/akidb-model.json"));
    let text = std::fs::read_to_string(&manifest).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let set = |json: &serde_json::Value| std::fs::write(&manifest, json.to_string()).unwrap();
    for time in [0, 4_000_000_000_u64, u64::MAX] {
        json["installed"] = time.into();
        json["verified"] = time.into();
        set(&json);
        setup.is_whole("int8");
        let unused = setup.store.unused(Duration::from_hours(24)).unwrap();
        assert_eq!(unused.is_empty(), time != 0, "{time}");
    }
    json["installed"] = 0.into();
    set(&json);
    setup.store.find(ID).unwrap().unwrap().mark_used();
    assert!(
        setup
            .store
            .unused(Duration::from_hours(24))
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_length_that_is_not_the_listed_one() {
    let setup = setup();
    let error = fails_clearly(
        &setup,
        Faults {
            longer: 7,
            ..faults()
        },
    );
    assert!(
        error.to_string().contains("but the hub's listing says"),
        "{error}"
    );
}

#[test]
fn a_byte_that_is_turned_over_once() {
    let setup = setup();
    setup.hub.fail(Faults {
        flip: Some((1_000_000, 1)),
        ..faults()
    });
    let (pulled, told) = setup.pull_telling(&crate::common::request("f32"));
    pulled.unwrap();
    setup.is_whole("f32");
    let again = told
        .iter()
        .filter(|e| e.contains("its checksum does not agree"));
    assert_eq!(again.count(), 1);
}

#[test]
fn a_byte_that_is_always_turned_over() {
    let setup = setup();
    let error = fails_clearly(
        &setup,
        Faults {
            flip: Some((1_000_000, usize::MAX)),
            ..faults()
        },
    );
    assert!(
        matches!(error, Error::Checksum { attempts: 3, .. }),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("alters what it carries"));
}

#[test]
fn an_entity_tag_that_changes_midway() {
    let setup = setup();
    let error = fails_clearly(
        &setup,
        Faults {
            new_etags_after: Some(8),
            uses_of_location: Some(1),
            ..faults()
        },
    );
    assert!(matches!(error, Error::Changed { .. }), "{error}");
}

#[test]
fn redirects_in_a_circle() {
    let setup = setup();
    let error = fails_clearly(
        &setup,
        Faults {
            redirect_loop: true,
            ..faults()
        },
    );
    assert!(matches!(error, Error::RedirectLoop { .. }), "{error}");
}

#[test]
fn a_server_without_ranges() {
    let setup = setup();
    setup.hub.fail(Faults {
        no_ranges: true,
        ..faults()
    });
    setup.pull("f32").unwrap();
    setup.is_whole("f32");
}

#[test]
fn a_server_without_ranges_that_cuts_connections() {
    let setup = setup();
    let error = fails_clearly(
        &setup,
        Faults {
            no_ranges: true,
            cut_after: Some(1_000_000),
            ..faults()
        },
    );
    assert!(matches!(error, Error::Network { .. }), "{error}");
}

#[test]
fn a_server_that_falls_silent() {
    let mut setup = setup();
    setup.options.silence = Duration::from_millis(50);
    setup.options.attempts = 2;
    let error = fails_clearly(
        &setup,
        Faults {
            silent: true,
            ..faults()
        },
    );
    assert!(matches!(error, Error::Network { .. }), "{error}");
}

#[test]
fn addresses_that_expire_are_asked_for_again() {
    let setup = setup();
    setup.hub.fail(Faults {
        uses_of_location: Some(2),
        ..faults()
    });
    setup.pull("f32").unwrap();
    setup.is_whole("f32");
}

#[test]
fn a_hub_that_nobody_listens_at() {
    let mut setup = setup();
    setup.options.endpoint = "http://127.0.0.1:1".to_owned();
    setup.options.attempts = 2;
    let error = setup.pull("f32").unwrap_err();
    assert!(matches!(error, Error::Network { .. }), "{error}");
    assert!(error.to_string().contains("127.0.0.1:1: "), "{error}");
    setup.nothing_is_visible();
}

#[test]
fn a_disk_without_room_is_seen_before_anything_is_fetched() {
    let Some(disk) = SmallDisk::new("10m") else {
        return skip("a disk without room (no right to mount a tmpfs)");
    };
    let mut setup = setup();
    setup.store = Store::open(Some(disk.path().to_owned()), None).unwrap();
    let error = setup.pull("f32").unwrap_err();
    assert!(
        matches!(
            error,
            Error::NoSpace {
                needed: 3_040_018,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(setup.hub.sent(), 0);
    setup.nothing_is_visible();
}

#[test]
fn a_disk_that_fills_up_on_the_way() {
    let Some(disk) = SmallDisk::new("24m") else {
        return skip("a disk that fills up (no right to mount a tmpfs)");
    };
    let mut setup = setup();
    setup.store = Store::open(Some(disk.path().to_owned()), None).unwrap();
    setup.hub.fail(Faults {
        bytes_per_second: Some(500_000),
        ..faults()
    });
    let filler = disk.path().join("filler");
    let error = std::thread::scope(|scope| {
        let pull = scope.spawn(|| setup.pull("f32").unwrap_err());
        while setup.hub.sent() < 1_000_000 {
            std::thread::sleep(Duration::from_millis(5));
        }
        // Writes as much as there is room for.
        let _ = std::fs::write(&filler, vec![0; 24 << 20]);
        pull.join().unwrap()
    });
    assert!(matches!(error, Error::Write { .. }), "{error}");
    assert!(error.hint().unwrap().contains("goes on where it stopped"));
    setup.nothing_is_visible();
    std::fs::remove_file(&filler).unwrap();
    setup.hub.fail(faults());
    let before = setup.hub.sent();
    setup.pull("f32").unwrap();
    setup.is_whole("f32");
    assert!(setup.hub.sent() - before < 2_900_000, "nothing was kept");
}

#[test]
fn a_store_that_can_only_be_read() {
    let Some(disk) = SmallDisk::new("64m") else {
        return skip("a store that can only be read (no right to mount a tmpfs)");
    };
    let mut setup = setup();
    setup.store = Store::open(Some(disk.path().to_owned()), None).unwrap();
    setup.pull("int8").unwrap();
    disk.mount(&["-o", "remount,ro"]);
    // What is there works, what isn't fails clearly.
    setup.is_whole("int8");
    setup.store.find(ID).unwrap().unwrap().mark_used();
    let error = setup.pull("f32").unwrap_err();
    assert!(matches!(error, Error::Write { .. }), "{error}");
    assert!(error.hint().unwrap().contains("AKIDB_HOME"), "{error:?}");
    let error = setup.store.remove(ID, &Removal::All).unwrap_err();
    assert!(matches!(error, Error::Write { .. }), "{error}");
    setup.is_whole("int8");
}

#[test]
fn counts_of_a_download_that_promise_too_much() {
    let setup = setup();
    setup.hub.fail(Faults {
        cut_after: Some(0),
        ..faults()
    });
    setup.pull("f32").unwrap_err();
    // As after a power cut: the counts are on the disk, the bytes are not.
    let partial = setup.home.path().join(format!("models/{ID}/.partial"));
    let mut states = 0;
    for entry in std::fs::read_dir(&partial).unwrap().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|e| e == "state") {
            let mut state = std::fs::read(&path).unwrap();
            let size = u64::from_le_bytes(state[8..16].try_into().unwrap());
            let segment = u64::from_le_bytes(state[16..24].try_into().unwrap());
            for (index, count) in state[24..].chunks_mut(8).enumerate() {
                let left = size - segment * index as u64;
                count.copy_from_slice(&left.min(segment).to_le_bytes());
            }
            std::fs::write(&path, state).unwrap();
            states += 1;
        }
    }
    assert!(states > 0);
    setup.hub.fail(faults());
    setup.pull("f32").unwrap();
    setup.is_whole("f32");
}

#[test]
fn a_publication_that_was_interrupted() {
    let setup = setup();
    setup.pull("f32").unwrap();
    let manifest = setup
        .home
        .path()
        .join(format!("models/{ID}/akidb-model.json"));
    std::fs::remove_file(manifest).unwrap();
    setup.nothing_is_visible();
    let sent = setup.hub.sent();
    setup.pull("f32").unwrap();
    setup.is_whole("f32");
    assert_eq!(
        setup.hub.sent(),
        sent,
        "files that are in place are not fetched again"
    );
}

#[test]
fn a_pull_that_ends_between_two_large_files() {
    let setup = setup();
    let files = [
        ("config.json", HubFile::small("{}")),
        ("tokenizer.json", HubFile::small("{}")),
        (
            "model-00001-of-00002.safetensors",
            HubFile::generated(900_000),
        ),
        (
            "model-00002-of-00002.safetensors",
            HubFile::generated(1_000_000),
        ),
        ("model.safetensors.index.json", HubFile::small("{}")),
    ];
    setup.hub.put(ID, COMMIT, files);
    setup.hub.fail(Faults {
        flip: Some((950_000, usize::MAX)),
        ..faults()
    });
    setup.pull("safetensors").unwrap_err();
    setup.nothing_is_visible();
    let unfinished = setup.store.unfinished().unwrap();
    assert_eq!(unfinished.len(), 1);
    assert!(unfinished[0].bytes >= 900_000, "{unfinished:?}");
    setup.hub.fail(faults());
    let before = setup.hub.sent();
    setup.pull("safetensors").unwrap();
    // The first file was complete: it is hashed again, and not fetched.
    assert_eq!(setup.hub.sent() - before, 1_000_000 + 2);
    let verified = setup.store.verify(ID, &mut |_| {}).unwrap();
    assert_eq!(verified.damaged, Vec::<String>::new());
    assert_eq!(setup.store.unfinished().unwrap(), []);
}

#[test]
fn the_download_of_another_variant_stays_until_it_is_removed() {
    let setup = setup();
    setup.hub.fail(Faults {
        flip: Some((1_000_000, usize::MAX)),
        ..faults()
    });
    setup.pull("f32").unwrap_err();
    setup.hub.fail(faults());
    setup.pull("int8").unwrap();
    let unfinished = setup.store.unfinished().unwrap();
    assert_eq!(unfinished[0].id.as_str(), ID);
    let removed = setup.store.remove(ID, &Removal::Unfinished).unwrap();
    assert_eq!(removed.bytes, unfinished[0].bytes);
    assert_eq!(setup.store.unfinished().unwrap(), []);
    setup.is_whole("int8");
    let nothing = setup.store.remove(ID, &Removal::Unfinished).unwrap();
    assert_eq!((nothing.bytes, nothing.files), (0, vec![]));
}

#[test]
fn a_repository_that_changes_between_two_pulls() {
    let setup = setup();
    setup.hub.fail(Faults {
        flip: Some((1_000_000, usize::MAX)),
        ..faults()
    });
    setup.pull("f32").unwrap_err();
    let mut files = model_files();
    files.retain(|(name, _)| *name != "onnx/model.onnx_data");
    files.push(("onnx/model.onnx_data", HubFile::generated(LARGE / 2)));
    setup.hub.put(ID, crate::common::NEXT, files);
    setup.hub.fail(faults());
    let pulled = setup.pull("f32").unwrap();
    assert_ne!(pulled.revision.to_string(), COMMIT);
    assert!(
        setup
            .store
            .verify(ID, &mut |_| {})
            .unwrap()
            .damaged
            .is_empty()
    );
    // What was fetched of the file that is gone is of no use.
    assert_eq!(setup.store.unfinished().unwrap(), []);
    let files = crate::common::tree(setup.home.path());
    assert!(files.iter().all(|f| !f.contains(".partial")), "{files:?}");
}

#[test]
fn a_replacement_that_was_interrupted_and_taken_back() {
    let setup = setup();
    setup.pull("int8").unwrap();
    let manifest = setup
        .home
        .path()
        .join(format!("models/{ID}/akidb-model.json"));
    let text = std::fs::read_to_string(&manifest).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    json["leftovers"] = serde_json::json!([
        {"revision": COMMIT, "path": "config.json"},
        {"revision": crate::common::NEXT, "path": "config.json"},
    ]);
    std::fs::write(&manifest, json.to_string()).unwrap();
    let old = setup
        .home
        .path()
        .join(format!("models/{ID}/snapshots/{}", crate::common::NEXT));
    std::fs::create_dir_all(&old).unwrap();
    std::fs::write(old.join("config.json"), "{}").unwrap();
    setup.pull("f32").unwrap();
    setup.is_whole("f32");
    setup.is_whole("int8");
    assert!(!old.exists());
}

/// A file system in memory of a given size.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new(size: &str) -> Option<Self> {
        let disk = Self(tempfile::tempdir().unwrap());
        let size = format!("size={size}");
        let mounted = cfg!(target_os = "linux")
            && Self::run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs"], disk.path());
        mounted.then_some(disk)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn mount(&self, args: &[&str]) {
        assert!(Self::run("mount", args, self.path()));
    }

    fn run(program: &str, args: &[&str], path: &Path) -> bool {
        let output = Command::new(program).args(args).arg(path).output();
        output.is_ok_and(|output| output.status.success())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Self::run("umount", &["-l"], self.path());
    }
}
