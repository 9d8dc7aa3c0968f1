//! Finds an encoder in an ONNX graph, however it is spelled.
//!
//! The graph is run on a sample of texts. What follows from the texts' shape, their tokens, positions
//! and padding, is computed; what depends on weights is kept as an expression of the parts that models
//! have ([`expr`]), which the operators' rules bring to one form. So shape arithmetic needs no rules, and
//! a mask is read off its values as a function of query, key and padding. Two samples of other sizes
//! must give the same model.

mod arithmetic;
mod array;
mod assemble;
mod attention;
mod expr;
mod fused;
mod fused_attention;
mod heads;
mod known;
mod linear;
mod moves;
mod norm;
mod rotary;
mod sample;
mod scores;
mod steps;
mod tables;
mod tracer;
mod view;

use akidb_onnx::Error;
use akidb_onnx::model::OnnxModel;

use crate::transformer::{ScoreLayer, Transformer};
use sample::Sample;

pub(super) use steps::End;

/// Tokens of a long text, beyond which distances share buckets.
const LONG: usize = 257;

/// Farthest that a window is looked for: masks are computed for that many queries and keys.
const FARTHEST: usize = 640;

/// The model that the values behind `output` make, and the layers that make scores of its states, where
/// they are such.
///
/// # Errors
/// [`ErrorKind::NotRecognised`](akidb_onnx::ErrorKind::NotRecognised) when it is none of a known form.
pub(super) fn trace(
    model: &OnnxModel,
    output: &str,
    end: End,
) -> Result<(Transformer, Vec<ScoreLayer>), Error> {
    let output = (output, end);
    let steps::Traced {
        transformer: mut first,
        layers,
        reach,
    } = steps::trace(model, output, Sample::new(2, 11))?;
    let second = steps::trace(model, output, Sample::new(3, 13))?;
    assemble::check_same(&first, &second.transformer)?;
    if layers.len() != second.layers.len() {
        return Err(expr::refused("its scores depend on the number of texts"));
    }
    let mut attention = first.blocks.iter().map(|block| &block.attention);
    if attention.any(|attention| attention.relative_bias.is_some()) {
        // Distances fall into other buckets once they are long.
        let tokens = first.max_tokens.min(LONG);
        let third = steps::trace(model, output, Sample::new(2, tokens))?.transformer;
        assemble::check_same(&first, &third)?;
    } else if reach > FARTHEST {
        first.max_tokens = first.max_tokens.min(reach);
    } else if reach > 0 && reach + 2 <= first.max_tokens {
        // A window is seen by texts that are longer.
        let long = steps::trace(model, output, Sample::new(2, reach + 2))?.transformer;
        for (block, long) in first.blocks.iter_mut().zip(&long.blocks) {
            block.attention.mask = long.attention.mask;
        }
        assemble::check_same(&first, &long)?;
    }
    Ok((first, layers))
}
