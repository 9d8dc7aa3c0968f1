//! What waits, and what runs next. Nothing here knows the time or a thread: both are told.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::fair::{Clients, Group, ModelId, Place, Price, RequestId, TextId};
use super::speed::{Speed, cost};
use super::{Done, Engine, State, Work};
use crate::service::error::ServiceError;
use crate::service::request::Class;

/// Of the time in which both classes have work, what bulk work gets: a fifth.
const BULK_SHARE: u32 = 5;

/// Bounds of a pass.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PassLimits {
    /// Most cost in tokens.
    pub(crate) tokens: usize,
    /// How long a pass of several texts should take at most.
    pub(crate) time: Duration,
}

/// A model that texts are queued for.
#[derive(Debug)]
struct Model {
    name: Arc<str>,
    engine: Arc<dyn Engine>,
    speed: Speed,
    queued_tokens: usize,
}

#[derive(Debug)]
struct Text {
    group: Group,
    ids: Arc<[u32]>,
    price: Price,
    arrived: Instant,
    class: Class,
    running: bool,
    waiters: Vec<Waiter>,
    /// Waiters whose request isn't gone.
    wanted: usize,
}

#[derive(Debug, Clone, Copy)]
struct Waiter {
    request: RequestId,
    /// Which of the request's distinct texts it is.
    index: usize,
}

#[derive(Debug)]
struct Request {
    answer: oneshot::Sender<Result<Done, ServiceError>>,
    class: Class,
    client: Arc<str>,
    /// Those that it waits for, each once.
    texts: Vec<TextId>,
    /// Of each distinct text.
    states: Vec<Option<State>>,
    missing: usize,
    /// For each of its texts, which of the distinct ones it is.
    rows: Vec<usize>,
    started: Option<Instant>,
}

impl Request {
    /// The answer, when no state is missing.
    fn done(self) -> Answer {
        let states = self.rows.iter();
        let states = states.filter_map(|row| self.states.get(*row)?.clone());
        Answer {
            result: Ok(Done {
                states: states.collect(),
                started: self.started,
            }),
            to: self.answer,
        }
    }

    fn failed(self, error: ServiceError) -> Answer {
        Answer {
            to: self.answer,
            result: Err(error),
        }
    }
}

/// Texts to run at once.
#[derive(Debug)]
pub(crate) struct Pass {
    pub(crate) model: ModelId,
    pub(crate) name: Arc<str>,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) instruction: Arc<str>,
    pub(crate) class: Class,
    pub(crate) texts: Vec<PassText>,
    pub(crate) tokens: usize,
    cost: u64,
}

#[derive(Debug)]
pub(crate) struct PassText {
    id: TextId,
    pub(crate) ids: Arc<[u32]>,
    pub(crate) arrived: Instant,
}

/// An answer and where it goes.
#[derive(Debug)]
pub(crate) struct Answer {
    to: oneshot::Sender<Result<Done, ServiceError>>,
    result: Result<Done, ServiceError>,
}

impl Answer {
    pub(crate) fn send(self) {
        // The caller may have gone in the meantime.
        let _ = self.to.send(self.result);
    }
}

/// What waits and how long that takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClassStats {
    /// Different texts that wait.
    pub texts: usize,
    /// Their tokens.
    pub tokens: usize,
    /// How long a text that comes now waits.
    pub wait: Duration,
}

#[derive(Debug)]
pub(crate) struct Queue {
    limits: PassLimits,
    models: HashMap<ModelId, Model>,
    texts: HashMap<TextId, Text>,
    /// Texts that wait or run, by what they are.
    same: HashMap<(ModelId, Arc<[u32]>), TextId>,
    requests: HashMap<RequestId, Request>,
    interactive: Clients,
    bulk: Clients,
    /// Time that bulk work has waited for its share.
    owed: Duration,
    /// When the pass that runs should end.
    busy_until: Option<Instant>,
    next_id: u64,
}

impl Queue {
    pub(crate) fn new(limits: PassLimits) -> Self {
        Self {
            limits,
            models: HashMap::new(),
            texts: HashMap::new(),
            same: HashMap::new(),
            requests: HashMap::new(),
            interactive: Clients::default(),
            bulk: Clients::default(),
            owed: Duration::ZERO,
            busy_until: None,
            next_id: 0,
        }
    }

