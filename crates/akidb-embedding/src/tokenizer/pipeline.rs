//! From normalizer to post-processor, by the `tokenizers` crate; plain BPE by this one's.

use tokenizers::{
    DecoderWrapper, Encoding, Model, ModelWrapper, NormalizerWrapper, PostProcessorWrapper,
    PreTokenizerWrapper, TokenizerImpl,
};

use super::bpe::Bpe;

/// A tokenizer whose model is `M` and whose other parts are the `tokenizers` crate's.
type With<M> =
    TokenizerImpl<M, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>;

/// A tokenizer that neither truncates nor pads.
#[derive(Debug)]
pub(super) enum Pipeline {
    /// For plain BPE, quick to load.
    Bpe(Box<With<Bpe>>),
    /// For everything else.
    Library(Box<With<ModelWrapper>>),
}

/// What the post-processor puts before and after a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edges {
    pub(super) prefix: Vec<u32>,
    pub(super) suffix: Vec<u32>,
}

impl Pipeline {
    /// From the bytes of a tokenizer.json.
    pub(super) fn new(bytes: &[u8]) -> tokenizers::Result<Self> {
        let mut this = match serde_json::from_slice(bytes) {
            Ok(tokenizer) => Self::Bpe(Box::new(tokenizer)),
            // Whether the file is wrong or only something else than plain BPE is the crate's to say.
            Err(reason) => {
                tracing::debug!("the tokenizer loads the slow way: {reason}");
                Self::library(bytes)?
            }
        };
        // Length and padding are ours to decide, whatever the file was saved with.
        match &mut this {
            Self::Bpe(tokenizer) => {
                tokenizer.with_truncation(None)?.with_padding(None);
            }
            Self::Library(tokenizer) => {
                tokenizer.with_truncation(None)?.with_padding(None);
            }
        }
        Ok(this)
    }

    pub(super) fn library(bytes: &[u8]) -> tokenizers::Result<Self> {
        Ok(Self::Library(Box::new(serde_json::from_slice(bytes)?)))
    }

    /// Ids of a text without special tokens.
    pub(super) fn encode(&self, text: &str) -> tokenizers::Result<Vec<u32>> {
        let encoding = match self {
            Self::Bpe(tokenizer) => tokenizer.encode_fast(text, false),
            Self::Library(tokenizer) => tokenizer.encode_fast(text, false),
        }?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Ids of a text without special tokens, and the characters that each stands for.
    pub(super) fn encode_char_offsets(&self, text: &str) -> tokenizers::Result<Encoding> {
        match self {
            Self::Bpe(tokenizer) => tokenizer.encode_char_offsets(text, false),
            Self::Library(tokenizer) => tokenizer.encode_char_offsets(text, false),
        }
    }

    /// The text that ids stand for; ids outside the vocabulary for none.
    pub(super) fn decode(&self, ids: &[u32], skip_special: bool) -> tokenizers::Result<String> {
        match self {
            Self::Bpe(tokenizer) => tokenizer.decode(ids, skip_special),
            Self::Library(tokenizer) => tokenizer.decode(ids, skip_special),
        }
    }

    /// A token's own text, as the vocabulary has it.
    pub(super) fn token(&self, id: u32) -> Option<String> {
        match self {
            Self::Bpe(tokenizer) => tokenizer.id_to_token(id),
            Self::Library(tokenizer) => tokenizer.id_to_token(id),
        }
    }

    /// Number of tokens, added ones included.
    pub(super) fn vocab_size(&self) -> usize {
        match self {
            Self::Bpe(tokenizer) => tokenizer.get_vocab_size(true),
            Self::Library(tokenizer) => tokenizer.get_vocab_size(true),
        }
    }

    pub(super) fn edges(&self) -> tokenizers::Result<Edges> {
        match self {
            Self::Bpe(tokenizer) => edges(tokenizer),
            Self::Library(tokenizer) => edges(tokenizer),
        }
    }
}

fn edges<M: Model>(tokenizer: &With<M>) -> tokenizers::Result<Edges> {
    let probe = tokenizer.encode("a", true)?;
    let (ids, special) = (probe.get_ids(), probe.get_special_tokens_mask());
    let before = special.iter().take_while(|&&s| s == 1).count();
    let after = special[before..]
        .iter()
        .rev()
        .take_while(|&&s| s == 1)
        .count();
    Ok(Edges {
        prefix: ids[..before].to_vec(),
        suffix: ids[ids.len() - after..].to_vec(),
    })
}
