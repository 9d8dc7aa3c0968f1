//! Texts to token ids, without holding up the threads that serve connections.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;

use akidb_embedding::{EmbedOptions, Embedder, Input, Tokens};

use super::error::ServiceError;

/// What is tokenized where the request is: less than a millisecond's work, mostly some µs.
const INLINE_BYTES: usize = 4 << 10;

/// What is tokenized at once elsewhere. Between two of these, a request that was dropped ends.
const CHUNK_BYTES: usize = 128 << 10;

/// The threads and the memory of tokenizing.
#[derive(Debug)]
pub(crate) struct Tokenizing {
    threads: Semaphore,
    bytes: Arc<AtomicUsize>,
    max_bytes: usize,
}

/// Bytes of a request that are given back when it ends.
#[derive(Debug)]
pub(crate) struct Reserved {
    all: Arc<AtomicUsize>,
    own: usize,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.all.fetch_sub(self.own, Ordering::Relaxed);
    }
}

impl Tokenizing {
    pub(crate) fn new(max_bytes: usize) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            threads: Semaphore::new(threads),
            bytes: Arc::default(),
            max_bytes,
        }
    }

    /// Bytes of all requests.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Room for a request, `None` when there isn't. One alone has it, however large.
    pub(crate) fn reserve(&self, bytes: usize) -> Option<Reserved> {
        let fits = |all: usize| {
            let sum = all.checked_add(bytes)?;
            (all == 0 || sum <= self.max_bytes).then_some(sum)
        };
        self.bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .ok()?;
        Some(Reserved {
            all: Arc::clone(&self.bytes),
            own: bytes,
        })
    }

    /// The tokens of each input.
    pub(crate) async fn run(
        &self,
        embedder: &Arc<Embedder>,
        inputs: Vec<Input<'static>>,
        options: &EmbedOptions,
    ) -> Result<Vec<Tokens>, ServiceError> {
        if inputs.iter().map(bytes).sum::<usize>() <= INLINE_BYTES {
            return tokenize(embedder, &inputs, 0..inputs.len(), options);
        }
        let inputs = Arc::new(inputs);
        let mut texts = Vec::with_capacity(inputs.len());
        while texts.len() < inputs.len() {
            let chunk = chunk(&inputs, texts.len());
            let Ok(_thread) = self.threads.acquire().await else {
                return Err(ServiceError::Stopped);
            };
            let (embedder, options) = (Arc::clone(embedder), options.clone());
            let inputs = Arc::clone(&inputs);
            let work = move || tokenize(&embedder, &inputs, chunk, &options);
            let done = tokio::task::spawn_blocking(work).await;
            texts.extend(done.map_err(|_| ServiceError::Stopped)??);
        }
        Ok(texts)
    }
}

/// Inputs from `start` on, at least one and no more than [`CHUNK_BYTES`] else.
fn chunk(inputs: &[Input<'_>], start: usize) -> Range<usize> {
    let mut room = CHUNK_BYTES;
    let rest = inputs.iter().skip(start);
    let fitting = rest.take_while(|input| {
        let fits = bytes(input) <= room;
        room = room.saturating_sub(bytes(input));
        fits
    });
    start..start + fitting.count().max(1)
}

fn tokenize(
    embedder: &Embedder,
    inputs: &[Input<'static>],
    chunk: Range<usize>,
    options: &EmbedOptions,
) -> Result<Vec<Tokens>, ServiceError> {
    let start = chunk.start;
    let inputs = inputs.get(chunk).unwrap_or_default();
    let texts = embedder.tokenize(inputs, options)?;
    let texts = texts.into_iter();
    texts
        .map(|text| text.map_err(|error| error.counted_from(start).into()))
        .collect()
}

/// What an input takes.
pub(crate) fn bytes(input: &Input<'_>) -> usize {
    match input {
        Input::Text(text) => text.len(),
        Input::Tokens(ids) => size_of_val(&**ids),
    }
}

#[cfg(test)]
mod tests {
    use akidb_embedding::{EmbedError, OnLong};

    use super::*;

    #[test]
    fn room_is_given_back_and_one_request_always_has_some() {
        let tokenizing = Tokenizing::new(100);
        let large = tokenizing.reserve(1000).unwrap();
        assert!(tokenizing.reserve(1).is_none());
        drop(large);
        let small = tokenizing.reserve(60).unwrap();
        assert!(tokenizing.reserve(41).is_none());
        assert!(tokenizing.reserve(usize::MAX).is_none());
        assert_eq!(tokenizing.reserve(40).unwrap().own, 40);
        assert_eq!(tokenizing.bytes(), 60);
        drop(small);
        assert_eq!(tokenizing.bytes(), 0);
    }

    #[test]
    fn chunks_are_bounded_and_cover_all_inputs() {
        let text = |bytes: usize| Input::from("x".repeat(bytes));
        let inputs = [
            text(CHUNK_BYTES / 2),
            text(CHUNK_BYTES / 2),
            text(1),
            text(2 * CHUNK_BYTES),
            text(0),
        ];
        let mut chunks = Vec::new();
        let mut start = 0;
        while start < inputs.len() {
            let chunk = chunk(&inputs, start);
            start = chunk.end;
            chunks.push(chunk);
        }
        assert_eq!(chunks, [0..2, 2..3, 3..4, 4..5]);
    }

    #[tokio::test]
    async fn many_texts_give_what_each_gives_alone_and_errors_count_from_the_first() {
        let embedder = Embedder::builder().model("akidb-mini").build().unwrap();
        let embedder = Arc::new(embedder);
        let tokenizing = Tokenizing::new(usize::MAX);
        let texts: Vec<String> = (0..200)
            .map(|n| format!("{n} ").repeat(500 + n % 7))
            .collect();
        let inputs: Vec<Input> = texts.iter().cloned().map(Input::from).collect();
        let options = EmbedOptions::default();
        let tokens = tokenizing.run(&embedder, inputs.clone(), &options);
        let expected = embedder.tokenize(&texts, &options).unwrap();
        let expected: Result<Vec<Tokens>, EmbedError> = expected.into_iter().collect();
        assert_eq!(tokens.await.unwrap(), expected.unwrap());

        let mut inputs = inputs;
        inputs[150] = Input::from("word ".repeat(10_000));
        let options = EmbedOptions {
            on_long: OnLong::Error,
            ..EmbedOptions::default()
        };
        let error = tokenizing.run(&embedder, inputs, &options).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains("index 150"), "{error}");
    }
}
