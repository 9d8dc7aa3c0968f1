//! API keys.

use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::SystemTime;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::caller::Caller;
use crate::grpc;
use crate::http::problem::{Cause, Problem};

/// Most bytes of the file of keys.
const MAX_FILE: u64 = 1 << 20;

/// Why a file of keys can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// It can't be read.
    #[error("it can't be read")]
    Read(#[from] std::io::Error),
    /// It is no file of keys.
    #[error("it is larger than {MAX_FILE} bytes")]
    TooLarge,
    /// A line isn't a key.
    #[error("line {line}: {message}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        message: &'static str,
    },
    /// Nobody could be answered.
    #[error("it holds no key")]
    Empty,
}

/// The keys of a file, of which only hashes are kept.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    path: Arc<Path>,
    current: Arc<RwLock<Current>>,
}

#[derive(Debug)]
struct Current {
    keys: Vec<Key>,
    seen: Option<(SystemTime, u64)>,
}

#[derive(Debug)]
struct Key {
    name: Arc<str>,
    hash: [u8; 32],
}

impl Keys {
    pub(crate) fn read(path: PathBuf) -> Result<Self, AccessError> {
        let seen = seen(&path);
        let current = Current {
            keys: read(&path)?,
            seen,
        };
        Ok(Self {
            path: path.into(),
            current: Arc::new(RwLock::new(current)),
        })
    }

    /// Reads the file anew, where it has changed; keeps the keys where it can't be used.
    pub(crate) fn refresh(&self) {
        let seen = seen(&self.path);
        if self.lock_read(|current| current.seen == seen) {
            return;
        }
        let keys = read(&self.path)
            .inspect(|keys| tracing::info!(keys = keys.len(), "the API keys were read anew"))
            .inspect_err(|error| {
                let error = error as &dyn std::error::Error;
                tracing::error!(error, path = %self.path.display(), "the API keys stay as they were");
            });
        let mut current = match self.current.write() {
            Ok(current) => current,
            Err(poisoned) => poisoned.into_inner(),
        };
        current.seen = seen;
        if let Ok(keys) = keys {
            current.keys = keys;
        }
    }

    fn lock_read<T>(&self, look: impl FnOnce(&Current) -> T) -> T {
        match self.current.read() {
            Ok(current) => look(&current),
            Err(poisoned) => look(&poisoned.into_inner()),
        }
    }

    /// Whose key the request has. All keys are compared, each as long as the others.
    fn name_of(&self, headers: &HeaderMap) -> Option<Arc<str>> {
        let value = headers.get(AUTHORIZATION)?.as_bytes();
        let (scheme, key) = value.split_at_checked(7)?;
        if !scheme.eq_ignore_ascii_case(b"bearer ") {
            return None;
        }
        let hash: [u8; 32] = Sha256::digest(key.trim_ascii()).into();
        self.lock_read(|current| {
            let same = |key: &&Key| bool::from(key.hash.ct_eq(&hash));
            let found: Vec<&Key> = current.keys.iter().filter(same).collect();
            found.first().map(|key| Arc::clone(&key.name))
        })
    }
}

fn seen(path: &Path) -> Option<(SystemTime, u64)> {
    let file = std::fs::metadata(path).ok()?;
    Some((file.modified().ok()?, file.len()))
}

fn read(path: &Path) -> Result<Vec<Key>, AccessError> {
    if std::fs::metadata(path)?.len() > MAX_FILE {
        return Err(AccessError::TooLarge);
    }
    parse(&std::fs::read_to_string(path)?)
}

/// One key a line, as `name:key` or `key`; empty lines and those that start with # are passed over.
fn parse(text: &str) -> Result<Vec<Key>, AccessError> {
    let mut keys = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let (name, key) = match text.split_once(':') {
            Some((name, key)) => (name.trim().to_owned(), key.trim()),
            None => (format!("key {line}"), text),
        };
        let wrong = |message| Err(AccessError::Line { line, message });
        if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
            return wrong("a name has 1 to 64 characters");
        }
        if key.is_empty() {
            return wrong("there is no key after the name");
        }
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return wrong("a key is made of visible ASCII characters");
        }
        keys.push(Key {
            name: name.into(),
            hash: Sha256::digest(key).into(),
        });
    }
    if keys.is_empty() {
        return Err(AccessError::Empty);
    }
    Ok(keys)
}

