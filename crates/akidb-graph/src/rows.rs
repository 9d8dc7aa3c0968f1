//! What one run gives.

use akidb_backend::{BackendError, BackendErrorKind, Pooling};

use crate::layout::TextLayout;

/// Pooled rows, row-major `[texts, width]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    data: Vec<f32>,
    width: usize,
    pooled_by_graph: bool,
}

impl Rows {
    /// Rows of `texts`, out of the values of the output called `name`: `[rows, width]`, pooled
    /// already, or `[rows, tokens, width]`, as many and as long as `layout` makes them.
    ///
    /// # Errors
    /// When the output has another shape.
    pub fn of_output(
        name: &str,
        shape: &[usize],
        data: &[f32],
        texts: &[&[u32]],
        layout: TextLayout,
        pooling: Pooling,
    ) -> Result<Self, BackendError> {
        let longest = texts.iter().map(|ids| ids.len()).max().unwrap_or(0);
        let (rows, length) = layout.grid(texts.len(), longest);
        let complete = Some(data.len()) == checked_product(shape);
        let complete = complete && texts.len() <= rows && longest <= length;
        match *shape {
            [batch, width] if batch == rows && width > 0 && complete => Ok(Self {
                data: data[..texts.len() * width].to_vec(),
                width,
                pooled_by_graph: true,
            }),
            [batch, tokens, width]
                if batch == rows
                    && tokens == length
                    && layout != TextLayout::EndToEnd
                    && width > 0
                    && complete =>
            {
                let mut rows = vec![0.0; texts.len() * width];
                let states = data.chunks_exact(tokens * width);
                for ((row, states), ids) in rows.chunks_exact_mut(width).zip(states).zip(texts) {
                    pooling.pool(&states[..ids.len() * width], row);
                }
                Ok(Self {
                    data: rows,
                    width,
                    pooled_by_graph: false,
                })
            }
            _ => Err(BackendError::new(
                BackendErrorKind::UnsupportedModel,
                format!(
                    "output {name:?} has shape {shape:?} for {rows} texts of at most {length} tokens; \
                     expected [texts, hidden_size] or [texts, tokens, hidden_size]",
                ),
            )),
        }
    }

    /// Whether the graph has pooled them.
    pub fn pooled_by_graph(&self) -> bool {
        self.pooled_by_graph
    }

    /// Width of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The row of text `index`; empty when there is no such text.
    pub fn row(&self, index: usize) -> &[f32] {
        let start = index.saturating_mul(self.width);
        let end = start.saturating_add(self.width);
        self.data.get(start..end).unwrap_or_default()
    }
}

fn checked_product(shape: &[usize]) -> Option<usize> {
    shape
        .iter()
        .try_fold(1usize, |n, size| n.checked_mul(*size))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXTS: [&[u32]; 2] = [&[1, 2, 3], &[4]];

    fn rows(shape: &[usize], data: &[f32]) -> Result<Rows, BackendError> {
        let layout = TextLayout::Rows {
            texts: None,
            tokens: None,
        };
        Rows::of_output("out", shape, data, &TEXTS, layout, Pooling::LastToken)
    }

    #[test]
    fn rows_and_tokens_that_only_fill_up_are_left_out() {
        let data: Vec<f32> = (0..24u8).map(f32::from).collect();
        let fixed = TextLayout::Rows {
            texts: Some(3),
            tokens: Some(4),
        };
        let of = |shape: &[usize], data: &[f32]| {
            Rows::of_output("out", shape, data, &TEXTS, fixed, Pooling::LastToken)
        };
        let rows = of(&[3, 4, 2], &data).unwrap();
        assert_eq!(
            (rows.row(0), rows.row(1), rows.row(2)),
            (&[4.0, 5.0][..], &[8.0, 9.0][..], &[][..])
        );
        assert!(!rows.pooled_by_graph());
        let rows = of(&[3, 2], &data[..6]).unwrap();
        assert_eq!((rows.row(1), rows.row(2)), (&[2.0, 3.0][..], &[][..]));
        assert!(rows.pooled_by_graph());
    }

    #[test]
    fn padding_is_left_out() {
        let data: Vec<f32> = (0..12u8).map(f32::from).collect();
        let rows = rows(&[2, 3, 2], &data).unwrap();
        assert_eq!(
            (rows.row(0), rows.row(1)),
            (&[4.0, 5.0][..], &[6.0, 7.0][..])
        );
        assert_eq!((rows.width(), rows.row(2)), (2, &[][..]));
        assert_eq!(rows.row(usize::MAX), [0.0; 0]);
    }

    #[test]
    fn what_is_pooled_stays() {
        let rows = rows(&[2, 2], &[1.0, 2.0, 3.0, 4.0]).unwrap();
        assert_eq!(rows.row(1), [3.0, 4.0]);
    }

    #[test]
    fn other_shapes_are_refused() {
        let data = [0.0; 12];
        for shape in [
            &[1, 3, 2][..],
            &[2, 4, 2],
            &[2, 0],
            &[2, 3, 0],
            &[12],
            &[2, 3, 2, 1],
            &[2, 3, 4],
            &[2, usize::MAX],
        ] {
            let error = rows(shape, &data).unwrap_err();
            assert_eq!(error.kind(), BackendErrorKind::UnsupportedModel);
            assert!(error.to_string().contains("\"out\" has shape"), "{error}");
        }
    }
}
