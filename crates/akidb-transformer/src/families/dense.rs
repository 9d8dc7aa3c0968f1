//! Layers behind the pooling, as sentence-transformers stores them: a directory with a config.json and
//! the weights of one layer.

use std::path::Path;

use akidb_onnx::safetensors::SafetensorsModel;
use akidb_onnx::{Error, ErrorKind, parse_json, read_small};
use serde::Deserialize;

use super::checks::{need, shaped, unsupported};
use crate::config::MAX_CONFIG_BYTES;
use crate::transformer::{Dense, DenseActivation};
use crate::weights::{Linear, LinearWeight};

#[derive(Deserialize)]
struct ConfigJson {
    in_features: Option<usize>,
    out_features: Option<usize>,
    bias: Option<bool>,
    activation_function: Option<String>,
}

/// Reads the `Dense` module in `directory`.
///
/// # Errors
/// When a file is missing or broken, the activation is unknown, or the weights are none in safetensors
/// or of another shape than config.json says.
pub fn dense_from_safetensors(directory: &Path) -> Result<Dense, Error> {
    read(directory).map_err(|e| e.at(directory))
}

fn read(directory: &Path) -> Result<Dense, Error> {
    let json = read_small(&directory.join("config.json"), MAX_CONFIG_BYTES)?;
    let json: ConfigJson = parse_json(&json).map_err(ErrorKind::Json)?;
    let (k, n) = (
        need("in_features", json.in_features)?,
        need("out_features", json.out_features)?,
    );
    let function = json.activation_function.as_deref();
    // As sentence-transformers takes it where nothing is said.
    let function = function.unwrap_or("Tanh");
    let activation = match function.rsplit('.').next().unwrap_or_default() {
        "Identity" => DenseActivation::Identity,
        "Tanh" => DenseActivation::Tanh,
        _ => return Err(unsupported("activation_function", function)),
    };
    let tensors = SafetensorsModel::open(directory)?;
    let weight = shaped(tensors.tensor("linear.weight")?, &[n, k])?;
    let linear = Linear::new(LinearWeight::OutIn(weight))?;
    let linear = match json.bias.unwrap_or(true) {
        true => linear.with_bias(shaped(tensors.tensor("linear.bias")?, &[n])?)?,
        false if tensors.has("linear.bias") => {
            let why = "is there, but config.json says that there is none";
            return Err(Error::tensor("linear.bias", why.to_owned()));
        }
        false => linear,
    };
    Ok(Dense { linear, activation })
}
