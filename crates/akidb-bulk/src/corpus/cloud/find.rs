//! From URLs to objects.

use std::io::{self, ErrorKind};
use std::path::Path;

use futures_util::TryStreamExt;
use glob::{MatchOptions, Pattern};
use object_store::path::Path as Key;
use object_store::{ObjectMeta, ObjectStoreExt};

use super::{Location, state};
use crate::corpus::file_state::FileState;
use crate::corpus::url::url_of;

/// As a shell has it.
const AS_IN_A_SHELL: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// An object that may be a file of the input.
pub(in crate::corpus) struct FoundObject {
    pub(in crate::corpus) url: String,
    /// Its key below what was named.
    pub(in crate::corpus) name: String,
    pub(in crate::corpus) state: FileState,
}

/// The objects that a URL leads to: one, those below it, or those that it matches as a glob; without
/// those below `out`.
pub(in crate::corpus) fn find(url: &str, out: &Path) -> io::Result<Vec<FoundObject>> {
    let location = Location::of(url)?;
    let out = url_of(out).map(Location::of).transpose()?;
    let is_out = |key: &Key| {
        let out = out.as_ref().filter(|out| out.base == location.base);
        out.is_some_and(|out| key.prefix_matches(&out.key))
    };
    let is_glob = location.key.as_ref().contains(['*', '[']);
    if location.is_web() && (is_glob || url.ends_with('/')) {
        return Err(io::Error::new(
            ErrorKind::Unsupported,
            "a web server doesn't say what it has: name each file",
        ));
    }
    // A bucket itself is a folder.
    let may_be_object = !url.ends_with('/') && !location.key.as_ref().is_empty();
    if !is_glob && may_be_object {
        match location.wait(location.store.head(&location.key)) {
            Ok(meta) => {
                let name = location.key.filename().unwrap_or_default().to_owned();
                return Ok(vec![found(&location, &meta, name)]);
            }
            Err(error) if error.kind() == ErrorKind::NotFound && !location.is_web() => {}
            Err(error) => return Err(error),
        }
    }
    let fixed: Key = match is_glob {
        true => {
            let parts = location.key.parts();
            parts
                .take_while(|part| !part.as_ref().contains(['*', '[']))
                .collect()
        }
        false => location.key.clone(),
    };
    let pattern = match is_glob {
        true => {
            let pattern = Pattern::new(location.key.as_ref());
            Some(pattern.map_err(|error| io::Error::new(ErrorKind::InvalidInput, error.msg))?)
        }
        false => None,
    };
    let listed = location.store.list(Some(&fixed));
    let mut objects: Vec<ObjectMeta> = location.wait(listed.try_collect())?;
    objects.sort_by(|a, b| a.location.cmp(&b.location));
    let objects = objects.iter().filter(|meta| !is_out(&meta.location));
    let objects = objects.filter_map(|meta| {
        let below = meta.location.prefix_match(&fixed)?;
        let below: Vec<String> = below.map(|part| part.as_ref().to_owned()).collect();
        let named = match &pattern {
            Some(pattern) => matched(pattern, &fixed, &below)?,
            None => 0,
        };
        // What programs keep for themselves, as in folders.
        let is_hidden = |part: &String| part.starts_with(['.', '_']);
        if below.iter().skip(named).any(is_hidden) {
            return None;
        }
        Some(found(&location, meta, below.join("/")))
    });
    Ok(objects.collect())
}

fn found(location: &Location, meta: &ObjectMeta, name: String) -> FoundObject {
    FoundObject {
        url: location.at(meta.location.clone()).url(),
        name,
        state: state(meta),
    }
}

/// How many parts of a key a glob has named: the object itself, or a folder that it is in.
fn matched(pattern: &Pattern, fixed: &Key, below: &[String]) -> Option<usize> {
    let mut path = fixed.as_ref().to_owned();
    below.iter().enumerate().find_map(|(place, part)| {
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(part);
        let matches = pattern.matches_with(&path, AS_IN_A_SHELL);
        matches.then_some(place + 1)
    })
}
