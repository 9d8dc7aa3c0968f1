//! Fetching a model.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::Digest;

use crate::catalog::CatalogEntry;
use crate::download::{Download, already_there};
use crate::error::Error;
use crate::event::Event;
use crate::hash::hash_file;
use crate::hex::{Commit, Hex};
use crate::hub::{Checksum, Failure, Http, HubOptions, Listing, Pauses, RemoteFile};
use crate::machine::Machine;
use crate::manifest::{FileEntry, Manifest, snapshot};
use crate::name::{ModelId, RepoPath};
use crate::store::{Arrived, Lock, Store, check_space, publish};
use crate::variants::{Layout, Variant, canonical_variant};

/// The revision of models that the catalog doesn't know.
const MAIN: &str = "main";

/// What to fetch.
#[derive(Debug, Clone)]
pub struct Request {
    /// Repository, or short name of the catalog.
    pub model: String,
    /// Name of the variant; without it, the one that suits the machine.
    pub variant: Option<String>,
    /// Branch, tag or commit; without it, the catalog's commit or the branch `main`.
    pub revision: Option<String>,
    /// Whether another revision may take the place of the installed one.
    pub replace: bool,
    /// What the variant is chosen for.
    pub machine: Machine,
}

/// A model that is here now.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// Its repository.
    pub id: ModelId,
    /// The commit.
    pub revision: Commit,
    /// The variant.
    pub variant: String,
    /// The directory with its `config.json`.
    pub root: PathBuf,
    /// Bytes that the network brought.
    pub fetched: u64,
    /// Bytes of the model's files.
    pub size: u64,
    /// Whether it is in the Hugging Face cache and used there.
    pub in_hub_cache: bool,
}

/// A model on the hub.
#[derive(Debug, Clone)]
pub struct Remote {
    /// Its repository.
    pub id: ModelId,
    /// The commit.
    pub revision: Commit,
    /// As the hub names it.
    pub license: Option<String>,
    /// Files that every variant needs.
    pub common: Vec<RepoPath>,
    /// Its variants, with their bytes where the hub says so.
    pub variants: Vec<(Variant, Option<u64>)>,
}

/// A hub that models come from.
pub struct Hub {
    http: Http,
    options: HubOptions,
}

impl Hub {
    /// The hub that the options name. Nothing is asked yet.
    ///
    /// # Errors
    /// When the endpoint is no address.
    pub fn new(options: HubOptions) -> Result<Self, Error> {
        Ok(Self {
            http: Http::new(&options)?,
            options,
        })
    }

    /// What the hub has of a model.
    ///
    /// # Errors
    /// When the hub has no such model, or can't be reached.
    pub fn describe(
        &self,
        store: &Store,
        model: &str,
        revision: Option<&str>,
    ) -> Result<Remote, Error> {
        let (id, revision) = meaning(store, model, revision)?;
        let listing = self.listing(&id, &revision)?;
        let layout = Layout::of(listing.paths());
        let with_size = |v: Variant| {
            let size = listing.size(&v.files);
            (v, size)
        };
        Ok(Remote {
            id,
            revision: listing.revision,
            common: layout.common,
            variants: layout.variants.into_iter().map(with_size).collect(),
            license: listing.license,
        })
    }

    fn listing(&self, id: &ModelId, revision: &str) -> Result<Listing, Error> {
        if self.options.offline {
            return Err(Error::Offline { id: id.to_string() });
        }
        self.again(id.as_str(), || Listing::get(&self.http, id, revision))
    }

    fn again<T>(&self, what: &str, f: impl Fn() -> Result<T, Failure>) -> Result<T, Error> {
        let mut pauses = Pauses::new(&self.options);
        loop {
            match f() {
                Ok(value) => return Ok(value),
                Err(failure) => {
                    let (pause, why) = pauses.after(failure, what)?;
                    tracing::info!(
                        "{what}: {why}; trying again in {:.1} s",
                        pause.as_secs_f64()
                    );
                    std::thread::sleep(pause);
                }
            }
        }
    }

