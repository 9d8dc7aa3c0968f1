//! The clients of one class, served in turns that are equally long (start-time fair queueing).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

/// An item that is to be computed, whoever waits for it.
pub(crate) type ItemId = u64;
pub(crate) type RequestId = u64;

/// A request's place for one of its items.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) item: ItemId,
    pub(crate) request: RequestId,
    /// Older places have smaller numbers.
    order: u64,
}

/// What a pass pays for an item.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Price {
    pub(crate) cost: u64,
    pub(crate) time: Duration,
}

#[derive(Debug)]
struct Client<G> {
    /// Virtual time from which on its next item may run.
    turn: Duration,
    groups: HashMap<G, VecDeque<Place>>,
    places: usize,
    /// Places whose request is gone.
    left: usize,
    /// Time of its items that wait.
    backlog: Duration,
}

/// The clients of one class. Items of one group `G` can run in one pass.
#[derive(Debug)]
pub(crate) struct Clients<G> {
    by_name: BTreeMap<Arc<str>, Client<G>>,
    /// The turn that was served last.
    now: Duration,
    order: u64,
}

impl<G: Clone + Eq + Hash> Clients<G> {
    pub(crate) fn new() -> Self {
        Self {
            by_name: BTreeMap::new(),
            now: Duration::ZERO,
            order: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_name.values().all(|client| client.places == 0)
    }

    pub(crate) fn push(&mut self, client: &Arc<str>, group: &G, item: ItemId, request: RequestId) {
        let client = self.by_name.entry(Arc::clone(client));
        let client = client.or_insert_with(Client::new);
        // Who was away can't save turns up.
        client.turn = client.turn.max(self.now);
        let order = self.order;
        self.order += 1;
        client.places += 1;
        let places = client.groups.entry(group.clone()).or_default();
        places.push_back(Place {
            item,
            request,
            order,
        });
    }

    /// Adds to the time of a client's items that wait.
    pub(crate) fn waits(&mut self, client: &str, time: Duration) {
        if let Some(client) = self.by_name.get_mut(client) {
            client.backlog += time;
        }
    }

    /// Takes it off again.
    pub(crate) fn waits_no_more(&mut self, client: &str, time: Duration) {
        if let Some(client) = self.by_name.get_mut(client) {
            client.backlog = client.backlog.saturating_sub(time);
        }
    }

    /// A request of the client is gone; it had `places`, some of which may be served already.
    pub(crate) fn leave(&mut self, client: &str, places: usize, wanted: impl Fn(&Place) -> bool) {
        let Some(client) = self.by_name.get_mut(client) else {
            return;
        };
        client.left += places;
        if client.left > client.places / 2 {
            client.groups.retain(|_, places| {
                places.retain(&wanted);
                !places.is_empty()
            });
            client.places = client.groups.values().map(VecDeque::len).sum();
            client.left = 0;
        }
    }

    /// The group of the item whose turn it is.
    pub(crate) fn first(&mut self, wanted: impl Fn(&Place) -> bool) -> Option<G> {
        let mut first: Option<((Duration, u64), &G)> = None;
        for client in self.by_name.values_mut() {
            client.drop_unwanted(&wanted);
        }
        let now = self.now;
        self.by_name.retain(|_, c| c.places > 0 || c.turn > now);
        for client in self.by_name.values() {
            for (group, places) in &client.groups {
                let Some(place) = places.front() else {
                    continue;
                };
                let key = (client.turn, place.order);
                if first.as_ref().is_none_or(|(least, _)| key < *least) {
                    first = Some((key, group));
                }
            }
        }
        let group = first.map(|(_, group)| group.clone());
        if group.is_none() {
            // Nobody waits: nobody owes a turn to anybody.
            self.by_name.clear();
        }
        group
    }

    /// Takes items of a group, turn by turn, as long as their cost is within `room`; the first in
    /// any case. `price` is `None` for places that nobody wants any more.
    pub(crate) fn take(
        &mut self,
        group: &G,
        mut room: u64,
        price: impl Fn(&Place) -> Option<Price>,
    ) -> Vec<ItemId> {
        let turns = self.by_name.iter().filter_map(|(name, client)| {
            let place = client.groups.get(group)?.front()?;
            Some(Reverse((client.turn, place.order, Arc::clone(name))))
        });
        let mut turns: BinaryHeap<_> = turns.collect();
        let mut taken = Vec::new();
        let mut known = HashSet::new();
        while let Some(Reverse((turn, _, name))) = turns.pop() {
            let Some(client) = self.by_name.get_mut(&name) else {
                continue;
            };
            let Some(places) = client.groups.get_mut(group) else {
                continue;
            };
            let Some(place) = places.front().copied() else {
                continue;
            };
            // Another client's place may have taken the same item.
            if !known.contains(&place.item)
                && let Some(Price { cost, time }) = price(&place)
            {
                if cost > room && !taken.is_empty() {
                    // A smaller item of another client may still fit.
                    continue;
                }
                room = room.saturating_sub(cost);
                taken.push(place.item);
                known.insert(place.item);
                self.now = self.now.max(turn);
                client.turn = turn + time;
            }
            places.pop_front();
            client.places -= 1;
            match places.front() {
                Some(next) => turns.push(Reverse((client.turn, next.order, name))),
                None => {
                    client.groups.remove(group);
                }
            }
        }
        taken
    }

    /// How long it takes until a further item of the client, `time` long, has had its turn: every
    /// other client is served no more than this one meanwhile.
    pub(crate) fn wait(&self, client: &str, time: Duration) -> Duration {
        let own = self
            .by_name
            .get(client)
            .map_or(Duration::ZERO, |c| c.backlog);
        let others = self.by_name.values().map(|c| c.backlog.min(own + time));
        others.sum()
    }

    /// Time of all items that wait.
    pub(crate) fn backlog(&self) -> Duration {
        self.by_name.values().map(|client| client.backlog).sum()
    }
}

impl<G: Eq + Hash> Client<G> {
    fn new() -> Self {
        Self {
            turn: Duration::ZERO,
            groups: HashMap::new(),
            places: 0,
            left: 0,
            backlog: Duration::ZERO,
        }
    }

    /// Drops places that nobody wants any more, up to the first of each group that is wanted.
    fn drop_unwanted(&mut self, wanted: impl Fn(&Place) -> bool) {
        let places = &mut self.places;
        self.groups.retain(|_, queue| {
            while queue.front().is_some_and(|place| !wanted(place)) {
                queue.pop_front();
                *places -= 1;
            }
            !queue.is_empty()
        });
        self.left = self.left.min(self.places);
    }
}
