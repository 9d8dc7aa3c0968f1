//! API keys.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use akidb_embedding::files::read_regular_file;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::caller::Caller;
use crate::interfaces::is_open;
use crate::problem::{Cause, Problem};

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
    /// Of the file that they come from: its times and its length can stay when it changes.
    file: [u8; 32],
}

#[derive(Debug)]
struct Key {
    name: Arc<str>,
    hash: [u8; 32],
}

impl Keys {
    pub(crate) fn read(path: PathBuf) -> Result<Self, AccessError> {
        let text = read(&path)?;
        let current = Current {
            keys: parse(&text)?,
            file: Sha256::digest(&text).into(),
        };
        Ok(Self {
            path: path.into(),
            current: Arc::new(RwLock::new(current)),
        })
    }

    /// Reads the file anew; keeps the keys where it can't be used. Says whether it has changed.
    pub(crate) fn refresh(&self) -> Result<bool, AccessError> {
        let text = read(&self.path)?;
        let file = Sha256::digest(&text).into();
        if self.lock_read(|current| current.file == file) {
            return Ok(false);
        }
        let keys = parse(&text)?;
        let mut current = match self.current.write() {
            Ok(current) => current,
            Err(poisoned) => poisoned.into_inner(),
        };
        *current = Current { keys, file };
        Ok(true)
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

fn read(path: &Path) -> Result<String, AccessError> {
    let bytes = read_regular_file(path, MAX_FILE).map_err(|error| match error.kind() {
        ErrorKind::FileTooLarge => AccessError::TooLarge,
        _ => AccessError::Read(error),
    })?;
    String::from_utf8(bytes).map_err(|e| std::io::Error::new(ErrorKind::InvalidData, e).into())
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
        assert!(!keys.refresh().unwrap());
        std::fs::write(file.path(), "second").unwrap();
        assert!(keys.refresh().unwrap());
        assert!(keys.name_of(&headers("Bearer second")).is_some());
        assert!(keys.name_of(&headers("Bearer one")).is_none());
        for broken in [&b"ann:"[..], &[0xff], &[b'x'; (1 << 20) + 1]] {
            std::fs::write(file.path(), broken).unwrap();
            // Each time, until it can be used.
            assert!(keys.refresh().is_err() && keys.refresh().is_err());
            assert!(keys.name_of(&headers("Bearer second")).is_some());
        }
        std::fs::remove_file(file.path()).unwrap();
        assert!(keys.refresh().is_err());
        std::fs::write(file.path(), "third").unwrap();
        assert!(keys.refresh().unwrap());
        assert!(keys.name_of(&headers("Bearer second")).is_none());
    }

    #[test]
    fn a_revoked_key_goes_where_length_and_times_stay() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "first").unwrap();
        let keys = Keys::read(file.path().to_owned()).unwrap();
        let time = file.as_file().metadata().unwrap().modified().unwrap();
        std::fs::write(file.path(), "other").unwrap();
        file.as_file().set_modified(time).unwrap();
        assert!(keys.refresh().unwrap());
        assert!(keys.name_of(&headers("Bearer first")).is_none());
    }
}
