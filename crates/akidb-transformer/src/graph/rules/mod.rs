//! One rule a file: nodes as writers spell them → the normal form.

mod additive_mask;
mod bool_mask;
mod dequantize_linear;
mod embedding;
mod gated_mlp;
mod group_query_attention;
mod head_norm;
mod linear;
mod matmul_bnb4;
mod matmul_integer;
mod matmul_nbits;
mod multi_head_attention;
mod repeated_heads;
mod rms_norm;
mod rotary_embedding;
mod scale;
mod scaled_codes;
mod standard_attention;
