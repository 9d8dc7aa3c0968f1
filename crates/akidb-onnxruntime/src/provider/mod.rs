//! What runs a graph inside ONNX Runtime.

mod options;
mod plugin;
mod register;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::OnnxRuntimeError;
use crate::library::Library;

pub use options::{
    ArenaExtendStrategy, CoreMlOptions, CudaOptions, CudnnConvAlgoSearch, DeviceFilter,
    DirectMlOptions, MlComputeUnits, ModelFormat, OpenVinoOptions, PerformancePreference,
    PluginOptions, SpecializationStrategy, TensorRtOptions, XnnpackOptions,
};
pub(crate) use register::register;

/// An execution provider and its options.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Provider {
    /// ONNX Runtime's own kernels.
    Cpu,
    /// Apple's GPU and Neural Engine.
    CoreMl(CoreMlOptions),
    /// NVIDIA's GPUs.
    Cuda(CudaOptions),
    /// NVIDIA's GPUs, with engines built for the model.
    TensorRt(Box<TensorRtOptions>),
    /// GPUs and NPUs on Windows.
    DirectMl(DirectMlOptions),
    /// Intel's processors, GPUs and NPUs.
    OpenVino(OpenVinoOptions),
    /// Google's kernels for CPUs.
    Xnnpack(XnnpackOptions),
    /// A provider in a library of its own.
    Plugin(PluginOptions),
}

/// Which provider runs a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ProviderChoice {
    /// The first of these that the library has and that can be started: CoreML on a Mac (all
    /// processors, ML Program), CUDA, DirectML on Windows, else the CPU. A Mac's library without
    /// CoreML is told, and what was there and could not be started.
    #[default]
    Auto,
    /// This one or an error.
    Named(Provider),
}

impl Provider {
    /// The names that [`Self::new`] takes.
    pub const NAMES: [&'static str; 8] = [
        "cpu", "coreml", "cuda", "tensorrt", "directml", "openvino", "xnnpack", "plugin",
    ];

    /// The provider called `name`, with `options` as their names and values.
    ///
    /// ```
    /// use akidb_onnxruntime::{MlComputeUnits, Provider};
    ///
    /// let provider = Provider::new("coreml", [("ml_compute_units", "cpu_and_gpu")])?;
    /// let Provider::CoreMl(options) = provider else { panic!() };
    /// assert_eq!(options.ml_compute_units, Some(MlComputeUnits::CpuAndGpu));
    /// assert!(Provider::new("coreml", [("gpu", "1")]).is_err());
    /// # Ok::<(), akidb_onnxruntime::OnnxRuntimeError>(())
    /// ```
    ///
    /// # Errors
    /// When there is no such provider, it has no such option, or the value is none of its values.
    pub fn new<K, V>(
        name: &str,
        options: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, OnnxRuntimeError>
    where
        K: Into<String>,
        V: Into<String>,
    {
        // A plugin's own options are texts, whatever they look like.
        let value = |text: String| match serde_json::from_str(&text) {
            Ok(value @ (Value::Bool(_) | Value::Number(_) | Value::String(_)))
                if name != "plugin" =>
            {
                value
            }
            _ => Value::String(text),
        };
        let pairs = options.into_iter();
        let options = pairs.map(|(key, text)| (key.into(), value(text.into())));
        Self::from_json(name, options.collect())
    }

    /// The provider called `name`, with `options` as a JSON object has them.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn from_json(name: &str, options: Map<String, Value>) -> Result<Self, OnnxRuntimeError> {
        match name {
            "cpu" if options.is_empty() => Ok(Self::Cpu),
            "cpu" => Err(OnnxRuntimeError::ProviderOption {
                provider: "cpu",
                message: "it takes none".to_owned(),
            }),
            "coreml" => read("coreml", options).map(Self::CoreMl),
            "cuda" => read("cuda", options).map(Self::Cuda),
            "tensorrt" => read("tensorrt", options).map(|o| Self::TensorRt(Box::new(o))),
            "directml" => read("directml", options).map(Self::DirectMl),
            "openvino" => read("openvino", options).map(Self::OpenVino),
            "xnnpack" => read("xnnpack", options).map(Self::Xnnpack),
            "plugin" => {
                let text = |value: Value| match value {
                    Value::Bool(_) | Value::Number(_) => Value::String(value.to_string()),
                    other => other,
                };
                let texts = options.into_iter().map(|(key, v)| (key, text(v)));
                read("plugin", texts.collect()).map(Self::Plugin)
            }
            _ => Err(OnnxRuntimeError::UnknownProvider {
                name: name.to_owned(),
            }),
        }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::CoreMl(_) => "coreml",
            Self::Cuda(_) => "cuda",
            Self::TensorRt(_) => "tensorrt",
            Self::DirectMl(_) => "directml",
            Self::OpenVino(_) => "openvino",
            Self::Xnnpack(_) => "xnnpack",
            Self::Plugin(_) => "plugin",
        }
    }

    /// What a model runs on, for the answer.
    pub(crate) fn device(&self) -> String {
        match self {
            Self::Plugin(plugin) => format!("plugin {}", plugin.short_name()),
            other => other.name().to_owned(),
        }
    }
}

