//! How well documents answer a query.

mod chat;
mod head;
mod options;
mod pair_text;
mod query;
pub(crate) mod scorer;
mod template;

use std::sync::Arc;

#[cfg(feature = "onnxruntime")]
use crate::backend::onnxruntime::OnnxRuntimeConfig;
use crate::backend::{BackendChoice, Precision};
use crate::builder::EmbedderBuilder;
use crate::embedder::Embedder;
use crate::error::EmbedError;
use crate::options::{EmbedOptions, Scoring};
use crate::prompt::Prompt;
use crate::response::Provenance;
use crate::tokenizer::Tokens;

pub use options::{RerankOptions, Score};
pub use query::PairQuery;

/// A loaded model that scores documents for a query: a reranker, or any embedding model, by cosine.
///
/// ```
/// use akidb_embedding::{RerankOptions, Reranker, Scoring};
///
/// let reranker = Reranker::builder().model("akidb-mini").build()?;
/// let documents = ["bake a chocolate cake", "continue an interrupted transfer"];
/// let options = RerankOptions::default();
/// let scores = reranker.rerank("how do I resume a download", &documents, &options)?;
/// assert_eq!(scores[0].index, 1);
/// assert_eq!(reranker.provenance(&options)?.scoring, Some(Scoring::Cosine));
/// # Ok::<(), akidb_embedding::EmbedError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Reranker {
    embedder: Arc<Embedder>,
}

/// Chooses a model and how to run it. See [`Reranker::builder`].
#[derive(Debug, Clone, Default)]
pub struct RerankerBuilder(EmbedderBuilder);

impl From<Arc<Embedder>> for Reranker {
    /// Scores with a model that is loaded already.
    fn from(embedder: Arc<Embedder>) -> Self {
        Self { embedder }
    }
}

impl RerankerBuilder {
    /// A model id, a model directory, or an `.onnx` or `.safetensors` file; as
    /// [`EmbedderBuilder::model`].
    pub fn model(self, model: impl Into<String>) -> Self {
        Self(self.0.model(model))
    }

    /// Which of a directory's weight files: `f32`, `fp16`, `int8`, `q4` …, `safetensors`.
    pub fn variant(self, variant: impl Into<String>) -> Self {
        Self(self.0.variant(variant))
    }

    /// What runs the model.
    pub fn backend(self, backend: BackendChoice) -> Self {
        Self(self.0.backend(backend))
    }

    /// Arithmetic of the linear layers on the native engine.
    pub fn precision(self, precision: Precision) -> Self {
        Self(self.0.precision(precision))
    }

    /// Number of threads; without it, one per core.
    pub fn threads(self, threads: usize) -> Self {
        Self(self.0.threads(threads))
    }

    /// Whether the native engine keeps the keys and values of what all pairs of a query start with. It
    /// does unless told otherwise; scores are the same either way.
    pub fn prefix_cache(self, on: bool) -> Self {
        Self(self.0.prefix_cache(on))
    }

    /// Library, provider and settings of ONNX Runtime.
    #[cfg(feature = "onnxruntime")]
    pub fn onnxruntime(self, config: OnnxRuntimeConfig) -> Self {
        Self(self.0.onnxruntime(config))
    }

    /// Loads the model. One that may be a reranker is taken for one, which
    /// [`Provenance::guesses`](crate::Provenance::guesses) then says.
    ///
    /// # Errors
    /// As [`EmbedderBuilder::build`].
    pub fn build(self) -> Result<Reranker, EmbedError> {
        Ok(Arc::new(self.0.for_scoring().build()?).into())
    }
}

impl From<EmbedderBuilder> for RerankerBuilder {
    /// The same choices, for a model that scores.
    fn from(builder: EmbedderBuilder) -> Self {
        Self(builder)
    }
}

impl Reranker {
    /// Starts to choose a model.
    pub fn builder() -> RerankerBuilder {
        RerankerBuilder::default()
    }

    /// The model as such.
    pub fn embedder(&self) -> &Embedder {
        &self.embedder
    }

    /// The model as such, for those who put it before a queue of their own.
    pub fn into_embedder(self) -> Arc<Embedder> {
        self.embedder
    }

    /// How these options have documents scored.
    ///
    /// # Errors
    /// [`EmbedError::NotAReranker`] and [`EmbedError::NotAnEmbedder`], where the model can't do what is
    /// asked for.
    pub fn scoring(&self, options: &RerankOptions) -> Result<Scoring, EmbedError> {
        match (options.scoring, &self.embedder.scorer) {
            (Some(Scoring::Model), None) => Err(EmbedError::NotAReranker {
                model: self.embedder.model().to_owned(),
            }),
            (Some(Scoring::Cosine), _) => self.embedder.check_embeds().map(|()| Scoring::Cosine),
            (_, Some(_)) => Ok(Scoring::Model),
            (None, None) => Ok(Scoring::Cosine),
        }
    }

