//! Arguments for ONNX Runtime.

use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;

use akidb_embedding::EmbedError;
use akidb_embedding::onnxruntime::{
    OnnxRuntimeConfig, OnnxRuntimeError, Optimization, Provider, ProviderChoice,
};

use super::choices::choices;
use crate::error::CliError;

/// Which ONNX Runtime, and what runs a model inside it.
#[derive(Debug, Args)]
pub(crate) struct OnnxRuntimeArgs {
    /// ONNX Runtime's library, or the directory that holds it [default: ORT_DYLIB_PATH, else looked
    /// for in the system and in the active Python environment]
    #[arg(long, value_name = "PATH", help_heading = "ONNX Runtime")]
    ort_library: Option<PathBuf>,

    /// What runs the model inside ONNX Runtime; one that is named means --backend onnxruntime
    /// [default: CoreML on a Mac, CUDA where the library has it, else the CPU]
    #[arg(long, value_name = "NAME", value_parser = providers(), help_heading = "ONNX Runtime")]
    provider: Option<String>,

    /// An option of the provider, under its name in ONNX Runtime; may be given several times
    #[arg(long, value_name = "KEY=VALUE", requires = "provider", value_parser = key_and_value, help_heading = "ONNX Runtime")]
    provider_option: Vec<(String, String)>,

    /// Give the memory of each run back after it
    #[arg(long, help_heading = "ONNX Runtime")]
    ort_no_arena: bool,

    /// Keep a plan of the memory for each shape, for texts that have one length
    #[arg(long, help_heading = "ONNX Runtime")]
    ort_memory_pattern: bool,

    /// How much ONNX Runtime rewrites the graph [default: all]
    #[arg(long, value_parser = choices::<Optimization>(), value_name = "LEVEL", help_heading = "ONNX Runtime")]
    ort_optimization: Option<Optimization>,

    /// A JSON file with settings for ONNX Runtime; flags come before it
    #[arg(long, value_name = "FILE", help_heading = "ONNX Runtime")]
    ort_config: Option<PathBuf>,
}

fn providers() -> PossibleValuesParser {
    PossibleValuesParser::new(["auto"].into_iter().chain(Provider::NAMES))
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("it must be KEY=VALUE".to_owned()),
    }
}

impl OnnxRuntimeArgs {
    /// What the file says, and over it what the flags say.
    pub(crate) fn config(&self) -> Result<OnnxRuntimeConfig, CliError> {
        let file = self.ort_config.as_deref();
        let mut config =
            file.map_or_else(|| Ok(OnnxRuntimeConfig::default()), OnnxRuntimeConfig::read)?;
        if let Some(library) = &self.ort_library {
            config.library = Some(library.clone());
        }
        if let Some(name) = &self.provider {
            config.provider = self.choice(name).map_err(EmbedError::OnnxRuntime)?;
        }
        config.session.arena &= !self.ort_no_arena;
        config.session.memory_pattern |= self.ort_memory_pattern;
        if let Some(level) = self.ort_optimization {
            config.session.optimization = level;
        }
        Ok(config)
    }

    /// Whether a provider of CoreML is named.
    pub(crate) fn names_coreml(&self) -> bool {
        self.provider.as_deref() == Some("coreml")
    }

    fn choice(&self, name: &str) -> Result<ProviderChoice, OnnxRuntimeError> {
        let options = self.provider_option.iter().cloned();
        match name {
            "auto" if self.provider_option.is_empty() => Ok(ProviderChoice::Auto),
            name => Provider::new(name, options).map(ProviderChoice::Named),
        }
    }
}
