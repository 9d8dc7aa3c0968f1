//! Object stores and web servers: `s3://`, `gs://`, `az://`, `https://`.
//!
//! Credentials and endpoints are those of the environment, by the names that the providers' own tools
//! have for them (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, `GOOGLE_APPLICATION_CREDENTIALS`,
//! `AZURE_STORAGE_ACCOUNT_NAME`, …). Requests that fail for a while are tried again by `object_store`.

mod claims;
mod find;
mod object_file;
mod storage;

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::process;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path as Key;
use object_store::{
    ObjectMeta, ObjectStore, ObjectStoreScheme, PutMode, PutOptions, PutResult, parse_url_opts,
};
use tokio::runtime::{Builder, Handle, Runtime};
use twox_hash::XxHash3_128;
use url::Url;

use super::file_state::FileState;

pub(super) use find::find;
pub(super) use object_file::ObjectFile;
pub(super) use storage::ObjectStorage;

/// How often something is asked for, or put, whose answer breaks off.
const TRIES: u32 = 6;

/// Before the second try; doubled before each that follows.
const PAUSE: Duration = Duration::from_millis(200);

/// For one request: long enough for a unit on a slow line.
const TIMEOUT: &str = "300s";

/// What the environment's names begin with.
const PREFIXES: [&str; 3] = ["AWS_", "GOOGLE_", "AZURE_"];

/// Something in an object store, or on a web server.
#[derive(Clone)]
pub(super) struct Location {
    store: Arc<dyn ObjectStore>,
    runtime: Handle,
    /// Its URL without the key.
    base: Url,
    pub(super) key: Key,
}

impl Location {
    /// # Errors
    /// When the URL is none that is understood.
    pub(super) fn of(url: &str) -> io::Result<Self> {
        let wrong = |why: &str| io::Error::new(ErrorKind::InvalidInput, why.to_owned());
        let parsed = Url::parse(url).map_err(|error| wrong(&error.to_string()))?;
        if parsed.query().is_some() || parsed.password().is_some() {
            return Err(wrong(
                "a URL with a query or a password may be a secret, and what is written would name it",
            ));
        }
        let (scheme, key) = ObjectStoreScheme::parse(&parsed)
            .map_err(|_| wrong("s3://, gs://, az://, http:// and https:// are understood"))?;
        if matches!(scheme, ObjectStoreScheme::Local | ObjectStoreScheme::Memory) {
            return Err(wrong("files of this machine are named by their path"));
        }
        let mut base = parsed.clone();
        let segments = parsed.path_segments();
        let segments: Vec<&str> = segments
            .into_iter()
            .flatten()
            .filter(|s| !s.is_empty())
            .collect();
        let of_base = segments.len().saturating_sub(key.parts().count());
        base.set_path(&segments.get(..of_base).unwrap_or_default().join("/"));
        let (store, runtime) = client(&base, &parsed)?;
        Ok(Self {
            store,
            runtime,
            base,
            key,
        })
    }

    /// Another one in the same store.
    pub(super) fn at(&self, key: Key) -> Self {
        Self {
            key,
            ..self.clone()
        }
    }

    /// Something below it.
    pub(super) fn join(&self, name: &str) -> Self {
        let parts = name.split('/').filter(|part| !part.is_empty());
        let key = parts.fold(self.key.clone(), |key, part| key.join(part));
        self.at(key)
    }

    pub(super) fn url(&self) -> String {
        let mut url = self.base.clone();
        let path = self.base.path().trim_end_matches('/');
        // `set_path` leaves what looks escaped as it is.
        let key = self.key.as_ref().replace('%', "%25");
        url.set_path(&format!("{path}/{key}"));
        url.into()
    }

    /// Whether it is what a web server has, which doesn't say what else there is.
    pub(super) fn is_web(&self) -> bool {
        matches!(
            ObjectStoreScheme::parse(&self.base),
            Ok((ObjectStoreScheme::Http, _))
        )
    }

    /// Puts an object on a condition, again where no answer comes. One that was lost makes the next one
    /// say that the object is there: then it is true that it is, and that this was tried before.
    pub(super) fn put(&self, content: &Bytes, mode: &PutMode) -> (io::Result<PutResult>, bool) {
        let mut pause = PAUSE;
        for attempt in 1.. {
            let options = PutOptions::from(mode.clone());
            let put = self
                .store
                .put_opts(&self.key, content.clone().into(), options);
            match self.wait(put) {
                Err(error) if error.kind() == ErrorKind::Other && attempt < TRIES => {}
                answer => return (answer, attempt > 1),
            }
            thread::sleep(pause);
            pause *= 2;
        }
        (Err(ErrorKind::Other.into()), false)
    }

