//! One connection, from its first byte to its last.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tower::ServiceExt;

use super::activity::{Activity, Watched};
use super::listener::Stream;
use crate::lifecycle::Phase;
use crate::settings::Settings;

/// How long connections are still read from when the server closes: a request that was sent before
/// the end may be here without having been noticed.
const SETTLING: Duration = Duration::from_millis(100);
/// How long a connection has to close once it was asked to and has nothing to do.
const CLOSING: Duration = Duration::from_secs(1);
/// Between two pings that show whether an HTTP/2 client is there, and for its answer.
const HTTP2_PING: Duration = Duration::from_secs(20);
/// Requests at a time over one HTTP/2 connection.
const HTTP2_STREAMS: u32 = 256;
/// Bytes that an HTTP/2 client may send ahead, for one request and for all: more than a model on a CPU
/// can embed in a round trip.
const HTTP2_WINDOWS: (u32, u32) = (64 << 10, 256 << 10);
/// Bytes that are read ahead of an HTTP/1.1 client, and the longest head of its requests.
const HTTP1_BUFFER: usize = 64 << 10;

/// What a connection takes beside what is counted for its requests, at most: an HTTP/2 client's window,
/// the buffers of both protocols and TLS.
pub(crate) const CONNECTION_BYTES: usize = 512 << 10;

/// The address at the other end of a TCP connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// What a connection is served with.
pub(crate) struct Connection {
    app: Router,
    phase: watch::Receiver<Phase>,
    header_timeout: Duration,
    body_timeout: Duration,
    keep_alive: Duration,
}

impl Connection {
    pub(crate) fn new(app: Router, phase: watch::Receiver<Phase>, settings: &Settings) -> Self {
        Self {
            app,
            phase,
            header_timeout: settings.header_timeout,
            body_timeout: settings.body_timeout,
            keep_alive: settings.keep_alive,
        }
    }

    pub(crate) async fn serve(self, stream: Stream) {
        match stream {
            Stream::Tcp(stream, peer, None) => self.run(stream, Some(Peer(peer))).await,
            Stream::Tcp(stream, peer, Some(tls)) => {
                match tokio::time::timeout(self.header_timeout, tls.accept(stream)).await {
                    Ok(Ok(stream)) => self.run(stream, Some(Peer(peer))).await,
                    Ok(Err(error)) => tracing::debug!(%error, %peer, "no TLS connection"),
                    Err(_) => tracing::debug!(%peer, "no TLS connection in time"),
                }
            }
            #[cfg(unix)]
            Stream::Unix(stream) => self.run(stream, None).await,
        }
    }

    /// Answers requests until the client goes, is idle or too slow, or the server stops.
    async fn run(
        mut self,
        stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
        peer: Option<Peer>,
    ) {
        let activity = Activity::new();
        let stream = Watched {
            stream,
            activity: activity.clone(),
        };
        let requests = activity.clone();
        let app = self.app.map_request(move |mut request: Request<Incoming>| {
            if let Some(peer) = peer {
                request.extensions_mut().insert(peer);
            }
            request.map(Body::new)
        });
        let app = tower::service_fn(move |request| {
            let in_flight = requests.request();
            let answer = app.clone().oneshot(request);
            async move {
                answer
                    .await
                    .map(|answer| answer.map(|body| in_flight.until_sent(body)))
            }
        });

        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .max_buf_size(HTTP1_BUFFER)
            .header_read_timeout(self.header_timeout);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(HTTP2_PING)
            .keep_alive_timeout(HTTP2_PING)
            .max_concurrent_streams(HTTP2_STREAMS)
            .initial_stream_window_size(HTTP2_WINDOWS.0)
            .initial_connection_window_size(HTTP2_WINDOWS.1);
        let connection =
            builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
        tokio::pin!(connection);

        let mut stopped = self.phase.clone();
        let mut closing = false;
        let mut keep_alive = self.keep_alive;
        // Others' answers over the same connection, a proxy's, get as long again to be sent.
        let (mut patience, mut gives_up) = (self.body_timeout, false);
        loop {
            tokio::select! {
                biased;
                result = connection.as_mut() => {
                    if let Err(error) = result {
                        tracing::debug!(error, "a connection ended early");
                    }
                    return;
                }
                _ = stopped.wait_for(|phase| *phase == Phase::Stopped) => return,
                () = closed(&mut self.phase), if !closing => {}
                () = activity.idle(self.header_timeout, keep_alive) => {
                    if closing {
                        return;
                    }
                }
                () = activity.stalled(patience) => {
                    tracing::debug!("a client takes nothing of its answers");
                    if gives_up || activity.is_stuck(patience) {
                        return;
                    }
                    (patience, gives_up) = (2 * patience, true);
                }
            }
            connection.as_mut().graceful_shutdown();
            closing = true;
            self.header_timeout = self.header_timeout.min(CLOSING);
            keep_alive = keep_alive.min(CLOSING);
        }
    }
}

/// Ends a little after the server has begun to close.
async fn closed(phase: &mut watch::Receiver<Phase>) {
    // Without a server, it is closed, too.
    let _ = phase.wait_for(|phase| *phase >= Phase::Closing).await;
    tokio::time::sleep(SETTLING).await;
}
