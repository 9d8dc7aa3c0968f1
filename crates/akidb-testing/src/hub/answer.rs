//! What the hub says to a request.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::{HubFile, Logged, Repository, State, lock};

pub(super) enum Answer {
    Content(Content),
    Silence,
}

pub(super) struct Content {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    /// Whether the body is a file's.
    pub(super) is_file: bool,
    bytes: Arc<Vec<u8>>,
    range: Range<usize>,
    /// Bytes that are promised and never come.
    longer: u64,
    /// Offset in the file of a byte that is sent wrong.
    flip: Option<u64>,
}

impl Content {
    fn new(status: u16, text: &str) -> Self {
        Self {
            status,
            headers: Vec::new(),
            is_file: false,
            bytes: Arc::new(text.as_bytes().to_vec()),
            range: 0..text.len(),
            longer: 0,
            flip: None,
        }
    }

    fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    pub(super) fn body(&self) -> &[u8] {
        self.bytes.get(self.range.clone()).unwrap_or_default()
    }

    pub(super) fn length(&self) -> u64 {
        self.range.len() as u64 + self.longer
    }

    /// Where in the next `len` bytes, of which `written` came before, a byte is wrong.
    pub(super) fn flipped(&self, written: u64, len: usize) -> Option<usize> {
        let start = self.range.start as u64 + written;
        let at = usize::try_from(self.flip?.checked_sub(start)?).ok()?;
        (at < len).then_some(at)
    }
}

pub(super) fn answer(state: &State, request: &Logged) -> Answer {
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let faults = lock(&state.faults).clone();
    if let Some(token) = &faults.token
        && !request.storage
        && request.authorization.as_ref() != Some(&format!("Bearer {token}"))
    {
        return Answer::Content(Content::new(401, "no").with("X-Error-Code", "GatedRepo"));
    }
    let repositories = lock(&state.repositories).clone();
    if let Some(path) = path.strip_prefix("/api/models/") {
        return Answer::Content(api(&repositories, path, query, faults.names_only));
    }
    state.file_requests.fetch_add(1, Ordering::Relaxed);
    if faults.silent {
        return Answer::Silence;
    }
    let mut statuses = std::mem::take(&mut lock(&state.faults).statuses);
    if !statuses.is_empty() {
        let (status, after) = statuses.remove(0);
        lock(&state.faults).statuses = statuses;
        let content = Content::new(status, "later");
        return Answer::Content(match after {
            Some(after) => content.with("Retry-After", after),
            None => content,
        });
    }
    if faults.redirect_loop {
        let there = if path.ends_with("/b") { "/a" } else { "/b" };
        return Answer::Content(Content::new(302, "").with("Location", format!("/loop{there}")));
    }
    Answer::Content(match path.strip_prefix("/storage/") {
        Some(sha256) if request.storage => storage(state, &repositories, request, sha256, query),
        _ => resolve(state, &repositories, request, path),
    })
}

/// `{id}`, `{id}/revision/{revision}` or `{id}/tree/{revision}`.
fn api(
    repositories: &BTreeMap<String, Repository>,
    path: &str,
    query: &str,
    names_only: bool,
) -> Content {
    let split = |word: &str| {
        path.split_once(word)
            .map(|(id, revision)| (id, Some(revision)))
    };
    let tree = path.contains("/tree/");
    let (id, revision) = split("/revision/")
        .or_else(|| split("/tree/"))
        .unwrap_or((path, None));
    let found = repositories
        .get(id)
        .filter(|r| of_revision(r, revision.unwrap_or("main")));
    let Some(repository) = found else {
        return Content::new(404, "{\"error\":\"Repository not found\"}")
            .with("X-Error-Code", "RepoNotFound");
    };
    let with_blobs = query.contains("blobs=true") && !names_only;
    let body = if tree {
        Value::Array(
            repository
                .files
                .iter()
                .map(|(n, f)| tree_entry(n, f))
                .collect(),
        )
    } else {
        let files = repository.files.iter();
        json!({
            "id": id,
            "modelId": id,
            "sha": repository.commit,
            "private": false,
            "tags": ["license:apache-2.0"],
            "siblings": files.map(|(n, f)| sibling(n, f, with_blobs)).collect::<Vec<_>>(),
        })
    };
    Content::new(200, &body.to_string())
        .with("Content-Type", "application/json")
        .with("X-Repo-Commit", &repository.commit)
}

fn of_revision(repository: &Repository, revision: &str) -> bool {
    revision == "main" || revision == repository.commit
}

fn sibling(name: &str, file: &HubFile, with_blobs: bool) -> Value {
    let mut entry = json!({ "rfilename": name });
    if with_blobs {
        entry["size"] = file.bytes.len().into();
        entry["blobId"] = file.blob.clone().into();
        if file.large {
            entry["lfs"] =
                json!({ "sha256": file.sha256, "size": file.bytes.len(), "pointerSize": 134 });
        }
    }
    entry
}

