//! `models import`, killed at any moment: what is there afterwards is one model or the other, and
//! nothing that nobody sees.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use akidb_models::{Hub, HubOptions, Machine, Removal, Request, Store};
use akidb_testing::{HubFile, TestHub};

const ID: &str = "owner/model";
const COMMIT: &str = "00112233445566778899aabbccddeeff00112233";
const FILES: [&str; 6] = [
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "1_Pooling/config.json",
    "onnx/model_int8.onnx",
    "onnx/model_int8.onnx_data",
];

/// How often each command is killed, later each time.
const KILLS: u32 = 30;

struct Home {
    directory: tempfile::TempDir,
    store: Store,
}

impl Home {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(Some(directory.path().to_owned()), None).unwrap();
        Self { directory, store }
    }

    /// Runs an import, and kills it after that time where there is one.
    fn import(&self, bundle: &Path, killed_after: Option<Duration>) {
        let mut process = Command::new(env!("CARGO_BIN_EXE_akidb-embed"))
            .args(["models", "import", "--replace"])
            .arg(bundle)
            .env("AKIDB_HOME", self.directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        if let Some(time) = killed_after {
            std::thread::sleep(time);
            // It may have ended already.
            let _ = process.kill();
            process.wait().unwrap();
        } else {
            assert!(process.wait().unwrap().success());
        }
    }

    /// The letter that all files of the installed model are made of.
    fn letter(&self) -> Option<u8> {
        let model = self.store.find(ID).unwrap()?;
        let verified = self.store.verify(ID, &mut |_| {}).unwrap();
        assert_eq!(verified.damaged, Vec::<String>::new());
        let letters = FILES.map(|name| fs::read(model.root.join(name)).unwrap()[0]);
        assert_eq!(letters, [letters[0]; FILES.len()], "a mixture");
        Some(letters[0])
    }

    /// All files but locks.
    fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut todo = vec![self.directory.path().join("models")];
        while let Some(directory) = todo.pop() {
            for entry in fs::read_dir(directory).into_iter().flatten() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true if path.ends_with(".locks") => {}
                    true => todo.push(path),
                    false => found.push(path),
                }
            }
        }
        found
    }
}

/// Two bundles of the same revision, whose files differ in nothing but their letter.
fn bundles(directory: &Path) -> [PathBuf; 2] {
    let hub = TestHub::start();
    ["a", "b"].map(|letter| {
        let files = FILES.map(|name| (name, HubFile::small(letter.repeat(200_000))));
        hub.put(ID, COMMIT, files);
        let home = Home::new();
        let request = Request {
            model: ID.to_owned(),
            variant: None,
            revision: None,
            replace: false,
            machine: Machine {
                coreml: false,
                bf16: false,
            },
        };
        let options = HubOptions {
            endpoint: hub.endpoint(),
            ..HubOptions::default()
        };
        let pulled = Hub::new(options)
            .unwrap()
            .pull(&home.store, &request, &|_| ());
        pulled.unwrap();
        let bundle = directory.join(format!("{letter}.tar"));
        home.store.export(ID, &bundle, &mut |_| {}).unwrap();
        bundle
    })
}

/// How long an import takes.
fn measure(bundle: &Path) -> Duration {
    let start = Instant::now();
    Home::new().import(bundle, None);
    start.elapsed()
}

#[test]
fn a_replacement_that_is_killed_leaves_one_model_or_the_other() {
    let directory = tempfile::tempdir().unwrap();
    let [a, b] = bundles(directory.path());
    let home = Home::new();
    home.import(&a, None);
    let whole = measure(&a);
    for kill in 1..=KILLS {
        let other = match home.letter() {
            Some(b'a') => &b,
            _ => &a,
        };
        home.import(other, Some(whole * kill / KILLS));
        assert!(home.letter().is_some(), "kill {kill}");
    }
    home.store.remove(ID, &Removal::Unfinished).unwrap();
    assert!(home.letter().is_some());
    // The model and its manifest.
    assert_eq!(home.files().len(), FILES.len() + 1, "{:?}", home.files());
}

#[test]
fn what_a_killed_import_leaves_is_seen_and_goes() {
    let directory = tempfile::tempdir().unwrap();
    let [a, b] = bundles(directory.path());
    let whole = measure(&a);
    for kill in 1..=KILLS {
        let home = Home::new();
        home.import(&a, Some(whole * kill / KILLS));
        if home.letter().is_none() && !home.files().is_empty() {
            let unfinished = home.store.unfinished().unwrap();
            assert_eq!(unfinished.len(), 1, "{:?}", home.files());
            match kill % 3 {
                0 => home.import(&b, None),
                1 => drop(home.store.remove(ID, &Removal::Unfinished).unwrap()),
                _ => drop(home.store.remove(ID, &Removal::All).unwrap()),
            }
        }
        let expected = home.letter().map_or(0, |_| FILES.len() + 1);
        assert_eq!(home.files().len(), expected, "{:?}", home.files());
    }
}
