//! Everything that can go wrong between a model's id and its files.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::bundle::{BundleError, ExportError};
use crate::name::{ModelId, NameError, RepoPath};

/// Why a model could not be found, fetched, checked or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name can't be used.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Neither AKIDB_HOME nor anything that it follows from is set.
    #[error("there is no directory for models")]
    NoHome,
    /// A file or directory can't be read.
    #[error("{} can't be read", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file or directory can't be written.
    #[error("{} can't be written", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A JSON file of the store or the hub doesn't parse.
    #[error("{what} is not valid")]
    Json {
        /// The file, or what the hub was asked for.
        what: String,
        /// Where and why.
        source: serde_json::Error,
    },
    /// What the store wrote down about a model can't be read.
    #[error("{} is not valid", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// Files of an installed model are missing or have another size.
    #[error("{id} is damaged: {}", list(files))]
    Damaged {
        /// The model.
        id: String,
        /// Files, with what is wrong with them.
        files: Vec<String>,
    },
    /// An installed model has the name of the built-in model.
    #[error("{} has the name of the built-in model", directory.display())]
    NameTaken {
        /// Where it is installed.
        directory: PathBuf,
    },
    /// The model isn't installed.
    #[error("{id} is not installed")]
    NotInstalled {
        /// The model.
        id: String,
        /// What may have been meant.
        similar: Option<String>,
    },
    /// The catalog has no such short name, and it is no repository.
    #[error("no model has the name {name:?}")]
    UnknownName {
        /// What was asked for.
        name: String,
        /// Short names that would work.
        known: Vec<String>,
        /// What may have been meant.
        similar: Option<String>,
    },
    /// The model is part of the program.
    #[error("{id} is built in: it has no files of its own")]
    BuiltIn {
        /// The model.
        id: String,
    },
    /// The model is there, but was put there by something else.
    #[error("{id} was not installed by this program, so it is left alone")]
    NotOurs {
        /// The model.
        id: String,
        /// Where it is.
        path: PathBuf,
    },
    /// The model has no such variant.
    #[error("{id} has no variant {variant:?}")]
    UnknownVariant {
        /// The model.
        id: String,
        /// What was asked for.
        variant: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The repository holds nothing that could be run.
    #[error("{id} holds no ONNX or safetensors weights with a config.json and a tokenizer.json")]
    NoModel {
        /// The model.
        id: String,
    },
    /// Another revision is installed.
    #[error("{id} is installed at revision {installed}, and {wanted} was asked for")]
    OtherRevision {
        /// The model.
        id: ModelId,
        /// What is installed.
        installed: String,
        /// What was asked for.
        wanted: String,
    },
    /// The disk has too little room.
    #[error("{} has {free} bytes free, and {needed} are needed", path.display())]
    NoSpace {
        /// Where.
        path: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that are still to be written.
        needed: u64,
    },
    /// The network must not be used.
    #[error("{id} is not on this machine, and the network is switched off")]
    Offline {
        /// The model.
        id: String,
    },
    /// The hub has no such model, revision or file, or hides it from those without a right to it.
    #[error("the hub has no {what}")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// The hub wants a token, or refuses this one.
    #[error("the hub refuses access to {what} (HTTP {status})")]
    Refused {
        /// What was asked for.
        what: String,
        /// HTTP status.
        status: u16,
        /// Whether a token was sent.
        with_token: bool,
    },
    /// The endpoint isn't an address, or can't be used.
    #[error("{url:?} can't be used: {why}")]
    Url {
        /// The address.
        url: String,
        /// Why.
        why: String,
    },
    /// A variable that names a proxy names none.
    #[error("{variable} is not the address of a proxy")]
    Proxy {
        /// The environment variable.
        variable: &'static str,
    },
    /// The other side of a connection can't be trusted.
    #[error("{what}: there is no secure connection: {why}")]
    Insecure {
        /// What was asked for.
        what: String,
        /// What is wrong with the other side.
        why: String,
    },
    /// The proxy doesn't let this program through.
    #[error("{what}: the proxy refuses the connection: {why}")]
    ProxyRefuses {
        /// What was asked for.
        what: String,
        /// Its answer.
        why: String,
    },
    /// The token has characters that no header can have.
    #[error("the token is not a line of visible ASCII characters")]
    BadToken,
    /// The hub, or a proxy, sends from one address to the next without end.
    #[error("{what}: the server redirects in circles")]
    RedirectLoop {
        /// What was asked for.
        what: String,
    },
    /// The network, or the hub, failed again and again.
    #[error("{what} could not be fetched: {why} ({attempts} attempts)")]
    Network {
        /// What was asked for.
        what: String,
        /// The last failure.
        why: String,
        /// How often it was tried without getting further.
        attempts: u32,
    },
    /// The hub asks for a longer pause than is kept.
    #[error("{what}: the hub asks to wait {} s", after.as_secs())]
    Busy {
        /// What was asked for.
        what: String,
        /// The pause.
        after: Duration,
    },
    /// The hub's answer isn't what its protocol says.
    #[error("{what}: {why}")]
    Protocol {
        /// What was asked for.
        what: String,
        /// What is wrong with the answer.
        why: String,
    },
    /// A file on the hub is no longer the one that its listing named.
    #[error("{file} changed on the hub while it was fetched")]
    Changed {
        /// The file.
        file: RepoPath,
    },
    /// What arrived is not what the hub has, again and again.
    #[error("{file} arrived damaged {attempts} times: its checksum is {found}, not {expected}")]
    Checksum {
        /// The file.
        file: RepoPath,
        /// What the hub says.
        expected: String,
        /// What arrived.
        found: String,
        /// How often it was fetched.
        attempts: u32,
    },
    /// A bundle can't be used.
    #[error("the bundle {} can't be used", path.display())]
    Bundle {
        /// The file.
        path: PathBuf,
        /// Why.
        source: BundleError,
    },
    /// A bundle can't be made.
    #[error("the bundle {} can't be written", path.display())]
    Export {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ExportError,
    },
}

