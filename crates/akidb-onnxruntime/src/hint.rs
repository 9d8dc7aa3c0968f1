//! What can be done about an error.

use crate::error::{LibraryProblem, OLDEST, OnnxRuntimeError};
use crate::provider::Provider;

impl OnnxRuntimeError {
    /// What the caller can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoLibrary { .. } => format!(
                "install one (pip install onnxruntime, in an active virtual environment), or name \
                 one of version {OLDEST} or newer with --ort-library or ORT_DYLIB_PATH"
            ),
            Self::Library(error) => match &error.problem {
                LibraryProblem::AnotherIsOpen { .. } => "use one library in one process".to_owned(),
                LibraryProblem::Architecture { .. } => format!(
                    "install the build for {}, for example with pip install onnxruntime",
                    std::env::consts::ARCH
                ),
                _ => format!(
                    "name the library file of ONNX Runtime {OLDEST} or newer; pip install \
                     onnxruntime puts one into onnxruntime/capi"
                ),
            },
            Self::UnknownProvider { .. } => {
                format!("there are: auto, {}", Provider::NAMES.join(", "))
            }
            Self::ProviderMissing {
                provider,
                available,
                ..
            } => {
                let install = match *provider {
                    "coreml" => "; the onnxruntime package for macOS has it",
                    "cuda" | "tensorrt" => "; the onnxruntime-gpu package has it",
                    "directml" => "; the onnxruntime-directml package has it",
                    "openvino" => "; the onnxruntime-openvino package has it",
                    _ => "",
                };
                format!("the library has: {}{install}", available.join(", "))
            }
            Self::ProviderFailed { .. } => {
                "check its driver and libraries, or take another provider".to_owned()
            }
            Self::ProviderOption { .. } | Self::Model(_) => return None,
        })
    }
}
