//! Activations and weights as whole numbers of steps, where a few activations are much larger than
//! the others: what the formats of 8 and fewer bits share.

pub(super) mod high_digits;
pub(super) mod outliers;
pub(super) mod steps;
