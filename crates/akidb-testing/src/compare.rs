//! How close two vectors are.

/// Cosine of the angle between `a` and `b`, accumulated in f64; NaN when either is all zeros.
///
/// Panics when the lengths differ.
///
/// ```
/// assert_eq!(akidb_testing::cosine(&[3.0, 0.0], &[4.0, 0.0]), 1.0);
/// ```
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len(), "cosine of vectors of different length");
    let dot = |x: &[f32], y: &[f32]| -> f64 {
        x.iter()
            .zip(y)
            .map(|(&x, &y)| f64::from(x) * f64::from(y))
            .sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Largest absolute difference of two elements; infinite when a difference is NaN, so that `< limit` fails.
///
/// Panics when the lengths differ.
pub fn max_abs_diff(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(
        a.len(),
        b.len(),
        "difference of vectors of different length"
    );
    a.iter()
        .zip(b)
        .map(|(x, y)| (x - y).abs())
        .map(|d| if d.is_nan() { f32::INFINITY } else { d })
        .fold(0.0, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosine_of_known_angles() {
        assert!((cosine(&[1.0, 0.0], &[1.0, 1.0]) - 0.5f64.sqrt()).abs() < 1e-15);
        assert_eq!(cosine(&[1.0, 0.0], &[0.0, 2.0]), 0.0);
        assert_eq!(cosine(&[1.0, 2.0], &[-1.0, -2.0]), -1.0);
        assert!(cosine(&[0.0], &[1.0]).is_nan());
    }

    #[test]
    fn largest_difference_wins_and_nan_is_never_small() {
        assert_eq!(max_abs_diff(&[1.0, 2.0, 3.0], &[1.5, 0.0, 3.0]), 2.0);
        assert_eq!(max_abs_diff(&[f32::NAN, 1.0], &[0.0, 1.0]), f32::INFINITY);
        assert_eq!(max_abs_diff(&[0.0, f32::NAN], &[9.0, 0.0]), f32::INFINITY);
        assert_eq!(max_abs_diff(&[], &[]), 0.0);
    }

    #[test]
    #[should_panic(expected = "different length")]
    fn lengths_must_agree() {
        max_abs_diff(&[1.0], &[1.0, 2.0]);
    }
}
