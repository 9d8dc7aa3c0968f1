//! Sums, products and powers: what they are a part of follows from their operands.

use akidb_onnx::Error;
use akidb_onnx::proto::NodeProto;

use super::array::broadcast;
use super::expr::{Expr, Id, Normed, Value};
use super::norm::near;
use super::tracer::Tracer;
use crate::graph::walk::unknown;
use crate::transformer::Activation;

impl<'m> Tracer<'m> {
    /// `Add`, `Sub`, `Mul`, `Div` and `Pow` of something of the model.
    pub(super) fn arithmetic(
        &mut self,
        node: &'m NodeProto,
        inputs: &[Option<Value>],
    ) -> Result<Vec<Value>, Error> {
        let [Some(a), Some(b)] = inputs else {
            return Err(unknown(node, "two inputs are expected"));
        };
        let found = match node.op_type() {
            "Add" => match self.add(a, b)? {
                None => self.add(b, a)?,
                found => found,
            },
            "Mul" => match self.mul(a, b)? {
                None => self.mul(b, a)?,
                found => found,
            },
            "Sub" => self.sub(a, b)?,
            "Div" => self.div(a, b)?,
            _ => self.pow(a, b)?,
        };
        match found {
            Some(value) => Ok(vec![value]),
            None => Err(unknown(node, "it is no part of an encoder that is known")),
        }
    }

    fn add(&mut self, a: &Value, b: &Value) -> Result<Option<Value>, Error> {
        let Some(id) = self.whole(a) else {
            return Ok(None);
        };
        let dims = self.dims_of(a).unwrap_or_default();
        if let (Expr::Scores(scores), Value::Part(..)) = (self.expr(id).clone(), b) {
            return Ok(self.biased(scores, dims, b));
        }
        if let Some(other) = self.whole(b) {
            return Ok(self.sum(id, dims, other, self.dims_of(b).unwrap_or_default()));
        }
        let scalar = self.scalar(b)?;
        let expr = match (self.expr(id).clone(), scalar) {
            (Expr::Scores(scores), _) => return self.masked(scores, dims, b),
            (_, Some(0.0)) => return Ok(Some(a.clone())),
            (Expr::Variance { x, kind, epsilon }, Some(more)) => Expr::Variance {
                x,
                kind,
                epsilon: epsilon + more,
            },
            (Expr::Erf { x, activation }, Some(1.0)) => Expr::Phi {
                x,
                activation,
                factor: 1.0,
            },
            (expr, _) => {
                let width = dims.last().copied().unwrap_or_default();
                let Some(vector) = self.vector(b, width)? else {
                    return Ok(None);
                };
                match expr {
                    Expr::Linear { x, linear } if linear.bias().is_none() => Expr::Linear {
                        x,
                        linear: linear.with_bias(vector)?,
                    },
                    Expr::Normed(normed) if normed.bias.is_none() => Expr::Normed(Normed {
                        bias: Some(vector),
                        ..normed
                    }),
                    Expr::Rows { .. } | Expr::Sum(..) => {
                        let Value::Part(row, _) = self.put(Expr::Row(vector), vec![width]) else {
                            return Ok(None);
                        };
                        Expr::Sum(id, row)
                    }
                    _ => return Ok(None),
                }
            }
        };
        Ok(Some(self.put(expr, dims)))
    }

    /// The sum of two expressions.
    fn sum(&mut self, a: Id, dims: Vec<usize>, b: Id, others: Vec<usize>) -> Option<Value> {
        let dims = broadcast(&dims, &others)?;
        let cubic = |x: Id, power: &Expr| match *power {
            Expr::Power {
                x: y,
                power: 3,
                factor,
            } if x == y => Some(Expr::Cubic {
                x,
                factor,
                outer: 1.0,
            }),
            _ => None,
        };
        if let Some(turned) = self.turned(a, b, dims.clone()) {
            return Some(turned);
        }
        if let Some(turned) = self.turned(b, a, dims.clone()) {
            return Some(turned);
        }
        let expr = cubic(a, self.expr(b)).or_else(|| cubic(b, self.expr(a)));
        Some(self.put(expr.unwrap_or(Expr::Sum(a, b)), dims))
    }

