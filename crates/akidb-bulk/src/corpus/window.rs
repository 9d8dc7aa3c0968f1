//! Some rows of a unit on their way: tokenized, computed, as columns.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use akidb_embedding::diagnostics::chain;
use akidb_embedding::{EmbedError, EmbedOptions, Embedder, Input, Tokens, Values};
use arrow_array::{ArrayRef, UInt64Array};
use arrow_select::take::take;

use super::chunk::{Span, Splitter};
use super::error::CorpusError;
use super::source::Rows;
use crate::error::RowError;

/// Most rows of a window: enough for a dozen passes, and several are held at once.
pub(super) const WINDOW_ROWS: usize = 2048;

/// Most tokens of a pass, unless one text has more: enough to fill every thread, and an end is near.
const PASS_TOKENS: usize = 8192;

/// Rows that are computed together.
pub(super) struct Window {
    /// The first row's place in its file.
    pub(super) first_row: u64,
    /// Rows of the input.
    pub(super) rows: usize,
    /// What goes along, for each text.
    pub(super) columns: Vec<ArrayRef>,
    pub(super) texts: Vec<Text>,
}

/// A text of a row.
pub(super) struct Text {
    /// Its row, in the window.
    pub(super) row: usize,
    /// Its part of the row's text, where texts are split.
    pub(super) span: Option<Span>,
    pub(super) tokens: Result<Tokens, String>,
}

/// How rows become tokens.
pub(super) struct Reading<'a> {
    pub(super) embedder: &'a Embedder,
    pub(super) options: &'a EmbedOptions,
    pub(super) splitter: Option<Splitter<'a>>,
    pub(super) threads: usize,
}

/// What came of a text.
pub(super) type Answer = Result<Vector, String>;

/// A text's vector.
#[derive(Debug, Clone)]
pub(super) struct Vector {
    pub(super) values: Values,
    pub(super) tokens: usize,
    pub(super) truncated: bool,
}

impl Window {
    /// Splits texts where that is wanted, and tokenizes them.
    pub(super) fn of(rows: Rows, first_row: u64, model: &Reading<'_>) -> Result<Self, CorpusError> {
        let texts = tokenize_all(&rows.inputs, model)?;
        let columns = match model.splitter {
            None => rows.columns,
            // What goes along goes with every part of a text.
            Some(_) => {
                let of_rows: UInt64Array = texts.iter().map(|text| Some(text.row as u64)).collect();
                let columns = rows
                    .columns
                    .iter()
                    .map(|column| take(column, &of_rows, None));
                columns
                    .collect::<Result<_, _>>()
                    .map_err(CorpusError::Columns)?
            }
        };
        Ok(Self {
            first_row,
            rows: rows.inputs.len(),
            columns,
            texts,
        })
    }

    /// The vector of each text, in order; nothing when `stop` was set before they were there. `passed`
    /// hears of the texts and tokens of each pass.
    ///
    /// Equal texts are computed once, texts of like length together.
    pub(super) fn embed(
        &self,
        embedder: &Embedder,
        options: &EmbedOptions,
        instruction: &str,
        stop: &AtomicBool,
        mut passed: impl FnMut(usize, usize),
    ) -> Result<Option<Vec<Answer>>, EmbedError> {
        let mut places: HashMap<&[u32], usize> = HashMap::new();
        let mut distinct: Vec<(&Tokens, usize)> = Vec::new();
        let mut place_of = Vec::with_capacity(self.texts.len());
        for text in &self.texts {
            place_of.push(text.tokens.as_ref().ok().map(|tokens| {
                let place = *places.entry(&tokens.ids).or_insert(distinct.len());
                match distinct.get_mut(place) {
                    Some((_, count)) => *count += 1,
                    None => distinct.push((tokens, 1)),
                }
                place
            }));
        }
        let mut order: Vec<usize> = (0..distinct.len()).collect();
        // Of equal length, the earlier one first.
        order.sort_by_key(|place| std::cmp::Reverse(distinct[*place].0.ids.len()));
        let mut values: Vec<Option<Result<Values, String>>> = vec![None; distinct.len()];
        for pass in passes(&order, |place| distinct[place].0.ids.len()) {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let ids = pass.iter().map(|place| {
                let tokens = distinct[*place].0;
                (&*tokens.ids, tokens.second_segment)
            });
            let ids: Vec<_> = ids.collect();
            // Made with the same options, all are for one task.
            let task = pass.first().map_or(0, |place| distinct[*place].0.task);
            let states = embedder.forward_task(&ids, instruction, task)?;
            let (mut texts, mut tokens) = (0, 0);
            for (row, &place) in pass.iter().enumerate() {
                let finished = embedder.finish(states.row(row), options);
                values[place] = Some(finished.map_err(|error| chain(&error)));
                texts += distinct[place].1;
                tokens += distinct[place].1 * distinct[place].0.ids.len();
            }
            passed(texts, tokens);
        }
        let answers = self.texts.iter().zip(place_of);
        let answers = answers.map(|(text, place)| {
            let tokens = text.tokens.as_ref().map_err(Clone::clone)?;
            let values = place.and_then(|place| values[place].clone());
            Ok(Vector {
                values: values.unwrap_or_else(|| Err("it was not computed".to_owned()))?,
                tokens: tokens.ids.len(),
                truncated: tokens.truncated,
            })
        });
        Ok(Some(answers.collect()))
    }
}