    /// What scores with these options come from.
    ///
    /// # Errors
    /// As [`Self::scoring`].
    pub fn provenance(&self, options: &RerankOptions) -> Result<Provenance, EmbedError> {
        let scoring = self.scoring(options)?;
        let embed = match scoring {
            Scoring::Cosine => self.query_options(options),
            Scoring::Model => EmbedOptions {
                prompt: Prompt::Literal(String::new()),
                ..EmbedOptions::default()
            },
        };
        let mut provenance = self.embedder.provenance(&embed)?;
        if let (Scoring::Model, Some(scorer)) = (scoring, &self.embedder.scorer) {
            let instruction = scorer.instruction(options).unwrap_or_default();
            instruction.clone_into(&mut provenance.instruction);
            provenance.guesses.extend(scorer.guess().map(str::to_owned));
        }
        provenance.scoring = Some(scoring);
        Ok(provenance)
    }

    /// Scores documents for a query, the best first; of equal ones the earlier is first.
    ///
    /// A document's score depends on the query and itself alone: on the native backend to the last bit.
    /// One that is there several times is computed once.
    ///
    /// # Errors
    /// When the model can't score as is asked for, the query leaves no room for a document, a document
    /// is too long and truncation was declined, or the model fails.
    pub fn rerank<D: AsRef<str>>(
        &self,
        query: &str,
        documents: &[D],
        options: &RerankOptions,
    ) -> Result<Vec<Score>, EmbedError> {
        let mut scores = match self.scoring(options)? {
            Scoring::Cosine => self.by_cosine(query, documents, options)?,
            Scoring::Model => self.by_model(query, documents, options)?,
        };
        Score::rank(&mut scores, options.top_n);
        Ok(scores)
    }

    fn by_model<D: AsRef<str>>(
        &self,
        query: &str,
        documents: &[D],
        options: &RerankOptions,
    ) -> Result<Vec<Score>, EmbedError> {
        let query = self.query(query, options)?;
        let tokens = documents.iter().enumerate().map(|(index, document)| {
            self.pair_tokens(&query, document.as_ref())
                .map_err(|error| error.counted_from(index))
        });
        let tokens: Vec<Tokens> = tokens.collect::<Result<_, _>>()?;
        let ids: Vec<_> = tokens
            .iter()
            .map(|pair| (&*pair.ids, pair.second_segment))
            .collect();
        let states = self.embedder.forward_task(&ids, query.shared_text(), 0)?;
        let scored = tokens.iter().enumerate().map(|(index, pair)| {
            self.score(index, states.row(index), pair.ids.len(), pair.truncated)
        });
        scored.collect()
    }

    fn by_cosine<D: AsRef<str>>(
        &self,
        query: &str,
        documents: &[D],
        options: &RerankOptions,
    ) -> Result<Vec<Score>, EmbedError> {
        let query = self
            .embedder
            .vectors(&[query], &self.query_options(options))?
            .swap_remove(0);
        let texts: Vec<&str> = documents.iter().map(AsRef::as_ref).collect();
        let answer = self
            .embedder
            .embed(&texts, &self.document_options(options))?;
        Ok(Score::cosines(&query, &answer.embeddings))
    }

    /// How the query is embedded, where documents are scored by cosine.
    pub fn query_options(&self, options: &RerankOptions) -> EmbedOptions {
        let prompt = match &options.instruction {
            Some(instruction) => Prompt::Instruction(instruction.clone()),
            None => Prompt::Query,
        };
        EmbedOptions {
            prompt,
            max_tokens: options.max_tokens,
            on_long: options.on_long,
            ..EmbedOptions::default()
        }
    }

    /// How documents are embedded, where they are scored by cosine.
    pub fn document_options(&self, options: &RerankOptions) -> EmbedOptions {
        let special = self.embedder.tokenizer.special_tokens();
        let own = options.max_document_tokens;
        let own = own.map(|most| most.max(1).saturating_add(special));
        let most = own.map(|most| most.min(self.embedder.max_tokens()));
        EmbedOptions {
            prompt: Prompt::Document,
            max_tokens: options.max_tokens.into_iter().chain(most).min(),
            on_long: options.on_long,
            ..EmbedOptions::default()
        }
    }
}
