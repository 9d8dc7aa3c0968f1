//! One graph of one shape.

use std::borrow::Cow;

use crate::coreml::{INPUTS_EMBEDS, LAST_HIDDEN_STATE, LAST_TOKEN, StaticShape};
use akidb_backend::{BackendError, BackendErrorKind};
use akidb_transformer::EmbeddingTable;
use ort::session::{Session, SessionInputValue};
use ort::value::Tensor;

use crate::runner::failed;

/// A graph in ONNX Runtime, and its shape.
#[derive(Debug)]
pub(super) struct StaticSession {
    pub(super) shape: StaticShape,
    pub(super) session: Session,
}

impl StaticSession {
    /// The last tokens' states of `texts`, at most as many and as long as the shape says, row-major
    /// `[shape.batch, hidden_size]`.
    pub(super) fn run(
        &mut self,
        texts: &[&[u32]],
        embed_tokens: &EmbeddingTable,
    ) -> Result<Vec<f32>, BackendError> {
        let StaticShape { batch, sequence } = self.shape;
        let width = embed_tokens.hidden_size();
        let embeds = inputs_embeds(texts, self.shape, embed_tokens)?;
        let last_token = last_token(texts, self.shape);
        let value = |shape: [usize; 3], data: Vec<f32>| {
            let tensor = Tensor::from_array((shape, data)).map_err(failed)?;
            Ok::<SessionInputValue<'static>, BackendError>(tensor.into())
        };
        let inputs = vec![
            (
                Cow::Borrowed(INPUTS_EMBEDS),
                value([batch, sequence, width], embeds)?,
            ),
            (
                Cow::Borrowed(LAST_TOKEN),
                value([batch, 1, sequence], last_token)?,
            ),
        ];
        let outputs = self.session.run(inputs).map_err(failed)?;
        let wrong = || {
            BackendError::new(
                BackendErrorKind::Failed,
                format!("the graph for {batch}x{sequence} gives no {batch} rows of {width} values"),
            )
        };
        let output = outputs.get(LAST_HIDDEN_STATE).ok_or_else(wrong)?;
        let (_, rows) = output.try_extract_tensor::<f32>().map_err(failed)?;
        match batch.checked_mul(width) == Some(rows.len()) {
            true => Ok(rows.to_vec()),
            false => Err(wrong()),
        }
    }
}

/// The tokens' vectors, each text at the beginning of its row, zeros behind it.
fn inputs_embeds(
    texts: &[&[u32]],
    shape: StaticShape,
    embed_tokens: &EmbeddingTable,
) -> Result<Vec<f32>, BackendError> {
    let width = embed_tokens.hidden_size();
    let mut embeds = vec![0.0; shape.tokens() * width];
    let rows = embeds.chunks_exact_mut(shape.sequence * width);
    for (row, ids) in rows.zip(texts) {
        for (vector, &id) in row.chunks_exact_mut(width).zip(*ids) {
            embed_tokens
                .read_row(id as usize, vector)
                .map_err(|error| {
                    BackendError::new(
                        BackendErrorKind::InvalidInput,
                        format!("token id {id} has no vector"),
                    )
                    .with_source(error)
                })?;
        }
    }
    Ok(embeds)
}

/// 1 at each text's last token.
fn last_token(texts: &[&[u32]], shape: StaticShape) -> Vec<f32> {
    let mut last_token = vec![0.0; shape.tokens()];
    let rows = last_token.chunks_exact_mut(shape.sequence);
    for (row, ids) in rows.zip(texts) {
        let last = ids.len().checked_sub(1).and_then(|last| row.get_mut(last));
        if let Some(last) = last {
            *last = 1.0;
        }
    }
    last_token
}

#[cfg(test)]
mod tests {
    use akidb_onnx::tensor::{DataType, Tensor};

    use super::*;

    #[test]
    fn texts_begin_their_rows_and_zeros_follow() {
        let data: Vec<u8> = [1.0f32, 2.0, 3.0]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        let table = Tensor::new("t", DataType::F32, vec![3, 1], data.into()).unwrap();
        let table = EmbeddingTable::new(table).unwrap();
        let shape: StaticShape = "3x2".parse().unwrap();
        let texts: [&[u32]; 2] = [&[2], &[0, 1]];
        assert_eq!(
            inputs_embeds(&texts, shape, &table).unwrap(),
            [3.0, 0.0, 1.0, 2.0, 0.0, 0.0]
        );
        assert_eq!(last_token(&texts, shape), [1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
        inputs_embeds(&[&[3]], shape, &table).unwrap_err();
    }
}
