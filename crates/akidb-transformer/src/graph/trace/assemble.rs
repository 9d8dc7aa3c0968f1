//! From expressions to a model.

use akidb_onnx::Error;

use super::array::Array;
use super::attention::HIDDEN;
use super::expr::{Expr, Id, Scores, norm, refused};
use super::heads::{Heads, heads, linear_of};
use super::sample::Sample;
use super::tracer::Tracer;
use crate::transformer::{
    Attention, Block, BranchNorms, Embeddings, Head, Mask, Mlp, PositionTable, Transformer,
};
use crate::weights::EmbeddingTable;
use akidb_onnx::tensor::Tensor;

/// Most layers that a model can have.
const MAX_LAYERS: usize = 1 << 10;

/// Longest text of a model whose graph does not limit it.
const MAX_TOKENS: usize = 1 << 17;

/// The model whose last states are `id`.
pub(super) fn assemble(tracer: &mut Tracer<'_>, id: Id) -> Result<Transformer, Error> {
    let mut blocks = Vec::new();
    let mut final_norm = None;
    let mut stream = id;
    let embeddings = loop {
        if let Some(embeddings) = embeddings(tracer, stream)? {
            break embeddings;
        }
        if blocks.len() == MAX_LAYERS {
            return Err(refused("it has more layers than any model"));
        }
        let mut mlp = branch(tracer, stream, mlp)?;
        // A norm behind the last block, where those of its branches stand before these.
        if blocks.is_empty() && mlp.norms.before.is_some() {
            final_norm = mlp.norms.of_sum.take();
        }
        let attention = branch(tracer, mlp.residual, attention)?;
        stream = attention.residual;
        blocks.push(Block {
            attention: attention.of,
            attention_norms: attention.norms,
            mlp: mlp.of,
            mlp_norms: mlp.norms,
        });
    };
    blocks.reverse();
    let positions = embeddings.positions.as_ref();
    let rows = positions.map(|positions| positions.table.vocab_size() - positions.first_row);
    let mut attention = blocks.iter().map(|block: &Block| &block.attention);
    if rows.is_none() && attention.any(|attention| attention.rotary.is_none()) {
        return Err(refused("it has no positions"));
    }
    Ok(Transformer {
        max_tokens: rows.unwrap_or(MAX_TOKENS),
        embeddings,
        blocks,
        final_norm,
        head: Head::Mean,
        dense: Vec::new(),
    })
}

/// A branch, its norms, and the stream before it.
struct Branch<T> {
    of: T,
    norms: BranchNorms,
    residual: Id,
}

