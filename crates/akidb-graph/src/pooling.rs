//! One row of many.

use akidb_backend::Pooling;

/// Pools `tokens` hidden states, row-major `[tokens, row.len()]` f32, into `row`.
///
/// Only a text's own tokens are given, so that padding has no weight. `hidden` holds at least one.
pub(crate) fn pool(hidden: &[f32], pooling: Pooling, row: &mut [f32]) {
    let width = row.len();
    match pooling {
        Pooling::Cls => row.copy_from_slice(&hidden[..width]),
        Pooling::LastToken => row.copy_from_slice(&hidden[hidden.len() - width..]),
        Pooling::Mean => {
            row.fill(0.0);
            let mut tokens = 0.0;
            for token in hidden.chunks_exact(width) {
                row.iter_mut().zip(token).for_each(|(sum, x)| *sum += x);
                tokens += 1.0;
            }
            row.iter_mut().for_each(|sum| *sum /= tokens);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_takes_its_tokens() {
        let hidden = [1.0, 2.0, 3.0, 4.0, 8.0, 12.0];
        for (pooling, expected) in [
            (Pooling::Cls, [1.0, 2.0]),
            (Pooling::LastToken, [8.0, 12.0]),
            (Pooling::Mean, [4.0, 6.0]),
        ] {
            let mut row = [f32::NAN; 2];
            pool(&hidden, pooling, &mut row);
            assert_eq!(row, expected);
        }
    }
}