/// What needs no key: probes, and the pages, which hold nothing. `POST /` is TEI's way to embed, and
/// needs one.
pub(crate) fn is_open(method: &Method, path: &str) -> bool {
    let under = |prefix| path == prefix || path.starts_with(&format!("{prefix}/"));
    let page = path == "/" && [Method::GET, Method::HEAD].contains(method);
    let document = under("/docs") || path == "/openapi.json";
    page || document || under("/health") || under("/console") || path.starts_with(grpc::HEALTH)
}

/// Lets only those pass who have a key.
pub(crate) async fn authorize(
    State(keys): State<Keys>,
    mut request: Request,
    next: Next,
) -> Response {
    if is_open(request.method(), request.uri().path()) {
        return next.run(request).await;
    }
    let Some(name) = keys.name_of(request.headers()) else {
        let message = if request.headers().contains_key(AUTHORIZATION) {
            "this server doesn't know the API key"
        } else {
            "this server wants an API key: Authorization: Bearer KEY"
        };
        let mut response = Problem::new(Cause::Unauthorized, message).into_response();
        let bearer = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(WWW_AUTHENTICATE, bearer);
        return response;
    };
    tracing::Span::current().record("client", &*name);
    if let Some(caller) = request.extensions_mut().get_mut::<Caller>() {
        caller.client = name;
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, value.parse().unwrap());
        headers
    }

    #[test]
    fn a_key_is_found_by_its_text_alone() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(
            file.path(),
            "# people\n\nann:k-one\n k-two \nbob: k:three\n",
        )
        .unwrap();
        let keys = Keys::read(file.path().to_owned()).unwrap();
        let name = |value| keys.name_of(&headers(value));
        assert_eq!(name("Bearer k-one").as_deref(), Some("ann"));
        assert_eq!(name("bearer  k-two ").as_deref(), Some("key 4"));
        assert_eq!(name("Bearer k:three").as_deref(), Some("bob"));
        for wrong in [
            "Bearer k-on",
            "Bearer k-onee",
            "Bearer ann",
            "Bearer",
            "Bearer ",
            "k-one",
            "Basic k-one",
        ] {
            assert_eq!(name(wrong), None, "{wrong}");
        }
        assert_eq!(keys.name_of(&HeaderMap::new()), None);
        assert!(!format!("{keys:?}").contains("k-one"));
    }

    #[test]
    fn a_file_of_keys_that_is_wrong_is_refused() {
        for (text, what) in [
            ("", "no key"),
            ("# none\n", "no key"),
            ("ann:\n", "line 1"),
            ("a\nb:c\n:d\n", "line 3"),
            ("ann:two words\n", "visible ASCII"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(what), "{text:?}: {error}");
        }
    }

    #[test]
    fn keys_are_read_anew_and_kept_while_the_file_is_broken() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "one").unwrap();
        let keys = Keys::read(file.path().to_owned()).unwrap();
        std::fs::write(file.path(), "second").unwrap();
        keys.refresh();
        assert!(keys.name_of(&headers("Bearer second")).is_some());
        assert!(keys.name_of(&headers("Bearer one")).is_none());
        std::fs::write(file.path(), "ann:").unwrap();
        keys.refresh();
        assert!(keys.name_of(&headers("Bearer second")).is_some());
    }

    #[test]
    fn only_probes_and_pages_are_open() {
        for path in [
            "/",
            "/health",
            "/health/ready",
            "/console/page.js",
            "/docs/",
            "/openapi.json",
            "/grpc.health.v1.Health/Check",
        ] {
            assert!(is_open(&Method::GET, path), "{path}");
        }
        for path in [
            "/v1/embeddings",
            "/metrics",
            "/info",
            "/healthy",
            "//",
            "/embed",
            "/document",
        ] {
            assert!(!is_open(&Method::GET, path), "{path}");
        }
        assert!(!is_open(&Method::POST, "/"));
    }
}
