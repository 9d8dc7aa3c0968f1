//! Whose text is tokenized next: clients take turns of some milliseconds that are equally long
//! together (start-time fair queueing).

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::room::{Reserved, Room};

/// What a turn takes in memory: a slice of a text and its tokens, some 500 bytes a byte.
const TURN_BYTES: usize = 8 << 20;

/// A turn counts as no more than this part of the room: a small one is not full of turns.
const PART_OF_ROOM: usize = 8;

/// How long a turn lasts; its last slice is finished.
pub(super) const TURN: Duration = Duration::from_millis(5);

/// Turns for all clients, several at a time.
#[derive(Debug)]
pub(super) struct Turns {
    board: Mutex<Board>,
    most: usize,
    room: Room,
}

#[derive(Debug, Default)]
struct Board {
    clients: BTreeMap<Arc<str>, Client>,
    /// When the turn began that was given last, in the time of turns.
    now: Duration,
    order: u64,
    running: usize,
}

#[derive(Debug, Default)]
struct Client {
    /// The time of its turns.
    used: Duration,
    running: u32,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    /// Older ones have smaller numbers.
    order: u64,
    turn: oneshot::Sender<Turn>,
}

/// A turn. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Arc<Turns>,
    client: Arc<str>,
    began: Instant,
    _memory: Option<Reserved>,
}

impl Turn {
    pub(super) fn is_over(&self) -> bool {
        self.began.elapsed() >= TURN
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut board = self.turns.board();
        board.running -= 1;
        if let Some(client) = board.clients.get_mut(&self.client) {
            client.running -= 1;
            client.used += self.began.elapsed();
        }
        drop(board);
        self.turns.give();
    }
}

impl Turns {
    /// At most `most` turns at a time; while another one runs there must be room for it, too.
    pub(super) fn new(most: usize, room: Room) -> Arc<Self> {
        Arc::new(Self {
            board: Mutex::default(),
            most,
            room,
        })
    }

    /// Waits for a client's turn.
    pub(super) async fn turn(self: &Arc<Self>, client: &Arc<str>) -> Option<Turn> {
        let (turn, given) = oneshot::channel();
        {
            let mut board = self.board();
            let (now, order) = (board.now, board.order);
            board.order += 1;
            let client = board.clients.entry(Arc::clone(client)).or_default();
            // Who was away can't save turns up.
            client.used = client.used.max(now);
            client.waiting.push_back(Waiting { order, turn });
        }
        self.give();
        given.await.ok()
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the turns that can be given.
    fn give(self: &Arc<Self>) {
        loop {
            let (to, turn) = {
                let mut board = self.board();
                if board.running >= self.most {
                    return;
                }
                let bytes = TURN_BYTES.min(self.room.most() / PART_OF_ROOM);
                let memory = self.room.reserve(bytes);
                if board.running > 0 && memory.is_none() {
                    return;
                }
                let Some((client, to)) = board.next() else {
                    return;
                };
                let turn = Turn {
                    turns: Arc::clone(self),
                    client,
                    began: Instant::now(),
                    _memory: memory,
                };
                (to, turn)
            };
            // Who went away meanwhile gives it back: the lock isn't held.
            drop(to.send(turn));
        }
    }
}

impl Board {
    /// The client whose turn it is; the turn counts from now on.
    fn next(&mut self) -> Option<(Arc<str>, oneshot::Sender<Turn>)> {
        for client in self.clients.values_mut() {
            client.waiting.retain(|waiting| !waiting.turn.is_closed());
        }
        let now = self.now;
        self.clients.retain(|_, client| {
            !client.waiting.is_empty() || client.running > 0 || client.used > now
        });
        let first = self.clients.iter_mut().filter_map(|(name, client)| {
            let order = client.waiting.front()?.order;
            // What runs will have taken a turn.
            Some((client.used + TURN * client.running, order, name, client))
        });
        let Some((used, _, name, client)) = first.min_by_key(|&(used, order, ..)| (used, order))
        else {
            if self.running == 0 {
                // Nobody waits: nobody owes a turn to anybody.
                self.clients.clear();
            }
            return None;
        };
        let waiting = client.waiting.pop_front()?;
        client.running += 1;
        self.running += 1;
        self.now = self.now.max(used);
        Some((Arc::clone(name), waiting.turn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(client: &str) -> Arc<str> {
        client.into()
    }

    /// Asks for turns, and tells in which order they come when each lasts as long as is said.
    async fn order(turns: &Arc<Turns>, asks: &[&'static str]) -> Vec<&'static str> {
        let first = turns.turn(&name("first")).await.unwrap();
        let (told, mut tell) = tokio::sync::mpsc::unbounded_channel();
        for &client in asks {
            let (turns, told) = (Arc::clone(turns), told.clone());
            let waits = async move {
                let turn = turns.turn(&name(client)).await.unwrap();
                told.send(client).unwrap();
                tokio::time::sleep(TURN).await;
                drop(turn);
            };
            tokio::spawn(waits);
            tokio::task::yield_now().await;
        }
        drop((told, first));
        let mut order = Vec::new();
        while let Some(client) = tell.recv().await {
            order.push(client);
        }
        order
    }

    #[tokio::test]
    async fn another_client_waits_for_one_turn_however_many_somebody_asks_for() {
        let turns = Turns::new(1, Room::new(usize::MAX));
        let order = order(&turns, &["a", "a", "a", "a", "b"]).await;
        assert_eq!(order[..2], ["a", "b"]);
        assert_eq!(order.len(), 5);
    }

    #[tokio::test]
    async fn a_turn_nobody_waits_for_any_more_is_the_next_ones() {
        let turns = Turns::new(1, Room::new(usize::MAX));
        let held = turns.turn(&name("a")).await.unwrap();
        let (b, c) = (name("b"), name("c"));
        let gone = turns.turn(&b);
        let waits = turns.turn(&c);
        let gone = tokio::time::timeout(Duration::from_millis(1), gone).await;
        assert!(gone.is_err());
        drop(held);
        assert!(waits.await.is_some());
        // Nothing is remembered of anybody.
        drop(turns.turn(&b).await);
        assert!(turns.board().clients.is_empty());
        assert_eq!(turns.board().running, 0);
    }

    #[tokio::test]
    async fn without_room_there_is_one_turn_at_a_time() {
        let room = Room::new(PART_OF_ROOM);
        let all = room.reserve(PART_OF_ROOM).unwrap();
        let turns = Turns::new(4, room.clone());
        let first = turns.turn(&name("a")).await.unwrap();
        let b = name("b");
        let mut second = Box::pin(turns.turn(&b));
        let waits = tokio::time::timeout(Duration::from_millis(20), &mut second).await;
        assert!(waits.is_err());
        drop(first);
        let second = second.await.unwrap();
        drop(second);
        drop(all);
        let turn = turns.turn(&b).await;
        assert_eq!(room.taken(), 1);
        drop(turn);
        assert_eq!(room.taken(), 0);
    }
}
