//! From the tensors of a file to packed weights.

mod cache;
mod embeddings;
mod layer;
mod norm;
mod packing;

use std::sync::Arc;

use akidb_kernels::{Isa, Precision, Weight};
use akidb_onnx::MappedFiles;
use akidb_onnx::tensor::Tensor;
use akidb_transformer::{Block, Rotary, Transformer};

use crate::dims::Dims;
use crate::error::EngineError;
use crate::pass::RotaryTable;
use crate::pool::Pool;

pub use cache::{PackedCache, SourceFile, packs_made_of};
pub(crate) use embeddings::Embeddings;
pub(crate) use layer::{InnerActivation, Layer, Norms, Product};
use layer::{Products, pack_block};
pub(crate) use norm::Norm;
pub(crate) use packing::check_finite;

/// All weights of a model.
#[derive(Debug)]
pub(crate) struct Weights {
    pub(crate) embeddings: Embeddings,
    pub(crate) layers: Vec<Layer>,
    /// Of the residual stream behind the last layer.
    pub(crate) norm: Option<Norm>,
    /// Whether nothing had to be packed.
    pub(crate) from_cache: bool,
}

impl Weights {
    /// Packs every weight for the arithmetic that `precision` asks for, and checks that it is
    /// finite; takes them from `cache` when they are there, else leaves them there.
    pub(crate) fn pack(
        model: &Transformer,
        dims: &Dims,
        precision: Precision,
        isa: Isa,
        pool: &Pool,
        cache: Option<&PackedCache>,
    ) -> Result<Self, EngineError> {
        let embeddings = Embeddings::new(model, dims)?;
        let precision = packing::settled(precision, model, isa);
        let cache = cache.map(|cache| cache.pack(dims, model.blocks.len(), precision, isa));
        let cached = cache.as_ref().and_then(|cache| cache.read(pool));
        let from_cache = cached.is_some();
        let mut cached = cached.into_iter().flatten();
        let mut angles: Vec<(Rotary, Arc<RotaryTable>)> = Vec::new();
        let mut tasks = Vec::new();
        for block in &model.blocks {
            let rotary = block.attention.rotary;
            tasks.push(Task {
                block,
                cached: cached.next(),
                rotary: rotary.map(|rotary| table_of(&mut angles, rotary, dims)),
                packed: None,
            });
        }
        pool.for_each(tasks.iter_mut().collect(), |task: &mut Task<'_>| {
            let products = match task.cached.take() {
                Some(products) => products,
                None => pack_block(task.block, dims, precision, isa)?,
            };
            let rotary = task.rotary.take();
            task.packed = Some(Layer::new(task.block, dims, products, rotary)?);
            Ok(())
        })?;
        let layers: Vec<Layer> = tasks.into_iter().filter_map(|task| task.packed).collect();
        if let Some(cache) = cache
            && !from_cache
        {
            cache.write(layers.iter().flat_map(Layer::products), pool);
        }
        Ok(Self {
            embeddings,
            layers,
            norm: Norm::optional(model.final_norm.as_ref(), dims.hidden_size)?,
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
        MappedFiles::holding(products.chain(self.embeddings.bytes()))
    }

    /// Arithmetic of the linear layers.
    pub(crate) fn precision(&self) -> Precision {
        let first = self.layers.first();
        first.map_or(Precision::F32, |layer| layer.qkv.weight.precision())
    }
}

/// A layer to be made.
struct Task<'a> {
    block: &'a Block,
    cached: Option<Products>,
    rotary: Option<Arc<RotaryTable>>,
    packed: Option<Layer>,
}

/// The angles of `rotary`, which layers share.
fn table_of(
    tables: &mut Vec<(Rotary, Arc<RotaryTable>)>,
    rotary: Rotary,
    dims: &Dims,
) -> Arc<RotaryTable> {
    if let Some((_, table)) = tables.iter().find(|(known, _)| *known == rotary) {
        return Arc::clone(table);
    }
    let table = RotaryTable::new(rotary, dims.max_position_embeddings);
    let table = Arc::new(table);
    tables.push((rotary, Arc::clone(&table)));
    table
}

pub(crate) fn vector(tensor: &Tensor, len: usize) -> Result<Vec<f32>, EngineError> {
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
