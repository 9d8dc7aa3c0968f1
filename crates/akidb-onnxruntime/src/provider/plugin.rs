//! Providers in libraries of their own.

use std::sync::PoisonError;

use ort::device::Device;
use ort::environment::Environment;
use ort::memory::DeviceType;
use ort::session::builder::SessionBuilder;

use super::{DeviceFilter, PluginOptions};
use crate::error::OnnxRuntimeError;
use crate::library::Library;

/// Longest name of a provider that can be given options.
const MAX_NAME_BYTES: usize = 126;

impl PluginOptions {
    /// The library's name, such as `onnxruntime_ggml`.
    pub(crate) fn short_name(&self) -> String {
        let stem = self.library.file_stem().unwrap_or_default();
        let stem = stem.to_string_lossy();
        let name = stem.strip_prefix("lib").unwrap_or(&stem);
        name.chars().take(40).collect()
    }
}

/// Opens the plugin, unless it is open, and adds its devices to a session.
pub(super) fn register(
    builder: SessionBuilder,
    options: &PluginOptions,
    library: &Library,
) -> Result<SessionBuilder, OnnxRuntimeError> {
    let failed = |message: String| OnnxRuntimeError::ProviderFailed {
        provider: "plugin",
        message,
    };
    let providers = open(options, library).map_err(failed)?;
    let devices: Vec<Device<'_>> = library
        .environment
        .devices()
        .filter(|device| provider_of(device).is_some_and(|name| providers.contains(&name)))
        .filter(|device| fits(device, options.device))
        .collect();
    if devices.is_empty() {
        return Err(failed(format!(
            "{} finds no device that it can use on this machine",
            options.library.display()
        )));
    }
    let mut entries = Vec::new();
    for provider in &providers {
        for (key, value) in &options.options {
            entries.push((format!("{provider}.{key}"), value.clone()));
        }
    }
    builder
        .with_devices(devices, Some(&entries))
        .map_err(|error| failed(error.to_string()))
}

/// The names of the providers of an open plugin.
fn open(options: &PluginOptions, library: &Library) -> Result<Vec<String>, String> {
    let path = options
        .library
        .canonicalize()
        .map_err(|error| format!("{}: {error}", options.library.display()))?;
    let mut opened = library
        .plugins
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if let Some((_, providers)) = opened.iter().find(|(other, _)| *other == path) {
        return Ok(providers.clone());
    }
    let environment = &library.environment;
    let before = providers(environment);
    environment
        .register_ep_library(registration(options, opened.len()), &path)
        .map_err(|error| error.to_string())?;
    let mut added = providers(environment);
    added.retain(|name| !before.contains(name));
    opened.push((path, added.clone()));
    Ok(added)
}

/// The name that the plugin is opened under, which some give to their provider: the library's.
fn registration(options: &PluginOptions, index: usize) -> String {
    let name = options.short_name();
    match index {
        0 => name,
        // No two plugins may have one name.
        _ => format!("{name}-{index}"),
    }
}

fn providers(environment: &Environment) -> Vec<String> {
    let mut names: Vec<String> = environment
        .devices()
        .filter_map(|d| provider_of(&d))
        .collect();
    names.sort();
    names.dedup();
    names
}

fn provider_of(device: &Device<'_>) -> Option<String> {
    let name = device.ep().ok()?;
    (name.len() <= MAX_NAME_BYTES).then(|| name.to_owned())
}

fn fits(device: &Device<'_>, wanted: Option<DeviceFilter>) -> bool {
    let kind = device.hardware_device().ty();
    match wanted {
        None | Some(DeviceFilter::Any) => true,
        Some(DeviceFilter::Cpu) => kind == DeviceType::CPU,
        Some(DeviceFilter::Gpu) => kind == DeviceType::GPU,
        Some(DeviceFilter::Npu) => kind == DeviceType::NPU,
    }
}
