//! From a token to its row of the residual stream.

use akidb_kernels::Isa;
use akidb_transformer::{EmbeddingTable, PositionTable, Transformer};

use super::check_shape;
use super::norm::Norm;
use crate::dims::Dims;
use crate::error::EngineError;

/// Segments that a text has at most.
const MAX_SEGMENTS: usize = 2;

/// Tables, left in their files, and what becomes of their rows.
#[derive(Debug)]
pub(crate) struct Embeddings {
    /// `[vocab_size, hidden_size]`.
    words: EmbeddingTable,
    scale: Option<f32>,
    pub(crate) positions: Option<PositionTable>,
    /// Of the first segment and of the second, each `[hidden_size]`; as many as the model has.
    token_types: Vec<Vec<f32>>,
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
        let token_types = embeddings.token_types.as_ref().map(|table| {
            check_shape(table.tensor(), &[table.vocab_size(), width])?;
            let row = |index: usize| {
                let mut row = vec![0.0; width];
                table.read_row(index, &mut row)?;
                super::check_finite(table.tensor(), index * width, &row)?;
                Ok::<_, EngineError>(row)
            };
            let segments = table.vocab_size().clamp(1, MAX_SEGMENTS);
            (0..segments).map(row).collect::<Result<Vec<_>, _>>()
        });
        Ok(Self {
            words: embeddings.words.clone(),
            scale: embeddings.scale,
            positions: embeddings.positions.clone(),
            token_types: token_types.transpose()?.unwrap_or_default(),
            norm: Norm::optional(embeddings.norm.as_ref(), width)?,
        })
    }

    /// Whether tokens of a second segment differ from those of the first, as the model has them.
    pub(crate) fn has_second_segment(&self) -> bool {
        self.token_types.len() == MAX_SEGMENTS
    }

    /// Writes a token's row. `position` is the row of the table of positions, `segment` 0 or 1,
    /// `scratch` as long as `row`.
    pub(crate) fn embed(
        &self,
        isa: Isa,
        id: u32,
        position: usize,
        segment: usize,
        row: &mut [f32],
        scratch: &mut [f32],
    ) -> Result<(), EngineError> {
        self.words.read_row(id as usize, row)?;
        if let Some(scale) = self.scale {
            row.iter_mut().for_each(|x| *x *= scale);
        }
        if let Some(token_type) = self.token_types.get(segment) {
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
