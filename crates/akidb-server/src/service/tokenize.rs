//! Texts to token ids, without holding up the threads that serve connections.

use std::sync::Arc;

use akidb_embedding::{
    EmbedError, EmbedOptions, Embedder, Input, PairQuery, Progress, Reranker, Tokens,
};

use super::error::ServiceError;
use super::turns::{Turn, Turns};
use crate::room::{NoRoom, Reserved, Room};

/// What is tokenized where the request is: less than a millisecond's work, mostly some µs.
const INLINE_BYTES: usize = 4 << 10;

/// The turns and the memory of tokenizing.
#[derive(Debug, Clone)]
pub(crate) struct Tokenizing {
    turns: Arc<Turns>,
    pub(crate) room: Room,
}

/// What a request has tokenized.
#[derive(Debug)]
pub(crate) enum Untokenized {
    /// Each input by itself.
    Inputs {
        embedder: Arc<Embedder>,
        inputs: Vec<Input<'static>>,
        options: EmbedOptions,
    },
    /// Each document with the query.
    Pairs {
        reranker: Reranker,
        query: PairQuery,
        documents: Vec<String>,
    },
}

impl Untokenized {
    fn len(&self) -> usize {
        match self {
            Self::Inputs { inputs, .. } => inputs.len(),
            Self::Pairs { documents, .. } => documents.len(),
        }
    }

    /// Goes on with a text; `None` where it isn't done, or there is no such text.
    fn slice(&self, index: usize, progress: &mut Progress) -> Result<Option<Tokens>, EmbedError> {
        match self {
            Self::Inputs {
                embedder,
                inputs,
                options,
            } => {
                let input = inputs.get(index);
                let slice = |input| embedder.tokenize_slice(input, options, progress);
                input.map_or(Ok(None), slice)
            }
            Self::Pairs {
                reranker,
                query,
                documents,
            } => {
                let document = documents.get(index);
                let slice = |document: &String| reranker.pair_slice(query, document, progress);
                document.map_or(Ok(None), slice)
            }
        }
    }
}

/// A request's texts, as far as they are tokenized.
#[derive(Debug)]
struct Job {
    work: Untokenized,
    texts: Vec<Tokens>,
    progress: Progress,
    /// What the ids take.
    bytes: usize,
}

impl Job {
    /// Tokenizes until the turn is over or everything is done.
    fn go_on(&mut self, turn: Option<&Turn>) -> Result<(), ServiceError> {
        while self.texts.len() < self.work.len() {
            let tokens = self
                .work
                .slice(self.texts.len(), &mut self.progress)
                .map_err(|error| error.counted_from(self.texts.len()))?;
            if let Some(tokens) = tokens {
                self.bytes += size_of_val(tokens.ids.as_slice());
                self.texts.push(tokens);
            }
            if turn.is_some_and(Turn::is_over) {
                break;
            }
        }
        Ok(())
    }
}

/// Half of the cores: the others compute what is tokenized.
pub(crate) fn tokenizing_threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores.div_ceil(2)
}

impl Tokenizing {
    pub(crate) fn new(room: Room) -> Self {
        Self {
            turns: Turns::new(tokenizing_threads(), room.clone()),
            room,
        }
    }

    /// Does something of a client in a thread of its own when it is the client's turn, which lasts
    /// until it is done, also when nobody waits any more.
    pub(crate) async fn elsewhere<T: Send + 'static>(
        &self,
        client: &Arc<str>,
        work: impl FnOnce(&Turn) -> T + Send + 'static,
    ) -> Result<T, ServiceError> {
        let turn = self.turns.turn(client).await;
        let turn = turn.ok_or(ServiceError::Stopped)?;
        let done = tokio::task::spawn_blocking(move || work(&turn)).await;
        done.map_err(|_| ServiceError::Stopped)
    }

    /// The tokens of each input, behind `prompt` bytes of the same for all; `held` counts them.
    pub(crate) async fn run(
        &self,
        embedder: &Arc<Embedder>,
        inputs: Vec<Input<'static>>,
        options: &EmbedOptions,
        prompt: usize,
        client: &Arc<str>,
        held: &Reserved,
    ) -> Result<Vec<Tokens>, ServiceError> {
        let bytes = bytes(&inputs, prompt);
        let work = Untokenized::Inputs {
            embedder: Arc::clone(embedder),
            inputs,
            options: options.clone(),
        };
        self.run_all(work, bytes, client, held).await
    }

    /// The tokens of each text of `bytes` in all; `held` counts them.
    pub(crate) async fn run_all(
        &self,
        work: Untokenized,
        bytes: usize,
        client: &Arc<str>,
        held: &Reserved,
    ) -> Result<Vec<Tokens>, ServiceError> {
        let inline = bytes <= INLINE_BYTES;
        let mut job = Job {
            texts: Vec::with_capacity(work.len()),
            work,
            progress: Progress::default(),
            bytes: 0,
        };
        let mut counted = 0;
        loop {
            if inline {
                job.go_on(None)?;
            } else {
                let work = move |turn: &Turn| job.go_on(Some(turn)).map(|()| job);
                job = self.elsewhere(client, work).await??;
            }
            let more = job.bytes - counted;
            if !held.grow(more) {
                let needed = held.own().saturating_add(more);
                return Err(NoRoom { needed }.into());
            }
            counted = job.bytes;
            if job.texts.len() == job.work.len() {
                return Ok(job.texts);
            }
        }
    }
}

