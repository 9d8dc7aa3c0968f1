//! A hub with a model, and a store to pull it into.

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use akidb_models::{Error, Event, Hub, HubOptions, Machine, Pulled, Request, Store, Token};
use akidb_testing::{HubFile, TestHub};

pub(crate) const ID: &str = "owner/model";
pub(crate) const COMMIT: &str = "00112233445566778899aabbccddeeff00112233";
pub(crate) const NEXT: &str = "ffffffffffffffffffffffffffffffffffffffff";

/// Bytes of the large file.
pub(crate) const LARGE: usize = 3_000_000;

pub(crate) struct Setup {
    pub(crate) home: tempfile::TempDir,
    pub(crate) hub: TestHub,
    pub(crate) store: Store,
    pub(crate) options: HubOptions,
}

pub(crate) fn model_files() -> Vec<(&'static str, HubFile)> {
    vec![
        ("config.json", HubFile::small("{}")),
        ("tokenizer.json", HubFile::large(vec![b' '; 40_000])),
        ("tokenizer_config.json", HubFile::small("{\"a\": 1}")),
        ("1_Pooling/config.json", HubFile::small("{ }")),
        ("README.md", HubFile::small("# no part of the model")),
        ("onnx/model.onnx", HubFile::small("graph")),
        ("onnx/model.onnx_data", HubFile::generated(LARGE)),
        ("onnx/model_int8.onnx", HubFile::generated(200_000)),
    ]
}

pub(crate) fn setup() -> Setup {
    let hub = TestHub::start();
    hub.put(ID, COMMIT, model_files());
    let home = tempfile::tempdir().unwrap();
    Setup {
        store: Store::open(Some(home.path().to_owned()), None).unwrap(),
        options: options(&hub),
        hub,
        home,
    }
}

/// Small parts and short pauses.
pub(crate) fn options(hub: &TestHub) -> HubOptions {
    HubOptions {
        endpoint: hub.endpoint(),
        segment_bytes: 256 << 10,
        pause: Duration::from_millis(2),
        silence: Duration::from_millis(500),
        ..HubOptions::default()
    }
}

pub(crate) fn request(variant: &str) -> Request {
    Request {
        model: ID.to_owned(),
        variant: Some(variant.to_owned()),
        revision: None,
        replace: false,
        machine: Machine {
            coreml: false,
            bf16: false,
        },
    }
}

impl Setup {
    pub(crate) fn pull(&self, variant: &str) -> Result<Pulled, Error> {
        self.pull_with(&request(variant))
    }

    pub(crate) fn pull_with(&self, request: &Request) -> Result<Pulled, Error> {
        self.pull_telling(request).0
    }

    /// Also what the pull told, one line a step, without arrivals.
    pub(crate) fn pull_telling(&self, request: &Request) -> (Result<Pulled, Error>, Vec<String>) {
        let told = Mutex::new(Vec::new());
        let tell = |event: Event<'_>| {
            if !matches!(event, Event::Arrived { .. }) {
                told.lock().unwrap().push(format!("{event:?}"));
            }
        };
        let hub = Hub::new(self.options.clone()).unwrap();
        let result = hub.pull(&self.store, request, &tell);
        (result, told.into_inner().unwrap())
    }

    pub(crate) fn with_token(&mut self, token: &str) {
        self.options.token = Some(Token::new(token));
    }

    /// The model doesn't exist as far as anyone who loads it can see.
    pub(crate) fn nothing_is_visible(&self) {
        assert!(self.store.find(ID).unwrap().is_none());
        assert!(self.store.installed().unwrap().is_empty());
    }

    /// All files are there with the bytes of the hub.
    pub(crate) fn is_whole(&self, variant: &str) {
        let found = self.store.find(ID).unwrap().unwrap();
        let manifest = found.manifest().unwrap();
        let variant = manifest.variant(variant).unwrap();
        let files = model_files();
        for (name, file) in &files {
            let of_variant = variant.files.iter().any(|f| f.as_str() == *name);
            if of_variant || !name.starts_with("onnx/") && *name != "README.md" {
                let bytes = std::fs::read(found.root.join(name)).unwrap();
                assert!(bytes == file.bytes(), "{name}");
            }
        }
        let verified = self.store.verify(ID, &mut |_| {}).unwrap();
        assert_eq!((verified.damaged, verified.unknown), (vec![], 0));
    }
}

/// Names of all files under a directory, hidden ones too.
pub(crate) fn tree(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo = vec![directory.to_owned()];
    while let Some(next) = todo.pop() {
        for entry in std::fs::read_dir(next).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                todo.push(path);
            } else {
                let path = path.strip_prefix(directory).unwrap();
                found.push(path.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    found.sort();
    found
}
