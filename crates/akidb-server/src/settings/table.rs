//! All settings by name: as flags, in the environment and in the settings file.

use super::Settings;
use super::kinds::{
    Address, Bytes, Count, File, Flag, Format, Kind, List, Port, SomeBytes, Time, Url,
};

/// A setting by its name.
#[derive(Debug)]
pub struct Setting {
    /// In the settings file; flags have dashes instead of underscores.
    pub name: &'static str,
    /// Which settings it stands among.
    pub part: &'static str,
    /// What its value is.
    pub value: &'static str,
    /// What it does.
    pub doc: &'static str,
    /// Whether there may be several values.
    pub list: bool,
    pub(super) set: fn(&mut Settings, &str) -> Result<(), String>,
    pub(super) get: fn(&Settings) -> Option<toml::Value>,
}

macro_rules! setting {
    ($name:ident, $kind:ident, $part:ident, $doc:literal) => {
        setting!($name, $kind, $part, $doc, |settings| settings.$name)
    };
    ($name:ident, $kind:ident, $part:ident, $doc:literal, |$settings:ident| $place:expr) => {
        Setting {
            name: stringify!($name),
            part: $part,
            value: $kind::VALUE,
            doc: $doc,
            list: false,
            set: |$settings, text| {
                $place = $kind::read(text)?;
                Ok(())
            },
            get: |$settings| $kind::show(&$place),
        }
    };
}

const LISTENING: &str = "Listening";
const ACCESS: &str = "Access";
const LIMITS: &str = "Limits";
const QUEUE: &str = "Queue";
const MODELS: &str = "Models";
const STOPPING: &str = "Stopping";
const WATCHING: &str = "Watching";

/// All of them, in the order in which help shows them.
pub static SETTINGS: &[Setting] = &[
    setting!(
        host,
        Address,
        LISTENING,
        "Address to listen on, or a name, of which it is all addresses"
    ),
    setting!(
        port,
        Port,
        LISTENING,
        "Port to listen on, HTTP and gRPC alike; 0: one that is free"
    ),
    setting!(
        unix_socket,
        File,
        LISTENING,
        "Listen on this Unix socket instead of a port"
    ),
    setting!(
        tls_cert,
        File,
        LISTENING,
        "Certificate chain in PEM: listen with TLS; read anew on SIGHUP"
    ),
    setting!(
        tls_key,
        File,
        LISTENING,
        "Private key of the certificate, in PEM"
    ),
    setting!(
        max_connections,
        Count,
        LISTENING,
        "Most connections at a time; more wait"
    ),
    setting!(
        header_timeout,
        Time,
        LISTENING,
        "How long the head of a request may take to come"
    ),
    setting!(
        body_timeout,
        Time,
        LISTENING,
        "How long the body of a request may take to come, and how long a client may take nothing of its \
         answer"
    ),
    setting!(
        keep_alive,
        Time,
        LISTENING,
        "How long a connection without a request stays open"
    ),
    setting!(
        api_keys,
        File,
        ACCESS,
        "File of the keys that clients must have, one a line, as name:key or key; without it, \
         everybody is answered; read anew when it changes"
    ),
    Setting {
        list: true,
        ..setting!(
            allowed_hosts,
            List,
            ACCESS,
            "Hosts by which a server on loopback without keys may be asked, beside localhost and addresses; * for all"
        )
    },
    Setting {
        list: true,
        ..setting!(
            cors_origins,
            List,
            ACCESS,
            "Origins whose pages may ask from within a browser, * for all"
        )
    },
    setting!(
        request_timeout,
        Time,
        LIMITS,
        "How long a request may take; it is given up then"
    ),
    setting!(
        max_body_bytes,
        Bytes,
        LIMITS,
        "Most bytes of one request's body"
    ),
    setting!(
        max_client_batch_size,
        Count,
        LIMITS,
        "Most texts of one request"
    ),
    setting!(
        strict,
        Flag,
        LIMITS,
        "Refuse requests with fields that nobody knows; else a header of the answer names them"
    ),
    setting!(
        interactive_inputs,
        Count,
        QUEUE,
        "Requests of more texts wait behind others, unless they say what they are"
    ),
    setting!(
        max_batch_tokens,
        Count,
        QUEUE,
        "Most tokens of one pass of a model"
    ),
    setting!(
        max_pass_time,
        Time,
        QUEUE,
        "How long a pass of several texts should take: what comes meanwhile waits for its end"
    ),
    setting!(
        max_wait,
        Time,
        QUEUE,
        "Longest expected wait: who would wait longer is refused at once"
    ),
    setting!(
        max_queue_bytes,
        Bytes,
        QUEUE,
        "Most bytes held for all clients: requests, texts, vectors, and answers until they are sent"
    ),
    setting!(
        result_cache_bytes,
        Bytes,
        QUEUE,
        "Bytes for vectors of texts that may come again; 0: none are kept"
    ),
    setting!(
        model_memory,
        SomeBytes,
        MODELS,
        "Most bytes of models that are loaded at a time, by the size of their files; without it, all \
         stay loaded"
    ),
    setting!(
        preload,
        Flag,
        MODELS,
        "Whether the first model is loaded before the server is ready"
    ),
    setting!(
        drain_delay,
        Time,
        STOPPING,
        "How long connections are still accepted after SIGTERM, while /health/ready says 503"
    ),
    setting!(
        drain_timeout,
        Time,
        STOPPING,
        "How long accepted requests have to finish after that"
    ),
    setting!(log_format, Format, WATCHING, "How log lines are written"),
    setting!(
        otlp_endpoint,
        Url,
        WATCHING,
        "OpenTelemetry collector that traces are sent to, by gRPC"
    ),
];

impl Setting {
    /// The environment variable.
    pub fn variable(&self) -> String {
        format!("{VARIABLES}{}", self.name.to_ascii_uppercase())
    }

    /// The flag, without its dashes.
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// Its value among these settings.
    pub fn show(&self, settings: &Settings) -> Option<toml::Value> {
        (self.get)(settings)
    }
}

/// What the names of environment variables start with.
pub const VARIABLES: &str = "AKIDB_SERVE_";
