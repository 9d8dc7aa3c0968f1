//! Listening, and stopping when told to.

mod activity;
mod connection;
mod descriptors;
mod error;
mod listener;
mod refresh;
mod signals;
mod tls;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::sync::{Semaphore, watch};
use tokio_util::task::TaskTracker;

pub(crate) use connection::{CONNECTION_BYTES, Peer};
pub use error::ServeError;
pub use tls::TlsError;

use crate::app::app;
use crate::exporter;
use crate::lifecycle::{Lifecycle, Phase};
use crate::middleware::{Keys, Sites};
use crate::service::EmbeddingService;
use crate::settings::{Host, Settings};
use connection::Connection;
use listener::Listener;

/// How long the accept loop rests when the system has no file descriptors left.
const NO_DESCRIPTORS: Duration = Duration::from_millis(200);

/// A server that listens: connections wait until it runs.
#[derive(Debug)]
pub struct Server {
    service: Arc<EmbeddingService>,
    listener: Listener,
    app: Router,
    keys: Option<Keys>,
    lifecycle: watch::Sender<Phase>,
}

impl Server {
    /// Listens where the service's settings say; raises the process's limit of open files where
    /// `max_connections` needs more.
    ///
    /// # Errors
    /// When it can't listen there.
    pub async fn bind(service: Arc<EmbeddingService>) -> Result<Self, ServeError> {
        descriptors::allow(service.settings().max_connections);
        let listener = Listener::bind(service.settings()).await?;
        let lifecycle = watch::Sender::new(Phase::Starting);
        let keys = service.settings().api_keys.clone();
        let read = |path: std::path::PathBuf| {
            Keys::read(path.clone()).map_err(|source| ServeError::ApiKeys { path, source })
        };
        let keys = keys.map(read).transpose()?;
        let app = app(
            Arc::clone(&service),
            Lifecycle::following(lifecycle.subscribe()),
            keys.clone(),
            Some(sites(service.settings(), &listener)),
        );
        Ok(Self {
            service,
            listener,
            app,
            keys,
            lifecycle,
        })
    }

    /// Where it listens: an URL, or the path of a Unix socket.
    pub fn address(&self) -> String {
        self.listener.to_string()
    }

    /// Ends when the default model is loaded; never where that fails.
    pub fn ready(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut lifecycle = self.lifecycle.subscribe();
        async move {
            if lifecycle
                .wait_for(|phase| *phase == Phase::Ready)
                .await
                .is_err()
            {
                std::future::pending::<()>().await;
            }
        }
    }

    /// The service that it puts on the network.
    pub fn service(&self) -> &Arc<EmbeddingService> {
        &self.service
    }

    /// Answers until the process gets SIGINT or SIGTERM, then finishes what was accepted; a second
    /// signal ends it at once.
    ///
    /// # Errors
    /// When the default model can't be loaded.
    pub async fn run(self) -> Result<(), ServeError> {
        let mut signals = signals::Stop::listen();
        let (drain, drained) = tokio::sync::oneshot::channel();
        let (now, at_once) = tokio::sync::oneshot::channel();
        let waiting = tokio::spawn(async move {
            signals.next().await;
            // The other ends live as long as the server runs.
            let _ = drain.send(());
            signals.next().await;
            let _ = now.send(());
        });
        let result = self.run_until(ended(drained), ended(at_once)).await;
        waiting.abort();
        result
    }

