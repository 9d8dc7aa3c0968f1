//! Attention from its parts: scores, what is added to them, their softmax, and what they weigh.

use std::rc::Rc;

use akidb_onnx::Error;
use akidb_onnx::proto::NodeProto;
use akidb_onnx::tensor::DataType;

use super::array::{Array, Kind, broadcast};
use super::expr::{Attended, Expr, Scores, Value};
use super::known;
use super::tracer::Tracer;
use crate::families::MAX_DISTANCE;
use crate::graph::walk::{int_attribute, unknown};
use crate::transformer::RelativeBias;

impl<'m> Tracer<'m> {
    /// `MatMul` of two things of the model: queries and keys, or weights and values.
    pub(super) fn attend(
        &mut self,
        node: &NodeProto,
        a: &Value,
        b: &Value,
    ) -> Result<Value, Error> {
        let refused = || {
            unknown(
                node,
                "its inputs are neither queries and keys nor weights and values",
            )
        };
        let (Value::Part(left, query), Value::Part(right, other)) = (a, b) else {
            return Err(refused());
        };
        let (dims, others) = (query.dims(), other.dims());
        let rank = dims.len();
        let ([outer @ .., k], [.., same, n]) = (&dims[..], &others[..]) else {
            return Err(refused());
        };
        let is_alike = rank >= 3
            && others.len() == rank
            && dims[..rank - 2] == others[..rank - 2]
            && k == same;
        if !is_alike {
            return Err(refused());
        }
        let made: Vec<usize> = outer.iter().copied().chain([*n]).collect();
        let weights = self.whole(a).map(|id| self.expr(id).clone());
        if let Some(Expr::Probabilities(scores)) = weights {
            let value = (*right, other.clone());
            return Ok(self.put(Expr::Attended(Attended { scores, value }), made));
        }
        let mut perm: Vec<usize> = (0..rank).collect();
        perm.swap(rank - 2, rank - 1);
        let key = other.transpose(&perm).ok_or_else(refused)?;
        let scores = Scores {
            query: (*left, query.clone()),
            key: (*right, key),
            scale: 1.0,
            mask: None,
            bias: None,
        };
        Ok(self.put(Expr::Scores(scores), made))
    }

    /// Scores with a known mask or bias added.
    pub(super) fn masked(
        &mut self,
        scores: Scores,
        dims: Vec<usize>,
        added: &Value,
    ) -> Result<Option<Value>, Error> {
        let Some(added) = self.known(added)? else {
            return Ok(None);
        };
        let fits = broadcast(&dims, &added.dims).is_some_and(|both| both == dims);
        let mask = match &scores.mask {
            _ if !fits || dims.len() != 4 => None,
            None => Some(added.as_ref().clone()),
            Some(mask) => mask.zip(&added, Kind::Float, |a, b| a + b),
        };
        Ok(mask.map(|mask| {
            let mask = Some(Rc::new(mask));
            self.put(Expr::Scores(Scores { mask, ..scores }), dims)
        }))
    }

    /// Scores with a bias by distance added.
    pub(super) fn biased(
        &mut self,
        scores: Scores,
        dims: Vec<usize>,
        added: &Value,
    ) -> Option<Value> {
        let bias = self.relative_bias(added)?;
        if scores.bias.is_some() || dims.len() != 4 {
            return None;
        }
        let bias = Some(bias);
        Some(self.put(Expr::Scores(Scores { bias, ..scores }), dims))
    }

