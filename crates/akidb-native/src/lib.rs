//! The native engine: runs decoders of the Qwen3 family on the CPU, in f32 or int8.
//!
//! Weights are packed once into panels, texts run end to end without padding, and one layer is
//! worked on at a time in chunks of rows: memory grows with the number of tokens, not with its
//! square. A text's vector is the same bits alone, in any batch, and with any number of threads.
#![forbid(unsafe_code)]

mod attention;
mod cache;
mod columns;
mod dims;
mod engine;
mod error;
mod forward;
mod key_values;
mod layout;
mod packing;
mod pool;
mod prefix;
mod product;
mod qkv_layout;
mod rotary;
mod split_columns;
mod split_rows;
mod weights;
mod workspace;

pub use akidb_kernels::Precision;
pub use cache::{PackedCache, SourceFile, packs_made_of};
pub use engine::{Engine, EngineOptions};
