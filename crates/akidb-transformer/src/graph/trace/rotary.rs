//! Rotary embedding from its parts: heads times cosines, and heads with their halves swapped times
//! sines.

use std::rc::Rc;

use akidb_onnx::Error;
use akidb_onnx::proto::NodeProto;

use super::array::{Array, Kind};
use super::expr::{Expr, Id, PositionFactors, Value};
use super::sample::Sample;
use super::tracer::Tracer;
use super::view::{Run, View};
use crate::graph::walk::{int_attribute, unknown};
use crate::rotary::{Rotary, RotaryScaling};

/// How far cosines and sines may be from those of the base that is found: some files have them in f16.
const TOLERANCE: f64 = 2e-3;

/// Largest base that is believed.
const MAX_BASE: f64 = 1e12;

impl<'m> Tracer<'m> {
    /// The halves of heads, swapped, the one that comes first negated.
    pub(super) fn half_turned(&mut self, parts: &[(Id, View)], axis: usize) -> Option<Value> {
        let [(negated, all), (x, first)] = parts else {
            return None;
        };
        let len: usize = self.dims(*negated).iter().product();
        let Expr::Scaled { x: half, factor } = *self.expr(*negated) else {
            return None;
        };
        if factor != -1.0 || !all.is_whole(len) || axis + 1 != first.axes.len() {
            return None;
        }
        let Expr::View {
            x: same,
            view: second,
        } = self.expr(half)
        else {
            return None;
        };
        if same != x {
            return None;
        }
        let [Run { size, stride: 1 }] = first.runs(axis..axis + 1)[..] else {
            return None;
        };
        let is_next = second.offset == first.offset + size
            && second.axes.len() == first.axes.len()
            && (0..=axis).all(|axis| second.runs(axis..axis + 1) == first.runs(axis..axis + 1));
        if !is_next {
            return None;
        }
        let mut both = first.clone();
        both.axes[axis] = vec![Run {
            size: 2 * size,
            stride: 1,
        }];
        let dims = both.dims();
        let id = self.whole(&Value::Part(*x, both))?;
        Some(self.put(Expr::HalfTurned(id), dims))
    }

    /// Heads times known factors by position.
    pub(super) fn by_position(
        &mut self,
        id: Id,
        dims: Vec<usize>,
        factors: &Array,
    ) -> Option<Value> {
        let factors = self.position_factors(&dims, factors)?;
        let (x, half_turned) = match *self.expr(id) {
            Expr::HalfTurned(x) => (x, true),
            _ => (id, false),
        };
        let expr = Expr::ByPosition {
            x,
            half_turned,
            factors,
        };
        Some(self.put(expr, dims))
    }

    /// Factors for the last axis of `dims` and one other, which is positions.
    fn position_factors(&self, dims: &[usize], factors: &Array) -> Option<PositionFactors> {
        let missing = dims.len().checked_sub(factors.dims.len())?;
        let own: Vec<usize> = std::iter::repeat_n(1, missing)
            .chain(factors.dims.iter().copied())
            .collect();
        let tokens = self.sample.tokens;
        let [texts, middle @ .., head_dim] = &own[..] else {
            return None;
        };
        let mut long = (1..).zip(middle).filter(|(_, size)| **size != 1);
        let (axis, size) = long.next()?;
        let fits = *size == tokens
            && dims.get(axis) == Some(&tokens)
            && dims.last() == Some(head_dim)
            && long.next().is_none();
        if !fits || (*texts != 1 && *texts != self.sample.texts) {
            return None;
        }
        // All texts' positions are the same.
        let mut rows = factors.data.chunks_exact(tokens * head_dim);
        let first = rows.next()?;
        if !rows.all(|other| other == first) {
            return None;
        }
        let table = Array::new(Kind::Float, vec![tokens, *head_dim], first.to_vec())?;
        Some(PositionFactors {
            table: Rc::new(table),
            axis,
        })
    }

    /// The sum of both parts.
    pub(super) fn turned(&mut self, a: Id, b: Id, dims: Vec<usize>) -> Option<Value> {
        let (
            Expr::ByPosition {
                x,
                half_turned: false,
                factors: cos,
            },
            Expr::ByPosition {
                x: same,
                half_turned: true,
                factors: sin,
            },
        ) = (self.expr(a), self.expr(b))
        else {
            return None;
        };
        if x != same || cos.axis != sin.axis {
            return None;
        }
        let (x, axis) = (*x, cos.axis);
        let rotary = rotary_of(&cos.table, &sin.table)?;
        Some(self.put(Expr::Turned { x, rotary, axis }, dims))
    }

