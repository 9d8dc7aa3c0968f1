//! The weights of a block.

use std::sync::Arc;

use akidb_kernels::{Attention, Gate, Isa, NR, Precision, Weight};
use akidb_transformer::{Activation, Block, Mask, RelativeBias};

use super::check_shape;
use super::norm::Norm;
use super::packing::{Part, bias, check_finite, pack};
use crate::dims::Dims;
use crate::error::EngineError;
use crate::pass::RotaryTable;

/// Weights of a layer, and what is done with them.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) attention_norms: Norms,
    /// Columns as [`Dims`] says.
    pub(crate) qkv: Product,
    /// Of each query head,
    pub(crate) q_norm: Option<Norm>,
    /// and of each key head.
    pub(crate) k_norm: Option<Norm>,
    pub(crate) o: Product,
    pub(crate) attention: Attention,
    pub(crate) mask: Mask,
    /// Where heads are turned.
    pub(crate) rotary: Option<Arc<RotaryTable>>,
    /// Added to scores, `[heads, row]` as attention takes it, and the length of a row.
    bias: Option<(Vec<f32>, usize)>,
    pub(crate) mlp_norms: Norms,
    /// Panels of gate and up in turn, or up alone.
    pub(crate) inner: Product,
    /// Of what `inner` gives.
    pub(crate) activation: InnerActivation,
    pub(crate) down: Product,
}

/// What happens inside an MLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InnerActivation {
    /// Of single values.
    Plain(Activation),
    /// Of a gate, which another value is multiplied by.
    Gated(Gate),
}

/// Norms around a branch.
#[derive(Debug)]
pub(crate) struct Norms {
    /// Of what the branch reads.
    pub(crate) before: Option<Norm>,
    /// Of what it gives, before that is added to the residual stream.
    pub(crate) after: Option<Norm>,
    /// Of the residual stream once the branch is added.
    pub(crate) of_sum: Option<Norm>,
}

/// A packed weight and what is added to its product, a value for each column.
#[derive(Debug)]
pub(crate) struct Product {
    pub(crate) weight: Weight,
    bias: Option<Vec<f32>>,
}

impl Product {
    pub(crate) fn bias(&self) -> Option<&[f32]> {
        self.bias.as_deref()
    }
}

/// A block's packed products, in the order of [`Dims::product_shapes`].
pub(super) type Products = Vec<Weight>;

impl Layer {
    /// A layer of packed products, and vectors from the file.
    pub(super) fn new(
        block: &Block,
        dims: &Dims,
        products: Products,
        rotary: Option<Arc<RotaryTable>>,
    ) -> Result<Self, EngineError> {
        let (hidden, head_dim) = (dims.hidden_size, dims.head_dim);
        let attention = &block.attention;
        let mut products = products
            .into_iter()
            .zip(parts(block, dims)?)
            .map(|(weight, parts)| {
                let bias = bias(&parts, weight.shape()[1])?;
                Ok(Product { weight, bias })
            });
        let relative_bias = attention.relative_bias.as_ref();
        let relative_bias = relative_bias.map(|bias| by_distance(bias, attention.heads, dims));
        let mut next = || products.next().unwrap_or(Err(EngineError::Products));
        Ok(Self {
            attention_norms: Norms::new(&block.attention_norms, hidden)?,
            qkv: next()?,
            q_norm: Norm::optional(attention.query_norm.as_ref(), head_dim)?,
            k_norm: Norm::optional(attention.key_norm.as_ref(), head_dim)?,
            o: next()?,
            attention: Attention {
                head_dim,
                query_heads: attention.heads / attention.key_value_heads.max(1),
                scale: attention.scale,
            },
            mask: attention.mask,
            rotary,
            bias: relative_bias.transpose()?,
            mlp_norms: Norms::new(&block.mlp_norms, hidden)?,
            inner: next()?,
            activation: match (dims.is_gated, block.mlp.activation) {
                (false, plain) => InnerActivation::Plain(plain),
                (true, Activation::Silu) => InnerActivation::Gated(Gate::Silu),
                (true, Activation::GeluErf) => InnerActivation::Gated(Gate::GeluErf),
                (true, Activation::GeluTanh) => InnerActivation::Gated(Gate::GeluTanh),
            },
            down: next()?,
        })
    }

