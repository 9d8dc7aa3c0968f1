//! A model as [`akidb_schedule`] runs it: many callers' texts in one pass.

use std::collections::BTreeSet;
use std::sync::Arc;

use akidb_schedule::{Engine, Scheduler, Speed};

use crate::distinct::Ids;
use crate::embedder::Embedder;
use crate::error::EmbedError;
use crate::options::{EmbedOptions, Input};
use crate::tokenizer::{Progress, Tokens};

const SHORT: &str = "warm up";
/// About as many tokens as words.
const LONG_WORDS: usize = 120;

/// A text in a pass: its token ids, the adaptation that they are for, and where the second segment of a
/// pair begins.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PassText {
    ids: Arc<[u32]>,
    task: u32,
    second_segment: Option<usize>,
}

impl From<Tokens> for PassText {
    fn from(tokens: Tokens) -> Self {
        Self {
            ids: tokens.ids.into(),
            task: tokens.task,
            second_segment: tokens.second_segment,
        }
    }
}

/// Token ids of a text, as [`Embedder::tokenize`] gives them, become its state; those of a pass start
/// with the same instruction.
impl Engine for Embedder {
    type Item = PassText;
    type Group = Arc<str>;
    type Output = Arc<[f32]>;
    type Error = EmbedError;

    fn run(
        &self,
        texts: &[PassText],
        instruction: &Arc<str>,
    ) -> Result<Vec<Arc<[f32]>>, EmbedError> {
        let mut states: Vec<Arc<[f32]>> = vec![Arc::default(); texts.len()];
        let tasks: BTreeSet<u32> = texts.iter().map(|text| text.task).collect();
        for task in tasks {
            let same = texts
                .iter()
                .enumerate()
                .filter(|(_, text)| text.task == task);
            let (places, ids): (Vec<usize>, Vec<Ids<'_>>) = same
                .map(|(place, text)| (place, (&*text.ids, text.second_segment)))
                .unzip();
            let of_task = self.forward_task(&ids, instruction, task)?;
            for (index, place) in places.into_iter().enumerate() {
                states[place] = of_task.row(index).into();
            }
        }
        Ok(states)
    }

    fn tokens(text: &PassText) -> usize {
        text.ids.len()
    }

    fn bytes(text: &PassText, state: &Arc<[f32]>) -> usize {
        size_of_val(&*text.ids) + size_of_val(&**state)
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
        let [short, long] = [SHORT, &long].map(|text| self.pass_text(text));
        scheduler.warm_up(self, &short?, &long?, &"".into())
    }

    fn pass_text(&self, text: &str) -> Result<PassText, EmbedError> {
        let mut progress = Progress::default();
        loop {
            let text = Input::from(text);
            let tokens = self.tokenize_slice(&text, &EmbedOptions::default(), &mut progress)?;
            if let Some(tokens) = tokens {
                return Ok(tokens.into());
            }
        }
    }
}

#[cfg(test)]
#[cfg(feature = "rten")]
mod tests {
    use super::*;
    use crate::prompt::Prompt;

    #[test]
    fn equal_tokens_for_two_adaptations_are_two_texts_of_a_pass() {
        let path = akidb_testing::fixture("forms/task-id");
        let builder = Embedder::builder().model(path.to_string_lossy());
        let embedder = builder.build().unwrap();
        let options = |name: &str| EmbedOptions {
            prompt: Prompt::Named(name.to_owned()),
            ..EmbedOptions::default()
        };
        let tokens = |name: &str| {
            let tokens = embedder.tokenize(&["cake"], &options(name)).unwrap();
            tokens.into_iter().next().unwrap().unwrap()
        };
        let first = PassText::from(tokens("separation"));
        let second = PassText {
            task: 1,
            ..first.clone()
        };
        assert_ne!(first, second);
        let texts = [second.clone(), first.clone(), second];
        let states = embedder.run(&texts, &"".into()).unwrap();
        assert_eq!(states[0], states[2]);
        assert_ne!(states[0], states[1]);
        assert_eq!(embedder.run(&[first], &"".into()).unwrap()[0], states[1]);
    }
}
