//! From a provider's options to ONNX Runtime's.

use ort::ep::{self, ArbitrarilyConfigurableExecutionProvider, ExecutionProvider, directml};
use ort::session::builder::SessionBuilder;

use super::{DeviceFilter, DirectMlOptions, PerformancePreference, Provider};
use crate::error::OnnxRuntimeError;
use crate::library::Library;

/// Adds `provider` to a session; what it doesn't take runs on the CPU.
pub(crate) fn register(
    mut builder: SessionBuilder,
    provider: &Provider,
    library: &Library,
) -> Result<SessionBuilder, OnnxRuntimeError> {
    if let Provider::Plugin(options) = provider {
        return super::plugin::register(builder, options, library);
    }
    let name = provider.name();
    let available = library.providers();
    if !available.contains(&name) {
        return Err(OnnxRuntimeError::ProviderMissing {
            provider: name,
            library: library.path().to_owned(),
            available,
        });
    }
    let registered = match provider {
        Provider::Cpu | Provider::Plugin(_) => Ok(()),
        Provider::CoreMl(o) => {
            configured(ep::CoreML::default(), name, o.entries())?.register(&mut builder)
        }
        Provider::Cuda(o) => {
            configured(ep::CUDA::default(), name, o.entries())?.register(&mut builder)
        }
        Provider::TensorRt(o) => {
            configured(ep::TensorRT::default(), name, o.entries())?.register(&mut builder)
        }
        Provider::OpenVino(o) => {
            configured(ep::OpenVINO::default(), name, o.entries())?.register(&mut builder)
        }
        Provider::Xnnpack(o) => {
            configured(ep::XNNPACK::default(), name, o.entries())?.register(&mut builder)
        }
        Provider::DirectMl(o) => directml_of(o).register(&mut builder),
    };
    match registered {
        Ok(()) => Ok(builder),
        Err(error) => Err(OnnxRuntimeError::ProviderFailed {
            provider: name,
            message: error.to_string(),
        }),
    }
}

fn configured<E: ArbitrarilyConfigurableExecutionProvider>(
    mut provider: E,
    name: &'static str,
    entries: Vec<(&'static str, String)>,
) -> Result<E, OnnxRuntimeError> {
    for (key, value) in entries {
        // It goes to C as a string that ends at the first of these.
        if value.contains('\0') {
            return Err(OnnxRuntimeError::ProviderOption {
                provider: name,
                message: format!("the value of {key} has a NUL character"),
            });
        }
        provider = provider.with_arbitrary_config(key, value);
    }
    Ok(provider)
}

fn directml_of(options: &DirectMlOptions) -> ep::DirectML {
    let mut provider = ep::DirectML::default();
    if let Some(id) = options.device_id {
        provider = provider.with_device_id(id);
    }
    if let Some(filter) = options.device_filter {
        provider = provider.with_device_filter(match filter {
            DeviceFilter::Npu => directml::DeviceFilter::Npu,
            DeviceFilter::Any | DeviceFilter::Cpu => directml::DeviceFilter::Any,
            DeviceFilter::Gpu => directml::DeviceFilter::Gpu,
        });
    }
    if let Some(preference) = options.performance_preference {
        provider = provider.with_performance_preference(match preference {
            PerformancePreference::Default => directml::PerformancePreference::Default,
            PerformancePreference::HighPerformance => {
                directml::PerformancePreference::HighPerformance
            }
            PerformancePreference::MinimumPower => directml::PerformancePreference::MinimumPower,
        });
    }
    provider
}
