//! From texts to vectors: the one path that every front end takes.

use akidb_backend::Backend;

use crate::distinct::Ids;
use crate::error::EmbedError;
use crate::model::{ModelFiles, PoolingFrom, Settings};
use crate::options::{EmbedOptions, Input, OnLong};
use crate::prompt::Prompt;
use crate::rerank::scorer::Scorer;
use crate::response::{EmbedResponse, Embedding, Matryoshka, Provenance};
use crate::tokenizer::{Keep, TextTokenizer, Tokens};
use crate::vectors::Encoding;

/// The pooling of a graph that pools by itself, where no file says how.
const POOLED_BY_GRAPH: &str = "graph";

/// A loaded model.
///
/// ```
/// use akidb_embedding::{EmbedOptions, Embedder, similarity};
///
/// let embedder = Embedder::builder().model("akidb-mini").build()?;
/// let documents = embedder.vectors(
///     &["continue an interrupted transfer", "bake a chocolate cake"],
///     &EmbedOptions::default(),
/// )?;
/// let query = embedder.vectors(&["how do I resume a download"], &EmbedOptions::query())?;
/// assert!(similarity(&query[0], &documents[0]) > similarity(&query[0], &documents[1]));
/// # Ok::<(), akidb_embedding::EmbedError>(())
/// ```
pub struct Embedder {
    pub(crate) backend: Box<dyn Backend>,
    pub(crate) tokenizer: TextTokenizer,
    pub(crate) settings: Settings,
    pub(crate) files: ModelFiles,
    pub(crate) variant: String,
    pub(crate) fallback: Option<String>,
    pub(crate) max_tokens: usize,
    /// Where the model scores pairs of texts.
    pub(crate) scorer: Option<Scorer>,
}

impl Embedder {
    /// The model's id.
    pub fn model(&self) -> &str {
        &self.files.id
    }

    /// Width of the model's vectors before any cut.
    pub fn dimension(&self) -> usize {
        self.backend.info().hidden_size
    }

    /// Longest text in tokens, special tokens included.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// Whether texts that are too long lose their start, and not their end.
    pub fn truncates_start(&self, on_long: OnLong) -> bool {
        self.tokenizer.keep(on_long) == Keep::End
    }

    /// Refuses a model that makes no vectors.
    ///
    /// # Errors
    /// [`EmbedError::NotAnEmbedder`] for a reranker.
    pub fn check_embeds(&self) -> Result<(), EmbedError> {
        match self.settings.is_reranker() {
            true => Err(EmbedError::NotAnEmbedder {
                model: self.files.id.clone(),
            }),
            false => Ok(()),
        }
    }

    /// Whether the model has a query prompt.
    pub fn has_query_prompt(&self) -> bool {
        let name = Prompt::Query.name(&self.settings.prompts);
        name.is_ok_and(|name| name.is_some())
    }

    /// What vectors made with these options come from.
    ///
    /// # Errors
    /// As [`Self::embed`], for the options alone.
    pub fn provenance(&self, options: &EmbedOptions) -> Result<Provenance, EmbedError> {
        let info = self.backend.info();
        let settings = &self.settings;
        let dimension = self.check_dimension(options.dimension)?;
        let matryoshka = match settings.matryoshka_dimensions {
            _ if dimension == self.dimension() => None,
            Some(_) => Some(Matryoshka::Named),
            None => Some(Matryoshka::Unknown),
        };
        let instruction = options.prompt.resolve(&settings.prompts)?;
        let prompt = options.prompt.name(&settings.prompts)?;
        let prompt = prompt.filter(|_| !instruction.is_empty());
        let task = settings.task(&options.prompt)?;
        Ok(Provenance {
            model: self.files.id.clone(),
            revision: self.files.revision.clone(),
            variant: self.variant.clone(),
            precision: info.precision.to_owned(),
            backend: info.backend.to_owned(),
            device: info.device.clone(),
            pooling: match settings.pooling_from {
                PoolingFrom::Guess if info.graph.pools => POOLED_BY_GRAPH.to_owned(),
                _ => info.pooling.as_str().to_owned(),
            },
            instruction,
            prompt: prompt.map(str::to_owned),
            task: task.map(|(_, name)| name.to_owned()),
            dimension,
            matryoshka,
            normalized: options.normalize,
            encoding: options.encoding.as_str().to_owned(),
            fallback: self.fallback.clone(),
            scoring: None,
            guesses: settings.guesses(info),
        })
    }