fn tree_entry(name: &str, file: &HubFile) -> Value {
    let mut entry =
        json!({ "type": "file", "path": name, "size": file.bytes.len(), "oid": file.blob });
    if file.large {
        entry["lfs"] = json!({ "oid": file.sha256, "size": file.bytes.len(), "pointerSize": 134 });
    }
    entry
}

/// `/{id}/resolve/{revision}/{file}`.
fn resolve(
    state: &State,
    repositories: &BTreeMap<String, Repository>,
    request: &Logged,
    path: &str,
) -> Content {
    let not_found = || Content::new(404, "no").with("X-Error-Code", "EntryNotFound");
    let parts = path.trim_start_matches('/').split_once("/resolve/");
    let parts = parts.and_then(|(id, rest)| Some((id, rest.split_once('/')?)));
    let Some((id, (revision, name))) = parts else {
        return not_found();
    };
    let found = repositories.get(id).filter(|r| of_revision(r, revision));
    let Some((repository, file)) = found.and_then(|r| Some((r, r.files.get(name)?))) else {
        return not_found();
    };
    let tag = etag(state, file);
    if !file.large {
        return body(state, request, file, None)
            .with("ETag", format!("\"{tag}\""))
            .with("X-Repo-Commit", &repository.commit);
    }
    let uses = lock(&state.location_uses).len();
    Content::new(302, "")
        .with(
            "Location",
            format!("{}/storage/{}?signature={uses}", state.storage, file.sha256),
        )
        .with("X-Linked-Etag", format!("\"{tag}\""))
        .with("X-Linked-Size", file.bytes.len())
        .with("X-Repo-Commit", &repository.commit)
}

fn etag(state: &State, file: &HubFile) -> String {
    let after = lock(&state.faults).new_etags_after;
    let requests = state.file_requests.load(Ordering::Relaxed);
    let tag = if file.large { &file.sha256 } else { &file.blob };
    match after {
        Some(after) if requests > after as u64 => tag.chars().rev().collect(),
        _ => tag.clone(),
    }
}

fn storage(
    state: &State,
    repositories: &BTreeMap<String, Repository>,
    request: &Logged,
    sha256: &str,
    query: &str,
) -> Content {
    let mut uses = lock(&state.location_uses);
    let used = uses.entry(query.to_owned()).or_default();
    *used += 1;
    if lock(&state.faults)
        .uses_of_location
        .is_some_and(|limit| *used > limit)
    {
        return Content::new(403, "expired");
    }
    drop(uses);
    let mut files = repositories.values().flat_map(|r| r.files.values());
    let Some(file) = files.find(|f| f.large && f.sha256 == sha256) else {
        return Content::new(404, "no");
    };
    let mut flip = None;
    if let Some((offset, left)) = &mut lock(&state.faults).flip
        && *left > 0
        && *offset < file.bytes.len() as u64
        && holds(request, *offset)
    {
        *left -= 1;
        flip = Some(*offset);
    }
    // Object stores have tags of their own.
    body(state, request, file, flip).with("ETag", "\"0123456789abcdef0123456789abcdef-7\"")
}

fn holds(request: &Logged, offset: u64) -> bool {
    let range = request.range.as_deref().and_then(bounds);
    range.is_none_or(|(from, last)| (from..=last).contains(&(offset as usize)))
}

/// First and last byte of `bytes=a-b` or `bytes=a-`.
fn bounds(range: &str) -> Option<(usize, usize)> {
    let (from, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let last = if last.is_empty() {
        usize::MAX
    } else {
        last.parse().ok()?
    };
    Some((from.parse().ok()?, last))
}

fn body(state: &State, request: &Logged, file: &HubFile, flip: Option<u64>) -> Content {
    let faults = lock(&state.faults).clone();
    let size = file.bytes.len();
    let range = request
        .range
        .as_deref()
        .and_then(bounds)
        .filter(|_| !faults.no_ranges);
    let mut content = Content {
        status: 200,
        headers: vec![("Accept-Ranges", "bytes".to_owned())],
        is_file: true,
        bytes: Arc::clone(&file.bytes),
        range: 0..size,
        longer: faults.longer,
        flip,
    };
    if let Some((from, last)) = range {
        if from >= size {
            return Content::new(416, "").with("Content-Range", format!("bytes */{size}"));
        }
        let end = size.min(last.saturating_add(1));
        let total = size as u64 + faults.longer;
        content.status = 206;
        content.longer = 0;
        content.range = from..end;
        content = content.with("Content-Range", format!("bytes {from}-{}/{total}", end - 1));
    }
    content
}