    /// `RotaryEmbedding` of ONNX, and of ONNX Runtime, which has another order of inputs.
    pub(super) fn rotary_embedding(
        &mut self,
        node: &NodeProto,
        inputs: &[Option<Value>],
    ) -> Result<Vec<Value>, Error> {
        let refused = |why: &str| unknown(node, why);
        let is_microsofts = node.domain() == crate::graph::walk::MICROSOFT;
        let at = |i: usize| inputs.get(i).and_then(Option::as_ref);
        let (positions, cos, sin) = match is_microsofts {
            true => (at(1), at(2), at(3)),
            false => (at(3), at(1), at(2)),
        };
        let (Some(Value::Part(id, view)), Some(cos), Some(sin)) = (at(0), cos, sin) else {
            return Err(refused("heads and two tables are expected"));
        };
        for name in ["interleaved", "rotary_embedding_dim", "is_packed_batching"] {
            if int_attribute(node, name, 0) != 0 {
                return Err(refused("it turns heads in no known way"));
            }
        }
        let positions = match positions {
            Some(positions) => self.known(positions)?,
            None => None,
        };
        let mut tables = Vec::new();
        for table in [cos, sin] {
            let rows = self.table_of_positions(table, positions.as_deref())?;
            let rows = rows.ok_or_else(|| refused("its tables are not known by position"))?;
            tables.push(rows);
        }
        let [cos, sin] = &tables[..] else {
            return Err(refused("two tables are expected"));
        };
        let rotary = rotary_of(cos, sin).ok_or_else(|| refused("its tables have no plain base"))?;
        let dims = view.dims();
        let by_heads = match dims[..] {
            [texts, tokens, width] if width.is_multiple_of(rotary.width) => {
                view.reshape(&[texts, tokens, width / rotary.width, rotary.width])
            }
            [.., head_dim] if dims.len() == 4 && head_dim == rotary.width => Some(view.clone()),
            _ => None,
        };
        let by_heads = by_heads.ok_or_else(|| refused("its heads are not those of its tables"))?;
        let axis = if dims.len() == 3 { 1 } else { 2 };
        let (shape, value) = (by_heads.dims(), Value::Part(*id, by_heads));
        let x = self
            .whole(&value)
            .ok_or_else(|| refused("it takes no heads"))?;
        let Value::Part(turned, whole) = self.put(Expr::Turned { x, rotary, axis }, shape) else {
            return Err(refused("it takes no heads"));
        };
        let view = whole
            .reshape(&dims)
            .ok_or_else(|| refused("it takes no heads"))?;
        Ok(vec![Value::Part(turned, view)])
    }

    /// Rows of cosines or sines, `[tokens, head_dim / 2]`, the same in all texts.
    fn table_of_positions(
        &self,
        table: &Value,
        positions: Option<&Array>,
    ) -> Result<Option<Array>, Error> {
        let Sample { texts, tokens } = self.sample;
        let rows = match positions {
            Some(positions) => {
                let plain = positions.data.len().is_multiple_of(tokens)
                    && positions
                        .data
                        .iter()
                        .enumerate()
                        .all(|(i, position)| *position == (i % tokens) as f64);
                let one = positions.data.len() == 1 && positions.data[0] == 0.0;
                if !plain && !one {
                    return Ok(None);
                }
                match table {
                    Value::Constant(tensor) if tensor.dims().len() == 2 => {
                        let width = tensor.dims()[1];
                        if tensor.dims()[0] < tokens {
                            return Ok(None);
                        }
                        let mut rows = vec![0.0; tokens * width];
                        tensor.read_f32(0, &mut rows)?;
                        let rows = rows.into_iter().map(f64::from).collect();
                        return Ok(Array::new(Kind::Float, vec![tokens, width], rows));
                    }
                    _ => self.known(table)?,
                }
            }
            None => self.known(table)?,
        };
        let Some(rows) = rows else { return Ok(None) };
        let Some(width) = rows.dims.last().copied().filter(|width| *width > 0) else {
            return Ok(None);
        };
        let mut all = rows.data.chunks_exact(tokens * width);
        let count = rows.data.len() / (tokens * width);
        let Some(first) = all.next().filter(|_| count == 1 || count == texts) else {
            return Ok(None);
        };
        let is_same = all.all(|other| other == first);
        let first = first.to_vec();
        Ok(is_same
            .then(|| Array::new(Kind::Float, vec![tokens, width], first))
            .flatten())
    }
}

