//! How far the server's life has come.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::sync::watch;

/// How far the server's life has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// The default model is being loaded.
    Starting,
    /// Requests are answered.
    Ready,
    /// The process was told to stop; connections are still accepted, so that load balancers can
    /// notice.
    Draining,
    /// No connection is accepted, what was accepted is finished.
    Closing,
    /// What is left is cut.
    Stopped,
}

/// What the routes see of it.
#[derive(Debug, Clone)]
pub(crate) struct Lifecycle(Option<watch::Receiver<Phase>>);

impl Lifecycle {
    pub(crate) fn following(phase: watch::Receiver<Phase>) -> Self {
        Self(Some(phase))
    }

    /// That of routes without a [`Server`](crate::Server): always ready.
    pub(crate) fn always_ready() -> Self {
        Self(None)
    }

    fn phase(&self) -> Phase {
        let phase = self.0.as_ref();
        phase.map_or(Phase::Ready, |phase| *phase.borrow())
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.phase() == Phase::Ready
    }

    /// Whether nothing new is accepted.
    pub(crate) fn is_closing(&self) -> bool {
        self.phase() >= Phase::Closing
    }

    /// Waits until nothing new is accepted.
    pub(crate) async fn closing(&mut self) {
        while !self.is_closing() {
            if self.changed().await.is_none() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits for the next phase; `None` where there will be none.
    pub(crate) async fn changed(&mut self) -> Option<()> {
        match &mut self.0 {
            Some(phase) => phase.changed().await.ok(),
            None => std::future::pending().await,
        }
    }

    /// `GET /health/ready`.
    pub(crate) fn ready(&self) -> Response {
        let (status, words) = match self.phase() {
            Phase::Starting => (StatusCode::SERVICE_UNAVAILABLE, "the model is being loaded"),
            Phase::Ready => (StatusCode::OK, "ok"),
            Phase::Draining | Phase::Closing | Phase::Stopped => {
                (StatusCode::SERVICE_UNAVAILABLE, "the server is stopping")
            }
        };
        (status, words).into_response()
    }
}
