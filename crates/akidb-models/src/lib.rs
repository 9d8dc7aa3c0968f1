//! Where models live: which are known, how they are fetched, checked, removed and carried from one
//! machine to another.
//!
//! A [`Store`] finds and removes models, a [`Hub`] fetches them. A model is visible when all of its
//! files are in place and their checksums agree, and never before.
//!
//! ```no_run
//! use akidb_models::{Hub, HubOptions, Machine, Request, Store};
//!
//! let store = Store::open(Some("/var/lib/akidb".into()), None)?;
//! let hub = Hub::new(HubOptions::default())?;
//! let request = Request {
//!     model: "qwen3-embedding-0.6b".to_owned(),
//!     variant: None,
//!     revision: None,
//!     replace: false,
//!     machine: Machine { coreml: false, bf16: true },
//! };
//! let pulled = hub.pull(&store, &request, &|event| println!("{event:?}"))?;
//! assert_eq!(store.find("qwen3-embedding-0.6b")?.map(|m| m.root), Some(pulled.root));
//! # Ok::<(), akidb_models::Error>(())
//! ```
#![forbid(unsafe_code)]

mod bundle;
mod catalog;
#[cfg(feature = "hub")]
mod download;
mod error;
#[cfg(feature = "hub")]
mod event;
mod goldens;
mod hash;
mod hex;
#[cfg(feature = "hub")]
mod hub;
mod layout;
mod machine;
mod manifest;
mod name;
#[cfg(feature = "hub")]
mod pull;
mod similar;
mod store;

pub use bundle::{BundleError, ExportError, Exported};
pub use catalog::{Catalog, CatalogEntry, CatalogTask, CatalogVariant};
pub use error::Error;
#[cfg(feature = "hub")]
pub use event::Event;
pub use goldens::{GoldenSimilarity, GoldenVector, Goldens};
pub use hex::{Commit, GitBlob, Hex, HexError, Sha256};
#[cfg(feature = "hub")]
pub use hub::{HubOptions, PUBLIC_ENDPOINT, Token};
pub use layout::{
    COREML, COREML_MANIFEST, ModelLayout, SAFETENSORS, SAFETENSORS_INDEX, Variant,
    canonical_variant, external_files, variant_name,
};
pub use machine::Machine;
pub use manifest::{FileEntry, Manifest, VariantEntry, VectorCheck};
pub use name::{ModelId, NameError, RepoPath};
#[cfg(feature = "hub")]
pub use pull::{Hub, Pulled, Remote, Request};
pub use store::{
    BUILTIN_MODEL, Installed, Origin, Removal, Removed, Store, Unfinished, Unreadable, Verified,
};
