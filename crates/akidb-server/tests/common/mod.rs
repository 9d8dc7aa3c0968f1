//! A server in this process, on the built-in model.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test helper fails by panicking"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use akidb_embedding::Embedder;
use akidb_server::{EmbeddingService, ModelSettings, ServeError, Server, Settings};
use tokio::sync::oneshot;

/// Settings for the built-in model, on a port that is free.
pub(crate) fn settings() -> Settings {
    Settings {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        models: vec![ModelSettings {
            name: "akidb-mini".to_owned(),
            builder: Embedder::builder().model("akidb-mini"),
        }],
        ..Settings::default()
    }
}

/// A server that runs on threads of its own.
pub(crate) struct Running {
    pub(crate) url: String,
    drain: Option<oneshot::Sender<()>>,
    now: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<Result<(), ServeError>>>,
}

impl Running {
    pub(crate) fn start(settings: Settings) -> Self {
        let service = Arc::new(EmbeddingService::new(settings).unwrap());
        let (tell, told) = std::sync::mpsc::channel();
        let (drain, drained) = oneshot::channel::<()>();
        let (now, at_once) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async move {
                let server = Server::bind(service).await?;
                tell.send(server.address()).unwrap();
                let ended = async |signal: oneshot::Receiver<()>| drop(signal.await);
                server.run_until(ended(drained), ended(at_once)).await
            })
        });
        Self {
            url: told.recv().unwrap(),
            drain: Some(drain),
            now: Some(now),
            thread: Some(thread),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let (_, address) = self.url.split_once("://").unwrap();
        address.parse().unwrap()
    }

    /// Waits until the model is loaded.
    pub(crate) fn ready(self) -> Self {
        for _ in 0..600 {
            if raw(self.address(), "GET /health/ready HTTP/1.0\r\n\r\n").contains("200 OK") {
                return self;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("not ready within 30 s");
    }

    pub(crate) fn drain(&mut self) {
        self.drain = None;
    }

    pub(crate) fn stop_now(&mut self) {
        self.now = None;
    }

    pub(crate) fn wait(&mut self) {
        self.thread.take().unwrap().join().unwrap().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.drain();
        self.stop_now();
        if let Some(thread) = self.thread.take() {
            // A failure that is already unwinding says more.
            let _ = thread.join();
        }
    }
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    stream
}

/// Sends bytes, gives what comes back until the server closes.
pub(crate) fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes()).unwrap();
    rest(&mut stream)
}

/// What comes until the other side closes.
pub(crate) fn rest(stream: &mut impl Read) -> String {
    let mut answer = Vec::new();
    // A reset after the answer ends it, too.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// A request that closes its connection.
pub(crate) fn request(line: &str, headers: &str, body: &str) -> String {
    format!(
        "{line} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

pub(crate) const EMBED: &str = r#"{"input":"a text"}"#;
