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
        port: 0,
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
    service: Arc<EmbeddingService>,
    drain: Option<oneshot::Sender<()>>,
    now: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<Result<(), ServeError>>>,
}

impl Running {
    pub(crate) fn start(settings: Settings) -> Self {
        let service = Arc::new(EmbeddingService::new(settings).unwrap());
        let bound = Arc::clone(&service);
        let (tell, told) = std::sync::mpsc::channel();
        let (drain, drained) = oneshot::channel::<()>();
        let (now, at_once) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async move {
                let server = Server::bind(bound).await?;
                tell.send(server.address()).unwrap();
                let ended = async |signal: oneshot::Receiver<()>| drop(signal.await);
                server.run_until(ended(drained), ended(at_once)).await
            })
        });
        Self {
            url: told.recv().unwrap(),
            service,
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

    /// Bytes that are held for clients.
    pub(crate) fn held(&self) -> usize {
        self.service.stats().queue_bytes
    }

    /// Waits until what is held for clients is as it should be.
    pub(crate) fn wait_until_held(&self, is: impl Fn(usize) -> bool) {
        for _ in 0..1000 {
            if is(self.held()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{} bytes are held after 10 s", self.held());
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
        "{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

pub(crate) const EMBED: &str = r#"{"input":"a text"}"#;

/// HTTP/2 frame by frame, for what no client does.
pub(crate) mod http2 {
    use super::*;

    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const RESET: u8 = 3;
    pub(crate) const WINDOW: u8 = 8;

    /// A connection whose client takes so many bytes of each answer.
    pub(crate) fn open(address: SocketAddr, window: u32) -> TcpStream {
        let mut stream = connect(address);
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .unwrap();
        // SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113, 6.5.2).
        let settings = [&[0, 4], &window.to_be_bytes()[..]].concat();
        stream.write_all(&frame(4, 0, 0, &settings)).unwrap();
        stream
    }

    pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [len[1], len[2], len[3], kind, flags];
        [&head[..], &stream.to_be_bytes(), payload].concat()
    }

    /// The head of a POST request; its body comes behind it.
    pub(crate) fn post(stream: u32, path: &str, content_type: &str) -> Vec<u8> {
        // HPACK (RFC 7541): POST, http, then path, authority and content type as they are.
        let mut headers = vec![0x83, 0x86];
        for (name, value) in [
            (&[0x04][..], path),
            (&[0x01], "localhost"),
            (&[0x0f, 0x10], content_type),
        ] {
            headers.extend(name);
            headers.push(u8::try_from(value.len()).unwrap());
            headers.extend(value.as_bytes());
        }
        frame(HEADERS, 4, stream, &headers)
    }

    /// A body, in frames of the size that everybody takes; `end`: the request's last.
    pub(crate) fn data(stream: u32, bytes: &[u8], end: bool) -> Vec<u8> {
        let frames = bytes
            .chunks(16 << 10)
            .map(|chunk| frame(DATA, 0, stream, chunk));
        let mut frames: Vec<u8> = frames.flatten().collect();
        if end {
            frames.extend(frame(DATA, 1, stream, &[]));
        }
        frames
    }

    /// The kinds of the frames that came on a request's stream.
    pub(crate) fn kinds(mut bytes: &[u8], stream: u32) -> Vec<u8> {
        let mut kinds = Vec::new();
        while let [a, b, c, kind, _, id @ ..] = bytes
            && let Some(id) = id.first_chunk()
        {
            if u32::from_be_bytes(*id) == stream {
                kinds.push(*kind);
            }
            let len = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            bytes = bytes.get(9 + len..).unwrap_or_default();
        }
        kinds
    }
}
