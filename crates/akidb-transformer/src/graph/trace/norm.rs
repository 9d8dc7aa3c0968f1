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
                match *expr {
                    Expr::Squares(x) => Expr::Variance { x, epsilon: 0.0 },
                    _ => Expr::Mean(id),
                }
            }
            ("Sqrt", &Expr::Variance { x, epsilon }) => Expr::Deviation {
                x,
                epsilon,
                inverse: false,
            },
            (
                "Reciprocal",
                &Expr::Deviation {
                    x,
                    epsilon,
                    inverse: false,
                },
            ) => Expr::Deviation {
                x,
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
            ("IsNaN", Expr::Probabilities(_)) => Expr::IsNan(id),
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

    /// What is centered, over its deviation.
    pub(super) fn normed(&mut self, centered: Id, x: Id, epsilon: f64) -> Option<Value> {
        match *self.expr(centered) {
            Expr::Centered(same) if same == x => {}
            _ => return None,
        }
        let dims = self.dims(centered).to_vec();
        let normed = Normed {
            x,
            kind: NormKind::Layer,
            epsilon,
            weight: None,
            bias: None,
        };
        Some(self.put(Expr::Normed(normed), dims))
    }
}

/// Whether a constant is meant to be `wanted`: files have it as f32 or f16.
pub(super) fn near(constant: f64, wanted: f64) -> bool {
    (constant - wanted).abs() <= 1e-3 * wanted.abs()
}
