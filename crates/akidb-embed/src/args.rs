//! Arguments that several commands share.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::{Args, Parser};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use akidb_embedding::files::{ModelFiles, Weights};
use akidb_embedding::onnxruntime::OnnxRuntimeError;
use akidb_embedding::{
    BackendChoice, EmbedError, EmbedOptions, Embedder, EmbedderBuilder, Encoding, OnLong, Pooling,
    Precision, Prompt, Role,
};

use crate::choices::{choices, precisions};
use crate::commands::Command;
use crate::error::CliError;
use crate::message::message;
use crate::onnxruntime_args::OnnxRuntimeArgs;

/// Text to vectors with Qwen3-Embedding and other ONNX models.
#[derive(Debug, Parser)]
#[command(name = "akidb-embed", version, after_help = environment())]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

fn environment() -> String {
    let mut help = String::from("Environment:\n");
    for variable in akidb_embedding::env::ALL {
        help.push_str(&format!("  {:<15} {}\n", variable.name, variable.doc));
    }
    help
}

/// Which model, and how it is run.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub(crate) struct ModelArgs {
    /// Model id, model directory, or .onnx or .safetensors file [default: the installed model, else
    /// the built-in akidb-mini]
    #[arg(long, short, value_name = "MODEL")]
    model: Option<String>,

    #[command(flatten)]
    run: RunArgs,
}

/// How a model is run.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) run: Run,

    #[command(flatten)]
    onnxruntime: OnnxRuntimeArgs,
}

/// How a model is run, as flags and in the server's settings file.
#[derive(Debug, Clone, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Run {
    /// Which of the model's weight files: f32, fp16, int8, q4 …, safetensors [default: the most
    /// exact one]
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,

    /// What runs the model [default: auto]
    #[arg(long, value_parser = choices::<BackendChoice>())]
    backend: Option<BackendChoice>,

    /// Arithmetic of the linear layers on the native engine; the other backends compute as the file
    /// says [default: auto]
    #[arg(long, value_parser = precisions())]
    precision: Option<Precision>,

    /// How a text's tokens become one vector [default: as the model's files say, else as is known of its
    /// family, else a guess that is told]
    #[arg(long, value_parser = choices::<Pooling>())]
    pooling: Option<Pooling>,

    /// Which of the graph's outputs is the embedding, where it has several
    #[arg(long, value_name = "NAME")]
    output_name: Option<String>,

    /// Number of threads [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(THREADS))]
    #[serde(default, deserialize_with = "threads")]
    threads: Option<u16>,
}

/// How many threads a model may run on.
const THREADS: RangeInclusive<i64> = 1..=1024;

fn threads<'de, D: Deserializer<'de>>(value: D) -> Result<Option<u16>, D::Error> {
    let threads = u16::deserialize(value)?;
    if !THREADS.contains(&threads.into()) {
        let (least, most) = THREADS.into_inner();
        let message = format!("threads: {threads} is not between {least} and {most}");
        return Err(D::Error::custom(message));
    }
    Ok(Some(threads))
}

impl Run {
    /// What this leaves open is as `other` says.
    pub(crate) fn or(&self, other: &Self) -> Self {
        Self {
            variant: self.variant.clone().or_else(|| other.variant.clone()),
            backend: self.backend.or(other.backend),
            precision: self.precision.or(other.precision),
            pooling: self.pooling.or(other.pooling),
            output_name: self
                .output_name
                .clone()
                .or_else(|| other.output_name.clone()),
            threads: self.threads.or(other.threads),
        }
    }

    /// Has the builder's model run so.
    pub(crate) fn apply(&self, mut builder: EmbedderBuilder) -> EmbedderBuilder {
        if let Some(backend) = self.backend {
            builder = builder.backend(backend);
        }
        if let Some(precision) = self.precision {
            builder = builder.precision(precision);
        }
        if let Some(variant) = &self.variant {
            builder = builder.variant(variant);
        }
        if let Some(pooling) = self.pooling {
            builder = builder.pooling(pooling);
        }
        if let Some(output) = &self.output_name {
            builder = builder.output(output);
        }
        if let Some(threads) = self.threads {
            builder = builder.threads(usize::from(threads));
        }
        builder
    }
}

impl RunArgs {
    /// A builder with the settings for ONNX Runtime, to which [`Run`] is to be applied.
    pub(crate) fn onnxruntime_builder(&self) -> Result<EmbedderBuilder, CliError> {
        Ok(Embedder::builder().onnxruntime(self.onnxruntime.config()?))
    }
}

impl ModelArgs {
    /// Number of threads that a model runs on.
    pub(crate) fn threads(&self) -> usize {
        self.run.run.threads.map_or_else(
            || std::thread::available_parallelism().map_or(1, usize::from),
            usize::from,
        )
    }

    /// Whether the user named a model.
    pub(crate) fn names_a_model(&self) -> bool {
        self.model.is_some()
    }

