//! Choosing a model and loading it.

use std::path::PathBuf;
use std::thread;

use akidb_backend::Pooling;

#[cfg(feature = "onnxruntime")]
use crate::backend::onnxruntime::{OnnxRuntimeConfig, ProviderChoice, SessionOptions};
use crate::backend::{self, BackendChoice, BackendOptions, HeadInput, Precision};
use crate::embedder::Embedder;
use crate::error::EmbedError;
use crate::model::{ModelFiles, Settings};
use crate::prompt::Prompt;
use crate::rerank::scorer::Scorer;
use crate::tokenizer::TextTokenizer;

/// Chooses a model and how to run it. See [`Embedder::builder`].
#[derive(Debug, Clone, Default)]
pub struct EmbedderBuilder {
    pub(crate) model: Option<String>,
    pub(crate) variant: Option<String>,
    options: BackendOptions,
    /// Pairs are to be scored: a guess that the model does it is taken.
    for_scoring: bool,
}

impl Embedder {
    /// Starts to choose a model.
    pub fn builder() -> EmbedderBuilder {
        EmbedderBuilder::default()
    }
}

impl EmbedderBuilder {
    /// A model id, a model directory, or an `.onnx` or `.safetensors` file.
    ///
    /// Without one: the [default model](crate::default_model), else the built-in one.
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

    /// How one vector is made of the states of a text's tokens, whatever the model's files say.
    ///
    /// Without it: as modules.json and its pooling file say, else as is known of the model's family,
    /// else a guess, which [`Provenance::guesses`](crate::Provenance::guesses) calls one.
    pub fn pooling(mut self, pooling: Pooling) -> Self {
        self.options.pooling = Some(pooling);
        self
    }

    /// Takes a model for a reranker that may be one, though no file says so.
    pub(crate) fn for_scoring(mut self) -> Self {
        self.for_scoring = true;
        self
    }

    /// Name of the graph's output that is the embedding, where it has several.
    pub fn output(mut self, name: impl Into<String>) -> Self {
        self.options.output = Some(name.into());
        self
    }

    /// Arithmetic of the linear layers on the native engine. A chosen other backend computes as the
    /// model's file says, and anything else that is asked for is an error.
    pub fn precision(mut self, precision: Precision) -> Self {
        self.options.precision = precision;
        self
    }

    /// Number of threads; without it, one per core.
    pub fn threads(mut self, threads: usize) -> Self {
        self.options.threads = Some(threads);
        self
    }

    /// Whether the native engine keeps the keys and values of the instruction that queries start
    /// with. It does unless told otherwise; vectors are the same either way.
    pub fn prefix_cache(mut self, on: bool) -> Self {
        self.options.no_prefix_cache = !on;
        self
    }

    /// Directory in which the native engine keeps packed weights for the next start, or `None` for
    /// nowhere; without it, the one that the environment names
    /// ([`env::AKIDB_CACHE_DIR`](crate::env::AKIDB_CACHE_DIR)).
    ///
    /// Packed weights take about as much room as the model's file. They are checked when they are
    /// read, and made again when a file of the model has changed.
    pub fn packed_cache(mut self, directory: Option<PathBuf>) -> Self {
        self.options.packed_cache = Some(directory);
        self
    }

    /// Loads the model; its tokenizer meanwhile on a thread of its own.
    ///
    /// # Errors
    /// When the model isn't found, a file of it is missing, broken or contradicts another, or no
    /// allowed backend can run it.
    pub fn build(self) -> Result<Embedder, EmbedError> {
        let files = ModelFiles::find(self.model.as_deref())?;
        let weights = files.weights(self.variant.as_deref())?;
        let settings = Settings::read(&files)?.pooled_by(self.options.pooling)?;
        let settings = match self.for_scoring {
            true => settings.for_scoring(),
            false => settings,
        };
        let load_tokenizer = || TextTokenizer::load(&files, &settings);
        let (tokenizer, loaded) = thread::scope(|scope| {
            let tokenizer = thread::Builder::new()
                .name("akidb-tokenizer".to_owned())
                .spawn_scoped(scope, load_tokenizer);
            let loaded = backend::load(&files, &weights, &settings, &self.options);
            let tokenizer = match tokenizer {
                Ok(thread) => thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                // The system gives no thread.
                Err(_) => load_tokenizer(),
            };
            (tokenizer, loaded)
        });
        let (mut tokenizer, loaded) = (tokenizer?, loaded?);
        let info = loaded.backend.info();
        if info.graph.is_bag {
            tokenizer = tokenizer.without_special_tokens();
        }
        let settings = match info.graph.takes_task {
            true if settings.task(&Prompt::Default)?.is_none() => {
                return Err(EmbedError::Unsupported(format!(
                    "the graph wants the number of an adaptation (task_id), and {} names none \
                     (lora_adaptations)",
                    files.label("config.json")
                )));
            }
            true => settings,
            false => settings.without_tasks(),
        };
        if tokenizer.adds_eos() {
            tracing::debug!(
                model = files.id,
                "the tokenizer's post-processor lacks the EOS: adding it"
            );
        }
        if let Some(reason) = &loaded.fallback {
            tracing::info!(model = files.id, "{reason}");
        }
        for guess in settings.guesses(info) {
            tracing::warn!(
                model = files.id,
                "a guess, which no file of the model confirms: {guess}"
            );
        }
        for (texts, prompt) in [
            ("texts whose role is not named", Prompt::Default),
            ("queries", Prompt::Query),
            ("documents", Prompt::Document),
        ] {
            if let Some(name) = prompt.name(&settings.prompts)? {
                tracing::info!(model = files.id, "{texts} get the prompt {name:?}");
            }
        }
        // What a graph has pooled may have gone through further layers.
        if let Some(hidden_size) = settings.width()
            && !info.graph.pools
            && matches!(loaded.head_input, HeadInput::States(_))
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
        let scorer = Scorer::load(&files, &weights, &settings, &tokenizer, &loaded)?;
        Ok(Embedder {
            scorer,
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

#[cfg(feature = "onnxruntime")]
impl EmbedderBuilder {
    /// ONNX Runtime's library, or the directory that holds it; without it, the one that
    /// [`env::ORT_DYLIB_PATH`](crate::env::ORT_DYLIB_PATH) names, else the first usable one beside
    /// the program, in the system's directories and in the active Python environment.
    ///
    /// A process opens one library and keeps it.
    pub fn onnxruntime_library(mut self, library: impl Into<PathBuf>) -> Self {
        self.options.onnxruntime.library = Some(library.into());
        self
    }

    /// What runs the model inside ONNX Runtime.
    pub fn provider(mut self, provider: ProviderChoice) -> Self {
        self.options.onnxruntime.provider = provider;
        self
    }

    /// Settings of ONNX Runtime itself.
    pub fn onnxruntime_session(mut self, session: SessionOptions) -> Self {
        self.options.onnxruntime.session = session;
        self
    }

    /// Library, provider and settings of ONNX Runtime at once.
    pub fn onnxruntime(mut self, config: OnnxRuntimeConfig) -> Self {
        self.options.onnxruntime = config;
        self
    }
}

/// Limit for models that state none: that of the BERT family.
const DEFAULT_MAX_TOKENS: usize = 512;
