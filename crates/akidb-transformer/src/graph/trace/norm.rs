//! LayerNorm from its parts, and the other functions of one value that are a part of something.

use akidb_onnx::Error;
use akidb_onnx::proto::NodeProto;

use super::expr::{Expr, Id, Normed, Value};
use super::known;
use super::tracer::Tracer;
use crate::graph::walk::{int_attribute, unknown};
use crate::transformer::{Activation, NormKind};

impl<'m> Tracer<'m> {
    /// Operators of one value.
    pub(super) fn function(
        &mut self,
        node: &'m NodeProto,
        inputs: &[Option<Value>],
    ) -> Result<Value, Error> {
        let refused = || unknown(node, "it is no part of a norm or an activation");
        let x = inputs.first().cloned().flatten().ok_or_else(refused)?;
        let dims = self.dims_of(&x).unwrap_or_default();
        let id = self.whole(&x).ok_or_else(refused)?;
        let expr = match (node.op_type(), self.expr(id)) {
            ("ReduceMean", expr) => {
                let given = match inputs.get(1).cloned().flatten() {
                    Some(axes) => self.known(&axes)?,
                    None => None,
                };
                let axes = known::axes(node, given.as_ref()).unwrap_or_default();
                let last =
                    matches!(axes[..], [at] if known::axis(at, dims.len()) == Some(dims.len() - 1));
                if !last || int_attribute(node, "keepdims", 1) != 1 {
                    return Err(unknown(node, "it is no mean of each token's state"));
                }
                let variance = |x, kind| Expr::Variance {
                    x,
                    kind,
                    epsilon: 0.0,
                };
                match *expr {
                    Expr::Squares(x) => variance(x, NormKind::Layer),
                    Expr::Power {
                        x,
                        power: 2,
                        factor: 1.0,
                    } => variance(x, NormKind::Rms),
                    _ => Expr::Mean(id),
                }
            }
            ("Sqrt", &Expr::Variance { x, kind, epsilon }) => Expr::Deviation {
                x,
                kind,
                epsilon,
                inverse: false,
            },
            (
                "Reciprocal",
                &Expr::Deviation {
                    x,
                    kind,
                    epsilon,
                    inverse: false,
                },
            ) => Expr::Deviation {
                x,
                kind,
                epsilon,
                inverse: true,
            },
            ("Erf", &Expr::Scaled { x, factor })
                if near(factor, std::f64::consts::FRAC_1_SQRT_2) =>
            {
                Expr::Erf {
                    x,
                    activation: Activation::GeluErf,
                }
            }
            ("Tanh", &Expr::Cubic { x, factor, outer })
                if near(factor, 0.044_715) && near(outer, (2.0 / std::f64::consts::PI).sqrt()) =>
            {
                Expr::Erf {
                    x,
                    activation: Activation::GeluTanh,
                }
            }
            ("Tanh", _) => Expr::Tanh(id),
            ("Relu", _) => Expr::Relu(id),
            ("IsNaN", Expr::Probabilities(_)) => Expr::IsNan(id),
            ("Neg", _) => Expr::Scaled {
                x: id,
                factor: -1.0,
            },
            ("Sigmoid", _) => Expr::Sigmoid(id),
            _ => return Err(refused()),
        };
        let dims = match expr {
            Expr::Mean(_) | Expr::Variance { .. } => {
                let rows = dims.iter().take(dims.len().saturating_sub(1));
                rows.copied().chain([1]).collect()
            }
            _ => dims,
        };
        Ok(self.put(expr, dims))
    }

    /// A value over a deviation: that of itself, or what it is centered of.
    pub(super) fn normed(&mut self, value: Id, dims: Vec<usize>, deviation: Id) -> Option<Value> {
        let Expr::Deviation {
            x, kind, epsilon, ..
        } = *self.expr(deviation)
        else {
            return None;
        };
        let is_of_x = match (kind, self.expr(value)) {
            (NormKind::Layer, Expr::Centered(same)) => *same == x,
            (_, _) => kind == NormKind::Rms && value == x,
        };
        if !is_of_x || !self.is_by_row(&dims, deviation) {
            return None;
        }
        let normed = Normed {
            x,
            kind,
            epsilon,
            weight: None,
            bias: None,
        };
        Some(self.put(Expr::Normed(normed), dims))
    }

    /// Whether an expression has one value for each row of an array of these axes.
    pub(super) fn is_by_row(&self, dims: &[usize], id: Id) -> bool {
        match (dims, self.dims(id)) {
            ([rows @ .., _], [own @ .., 1]) => rows == own,
            _ => false,
        }
    }
}

/// Whether a constant is meant to be `wanted`: files have it as f32 or f16.
pub(super) fn near(constant: f64, wanted: f64) -> bool {
    (constant - wanted).abs() <= 1e-3 * wanted.abs()
}
