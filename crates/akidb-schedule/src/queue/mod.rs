//! What waits, and what runs next. Nothing here knows the time or a thread: both are told.

mod outlook;
#[cfg(test)]
mod tests;
mod waiting;

use std::collections::HashMap;
use std::iter;
use std::sync::Arc;
use std::time::{Duration, Instant};

use waiting::{Entry, PassGroup, Request, Sender, Waiter};

use crate::engine::Engine;
use crate::error::{Fault, ScheduleError};
use crate::fair::{Clients, ItemId, Place, Price, RequestId};
use crate::request::{Class, EngineId, Work};
use crate::speed::{Speed, cost};

pub use outlook::ClassStats;
pub(crate) use waiting::{Answer, Pass};

/// Of the time in which both classes have work, what bulk work gets: a fifth.
const BULK_SHARE: u32 = 5;

/// Bounds of a pass.
#[derive(Debug, Clone, Copy)]
pub struct PassLimits {
    /// Most tokens, large items counted as more.
    pub tokens: usize,
    /// How long a pass of several items should take at most.
    pub time: Duration,
}

/// An engine that items are queued for.
#[derive(Debug)]
struct Runner<E> {
    name: Arc<str>,
    engine: Arc<E>,
    speed: Speed,
    queued_tokens: usize,
    /// When it was last busy, or its speed was last looked at.
    used: Option<Instant>,
}

#[derive(Debug)]
pub(crate) struct Queue<E: Engine> {
    limits: PassLimits,
    engines: HashMap<EngineId, Runner<E>>,
    entries: HashMap<ItemId, Entry<E>>,
    /// Entries that wait or run, by what they are.
    same: HashMap<(EngineId, E::Item), ItemId>,
    requests: HashMap<RequestId, Request<E>>,
    interactive: Clients<PassGroup<E>>,
    bulk: Clients<PassGroup<E>>,
    /// Time that bulk work has waited for its share.
    owed: Duration,
    /// When the pass that runs should end.
    busy_until: Option<Instant>,
    next_id: u64,
}

impl<E: Engine> Queue<E> {
    pub(crate) fn new(limits: PassLimits) -> Self {
        Self {
            limits,
            engines: HashMap::new(),
            entries: HashMap::new(),
            same: HashMap::new(),
            requests: HashMap::new(),
            interactive: Clients::new(),
            bulk: Clients::new(),
            owed: Duration::ZERO,
            busy_until: None,
            next_id: 0,
        }
    }

    pub(crate) fn add_engine(&mut self, name: Arc<str>, engine: Arc<E>, speed: Speed) -> EngineId {
        let id = EngineId(self.id());
        self.engines.insert(
            id,
            Runner {
                name,
                engine,
                speed,
                queued_tokens: 0,
                used: None,
            },
        );
        id
    }

    /// Forgets an engine that nothing waits for.
    pub(crate) fn remove_engine(&mut self, id: EngineId) {
        self.engines.remove(&id);
    }

    /// Accepts a request, or says why not. The items that are `known` aren't computed.
    pub(crate) fn submit(
        &mut self,
        work: Work<E>,
        answer: Sender<E>,
        now: Instant,
    ) -> Result<RequestId, ScheduleError<E::Error>> {
        let Work {
            engine: engine_id,
            items,
            known,
            group,
            class,
            client,
            max_wait,
            deadline,
        } = work;
        self.rest(engine_id, now);
        let runner = self.engines.get(&engine_id);
        let runner = runner.ok_or(ScheduleError::Stopped)?;
        let full = full(&self.limits, runner);
        let price = |item: &E::Item| {
            let cost = cost(E::tokens(item));
            let time = runner.speed.share(cost, full);
            Price { cost, time }
        };

        // Each different item once.
        let mut distinct: Vec<(E::Item, Option<E::Output>)> = Vec::new();
        let mut seen: HashMap<E::Item, usize> = HashMap::new();
        let mut rows = Vec::with_capacity(items.len());
        let known = known.into_iter().chain(iter::repeat_with(|| None));
        for (item, output) in items.into_iter().zip(known) {
            let next = distinct.len();
            let row = *seen.entry(item.clone()).or_insert(next);
            if row == next {
                distinct.push((item, output));
            }
            rows.push(row);
        }
        let unknown = distinct.iter().filter(|(_, output)| output.is_none());
        let own: Duration = unknown.map(|(item, _)| price(item).time).sum();
        let wait = self.expected_wait(class, &client, own, now);
        if wait > max_wait {
            return Err(ScheduleError::Overloaded {
                retry_after: wait - max_wait,
            });
        }

        // Work that would be given up before its end is not begun. What was learned may be of a time
        // that is over: what the engine can do is tried.
        let time = runner.speed.at_best(wait.saturating_add(own), full);
        let end = now.checked_add(time);
        if deadline.is_some_and(|deadline| end.is_none_or(|end| end > deadline)) {
            return Err(ScheduleError::DeadlineExceeded);
        }

        let prices: Vec<Price> = distinct.iter().map(|(item, _)| price(item)).collect();
        let group = (engine_id, group);
        let id = self.id();
        let mut request = Request {
            answer,
            class,
            client,
            items: Vec::new(),
            outputs: Vec::with_capacity(distinct.len()),
            missing: 0,
            rows,
            started: None,
        };
        for (index, ((item, output), price)) in distinct.into_iter().zip(prices).enumerate() {
            if output.is_none() {
                let waiter = Waiter { request: id, index };
                let entry = self.wait_for(&group, item, price, waiter, &request, now);
                request.items.push(entry);
                request.missing += 1;
            }
            request.outputs.push(output);
        }
        if request.missing == 0 {
            request.done().send();
        } else {
            self.requests.insert(id, request);
        }
        Ok(id)
    }

