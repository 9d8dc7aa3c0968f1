//! What a value is, where it depends on what the model has learned.

use std::rc::Rc;

use akidb_onnx::Error;
use akidb_onnx::tensor::Tensor;

use super::array::Array;
use super::view::View;
use crate::graph::walk::not_recognised;
use crate::rotary::Rotary;
use crate::transformer::{Activation, Norm, NormKind, RelativeBias};
use crate::weights::{EmbeddingTable, Linear};

/// An expression's number; those that it is made of have lower ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id(pub(super) usize);

/// A value of the graph.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// Known elements.
    Known(Rc<Array>),
    /// A constant of the file, whose elements are read when they are needed.
    Constant(Tensor),
    /// A constant that is only read along with what it is for.
    Opaque,
    /// What is made of an expression by moving elements.
    Part(Id, View),
}

/// Scores of queries against keys, `[batch, heads, queries, keys]`.
#[derive(Debug, Clone)]
pub(super) struct Scores {
    pub(super) query: (Id, View),
    /// `[batch, heads, keys, head_dim]`.
    pub(super) key: (Id, View),
    pub(super) scale: f64,
    /// What is added to them, broadcast to them.
    pub(super) mask: Option<Rc<Array>>,
    pub(super) bias: Option<RelativeBias>,
}

/// What the heads gather.
#[derive(Debug, Clone)]
pub(super) struct Attended {
    pub(super) scores: Scores,
    /// `[batch, heads, keys, head_dim]`.
    pub(super) value: (Id, View),
}

/// Factors of heads' elements by position, `[tokens, head_dim]`, the same in all texts.
#[derive(Debug, Clone)]
pub(super) struct PositionFactors {
    pub(super) table: Rc<Array>,
    /// Which axis positions are.
    pub(super) axis: usize,
}

/// A norm without what isn't there yet.
#[derive(Debug, Clone)]
pub(super) struct Normed {
    pub(super) x: Id,
    pub(super) kind: NormKind,
    pub(super) epsilon: f64,
    pub(super) weight: Option<Tensor>,
    pub(super) bias: Option<Tensor>,
}

/// Parts of a model, and parts of these while they come together.
#[derive(Debug, Clone)]
pub(super) enum Expr {
    /// Rows of a table.
    Rows {
        table: EmbeddingTable,
        index: Rc<Array>,
    },
    /// Rows of codes, not yet scaled.
    Codes {
        codes: Tensor,
        index: Rc<Array>,
    },
    /// The same row for every token.
    Row(Tensor),
    Linear {
        x: Id,
        linear: Linear,
    },
    Sum(Id, Id),
    Normed(Normed),
    Activated {
        x: Id,
        activation: Activation,
    },
    Attended(Attended),
    /// The same by tokens, `[batch, seq, heads * head_dim]`.
    Gathered(Id),

    /// Elements of x, moved.
    View {
        x: Id,
        view: View,
    },
    /// What is stacked along an axis, one of each.
    Stacked {
        parts: Vec<(Id, View)>,
        axis: usize,
    },
    /// act(gate) · up.
    Glu {
        activation: Activation,
        gate: Id,
        up: Id,
    },
    Sigmoid(Id),
    Tanh(Id),
    /// The larger of x and 0.
    Relu(Id),

    /// What is x for the last token of each text.
    LastToken(Id),
    /// x with zeros for tokens of padding.
    Masked(Id),
    /// The sum of each text's states.
    Summed(Id),
    /// Their mean.
    MeanPooled(Id),

    /// The second half of the last axis, negated, then the first half.
    HalfTurned(Id),
    /// x, or what is half turned of it, times values by position.
    ByPosition {
        x: Id,
        half_turned: bool,
        factors: PositionFactors,
    },
    /// Heads turned by their positions, which are axis `axis`.
    Turned {
        x: Id,
        rotary: Rotary,
        axis: usize,
    },

    /// x · factor.
    Scaled {
        x: Id,
        factor: f64,
    },
    Scores(Scores),
    /// Their softmax.
    Probabilities(Scores),
    IsNan(Id),

    /// Over the last axis.
    Mean(Id),
    /// x less its mean.
    Centered(Id),
    /// The square of what is centered.
    Squares(Id),
    /// The mean of squares of x, of the centered x if `kind` is that of LayerNorm, and what is added
    /// to it.
    Variance {
        x: Id,
        kind: NormKind,
        epsilon: f64,
    },
    /// Its root, or 1 / that.
    Deviation {
        x: Id,
        kind: NormKind,
        epsilon: f64,
        inverse: bool,
    },

    /// x^power · factor.
    Power {
        x: Id,
        power: u8,
        factor: f64,
    },
    /// (x + factor · x³) · outer.
    Cubic {
        x: Id,
        factor: f64,
        outer: f64,
    },
    /// erf(x / √2), or the tanh that approximates it.
    Erf {
        x: Id,
        activation: Activation,
    },
    /// (1 + erf) · factor.
    Phi {
        x: Id,
        activation: Activation,
        factor: f64,
    },
    /// x · (1 + erf) · factor.
    Gelu {
        x: Id,
        activation: Activation,
        factor: f64,
    },

    /// What `DynamicQuantizeLinear` makes of x: codes, scale or zero point.
    Quantized(Id),
    QuantizedScale(Id),
    QuantizedZero(Id),
    /// A product of codes, not yet scaled.
    IntegerProduct {
        x: Id,
        codes: Tensor,
        zero_points: Option<Tensor>,
    },
    /// The input's scale times the weight's.
    Scales {
        x: Id,
        scales: Tensor,
    },
}

impl Expr {
    /// Its name, for errors.
    pub(super) fn name(&self) -> String {
        let whole = format!("{self:?}");
        let end = whole.find(|c: char| !c.is_alphanumeric());
        whole[..end.unwrap_or(whole.len())].to_owned()
    }
}

/// A norm that the model has.
pub(super) fn norm(normed: &Normed) -> Result<Norm, Error> {
    let epsilon = normed.epsilon as f32;
    if !(epsilon > 0.0 && epsilon < 1.0) {
        return Err(refused(&format!("a norm's epsilon is {epsilon}")));
    }
    Ok(Norm {
        kind: normed.kind,
        weight: normed
            .weight
            .clone()
            .ok_or_else(|| refused("a norm has no weight"))?,
        bias: normed.bias.clone(),
        epsilon,
    })
}

/// What the graph can't be read for.
pub(super) fn refused(why: &str) -> Error {
    not_recognised("", "graph", why)
}
