//! Cosine similarity.

/// Cosine of the angle between two vectors, summed in f64; 0 where one is all zeros, NaN where their
/// lengths differ or one has a value that is not a number.
///
/// ```
/// assert_eq!(akidb_embedding::similarity(&[1.0, 0.0], &[2.0, 0.0]), 1.0);
/// assert_eq!(akidb_embedding::similarity(&[1.0, 0.0], &[0.0, 3.0]), 0.0);
/// assert!(akidb_embedding::similarity(&[1.0], &[1.0, 0.0]).is_nan());
/// ```
pub fn similarity(a: &[f32], b: &[f32]) -> f32 {
    if a.len() != b.len() {
        return f32::NAN;
    }
    let (mut dot, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (&x, &y) in a.iter().zip(b) {
        let (x, y) = (f64::from(x), f64::from(y));
        dot += x * y;
        aa += x * x;
        bb += y * y;
    }
    let scale = f64::sqrt(aa * bb);
    if scale == 0.0 {
        0.0
    } else {
        (dot / scale) as f32
    }
}

/// One of many vectors, and how near it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Match {
    /// Its place among them.
    pub index: usize,
    /// Its [`similarity`].
    pub similarity: f32,
}

/// The `k` of `vectors` that are nearest to `query`, best first; of equal ones the earlier is first.
/// What can't be compared is left out: vectors of another length, and with values that are no numbers.
///
/// ```
/// let vectors = [[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]];
/// let nearest = akidb_embedding::top_k(&[0.0, 2.0], &vectors, 2);
/// let order: Vec<usize> = nearest.iter().map(|nearest| nearest.index).collect();
/// assert_eq!(order, [1, 2]);
/// assert_eq!(nearest[0].similarity, 1.0);
/// ```
pub fn top_k<V: AsRef<[f32]>>(query: &[f32], vectors: &[V], k: usize) -> Vec<Match> {
    let mut matches: Vec<Match> = vectors
        .iter()
        .enumerate()
        .map(|(index, vector)| Match {
            index,
            similarity: similarity(query, vector.as_ref()),
        })
        .filter(|found| !found.similarity.is_nan())
        .collect();
    matches.sort_by(|a, b| b.similarity.total_cmp(&a.similarity));
    matches.truncate(k);
    matches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_are_first_and_what_cannot_be_compared_is_left_out() {
        let vectors = [
            vec![0.0, 1.0],
            vec![1.0],
            vec![0.0, 3.0],
            vec![0.0, 0.0],
            vec![f32::NAN, 1.0],
            vec![-1.0, 0.0],
        ];
        let order = |k| -> Vec<usize> {
            let found = top_k(&[0.0, 1.0], &vectors, k);
            found.iter().map(|found| found.index).collect()
        };
        assert_eq!(order(9), [0, 2, 3, 5]);
        assert_eq!(order(1), [0]);
        assert_eq!(order(0), [0; 0]);
    }
}