    pub(crate) fn add_model(
        &mut self,
        name: Arc<str>,
        engine: Arc<dyn Engine>,
        speed: Speed,
    ) -> ModelId {
        let id = self.id();
        self.models.insert(
            id,
            Model {
                name,
                engine,
                speed,
                queued_tokens: 0,
            },
        );
        id
    }

    /// Forgets a model that nothing waits for.
    pub(crate) fn remove_model(&mut self, id: ModelId) {
        self.models.remove(&id);
    }

    /// Accepts a request, or says why not. The texts that are `known` aren't computed.
    pub(crate) fn submit(
        &mut self,
        work: Work,
        answer: oneshot::Sender<Result<Done, ServiceError>>,
        now: Instant,
    ) -> Result<RequestId, ServiceError> {
        let Work {
            model: model_id,
            texts,
            known,
            instruction,
            class,
            client,
            max_wait,
            deadline,
        } = work;
        let model = self.models.get(&model_id).ok_or(ServiceError::Stopped)?;
        let full = self.full(model);
        let price = |ids: &[u32]| {
            let cost = cost(ids.len());
            let time = model.speed.share(cost, full);
            Price { cost, time }
        };

        // Each different text once.
        let mut distinct: Vec<(Arc<[u32]>, Option<State>)> = Vec::new();
        let mut seen: HashMap<Arc<[u32]>, usize> = HashMap::new();
        let mut rows = Vec::with_capacity(texts.len());
        for (ids, state) in texts.into_iter().zip(known) {
            let next = distinct.len();
            let row = *seen.entry(Arc::clone(&ids)).or_insert(next);
            if row == next {
                distinct.push((ids, state));
            }
            rows.push(row);
        }
        let unknown = distinct.iter().filter(|(_, state)| state.is_none());
        let own: Duration = unknown.map(|(ids, _)| price(ids).time).sum();
        let wait = self.expected_wait(class, &client, own, now);
        if wait > max_wait {
            return Err(ServiceError::Overloaded {
                retry_after: wait - max_wait,
            });
        }

        // Work that would be given up before its end is not begun.
        let end = now.checked_add(wait.saturating_add(own));
        if deadline.is_some_and(|deadline| end.is_none_or(|end| end > deadline)) {
            return Err(ServiceError::DeadlineExceeded);
        }

        let prices: Vec<Price> = distinct.iter().map(|(ids, _)| price(ids)).collect();
        let group = Group {
            model: model_id,
            instruction,
        };
        let id = self.id();
        let mut request = Request {
            answer,
            class,
            client,
            texts: Vec::new(),
            states: Vec::with_capacity(distinct.len()),
            missing: 0,
            rows,
            started: None,
        };
        for (index, ((ids, state), price)) in distinct.into_iter().zip(prices).enumerate() {
            if state.is_none() {
                let waiter = Waiter { request: id, index };
                let text = self.wait_for(&group, ids, price, waiter, &request, now);
                request.texts.push(text);
                request.missing += 1;
            }
            request.states.push(state);
        }
        if request.missing == 0 {
            request.done().send();
        } else {
            self.requests.insert(id, request);
        }
        Ok(id)
    }

