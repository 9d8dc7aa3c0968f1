//! Activations as i8, where a few are much larger than the others.

pub(super) mod high_digits;
pub(super) mod outliers;
