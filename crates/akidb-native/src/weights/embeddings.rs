//! From a token to its row of the residual stream.

use akidb_kernels::Isa;
use akidb_transformer::{EmbeddingTable, PositionTable, Transformer};

use super::check_shape;
use super::norm::Norm;
use crate::dims::Dims;
use crate::error::EngineError;

/// Tables, left in their files, and what becomes of their rows.
#[derive(Debug)]
pub(crate) struct Embeddings {
    /// `[vocab_size, hidden_size]`.
    words: EmbeddingTable,
    scale: Option<f32>,
    pub(crate) positions: Option<PositionTable>,
    /// `[hidden_size]`, the same for all tokens.
    token_type: Option<Vec<f32>>,
    norm: Option<Norm>,
}

impl Embeddings {
    pub(super) fn new(model: &Transformer, dims: &Dims) -> Result<Self, EngineError> {
        let (embeddings, width) = (&model.embeddings, dims.hidden_size);
        check_shape(embeddings.words.tensor(), &[dims.vocab_size, width])?;
        if let Some(positions) = &embeddings.positions {
            let table = positions.table.tensor();
            let rows = positions
                .first_row
                .saturating_add(dims.max_position_embeddings);
            if table.dims().first().is_none_or(|there| *there < rows) {
                return Err(EngineError::TensorShape {
                    name: table.name().to_owned(),
                    expected: vec![rows, width],
                    actual: table.dims().to_vec(),
                });
            }
            check_shape(table, &[positions.table.vocab_size(), width])?;
        }
        let token_type = embeddings.token_types.as_ref().map(|table| {
            let mut row = vec![0.0; width];
            check_shape(table.tensor(), &[table.vocab_size(), width])?;
            table.read_row(0, &mut row)?;
            super::check_finite(table.tensor(), 0, &row)?;
            Ok::<_, EngineError>(row)
        });
        Ok(Self {
            words: embeddings.words.clone(),
            scale: embeddings.scale,
            positions: embeddings.positions.clone(),
            token_type: token_type.transpose()?,
            norm: Norm::optional(embeddings.norm.as_ref(), width)?,
        })
    }

    /// Writes a token's row. `position` is the row of the table of positions, `scratch` as long as
    /// `row`.
    pub(crate) fn embed(
        &self,
        isa: Isa,
        id: u32,
        position: usize,
        row: &mut [f32],
        scratch: &mut [f32],
    ) -> Result<(), EngineError> {
        self.words.read_row(id as usize, row)?;
        if let Some(scale) = self.scale {
            row.iter_mut().for_each(|x| *x *= scale);
        }
        if let Some(token_type) = &self.token_type {
            add(row, token_type);
        }
        if let Some(positions) = &self.positions {
            positions.table.read_row(position, scratch)?;
            add(row, scratch);
        }
        match &self.norm {
            Some(norm) => norm.apply(isa, row),
            None => Ok(()),
        }
    }

    /// The bytes of the tables.
    pub(super) fn bytes(&self) -> impl Iterator<Item = &[u8]> {
        let positions = self.positions.iter().map(|positions| &positions.table);
        let tables = std::iter::once(&self.words).chain(positions);
        tables.map(|table| &table.tensor().data()[..])
    }
}

fn add(row: &mut [f32], other: &[f32]) {
    for (x, other) in row.iter_mut().zip(other) {
        *x += other;
    }
}
