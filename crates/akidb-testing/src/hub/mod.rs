//! A server on loopback that speaks the Hugging Face Hub's HTTP, and fails on request.
//!
//! It has two addresses, as the hub has: one for listings, small files and redirects, one that large
//! files are sent from.

mod answer;
mod proxy;
mod serve;
mod tls;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::ServerConfig;
use sha2::Digest;

pub use proxy::TestProxy;

/// A file that the hub has.
#[derive(Debug, Clone)]
pub struct HubFile {
    pub(crate) bytes: Arc<Vec<u8>>,
    pub(crate) sha256: String,
    /// As git names it; of a large file, that of the pointer.
    pub(crate) blob: String,
    /// Whether it is in large file storage.
    pub(crate) large: bool,
}

/// What goes wrong. Counts go down as they are used up.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// Answers with these statuses and values of `Retry-After` before it works.
    pub statuses: Vec<(u16, Option<String>)>,
    /// Cuts the connection of every body after so many bytes.
    pub cut_after: Option<u64>,
    /// Turns a bit of the byte at this offset of a large file over, in so many answers.
    pub flip: Option<(u64, usize)>,
    /// Says that files have so many bytes more than they have.
    pub longer: u64,
    /// After so many requests for files, each has another entity tag.
    pub new_etags_after: Option<usize>,
    /// Sends every request for a file back to where it came from.
    pub redirect_loop: bool,
    /// Gives whole files only.
    pub no_ranges: bool,
    /// Lists names without sizes and checksums.
    pub names_only: bool,
    /// Accepts requests for files and never answers.
    pub silent: bool,
    /// Bytes a second of each connection.
    pub bytes_per_second: Option<u64>,
    /// The token that requests to the hub itself need.
    pub token: Option<String>,
    /// An address that large files were sent on to works for so many requests.
    pub uses_of_location: Option<usize>,
}

/// A request that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// `GET` or `HEAD`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Value of `Range`.
    pub range: Option<String>,
    /// Value of `Authorization`.
    pub authorization: Option<String>,
    /// Whether it went to the address that large files are sent from.
    pub storage: bool,
}

/// A running hub. It serves until the process ends.
#[derive(Debug, Clone)]
pub struct TestHub {
    pub(crate) state: Arc<State>,
}

#[derive(Debug)]
pub(crate) struct State {
    /// Address of the hub, with its scheme.
    pub(crate) hub: String,
    /// Address that large files are sent from.
    pub(crate) storage: String,
    /// Where it speaks HTTPS.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    pub(crate) repositories: Mutex<BTreeMap<String, Repository>>,
    pub(crate) faults: Mutex<Faults>,
    pub(crate) log: Mutex<Vec<Logged>>,
    pub(crate) sent: AtomicU64,
    pub(crate) file_requests: AtomicU64,
    pub(crate) location_uses: Mutex<BTreeMap<String, usize>>,
}

#[derive(Debug, Clone)]
pub(crate) struct Repository {
    pub(crate) commit: String,
    pub(crate) files: BTreeMap<String, HubFile>,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

fn git_blob(bytes: &[u8]) -> String {
    let mut hasher = sha1::Sha1::new();
    hasher.update(format!("blob {}\0", bytes.len()));
    hasher.update(bytes);
    hex(hasher.finalize())
}

impl HubFile {
    /// A file in git.
    pub fn small(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self {
            sha256: hex(sha2::Sha256::digest(&bytes)),
            blob: git_blob(&bytes),
            bytes: Arc::new(bytes),
            large: false,
        }
    }

    /// A file in large file storage.
    pub fn large(bytes: impl Into<Vec<u8>>) -> Self {
        let file = Self::small(bytes);
        let pointer = format!(
            "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n",
            file.sha256,
            file.bytes.len()
        );
        Self {
            blob: git_blob(pointer.as_bytes()),
            large: true,
            ..file
        }
    }