    fn sub(&mut self, a: &Value, b: &Value) -> Result<Option<Value>, Error> {
        let (Some(x), Some(mean)) = (self.whole(a), self.whole(b)) else {
            return Ok(None);
        };
        let dims = self.dims_of(a).unwrap_or_default();
        let is_mean =
            matches!(*self.expr(mean), Expr::Mean(y) if x == y) && self.is_by_row(&dims, mean);
        Ok(is_mean.then(|| self.put(Expr::Centered(x), dims)))
    }

    fn mul(&mut self, a: &Value, b: &Value) -> Result<Option<Value>, Error> {
        let id = self.whole(a);
        let is_scale = id.is_some_and(|id| matches!(self.expr(id), Expr::QuantizedScale(_)));
        if !is_scale
            && let Some(factor) = self.scalar(b)?
            && let Some(scaled) = self.scaled(a, factor)
        {
            return Ok(Some(scaled));
        }
        let Some(id) = id else {
            return Ok(None);
        };
        let dims = self.dims_of(a).unwrap_or_default();
        if let Some(other) = self.whole(b) {
            return self.product_of(id, other, dims);
        }
        let width = dims.last().copied().unwrap_or_default();
        match self.expr(id).clone() {
            Expr::QuantizedScale(x) => match b {
                Value::Constant(scales) if scales.dtype().is_float() => {
                    let (dims, scales) = (scales.dims().to_vec(), scales.clone());
                    Ok(Some(self.put(Expr::Scales { x, scales }, dims)))
                }
                _ => Ok(None),
            },
            Expr::Normed(normed) if normed.weight.is_none() && normed.bias.is_none() => {
                let weight = self.vector(b, width)?;
                let normed = weight.map(|weight| {
                    Expr::Normed(Normed {
                        weight: Some(weight),
                        ..normed
                    })
                });
                Ok(normed.map(|expr| self.put(expr, dims)))
            }
            _ => match b {
                Value::Known(factors) => match self.masked_states(id, &dims, factors) {
                    None => Ok(self.by_position(id, dims, factors)),
                    masked => Ok(masked),
                },
                Value::Constant(_) => {
                    let factors = self.known(b)?;
                    Ok(factors.and_then(|factors| self.by_position(id, dims, &factors)))
                }
                _ => Ok(None),
            },
        }
    }

    /// The product of two expressions.
    fn product_of(&mut self, a: Id, b: Id, dims: Vec<usize>) -> Result<Option<Value>, Error> {
        let expr = match (self.expr(a).clone(), self.expr(b).clone()) {
            (
                Expr::IntegerProduct {
                    x,
                    codes,
                    zero_points,
                },
                Expr::Scales { x: y, scales },
            ) if x == y => {
                return self
                    .scaled_product(x, codes, zero_points, scales, dims)
                    .map(Some);
            }
            (Expr::Centered(x), Expr::Centered(_)) if a == b => Expr::Squares(x),
            (_, Expr::Deviation { inverse: true, .. }) => {
                return Ok(self.normed(a, dims, b));
            }
            (Expr::Sigmoid(x), _) if x == b => Expr::Activated {
                x,
                activation: Activation::Silu,
            },
            (Expr::Activated { x, activation }, Expr::Linear { .. } | Expr::View { .. }) => {
                Expr::Glu {
                    activation,
                    gate: x,
                    up: b,
                }
            }
            (
                Expr::Phi {
                    x,
                    activation,
                    factor,
                },
                Expr::Scaled { x: y, factor: more },
            ) if x == y => Expr::Gelu {
                x,
                activation,
                factor: factor * more,
            },
            (
                Expr::Phi {
                    x,
                    activation,
                    factor,
                },
                _,
            ) if x == b => Expr::Gelu {
                x,
                activation,
                factor,
            },
            (Expr::Power { x, power, factor }, _) if x == b => Expr::Power {
                x,
                power: power.saturating_add(1),
                factor,
            },
            (_, _) if a == b => Expr::Power {
                x: a,
                power: 2,
                factor: 1.0,
            },
            _ => return Ok(None),
        };
        Ok(Some(self.finished(expr, dims)))
    }

