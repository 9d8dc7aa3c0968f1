//! The Hugging Face Hub, or a server that speaks its protocol.

mod http;
mod listing;
mod retry;

use std::fmt;
use std::time::Duration;

pub(crate) use http::{Body, Http};
pub(crate) use listing::{Checksum, Listing, RemoteFile};
pub(crate) use retry::{Failure, Pauses};

/// The public hub.
pub const PUBLIC_ENDPOINT: &str = "https://huggingface.co";

/// How models are fetched.
#[derive(Debug, Clone)]
pub struct HubOptions {
    /// Address of the hub, without a path.
    pub endpoint: String,
    /// Token for private and gated models. It is sent to the endpoint only.
    pub token: Option<Token>,
    /// Whether the network must not be used.
    pub offline: bool,
    /// Parts of a file that are fetched at the same time.
    pub connections: usize,
    /// Bytes that are asked for at once. Only whole files smaller than this are fetched in one piece.
    pub segment_bytes: u64,
    /// How often something is tried without getting further.
    pub attempts: u32,
    /// Pause after the first failure; it doubles with each further one, up to half a minute.
    pub pause: Duration,
    /// Longest pause that the hub may ask for.
    pub longest_pause: Duration,
    /// How long a server may be silent.
    pub silence: Duration,
}

impl Default for HubOptions {
    fn default() -> Self {
        Self {
            endpoint: PUBLIC_ENDPOINT.to_owned(),
            token: None,
            offline: false,
            connections: 4,
            segment_bytes: 32 << 20,
            attempts: 6,
            pause: Duration::from_millis(500),
            longest_pause: Duration::from_mins(5),
            silence: Duration::from_secs(30),
        }
    }
}

/// A secret. Neither its `Debug` nor an error shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// The token with this text, without the white space around it.
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    pub(crate) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}
