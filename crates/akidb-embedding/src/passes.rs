//! A model as [`akidb_schedule`] runs it: many callers' texts in one pass.

use std::sync::Arc;

use akidb_schedule::{Engine, Scheduler, Speed};

use crate::embedder::Embedder;
use crate::error::EmbedError;
use crate::options::EmbedOptions;

const SHORT: &str = "warm up";
/// About as many tokens as words.
const LONG_WORDS: usize = 120;

/// Token ids of a text, as [`Embedder::tokenize`] gives them, become its state; those of a pass start
/// with the same instruction.
impl Engine for Embedder {
    type Item = Arc<[u32]>;
    type Group = Arc<str>;
    type Output = Arc<[f32]>;
    type Error = EmbedError;

    fn run(
        &self,
        texts: &[Arc<[u32]>],
        instruction: &Arc<str>,
    ) -> Result<Vec<Arc<[f32]>>, EmbedError> {
        let ids: Vec<&[u32]> = texts.iter().map(|ids| &**ids).collect();
        let states = self.forward(&ids, instruction)?;
        let rows = (0..texts.len()).map(|index| states.row(index).into());
        Ok(rows.collect())
    }

    fn tokens(ids: &Arc<[u32]>) -> usize {
        ids.len()
    }

    fn bytes(ids: &Arc<[u32]>, state: &Arc<[f32]>) -> usize {
        size_of_val(&**ids) + size_of_val(&**state)
    }

    fn is_sound(state: &Arc<[f32]>) -> bool {
        state.iter().all(|value| value.is_finite())
    }
}

impl Embedder {
    /// Runs a short and a longer text for the first time and times them, while the scheduler runs
    /// nothing else.
    ///
    /// # Errors
    /// When the model fails.
    pub fn warm_up(&self, scheduler: &Scheduler<Self>) -> Result<Speed, EmbedError> {
        let long = "word ".repeat(LONG_WORDS);
        let [short, long] = [SHORT, &long].map(|text| self.ids(text));
        scheduler.warm_up(self, &short?, &long?, &"".into())
    }

    fn ids(&self, text: &str) -> Result<Arc<[u32]>, EmbedError> {
        let tokens = self.tokenize(&[text], &EmbedOptions::default())?;
        let tokens: Vec<_> = tokens.into_iter().collect::<Result<_, _>>()?;
        Ok(tokens.into_iter().flat_map(|tokens| tokens.ids).collect())
    }
}
