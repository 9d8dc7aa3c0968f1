//! From the tensors of a file to packed weights.

mod cache;
mod packing;

use akidb_kernels::{Isa, NR, Precision, Weight};
use akidb_onnx::MappedFiles;
use akidb_onnx::tensor::Tensor;
use akidb_transformer::{DecoderBlock, EmbeddingTable, Transformer};

use crate::dims::Dims;
use crate::error::EngineError;
use crate::pool::Pool;

pub use cache::{PackedCache, SourceFile, packs_made_of};
use packing::{Part, check_finite, pack};

/// All weights of a model.
#[derive(Debug)]
pub(crate) struct Weights {
    /// `[vocab_size, hidden_size]`, left in the file.
    pub(crate) embed_tokens: EmbeddingTable,
    pub(crate) layers: Vec<Layer>,
    /// `[hidden_size]`.
    pub(crate) norm: Vec<f32>,
    /// Whether nothing had to be packed.
    pub(crate) from_cache: bool,
}

/// Weights of a layer.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) input_layernorm: Vec<f32>,
    /// Columns as [`Dims`] says.
    pub(crate) qkv: Weight,
    pub(crate) q_norm: Vec<f32>,
    pub(crate) k_norm: Vec<f32>,
    pub(crate) o: Weight,
    pub(crate) post_attention_layernorm: Vec<f32>,
    /// Panels of gate and up in turn.
    pub(crate) gate_up: Weight,
    pub(crate) down: Weight,
}

impl Weights {
    /// Packs every weight for the arithmetic that `precision` asks for, and checks that it is
    /// finite; takes them from `cache` when they are there, else leaves them there.
    pub(crate) fn pack(
        decoder: &Transformer,
        dims: &Dims,
        precision: Precision,
        isa: Isa,
        pool: &Pool,
        cache: Option<&PackedCache>,
    ) -> Result<Self, EngineError> {
        let (blocks, norm) = decoder.decoder_blocks()?;
        let words = &decoder.embeddings.words;
        check_shape(words.tensor(), &[dims.vocab_size, dims.hidden_size])?;
        let cache = cache.map(|cache| cache.pack(dims, blocks.len(), precision, isa));
        let cached = cache.as_ref().and_then(|cache| cache.read(pool));
        let from_cache = cached.is_some();
        let mut cached = cached.into_iter().flatten();
        let mut tasks = Vec::new();
        for block in &blocks {
            tasks.push((block, cached.next(), None));
        }
        pool.for_each(
            tasks.iter_mut().collect(),
            |(block, cached, packed): &mut (&DecoderBlock<'_>, Option<Products>, Option<Layer>)| {
                let products = match cached.take() {
                    Some(products) => products,
                    None => pack_block(block, dims, precision, isa)?,
                };
                *packed = Some(Layer::new(block, dims, products)?);
                Ok(())
            },
        )?;
        let layers: Vec<Layer> = tasks
            .into_iter()
            .filter_map(|(_, _, packed)| packed)
            .collect();
        if let Some(cache) = cache
            && !from_cache
        {
            cache.write(layers.iter().flat_map(Layer::products), pool);
        }
        Ok(Self {
            embed_tokens: words.clone(),
            layers,
            norm: vector(norm, dims.hidden_size)?,
            from_cache,
        })
    }

    /// The files that a pass reads.
    pub(crate) fn files(&self) -> MappedFiles {
        let products = self
            .layers
            .iter()
            .flat_map(Layer::products)
            .flat_map(Weight::parts);
        let table: &[u8] = self.embed_tokens.tensor().data();
        MappedFiles::holding(products.chain([table]))
    }
}

/// A block's packed products, in the order of [`Dims::product_shapes`].
type Products = Vec<Weight>;

impl Layer {
    /// A layer of packed products, and vectors from the file.
    fn new(block: &DecoderBlock<'_>, dims: &Dims, products: Products) -> Result<Self, EngineError> {
        let hidden = dims.hidden_size;
        let mut products = products.into_iter();
        let mut next = || products.next().ok_or(EngineError::Products);
        Ok(Self {
            input_layernorm: vector(block.input_layernorm, hidden)?,
            qkv: next()?,
            q_norm: vector(block.q_norm, dims.head_dim)?,
            k_norm: vector(block.k_norm, dims.head_dim)?,
            o: next()?,
            post_attention_layernorm: vector(block.post_attention_layernorm, hidden)?,
            gate_up: next()?,
            down: next()?,
        })
    }

    /// In the order of [`Dims::product_shapes`].
    pub(crate) fn products(&self) -> impl Iterator<Item = &Weight> {
        [&self.qkv, &self.o, &self.gate_up, &self.down].into_iter()
    }
}

impl Weights {
    /// Arithmetic of the linear layers.
    pub(crate) fn precision(&self) -> Precision {
        let first = self.layers.first();
        first.map_or(Precision::F32, |layer| layer.qkv.precision())
    }
}

/// Packs a block's products.
fn pack_block(
    block: &DecoderBlock<'_>,
    dims: &Dims,
    precision: Precision,
    isa: Isa,
) -> Result<Products, EngineError> {
    let hidden = dims.hidden_size;
    let qkv = vec![
        Part::new(block.q_proj, dims.qkv.q(0), hidden, dims.q_width)?.in_runs(dims.qkv.q_runs()),
        Part::new(block.k_proj, dims.qkv.k(0), hidden, dims.kv_width)?.in_runs(dims.qkv.kv_runs()),
        Part::new(block.v_proj, dims.qkv.v(0), hidden, dims.kv_width)?.in_runs(dims.qkv.kv_runs()),
    ];
    let o = vec![Part::new(block.o_proj, 0, dims.q_width, hidden)?];
    let inner = dims.intermediate_size;
    let alternating = [NR, 2 * NR];
    let gate_up = vec![
        Part::new(block.gate_proj, 0, hidden, inner)?.in_runs(alternating),
        Part::new(block.up_proj, NR, hidden, inner)?.in_runs(alternating),
    ];
    let down = vec![Part::new(block.down_proj, 0, inner, hidden)?];
    let products = [qkv, o, gate_up, down].into_iter();
    let products = products.zip(dims.product_shapes());
    let packed = products.map(|(parts, [k, n])| pack(&parts, k, n, precision, isa));
    packed.collect()
}

fn vector(tensor: &Tensor, len: usize) -> Result<Vec<f32>, EngineError> {
    check_shape(tensor, &[len])?;
    let values = tensor.to_f32_vec()?;
    check_finite(tensor, 0, &values)?;
    Ok(values)
}

fn check_shape(tensor: &Tensor, expected: &[usize]) -> Result<(), EngineError> {
    if tensor.dims() == expected {
        return Ok(());
    }
    Err(EngineError::TensorShape {
        name: tensor.name().to_owned(),
        expected: expected.to_vec(),
        actual: tensor.dims().to_vec(),
    })
}