/// The branch whose sum with the stream before is the stream `id`; `read` finds what it computes, and
/// of what.
fn branch<T>(
    tracer: &Tracer<'_>,
    id: Id,
    read: impl Fn(&Tracer<'_>, Id) -> Result<(T, Id), Error>,
) -> Result<Branch<T>, Error> {
    let (of_sum, sum) = match tracer.expr(id) {
        Expr::Normed(normed) => (Some(norm(normed)?), normed.x),
        _ => (None, id),
    };
    let Expr::Sum(a, b) = *tracer.expr(sum) else {
        let found = tracer.expr(sum).name();
        return Err(refused(&format!(
            "a sum of branch and residual is expected, not {found}"
        )));
    };
    let mut error = None;
    for (residual, branch) in [(a, b), (b, a)] {
        // The stream's own end may look like a branch.
        if residual > branch && a != b {
            continue;
        }
        let (after, of_branch) = match tracer.expr(branch) {
            Expr::Normed(normed) => (Some(normed), normed.x),
            _ => (None, branch),
        };
        match read(tracer, of_branch) {
            Ok((of, input)) => {
                let before = match tracer.expr(input) {
                    _ if input == residual => None,
                    Expr::Normed(normed) if normed.x == residual => Some(norm(normed)?),
                    _ => return Err(refused("a branch does not read its residual")),
                };
                let norms = BranchNorms {
                    before,
                    after: after.map(norm).transpose()?,
                    of_sum,
                };
                return Ok(Branch {
                    of,
                    norms,
                    residual,
                });
            }
            Err(e) => error = Some(e),
        }
    }
    Err(error.unwrap_or_else(|| refused("a branch is expected")))
}

fn mlp(tracer: &Tracer<'_>, id: Id) -> Result<(Mlp, Id), Error> {
    if let Expr::Linear { x, linear: down } = tracer.expr(id)
        && let Expr::Glu {
            activation,
            gate,
            up,
        } = *tracer.expr(*x)
    {
        let ((gate, x), (up, same)) = (linear_of(tracer, gate)?, linear_of(tracer, up)?);
        if x != same {
            return Err(refused("a gate reads something else than what it gates"));
        }
        let mlp = Mlp {
            gate: Some(gate),
            up,
            down: down.clone(),
            activation,
        };
        return Ok((mlp, x));
    }
    if let Expr::Linear { x, linear: down } = tracer.expr(id)
        && let Expr::Activated { x, activation } = *tracer.expr(*x)
        && let Expr::Linear { x, linear: up } = tracer.expr(x)
    {
        let mlp = Mlp {
            gate: None,
            up: up.clone(),
            down: down.clone(),
            activation,
        };
        return Ok((mlp, *x));
    }
    Err(refused("an MLP is expected"))
}

fn attention(tracer: &Tracer<'_>, id: Id) -> Result<(Attention, Id), Error> {
    let Expr::Linear { x, linear: output } = tracer.expr(id) else {
        return Err(refused("the linear layer behind attention is expected"));
    };
    let Expr::Gathered(attended) = *tracer.expr(*x) else {
        return Err(refused("attention is expected"));
    };
    let Expr::Attended(attended) = tracer.expr(attended) else {
        return Err(refused("attention is expected"));
    };
    let scores = &attended.scores;
    let query = heads(tracer, &scores.query)?;
    let key = heads(tracer, &scores.key)?;
    let value = heads(tracer, &attended.value)?;
    let is_like_query = |other: &Heads| {
        let heads = other.heads * other.repeats;
        let grouped = other.repeats == 1 && query.heads.is_multiple_of(other.heads.max(1));
        (heads == query.heads || grouped)
            && (other.input, other.head_dim) == (query.input, query.head_dim)
    };
    let is_alike = is_like_query(&key)
        && is_like_query(&value)
        && key.heads == value.heads
        && query.repeats == 1
        && key.rotary == query.rotary;
    let is_plain = value.norm.is_none() && value.rotary.is_none() && value.factor == 1.0;
    if !is_alike || !is_plain {
        return Err(refused("queries, keys and values are not made alike"));
    }
    let scale = scores.scale * query.factor * key.factor;
    let attention = Attention {
        query: query.linear,
        key: key.linear,
        value: value.linear,
        output: output.clone(),
        query_norm: query.norm,
        key_norm: key.norm,
        heads: query.heads,
        key_value_heads: key.heads,
        head_dim: query.head_dim,
        scale: scale as f32,
        rotary: query.rotary,
        mask: mask(scores, tracer.sample)?,
        relative_bias: scores.bias.clone(),
    };
    Ok((attention, query.input))
}

/// Where tokens look, as the values say that are added to scores.
fn mask(scores: &Scores, sample: Sample) -> Result<Mask, Error> {
    let Some(mask) = &scores.mask else {
        return Ok(Mask::Full);
    };
    let [.., heads, _, _] = mask.dims[..] else {
        return Err(refused("a mask has too few axes"));
    };
    let (texts, tokens) = (sample.texts, sample.tokens);
    let all = mask.expand(&[texts, heads, tokens, tokens]);
    let all = all.ok_or_else(|| refused("a mask has other axes than the scores"))?;
    if all
        .data
        .iter()
        .any(|x| x.is_nan() || (*x > HIDDEN && *x != 0.0))
    {
        return Err(refused("something is added to scores that is no mask"));
    }
    let is = |sees: &dyn Fn(usize, usize) -> bool| {
        all.data.iter().enumerate().all(|(i, added)| {
            let (text, query, key) = (
                i / (heads * tokens * tokens),
                i / tokens % tokens,
                i % tokens,
            );
            let seen = sees(query, key) && sample.is_token(text, key);
            !sample.is_token(text, query) || seen == (*added > HIDDEN)
        })
    };
    if is(&|_, _| true) {
        return Ok(Mask::Full);
    }
    if is(&|query, key| key <= query) {
        return Ok(Mask::Causal);
    }
    let window = (0..tokens).find(|n| is(&|query, key| query.abs_diff(key) <= *n));
    window
        .map(|n| Mask::Window {
            before: n,
            after: n,
        })
        .ok_or_else(|| refused("a mask is none that is known"))
}

/// The embeddings, if that is what `id` is.
fn embeddings(tracer: &Tracer<'_>, id: Id) -> Result<Option<Embeddings>, Error> {
    let (norm_of, sum) = match tracer.expr(id) {
        Expr::Normed(normed) => (Some(normed), normed.x),
        _ => (None, id),
    };
    let mut open = vec![sum];
    let (mut words, mut positions, mut token_types) = (None, None, None);
    let (mut scaled, mut scale): (Option<(Id, f64)>, _) = (None, None);
    while let Some(id) = open.pop() {
        match tracer.expr(id) {
            Expr::Sum(a, b) if open.len() < 4 => open.extend([*a, *b]),
            Expr::Scaled { x, factor } if scaled.is_none() => {
                scaled = Some((*x, *factor));
                open.push(*x);
            }
            Expr::Rows { table, index } => {
                let table = table.clone();
                let is_scaled = scaled.take_if(|(rows, _)| *rows == id);
                if index.data == tracer.sample.ids().data && words.is_none() {
                    words = Some(table);
                    scale = is_scaled.map(|(_, factor)| factor as f32);
                } else if is_scaled.is_some() {
                    return Err(refused("something else than words is scaled"));
                } else if index.data.iter().all(|row| *row == 0.0) && token_types.is_none() {
                    token_types = Some(table);
                } else if let Some((first_row, padding)) = position_rows(tracer.sample, index)
                    && positions.is_none()
                {
                    positions = Some(PositionTable {
                        table,
                        first_row,
                        padding,
                    });
                } else {
                    return Err(refused(
                        "a table is looked up by what is no token or position",
                    ));
                }
            }
            Expr::Row(row) if token_types.is_none() => {
                let dims = vec![1, row.len()];
                let row = Tensor::new(row.name(), row.dtype(), dims, row.data().clone())?;
                token_types = Some(EmbeddingTable::new(row)?);
            }
            _ => return Ok(None),
        }
    }
    let Some(words) = words else {
        return Ok(None);
    };
    Ok(Some(Embeddings {
        words,
        scale,
        positions,
        token_types,
        norm: norm_of.map(norm).transpose()?,
    }))
}

/// The first row, and the token that isn't counted, where rows of a table are positions.
fn position_rows(sample: Sample, index: &Array) -> Option<(usize, Option<u32>)> {
    let rows = index.expand(&[sample.texts, sample.tokens])?;
    let ids = sample.ids();
    let fits = |first: usize, padding: Option<u32>| {
        let rows = rows.data.chunks_exact(sample.tokens);
        rows.zip(ids.data.chunks_exact(sample.tokens))
            .all(|(rows, ids)| {
                let mut next = first;
                rows.iter().zip(ids).all(|(row, id)| {
                    let expected = match padding {
                        Some(padding) if *id == f64::from(padding) => padding as usize,
                        _ => {
                            next += 1;
                            next - 1
                        }
                    };
                    *row == expected as f64
                })
            })
    };
    let first = *rows.data.first()? as usize;
    if fits(first, None) {
        return Some((first, None));
    }
    // RoBERTa's: from behind the padding token on.
    let padding = u32::try_from(first.checked_sub(1)?).ok()?;
    fits(first, Some(padding)).then_some((first, Some(padding)))
}

/// Refuses a graph whose model depends on the texts that it is run on.
pub(super) fn check_same(a: &Transformer, b: &Transformer) -> Result<(), Error> {
    let facts = |model: &Transformer| {
        let of_block = |block: &Block| {
            let attention = &block.attention;
            let sizes = [attention.heads, attention.head_dim, block.mlp.inner_size()];
            (
                sizes,
                attention.scale.to_bits(),
                attention.mask,
                block.mlp.activation,
                (
                    attention.relative_bias.is_some(),
                    attention.rotary.map(|rotary| rotary.width),
                    attention.key_value_heads,
                ),
            )
        };
        let blocks: Vec<_> = model.blocks.iter().map(of_block).collect();
        let positions = model.embeddings.positions.as_ref();
        let positions = positions.map(|positions| (positions.first_row, positions.padding));
        (blocks, positions, model.max_tokens, model.hidden_size())
    };
    match facts(a) == facts(b) {
        true => Ok(()),
        false => Err(refused(
            "what it computes depends on the number of texts or tokens",
        )),
    }
}
