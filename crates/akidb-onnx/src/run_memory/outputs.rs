//! What a node makes, by what is known of its inputs.

use std::collections::HashMap;

use super::contents::Contents;
use super::evaluate::evaluate;
use super::{Most, Scope, Value, detached};
use crate::proto::NodeProto;
use crate::proto::tensor_proto::DataType;
use crate::stated::Stated;
use crate::validate::shapes::infer;
use crate::validate::shapes::node::Node;

/// Operators whose output is as large as an input says.
const SIZED_BY_VALUES: [&str; 8] = [
    "ConstantOfShape",
    "Expand",
    "OneHot",
    "Pad",
    "Range",
    "Resize",
    "Tile",
    "Upsample",
];

/// Operators that make lists of values, or as many as the values say, of which no engine for
/// embedding models has made use: what they hold isn't followed.
const NOT_FOLLOWED: [&str; 11] = [
    "ConcatFromSequence",
    "DynamicQuantizeLSTM",
    "NonMaxSuppression",
    "SequenceAt",
    "SequenceConstruct",
    "SequenceEmpty",
    "SequenceErase",
    "SequenceInsert",
    "SequenceLength",
    "SplitToSequence",
    "Multinomial",
];

pub(super) fn is_sized_by_values(node: &NodeProto) -> bool {
    SIZED_BY_VALUES.contains(&node.op_type())
}

/// `None` of an operator that isn't known.
pub(super) fn outputs(node: &NodeProto, scope: &Scope<'_>) -> Result<Option<Vec<Value>>, String> {
    let inputs = node.input.iter().map(|name| scope.value(name));
    let inputs: Vec<Option<&Value>> = inputs.collect();
    let held: Vec<Option<Contents>> = inputs
        .iter()
        .map(|input| input.and_then(|input| input.contents.clone()))
        .collect();
    let mut at_most = inputs.iter().flatten().any(|input| input.at_most);
    let most = Most(scope);
    let view = match is_sized_by_values(node) {
        true => Node::new(&most, node),
        false => Node::new(scope, node),
    };
    // Of `Expand` and the like, the first input is what they repeat.
    let sizes = held.iter().skip(usize::from(!matches!(
        node.op_type(),
        "Range" | "ConstantOfShape"
    )));
    at_most |=
        is_sized_by_values(node) && sizes.flatten().any(|contents| contents.exact().is_none());
    let inferred = match (node.op_type(), view.domain()) {
        ("Constant", "") => return Ok(Some(vec![constant(&view, node)])),
        ("Range", "") => vec![range(&view, &held)],
        ("NonZero", "") => {
            at_most = true;
            vec![non_zero(&view)]
        }
        // From the end of an axis that may be shorter, everything may be taken.
        ("Slice", "") if at_most => vec![view.like(0)],
        (op_type, _) if NOT_FOLLOWED.contains(&op_type) => Vec::new(),
        _ => match infer(&view) {
            Some(inferred) => inferred?,
            None => return Ok(None),
        },
    };
    let mut values: Vec<Value> = inferred.into_iter().map(Value::new).collect();
    values.resize_with(node.output.len().max(values.len()), Value::default);
    if let Some(first) = values.first_mut() {
        let mut known = evaluate(&view, &held, &first.stated);
        if at_most {
            // A shape that isn't exact holds lengths that aren't.
            known = known
                .as_ref()
                .and_then(Contents::bounds)
                .map(|(least, most)| Contents::Within(least.min(0), most));
        }
        first.contents = known;
    }
    for value in &mut values {
        value.at_most = at_most;
    }
    Ok(Some(values))
}

fn constant(view: &Node<'_>, node: &NodeProto) -> Value {
    let [attribute] = &*node.attribute else {
        return Value::default();
    };
    if let ("value", Some(tensor)) = (attribute.name(), &attribute.t) {
        return detached::constant(tensor);
    }
    let contents = match attribute.name() {
        "value_int" => Contents::of(vec![attribute.i()]),
        "value_ints" => Contents::of(attribute.ints.clone()),
        _ => None,
    };
    Value::new(view.constant().unwrap_or_default()).holding(contents)
}

/// As many values as there are steps from the first input to the second.
fn range(view: &Node<'_>, held: &[Option<Contents>]) -> Stated {
    let bounds = |i: usize| held.get(i)?.as_ref()?.bounds();
    let count = || {
        let (start, limit, step) = (bounds(0)?, bounds(1)?, bounds(2)?);
        let (distance, step) = match step {
            (least, _) if least > 0 => (limit.1.checked_sub(start.0)?, least),
            (_, most) if most < 0 => (start.1.checked_sub(limit.0)?, most.checked_neg()?),
            _ => return None,
        };
        Some(distance.max(0).checked_add(step - 1)? / step)
    };
    Stated {
        elem_type: view.elem_type(0),
        dims: Some(vec![count()]),
    }
}

/// At most a position for each value.
fn non_zero(view: &Node<'_>) -> Stated {
    let dims = view.dims(0);
    let count = dims.as_ref().and_then(|dims| {
        dims.iter()
            .try_fold(1i64, |count, dim| Some(count.saturating_mul((*dim)?)))
    });
    let rank = dims.and_then(|dims| i64::try_from(dims.len()).ok());
    Stated {
        elem_type: Some(DataType::Int64),
        dims: Some(vec![rank, count]),
    }
}

/// What an operator needs beside its outputs, in bytes, where that may be more than these.
pub(super) fn inside(view: &Node<'_>) -> u64 {
    const FLOAT: u64 = 4;
    match view.op_type() {
        "Einsum" => einsum_elements(view),
        "Attention" | "MultiHeadAttention" | "GroupQueryAttention" => scores(view),
        _ => None,
    }
    .unwrap_or(0)
    .saturating_mul(FLOAT)
}

/// With more than one axis to sum over, RTen multiplies along all axes first.
fn einsum_elements(view: &Node<'_>) -> Option<u64> {
    let equation = view.text("equation")?;
    let (inputs, output) = equation.split_once("->")?;
    let mut lengths: HashMap<char, u64> = HashMap::new();
    for (i, axes) in inputs.split(',').enumerate() {
        for (axis, dim) in axes.trim().chars().zip(view.dims(i)?) {
            let length = lengths.entry(axis).or_default();
            *length = (*length).max(u64::try_from(dim?).ok()?);
        }
    }
    let summed = lengths
        .keys()
        .filter(|axis| !output.contains(**axis))
        .count();
    let two = inputs.split(',').count() == 2 && summed <= 1;
    let all = lengths
        .values()
        .fold(1u64, |all, length| all.saturating_mul(*length));
    (!two).then_some(all)
}

/// A score for each head and pair of tokens.
fn scores(view: &Node<'_>) -> Option<u64> {
    let dims = view.dims(0)?;
    let (batch, heads, tokens) = match *dims.as_slice() {
        [batch, heads, tokens, _] => (batch, heads, tokens),
        [batch, tokens, _] => {
            let heads = view.int("num_heads").or_else(|| view.int("q_num_heads"));
            (batch, heads, tokens)
        }
        _ => return None,
    };
    let all = [batch, heads, tokens, tokens];
    all.iter().try_fold(1u64, |all, dim| {
        Some(all.saturating_mul(u64::try_from((*dim)?).ok()?))
    })
}