    /// Lets a request wait for an item, which may be there already.
    fn wait_for(
        &mut self,
        group: &PassGroup<E>,
        item: E::Item,
        price: Price,
        waiter: Waiter,
        request: &Request<E>,
        now: Instant,
    ) -> ItemId {
        let key = (group.0, item);
        let known = self.same.get(&key).copied();
        let id = known.unwrap_or_else(|| self.id());
        let entry = self.entries.entry(id).or_insert_with(|| {
            self.same.insert(key.clone(), id);
            if let Some(runner) = self.engines.get_mut(&group.0) {
                runner.queued_tokens += E::tokens(&key.1);
            }
            Entry {
                group: group.clone(),
                item: key.1,
                price,
                arrived: now,
                class: request.class,
                running: false,
                waiters: Vec::new(),
                wanted: 0,
            }
        });
        entry.waiters.push(waiter);
        entry.wanted += 1;
        if !entry.running {
            if request.class == Class::Interactive {
                entry.class = Class::Interactive;
            }
            // Also where others wait for it: it runs when the first of them has its turn.
            let (group, time) = (entry.group.clone(), entry.price.time);
            let clients = self.clients(request.class);
            clients.push(&request.client, &group, id, waiter.request);
            clients.waits(&request.client, time);
        }
        id
    }

    /// Forgets a request; what nobody else waits for is not computed.
    pub(crate) fn cancel(&mut self, id: RequestId) {
        if let Some(request) = self.requests.remove(&id) {
            self.give_up(&request);
        }
    }

    fn give_up(&mut self, request: &Request<E>) {
        let mut waited = Duration::ZERO;
        let mut places = 0;
        for id in &request.items {
            let Some(entry) = self.entries.get_mut(id) else {
                continue;
            };
            entry.wanted -= 1;
            if entry.running {
                continue;
            }
            places += 1;
            waited += entry.price.time;
            if entry.wanted == 0 {
                self.forget(*id);
            }
        }
        let (entries, requests) = (&self.entries, &self.requests);
        let clients = match request.class {
            Class::Interactive => &mut self.interactive,
            Class::Bulk => &mut self.bulk,
        };
        clients.waits_no_more(&request.client, waited);
        clients.leave(&request.client, places, |place| {
            is_wanted(entries, requests, place)
        });
    }

    /// Before an idle engine's speed is looked at.
    fn rest(&mut self, engine: EngineId, now: Instant) {
        let busy = self.busy_until.is_some();
        if let Some(runner) = self.engines.get_mut(&engine)
            && !busy
            && runner.queued_tokens == 0
        {
            let used = runner.used.replace(now).unwrap_or(now);
            runner.speed.rest(now.saturating_duration_since(used));
        }
    }

    fn forget(&mut self, id: ItemId) -> Option<Entry<E>> {
        let entry = self.entries.remove(&id)?;
        let key = (entry.group.0, entry.item.clone());
        self.same.remove(&key);
        if !entry.running {
            self.waits_no_more(entry.group.0, E::tokens(&entry.item));
        }
        Some(entry)
    }

    fn waits_no_more(&mut self, engine: EngineId, tokens: usize) {
        if let Some(runner) = self.engines.get_mut(&engine) {
            runner.queued_tokens = runner.queued_tokens.saturating_sub(tokens);
        }
    }