    fn div(&mut self, a: &Value, b: &Value) -> Result<Option<Value>, Error> {
        if let Some(divisor) = self.scalar(b)? {
            return Ok(self.scaled(a, 1.0 / divisor));
        }
        if let (Value::Known(counts), Some(sum)) = (b, self.whole(a)) {
            return Ok(self.mean_of_states(sum, counts));
        }
        let Some(by) = self.whole(b) else {
            return Ok(None);
        };
        let Expr::Deviation {
            x,
            kind,
            epsilon,
            inverse: false,
        } = *self.expr(by)
        else {
            return Ok(None);
        };
        if self.scalar(a)? == Some(1.0) {
            let dims = self.dims(by).to_vec();
            let inverse = Expr::Deviation {
                x,
                kind,
                epsilon,
                inverse: true,
            };
            return Ok(Some(self.put(inverse, dims)));
        }
        let dims = self.dims_of(a).unwrap_or_default();
        let id = self.whole(a);
        Ok(id.and_then(|id| self.normed(id, dims, by)))
    }

    fn pow(&mut self, a: &Value, b: &Value) -> Result<Option<Value>, Error> {
        let (Some(id), Some(exponent)) = (self.whole(a), self.scalar(b)?) else {
            return Ok(None);
        };
        let dims = self.dims_of(a).unwrap_or_default();
        let expr = match *self.expr(id) {
            Expr::Centered(x) if exponent == 2.0 => Expr::Squares(x),
            Expr::Variance { x, kind, epsilon } if exponent.abs() == 0.5 => Expr::Deviation {
                x,
                kind,
                epsilon,
                inverse: exponent < 0.0,
            },
            _ if exponent == 2.0 || exponent == 3.0 => Expr::Power {
                x: id,
                power: exponent as u8,
                factor: 1.0,
            },
            _ => return Ok(None),
        };
        Ok(Some(self.put(expr, dims)))
    }

    /// `value` · `by`.
    pub(super) fn scaled(&mut self, value: &Value, by: f64) -> Option<Value> {
        if by == 1.0 {
            return Some(value.clone());
        }
        let dims = self.dims_of(value)?;
        let id = self.whole(value)?;
        let expr = match self.expr(id).clone() {
            Expr::Scores(mut scores) => {
                // A mask that was added before would be scaled, too.
                if scores.mask.is_some() || scores.bias.is_some() {
                    return None;
                }
                scores.scale *= by;
                Expr::Scores(scores)
            }
            Expr::Scaled { x, factor } => Expr::Scaled {
                x,
                factor: factor * by,
            },
            Expr::Power { x, power, factor } => Expr::Power {
                x,
                power,
                factor: factor * by,
            },
            Expr::Cubic { x, factor, outer } => Expr::Cubic {
                x,
                factor,
                outer: outer * by,
            },
            Expr::Phi {
                x,
                activation,
                factor,
            } => Expr::Phi {
                x,
                activation,
                factor: factor * by,
            },
            Expr::Gelu {
                x,
                activation,
                factor,
            } => Expr::Gelu {
                x,
                activation,
                factor: factor * by,
            },
            _ => Expr::Scaled { x: id, factor: by },
        };
        Some(self.finished(expr, dims))
    }

    /// An activation, once nothing of it is missing.
    fn finished(&mut self, expr: Expr, dims: Vec<usize>) -> Value {
        let expr = match expr {
            Expr::Gelu {
                x,
                activation,
                factor,
            } if near(factor, 0.5) => Expr::Activated { x, activation },
            expr => expr,
        };
        self.put(expr, dims)
    }

    /// GELU of `x`.
    pub(super) fn activated(&mut self, x: Id, activation: Activation, dims: Vec<usize>) -> Value {
        self.put(Expr::Activated { x, activation }, dims)
    }
}
