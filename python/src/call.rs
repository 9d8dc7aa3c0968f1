//! From the texts of a call to their vectors: while some are computed, the next are tokenized.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use akidb_embedding::{
    EmbedError, EmbedOptions, Embedder, Input, PairQuery, PassText, Progress, Reranker, Tokens,
    Values,
};
use akidb_schedule::{Done, ScheduleError};

use crate::failure::{Failure, Stop};
use crate::model::{Call, LIMITS, Model};
use crate::signals::Signals;
use crate::texts::{Text, Texts};

/// Bytes of text between two looks for signals: some milliseconds' work. A longer text is tokenized a
/// slice at a time.
const GROUP_BYTES: usize = 64 << 10;

/// Waves that are computed or wait while the next is tokenized: there is always one to go on with.
const WAVES: usize = 2;

/// How often a wave is tried again without a text that failed in it.
const TRIES: usize = 16;

/// A text's vector, and what is known of it.
pub(crate) struct Answer {
    pub(crate) values: Values,
    pub(crate) tokens: usize,
    pub(crate) truncated: bool,
}

type Outputs = Result<Done<Embedder>, ScheduleError<EmbedError>>;
type Run<'a> = Pin<Box<dyn Future<Output = Outputs> + Send + 'a>>;

/// Gives the answer to each text in its turn to `take`; an error of `take` ends the call.
///
/// # Errors
/// When an option doesn't fit the model, the model fails as a whole, or a signal comes.
pub(crate) fn embed(
    model: &Model,
    texts: &Texts,
    options: &EmbedOptions,
    mut take: impl FnMut(Result<Answer, Failure>) -> Result<(), Stop>,
) -> Result<(), Stop> {
    model.embedder.check_embeds()?;
    let steps = Steps::Texts(&model.embedder, options);
    let instruction = model.instruction(options)?;
    states(model, texts, steps, instruction, |index, computed| {
        take(computed.and_then(|computed| {
            let values = model.embedder.finish(&computed.state, options);
            Ok(Answer {
                values: values.map_err(|error| error.counted_from(index))?,
                tokens: computed.tokens,
                truncated: computed.truncated,
            })
        }))
    })
}

/// What the model makes of a text, or of a pair of texts.
pub(crate) struct Computed {
    pub(crate) state: Arc<[f32]>,
    pub(crate) tokens: usize,
    pub(crate) truncated: bool,
}

/// Gives what the model makes of each text in its turn to `take`, with the text's index. All that is
/// computed begins with `instruction`.
pub(crate) fn states(
    model: &Model,
    texts: &Texts,
    steps: Steps<'_>,
    instruction: String,
    mut take: impl FnMut(usize, Result<Computed, Failure>) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut signals = Signals::new();
    let call = model.call(texts.len(), instruction);
    let texts: Vec<Text<'_>> = texts.iter().collect();
    let mut tokenizer = Tokenizer::new(steps, &texts);
    let mut waves: VecDeque<Wave<'_>> = VecDeque::new();
    loop {
        let wave = Wave::start(model, &call, &mut tokenizer, &mut signals)?;
        let kept = if wave.is_some() { WAVES } else { 0 };
        waves.extend(wave);
        while waves.len() > kept {
            let Some(wave) = waves.pop_front() else {
                return Ok(());
            };
            wave.finish(model, &call, &mut signals, &mut take)?;
        }
        if kept == 0 {
            return Ok(());
        }
    }
}

/// How a text becomes tokens.
#[derive(Clone, Copy)]
pub(crate) enum Steps<'a> {
    Texts(&'a Embedder, &'a EmbedOptions),
    /// As the documents of a query.
    Pairs(&'a Reranker, &'a PairQuery),
}

impl Steps<'_> {
    fn slice(self, text: &str, progress: &mut Progress) -> Result<Option<Tokens>, EmbedError> {
        match self {
            Self::Texts(embedder, options) => {
                embedder.tokenize_slice(&Input::from(text), options, progress)
            }
            Self::Pairs(reranker, query) => reranker.pair_slice(query, text, progress),
        }
    }

    fn whole(self, text: &str) -> Result<Tokens, EmbedError> {
        let mut progress = Progress::default();
        loop {
            if let Some(tokens) = self.slice(text, &mut progress)? {
                return Ok(tokens);
            }
        }
    }

    fn tokenize(self, texts: &[&str]) -> Result<Vec<Result<Tokens, EmbedError>>, EmbedError> {
        match self {
            Self::Texts(embedder, options) => embedder.tokenize(texts, options),
            Self::Pairs(..) => Ok(texts.iter().map(|text| self.whole(text)).collect()),
        }
    }
}

/// The tokens of a call's texts, some milliseconds' work at a time.
pub(crate) struct Tokenizer<'a> {
    steps: Steps<'a>,
    texts: &'a [Text<'a>],
    next: usize,
}

