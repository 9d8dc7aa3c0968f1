//! Recurrent operators, and ONNX's own attention.

use super::node::Node;
use super::{Dims, Inferred, value};
use crate::stated::Stated;

pub(super) fn infer(node: &Node<'_>) -> Option<Inferred> {
    Some(match node.op_type() {
        "RNN" | "GRU" | "LSTM" => Ok(recurrent(node)),
        "Attention" => Ok(attention(node)),
        _ => return None,
    })
}

fn recurrent(node: &Node<'_>) -> Vec<Stated> {
    let elem_type = node.elem_type(0);
    let directions = match node.text("direction") {
        Some("bidirectional") => 2,
        _ => 1,
    };
    let hidden = node.int("hidden_size");
    let both = node
        .dims(0)
        .and_then(|dims| match (dims.as_slice(), node.int_or("layout", 0)) {
            (&[steps, batch, _], 0) => Some((
                vec![steps, Some(directions), batch, hidden],
                vec![Some(directions), batch, hidden],
            )),
            (&[batch, steps, _], _) => Some((
                vec![batch, steps, Some(directions), hidden],
                vec![batch, Some(directions), hidden],
            )),
            _ => None,
        });
    let (all, last): (Option<Dims>, Option<Dims>) = both.unzip();
    vec![
        value(elem_type, all),
        value(elem_type, last.clone()),
        value(elem_type, last),
    ]
}

/// `[batch, heads, tokens, width]`, or three axes with heads beside each other.
fn attention(node: &Node<'_>) -> Vec<Stated> {
    let elem_type = node.elem_type(0);
    let (query, keys, values) = (node.dims(0), node.dims(1), node.dims(2));
    let joined = |at: usize, past: usize| {
        let (new, past) = (node.dims(at)?, node.dims(past));
        let heads = node.int("kv_num_heads");
        let (batch, heads, tokens, width) = match *new.as_slice() {
            [batch, heads, tokens, width] => (batch, heads, tokens, width),
            [batch, tokens, width] => {
                let width = width
                    .zip(heads)
                    .and_then(|(width, heads)| width.checked_div(heads));
                (batch, heads, tokens, width)
            }
            _ => return None,
        };
        let before = past.map_or(Some(0), |past| *past.get(2)?);
        Some(vec![
            batch,
            heads,
            Some(tokens?.saturating_add(before?)),
            width,
        ])
    };
    let out = match (query.as_deref(), keys.as_deref(), values.as_deref()) {
        (Some(&[batch, heads, tokens, _]), _, Some(&[.., width])) => {
            Some(vec![batch, heads, tokens, width])
        }
        (Some(&[batch, tokens, _]), _, Some(&[.., width])) => {
            let groups = node.int("q_num_heads").zip(node.int("kv_num_heads"));
            let width = width
                .zip(groups)
                .and_then(|(width, (query, shared))| width.checked_div(shared)?.checked_mul(query));
            Some(vec![batch, tokens, width])
        }
        _ => None,
    };
    let (keys, values) = (joined(1, 4), joined(2, 5));
    let scores = keys.as_ref().and_then(|keys| {
        let heads = match query.as_deref()? {
            &[_, heads, _, _] => heads,
            _ => node.int("q_num_heads"),
        };
        let tokens = *query.as_deref()?.iter().rev().nth(1)?;
        Some(vec![keys[0], heads, tokens, keys[2]])
    });
    vec![
        value(elem_type, out),
        value(elem_type, keys),
        value(elem_type, values),
        value(elem_type, scores),
    ]
}