    /// A large file of `size` bytes that look random and are the same each time.
    pub fn generated(size: usize) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut bytes = Vec::with_capacity(size + 8);
        while bytes.len() < size {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        bytes.truncate(size);
        Self::large(bytes)
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its SHA-256 in hexadecimal digits.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

impl TestHub {
    /// A hub without repositories on free ports.
    ///
    /// Panics when the system gives no port.
    pub fn start() -> Self {
        Self::on(0)
    }

    /// A hub without repositories on this port, and its storage on a free one.
    ///
    /// Panics when the system doesn't give the port.
    pub fn on(port: u16) -> Self {
        Self::serving(port, "http", ["127.0.0.1"; 2], None)
    }

    /// A hub without repositories that speaks HTTPS, as `hub.test`, with its storage at
    /// `storage.test`: names that no resolver knows, so that only a [`TestProxy`] leads there. Also the
    /// certificate of the authority that vouches for both, in PEM.
    ///
    /// Panics when the system gives no port, or no certificate can be made.
    pub fn with_tls() -> (Self, String) {
        let names = ["hub.test", "storage.test"];
        let (config, authority) = tls::certified(names);
        (Self::serving(0, "https", names, Some(config)), authority)
    }

    fn serving(port: u16, scheme: &str, names: [&str; 2], tls: Option<Arc<ServerConfig>>) -> Self {
        let listen = |port| {
            let listener = TcpListener::bind(("127.0.0.1", port))
                .unwrap_or_else(|e| panic!("no port on loopback: {e}"));
            let address = listener.local_addr();
            (
                listener,
                address.unwrap_or_else(|e| panic!("no address: {e}")),
            )
        };
        let (hub, storage) = (listen(port), listen(0));
        let [hub_name, storage_name] = names;
        let state = Arc::new(State {
            hub: format!("{scheme}://{hub_name}:{}", hub.1.port()),
            storage: format!("{scheme}://{storage_name}:{}", storage.1.port()),
            tls,
            repositories: Mutex::default(),
            faults: Mutex::default(),
            log: Mutex::default(),
            sent: AtomicU64::new(0),
            file_requests: AtomicU64::new(0),
            location_uses: Mutex::default(),
        });
        for (listener, is_storage) in [(hub.0, false), (storage.0, true)] {
            let state = Arc::clone(&state);
            std::thread::spawn(move || serve::serve(&listener, &state, is_storage));
        }
        Self { state }
    }

    /// Its address, as `HF_ENDPOINT` takes it.
    pub fn endpoint(&self) -> String {
        self.state.hub.clone()
    }

    /// Puts a repository at this commit (40 hexadecimal digits) onto the branch `main`.
    pub fn put<'f>(
        &self,
        id: &str,
        commit: &str,
        files: impl IntoIterator<Item = (&'f str, HubFile)>,
    ) {
        let files = files
            .into_iter()
            .map(|(name, file)| (name.to_owned(), file));
        let repository = Repository {
            commit: commit.to_owned(),
            files: files.collect(),
        };
        lock(&self.state.repositories).insert(id.to_owned(), repository);
    }

    /// As [`put`](Self::put), with the files of a directory and its subdirectories. Those of more than
    /// 1 MB are in large file storage.
    ///
    /// Panics when they can't be read.
    pub fn put_directory(&self, id: &str, commit: &str, directory: &Path) {
        let mut files = Vec::new();
        collect(directory, "", &mut files);
        let files = files
            .iter()
            .map(|(name, file)| (name.as_str(), file.clone()));
        self.put(id, commit, files);
    }

    /// From now on, these things go wrong.
    pub fn fail(&self, faults: Faults) {
        *lock(&self.state.faults) = faults;
    }

    /// Requests since the last call.
    pub fn take_log(&self) -> Vec<Logged> {
        std::mem::take(&mut *lock(&self.state.log))
    }

    /// Bytes of files that were sent so far.
    pub fn sent(&self) -> u64 {
        self.state.sent.load(Ordering::Relaxed)
    }
}

fn collect(directory: &Path, prefix: &str, files: &mut Vec<(String, HubFile)>) {
    let entries = std::fs::read_dir(directory)
        .unwrap_or_else(|e| panic!("{} can't be read: {e}", directory.display()));
    for entry in entries.flatten() {
        let (path, name) = (
            entry.path(),
            entry.file_name().to_string_lossy().into_owned(),
        );
        if path.is_dir() {
            collect(&path, &format!("{prefix}{name}/"), files);
            continue;
        }
        let bytes = std::fs::read(&path)
            .unwrap_or_else(|e| panic!("{} can't be read: {e}", path.display()));
        let file = if bytes.len() > 1_000_000 {
            HubFile::large(bytes)
        } else {
            HubFile::small(bytes)
        };
        files.push((format!("{prefix}{name}"), file));
    }
}
