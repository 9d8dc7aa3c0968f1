//! Where connections come from.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;

use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};
use tokio_rustls::TlsAcceptor;

use super::error::ServeError;
use super::tls::Tls;
use crate::settings::{Host, Settings};

/// Where connections come from.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp {
        /// One an address.
        listeners: Vec<TcpListener>,
        /// Host and port.
        place: String,
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
        let (listeners, place) = match &settings.host {
            Host::Address(address) => bind_address(SocketAddr::new(*address, settings.port)).await,
            Host::Name(name) => bind_name(name, settings.port).await,
        }
        .map_err(|source| ServeError::Listen {
            address: place(&settings.host, settings.port),
            source,
        })?;
        Ok(Self::Tcp {
            listeners,
            place,
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

    /// Whether only this machine's programs reach it, by TCP.
    pub(crate) fn is_loopback(&self) -> bool {
        match self {
            Self::Tcp { listeners, .. } => {
                let address = |listener: &TcpListener| listener.local_addr();
                let mut addresses = listeners.iter().map(address);
                addresses.all(|address| address.is_ok_and(|address| address.ip().is_loopback()))
            }
            #[cfg(unix)]
            Self::Unix { .. } => false,
        }
    }

    pub(crate) async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp { listeners, tls, .. } => {
                let (stream, peer) = accept_any(listeners).await?;
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

/// Host and port, as a URL has them.
fn place(host: &Host, port: u16) -> String {
    match host {
        Host::Address(address) => SocketAddr::new(*address, port).to_string(),
        Host::Name(name) => format!("{name}:{port}"),
    }
}

async fn bind_address(address: SocketAddr) -> io::Result<(Vec<TcpListener>, String)> {
    let listener = TcpListener::bind(address).await?;
    let place = listener.local_addr()?.to_string();
    Ok((vec![listener], place))
}

/// Listens on all addresses that a name has on this machine, on the same port.
async fn bind_name(name: &str, mut port: u16) -> io::Result<(Vec<TcpListener>, String)> {
    let mut addresses: Vec<SocketAddr> = tokio::net::lookup_host((name, port)).await?.collect();
    addresses.sort();
    addresses.dedup();
    let (mut listeners, mut missing) = (Vec::new(), None);
    for mut address in addresses {
        // The first listener may have taken any port.
        address.set_port(port);
        match TcpListener::bind(address).await {
            Ok(listener) => {
                port = listener.local_addr()?.port();
                listeners.push(listener);
            }
            // Systems name ::1 where they have no IPv6.
            Err(error) if is_unavailable(&error) => missing = Some(error),
            Err(error) => return Err(error),
        }
    }
    if listeners.is_empty() {
        let none = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        return Err(missing.unwrap_or_else(none));
    }
    Ok((listeners, place(&Host::Name(name.to_owned()), port)))
}

fn is_unavailable(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported
    )
}

/// The next connection to any of the listeners.
async fn accept_any(listeners: &[TcpListener]) -> io::Result<(TcpStream, SocketAddr)> {
    std::future::poll_fn(|context| {
        let mut ready = listeners
            .iter()
            .map(|listener| listener.poll_accept(context));
        ready.find(Poll::is_ready).unwrap_or(Poll::Pending)
    })
    .await
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { place, tls, .. } => {
                let scheme = if tls.is_some() { "https" } else { "http" };
                write!(f, "{scheme}://{place}")
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
