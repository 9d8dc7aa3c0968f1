//! Who asks, until when the answer is of use, and what is held for it.

use std::convert::Infallible;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::room::{NoRoom, Reserved, Room};

/// Who asks, until when the answer is of use, and what is held for it; on every request that came
/// through the server's own layers.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The API key's name, else the address; empty where neither is known.
    pub(crate) client: Arc<str>,
    /// When the request is given up.
    pub(crate) deadline: Option<Instant>,
    /// Bytes of the request, from its first to its answer.
    pub(crate) held: Arc<Reserved>,
}

/// For requests that came without the layers.
static UNCOUNTED: LazyLock<Arc<Reserved>> =
    LazyLock::new(|| Arc::new(Room::new(usize::MAX).start()));

impl Default for Caller {
    fn default() -> Self {
        Self {
            client: Arc::default(),
            deadline: None,
            held: Arc::clone(&UNCOUNTED),
        }
    }
}

impl Caller {
    /// Room for so many bytes of this request, what it sent included.
    pub(crate) fn reserve(&self, bytes: usize) -> Result<(), NoRoom> {
        let no_room = NoRoom { needed: bytes };
        self.held.reach(bytes).then_some(()).ok_or(no_room)
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}
