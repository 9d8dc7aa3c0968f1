//! What follows [`Embedder::tokenize`] on the way from a text to its vector, for those who put something
//! between the steps: a server that queues tokens, runs many callers' texts in one pass and finishes each
//! caller's way.

use akidb_backend::{BackendError, BackendErrorKind, TokenBatch};

use crate::distinct::{Distinct, Ids};
use crate::embedder::Embedder;
use crate::error::EmbedError;
use crate::options::EmbedOptions;
use crate::prompt::Prompt;
use crate::tokenizer::shared_prefix;
use crate::vectors::{Values, encode, l2_normalize};

/// Hidden states of several texts' last tokens (or of their pooled tokens), f32.
#[derive(Debug, Clone, PartialEq)]
pub struct States {
    values: Vec<f32>,
    width: usize,
    /// For each text, its row of `values`.
    rows: Vec<usize>,
}

impl States {
    /// The state of the text at `index` of the call, [`Embedder::dimension`] values; empty where
    /// there is no such text.
    pub fn row(&self, index: usize) -> &[f32] {
        self.rows
            .get(index)
            .and_then(|row| self.values.get(row * self.width..)?.get(..self.width))
            .unwrap_or_default()
    }
}

impl Embedder {
    /// Runs the model on texts' token ids, as [`Self::tokenize`] gives them; a text that is there
    /// several times is computed once.
    ///
    /// A model with several adaptations runs the one for documents.
    ///
    /// `instruction` is the text that they all start with ([`Provenance::instruction`]), whose keys
    /// and values the native engine keeps; the states are the same when it is left empty.
    ///
    /// [`Provenance::instruction`]: crate::Provenance::instruction
    ///
    /// # Errors
    /// When the model fails, or an id is outside its vocabulary.
    pub fn forward(&self, texts: &[&[u32]], instruction: &str) -> Result<States, EmbedError> {
        let task = self.settings.task(&Prompt::Default)?;
        let texts: Vec<Ids<'_>> = texts.iter().map(|ids| (*ids, None)).collect();
        self.forward_task(&texts, instruction, task.map_or(0, |(task, _)| task))
    }

    /// As [`Self::forward`], with the model's adaptation of this number ([`Tokens::task`]), where it has
    /// several.
    ///
    /// [`Tokens::task`]: crate::Tokens::task
    ///
    /// # Errors
    /// As that.
    pub fn forward_task(
        &self,
        texts: &[Ids<'_>],
        instruction: &str,
        task: u32,
    ) -> Result<States, EmbedError> {
        let failed = |source: BackendError| EmbedError::Backend {
            backend: self.backend.info().backend,
            source,
        };
        let Distinct { batch, rows } = texts.iter().copied().collect();
        let prompt = self.tokenizer.prompt_ids(instruction)?;
        let shared = shared_prefix(&prompt, &batch);
        let batch = batch
            .with_shared_prefix(shared)
            .map_err(failed)?
            .for_task(task);

        let width = self.dimension();
        let mut values = vec![0.0; batch.len() * width];
        self.backend.forward(&batch, &mut values).map_err(failed)?;
        Ok(States {
            values,
            width,
            rows,
        })
    }

    /// The states of every token of texts' token ids, as [`Self::tokenize`] gives them: for each
    /// text, [`Self::dimension`] values a token, one after the other.
    ///
    /// # Errors
    /// When the model fails or an id is outside its vocabulary, [`EmbedError::NotFinite`] where a
    /// value isn't finite, and [`EmbedError::Unsupported`] where the backend gives only one state a
    /// text.
    pub fn forward_all(&self, texts: &[&[u32]]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let batch: TokenBatch = texts.iter().collect();
        let width = self.dimension();
        let mut values = vec![0.0; batch.total_tokens() * width];
        self.backend
            .forward_all(&batch, &mut values)
            .map_err(|source| match source.kind() {
                BackendErrorKind::UnsupportedModel => EmbedError::Unsupported(source.to_string()),
                _ => EmbedError::Backend {
                    backend: self.backend.info().backend,
                    source,
                },
            })?;
        let mut values = values.into_iter();
        batch
            .iter()
            .enumerate()
            .map(|(index, ids)| {
                let states: Vec<f32> = values.by_ref().take(ids.len() * width).collect();
                if states.iter().all(|value| value.is_finite()) {
                    return Ok(states);
                }
                Err(EmbedError::NotFinite {
                    index,
                    encoding: None,
                })
            })
            .collect()
    }

    /// One hidden state cut, normalised and encoded as the options say.
    ///
    /// # Errors
    /// [`EmbedError::NotFinite`], index 0, where a value isn't finite, or would not be once
    /// normalised: a vector of zeros, which models make whose norms overflow, has no direction.
    /// [`EmbedError::Dimension`] where the state has fewer values than are asked for.
    pub fn finish(&self, state: &[f32], options: &EmbedOptions) -> Result<Values, EmbedError> {
        let dimension = self.check_dimension(options.dimension)?;
        let not_finite = |encoding| EmbedError::NotFinite { index: 0, encoding };
        let mut vector = state
            .get(..dimension)
            .ok_or_else(|| EmbedError::Dimension {
                requested: dimension,
                allowed: format!("the state has {} values", state.len()),
            })?
            .to_vec();
        if options.normalize && !l2_normalize(&mut vector) {
            return Err(not_finite(None));
        }
        // Looked at after the scaling too: nothing that isn't finite may leave.
        if !state.iter().chain(&vector).all(|x| x.is_finite()) {
            return Err(not_finite(None));
        }
        encode(vector, options.encoding).ok_or_else(|| not_finite(Some(options.encoding.as_str())))
    }
}