    /// Lets a request wait for a text, which may be there already.
    fn wait_for(
        &mut self,
        group: &Group,
        ids: Arc<[u32]>,
        price: Price,
        waiter: Waiter,
        request: &Request,
        now: Instant,
    ) -> TextId {
        let key = (group.model, ids);
        let known = self.same.get(&key).copied();
        let id = known.unwrap_or_else(|| self.id());
        let text = self.texts.entry(id).or_insert_with(|| {
            self.same.insert(key.clone(), id);
            if let Some(model) = self.models.get_mut(&group.model) {
                model.queued_tokens += key.1.len();
            }
            Text {
                group: group.clone(),
                ids: key.1,
                price,
                arrived: now,
                class: request.class,
                running: false,
                waiters: Vec::new(),
                wanted: 0,
            }
        });
        text.waiters.push(waiter);
        text.wanted += 1;
        if !text.running {
            if request.class == Class::Interactive {
                text.class = Class::Interactive;
            }
            // Also where others wait for it: it runs when the first of them has its turn.
            let (group, time) = (text.group.clone(), text.price.time);
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

    fn give_up(&mut self, request: &Request) {
        let mut waited = Duration::ZERO;
        let mut places = 0;
        for id in &request.texts {
            let Some(text) = self.texts.get_mut(id) else {
                continue;
            };
            text.wanted -= 1;
            if text.running {
                continue;
            }
            places += 1;
            waited += text.price.time;
            if text.wanted == 0 {
                self.forget(*id);
            }
        }
        let (texts, requests) = (&self.texts, &self.requests);
        let clients = match request.class {
            Class::Interactive => &mut self.interactive,
            Class::Bulk => &mut self.bulk,
        };
        clients.waits_no_more(&request.client, waited);
        clients.leave(&request.client, places, |place| {
            is_wanted(texts, requests, place)
        });
    }

    fn forget(&mut self, id: TextId) -> Option<Text> {
        let text = self.texts.remove(&id)?;
        let key = (text.group.model, Arc::clone(&text.ids));
        self.same.remove(&key);
        if !text.running {
            self.waits_no_more(text.group.model, text.ids.len());
        }
        Some(text)
    }

    fn waits_no_more(&mut self, model: ModelId, tokens: usize) {
        if let Some(model) = self.models.get_mut(&model) {
            model.queued_tokens = model.queued_tokens.saturating_sub(tokens);
        }
    }

    /// What runs next, if anything waits.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Pass> {
        let class = self.next_class()?;
        let (texts, requests) = (&self.texts, &self.requests);
        let clients = match class {
            Class::Interactive => &mut self.interactive,
            Class::Bulk => &mut self.bulk,
        };
        let group = clients.first(|place| is_wanted(texts, requests, place))?;
        let model = self.models.get(&group.model)?;
        let room = full(&self.limits, model);
        let taken = clients.take(&group, room, |place| {
            is_wanted(texts, requests, place)
                .then(|| texts.get(&place.text).map(|text| text.price))?
        });
        let mut pass = Pass {
            model: group.model,
            name: Arc::clone(&model.name),
            engine: Arc::clone(&model.engine),
            instruction: group.instruction,
            class,
            texts: Vec::with_capacity(taken.len()),
            tokens: 0,
            cost: 0,
        };
        for id in taken {
            self.start(id, now, &mut pass);
        }
        let time = self
            .models
            .get(&pass.model)
            .map_or(Duration::ZERO, |model| model.speed.pass(pass.cost));
        match class {
            Class::Bulk => self.owed = self.owed.saturating_sub(time),
            Class::Interactive if self.bulk.is_empty() => self.owed = Duration::ZERO,
            Class::Interactive => self.owed += time / (BULK_SHARE - 1),
        }
        self.busy_until = now.checked_add(time);
        Some(pass)
    }

    fn start(&mut self, id: TextId, now: Instant, pass: &mut Pass) {
        let Some(text) = self.texts.get_mut(&id) else {
            return;
        };
        text.running = true;
        let (ids, price) = (Arc::clone(&text.ids), text.price);
        pass.tokens += ids.len();
        pass.cost = pass.cost.saturating_add(price.cost);
        pass.texts.push(PassText {
            id,
            ids: Arc::clone(&ids),
            arrived: text.arrived,
        });
        for waiter in &text.waiters {
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
        self.waits_no_more(pass.model, ids.len());
    }

    /// Interactive texts first, unless bulk work has waited for its share.
    fn next_class(&mut self) -> Option<Class> {
        let (texts, requests) = (&self.texts, &self.requests);
        let wanted = |place: &Place| is_wanted(texts, requests, place);
        let interactive = self.interactive.first(wanted).is_some();
        let bulk = self.bulk.first(wanted).is_some();
        match (interactive, bulk) {
            (true, true) if self.owed >= self.limits.time => Some(Class::Bulk),
            (true, _) => Some(Class::Interactive),
            (false, true) => Some(Class::Bulk),
            (false, false) => None,
        }
    }

    /// Hands out a pass's states, one result for each of its texts.
    pub(crate) fn finish(
        &mut self,
        pass: &Pass,
        results: Vec<Result<State, ServiceError>>,
        took: Duration,
    ) -> Vec<Answer> {
        self.busy_until = None;
        if let Some(model) = self.models.get_mut(&pass.model)
            && results.iter().all(Result::is_ok)
        {
            model.speed.learn(pass.cost, took);
        }
        let mut answers = Vec::new();
        for (PassText { id, .. }, result) in pass.texts.iter().zip(results) {
            let Some(text) = self.forget(*id) else {
                continue;
            };
            for waiter in text.waiters {
                answers.extend(self.hand_out(waiter, &result));
            }
        }
        answers
    }

    /// The request's answer where this was what it still waited for.
    fn hand_out(&mut self, waiter: Waiter, result: &Result<State, ServiceError>) -> Option<Answer> {
        let request = self.requests.get_mut(&waiter.request)?;
        match result {
            Ok(state) => {
                let place = request.states.get_mut(waiter.index)?;
                *place = Some(Arc::clone(state));
                request.missing -= 1;
                if request.missing > 0 {
                    return None;
                }
                Some(self.requests.remove(&waiter.request)?.done())
            }
            Err(error) => {
                let request = self.requests.remove(&waiter.request)?;
                self.give_up(&request);
                Some(request.failed(error.clone()))
            }
        }
    }

    /// Requests that nobody will answer any more.
    pub(crate) fn abandon(&mut self) -> Vec<Answer> {
        self.texts.clear();
        self.same.clear();
        let requests = self.requests.drain();
        requests
            .map(|(_, request)| request.failed(ServiceError::Stopped))
            .collect()
    }

    /// How long it takes until further texts of a client, `time` long, have had their turn; their
    /// own time not counted.
    pub(crate) fn expected_wait(
        &self,
        class: Class,
        client: &str,
        time: Duration,
        now: Instant,
    ) -> Duration {
        let running = self.running_for(now);
        running
            + match class {
                Class::Interactive => self.with_bulk(self.interactive.wait(client, time)),
                Class::Bulk => self.interactive.backlog() + self.bulk.wait(client, time),
            }
    }

    fn running_for(&self, now: Instant) -> Duration {
        self.busy_until
            .map_or(Duration::ZERO, |end| end.saturating_duration_since(now))
    }

    /// Interactive time, and what bulk work gets meanwhile.
    fn with_bulk(&self, interactive: Duration) -> Duration {
        interactive + self.bulk.backlog().min(interactive / (BULK_SHARE - 1))
    }

    pub(crate) fn stats(&self, class: Class, now: Instant) -> ClassStats {
        let waiting = self.texts.values();
        let waiting = waiting.filter(|text| !text.running && text.class == class);
        let (texts, tokens) = waiting.fold((0, 0), |(texts, tokens), text| {
            (texts + 1, tokens + text.ids.len())
        });
        let backlog = match class {
            Class::Interactive => self.with_bulk(self.interactive.backlog()),
            Class::Bulk => self.interactive.backlog() + self.bulk.backlog(),
        };
        ClassStats {
            texts,
            tokens,
            wait: self.running_for(now) + backlog,
        }
    }

    /// Tokens of a model's texts that wait.
    pub(crate) fn queued_tokens(&self, model: ModelId) -> usize {
        self.models.get(&model).map_or(0, |m| m.queued_tokens)
    }

    /// Whether nothing is left of any request.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let left = self.texts.len() + self.same.len() + self.requests.len();
        let backlog = self.interactive.backlog() + self.bulk.backlog();
        left == 0 && backlog.is_zero() && self.interactive.is_empty() && self.bulk.is_empty()
    }

    /// Cost of a full pass of a model.
    fn full(&self, model: &Model) -> u64 {
        full(&self.limits, model)
    }

    fn clients(&mut self, class: Class) -> &mut Clients {
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

fn full(limits: &PassLimits, model: &Model) -> u64 {
    let most = u64::try_from(limits.tokens).unwrap_or(u64::MAX);
    model.speed.cost_within(limits.time).clamp(1, most.max(1))
}

/// Whether a text still waits, and for the request that has this place.
fn is_wanted(
    texts: &HashMap<TextId, Text>,
    requests: &HashMap<RequestId, Request>,
    place: &Place,
) -> bool {
    requests.contains_key(&place.request)
        && texts.get(&place.text).is_some_and(|text| !text.running)
}