/// How heads are turned that have these cosines and sines, `[tokens, head_dim]`, or half as wide.
fn rotary_of(cos: &Array, sin: &Array) -> Option<Rotary> {
    let [tokens, width] = cos.dims[..] else {
        return None;
    };
    if sin.dims != cos.dims || tokens < 2 {
        return None;
    }
    let at = |table: &Array, position: usize, i: usize| table.data[position * width + i];
    // Both halves of a head have the same angles; some tables have them once.
    let is_doubled = width.is_multiple_of(2)
        && (0..tokens).all(|p| {
            (0..width / 2).all(|i| {
                let other = width / 2 + i;
                at(cos, p, i) == at(cos, p, other) && at(sin, p, i) == at(sin, p, other)
            })
        });
    let half = if is_doubled && width > 2 {
        width / 2
    } else {
        width
    };
    let frequency = |i: usize| at(sin, 1, i).atan2(at(cos, 1, i));
    let position_scale = nice(frequency(0), 1e-3)?;
    let fits = |base: f64| {
        (0..tokens).all(|p| {
            (0..half).all(|i| {
                let angle = p as f64 * position_scale * base.powf(-(i as f64) / half as f64);
                (at(cos, p, i) - angle.cos()).abs() <= TOLERANCE
                    && (at(sin, p, i) - angle.sin()).abs() <= TOLERANCE
            })
        })
    };
    let base = match half {
        1 => 10_000.0,
        _ => {
            let ratio = frequency(1) / position_scale;
            let estimate = ratio.powf(-(half as f64));
            // Rounding of the table, as often as the base has factors of it.
            nice(estimate, 2e-3 * half as f64)?
        }
    };
    let is_sound = base > 1.0 && base <= MAX_BASE && position_scale > 0.0 && position_scale <= 1.0;
    (is_sound && fits(base)).then_some(Rotary {
        base,
        position_scale,
        width: 2 * half,
        scaling: RotaryScaling::None,
    })
}

/// The number of fewest digits that is near `x`, off by at most `tolerance` of it.
fn nice(x: f64, tolerance: f64) -> Option<f64> {
    if !(x > 0.0 && x.is_finite()) {
        return None;
    }
    let magnitude = 10_f64.powf(x.log10().floor());
    let mut rounded = (0..8).map(|digits| {
        let unit = magnitude / 10_f64.powi(digits);
        (x / unit).round() * unit
    });
    rounded
        .find(|rounded| (rounded - x).abs() <= tolerance * x)
        .or(Some(x))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(base: f64, scale: f64, half: usize, round: fn(f64) -> f64) -> [Array; 2] {
        let angles = (0..11).flat_map(|p| {
            let angle = move |i: usize| {
                f64::from(p) * scale * base.powf(-((i % half) as f64) / half as f64)
            };
            (0..2 * half).map(angle).collect::<Vec<_>>()
        });
        let angles: Vec<f64> = angles.collect();
        [f64::cos, f64::sin].map(|of| {
            let data = angles.iter().map(|angle| round(of(*angle))).collect();
            Array::new(Kind::Float, vec![11, 2 * half], data).unwrap()
        })
    }

    #[test]
    fn bases_are_read_off_tables() {
        let f32 = |x: f64| f64::from(x as f32);
        // As f16 rounds, denormals among them.
        let f16 = |x: f64| {
            let unit = 2_f64.powf(x.abs().log2().floor().max(-14.0) - 10.0);
            (x / unit).round() * unit
        };
        for base in [1e3, 1e4, 1.6e5, 5e5, 1e6] {
            for half in [2, 6, 8, 32, 64] {
                let [cos, sin] = tables(base, 1.0, half, f32);
                let found = rotary_of(&cos, &sin).unwrap();
                assert_eq!((found.base, found.width), (base, 2 * half), "{base} {half}");
                assert_eq!(found.position_scale, 1.0);
            }
            for half in [8, 32] {
                let [cos, sin] = tables(base, 1.0, half, f16);
                let found = rotary_of(&cos, &sin).unwrap();
                assert!((found.base / base - 1.0).abs() < 0.1, "{base} {found:?}");
            }
        }
        let [cos, sin] = tables(1e6, 0.125, 8, f32);
        assert_eq!(rotary_of(&cos, &sin).unwrap().position_scale, 0.125);
        let [cos, _] = tables(1e4, 1.0, 8, f32);
        let [_, other] = tables(1e3, 1.0, 8, f32);
        assert!(rotary_of(&cos, &other).is_none());
    }
}
