//! Why the server doesn't run.

use std::io;
use std::path::PathBuf;

use super::tls::TlsError;
use crate::middleware::AccessError;
use crate::service::ServiceError;

/// Why the server doesn't run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address can't be listened on.
    #[error("can't listen on {address}")]
    Listen {
        /// The address, or the name whose address it is.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The Unix socket can't be made.
    #[error("can't listen on the Unix socket {}", path.display())]
    UnixSocket {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is a certificate without a key, or a key without a certificate.
    #[error("TLS needs a certificate and its key, only one of them is given")]
    HalfOfTls,
    /// The server can't prove itself.
    #[error("can't listen with TLS")]
    Tls(#[from] TlsError),
    /// The file of API keys can't be used.
    #[error("the API keys in {} can't be used", path.display())]
    ApiKeys {
        /// The file.
        path: PathBuf,
        /// Why.
        source: AccessError,
    },
    /// The default model can't be used.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

impl ServeError {
    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        let (source, other) = match self {
            Self::Listen { source, .. } => (source, "another --port"),
            Self::UnixSocket { source, .. } => (source, "another --unix-socket"),
            Self::HalfOfTls => return Some("give both --tls-cert and --tls-key".to_owned()),
            Self::Tls(TlsError::Pem { .. }) => {
                return Some("a PEM file has lines that start with -----BEGIN".to_owned());
            }
            Self::ApiKeys { .. } => {
                return Some("a file of keys has one a line, as name:key or key".to_owned());
            }
            Self::Tls(_) | Self::Service(_) => return None,
        };
        Some(match source.kind() {
            io::ErrorKind::AddrInUse => {
                format!("another process listens there: stop it, or name {other}")
            }
            io::ErrorKind::AlreadyExists => format!("name {other}"),
            io::ErrorKind::PermissionDenied => {
                format!("this user may not listen there: name {other}")
            }
            io::ErrorKind::AddrNotAvailable => {
                "no network interface of this machine has that address: name another --host"
                    .to_owned()
            }
            _ => return None,
        })
    }

    /// Whether what was asked for can't be, rather than failed.
    pub fn is_usage(&self) -> bool {
        let busy = |source: &io::Error| source.kind() == io::ErrorKind::AddrInUse;
        match self {
            Self::Service(_) => false,
            Self::Listen { source, .. } | Self::UnixSocket { source, .. } => !busy(source),
            _ => true,
        }
    }
}
