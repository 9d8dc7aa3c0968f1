//! What scores are multiplied by.

use akidb_onnx::Error;
use akidb_onnx::proto::NodeProto;

use crate::graph::walk::{attribute, unknown};

/// The `scale` of ONNX Runtime's operators, where 0 means the usual one.
pub(super) fn check_contrib_scale(node: &NodeProto, head_dim: usize) -> Result<(), Error> {
    let scale = attribute(node, "scale").map(|a| a.f());
    check_scale(node, scale.filter(|&scale| scale != 0.0), head_dim)
}

/// Refuses a scale that is not the usual one.
pub(super) fn check_scale(
    node: &NodeProto,
    scale: Option<f32>,
    head_dim: usize,
) -> Result<(), Error> {
    let usual = 1.0 / (head_dim as f32).sqrt();
    let scale = scale.unwrap_or(usual);
    // Not `>`: NaN is refused.
    if (scale - usual).abs() <= 1e-3 * usual {
        Ok(())
    } else {
        let why = format!("scale is {scale}, not {usual} for heads {head_dim} wide");
        Err(unknown(node, why))
    }
}
