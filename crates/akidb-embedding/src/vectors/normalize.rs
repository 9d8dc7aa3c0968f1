//! L2 normalisation.

/// Scales `vector` to length 1; a vector of zeros stays as it is.
///
/// The sum of squares is taken in f64, in order, so the result depends on the vector alone.
pub(crate) fn l2_normalize(vector: &mut [f32]) {
    let norm = vector
        .iter()
        .map(|&x| f64::from(x) * f64::from(x))
        .sum::<f64>()
        .sqrt();
    if norm > 0.0 {
        for x in vector {
            *x = (f64::from(*x) / norm) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_becomes_one() {
        let mut v = [3.0, -4.0];
        l2_normalize(&mut v);
        assert_eq!(v, [0.6, -0.8]);
    }

    #[test]
    fn extremes_neither_overflow_nor_vanish() {
        for x in [f32::MAX, f32::MIN_POSITIVE, 1e-45] {
            let mut v = [x, x];
            l2_normalize(&mut v);
            assert_eq!(v, [std::f32::consts::FRAC_1_SQRT_2; 2], "{x}");
        }
    }

    #[test]
    fn zeros_stay_zeros() {
        let mut v = [0.0; 3];
        l2_normalize(&mut v);
        assert_eq!(v, [0.0; 3]);
    }
}
