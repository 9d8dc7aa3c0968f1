//! From texts to vectors: the one path that every front end takes.

use akidb_backend::{Backend, TokenBatch};

use crate::backend::{self, BackendChoice, BackendOptions, Precision};
use crate::error::EmbedError;
use crate::model::{ModelFiles, Settings, resolve};
use crate::options::{EmbedOptions, Input, OnLong};
use crate::response::{EmbedResponse, Embedding, Provenance};
use crate::tokenizer::{TextTokenizer, Tokens};
use crate::vectors::{Encoding, encode, l2_normalize};

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
    backend: Box<dyn Backend>,
    tokenizer: TextTokenizer,
    settings: Settings,
    files: ModelFiles,
    variant: String,
    fallback: Option<String>,
    max_tokens: usize,
}

/// Chooses a model and how to run it. See [`Embedder::builder`].
#[derive(Debug, Clone, Default)]
pub struct EmbedderBuilder {
    model: Option<String>,
    variant: Option<String>,
    options: BackendOptions,
}

impl EmbedderBuilder {
    /// A model id, a model directory, or an `.onnx` or `.safetensors` file.
    ///
    /// Without one: the installed model, or the built-in one when none is installed.
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// Which of a directory's weight files: `f32`, `fp16`, `int8`, `q4` …, `safetensors`.
    pub fn variant(mut self, variant: impl Into<String>) -> Self {
        self.variant = Some(variant.into());
        self
    }

    /// What runs the model.
    pub fn backend(mut self, backend: BackendChoice) -> Self {
        self.options.backend = backend;
        self
    }

    /// Arithmetic of the linear layers on the native engine.
    pub fn precision(mut self, precision: Precision) -> Self {
        self.options.precision = precision;
        self
    }

    /// Number of threads; without it, one per core.
    pub fn threads(mut self, threads: usize) -> Self {
        self.options.threads = Some(threads);
        self
    }

    /// Loads the model.
    ///
    /// # Errors
    /// When the model isn't found, a file of it is missing, broken or contradicts another, or no
    /// allowed backend can run it.
    pub fn build(self) -> Result<Embedder, EmbedError> {
        let files = resolve(self.model.as_deref())?;
        let weights = files.weights(self.variant.as_deref())?;
        let settings = Settings::read(&files)?;
        let tokenizer = TextTokenizer::load(&files, &settings)?;
        if tokenizer.adds_eos() {
            tracing::debug!(
                model = files.id,
                "the tokenizer's post-processor lacks the EOS: adding it"
            );
        }
        let loaded = backend::load(&files, &weights, &settings, &self.options)?;
        if let Some(reason) = &loaded.fallback {
            tracing::warn!(model = files.id, "{reason}");
        }
        let info = loaded.backend.info();
        if let Some(hidden_size) = settings.hidden_size
            && hidden_size != info.hidden_size
        {
            return Err(EmbedError::Contradiction {
                file: files.label("config.json"),
                message: format!(
                    "it says hidden_size {hidden_size}, but the model's vectors have {}",
                    info.hidden_size
                ),
            });
        }
        let max_tokens = [settings.max_tokens, info.max_tokens]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(DEFAULT_MAX_TOKENS);
        Ok(Embedder {
            backend: loaded.backend,
            tokenizer,
            settings,
            files,
            variant: weights.variant,
            fallback: loaded.fallback,
            max_tokens,
        })
    }
}

/// Limit for models that state none: that of the BERT family.
const DEFAULT_MAX_TOKENS: usize = 512;

impl Embedder {
    /// Starts to choose a model.
    pub fn builder() -> EmbedderBuilder {
        EmbedderBuilder::default()
    }

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

    /// Whether the model has a query prompt.
    pub fn has_query_prompt(&self) -> bool {
        self.settings.prompts.contains_key("query")
    }

    /// What vectors made with these options come from.
    ///
    /// # Errors
    /// As [`Self::embed`], for the options alone.
    pub fn provenance(&self, options: &EmbedOptions) -> Result<Provenance, EmbedError> {
        let info = self.backend.info();
        Ok(Provenance {
            model: self.files.id.clone(),
            revision: self.files.revision.clone(),
            variant: self.variant.clone(),
            precision: info.precision.to_owned(),
            backend: info.backend.to_owned(),
            device: info.device.clone(),
            pooling: info.pooling.as_str().to_owned(),
            instruction: options.prompt.resolve(&self.settings.prompts)?,
            dimension: self.check_dimension(options.dimension)?,
            normalized: options.normalize,
            encoding: options.encoding.as_str().to_owned(),
            fallback: self.fallback.clone(),
        })
    }

    /// Embeds texts (or token ids): one vector each, in order.
    ///
    /// A text's vector depends on that text alone, not on the others of the call: on the native
    /// backend to the last bit.
    ///
    /// # Errors
    /// When an option doesn't fit the model, a text is too long and truncation was declined, token
    /// ids are outside the vocabulary, or the model fails. No partial answer is given.
    pub fn embed<'a, I>(
        &self,
        inputs: &'a [I],
        options: &EmbedOptions,
    ) -> Result<EmbedResponse, EmbedError>
    where
        &'a I: Into<Input<'a>>,
    {
        let provenance = self.provenance(options)?;
        let limit = self.check_limit(options.max_tokens)?;
        let mut batch = TokenBatch::new();
        let mut truncated = Vec::with_capacity(inputs.len());
        for (index, input) in inputs.iter().enumerate() {
            let tokens = self.tokenize(index, &input.into(), &provenance.instruction, limit)?;
            if tokens.truncated && options.on_long == OnLong::Error {
                return Err(EmbedError::TooLong { index, limit });
            }
            batch.push(&tokens.ids);
            truncated.push(tokens.truncated);
        }

        let width = self.dimension();
        let mut rows = vec![0.0; inputs.len() * width];
        self.backend
            .forward(&batch, &mut rows)
            .map_err(|source| EmbedError::Backend {
                backend: self.backend.info().backend,
                source,
            })?;

        let mut embeddings = Vec::with_capacity(inputs.len());
        for (index, row) in rows.chunks_exact(width).enumerate() {
            let mut vector = row[..provenance.dimension].to_vec();
            if options.normalize {
                l2_normalize(&mut vector);
            }
            // Looked at after the scaling too: nothing that isn't finite may leave.
            if !row.iter().chain(&vector).all(|x| x.is_finite()) {
                return Err(EmbedError::NotFinite {
                    index,
                    encoding: None,
                });
            }
            let values = encode(vector, options.encoding).ok_or(EmbedError::NotFinite {
                index,
                encoding: Some(options.encoding.as_str()),
            })?;
            embeddings.push(Embedding {
                values,
                tokens: batch.text(index).len(),
                truncated: truncated[index],
            });
        }
        Ok(EmbedResponse {
            embeddings,
            total_tokens: batch.total_tokens(),
            provenance,
        })
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

    fn tokenize(
        &self,
        index: usize,
        input: &Input<'_>,
        prompt: &str,
        limit: usize,
    ) -> Result<Tokens, EmbedError> {
        match input {
            Input::Text(text) => self.tokenizer.encode(prompt, text, limit),
            Input::Tokens(ids) => self
                .tokenizer
                .encode_ids(prompt, ids, limit)
                .map_err(|message| EmbedError::InvalidTokens { index, message }),
        }
    }

    fn check_dimension(&self, wanted: Option<usize>) -> Result<usize, EmbedError> {
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

    fn check_limit(&self, wanted: Option<usize>) -> Result<usize, EmbedError> {
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
