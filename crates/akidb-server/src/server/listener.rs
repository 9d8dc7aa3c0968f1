//! Where connections come from.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};
use tokio_rustls::TlsAcceptor;

use super::error::ServeError;
use super::tls::Tls;
use crate::settings::Settings;

/// Where connections come from.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp {
        listener: TcpListener,
        address: SocketAddr,
        tls: Option<Arc<Tls>>,
    },
    #[cfg(unix)]
    Unix {
        listener: UnixListener,
        path: std::path::PathBuf,
    },
}

/// One connection.
pub(crate) enum Stream {
    Tcp(TcpStream, SocketAddr, Option<TlsAcceptor>),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Listener {
    pub(crate) async fn bind(settings: &Settings) -> Result<Self, ServeError> {
        if let Some(path) = &settings.unix_socket {
            return Self::bind_unix(path).map_err(|source| ServeError::UnixSocket {
                path: path.clone(),
                source,
            });
        }
        let tls = match (&settings.tls_cert, &settings.tls_key) {
            (Some(cert), Some(key)) => Some(Arc::new(Tls::read(cert, key)?)),
            (None, None) => None,
            _ => return Err(ServeError::HalfOfTls),
        };
        let failed = |source| ServeError::Listen {
            address: settings.address,
            source,
        };
        let listener = TcpListener::bind(settings.address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self::Tcp {
            listener,
            address,
            tls,
        })
    }

    #[cfg(unix)]
    fn bind_unix(path: &std::path::Path) -> io::Result<Self> {
        use std::os::unix::fs::{FileTypeExt, PermissionsExt};
        let there = std::fs::symlink_metadata(path);
        let is_socket = there
            .as_ref()
            .is_ok_and(|file| file.file_type().is_socket());
        if there.is_ok() && !is_socket {
            let what = "what is there is no socket";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
        }
        // A killed process leaves its socket behind: nobody answers there.
        let abandoned = is_socket
            && std::os::unix::net::UnixStream::connect(path)
                .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
        if abandoned {
            std::fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        let path = path.to_owned();
        // For this user and group.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o660))?;
        Ok(Self::Unix { listener, path })
    }

    #[cfg(not(unix))]
    fn bind_unix(_: &std::path::Path) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// What the server proves itself with, where it does.
    pub(crate) fn tls(&self) -> Option<Arc<Tls>> {
        match self {
            Self::Tcp { tls, .. } => tls.clone(),
            #[cfg(unix)]
            Self::Unix { .. } => None,
        }
    }

    pub(crate) async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp { listener, tls, .. } => {
                let (stream, peer) = listener.accept().await?;
                // Answers are written whole: nothing is gained by waiting for more.
                stream.set_nodelay(true)?;
                let tls = tls.as_ref().map(|tls| tls.acceptor());
                Ok(Stream::Tcp(stream, peer, tls))
            }
            #[cfg(unix)]
            Self::Unix { listener, .. } => Ok(Stream::Unix(listener.accept().await?.0)),
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { address, tls, .. } => {
                let scheme = if tls.is_some() { "https" } else { "http" };
                write!(f, "{scheme}://{address}")
            }
            #[cfg(unix)]
            Self::Unix { path, .. } => write!(f, "{}", path.display()),
        }
    }
}

#[cfg(unix)]
impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix { path, .. } = self
            && let Err(error) = std::fs::remove_file(&*path)
        {
            tracing::warn!(path = %path.display(), %error, "the socket can't be removed");
        }
    }
}
