//! Fetching a model.

mod bring;
mod here;

use std::fs;
use std::path::PathBuf;

use crate::error::Error;
use crate::event::{Event, Events};
use crate::hex::Commit;
use crate::hub::{Failure, Http, HubOptions, Listing, Pauses, RemoteFile};
use crate::layout::{ModelLayout, Variant, canonical_variant, may_be_data, named_by_graph};
use crate::machine::Machine;
use crate::manifest::Manifest;
use crate::name::{ModelId, RepoPath};
use crate::store::{Lock, Store, installed_snapshot, publish};
use bring::forget_parts;
use here::in_place;

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

    /// What the hub has of a model. `events` is told of what is tried again.
    ///
    /// # Errors
    /// When the hub has no such model, or can't be reached.
    pub fn describe(
        &self,
        store: &Store,
        model: &str,
        revision: Option<&str>,
        events: Events<'_>,
    ) -> Result<Remote, Error> {
        let (id, revision) = meaning(store, model, revision)?;
        let listing = self.listing(&id, &revision, events)?;
        let layout = ModelLayout::of(listing.paths());
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

    fn listing(&self, id: &ModelId, revision: &str, events: Events<'_>) -> Result<Listing, Error> {
        if self.options.offline {
            return Err(Error::Offline { id: id.to_string() });
        }
        let get = || Listing::get(&self.http, id, revision);
        self.again(id.as_str(), events, get)
    }

    fn again<T>(
        &self,
        what: &str,
        events: Events<'_>,
        f: impl Fn() -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let mut pauses = Pauses::new(&self.options);
        loop {
            match f() {
                Ok(value) => return Ok(value),
                Err(failure) => {
                    let (pause, why) = pauses.after(failure, what)?;
                    events(Event::Again {
                        what,
                        why: &why,
                        pause,
                    });
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
        events: Events<'_>,
    ) -> Result<Pulled, Error> {
        let (id, revision) = meaning(store, &request.model, request.revision.as_deref())?;
        if let Some(pulled) = self.without_network(store, &id, &revision, request, events)? {
            return Ok(pulled);
        }
        let listing = self.listing(&id, &revision, events)?;
        let layout = ModelLayout::of(listing.paths());
        let has = |name: &str| layout.common.iter().any(|f| f.as_str() == name);
        if !has("config.json") || !has("tokenizer.json") || layout.variants.is_empty() {
            return Err(Error::NoModel { id: id.to_string() });
        }
        let (name, why) = choose(&id, &layout, request)?;
        let variant = layout.variant(&name).cloned();
        let mut variant = variant.ok_or_else(|| unknown(&id, &name, &layout))?;
        let paths = layout.common.iter().chain(&variant.files);
        let mut files = Vec::new();
        for path in paths {
            let file = || listing.file(&self.http, path);
            files.push(self.again(path.as_str(), events, file)?);
        }
        let tell_chosen = |why: Option<&str>, files: &[RemoteFile]| {
            let bytes = files.iter().map(|f| f.size).fold(0, u64::saturating_add);
            events(Event::Chosen {
                variant: &name,
                why,
                files: files.len(),
                bytes,
            });
            bytes
        };
        let mut total = tell_chosen(why.as_deref(), &files);
        let pulled = |root, fetched, total, in_hub_cache| Pulled {
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
            && named_further(&listing, &variant, &|graph| graph.under(&root))
                .iter()
                .all(|file| file.under(&root).is_file())
        {
            return Ok(pulled(root, 0, total, true));
        }
        let lock = Lock::of(store, &id, || events(Event::Waiting))?;
        let installed = store.manifest(&id)?;
        check_revision(installed.as_ref(), listing.revision, request.replace)?;
        let (mut arrived, mut fetched) = self.bring(store, &listing, &files, events)?;
        let snapshot = installed_snapshot(installed.as_ref(), listing.revision);
        let root = snapshot.root(&store.directory(&id)?);
        let place = |graph: &RepoPath| {
            let mut arrived = arrived.iter();
            let file = arrived.find(|file| file.entry.path == *graph);
            let from = file.and_then(|file| file.from.clone());
            from.unwrap_or_else(|| graph.under(&root))
        };
        let further = named_further(&listing, &variant, &place);
        if !further.is_empty() {
            let mut more = Vec::new();
            for path in &further {
                let file = || listing.file(&self.http, path);
                more.push(self.again(path.as_str(), events, file)?);
            }
            let (others, bytes) = self.bring(store, &listing, &more, events)?;
            arrived.extend(others);
            fetched = fetched.saturating_add(bytes);
            files.extend(more);
            total = tell_chosen(Some("the graph names further files"), &files);
            variant.files.splice(0..0, further);
        }
        let variants = std::slice::from_ref(&variant);
        let whose = (&id, listing.revision, listing.license.clone());
        let manifest = publish(store, &lock, whose, variants, arrived)?;
        let partial = store.partial(&id)?;
        forget_parts(&partial, &files);
        // Stays where another variant's download is not complete.
        let _ = fs::remove_dir(partial);
        let root = manifest.root(&store.directory(&id)?);
        Ok(pulled(root, fetched, total, false))
    }
}

/// The files of a repository that a variant's graph, which is at a place here, names and the variant
/// lacks: their names may be any.
fn named_further(
    listing: &Listing,
    variant: &Variant,
    place: &dyn Fn(&RepoPath) -> PathBuf,
) -> Vec<RepoPath> {
    let Some((graph, known)) = variant.files.split_last() else {
        return Vec::new();
    };
    if !listing.paths().any(|file| may_be_data(file, graph, known)) {
        return Vec::new();
    }
    let named = named_by_graph(&place(graph), graph).into_iter();
    let listed = |file: &RepoPath| listing.paths().any(|path| path == file);
    named
        .filter(|file| !known.contains(file) && listed(file))
        .collect()
}

/// The repository and revision that a user's words mean.
fn meaning(store: &Store, model: &str, revision: Option<&str>) -> Result<(ModelId, String), Error> {
    let known = store.catalog().get(model);
    let id: ModelId = known.map_or(model, |entry| entry.id.as_str()).parse()?;
    if known.is_none() && !model.contains('/') && store.manifest(&id)?.is_none() {
        return Err(Error::UnknownName {
            name: model.to_owned(),
            known: store.catalog().names(),
            similar: store.similar(model),
        });
    }
    let pinned = known.and_then(|entry| entry.revision);
    let default = || pinned.map_or_else(|| MAIN.to_owned(), |commit| commit.to_string());
    Ok((id, revision.map_or_else(default, str::to_owned)))
}

fn choose(
    id: &ModelId,
    layout: &ModelLayout,
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

fn unknown(id: &ModelId, variant: &str, layout: &ModelLayout) -> Error {
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
