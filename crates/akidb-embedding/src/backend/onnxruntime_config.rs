//! A file of settings for ONNX Runtime.

use std::io::Read;
use std::path::{Path, PathBuf};

use akidb_onnx::{open_regular_file, parse_json};
use akidb_onnxruntime::{OnnxRuntimeError, Provider, ProviderChoice, SessionOptions};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::{ConfigError, EmbedError};

/// Longest file that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Which library, what runs a model in it, and how.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OnnxRuntimeConfig {
    /// The library, or the directory that holds it; without one it is looked for.
    pub library: Option<PathBuf>,
    /// What runs the model.
    pub provider: ProviderChoice,
    /// Settings of ONNX Runtime itself.
    pub session: SessionOptions,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Keys {
    library: Option<PathBuf>,
    provider: Option<String>,
    provider_options: Map<String, Value>,
    session: SessionOptions,
}

impl OnnxRuntimeConfig {
    /// Reads a JSON object with the keys `library`, `provider`, `provider_options` and `session`, none
    /// of which need be there. A relative path is one from the current directory.
    ///
    /// ```json
    /// {
    ///   "provider": "coreml",
    ///   "provider_options": {"ml_compute_units": "cpu_and_neural_engine"},
    ///   "session": {"arena": false, "memory_pattern": false, "optimization": "all"}
    /// }
    /// ```
    ///
    /// # Errors
    /// When the file can't be read, isn't such an object, or has a key or a value that is unknown;
    /// the error names those that are known.
    pub fn read(path: &Path) -> Result<Self, EmbedError> {
        let wrong = |source: ConfigError| EmbedError::OnnxRuntimeConfig {
            path: path.to_owned(),
            source: Box::new(source),
        };
        let mut text = String::new();
        let read =
            open_regular_file(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text));
        read.map_err(|source| EmbedError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text).map_err(wrong)
    }

    pub(crate) fn names_a_provider(&self) -> bool {
        self.provider != ProviderChoice::Auto
    }

    fn parse(text: &str) -> Result<Self, ConfigError> {
        // An array would be read as the values of the keys.
        let object: Map<String, Value> = parse_json(text.as_bytes())?;
        let Keys {
            library,
            provider,
            provider_options,
            session,
        } = serde_json::from_value(Value::Object(object))?;
        let provider = match provider.as_deref() {
            None | Some("auto") if provider_options.is_empty() => ProviderChoice::Auto,
            None | Some("auto") => {
                return Err(ConfigError::OnnxRuntime(OnnxRuntimeError::ProviderOption {
                    provider: "auto",
                    message: "options need a provider that is named".to_owned(),
                }));
            }
            Some(name) => ProviderChoice::Named(Provider::from_json(name, provider_options)?),
        };
        Ok(Self {
            library,
            provider,
            session,
        })
    }
}

#[cfg(test)]
mod tests {
    use akidb_onnxruntime::{CoreMlOptions, MlComputeUnits, Optimization};

    use super::*;

    #[test]
    fn everything_that_flags_can_say() {
        let config = OnnxRuntimeConfig::parse(
            r#"{
                "library": "lib/libonnxruntime.so",
                "provider": "coreml",
                "provider_options": {
                    "ml_compute_units": "cpu_and_gpu",
                    "model_cache_directory": "7",
                    "require_static_input_shapes": true
                },
                "session": {"arena": false, "optimization": "basic"}
            }"#,
        )
        .unwrap();
        let expected = OnnxRuntimeConfig {
            library: Some("lib/libonnxruntime.so".into()),
            provider: ProviderChoice::Named(Provider::CoreMl(CoreMlOptions {
                ml_compute_units: Some(MlComputeUnits::CpuAndGpu),
                model_cache_directory: Some("7".into()),
                require_static_input_shapes: Some(true),
                ..CoreMlOptions::default()
            })),
            session: SessionOptions {
                arena: false,
                memory_pattern: false,
                optimization: Optimization::Basic,
            },
        };
        assert_eq!(config, expected);
        let nothing = OnnxRuntimeConfig::parse("{}").unwrap();
        assert_eq!(nothing, OnnxRuntimeConfig::default());
        let plugin = r#"{"provider": "plugin",
            "provider_options": {"library": "libx.so", "device": "gpu", "layers": 7, "fast": true}}"#;
        let ProviderChoice::Named(Provider::Plugin(plugin)) =
            OnnxRuntimeConfig::parse(plugin).unwrap().provider
        else {
            panic!("no plugin");
        };
        assert_eq!(plugin.options["layers"], "7");
        assert_eq!(plugin.options["fast"], "true");
    }

    #[test]
    fn unknown_keys_name_the_known_ones() {
        for (text, words) in [
            (
                r#"{"providr": "cpu"}"#,
                &["providr", "provider", "session"][..],
            ),
            (
                r#"{"session": {"arenas": true}}"#,
                &["arenas", "memory_pattern"],
            ),
            (
                r#"{"session": {"optimization": "most"}}"#,
                &["most", "extended"],
            ),
            (
                r#"{"provider": "coreml", "provider_options": {"units": "all"}}"#,
                &["units", "ml_compute_units"],
            ),
            (r#"{"provider": "metal"}"#, &["metal"]),
            (
                r#"{"provider": "cpu", "provider_options": {"a": 1}}"#,
                &["none"],
            ),
            (r#"{"provider_options": {"a": 1}}"#, &["named"]),
            ("[]", &["sequence"]),
            ("", &["EOF"]),
        ] {
            let error = OnnxRuntimeConfig::parse(text).unwrap_err().to_string();
            for word in words {
                assert!(error.contains(word), "{word}: {error}");
            }
        }
    }
}