/// Cuts texts into passes.
fn passes(order: &[usize], length: impl Fn(usize) -> usize) -> Vec<&[usize]> {
    let mut passes = Vec::new();
    let (mut start, mut tokens) = (0, 0);
    for (at, &place) in order.iter().enumerate() {
        let length = length(place);
        if tokens > 0 && tokens + length > PASS_TOKENS {
            passes.push(&order[start..at]);
            (start, tokens) = (at, 0);
        }
        tokens += length;
    }
    if start < order.len() {
        passes.push(&order[start..]);
    }
    passes
}

/// The texts of rows, tokenized, or what is wrong with them.
fn tokenize(
    inputs: &[Result<Input<'static>, RowError>],
    first: usize,
    model: &Reading<'_>,
) -> Result<Vec<Text>, EmbedError> {
    let mut parts: Vec<(usize, Option<Span>, Result<Input<'_>, String>)> = Vec::new();
    for (row, input) in (first..).zip(inputs) {
        match (input, &model.splitter) {
            (Err(error), _) => parts.push((row, None, Err(chain(error)))),
            (Ok(input), None) => parts.push((row, None, Ok(input.into()))),
            (Ok(Input::Text(text)), Some(splitter)) => match splitter.split(text) {
                Ok(spans) => {
                    let spans = spans.into_iter();
                    parts.extend(spans.map(|(span, text)| (row, Some(span), Ok(text.into()))));
                }
                Err(error) => parts.push((row, None, Err(error))),
            },
            (Ok(Input::Tokens(_)), Some(_)) => {
                let error = "token ids are not split, as texts are".to_owned();
                parts.push((row, None, Err(error)));
            }
        }
    }
    let sound: Vec<&Input<'_>> = parts
        .iter()
        .filter_map(|(.., input)| input.as_ref().ok())
        .collect();
    let sound: Vec<Input<'_>> = sound.into_iter().map(Input::from).collect();
    let mut tokens = model.embedder.tokenize(&sound, model.options)?.into_iter();
    let text = |(row, span, input): (usize, Option<Span>, Result<Input<'_>, String>)| Text {
        row,
        span,
        tokens: input.and_then(|_| match tokens.next() {
            Some(tokens) => tokens.map_err(|error| chain(&error)),
            None => Err("it was not tokenized".to_owned()),
        }),
    };
    Ok(parts.into_iter().map(text).collect())
}

/// [`tokenize`] on several threads.
fn tokenize_all(
    inputs: &[Result<Input<'static>, RowError>],
    model: &Reading<'_>,
) -> Result<Vec<Text>, EmbedError> {
    let part = inputs.len().div_ceil(model.threads.max(1)).max(1);
    let parts: Vec<Result<Vec<Text>, EmbedError>> = thread::scope(|scope| {
        let parts = inputs.chunks(part).enumerate();
        let threads: Vec<_> = parts
            .map(|(n, inputs)| scope.spawn(move || tokenize(inputs, n * part, model)))
            .collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect()
    });
    let mut all = Vec::with_capacity(inputs.len());
    for part in parts {
        all.extend(part?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_are_full_and_hold_each_text_once() {
        let lengths = [9000, 8192, 8000, 200, 8192, 1, 1];
        let order: Vec<usize> = (0..lengths.len()).collect();
        let passes = passes(&order, |place| lengths[place]);
        let expected: [&[usize]; 5] = [&[0], &[1], &[2], &[3], &[4]];
        assert_eq!(passes[..2], expected[..2]);
        assert_eq!(passes.concat(), order);
        assert_eq!(passes.len(), 6);
    }
}
