//! The native engine: runs transformers on the CPU, in f32, bf16, int8 or 4 bits.
//!
//! Weights are packed once into panels, texts run end to end without padding, and one layer is
//! worked on at a time in chunks of rows: memory grows with the number of tokens, not with its
//! square. A text's vector is the same bits alone, in any batch, and with any number of threads.
#![forbid(unsafe_code)]

mod dims;
mod engine;
mod error;
mod head;
mod pass;
mod pool;
mod qkv_layout;
mod runnable;
mod weights;

pub use akidb_kernels::Precision;
pub use engine::{Engine, EngineOptions};
pub use weights::{PackedCache, SourceFile, packs_made_of};
