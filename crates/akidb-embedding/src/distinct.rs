//! The texts of one call, each different one once.

use std::collections::HashMap;

use akidb_backend::TokenBatch;

/// What the model has to see, and which of its rows belongs to which text.
#[derive(Debug, Default)]
pub(crate) struct Distinct {
    pub(crate) batch: TokenBatch,
    /// For each text, its row.
    pub(crate) rows: Vec<usize>,
}

impl<'a> FromIterator<&'a [u32]> for Distinct {
    fn from_iter<I: IntoIterator<Item = &'a [u32]>>(texts: I) -> Self {
        let mut this = Self::default();
        let mut seen = HashMap::new();
        for ids in texts {
            let row = *seen.entry(ids).or_insert_with(|| {
                this.batch.push(ids);
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
        let distinct: Distinct = texts.into_iter().collect();
        assert_eq!(distinct.rows, [0, 1, 0, 2, 1]);
        assert_eq!(distinct.batch.offsets(), [0, 2, 3, 4]);
        assert_eq!(distinct.batch.ids(), [1, 2, 3, 1]);
    }
}