    /// The bias by distance that a value is, `[any, heads, queries, keys]`.
    pub(super) fn relative_bias(&self, value: &Value) -> Option<RelativeBias> {
        let Value::Part(id, view) = value else {
            return None;
        };
        let Expr::Rows { table, index } = self.expr(*id) else {
            return None;
        };
        let (heads, tokens) = (table.hidden_size(), self.sample.tokens);
        let run = |size: usize, stride: usize| super::view::Run { size, stride };
        let [any, ..] = view.dims()[..] else {
            return None;
        };
        // Queries and keys in the rows of the lookup, heads in its columns.
        let expected = [
            run(heads, 1),
            run(tokens, tokens * heads),
            run(tokens, heads),
        ];
        let axes = [1, 2, 3].map(|axis| view.runs(axis..axis + 1));
        let is_there = axes
            .iter()
            .zip(expected)
            .all(|(runs, expected)| runs[..] == [expected]);
        let is_same = any == 1 || view.runs(0..1) == [run(any, 0)];
        if view.axes.len() != 4 || !is_there || !is_same || view.offset != 0 {
            return None;
        }
        let bias = RelativeBias {
            table: table.clone(),
            max_distance: MAX_DISTANCE,
        };
        // A graph in f16 has its logarithm in f16, too.
        let is_rounded = table.tensor().dtype() == DataType::F16;
        let fits = |(place, bucket): (usize, &f64)| {
            let (query, key) = (place / tokens, place % tokens);
            is_bucket(&bias, key as isize - query as isize, *bucket, is_rounded)
        };
        let all = index.data.len() == tokens * tokens && index.data.iter().enumerate().all(fits);
        all.then_some(bias)
    }

    /// `Softmax` of scores, and `Where` around them.
    pub(super) fn weigh(
        &mut self,
        node: &NodeProto,
        inputs: &[Option<Value>],
    ) -> Result<Value, Error> {
        let refused = || unknown(node, "it is no part of attention");
        match (node.op_type(), inputs) {
            ("Softmax", [Some(x)]) => {
                let dims = self.dims_of(x).unwrap_or_default();
                let axis = known::axis(int_attribute(node, "axis", -1), dims.len());
                let id = self.whole(x).ok_or_else(refused)?;
                match self.expr(id).clone() {
                    Expr::Scores(scores) if axis.is_some_and(|axis| axis + 1 == dims.len()) => {
                        Ok(self.put(Expr::Probabilities(scores), dims))
                    }
                    _ => Err(refused()),
                }
            }
            ("Where", [Some(condition), Some(yes), Some(no)]) => {
                if let Some(id) = self.whole(condition) {
                    // Rows that see nothing at all.
                    let Expr::IsNan(weights) = *self.expr(id) else {
                        return Err(refused());
                    };
                    let same = self.whole(no) == Some(weights);
                    let zero = self.scalar(yes)? == Some(0.0);
                    return if same && zero {
                        Ok(no.clone())
                    } else {
                        Err(refused())
                    };
                }
                self.hidden_scores(condition, yes, no)?.ok_or_else(refused)
            }
            _ => Err(refused()),
        }
    }

    /// Scores where a condition holds or doesn't, a constant elsewhere.
    fn hidden_scores(
        &mut self,
        condition: &Value,
        yes: &Value,
        no: &Value,
    ) -> Result<Option<Value>, Error> {
        let (scores, shown_where, constant) = match (yes, no) {
            (Value::Part(..), _) => (yes, true, self.scalar(no)?),
            _ => (no, false, self.scalar(yes)?),
        };
        let (Some(id), Some(constant), Some(condition)) =
            (self.whole(scores), constant, self.known(condition)?)
        else {
            return Ok(None);
        };
        let dims = self.dims_of(scores).unwrap_or_default();
        let Expr::Scores(found) = self.expr(id).clone() else {
            return Ok(None);
        };
        // As good as nothing, whatever the scores are.
        if constant > HIDDEN {
            return Ok(None);
        }
        let mask = condition.map(Kind::Float, |x| match (x != 0.0) == shown_where {
            true => 0.0,
            false => constant,
        });
        self.masked(found, dims, &Value::Known(Rc::new(mask)))
    }

