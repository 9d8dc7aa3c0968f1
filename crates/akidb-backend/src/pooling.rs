//! From the states of a text's tokens to one vector.

use crate::choice;

/// How a text's tokens become one vector, as sentence-transformers' `Pooling` does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The last token's (decoders such as Qwen3-Embedding).
    LastToken,
    /// The mean over all tokens (MiniLM, E5, GTE).
    Mean,
    /// The first token's (BGE).
    Cls,
    /// The largest of each column.
    Max,
    /// The sum over all tokens, divided by the square root of how many they are.
    MeanSqrtLen,
    /// The mean over all tokens, the n-th of them counted n times (SGPT).
    WeightedMean,
}

choice!(Pooling, "pooling",
    LastToken = "last_token": "the last token's state",
    Mean = "mean": "the mean of all tokens' states",
    Cls = "cls": "the first token's state",
    Max = "max": "the largest of all tokens' states, value by value",
    MeanSqrtLen = "mean_sqrt_len_tokens": "the sum of all tokens' states over the square root of their count",
    WeightedMean = "weightedmean": "the mean of all tokens' states, later ones counting more",
);

impl Pooling {
    /// Pools the states of a text's own tokens, row-major `[tokens, out.len()]`. Without padding nothing
    /// needs a mask. Sums run in f64, token after token. There is at least one token, and one column.
    pub fn pool(self, states: &[f32], out: &mut [f32]) {
        let width = out.len();
        match self {
            Self::Cls => out.copy_from_slice(&states[..width]),
            Self::LastToken => out.copy_from_slice(&states[states.len() - width..]),
            Self::Max => {
                out.fill(f32::NEG_INFINITY);
                for row in states.chunks_exact(width) {
                    // Where one is no number, so is the largest.
                    let largest = |a: f32, b: f32| if b > a || b.is_nan() { b } else { a };
                    out.iter_mut()
                        .zip(row)
                        .for_each(|(m, x)| *m = largest(*m, *x));
                }
            }
            Self::Mean => weighted(states, out, |_| 1.0, |weights| weights),
            Self::MeanSqrtLen => weighted(states, out, |_| 1.0, f64::sqrt),
            Self::WeightedMean => weighted(states, out, |n| n as f64, |weights| weights),
        }
    }
}

/// The sum of all rows by the weight of each, counted from one, over what `divisor` makes of all weights.
fn weighted(
    states: &[f32],
    out: &mut [f32],
    weight: impl Fn(usize) -> f64,
    divisor: impl Fn(f64) -> f64,
) {
    let mut sums = vec![0.0; out.len()];
    let mut weights = 0.0;
    for (row, n) in states.chunks_exact(out.len()).zip(1..) {
        let weight = weight(n);
        weights += weight;
        for (sum, x) in sums.iter_mut().zip(row) {
            *sum += weight * f64::from(*x);
        }
    }
    let divisor = divisor(weights);
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = (sum / divisor) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Choice;

    #[test]
    fn each_kind_takes_its_tokens() {
        let states = [1.0, 2.0, 3.0, -4.0, 8.0, 11.0];
        for (pooling, expected) in [
            (Pooling::Cls, [1.0, 2.0]),
            (Pooling::LastToken, [8.0, 11.0]),
            (Pooling::Mean, [4.0, 3.0]),
            (Pooling::Max, [8.0, 11.0]),
            (
                Pooling::MeanSqrtLen,
                [12.0 / 3.0_f32.sqrt(), 9.0 / 3.0_f32.sqrt()],
            ),
            (Pooling::WeightedMean, [31.0 / 6.0, 27.0 / 6.0]),
        ] {
            let mut out = [f32::NAN; 2];
            pooling.pool(&states, &mut out);
            for (x, expected) in out.iter().zip(expected) {
                assert!(
                    (x - expected).abs() < 1e-6 * expected.abs(),
                    "{pooling}: {out:?}"
                );
            }
            pooling.pool(&states[2..4], &mut out);
            assert_eq!(out, [3.0, -4.0], "{pooling} of one token");
        }
    }

    #[test]
    fn what_is_no_number_stays_none() {
        for pooling in Pooling::ALL {
            let mut out = [0.0_f32];
            pooling.pool(&[f32::NAN], &mut out);
            assert!(out[0].is_nan(), "{pooling}");
        }
        let mut out = [0.0_f32];
        Pooling::Max.pool(&[1.0, f32::NAN, 2.0], &mut out);
        assert!(out[0].is_nan());
    }
}