    /// The model's files and the weights that it is loaded from.
    pub(crate) fn files(&self) -> Result<(ModelFiles, Weights), CliError> {
        let files = ModelFiles::find(self.model.as_deref())?;
        let weights = files.weights(self.run.run.variant.as_deref())?;
        Ok((files, weights))
    }

    /// ONNX Runtime's library, where the user named it.
    pub(crate) fn onnxruntime_library(&self) -> Result<Option<PathBuf>, CliError> {
        Ok(self.run.onnxruntime.config()?.library)
    }

    /// A builder of the model.
    pub(crate) fn builder(&self) -> Result<EmbedderBuilder, CliError> {
        let builder = self.run.run.apply(self.run.onnxruntime_builder()?);
        Ok(match &self.model {
            Some(model) => builder.model(model),
            None => builder,
        })
    }

    /// Loads the model, and says which one it is where the user didn't.
    pub(crate) fn load(&self) -> Result<Embedder, CliError> {
        self.load_with(|builder| builder)
    }

    /// As [`Self::load`], with more options.
    pub(crate) fn load_with(
        &self,
        more: impl FnOnce(EmbedderBuilder) -> EmbedderBuilder,
    ) -> Result<Embedder, CliError> {
        let embedder = more(self.builder()?).build()?;
        self.tell(embedder.model());
        Ok(embedder)
    }

    /// Says which model it is where the user didn't.
    pub(crate) fn tell(&self, model: &str) {
        if self.model.is_none() {
            message(format_args!(
                "model: {model} (no --model given; vectors of different models must not be mixed)"
            ));
        }
    }
}

/// How texts become vectors.
#[derive(Debug, Args)]
#[command(next_help_heading = "Vectors")]
pub(crate) struct VectorArgs {
    /// What the texts are for: documents to be found, or queries to find them with [default: the
    /// model's default prompt where it has one, else document]
    #[arg(long = "as", value_parser = choices::<Role>(), value_name = "ROLE")]
    role: Option<Role>,

    /// The task that the queries are for, in your own words (implies --as query)
    #[arg(long, value_name = "TASK")]
    instruction: Option<String>,

    /// Keep only the first N values of each vector, then normalise again; `models show` says which N a
    /// model was trained for
    #[arg(long, value_name = "N")]
    dim: Option<usize>,

    /// Leave the vectors' length as the model makes it
    #[arg(long)]
    no_normalize: bool,

    /// Longest text in tokens [default: the model's limit]
    #[arg(long, value_name = "N")]
    max_tokens: Option<usize>,

    /// What to do with longer texts
    #[arg(
        long,
        value_parser = choices::<OnLong>(),
        default_value_t = OnLong::Truncate,
        value_name = "WHAT"
    )]
    on_long: OnLong,
}

impl VectorArgs {
    pub(crate) fn options(
        &self,
        embedder: &Embedder,
        encoding: Encoding,
    ) -> Result<EmbedOptions, CliError> {
        let prompt = Prompt::of(self.role, self.instruction.clone()).map_err(|_| {
            let message = "--instruction is for queries, and --as document for documents";
            CliError::Usage(message.to_owned())
        })?;
        if self.role == Some(Role::Query)
            && self.instruction.is_none()
            && !embedder.has_query_prompt()
        {
            message(format_args!(
                "warning: {} has no query prompt: queries are embedded as they are",
                embedder.model()
            ));
        }
        Ok(EmbedOptions {
            prompt,
            dimension: self.dim,
            normalize: !self.no_normalize,
            encoding,
            max_tokens: self.max_tokens,
            on_long: self.on_long,
        })
    }
}

/// Tells of texts whose end was not seen.
pub(crate) fn report_truncated(count: usize, limit: usize) {
    if count > 0 {
        message(format_args!(
            "warning: {count} {} longer than {limit} tokens: the end was cut off",
            if count == 1 { "text was" } else { "texts were" }
        ));
    }
}

/// The limit that texts are cut at.
pub(crate) fn limit(embedder: &Embedder, options: &EmbedOptions) -> usize {
    options.max_tokens.unwrap_or(embedder.max_tokens())
}

/// Errors of the arguments rather than of the work: exit status 2.
pub(crate) fn is_usage(error: &EmbedError) -> bool {
    if let EmbedError::Store(error) = error {
        return error.is_usage();
    }
    matches!(
        error,
        EmbedError::Dimension { .. }
            | EmbedError::TokenLimit { .. }
            | EmbedError::UnknownPrompt { .. }
            | EmbedError::Precision { .. }
            | EmbedError::NoInstruction
            | EmbedError::InstructionForDocuments
            | EmbedError::Environment { .. }
            | EmbedError::ModelNotFound { .. }
            | EmbedError::ModelNotNamed { .. }
            | EmbedError::UnknownVariant { .. }
            | EmbedError::NoWeights { .. }
            | EmbedError::OnnxRuntimeConfig { .. }
            | EmbedError::OnnxRuntime(
                OnnxRuntimeError::UnknownProvider { .. } | OnnxRuntimeError::ProviderOption { .. }
            )
    )
}
