//! L2 normalisation.

/// Scales `vector` to length 1; false where it can't be, as a vector of zeros has no direction.
///
/// The sum of squares is taken in f64, in order, so the result depends on the vector alone.
#[must_use]
pub(crate) fn l2_normalize(vector: &mut [f32]) -> bool {
    let norm = vector
        .iter()
        .map(|&x| f64::from(x) * f64::from(x))
        .sum::<f64>()
        .sqrt();
    for x in vector {
        *x = (f64::from(*x) / norm) as f32;
    }
    norm > 0.0 && norm.is_finite()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_becomes_one() {
        let mut v = [3.0, -4.0];
        assert!(l2_normalize(&mut v));
        assert_eq!(v, [0.6, -0.8]);
    }

    #[test]
    fn extremes_neither_overflow_nor_vanish() {
        for x in [f32::MAX, f32::MIN_POSITIVE, 1e-45] {
            let mut v = [x, x];
            assert!(l2_normalize(&mut v));
            assert_eq!(v, [std::f32::consts::FRAC_1_SQRT_2; 2], "{x}");
        }
    }

    #[test]
    fn what_has_no_direction_is_told() {
        for v in [[0.0, -0.0], [1.0, f32::INFINITY], [f32::NAN, 1.0]] {
            assert!(!l2_normalize(&mut v.to_vec()), "{v:?}");
        }
    }
}
