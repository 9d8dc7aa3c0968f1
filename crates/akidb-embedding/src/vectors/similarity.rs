//! Cosine similarity.

/// Cosine of the angle between two vectors, in f64; 0 where one is all zeros, NaN where their
/// lengths differ.
///
/// ```
/// assert_eq!(akidb_embedding::similarity(&[1.0, 0.0], &[2.0, 0.0]), 1.0);
/// assert_eq!(akidb_embedding::similarity(&[1.0, 0.0], &[0.0, 3.0]), 0.0);
/// assert!(akidb_embedding::similarity(&[1.0], &[1.0, 0.0]).is_nan());
/// ```
pub fn similarity(a: &[f32], b: &[f32]) -> f64 {
    if a.len() != b.len() {
        return f64::NAN;
    }
    let (mut dot, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (&x, &y) in a.iter().zip(b) {
        let (x, y) = (f64::from(x), f64::from(y));
        dot += x * y;
        aa += x * x;
        bb += y * y;
    }
    let scale = (aa * bb).sqrt();
    if scale > 0.0 { dot / scale } else { 0.0 }
}