    /// What runs next, if anything waits.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Pass<E>> {
        let class = self.next_class()?;
        let (entries, requests) = (&self.entries, &self.requests);
        let clients = match class {
            Class::Interactive => &mut self.interactive,
            Class::Bulk => &mut self.bulk,
        };
        let group = clients.first(|place| is_wanted(entries, requests, place))?;
        let runner = self.engines.get(&group.0)?;
        let room = full(&self.limits, runner);
        let taken = clients.take(&group, room, |place| {
            is_wanted(entries, requests, place)
                .then(|| entries.get(&place.item).map(|entry| entry.price))?
        });
        let mut pass = Pass {
            id: group.0,
            name: Arc::clone(&runner.name),
            engine: Arc::clone(&runner.engine),
            group: group.1,
            class,
            items: Vec::with_capacity(taken.len()),
            entries: Vec::with_capacity(taken.len()),
            waited: Vec::with_capacity(taken.len()),
            tokens: 0,
            cost: 0,
        };
        for id in taken {
            self.start(id, now, &mut pass);
        }
        let time = self
            .engines
            .get_mut(&pass.id)
            .map_or(Duration::ZERO, |runner| {
                runner.used = Some(now);
                runner.speed.pass(pass.cost)
            });
        match class {
            Class::Bulk => self.owed = self.owed.saturating_sub(time),
            Class::Interactive if self.bulk.is_empty() => self.owed = Duration::ZERO,
            Class::Interactive => self.owed += time / (BULK_SHARE - 1),
        }
        self.busy_until = now.checked_add(time);
        Some(pass)
    }

    fn start(&mut self, id: ItemId, now: Instant, pass: &mut Pass<E>) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.running = true;
        let (tokens, price) = (E::tokens(&entry.item), entry.price);
        pass.tokens += tokens;
        pass.cost = pass.cost.saturating_add(price.cost);
        pass.items.push(entry.item.clone());
        pass.entries.push(id);
        pass.waited
            .push(now.saturating_duration_since(entry.arrived));
        for waiter in &entry.waiters {
            let Some(request) = self.requests.get_mut(&waiter.request) else {
                continue;
            };
            request.started.get_or_insert(now);
            let clients = match request.class {
                Class::Interactive => &mut self.interactive,
                Class::Bulk => &mut self.bulk,
            };
            clients.waits_no_more(&request.client, price.time);
        }
        self.waits_no_more(pass.id, tokens);
    }

    /// Interactive items first, unless bulk work has waited for its share.
    fn next_class(&mut self) -> Option<Class> {
        let (entries, requests) = (&self.entries, &self.requests);
        let wanted = |place: &Place| is_wanted(entries, requests, place);
        let interactive = self.interactive.first(wanted).is_some();
        let bulk = self.bulk.first(wanted).is_some();
        match (interactive, bulk) {
            (true, true) if self.owed >= self.limits.time => Some(Class::Bulk),
            (true, _) => Some(Class::Interactive),
            (false, true) => Some(Class::Bulk),
            (false, false) => None,
        }
    }

    /// Hands out a pass's outputs, one result for each of its items.
    pub(crate) fn finish(
        &mut self,
        pass: &Pass<E>,
        results: Vec<Result<E::Output, Fault<E::Error>>>,
        took: Duration,
    ) -> Vec<Answer<E>> {
        self.busy_until = None;
        if let Some(runner) = self.engines.get_mut(&pass.id) {
            runner.used = runner.used.and_then(|began| began.checked_add(took));
            if results.iter().all(Result::is_ok) {
                runner.speed.learn(pass.cost, took);
            }
        }
        let mut answers = Vec::new();
        for (id, result) in pass.entries.iter().zip(results) {
            let Some(entry) = self.forget(*id) else {
                continue;
            };
            for waiter in entry.waiters {
                answers.extend(self.hand_out(waiter, &result));
            }
        }
        answers
    }

    /// The request's answer where this was what it still waited for.
    fn hand_out(
        &mut self,
        waiter: Waiter,
        result: &Result<E::Output, Fault<E::Error>>,
    ) -> Option<Answer<E>> {
        let request = self.requests.get_mut(&waiter.request)?;
        match result {
            Ok(output) => {
                let place = request.outputs.get_mut(waiter.index)?;
                *place = Some(output.clone());
                request.missing -= 1;
                if request.missing > 0 {
                    return None;
                }
                Some(self.requests.remove(&waiter.request)?.done())
            }
            Err(fault) => {
                let request = self.requests.remove(&waiter.request)?;
                self.give_up(&request);
                let mut rows = request.rows.iter();
                let index = rows.position(|row| *row == waiter.index);
                Some(request.failed(fault.at(index.unwrap_or_default())))
            }
        }
    }

    /// Requests that nobody will answer any more.
    pub(crate) fn abandon(&mut self) -> Vec<Answer<E>> {
        self.entries.clear();
        self.same.clear();
        let requests = self.requests.drain();
        requests
            .map(|(_, request)| request.failed(ScheduleError::Stopped))
            .collect()
    }

    /// Whether nothing is left of any request.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        let left = self.entries.len() + self.same.len() + self.requests.len();
        let backlog = self.interactive.backlog() + self.bulk.backlog();
        left == 0 && backlog.is_zero() && self.interactive.is_empty() && self.bulk.is_empty()
    }

    fn clients(&mut self, class: Class) -> &mut Clients<PassGroup<E>> {
        match class {
            Class::Interactive => &mut self.interactive,
            Class::Bulk => &mut self.bulk,
        }
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

/// Cost of a full pass of an engine.
fn full<E>(limits: &PassLimits, runner: &Runner<E>) -> u64 {
    let most = u64::try_from(limits.tokens).unwrap_or(u64::MAX);
    runner.speed.cost_within(limits.time).clamp(1, most.max(1))
}

/// Whether an item still waits, and for the request that has this place.
fn is_wanted<E: Engine>(
    entries: &HashMap<ItemId, Entry<E>>,
    requests: &HashMap<RequestId, Request<E>>,
    place: &Place,
) -> bool {
    requests.contains_key(&place.request)
        && entries.get(&place.item).is_some_and(|entry| !entry.running)
}
