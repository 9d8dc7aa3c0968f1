//! What happens to a hidden state on its way out: cut, normalise, encode, compare.

mod encode;
mod normalize;
mod similarity;

pub(crate) use encode::encode;
pub use encode::{Encoding, Values};
pub(crate) use normalize::l2_normalize;
pub use similarity::similarity;