    /// What is added to the scores of the query heads that share a key/value head.
    pub(crate) fn bias_of(&self, head: usize) -> Option<&[f32]> {
        let (bias, row_len) = self.bias.as_ref()?;
        let own = self.attention.query_heads * row_len;
        bias.get(head * own..(head + 1) * own)
    }

    /// In the order of [`Dims::product_shapes`].
    pub(crate) fn products(&self) -> impl Iterator<Item = &Weight> {
        let products = [&self.qkv, &self.o, &self.inner, &self.down];
        products.into_iter().map(|product| &product.weight)
    }
}

impl Norms {
    fn new(
        norms: &akidb_transformer::BranchNorms,
        hidden_size: usize,
    ) -> Result<Self, EngineError> {
        Ok(Self {
            before: Norm::optional(norms.before.as_ref(), hidden_size)?,
            after: Norm::optional(norms.after.as_ref(), hidden_size)?,
            of_sum: Norm::optional(norms.of_sum.as_ref(), hidden_size)?,
        })
    }
}

/// What is added to each head's scores, by how far a key is behind the query, and for how many such
/// places.
fn by_distance(
    bias: &RelativeBias,
    heads: usize,
    dims: &Dims,
) -> Result<(Vec<f32>, usize), EngineError> {
    let (table, reach) = (&bias.table, dims.max_position_embeddings);
    check_shape(table.tensor(), &[table.vocab_size(), heads])?;
    let row_len = 2 * reach + 1;
    let mut all = vec![0.0; heads * row_len];
    let mut of_heads = vec![0.0; heads];
    for place in 0..row_len {
        let behind = place as isize - reach as isize;
        table.read_row(bias.bucket(behind), &mut of_heads)?;
        check_finite(table.tensor(), 0, &of_heads)?;
        for (head, value) in of_heads.iter().enumerate() {
            all[head * row_len + place] = *value;
        }
    }
    Ok((all, row_len))
}

/// Packs a block's products.
pub(super) fn pack_block(
    block: &Block,
    dims: &Dims,
    precision: Precision,
    isa: Isa,
) -> Result<Products, EngineError> {
    let products = parts(block, dims)?.into_iter().zip(dims.product_shapes());
    let packed = products.map(|(parts, [k, n])| pack(&parts, k, n, precision, isa));
    packed.collect()
}

/// The linear layers of each product, in the order of [`Dims::product_shapes`].
fn parts<'a>(block: &'a Block, dims: &Dims) -> Result<[Vec<Part<'a>>; 4], EngineError> {
    let (attention, mlp) = (&block.attention, &block.mlp);
    let (hidden, inner, layout) = (dims.hidden_size, dims.intermediate_size, dims.qkv);
    let key_value = |linear, first| {
        let part = Part::new(linear, first, hidden, dims.kv_width)?;
        Ok::<_, EngineError>(part.in_runs(layout.kv_runs()))
    };
    let query = Part::new(&attention.query, layout.q(0), hidden, dims.q_width)?;
    let qkv = vec![
        query.in_runs(layout.q_runs()),
        key_value(&attention.key, layout.k(0))?,
        key_value(&attention.value, layout.v(0))?,
    ];
    let o = vec![Part::new(&attention.output, 0, dims.q_width, hidden)?];
    let inner_parts = match &mlp.gate {
        Some(gate) => {
            let alternating = [NR, 2 * NR];
            vec![
                Part::new(gate, 0, hidden, inner)?.in_runs(alternating),
                Part::new(&mlp.up, NR, hidden, inner)?.in_runs(alternating),
            ]
        }
        None => vec![Part::new(&mlp.up, 0, hidden, inner)?],
    };
    let down = vec![Part::new(&mlp.down, 0, inner, hidden)?];
    Ok([qkv, o, inner_parts, down])
}
