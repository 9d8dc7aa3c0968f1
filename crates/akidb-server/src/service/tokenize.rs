//! Texts to token ids, without holding up the threads that serve connections.

use std::ops::Range;
use std::sync::Arc;

use tokio::sync::Semaphore;

use akidb_embedding::{EmbedOptions, Embedder, Input, Tokens};

use super::error::ServiceError;
use crate::room::Room;

/// What is tokenized where the request is: less than a millisecond's work, mostly some µs.
const INLINE_BYTES: usize = 4 << 10;

/// What is tokenized at once elsewhere. Between two of these, a request that was dropped ends.
const CHUNK_BYTES: usize = 128 << 10;

/// The threads and the memory of tokenizing.
#[derive(Debug)]
pub(crate) struct Tokenizing {
    threads: Arc<Semaphore>,
    pub(crate) room: Room,
}

impl Tokenizing {
    pub(crate) fn new(room: Room) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            threads: Arc::new(Semaphore::new(threads)),
            room,
        }
    }

    /// Does something in one of the threads. Its place is taken until it is done, also when nobody
    /// waits any more.
    pub(crate) async fn elsewhere<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ServiceError> {
        let thread = Arc::clone(&self.threads).acquire_owned().await;
        let thread = thread.map_err(|_| ServiceError::Stopped)?;
        let work = move || {
            let _thread = thread;
            work()
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|_| ServiceError::Stopped)
    }

    /// The tokens of each input, behind `prompt` bytes of the same for all.
    pub(crate) async fn run(
        &self,
        embedder: &Arc<Embedder>,
        inputs: Vec<Input<'static>>,
        options: &EmbedOptions,
        prompt: usize,
    ) -> Result<Vec<Tokens>, ServiceError> {
        if bytes(&inputs, prompt) <= INLINE_BYTES {
            return tokenize(embedder, &inputs, 0..inputs.len(), options);
        }
        let inputs = Arc::new(inputs);
        let mut texts = Vec::with_capacity(inputs.len());
        while texts.len() < inputs.len() {
            let chunk = chunk(&inputs, texts.len(), prompt);
            let (embedder, options) = (Arc::clone(embedder), options.clone());
            let inputs = Arc::clone(&inputs);
            let work = move || tokenize(&embedder, &inputs, chunk, &options);
            texts.extend(self.elsewhere(work).await??);
        }
        Ok(texts)
    }
}

/// Inputs from `start` on, at least one and no more than [`CHUNK_BYTES`] else.
fn chunk(inputs: &[Input<'_>], start: usize, prompt: usize) -> Range<usize> {
    let mut room = CHUNK_BYTES;
    let rest = inputs.iter().skip(start);
    let fitting = rest.take_while(|input| {
        let bytes = bytes(std::slice::from_ref(*input), prompt);
        let fits = bytes <= room;
        room = room.saturating_sub(bytes);
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
    use akidb_embedding::{EmbedError, OnLong};

    use super::*;

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
            let chunk = chunk(&inputs, start, 0);
            start = chunk.end;
            chunks.push(chunk);
        }
        assert_eq!(chunks, [0..2, 2..3, 3..4, 4..5]);
        // A prompt stands before each.
        assert_eq!(chunk(&inputs, 0, 1), 0..1);
        assert_eq!(bytes(&inputs[2..3], 1000), 1001);
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
        let tokens = tokenizing.run(&embedder, inputs.clone(), &options, 0);
        let expected = embedder.tokenize(&texts, &options).unwrap();
        let expected: Result<Vec<Tokens>, EmbedError> = expected.into_iter().collect();
        assert_eq!(tokens.await.unwrap(), expected.unwrap());

        let mut inputs = inputs;
        inputs[150] = Input::from("word ".repeat(10_000));
        let options = EmbedOptions {
            on_long: OnLong::Error,
            ..EmbedOptions::default()
        };
        let error = tokenizing.run(&embedder, inputs, &options, 0).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains("index 150"), "{error}");
    }

    #[tokio::test]
    async fn a_thread_is_taken_until_its_work_is_done() {
        let tokenizing = Tokenizing::new(Room::new(usize::MAX));
        let threads = Arc::clone(&tokenizing.threads);
        let all = threads.available_permits();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let work = tokenizing.elsewhere(move || wait.recv());
        let dropped = tokio::time::timeout(std::time::Duration::from_millis(50), work).await;
        assert!(dropped.is_err());
        assert_eq!(threads.available_permits(), all - 1);
        drop(go);
        while threads.available_permits() < all {
            tokio::task::yield_now().await;
        }
    }
}