    /// Embeds texts (or token ids): one vector each, in order.
    ///
    /// A text's vector depends on that text alone, not on the others of the call: on the native
    /// backend to the last bit. A text that is there several times is computed once.
    ///
    /// # Errors
    /// When an option doesn't fit the model, a text is too long and truncation was declined, token
    /// ids are outside the vocabulary, or the model fails. No partial answer is given:
    /// [`Self::embed_each`] gives one.
    pub fn embed<'a, I>(
        &self,
        inputs: &'a [I],
        options: &EmbedOptions,
    ) -> Result<EmbedResponse, EmbedError>
    where
        &'a I: Into<Input<'a>>,
    {
        self.check_embeds()?;
        let provenance = self.provenance(options)?;
        let texts: Vec<Tokens> = self
            .tokens_of(inputs, options, &provenance.instruction)?
            .collect::<Result<_, _>>()?;
        let texts: Vec<(usize, &Tokens)> = texts.iter().enumerate().collect();
        let embeddings = self
            .run(&texts, options, &provenance)?
            .into_iter()
            .collect::<Result<_, _>>()?;
        Ok(EmbedResponse {
            embeddings,
            total_tokens: texts.iter().map(|(_, tokens)| tokens.ids.len()).sum(),
            provenance,
        })
    }

    /// Embeds texts as [`Self::embed`] does; what is wrong with one of them is its own answer, and
    /// the others have theirs.
    ///
    /// ```
    /// use akidb_embedding::{EmbedOptions, Embedder, Input};
    ///
    /// let embedder = Embedder::builder().model("akidb-mini").build()?;
    /// let inputs = [Input::from("a text"), Input::from(vec![4_000_000_000])];
    /// let answers = embedder.embed_each(&inputs, &EmbedOptions::default())?;
    /// assert!(answers[0].is_ok());
    /// assert!(answers[1].is_err());
    /// # Ok::<(), akidb_embedding::EmbedError>(())
    /// ```
    ///
    /// # Errors
    /// When an option doesn't fit the model, or the model fails as a whole.
    pub fn embed_each<'a, I>(
        &self,
        inputs: &'a [I],
        options: &EmbedOptions,
    ) -> Result<Vec<Result<Embedding, EmbedError>>, EmbedError>
    where
        &'a I: Into<Input<'a>>,
    {
        self.check_embeds()?;
        let provenance = self.provenance(options)?;
        let texts: Vec<Result<Tokens, EmbedError>> = self
            .tokens_of(inputs, options, &provenance.instruction)?
            .collect();
        let sound: Vec<(usize, &Tokens)> = texts
            .iter()
            .enumerate()
            .filter_map(|(index, tokens)| Some((index, tokens.as_ref().ok()?)))
            .collect();
        let mut embeddings = self.run(&sound, options, &provenance)?.into_iter();
        Ok(texts
            .into_iter()
            .filter_map(|tokens| match tokens {
                Ok(_) => embeddings.next(),
                Err(error) => Some(Err(error)),
            })
            .collect())
    }

    /// Embeds texts to f32 vectors: the shortest way to plain numbers.
    ///
    /// # Errors
    /// As [`Self::embed`].
    pub fn vectors<'a, I>(
        &self,
        inputs: &'a [I],
        options: &EmbedOptions,
    ) -> Result<Vec<Vec<f32>>, EmbedError>
    where
        &'a I: Into<Input<'a>>,
    {
        let options = EmbedOptions {
            encoding: Encoding::F32,
            ..options.clone()
        };
        let answer = self.embed(inputs, &options)?;
        Ok(answer
            .embeddings
            .into_iter()
            .filter_map(|e| e.values.into_f32())
            .collect())
    }

    /// The vectors of texts whose places in the call are given, or what is wrong with each.
    fn run(
        &self,
        texts: &[(usize, &Tokens)],
        options: &EmbedOptions,
        provenance: &Provenance,
    ) -> Result<Vec<Result<Embedding, EmbedError>>, EmbedError> {
        let ids: Vec<Ids<'_>> = texts.iter().map(|(_, text)| (&*text.ids, None)).collect();
        // Made with the same options, all are for one task.
        let task = texts.first().map_or(0, |(_, tokens)| tokens.task);
        let states = self.forward_task(&ids, &provenance.instruction, task)?;
        Ok(texts
            .iter()
            .enumerate()
            .map(|(row, &(index, tokens))| {
                Ok(Embedding {
                    values: self
                        .finish(states.row(row), options)
                        .map_err(|error| error.counted_from(index))?,
                    tokens: tokens.ids.len(),
                    truncated: tokens.truncated,
                })
            })
            .collect())
    }

    pub(crate) fn check_dimension(&self, wanted: Option<usize>) -> Result<usize, EmbedError> {
        let width = self.dimension();
        let Some(requested) = wanted else {
            return Ok(width);
        };
        let named = self.settings.matryoshka_dimensions.as_deref();
        let allowed = match named {
            Some(named) if requested != width && !named.contains(&requested) => {
                format!("the model can be cut to {named:?}")
            }
            _ if requested == 0 || requested > width => {
                format!("the model has 1 to {width}")
            }
            _ => return Ok(requested),
        };
        Err(EmbedError::Dimension { requested, allowed })
    }

    pub(crate) fn check_limit(&self, wanted: Option<usize>) -> Result<usize, EmbedError> {
        let limit = wanted.unwrap_or(self.max_tokens);
        let least = self.tokenizer.special_tokens() + 1;
        if limit < least || limit > self.max_tokens {
            return Err(EmbedError::TokenLimit {
                limit,
                least,
                most: self.max_tokens,
            });
        }
        Ok(limit)
    }
}

impl std::fmt::Debug for Embedder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedder")
            .field("model", &self.files.id)
            .field("variant", &self.variant)
            .field("backend", self.backend.info())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(feature = "builtin")]
#[path = "embedder_tests.rs"]
mod tests;
