//! Listening, and stopping when told to.

use std::io;
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::http::router;
use crate::service::EmbeddingService;

/// Serves until the process is told to stop (SIGINT, SIGTERM), then finishes what was accepted.
///
/// # Errors
/// When the address can't be listened on.
pub async fn serve(service: Arc<EmbeddingService>) -> io::Result<()> {
    let listener = TcpListener::bind(service.settings().address).await?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    axum::serve(listener, router(service))
        .with_graceful_shutdown(stop())
        .await
}

async fn stop() {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = interrupt => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    // Where signals can't be listened for, only the system stops the process.
    if interrupt.await.is_err() {
        std::future::pending::<()>().await;
    }
}
