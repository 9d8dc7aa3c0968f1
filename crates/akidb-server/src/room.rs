//! Memory that is held for clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// When to try again what finds no room.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What a request takes beside its head, its body and its answer: what works on it and sends it.
pub(crate) const REQUEST_BYTES: usize = 4 << 10;

/// Others leave no room for so many bytes.
#[derive(Debug)]
pub(crate) struct NoRoom {
    pub(crate) needed: usize,
}

/// So many bytes for all clients together: of what they send, of what is made of it, and of answers
/// until they are sent.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    taken: Arc<Taken>,
    most: usize,
}

#[derive(Debug, Default)]
struct Taken {
    bytes: AtomicUsize,
    given_back: Notify,
}

impl Taken {
    fn give_back(&self, bytes: usize) {
        if bytes > 0 {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.given_back.notify_waiters();
        }
    }
}

/// Bytes that are given back when this is dropped.
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

    /// Bytes of all clients.
    pub(crate) fn taken(&self) -> usize {
        self.taken.bytes.load(Ordering::Relaxed)
    }

    /// How much there is for all clients.
    pub(crate) fn most(&self) -> usize {
        self.most
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
        self.grow_within(bytes, self.room.most)
    }

    /// Takes more for what a client sends, or returns `false`: that may fill half of the room, so
    /// that what is here can always be finished.
    pub(crate) fn arrive(&self, bytes: usize) -> bool {
        self.grow_within(bytes, self.room.most / 2)
    }

    fn grow_within(&self, bytes: usize, most: usize) -> bool {
        let own = self.own();
        let fits = |taken: usize| {
            let sum = taken.checked_add(bytes)?;
            (taken == own || sum <= most).then_some(sum)
        };
        let taken = &self.room.taken.bytes;
        let grown = taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        if grown.is_ok() {
            self.own.fetch_add(bytes, Ordering::Relaxed);
        }
        grown.is_ok()
    }

    /// Has at least so many from now on, or returns `false` when there isn't room for it.
    pub(crate) fn reach(&self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.own());
        more == 0 || self.grow(more)
    }

    /// Takes what is here already, whether there is room for it or not.
    pub(crate) fn take(&self, bytes: usize) {
        self.room.taken.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.own.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Has no more than so many from now on.
    pub(crate) fn shrink_to(&self, bytes: usize) {
        let more = self.own().saturating_sub(bytes);
        self.own.fetch_sub(more, Ordering::Relaxed);
        self.room.taken.give_back(more);
    }

    /// Waits until `take` takes what it needs of this: it is tried again when others have given back.
    pub(crate) async fn wait(&self, take: impl Fn(&Self) -> bool) {
        loop {
            // Before the look, so that nothing is missed between it and the wait.
            let given_back = self.room.taken.given_back.notified();
            if take(self) {
                return;
            }
            given_back.await;
        }
    }

    /// So many bytes of these, and what lacks as it is [taken](Self::take), by themselves.
    pub(crate) fn part(&self, bytes: usize) -> Reserved {
        let lacking = bytes.saturating_sub(self.own());
        self.take(lacking);
        self.own.fetch_sub(bytes, Ordering::Relaxed);
        Reserved {
            room: self.room.clone(),
            own: AtomicUsize::new(bytes),
        }
    }

    pub(crate) fn own(&self) -> usize {
        self.own.load(Ordering::Relaxed)
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.room.taken.give_back(*self.own.get_mut());
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

    #[test]
    fn what_arrives_fills_half_and_what_is_here_the_rest() {
        let room = Room::new(100);
        let (one, other) = (room.start(), room.start());
        assert!(one.arrive(30) && other.arrive(20));
        assert!(!one.arrive(1) && !other.arrive(1));
        assert!(one.reach(20) && one.own() == 30);
        assert!(one.reach(80) && !other.reach(21));
        one.take(5);
        assert_eq!(room.taken(), 105);
        one.shrink_to(5);
        one.shrink_to(50);
        assert_eq!((one.own(), room.taken()), (5, 25));
    }

    #[tokio::test]
    async fn who_waits_is_woken_when_others_give_back() {
        let room = Room::new(100);
        let (first, second) = (room.reserve(60).unwrap(), room.reserve(30).unwrap());
        let waiting = Arc::new(room.start());
        let waits = Arc::clone(&waiting);
        let wait = tokio::spawn(async move { waits.wait(|held| held.reach(50)).await });
        tokio::task::yield_now().await;
        drop(second);
        tokio::task::yield_now().await;
        assert!(!wait.is_finished());
        first.shrink_to(50);
        wait.await.unwrap();
        assert_eq!((waiting.own(), room.taken()), (50, 100));
    }

    #[test]
    fn a_part_is_given_back_by_itself() {
        let room = Room::new(100);
        let all = room.reserve(30).unwrap();
        let (first, second) = (all.part(10), all.part(40));
        assert_eq!((all.own(), room.taken()), (0, 50));
        drop(first);
        drop(all);
        assert_eq!(room.taken(), 40);
        drop(second);
        assert_eq!(room.taken(), 0);
    }
}
