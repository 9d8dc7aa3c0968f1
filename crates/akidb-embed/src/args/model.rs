//! Which model, and how it is run.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::Args;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use akidb_embedding::files::{ModelFiles, Weights};
use akidb_embedding::{
    BackendChoice, Embedder, EmbedderBuilder, Pooling, Precision, default_model, model_store,
};

use super::choices::{choices, precisions};
use super::onnxruntime::OnnxRuntimeArgs;
use crate::error::CliError;
use crate::message::message;

/// The model, as a flag.
#[derive(Debug, Args)]
pub(crate) struct ModelFlag {
    /// Model id, model directory, or .onnx or .safetensors file [default: AKIDB_MODEL, else what
    /// `models default` has set, else the built-in akidb-mini]
    #[arg(long, short, value_name = "MODEL")]
    model: Option<String>,
}

/// The model, as an argument or as a flag.
#[derive(Debug, Args)]
pub(crate) struct ModelArgument {
    /// Model id, model directory, or .onnx or .safetensors file [default: AKIDB_MODEL, else what
    /// `models default` has set, else the built-in akidb-mini]
    #[arg(value_name = "MODEL", conflicts_with = "model")]
    named: Option<String>,

    /// The same, as other commands take it
    #[arg(long, short, value_name = "MODEL")]
    model: Option<String>,
}

impl ModelFlag {
    pub(crate) fn with<'a>(&'a self, run: &'a RunArgs) -> ChosenModel<'a> {
        let model = self.model.as_deref();
        ChosenModel { model, run }
    }
}

impl ModelArgument {
    /// What was named.
    pub(crate) fn get(&self) -> Option<&str> {
        self.named.as_deref().or(self.model.as_deref())
    }

    pub(crate) fn with<'a>(&'a self, run: &'a RunArgs) -> ChosenModel<'a> {
        let model = self.get();
        ChosenModel { model, run }
    }

    /// Finds the model.
    pub(crate) fn find(&self) -> Result<ModelFiles, CliError> {
        Ok(ModelFiles::find(self.get())?)
    }
}

/// A model of the store or the hub, as an argument or as a flag.
#[derive(Debug, Args)]
pub(crate) struct ModelId {
    /// Short name (`models list` shows them), or id such as owner/name
    #[arg(
        value_name = "ID",
        conflicts_with = "model",
        required_unless_present = "model"
    )]
    named: Option<String>,

    /// The same, as other commands take it
    #[arg(long, short, value_name = "ID")]
    model: Option<String>,
}

impl ModelId {
    pub(crate) fn get(&self) -> &str {
        let given = self.named.as_deref().or(self.model.as_deref());
        // One of the two is required.
        given.unwrap_or_default()
    }
}

/// How a model is run.
#[derive(Debug, Args)]
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
    #[arg(long, value_name = "NAME", help_heading = "How the model is run")]
    variant: Option<String>,

    /// What runs the model [default: auto]
    #[arg(long, value_parser = choices::<BackendChoice>(), help_heading = "How the model is run")]
    backend: Option<BackendChoice>,

    /// Arithmetic of the linear layers on the native engine; the other backends compute as the file
    /// says [default: auto]
    #[arg(long, value_parser = precisions(), help_heading = "How the model is run")]
    precision: Option<Precision>,

    /// How a text's tokens become one vector [default: as the model's files say, else as is known of its
    /// family, else a guess that is told]
    #[arg(long, value_parser = choices::<Pooling>(), help_heading = "How the model is run")]
    pooling: Option<Pooling>,

    /// Which of the graph's outputs is the embedding, where it has several
    #[arg(long, value_name = "NAME", help_heading = "How the model is run")]
    output_name: Option<String>,

    /// Number of threads [default: one per core]
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u16).range(THREADS),
        help_heading = "How the model is run"
    )]
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

    /// ONNX Runtime's library, where the user named it.
    pub(crate) fn onnxruntime_library(&self) -> Result<Option<PathBuf>, CliError> {
        Ok(self.onnxruntime.config()?.library)
    }

    /// Whether CoreML is what the user wants to know of.
    pub(crate) fn names_coreml(&self) -> bool {
        self.onnxruntime.names_coreml()
    }
}

/// A model, and how it is run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChosenModel<'a> {
    model: Option<&'a str>,
    run: &'a RunArgs,
}

impl ChosenModel<'_> {
    /// Number of threads that the model runs on.
    pub(crate) fn threads(self) -> usize {
        self.run.run.threads.map_or_else(
            || std::thread::available_parallelism().map_or(1, usize::from),
            usize::from,
        )
    }

    /// What the user calls the model; nothing where it was not named.
    pub(crate) fn name(self) -> Option<String> {
        self.model.map(str::to_owned)
    }

    /// The model's files and the weights that it is loaded from.
    pub(crate) fn files(self) -> Result<(ModelFiles, Weights), CliError> {
        let files = ModelFiles::find(self.model)?;
        let weights = files.weights(self.run.run.variant.as_deref())?;
        Ok((files, weights))
    }

    /// A builder of the model.
    pub(crate) fn builder(self) -> Result<EmbedderBuilder, CliError> {
        let builder = self.run.run.apply(self.run.onnxruntime_builder()?);
        Ok(match self.model {
            Some(model) => builder.model(model),
            None => builder,
        })
    }

    /// Loads the model, and says which one it is where the user may have meant another.
    pub(crate) fn load(self) -> Result<Embedder, CliError> {
        self.load_with(|builder| builder)
    }

    /// As [`Self::load`], with more options.
    pub(crate) fn load_with(
        self,
        more: impl FnOnce(EmbedderBuilder) -> EmbedderBuilder,
    ) -> Result<Embedder, CliError> {
        let embedder = more(self.builder()?).build()?;
        self.tell()?;
        Ok(embedder)
    }

    /// Says that the built-in model is meant where others are installed and none was named.
    pub(crate) fn tell(self) -> Result<(), CliError> {
        if self.model.is_some() || default_model()?.is_some() {
            return Ok(());
        }
        let installed = model_store()?.installed()?;
        if let Some(first) = installed.first() {
            message(format_args!(
                "model: akidb-mini, the built-in one, though others are installed; -m MODEL takes \
                 another, `akidb-embed models default {}` for good",
                first.id
            ));
        }
        Ok(())
    }
}