    /// Answers until `drain` ends, then accepts nothing more and finishes what was accepted; ends
    /// at once when `now` ends.
    ///
    /// # Errors
    /// When the default model can't be loaded.
    pub async fn run_until(
        self,
        drain: impl Future<Output = ()>,
        now: impl Future<Output = ()>,
    ) -> Result<(), ServeError> {
        let connections = TaskTracker::new();
        let settings = self.service.settings();
        let (drain_delay, drain_timeout) = (settings.drain_delay, settings.drain_timeout);
        let accepting = self.accept(&connections);
        let lifecycle = self.lifecycle.clone();
        let drain = async {
            drain.await;
            lifecycle.send_replace(Phase::Draining);
            tokio::time::sleep(drain_delay).await;
        };
        tokio::pin!(now);
        tokio::select! {
            () = accepting => {}
            loaded = load(&self.service, &lifecycle) => loaded?,
            () = refresh::keep_fresh(self.keys.clone(), self.listener.tls()) => {}
            () = exporter::upkeep() => {}
            () = drain => {}
            () = &mut now => return Ok(()),
        }

        self.accept_waiting(&connections).await;
        drop(self.listener);
        self.lifecycle.send_replace(Phase::Closing);
        connections.close();
        tracing::info!(
            connections = connections.len(),
            "finishing what was accepted"
        );
        tokio::select! {
            () = connections.wait() => {}
            () = now => {}
            () = tokio::time::sleep(drain_timeout) => {}
        }
        if !connections.is_empty() {
            tracing::warn!(connections = connections.len(), "connections were cut");
        }
        self.lifecycle.send_replace(Phase::Stopped);
        tracing::info!("stopped");
        Ok(())
    }

    async fn accept(&self, connections: &TaskTracker) {
        let places = Arc::new(Semaphore::new(self.service.settings().max_connections));
        loop {
            // Beyond the bound, connections wait in the system's queue.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            match self.listener.accept().await {
                Ok(stream) => {
                    let connection = self.connection();
                    connections.spawn(async move {
                        connection.serve(stream).await;
                        drop(place);
                    });
                }
                Err(error) => self.accept_failed(&error).await,
            }
        }
    }

    async fn accept_failed(&self, error: &std::io::Error) {
        use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
        if matches!(
            error.kind(),
            ConnectionAborted | ConnectionRefused | ConnectionReset
        ) {
            return;
        }
        tracing::error!(%error, "a connection can't be accepted");
        tokio::time::sleep(NO_DESCRIPTORS).await;
    }

    /// Takes the connections that the system has completed already: their clients count on an
    /// answer.
    async fn accept_waiting(&self, connections: &TaskTracker) {
        let accept = || tokio::time::timeout(Duration::ZERO, self.listener.accept());
        while let Ok(Ok(stream)) = accept().await {
            let connection = self.connection();
            connections.spawn(async move { connection.serve(stream).await });
        }
    }

    fn connection(&self) -> Connection {
        Connection::new(
            self.app.clone(),
            self.lifecycle.subscribe(),
            self.service.settings(),
        )
    }
}

/// Who may ask without keys; keys are what other sites' pages don't have.
fn sites(settings: &Settings, listener: &Listener) -> Sites {
    let open = settings.api_keys.is_none();
    let own = match &settings.host {
        Host::Name(name) => Some(name.clone()),
        Host::Address(_) => None,
    };
    let hosts = || settings.allowed_hosts.iter().cloned().chain(own).collect();
    Sites {
        // On the network, anybody is answered anyway.
        hosts: (open && listener.is_loopback()).then(hosts),
        origins: open.then(|| settings.cors_origins.as_slice().into()),
    }
}

/// Loads the default model, where the settings say so; ends only when that fails.
async fn load(
    service: &EmbeddingService,
    lifecycle: &watch::Sender<Phase>,
) -> Result<(), ServeError> {
    service.preload().await?;
    lifecycle.send_if_modified(|phase| {
        let starting = *phase == Phase::Starting;
        if starting {
            *phase = Phase::Ready;
        }
        starting
    });
    std::future::pending().await
}

async fn ended(signal: tokio::sync::oneshot::Receiver<()>) {
    if signal.await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Listens where the settings say and runs until the process is told to stop: [`Server::bind`] and
/// [`Server::run`].
///
/// # Errors
/// When it can't listen, or the default model can't be loaded.
pub async fn serve(service: Arc<EmbeddingService>) -> Result<(), ServeError> {
    let server = Server::bind(service).await?;
    tracing::info!(address = server.address(), "listening");
    server.run().await
}
