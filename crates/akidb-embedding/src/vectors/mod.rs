//! What happens to a hidden state on its way out: cut, normalise, encode, compare.

mod encode;
mod normalize;
mod similarity;

pub use encode::{Encoding, Values, encode};
pub(crate) use normalize::l2_normalize;
pub use similarity::{Match, similarity, top_k};
