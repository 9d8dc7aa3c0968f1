//! What makes scores of the last hidden states: a pooling, and a few layers behind it.

use std::rc::Rc;

use akidb_onnx::Error;
use akidb_onnx::proto::NodeProto;

use super::array::{Array, Kind};
use super::expr::{Expr, Id, Value, norm, refused};
use super::known;
use super::tracer::Tracer;
use super::view::View;
use crate::graph::walk::{int_attribute, unknown};
use crate::transformer::{Head, ScoreLayer};

/// Most layers behind the states.
const MAX_LAYERS: usize = 16;

/// The layers that make `id` of the last hidden states, the first one first; how these are pooled, where
/// the graph does it; and the states.
pub(super) fn score_layers(
    tracer: &Tracer<'_>,
    id: Id,
) -> Result<(Vec<ScoreLayer>, Option<Head>, Id), Error> {
    let mut layers = Vec::new();
    let (mut last, mut at) = (None, id);
    let (head, states) = loop {
        if layers.len() == MAX_LAYERS {
            return Err(refused("too many layers follow its states"));
        }
        let (layer, before) = match tracer.expr(at) {
            Expr::Linear { x, linear } => (ScoreLayer::Linear(Box::new(linear.clone())), *x),
            Expr::Tanh(x) => (ScoreLayer::Tanh, *x),
            Expr::Relu(x) => (ScoreLayer::Relu, *x),
            Expr::Activated { x, activation } => (ScoreLayer::Activation(*activation), *x),
            // That of the model itself comes before its states are pooled.
            Expr::Normed(normed) if tracer.dims(at).len() == 2 => {
                (ScoreLayer::Norm(norm(normed)?), normed.x)
            }
            Expr::MeanPooled(states) => break (Some(Head::Mean), *states),
            Expr::View { x, view } if is_first_token(tracer.dims(*x), view) => {
                break (Some(Head::FirstToken), *x);
            }
            // Before or behind a layer, which does the same to each token.
            Expr::LastToken(x) => {
                (last, at) = (Some(Head::LastToken), *x);
                continue;
            }
            _ => break (last, at),
        };
        layers.push(layer);
        at = before;
    };
    if layers.is_empty() {
        return Err(refused("no layer makes scores of its states"));
    }
    layers.reverse();
    Ok((layers, head, states))
}

/// Whether a view of `[batch, seq, hidden]` is each text's first state.
fn is_first_token(dims: &[usize], view: &View) -> bool {
    let first = View::whole(dims).slice(1, 0, 1);
    first.is_some_and(|first| {
        let all = |view: &View| view.runs(0..view.axes.len());
        dims.len() == 3 && view.offset == 0 && all(view) == all(&first)
    })
}

impl<'m> Tracer<'m> {
    /// What a node picks of a view by known indices, where that is each text's last token. Without
    /// padding among the tokens, it is the last one of all.
    pub(super) fn last_tokens(
        &mut self,
        node: &'m NodeProto,
        id: Id,
        view: &View,
        mut inputs: Vec<Option<Rc<Array>>>,
    ) -> Option<Value> {
        let [texts, tokens, width] = *self.dims(id) else {
            return None;
        };
        let places = view.places()?.into_iter().map(|place| place as f64);
        let places = Array::new(Kind::Int, view.dims(), places.collect())?;
        *inputs.first_mut()? = Some(Rc::new(places));
        let [picked] = &known::apply(node, &inputs)?[..] else {
            return None;
        };
        let is_of = |token: &dyn Fn(usize) -> usize| {
            let expected = (0..texts).flat_map(|text| {
                let first = (text * tokens + token(text)) * width;
                (first..first + width).map(|place| place as f64)
            });
            picked.data.len() == texts * width && expected.eq(picked.data.iter().copied())
        };
        let sample = self.sample;
        let last = |text: usize| {
            (0..tokens)
                .rfind(|i| sample.is_token(text, *i))
                .unwrap_or(0)
        };
        if tokens != sample.tokens || !(is_of(&|_| tokens - 1) || is_of(&last)) {
            return None;
        }
        Some(self.put(Expr::LastToken(id), picked.dims.clone()))
    }

    /// `x` · `factors`, where these are 1 for tokens and 0 for padding.
    pub(super) fn masked_states(
        &mut self,
        x: Id,
        dims: &[usize],
        factors: &Array,
    ) -> Option<Value> {
        let mask = self.sample.attention_mask();
        let [texts, tokens, _] = *dims else {
            return None;
        };
        let by_token = mask.reshape(vec![texts, tokens, 1])?;
        let is_mask =
            factors.dims.len() == 3 && by_token.expand(dims)?.data == factors.expand(dims)?.data;
        is_mask.then(|| self.put(Expr::Masked(x), dims.to_vec()))
    }

    /// `ReduceSum` of masked states over the tokens.
    pub(super) fn text_sum(
        &mut self,
        node: &'m NodeProto,
        inputs: &[Option<Value>],
    ) -> Result<Value, Error> {
        let refused = || unknown(node, "it is no sum of a text's states");
        let x = inputs.first().cloned().flatten().ok_or_else(refused)?;
        let id = self.whole(&x).ok_or_else(refused)?;
        let given = match inputs.get(1).cloned().flatten() {
            Some(axes) => self.known(&axes)?,
            None => None,
        };
        let axes = known::axes(node, given.as_ref()).unwrap_or_default();
        let (&Expr::Masked(states), [at], &[texts, _, width]) =
            (self.expr(id), &axes[..], self.dims(id))
        else {
            return Err(refused());
        };
        if known::axis(*at, 3) != Some(1) {
            return Err(refused());
        }
        let dims = match int_attribute(node, "keepdims", 1) {
            0 => vec![texts, width],
            _ => vec![texts, 1, width],
        };
        Ok(self.put(Expr::Summed(states), dims))
    }

    /// A sum of states over how many they are.
    pub(super) fn mean_of_states(&mut self, sum: Id, counts: &Array) -> Option<Value> {
        let Expr::Summed(states) = *self.expr(sum) else {
            return None;
        };
        let dims = self.dims(sum).to_vec();
        let sample = self.sample;
        let count = |text: usize| {
            let tokens = (0..sample.tokens).filter(|i| sample.is_token(text, *i));
            tokens.count() as f64
        };
        let width: usize = dims.iter().skip(1).product();
        let counts = counts.expand(&dims)?;
        let mut of_texts = counts.data.chunks_exact(width).enumerate();
        let is_mean = of_texts.all(|(text, row)| row.iter().all(|found| *found == count(text)));
        is_mean.then(|| self.put(Expr::MeanPooled(states), dims))
    }
}
