//! The texts of one call, each different one once.

use std::collections::HashMap;

use akidb_backend::TokenBatch;

/// A text's token ids, and where the second segment of a pair begins.
pub(crate) type Ids<'a> = (&'a [u32], Option<usize>);

/// What the model has to see, and which of its rows belongs to which text.
#[derive(Debug, Default)]
pub(crate) struct Distinct {
    pub(crate) batch: TokenBatch,
    /// For each text, its row.
    pub(crate) rows: Vec<usize>,
}

impl<'a> FromIterator<Ids<'a>> for Distinct {
    fn from_iter<I: IntoIterator<Item = Ids<'a>>>(texts: I) -> Self {
        let mut this = Self::default();
        let mut seen = HashMap::new();
        for (ids, second_segment) in texts {
            let row = *seen.entry((ids, second_segment)).or_insert_with(|| {
                this.batch
                    .push_pair(ids, second_segment.unwrap_or(ids.len()));
                this.batch.len() - 1
            });
            this.rows.push(row);
        }
        this
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_there_twice_is_seen_once() {
        let texts: [&[u32]; 5] = [&[1, 2], &[3], &[1, 2], &[1], &[3]];
        let distinct: Distinct = texts.into_iter().map(|ids| (ids, None)).collect();
        assert_eq!(distinct.rows, [0, 1, 0, 2, 1]);
        assert_eq!(distinct.batch.offsets(), [0, 2, 3, 4]);
        assert_eq!(distinct.batch.ids(), [1, 2, 3, 1]);
    }

    #[test]
    fn the_same_tokens_in_other_segments_are_another_text() {
        let ids: &[u32] = &[1, 2];
        let distinct: Distinct = [(ids, Some(1)), (ids, None), (ids, Some(1))]
            .into_iter()
            .collect();
        assert_eq!(distinct.rows, [0, 1, 0]);
        assert_eq!(distinct.batch.second_segments(), [1, 2]);
    }
}