impl ProviderChoice {
    /// What `load` makes with the first provider that it can, and why that is not the preferred one
    /// where it isn't.
    pub(crate) fn first<T>(
        &self,
        library: &Library,
        load: impl Fn(&Provider) -> Result<T, OnnxRuntimeError>,
    ) -> Result<(T, Option<String>), OnnxRuntimeError> {
        let available = library.providers();
        let mut candidates = match self {
            Self::Named(provider) => vec![provider.clone()],
            Self::Auto => automatic(),
        };
        if *self == Self::Auto {
            candidates.retain(|provider| available.contains(&provider.name()));
        }
        let last = candidates.pop().unwrap_or(Provider::Cpu);
        let mut failures = Vec::new();
        // The provider that this system's libraries have.
        if cfg!(target_os = "macos") && *self == Self::Auto && !available.contains(&"coreml") {
            failures.push("coreml: not in the library".to_owned());
        }
        for provider in &candidates {
            match load(provider) {
                Ok(loaded) => return Ok((loaded, fallback(provider, &failures))),
                Err(error) => failures.push(format!("{}: {error}", provider.name())),
            }
        }
        Ok((load(&last)?, fallback(&last, &failures)))
    }
}

fn fallback(provider: &Provider, failures: &[String]) -> Option<String> {
    (!failures.is_empty()).then(|| {
        format!(
            "the {} provider of ONNX Runtime runs this model, because others can't ({})",
            provider.name(),
            failures.join("; ")
        )
    })
}

fn automatic() -> Vec<Provider> {
    let mut providers = Vec::new();
    if cfg!(target_os = "macos") {
        providers.push(Provider::CoreMl(CoreMlOptions {
            ml_compute_units: Some(MlComputeUnits::All),
            model_format: Some(ModelFormat::MlProgram),
            ..CoreMlOptions::default()
        }));
    }
    providers.push(Provider::Cuda(CudaOptions::default()));
    if cfg!(target_os = "windows") {
        providers.push(Provider::DirectMl(DirectMlOptions::default()));
    }
    providers.push(Provider::Cpu);
    providers
}

/// Options by their names; unknown ones are refused.
fn read<T: DeserializeOwned>(
    provider: &'static str,
    options: Map<String, Value>,
) -> Result<T, OnnxRuntimeError> {
    serde_json::from_value(Value::Object(options)).map_err(|error| {
        OnnxRuntimeError::ProviderOption {
            provider,
            message: error.to_string(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str, options: &[(&str, &str)]) -> String {
        let options = options.iter().copied();
        Provider::new(name, options).unwrap_err().to_string()
    }

    #[test]
    fn every_name_makes_its_provider() {
        for name in Provider::NAMES {
            let library = (name == "plugin").then_some(("library", "libx.so"));
            assert_eq!(Provider::new(name, library).unwrap().name(), name);
        }
        assert!(refused("metal", &[]).contains("\"metal\""));
    }

    #[test]
    fn options_are_typed() {
        let provider = Provider::new(
            "cuda",
            [
                ("device_id", "1"),
                ("use_tf32", "false"),
                ("arena_extend_strategy", "same_as_requested"),
            ],
        );
        let Ok(Provider::Cuda(options)) = provider else {
            panic!("{provider:?}");
        };
        assert_eq!(
            options.entries(),
            [
                ("device_id", "1".to_owned()),
                ("arena_extend_strategy", "kSameAsRequested".to_owned()),
                ("use_tf32", "0".to_owned()),
            ]
        );
        for (name, key, value, word) in [
            ("coreml", "units", "all", "ml_compute_units"),
            ("coreml", "ml_compute_units", "gpu", "cpu_and_gpu"),
            ("cuda", "device_id", "first", "first"),
            ("cuda", "use_tf32", "2", "boolean"),
            ("cpu", "threads", "2", "none"),
            ("plugin", "device", "gpu", "library"),
        ] {
            let error = refused(name, &[(key, value)]);
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn openvino_has_words_for_switches_and_coreml_names_of_its_own() {
        let openvino = OpenVinoOptions {
            enable_qdq_optimizer: Some(true),
            ..OpenVinoOptions::default()
        };
        let entries = [("enable_qdq_optimizer", "true".to_owned())];
        assert_eq!(openvino.entries(), entries);
        let Some(Provider::CoreMl(coreml)) = Provider::new(
            "coreml",
            [
                ("model_format", "MLProgram"),
                ("model_cache_directory", "\"7\""),
            ],
        )
        .ok() else {
            panic!("not CoreML");
        };
        let entries = [
            ("ModelFormat", "MLProgram".to_owned()),
            ("ModelCacheDirectory", "7".to_owned()),
        ];
        assert_eq!(coreml.entries(), entries);
    }

    #[test]
    fn a_plugin_has_options_of_its_own() {
        let options = [("library", "libx.so"), ("device", "gpu"), ("num", "1")];
        let Ok(Provider::Plugin(plugin)) = Provider::new("plugin", options) else {
            panic!("no plugin");
        };
        assert_eq!(plugin.device, Some(DeviceFilter::Gpu));
        assert_eq!(plugin.options["num"], "1");
        assert_eq!(plugin.options.len(), 1);
        assert_eq!(Provider::Plugin(plugin).device(), "plugin x");
    }
}
