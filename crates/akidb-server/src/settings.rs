//! Everything that can be set, with its defaults.

mod kinds;
mod layers;
mod table;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use akidb_embedding::EmbedderBuilder;

pub use kinds::Host;
pub use layers::{Layers, Origin, SettingsError};
pub use table::{SETTINGS, Setting, VARIABLES};

/// How the server runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen.
    pub host: Host,
    /// The port to listen on; 0 for one that is free.
    pub port: u16,
    /// The models, at least one; the first answers requests that name none.
    pub models: Vec<ModelSettings>,
    /// Most tokens of one pass of a model, long texts counted as more.
    pub max_batch_tokens: usize,
    /// Most texts of one request.
    pub max_client_batch_size: usize,
    /// Most bytes of one request's body.
    pub max_body_bytes: usize,
    /// Requests of more inputs are bulk work unless they say otherwise.
    pub interactive_inputs: usize,

    /// Path of a Unix socket to listen on instead of an address.
    pub unix_socket: Option<PathBuf>,
    /// Certificate chain in PEM; with it and its key, the server listens with TLS.
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key in PEM.
    pub tls_key: Option<PathBuf>,
    /// Most connections at a time; more wait.
    pub max_connections: usize,
    /// How long a connection's first request, or the head of any request, may take to come.
    pub header_timeout: Duration,
    /// How long a request's body may take to come, and how long a client may take nothing of its
    /// answer.
    pub body_timeout: Duration,
    /// How long a connection without a request stays open.
    pub keep_alive: Duration,
    /// How long connections are accepted after the process was told to stop, while
    /// `/health/ready` says so to load balancers.
    pub drain_delay: Duration,
    /// How long accepted requests have to finish then.
    pub drain_timeout: Duration,
    /// File of the keys that clients must have; without it, everybody is answered.
    pub api_keys: Option<PathBuf>,
    /// Hosts by which a server on loopback without keys may be asked, beside `localhost` and addresses; `*`
    /// for all.
    pub allowed_hosts: Vec<String>,
    /// Origins whose pages may ask from within a browser, `*` for all.
    pub cors_origins: Vec<String>,
    /// Refuse requests with fields that their interface hasn't, instead of naming them in a header.
    pub strict: bool,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// OpenTelemetry collector that traces are sent to, by gRPC.
    pub otlp_endpoint: Option<String>,

    /// How long a pass of several texts should take: what comes meanwhile waits for its end.
    pub max_pass_time: Duration,
    /// Longest expected wait in the queue: who would wait longer is refused at once.
    pub max_wait: Duration,
    /// How long a request may take; it is given up then, or refused at once where it is clear that
    /// it would take longer.
    pub request_timeout: Duration,
    /// Most bytes held for all clients: requests, texts, vectors, and answers until they are sent. What
    /// is being sent to the server may fill half. One request alone may have more.
    pub max_queue_bytes: usize,
    /// Bytes for vectors of texts that may come again; 0 for none.
    pub result_cache_bytes: usize,
    /// Most bytes of the weights that are loaded at a time, by the size of their files; without it,
    /// all models stay loaded.
    pub model_memory: Option<u64>,
    /// Whether the first model is loaded before the server is ready.
    pub preload: bool,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// One model and how it is run.
#[derive(Debug, Clone)]
pub struct ModelSettings {
    /// The name by which requests ask for it.
    pub name: String,
    /// How it is loaded.
    pub builder: EmbedderBuilder,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            host: Host::Address(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            port: 8080,
            models: Vec::new(),
            max_batch_tokens: 16_384,
            max_client_batch_size: 2_048,
            max_body_bytes: 16 << 20,
            interactive_inputs: 32,

            unix_socket: None,
            tls_cert: None,
            tls_key: None,
            max_connections: 4_096,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(75),
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(30),
            api_keys: None,
            allowed_hosts: Vec::new(),
            cors_origins: Vec::new(),
            strict: false,
            log_format: LogFormat::Human,
            otlp_endpoint: None,

            max_pass_time: Duration::from_millis(150),
            max_wait: Duration::from_secs(10),
            request_timeout: Duration::from_secs(300),
            max_queue_bytes: 256 << 20,
            result_cache_bytes: 0,
            model_memory: None,
            preload: true,
        }
    }
}