    /// Waits for a request.
    pub(super) fn wait<T>(
        &self,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> io::Result<T> {
        self.runtime.block_on(request).map_err(io_error)
    }
}

/// What changes with an object.
pub(super) fn state(meta: &ObjectMeta) -> FileState {
    let version = match &meta.e_tag {
        // Azure quotes it in the answer about a blob, and not in a list of them.
        Some(tag) => XxHash3_128::oneshot(tag.trim_matches('"').as_bytes()) as u64,
        None => {
            let nanoseconds = meta.last_modified.timestamp_nanos_opt();
            nanoseconds.unwrap_or_default().unsigned_abs()
        }
    };
    FileState {
        bytes: meta.size,
        version,
    }
}

/// The clients of this process. A fork has none of its parent's threads, and makes its own.
#[derive(Default)]
struct Clients {
    of_process: u32,
    runtime: Option<Runtime>,
    stores: HashMap<Url, Arc<dyn ObjectStore>>,
}

static CLIENTS: Mutex<Option<Clients>> = Mutex::new(None);

/// The client for a bucket, one a process.
fn client(base: &Url, url: &Url) -> io::Result<(Arc<dyn ObjectStore>, Handle)> {
    let mut clients = CLIENTS.lock().unwrap_or_else(PoisonError::into_inner);
    let clients = clients.get_or_insert_default();
    if clients.of_process != process::id() {
        // Waiting for the parent's threads would never end.
        std::mem::forget(std::mem::take(clients));
        clients.of_process = process::id();
    }
    let runtime = match clients.runtime.take() {
        Some(runtime) => runtime,
        None => {
            // Fails where a provider was chosen before; then it is that one.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(1).thread_name("akidb-cloud");
            builder.enable_all().build()?
        }
    };
    let handle = runtime.handle().clone();
    clients.runtime = Some(runtime);
    if let Some(store) = clients.stores.get(base) {
        return Ok((Arc::clone(store), handle));
    }
    let (store, _) = parse_url_opts(url, options(url)).map_err(io_error)?;
    let store: Arc<dyn ObjectStore> = store.into();
    clients.stores.insert(base.clone(), Arc::clone(&store));
    Ok((store, handle))
}

/// Settings for clients, of the environment.
fn options(url: &Url) -> Vec<(String, String)> {
    let set = std::env::vars_os();
    let set =
        set.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let set = set.filter(|(name, _)| PREFIXES.iter().any(|prefix| name.starts_with(prefix)));
    let mut options = vec![("timeout".to_owned(), TIMEOUT.to_owned())];
    options.extend(set.map(|(name, value)| (name.to_ascii_lowercase(), value)));
    let is_plain = |(name, value): &(String, String)| {
        name.contains("endpoint") && value.starts_with("http://")
    };
    if url.scheme() == "http" || options.iter().any(is_plain) {
        options.push(("allow_http".to_owned(), "true".to_owned()));
    }
    options
}

/// With a kind that callers look at, and without queries of URLs, which may be signatures.
fn io_error(error: object_store::Error) -> io::Error {
    use object_store::Error;
    let text = error.to_string();
    let kind = match &error {
        Error::NotFound { .. } => ErrorKind::NotFound,
        // A bucket that isn't there.
        Error::Generic { .. } if text.contains("status code: 404") => ErrorKind::NotFound,
        Error::AlreadyExists { .. } | Error::Precondition { .. } => ErrorKind::AlreadyExists,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            ErrorKind::PermissionDenied
        }
        Error::NotSupported { .. } | Error::NotImplemented { .. } => ErrorKind::Unsupported,
        _ => ErrorKind::Other,
    };
    io::Error::new(kind, without_queries(&text))
}

fn without_queries(text: &str) -> String {
    let words = text.split_inclusive(char::is_whitespace);
    let words = words.map(|word| match word.split_once('?') {
        Some((url, query)) if url.contains("://") => {
            let end = query.find(|c: char| c.is_whitespace() || "\"')".contains(c));
            format!("{url}{}", end.map_or("", |end| &query[end..]))
        }
        _ => word.to_owned(),
    });
    words.collect()
}

#[cfg(test)]
impl Location {
    /// A folder that nobody else knows.
    fn in_memory() -> Self {
        let runtime = Self::of("s3://bucket").unwrap().runtime;
        Self {
            store: Arc::new(object_store::memory::InMemory::new()),
            runtime,
            base: Url::parse("memory:///").unwrap(),
            key: Key::from("out"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_parted_into_a_base_and_a_key() {
        for (url, base, key) in [
            ("s3://bucket", "s3://bucket", ""),
            ("s3://bucket/a/b%20c.txt", "s3://bucket", "a/b c.txt"),
            ("gs://bucket/a/", "gs://bucket", "a"),
            (
                "https://host.example:8080/a/b.txt",
                "https://host.example:8080/",
                "a/b.txt",
            ),
        ] {
            let location = Location::of(url).unwrap();
            assert_eq!(location.base.as_str(), base, "{url}");
            assert_eq!(location.key.as_ref(), key, "{url}");
        }
        let location = Location::of("s3://bucket/a").unwrap();
        assert_eq!(
            location.join("_run/x.json").url(),
            "s3://bucket/a/_run/x.json"
        );
        let location = location.at(Key::parse("a/50% #1?").unwrap());
        assert_eq!(location.url(), "s3://bucket/a/50%25%20%231%3F");
        assert_eq!(Location::of(&location.url()).unwrap().key, location.key);
        for url in [
            "ftp://a/b",
            "file:///etc",
            "https://a/b?sig=x",
            "https://a:b@c/d",
            "memory:///a",
        ] {
            assert!(Location::of(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_tag_is_the_same_with_and_without_quotes() {
        let with_tag = |tag: &str| ObjectMeta {
            location: Key::from("a"),
            last_modified: std::time::SystemTime::UNIX_EPOCH.into(),
            size: 1,
            e_tag: Some(tag.to_owned()),
            version: None,
        };
        let listed = state(&with_tag("0x8DE1")).version;
        assert_eq!(state(&with_tag("\"0x8DE1\"")).version, listed);
        assert_ne!(state(&with_tag("0x8DE2")).version, listed);
    }

    #[test]
    fn errors_hold_no_signatures() {
        let told =
            without_queries("GET https://a/b?sig=secret&x=1 failed (\"http://c/d?t=secret\")");
        assert_eq!(told, "GET https://a/b failed (\"http://c/d\")");
    }
}
