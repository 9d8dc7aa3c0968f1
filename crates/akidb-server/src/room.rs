//! Memory that requests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// So many bytes for all requests together.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    taken: Arc<AtomicUsize>,
    most: usize,
}

/// Bytes of a request that are given back when it ends.
#[derive(Debug)]
pub(crate) struct Reserved {
    room: Room,
    own: AtomicUsize,
}

impl Room {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            taken: Arc::default(),
            most,
        }
    }

    /// Bytes of all requests.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Nothing yet, for a request that may take more.
    pub(crate) fn start(&self) -> Reserved {
        Reserved {
            room: self.clone(),
            own: AtomicUsize::new(0),
        }
    }

    /// Room for a request, `None` when there isn't. One alone has it, however large.
    pub(crate) fn reserve(&self, bytes: usize) -> Option<Reserved> {
        let reserved = self.start();
        reserved.grow(bytes).then_some(reserved)
    }
}

impl Reserved {
    /// Takes more, or returns `false` when there isn't room for it.
    pub(crate) fn grow(&self, bytes: usize) -> bool {
        let own = self.own.load(Ordering::Relaxed);
        let fits = |taken: usize| {
            let sum = taken.checked_add(bytes)?;
            (taken == own || sum <= self.room.most).then_some(sum)
        };
        let taken = &self.room.taken;
        let grown = taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        if grown.is_ok() {
            self.own.fetch_add(bytes, Ordering::Relaxed);
        }
        grown.is_ok()
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.room
            .taken
            .fetch_sub(*self.own.get_mut(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_given_back_and_one_request_always_has_some() {
        let room = Room::new(100);
        let large = room.reserve(1000).unwrap();
        assert!(room.reserve(1).is_none());
        assert!(large.grow(1000) && !large.grow(usize::MAX));
        drop(large);
        let small = room.reserve(60).unwrap();
        assert!(room.reserve(41).is_none());
        assert!(room.reserve(usize::MAX).is_none());
        let other = room.reserve(30).unwrap();
        assert!(small.grow(10) && !small.grow(1) && !other.grow(1));
        assert_eq!(room.taken(), 100);
        drop((small, other));
        assert_eq!(room.taken(), 0);
    }
}