/// The first few, and how many more there are.
fn list(files: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<_> = files.iter().take(SHOWN).map(String::as_str).collect();
    match files.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{}, and {more} more", shown.join(", ")),
    }
}

impl Error {
    pub(crate) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::Read { path, source }
    }

    pub(crate) fn write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::Write { path, source }
    }

    /// Whether the caller asked for something that can't be, rather than the work failing.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Name(_)
                | Self::NotInstalled { .. }
                | Self::BuiltIn { .. }
                | Self::UnknownName { .. }
                | Self::NotOurs { .. }
                | Self::UnknownVariant { .. }
                | Self::OtherRevision { .. }
                | Self::Url { .. }
                | Self::Proxy { .. }
                | Self::BadToken
        )
    }

    /// What can be done about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoHome => "set AKIDB_HOME to a directory".to_owned(),
            Self::Manifest { path, .. } => format!(
                "delete {} and pull the model again: files that are whole are not fetched again",
                path.display()
            ),
            Self::Damaged { .. } => {
                "pull it again, which fetches what is damaged, or import it from a bundle".to_owned()
            }
            Self::NameTaken { .. } => "rename the directory".to_owned(),
            Self::NotInstalled {
                similar: Some(similar),
                ..
            } => format!("did you mean {similar}? look at the list of what is installed"),
            Self::NotInstalled { .. } => "look at the list of what is".to_owned(),
            Self::UnknownName {
                similar: Some(similar),
                ..
            } => format!("did you mean {similar}?"),
            Self::UnknownName { known, .. } => format!(
                "known names: {}; any other model is owner/name, as on the hub",
                known.join(", ")
            ),
            Self::NotOurs { path, .. } => format!("it is in {}", path.display()),
            Self::UnknownVariant { known, .. } => format!("it has: {}", known.join(", ")),
            Self::NoModel { .. } => {
                "look for a repository with ONNX files, often one that ends in -ONNX".to_owned()
            }
            Self::OtherRevision { installed, .. } => format!(
                "the installed one is {installed}: stay with it, or ask for the other to replace it; \
                 vectors of the two must not be mixed"
            ),
            Self::NoSpace { .. } => {
                "make room (remove what isn't used), choose a smaller variant, or set AKIDB_HOME to \
                 another disk"
                    .to_owned()
            }
            Self::Write { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "make room and run the command again: it goes on where it stopped".to_owned()
                }
                io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
                    "set AKIDB_HOME to a directory that can be written".to_owned()
                }
                _ => return None,
            },
            Self::Offline { .. } => {
                "unset HF_HUB_OFFLINE, or import the model from a bundle"
                    .to_owned()
            }
            Self::NotFound { .. } => {
                "check the spelling; a private or gated model needs HF_TOKEN".to_owned()
            }
            Self::Refused { with_token, .. } if *with_token => {
                "accept the model's terms on its page, or set HF_TOKEN to a token that may read it"
                    .to_owned()
            }
            Self::Refused { .. } => "set HF_TOKEN to a token that may read it".to_owned(),
            Self::Url { .. } => {
                "HF_ENDPOINT takes an address such as https://huggingface.co".to_owned()
            }
            Self::Proxy { .. } => {
                "it takes an address such as http://proxy.example:3128, also https, socks4 and socks5"
                    .to_owned()
            }
            Self::Insecure { .. } => "if a proxy of yours looks into connections, add its \
                                      certificate to those of the system, or name a file with it \
                                      in SSL_CERT_FILE"
                .to_owned(),
            Self::ProxyRefuses { .. } => {
                "check HTTPS_PROXY, where a name and a password go before the address, as in \
                 http://me:secret@proxy.example:3128"
                    .to_owned()
            }
            Self::BadToken => "check HF_TOKEN, or the token in the file of huggingface-cli".to_owned(),
            Self::RedirectLoop { .. } | Self::Protocol { .. } => {
                "check HF_ENDPOINT and the proxy (HTTPS_PROXY)".to_owned()
            }
            Self::Network { .. } => "check the network and the proxy (HTTPS_PROXY), then run the \
                                     command again: it goes on where it stopped"
                .to_owned(),
            Self::Busy { .. } => {
                "try again later: it goes on where it stopped; with HF_TOKEN the hub allows more"
                    .to_owned()
            }
            Self::Changed { .. } => "run the command again".to_owned(),
            Self::Bundle {
                path,
                source: BundleError::Compressed(with),
            } => {
                let path = path.display();
                match *with {
                    "gzip" => format!("gunzip {path} makes it one that can be imported"),
                    with => format!("unpack {path} with {with} first"),
                }
            }
            Self::Bundle {
                source: BundleError::Tar(_) | BundleError::NoManifest,
                ..
            } => "a bundle is what an export writes; copy it again if it was cut off"
                .to_owned(),
            Self::Checksum { .. } => {
                "the network or a proxy alters what it carries: try another one".to_owned()
            }
            _ => return None,
        })
    }
}
