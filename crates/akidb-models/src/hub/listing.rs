//! What the hub says that a repository holds.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use serde::Deserialize;
use sha2::Digest;

use super::http::{Http, protocol};
use super::retry::Failure;
use crate::error::Error;
use crate::hash::Hashes;
use crate::hex::{Commit, GitBlob, Hex, Sha256};
use crate::name::{ModelId, RepoPath};

/// Longest listing that is read, in bytes.
const MAX_LISTING: u64 = 32 << 20;

/// Largest file that is fetched, in bytes.
const MAX_FILE: u64 = 1 << 40;

/// A repository at one commit.
#[derive(Debug, Clone)]
pub(crate) struct Listing {
    pub(crate) id: ModelId,
    pub(crate) revision: Commit,
    pub(crate) license: Option<String>,
    files: BTreeMap<RepoPath, Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    size: Option<u64>,
    checksum: Option<Checksum>,
}

/// A file that can be fetched.
#[derive(Debug, Clone)]
pub(crate) struct RemoteFile {
    pub(crate) path: RepoPath,
    pub(crate) size: u64,
    pub(crate) checksum: Checksum,
    pub(crate) url: String,
}

/// How the hub names a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checksum {
    /// Of files in large file storage.
    Sha256(Sha256),
    /// Of files in git.
    Git(GitBlob),
}

impl RemoteFile {
    /// The name of its download.
    pub(crate) fn part_name(&self) -> String {
        part_name(&self.path, self.checksum)
    }
}

/// Names a download by what it holds and where it goes: two files may have the same content.
fn part_name(path: &RepoPath, checksum: Checksum) -> String {
    let place: [u8; 32] = sha2::Sha256::digest(path.as_str()).into();
    format!("{checksum}-{:.16}", Hex(place).to_string())
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(hash) => hash.fmt(f),
            Self::Git(hash) => hash.fmt(f),
        }
    }
}

impl Checksum {
    /// Reads the entity tag that the hub gives a file; other servers have tags of other forms.
    pub(crate) fn from_etag(tag: &str) -> Option<Self> {
        let sha256 = tag.parse().map(Self::Sha256);
        sha256.or_else(|_| tag.parse().map(Self::Git)).ok()
    }

    /// Whether checksums that were computed are these; otherwise the computed one of the same kind.
    pub(crate) fn compare(&self, found: &Hashes) -> Result<(), String> {
        match (self, found.git) {
            (Self::Sha256(expected), _) if *expected == found.sha256 => Ok(()),
            (Self::Git(expected), Some(git)) if *expected == git => Ok(()),
            (Self::Git(_), Some(git)) => Err(git.to_string()),
            _ => Err(found.sha256.to_string()),
        }
    }
}

#[derive(Deserialize)]
struct ModelInfo {
    sha: Option<String>,
    #[serde(default)]
    siblings: Vec<Sibling>,
    #[serde(default)]
    tags: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: Option<String>,
    size: Option<u64>,
}

/// A revision in an address: branches may have slashes.
fn in_url(revision: &str) -> String {
    let unreserved = |c: u8| c.is_ascii_alphanumeric() || b"._-".contains(&c);
    let encode = |c: u8| match unreserved(c) {
        true => char::from(c).to_string(),
        false => format!("%{c:02X}"),
    };
    revision.bytes().map(encode).collect()
}

impl Listing {
    /// Asks for the repository `id` at a branch, tag or commit.
    pub(crate) fn get(http: &Http, id: &ModelId, revision: &str) -> Result<Self, Failure> {
        let what = format!("{id} at revision {revision}");
        let path = format!("/api/models/{id}/revision/{}?blobs=true", in_url(revision));
        let bytes = http.text(&http.url(&path), MAX_LISTING, &what)?;
        let info: ModelInfo = serde_json::from_slice(&bytes).map_err(|source| Error::Json {
            what: format!("the hub's listing of {what}"),
            source,
        })?;
        let commit = info.sha.as_deref().and_then(|sha| sha.parse().ok());
        let revision = commit.ok_or_else(|| protocol(&what, "the hub names no commit"))?;
        let license = info
            .tags
            .iter()
            .find_map(|tag| tag.strip_prefix("license:"));
        let entry = |file: Sibling| {
            let (lfs, lfs_size) = file.lfs.map_or((None, None), |lfs| (lfs.sha256, lfs.size));
            let sha256 = lfs.and_then(|text| text.parse().ok()).map(Checksum::Sha256);
            let git = || {
                file.blob_id
                    .and_then(|text| text.parse().ok())
                    .map(Checksum::Git)
            };
            // Names that no directory could hold are nobody's settings or weights.
            let path = file.rfilename.parse().ok()?;
            let entry = Entry {
                size: lfs_size.or(file.size),
                // The blob of a large file is only a pointer to it.
                checksum: if lfs_size.is_some() {
                    sha256
                } else {
                    sha256.or_else(git)
                },
            };
            Some((path, entry))
        };
        Ok(Self {
            id: id.clone(),
            revision,
            license: license.map(str::to_owned),
            files: info.siblings.into_iter().filter_map(entry).collect(),
        })
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = &RepoPath> {
        self.files.keys()
    }

    /// The names that downloads of its files have, where the hub gives all checksums.
    pub(crate) fn part_names(&self) -> Option<HashSet<String>> {
        let name = |(path, entry): (&RepoPath, &Entry)| Some(part_name(path, entry.checksum?));
        self.files.iter().map(name).collect()
    }

    /// Bytes of the files, where the hub says so.
    pub(crate) fn size(&self, files: &[RepoPath]) -> Option<u64> {
        let size = |path: &RepoPath| self.files.get(path)?.size;
        files
            .iter()
            .map(size)
            .try_fold(0_u64, |sum, size| sum.checked_add(size?))
    }

    /// What is needed to fetch a file. Servers that list names only are asked for the rest.
    pub(crate) fn file(&self, http: &Http, path: &RepoPath) -> Result<RemoteFile, Failure> {
        let what = format!("{path} of {}", self.id);
        let encoded: Vec<_> = path.as_str().split('/').map(in_url).collect();
        let path_in_url = encoded.join("/");
        let url = http.url(&format!(
            "/{}/resolve/{}/{path_in_url}",
            self.id, self.revision
        ));
        let entry = self.files.get(path);
        let (mut size, mut checksum) = entry.map_or((None, None), |f| (f.size, f.checksum));
        if size.is_none() || checksum.is_none() {
            let head = http.head(&url, &what)?;
            let length = head.response.headers().get("content-length");
            let length = length.and_then(|v| v.to_str().ok()?.parse().ok());
            size = size.or(head.size).or(length);
            checksum = checksum.or_else(|| Checksum::from_etag(&head.etag.unwrap_or_default()));
        }
        let none = |why| protocol(&what, why);
        let size = size.ok_or_else(|| none("the hub does not say how large it is"))?;
        let checksum = checksum.ok_or_else(|| none("the hub gives no checksum"))?;
        if size > MAX_FILE {
            return Err(none("the hub says that it has more than a terabyte"));
        }
        Ok(RemoteFile {
            path: path.clone(),
            size,
            checksum,
            url,
        })
    }
}
