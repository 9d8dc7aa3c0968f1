//! f32.

mod rows;
mod weights;

pub use rows::PackedRows;
pub use weights::PackedF32;
