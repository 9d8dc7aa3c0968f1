//! Which file is for which shape.

use super::precision::Precision;

/// Name of the manifest in the directory that [`write`](super::write()) fills.
pub use akidb_onnx::COREML_MANIFEST as MANIFEST;

/// Name of the input with the tokens' vectors, f32 `[batch, sequence, hidden_size]`.
pub const INPUTS_EMBEDS: &str = "inputs_embeds";
/// Name of the input that picks the last token, f32 `[batch, 1, sequence]`.
pub const LAST_TOKEN: &str = "last_token";
/// Name of the output, f32 `[batch, hidden_size]`.
pub const LAST_HIDDEN_STATE: &str = "last_hidden_state";

/// Contents of [`MANIFEST`]. Paths are relative to the manifest's directory.
///
/// To run a file of [`Self::shapes`]: each row of `inputs_embeds`, f32
/// `[batch, sequence, hidden_size]`, is one text from its first token on, the vectors of its tokens
/// from [`Self::embed_tokens`], then zeros; the same row of `last_token`, f32
/// `[batch, 1, sequence]`, is 1 at the text's last token and 0 elsewhere. The output
/// `last_hidden_state`, f32 `[batch, hidden_size]`, is that token's state after the final norm,
/// not normalised. Rows without a text are zeros in both inputs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Manifest {
    /// Version of this layout, 1.
    pub version: u32,
    /// Name of the file that the weights are from.
    pub source: String,
    /// Of the weights and the products with them.
    pub precision: Precision,
    /// Width of a vector.
    pub hidden_size: usize,
    /// Number of tokens that have a vector.
    pub vocab_size: usize,
    /// The embedding table.
    pub embed_tokens: EmbedTokens,
    /// The weights that all shapes share.
    pub weights: String,
    /// One graph a shape, from the smallest number of tokens on.
    pub shapes: Vec<ShapeFile>,
}

/// Where the embedding table is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct EmbedTokens {
    /// A safetensors file.
    pub file: String,
    /// The tensor in it, `[vocab_size, hidden_size]`.
    pub tensor: String,
}

/// One graph.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ShapeFile {
    /// An ONNX file.
    pub file: String,
    /// Number of texts.
    pub batch: usize,
    /// Longest text in tokens.
    pub sequence: usize,
}