impl<'a> Tokenizer<'a> {
    pub(crate) fn new(steps: Steps<'a>, texts: &'a [Text<'a>]) -> Self {
        Self {
            steps,
            texts,
            next: 0,
        }
    }

    /// The tokens of the next texts, or what is wrong with each; none at the end.
    pub(crate) fn group(
        &mut self,
        signals: &mut Signals,
    ) -> Result<Vec<Result<Tokens, Failure>>, Stop> {
        signals.check()?;
        let first = self.next;
        let rest = self.texts.get(first..).unwrap_or_default();
        if let Some(Ok(text)) = rest.first()
            && text.len() > GROUP_BYTES
        {
            self.next += 1;
            return Ok(vec![self.long(first, text, signals)?]);
        }
        let mut bytes = 0;
        let fits = |text: &&Text<'_>| {
            bytes += text.as_ref().map_or(1, |text| text.len() + 1);
            bytes <= GROUP_BYTES
        };
        let group = rest.iter().take_while(fits).count();
        let group = rest.get(..group.max(1)).unwrap_or_default();
        self.next += group.len();
        let sound: Vec<&str> = group
            .iter()
            .filter_map(|text| text.as_ref().ok().copied())
            .collect();
        let mut tokens = self.steps.tokenize(&sound)?.into_iter();
        let tokens = group
            .iter()
            .zip(first..)
            .filter_map(|(text, index)| match text {
                Ok(_) => {
                    let tokens = tokens.next()?;
                    Some(tokens.map_err(|error| Failure::at(error, index)))
                }
                Err(failure) => Some(Err((**failure).clone())),
            });
        Ok(tokens.collect())
    }

    fn long(
        &self,
        index: usize,
        text: &str,
        signals: &mut Signals,
    ) -> Result<Result<Tokens, Failure>, Stop> {
        let mut progress = Progress::default();
        loop {
            signals.check()?;
            let slice = self.steps.slice(text, &mut progress);
            match slice.map_err(|error| error.counted_from(index)) {
                Ok(Some(tokens)) => return Ok(Ok(tokens)),
                Ok(None) => {}
                Err(error) => return Ok(Err(error.into())),
            }
        }
    }
}

/// Texts that are given to the scheduler together: about a pass.
struct Wave<'a> {
    /// Position of its first text in the call.
    first: usize,
    /// Each text's number of tokens and whether it was cut, or what is wrong with it.
    texts: Vec<Result<(usize, bool), Failure>>,
    /// What the scheduler has: texts by their place in `texts`.
    places: Vec<usize>,
    items: Vec<PassText>,
    run: Run<'a>,
    outputs: Option<Outputs>,
}

impl<'a> Wave<'a> {
    /// Tokenizes a pass's texts and gives them to the scheduler; `None` at the end.
    fn start(
        model: &'a Model,
        call: &Call,
        tokenizer: &mut Tokenizer<'_>,
        signals: &mut Signals,
    ) -> Result<Option<Self>, Stop> {
        let first = tokenizer.next;
        let mut texts = Vec::new();
        let (mut places, mut items) = (Vec::new(), Vec::new());
        let mut total = 0;
        while total < LIMITS.tokens {
            let group = tokenizer.group(signals)?;
            if group.is_empty() {
                break;
            }
            for tokens in group {
                texts.push(tokens.map(|tokens| {
                    let known = (tokens.ids.len(), tokens.truncated);
                    total += known.0;
                    places.push(texts.len());
                    items.push(PassText::from(tokens));
                    known
                }));
            }
        }
        if texts.is_empty() {
            return Ok(None);
        }
        let mut run: Run<'a> = Box::pin(model.scheduler.run(call.work(items.clone())));
        // Polled once, it is in the queue.
        let outputs = match signals.poll(run.as_mut()) {
            Poll::Ready(outputs) => Some(outputs),
            Poll::Pending => None,
        };
        Ok(Some(Self {
            first,
            texts,
            places,
            items,
            run,
            outputs,
        }))
    }

    /// Waits for the states, and gives each on.
    fn finish(
        mut self,
        model: &'a Model,
        call: &Call,
        signals: &mut Signals,
        take: &mut impl FnMut(usize, Result<Computed, Failure>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let mut states = self.states(model, call, signals)?.into_iter();
        for (text, index) in self.texts.into_iter().zip(self.first..) {
            let computed = text.map(|(tokens, truncated)| Computed {
                state: states.next().unwrap_or_default(),
                tokens,
                truncated,
            });
            take(index, computed)?;
        }
        Ok(())
    }

    /// The states of the texts that have one, in order. A text that fails is left out, and the others
    /// are tried again.
    fn states(
        &mut self,
        model: &'a Model,
        call: &Call,
        signals: &mut Signals,
    ) -> Result<Vec<Arc<[f32]>>, Stop> {
        for _ in 0..TRIES {
            let outputs = match self.outputs.take() {
                Some(outputs) => outputs,
                None => signals.wait(self.run.as_mut())?,
            };
            let failed = match outputs {
                Ok(done) => return Ok(done.outputs),
                Err(error) => error,
            };
            let at = match failed {
                ScheduleError::Failed { index, .. } | ScheduleError::Panicked { index, .. }
                    if index < self.items.len() =>
                {
                    index
                }
                _ => return Err(Failure::scheduled(&failed, self.first).into()),
            };
            self.items.remove(at);
            let place = self.places.remove(at);
            let failure = Failure::scheduled(&failed, self.first + place);
            if self.items.is_empty() && self.texts.len() == 1 {
                return Err(failure.into());
            }
            if let Some(text) = self.texts.get_mut(place) {
                *text = Err(failure);
            }
            self.run = Box::pin(model.scheduler.run(call.work(self.items.clone())));
        }
        let message = format!("the model failed on {TRIES} of {} texts", self.texts.len());
        Err(Failure::new("BackendError", message).into())
    }
}