/// What inputs take, each behind a prompt.
pub(crate) fn bytes(inputs: &[Input<'_>], prompt: usize) -> usize {
    let own = |input: &Input<'_>| match input {
        Input::Text(text) => text.len(),
        Input::Tokens(ids) => size_of_val(&**ids),
    };
    let each = inputs.iter().map(|input| own(input).saturating_add(prompt));
    each.fold(0, usize::saturating_add)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use akidb_embedding::{EmbedError, OnLong};

    use super::*;

    #[test]
    fn a_prompt_stands_before_each_text() {
        let inputs = [Input::from("x".repeat(5)), Input::from(vec![1, 2])];
        assert_eq!(bytes(&inputs, 0), 5 + 8);
        assert_eq!(bytes(&inputs, 1000), 5 + 8 + 2000);
        assert_eq!(bytes(&inputs, usize::MAX), usize::MAX);
    }

    #[tokio::test]
    async fn many_texts_give_what_each_gives_alone_and_errors_count_from_the_first() {
        let embedder = Embedder::builder().model("akidb-mini").build().unwrap();
        let embedder = Arc::new(embedder);
        let tokenizing = Tokenizing::new(Room::new(usize::MAX));
        let texts: Vec<String> = (0..200)
            .map(|n| format!("{n} ").repeat(500 + n % 7))
            .collect();
        let inputs: Vec<Input> = texts.iter().cloned().map(Input::from).collect();
        let options = EmbedOptions::default();
        let client: Arc<str> = "a".into();
        let held = tokenizing.room.start();
        let tokens = tokenizing.run(&embedder, inputs.clone(), &options, 0, &client, &held);
        let expected = embedder.tokenize(&texts, &options).unwrap();
        let expected: Result<Vec<Tokens>, EmbedError> = expected.into_iter().collect();
        let tokens = tokens.await.unwrap();
        let ids: usize = tokens.iter().map(|text| text.ids.len()).sum();
        assert_eq!(tokens, expected.unwrap());
        assert_eq!(tokenizing.room.taken(), size_of::<u32>() * ids);

        let mut inputs = inputs;
        inputs[150] = Input::from("word ".repeat(10_000));
        let options = EmbedOptions {
            on_long: OnLong::Error,
            ..EmbedOptions::default()
        };
        let error = tokenizing.run(&embedder, inputs, &options, 0, &client, &held);
        let error = error.await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains("index 150"), "{error}");
    }

    #[tokio::test]
    async fn tokens_that_find_no_room_end_their_request() {
        let embedder = Embedder::builder().model("akidb-mini").build().unwrap();
        let embedder = Arc::new(embedder);
        let tokenizing = Tokenizing::new(Room::new(100 << 10));
        let others = tokenizing.room.reserve(99 << 10).unwrap();
        let inputs = || vec![Input::from("a word ".repeat(1000))];
        let (client, options) = ("a".into(), EmbedOptions::default());
        let held = tokenizing.room.start();
        let answer = tokenizing.run(&embedder, inputs(), &options, 0, &client, &held);
        assert!(matches!(answer.await, Err(ServiceError::NoRoom { .. })));
        drop(others);
        let answer = tokenizing.run(&embedder, inputs(), &options, 0, &client, &held);
        assert_eq!(answer.await.unwrap()[0].ids.len(), 2002);
    }

    #[tokio::test]
    async fn a_turn_lasts_until_its_work_is_done() {
        let room = Room::new(8);
        let _all = room.reserve(8).unwrap();
        let tokenizing = Tokenizing::new(room);
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (client, other) = ("a".into(), "b".into());
        let work = tokenizing.elsewhere(&client, move |_| wait.recv());
        let soon = Duration::from_millis(50);
        assert!(tokio::time::timeout(soon, work).await.is_err());
        // Without room there is one turn at a time.
        let mut next = Box::pin(tokenizing.elsewhere(&other, |_| ()));
        assert!(tokio::time::timeout(soon, &mut next).await.is_err());
        drop(go);
        next.await.unwrap();
    }
}
