//! Who asks, and until when the answer is of use.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

/// Who asks, and until when the answer is of use; on every request that came through the server's
/// own layers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Caller {
    /// The API key's name, else the address; empty where neither is known.
    pub(crate) client: Arc<str>,
    /// When the request is given up.
    pub(crate) deadline: Option<Instant>,
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}