    /// What heads gather, of queries, keys and values by tokens: `[batch, seq, heads * head_dim]`.
    pub(super) fn heads(
        &mut self,
        node: &NodeProto,
        [query, key, value]: [&Value; 3],
        [heads, shared]: [usize; 2],
        scale: Option<f64>,
        (mask, bias): (Option<Rc<Array>>, Option<RelativeBias>),
    ) -> Result<Value, Error> {
        let refused = || unknown(node, "its queries, keys and values are not of all tokens");
        let mut parts = Vec::new();
        for (x, heads) in [(query, heads), (key, shared), (value, shared)] {
            let Value::Part(id, view) = x else {
                return Err(refused());
            };
            let [texts, tokens, width] = view.dims()[..] else {
                return Err(refused());
            };
            let head_dim = width.checked_div(heads).filter(|dim| dim * heads == width);
            let head_dim = head_dim.ok_or_else(refused)?;
            let view = view.reshape(&[texts, tokens, heads, head_dim]);
            let view = view.and_then(|view| view.transpose(&[0, 2, 1, 3]));
            parts.push((*id, view.ok_or_else(refused)?, head_dim));
        }
        let [(q, query, dim), (k, key, same), (v, value, also)] = &parts[..] else {
            return Err(refused());
        };
        if same != dim || also != dim {
            return Err(refused());
        }
        let dims = query.dims();
        let scores = Scores {
            query: (*q, query.clone()),
            key: (*k, key.clone()),
            scale: scale.unwrap_or(1.0 / (*dim as f64).sqrt()),
            mask,
            bias,
        };
        let value = (*v, value.clone());
        let by_heads = self.put(Expr::Attended(Attended { scores, value }), dims.clone());
        let Value::Part(id, view) = by_heads else {
            return Err(refused());
        };
        let view = view.transpose(&[0, 2, 1, 3]);
        let view = view.and_then(|view| view.reshape(&[dims[0], dims[2], heads * dim]));
        Ok(Value::Part(id, view.ok_or_else(refused)?))
    }
}

/// Whether a key so far behind the query falls into `bucket`. With rounded logarithms it may be the one before
/// or after, as far as buckets are ranges: the model has learned those of f32.
fn is_bucket(bias: &RelativeBias, behind: isize, bucket: f64, is_rounded: bool) -> bool {
    let known = bias.bucket(behind);
    let half = (bias.table.vocab_size() / 2).max(1);
    let is_range = |bucket: f64| bucket % half as f64 >= (half / 2) as f64;
    let is_near = is_rounded
        && (known as f64 - bucket).abs() <= 1.0
        && is_range(known as f64)
        && is_range(bucket);
    known as f64 == bucket || is_near
}

/// What is added to scores so that a key isn't seen is at most this.
pub(super) const HIDDEN: f64 = -9e3;

#[cfg(test)]
mod tests {
    use akidb_onnx::tensor::Tensor;

    use super::*;
    use crate::weights::EmbeddingTable;

    #[test]
    fn rounded_logarithms_fall_into_neighbouring_ranges() {
        let table = Tensor::new("table", DataType::F16, vec![32, 1], vec![0; 64].into()).unwrap();
        let bias = RelativeBias {
            table: EmbeddingTable::new(table).unwrap(),
            max_distance: MAX_DISTANCE,
        };
        for (behind, bucket, rounded, exact) in [
            (-16, 10.0, true, true),
            (-16, 9.0, true, false),
            (-16, 11.0, true, false),
            (-16, 8.0, false, false),
            (-16, 12.0, false, false),
            (16, 25.0, true, false),
            // No ranges: one bucket for each distance.
            (-7, 7.0, true, true),
            (-7, 6.0, false, false),
            (-7, 8.0, false, false),
            (-8, 7.0, false, false),
            // Not the keys behind.
            (-500, 16.0, false, false),
            (0, f64::NAN, false, false),
        ] {
            let found = [true, false].map(|r| is_bucket(&bias, behind, bucket, r));
            assert_eq!(found, [rounded, exact], "{behind} {bucket}");
        }
    }
}