    /// Fetches a variant of a model, unless it is here already. It appears when all of its files are
    /// here and their checksums agree. After an interruption the next pull goes on where this one
    /// stopped. `events` is told how far it has come.
    ///
    /// # Errors
    /// When the hub doesn't have it, the network fails again and again, the disk has no room, or
    /// another revision is installed.
    pub fn pull(
        &self,
        store: &Store,
        request: &Request,
        events: &(dyn Fn(Event<'_>) + Sync),
    ) -> Result<Pulled, Error> {
        let (id, revision) = meaning(store, &request.model, request.revision.as_deref())?;
        if let Some(pulled) = self.without_network(store, &id, &revision, request, events)? {
            return Ok(pulled);
        }
        let listing = self.listing(&id, &revision)?;
        let layout = Layout::of(listing.paths());
        let has = |name: &str| layout.common.iter().any(|f| f.as_str() == name);
        if !has("config.json") || !has("tokenizer.json") || layout.variants.is_empty() {
            return Err(Error::NoModel { id: id.to_string() });
        }
        let (name, why) = choose(&id, &layout, request)?;
        let variant = layout
            .variant(&name)
            .ok_or_else(|| unknown(&id, &name, &layout))?;
        let paths = layout.common.iter().chain(&variant.files);
        let mut files = Vec::new();
        for path in paths {
            files.push(self.again(path.as_str(), || listing.file(&self.http, path))?);
        }
        let total = files.iter().map(|f| f.size).fold(0, u64::saturating_add);
        events(Event::Chosen {
            variant: &name,
            why: why.as_deref(),
            files: files.len(),
            bytes: total,
        });
        let pulled = |root, fetched, in_hub_cache| Pulled {
            id: id.clone(),
            revision: listing.revision,
            variant: name.clone(),
            root,
            fetched,
            size: total,
            in_hub_cache,
        };
        let sizes: Vec<_> = files.iter().map(|f| (f.path.clone(), f.size)).collect();
        let ours = store.manifest(&id)?.is_some();
        if !ours
            && let Some(root) = store.cached_snapshot(&id, listing.revision, &sizes)
            && files
                .iter()
                .all(|file| in_place(&root, file, events).is_some())
        {
            return Ok(pulled(root, 0, true));
        }
        let lock = Lock::of(store, &id, || events(Event::Waiting))?;
        let installed = store.manifest(&id)?;
        check_revision(installed.as_ref(), listing.revision, request.replace)?;
        let (arrived, fetched) = self.bring(store, &id, listing.revision, &files, events)?;
        let variants = std::slice::from_ref(variant);
        let whose = (&id, listing.revision, listing.license.clone());
        publish(store, &lock, whose, variants, arrived)?;
        let partial = store.partial(&id)?;
        // Stays where another variant's download is not complete.
        let _ = fs::remove_dir(partial);
        Ok(pulled(
            snapshot(&store.directory(&id)?, listing.revision),
            fetched,
            false,
        ))
    }

    /// The model, if it is known without asking the hub that all of it is here.
    fn without_network(
        &self,
        store: &Store,
        id: &ModelId,
        revision: &str,
        request: &Request,
        events: &(dyn Fn(Event<'_>) + Sync),
    ) -> Result<Option<Pulled>, Error> {
        let commit = revision.parse::<Commit>().ok();
        let Some(model) = store.manifest(id)? else {
            let Some(cached) = self.options.offline.then(|| store.find(id.as_str())) else {
                return Ok(None);
            };
            return cached?.map_or_else(
                || Err(Error::Offline { id: id.to_string() }),
                |model| from_cache(id, model, request).map(Some),
            );
        };
        let unsaid = self.options.offline && request.revision.is_none();
        if commit != Some(model.revision) && !unsaid {
            return Ok(None);
        }
        let wanted = match (&request.variant, store.catalog().get(id.as_str())) {
            (Some(name), _) => canonical_variant(name).to_owned(),
            (None, _) if self.options.offline => {
                let names: Vec<_> = model.variants.iter().map(|v| v.name.as_str()).collect();
                let chosen = request.machine.choose(&names);
                chosen.map(|(name, _)| name.to_owned()).unwrap_or_default()
            }
            (None, Some(entry)) if !entry.variants.is_empty() => of_catalog(entry, request),
            _ => return Ok(None),
        };
        let Some(variant) = model.variant(&wanted) else {
            return Ok(None);
        };
        let directory = store.directory(id)?;
        let root = model.root(&directory);
        let of_none = |path: &RepoPath| !model.variants.iter().any(|v| v.files.contains(path));
        let mut size = 0_u64;
        for file in &model.files {
            if !variant.files.contains(&file.path) && !of_none(&file.path) {
                continue;
            }
            if !sound(&root, file, events) {
                return Ok(None);
            }
            size = size.saturating_add(file.size);
        }
        Ok(Some(Pulled {
            id: id.clone(),
            revision: model.revision,
            variant: wanted,
            root,
            fetched: 0,
            size,
            in_hub_cache: false,
        }))
    }

    /// Brings all files into the store, each with a checksum that agrees.
    fn bring(
        &self,
        store: &Store,
        id: &ModelId,
        revision: Commit,
        files: &[RemoteFile],
        events: &(dyn Fn(Event<'_>) + Sync),
    ) -> Result<(Vec<Arrived>, u64), Error> {
        let root = snapshot(&store.directory(id)?, revision);
        let partial = store.partial(id)?;
        fs::create_dir_all(&partial).map_err(Error::write(&partial))?;
        let mut arrived = Vec::new();
        let mut missing = Vec::new();
        let mut needed = 0_u64;
        for file in files {
            if let Some(entry) = in_place(&root, file, events) {
                arrived.push(Arrived { entry, from: None });
                continue;
            }
            let part = partial.join(part_name(file));
            let there = already_there(&part, file.size, self.options.segment_bytes);
            needed = needed.saturating_add(file.size.saturating_sub(there));
            missing.push((file, part));
        }
        check_space(&partial, needed)?;
        let mut fetched = 0_u64;
        for (file, part) in missing {
            let (from, entry) = match self.copy_cached(store, id, file, &part, events)? {
                Some(copied) => copied,
                None => {
                    let there = already_there(&part, file.size, self.options.segment_bytes);
                    fetched = fetched.saturating_add(file.size.saturating_sub(there));
                    let download = Download {
                        http: &self.http,
                        options: &self.options,
                        file,
                        events,
                    };
                    let (from, hashes) = download.run(&part)?;
                    let entry = FileEntry {
                        path: file.path.clone(),
                        size: file.size,
                        sha256: hashes.sha256,
                    };
                    (from, entry)
                }
            };
            events(Event::Done {
                file: &file.path,
                size: file.size,
            });
            arrived.push(Arrived {
                entry,
                from: Some(from),
            });
        }
        Ok((arrived, fetched))
    }

    /// A file that the Hugging Face cache holds needn't be fetched again.
    fn copy_cached(
        &self,
        store: &Store,
        id: &ModelId,
        file: &RemoteFile,
        part: &Path,
        events: &(dyn Fn(Event<'_>) + Sync),
    ) -> Result<Option<(PathBuf, FileEntry)>, Error> {
        let Some(blob) = store.cached_blob(id, &file.checksum.to_string()) else {
            return Ok(None);
        };
        let mut to = part.as_os_str().to_owned();
        to.push(".copy");
        let to = PathBuf::from(to);
        if let Err(error) = fs::copy(&blob, &to) {
            tracing::debug!(file = %file.path, %error, "not taken from the Hugging Face cache");
            return Ok(None);
        }
        Ok(checked(&to, file, events).map(|entry| (to, entry)))
    }
}

/// The repository and revision that a user's words mean.
fn meaning(store: &Store, model: &str, revision: Option<&str>) -> Result<(ModelId, String), Error> {
    let known = store.catalog().get(model);
    let id = known.map_or(model, |entry| entry.id.as_str()).parse()?;
    let pinned = known.and_then(|entry| entry.revision);
    let default = || pinned.map_or_else(|| MAIN.to_owned(), |commit| commit.to_string());
    Ok((id, revision.map_or_else(default, str::to_owned)))
}

fn of_catalog(entry: &CatalogEntry, request: &Request) -> String {
    let names: Vec<_> = entry.variants.iter().map(|v| v.name.as_str()).collect();
    let chosen = request.machine.choose(&names);
    chosen.map(|(name, _)| name.to_owned()).unwrap_or_default()
}

fn choose(
    id: &ModelId,
    layout: &Layout,
    request: &Request,
) -> Result<(String, Option<String>), Error> {
    if let Some(name) = &request.variant {
        let name = canonical_variant(name);
        return match layout.variant(name) {
            Some(_) => Ok((name.to_owned(), None)),
            None => Err(unknown(id, name, layout)),
        };
    }
    let names: Vec<_> = layout.variants.iter().map(|v| v.name.as_str()).collect();
    let chosen = request.machine.choose(&names);
    let (name, why) = chosen.ok_or_else(|| Error::NoModel { id: id.to_string() })?;
    Ok((name.to_owned(), Some(why)))
}

fn unknown(id: &ModelId, variant: &str, layout: &Layout) -> Error {
    Error::UnknownVariant {
        id: id.to_string(),
        variant: variant.to_owned(),
        known: layout.variants.iter().map(|v| v.name.clone()).collect(),
    }
}

fn check_revision(
    installed: Option<&Manifest>,
    wanted: Commit,
    replace: bool,
) -> Result<(), Error> {
    match installed {
        Some(other) if other.revision != wanted && !replace => Err(Error::OtherRevision {
            id: other.id.clone(),
            installed: other.revision.to_string(),
            wanted: wanted.to_string(),
        }),
        _ => Ok(()),
    }
}

/// A model of the Hugging Face cache, when the hub can't be asked.
fn from_cache(
    id: &ModelId,
    model: crate::store::Installed,
    request: &Request,
) -> Result<Pulled, Error> {
    let variants = model.variants()?;
    let names: Vec<_> = variants.keys().map(String::as_str).collect();
    let name = match &request.variant {
        Some(name) => canonical_variant(name),
        None => request
            .machine
            .choose(&names)
            .map(|(name, _)| name)
            .unwrap_or_default(),
    };
    let offline = || Error::Offline { id: id.to_string() };
    let size = variants.get(name).copied().ok_or_else(offline)?;
    let revision = model.revision.and_then(|r| r.parse().ok());
    Ok(Pulled {
        id: id.clone(),
        revision: revision.ok_or_else(offline)?,
        variant: name.to_owned(),
        root: model.root,
        fetched: 0,
        size,
        in_hub_cache: true,
    })
}

/// Names a download by what it holds and where it goes: two files may have the same content.
fn part_name(file: &RemoteFile) -> String {
    let place: [u8; 32] = sha2::Sha256::digest(file.path.as_str()).into();
    format!("{}-{:.16}", file.checksum, Hex(place).to_string())
}

/// Whether an installed file still has its checksum.
fn sound(root: &Path, file: &FileEntry, events: &(dyn Fn(Event<'_>) + Sync)) -> bool {
    events(Event::Checking {
        file: &file.path,
        size: file.size,
    });
    let hashed = hash_file(&file.path.under(root), false, &mut |_| {});
    let sound =
        hashed.is_ok_and(|(hashes, size)| hashes.sha256 == file.sha256 && size == file.size);
    if sound {
        events(Event::Done {
            file: &file.path,
            size: file.size,
        });
    }
    sound
}

/// The file, if it is in its place and has the hub's checksum.
fn in_place(
    root: &Path,
    file: &RemoteFile,
    events: &(dyn Fn(Event<'_>) + Sync),
) -> Option<FileEntry> {
    let entry = checked(&file.path.under(root), file, events)?;
    events(Event::Done {
        file: &file.path,
        size: file.size,
    });
    Some(entry)
}

/// The file at `path`, if it has the hub's checksum.
fn checked(
    path: &Path,
    file: &RemoteFile,
    events: &(dyn Fn(Event<'_>) + Sync),
) -> Option<FileEntry> {
    if !fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() == file.size) {
        return None;
    }
    events(Event::Checking {
        file: &file.path,
        size: file.size,
    });
    let git = matches!(file.checksum, Checksum::Git(_));
    let (hashes, _) = hash_file(path, git, &mut |_| {}).ok()?;
    file.checksum.compare(&hashes).ok()?;
    Some(FileEntry {
        path: file.path.clone(),
        size: file.size,
        sha256: hashes.sha256,
    })
}
