//! From normalizer to pre-tokens and their tokens, with the parts of the `tokenizers` crate; plain
//! BPE by this one's.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use tokenizers::tokenizer::pre_tokenizer::OffsetType;
use tokenizers::{
    Model, ModelWrapper, NormalizedString, Normalizer, OffsetReferential, PreTokenizedString,
    PreTokenizer, TokenizerImpl, TruncationDirection,
};

use super::bpe::Bpe;
use super::cuts::{Cuts, Known};
use super::limits::{LimitError, check_model, check_strings};
use super::parts::{Decoders, Normalizers, PostProcessors, PreTokenizers};
use crate::model::TruncationSide;

/// A tokenizer whose model is `M` and whose other parts are the `tokenizers` crate's.
type With<M> = TokenizerImpl<M, Normalizers, PreTokenizers, PostProcessors, Decoders>;

/// Bytes of tokens that are decoded at a time.
const MAX_DECODED: usize = 64 << 20;

/// A tokenizer that neither truncates nor pads, and what is known of it.
#[derive(Debug)]
pub(super) struct Pipeline {
    /// The side that the file's truncation cuts off, if it has one.
    pub(super) truncation_side: Option<TruncationSide>,
    pub(super) model: PipelineModel,
    /// Where texts can be cut; `None` where that isn't known.
    cuts: Option<Cuts>,
}

#[derive(Debug)]
pub(super) enum PipelineModel {
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

/// What the post-processor puts around a pair of texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PairEdges {
    pub(super) before: Vec<u32>,
    pub(super) between: Vec<u32>,
    pub(super) after: Vec<u32>,
    /// How many of those between belong to the first segment, where segments are told apart.
    pub(super) first_segment: Option<usize>,
}

/// The ids of a piece of a text, without special tokens.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Encoded {
    pub(super) ids: Vec<u32>,
    /// The word that the piece starts with, and the one that it ends with.
    pub(super) first_word: Word,
    pub(super) last_word: Word,
}

/// A pre-token at an end of a piece.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) chars: usize,
    pub(super) tokens: usize,
    /// It is the whole piece.
    pub(super) alone: bool,
}

/// An id and the characters that it stands for.
pub(super) type Placed = (u32, Range<usize>);

/// Calls with the tokenizer, whichever model it has.
macro_rules! with {
    ($pipeline:expr, $tokenizer:ident => $call:expr) => {
        match &$pipeline.model {
            PipelineModel::Bpe($tokenizer) => $call,
            PipelineModel::Library($tokenizer) => $call,
        }
    };
}

impl Pipeline {
    /// From the bytes of a tokenizer.json.
    pub(super) fn new(bytes: &[u8]) -> tokenizers::Result<Self> {
        check_strings(bytes)?;
        match serde_json::from_slice::<With<Bpe>>(bytes) {
            Ok(tokenizer) => Self::of(tokenizer, PipelineModel::Bpe),
            // Whether the file is wrong or only something else than plain BPE is the crate's to say.
            Err(reason) => {
                tracing::debug!("the tokenizer loads the slow way: {reason}");
                Self::library(bytes)
            }
        }
    }

    pub(super) fn library(bytes: &[u8]) -> tokenizers::Result<Self> {
        check_model(bytes)?;
        Self::of(serde_json::from_slice(bytes)?, PipelineModel::Library)
    }

    fn of<M: Model>(
        mut tokenizer: With<M>,
        model: fn(Box<With<M>>) -> PipelineModel,
    ) -> tokenizers::Result<Self> {
        let truncation_side = tokenizer.get_truncation().map(|cut| match cut.direction {
            TruncationDirection::Left => TruncationSide::Left,
            TruncationDirection::Right => TruncationSide::Right,
        });
        // Length and padding are ours to decide, whatever the file was saved with.
        tokenizer.with_truncation(None)?.with_padding(None);
        Ok(Self {
            truncation_side,
            cuts: cuts(&tokenizer),
            model: model(Box::new(tokenizer)),
        })
    }

    /// The last place of a range of a text where it can be cut, or the first: the parts have, one by
    /// one, the tokens of the whole.
    pub(super) fn cut(
        &self,
        text: &str,
        range: Range<usize>,
        last: bool,
        known: &mut Known,
    ) -> Option<usize> {
        let normalizers = with!(self, tokenizer => tokenizer.get_normalizer());
        let cuts = self.cuts.as_ref()?;
        cuts.find(normalizers, text, range, last, known)
    }

    /// Characters of the longest word that the model looks into, where it has such a limit: longer
    /// ones are one unknown token each.
    pub(super) fn longest_word(&self) -> Option<usize> {
        match &self.model {
            PipelineModel::Library(tokenizer) => match tokenizer.get_model() {
                ModelWrapper::WordPiece(model) => Some(model.max_input_chars_per_word),
                _ => None,
            },
            PipelineModel::Bpe(_) => None,
        }
    }

    /// Ids of a text without special tokens.
    pub(super) fn encode(&self, text: &str) -> tokenizers::Result<Encoded> {
        let split = with!(self, tokenizer => tokenize(tokenizer, text))?;
        let words = split.get_splits(OffsetReferential::Original, OffsetType::Byte);
        let mut ids = Vec::with_capacity(words.len());
        ids.extend(
            words
                .iter()
                .flat_map(|(_, _, tokens)| tokens.iter().flatten().map(|t| t.id)),
        );
        let word = |(word, at, tokens): &(&str, (usize, usize), &Option<Vec<_>>)| Word {
            chars: word.chars().count(),
            tokens: tokens.as_ref().map_or(0, Vec::len),
            alone: *at == (0, text.len()),
        };
        let first = words.first().filter(|(_, at, _)| at.0 == 0);
        let last = words.last().filter(|(_, at, _)| at.1 == text.len());
        Ok(Encoded {
            first_word: first.map(word).unwrap_or_default(),
            last_word: last.map(word).unwrap_or_default(),
            ids,
        })
    }

    /// Ids of a text without special tokens, and the characters that each stands for. `inside` where
    /// it is the rest of a longer text.
    pub(super) fn encode_char_offsets(
        &self,
        text: &str,
        inside: bool,
    ) -> tokenizers::Result<Vec<Placed>> {
        with!(self, tokenizer => {
            let split = tokenize(tokenizer, text)?;
            let encoding = split.into_encoding(None, 0, OffsetType::Char)?;
            let encoding = tokenizer.post_process(encoding, None, false)?;
            let ranges = encoding.get_offsets().iter().map(|&(from, to)| from..to);
            let mut placed: Vec<Placed> = encoding.get_ids().iter().copied().zip(ranges).collect();
            let trims = tokenizer.get_post_processor();
            if inside
                && trims.is_some_and(PostProcessors::trims_but_the_first)
                && encoding.get_tokens().first().is_some_and(|token| token.starts_with(['Ġ', ' ']))
                && let Some((_, range)) = placed.first_mut()
                && range.start == 0
            {
                *range = 1..range.end.max(1);
            }
            Ok(placed)
        })
    }

    /// The text that ids stand for; ids outside the vocabulary for none.
    pub(super) fn decode(&self, ids: &[u32], skip_special: bool) -> tokenizers::Result<String> {
        let mut bytes = 0usize;
        for &id in ids {
            bytes = bytes.saturating_add(self.token(id).map_or(0, |token| token.len()));
            if bytes > MAX_DECODED {
                return Err(LimitError::Decoded(MAX_DECODED).into());
            }
        }
        with!(self, tokenizer => tokenizer.decode(ids, skip_special))
    }

    /// A token's own text, as the vocabulary has it.
    pub(super) fn token(&self, id: u32) -> Option<String> {
        with!(self, tokenizer => tokenizer.id_to_token(id))
    }

    /// A token's id.
    pub(super) fn id(&self, token: &str) -> Option<u32> {
        with!(self, tokenizer => tokenizer.token_to_id(token))
    }

    pub(super) fn pair_edges(&self) -> tokenizers::Result<PairEdges> {
        with!(self, tokenizer => pair_edges(tokenizer))
    }

    pub(super) fn edges(&self) -> tokenizers::Result<Edges> {
        with!(self, tokenizer => edges(tokenizer))
    }
}

fn cuts<M: Model>(tokenizer: &With<M>) -> Option<Cuts> {
    Cuts::new(
        tokenizer.get_normalizer(),
        tokenizer.get_pre_tokenizer(),
        tokenizer.get_added_vocabulary(),
    )
}

/// Splits a text into pre-tokens and each of these into tokens.
fn tokenize<M: Model>(tokenizer: &With<M>, text: &str) -> tokenizers::Result<PreTokenizedString> {
    let normalizers = tokenizer.get_normalizer().map(Told::new);
    let added = tokenizer.get_added_vocabulary();
    let mut split = added.extract_and_normalize(normalizers.as_ref(), text);
    if let Some(error) = normalizers.and_then(Told::error) {
        return Err(error);
    }
    if let Some(pre_tokenizers) = tokenizer.get_pre_tokenizer() {
        pre_tokenizers.pre_tokenize(&mut split)?;
    }
    let model = tokenizer.get_model();
    split.tokenize(|word| model.tokenize(word.get()))?;
    Ok(split)
}

/// Normalizers and the error of one, which the crate drops.
struct Told<'a> {
    normalizers: &'a Normalizers,
    error: Mutex<Option<tokenizers::Error>>,
}

impl<'a> Told<'a> {
    fn new(normalizers: &'a Normalizers) -> Self {
        Self {
            normalizers,
            error: Mutex::default(),
        }
    }

    fn error(self) -> Option<tokenizers::Error> {
        let error = self.error.into_inner();
        error.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Normalizer for Told<'_> {
    fn normalize(&self, text: &mut NormalizedString) -> tokenizers::Result<()> {
        if let Err(error) = self.normalizers.normalize(text) {
            let mut told = self.error.lock().unwrap_or_else(PoisonError::into_inner);
            told.get_or_insert(error);
        }
        Ok(())
    }
}

fn pair_edges<M: Model>(tokenizer: &With<M>) -> tokenizers::Result<PairEdges> {
    let probe = |segment| tokenize(tokenizer, "a")?.into_encoding(None, segment, OffsetType::Byte);
    let pair = tokenizer.post_process(probe(0)?, Some(probe(1)?), true)?;
    let (ids, types) = (pair.get_ids(), pair.get_type_ids());
    let sequences = pair.get_sequence_ids();
    let of = |wanted: usize| {
        let is = |sequence: &Option<usize>| *sequence == Some(wanted);
        let start = sequences.iter().position(is).unwrap_or_default();
        let end = sequences
            .iter()
            .rposition(is)
            .map_or(start, |last| last + 1);
        start..end
    };
    let (first, second) = (of(0), of(1));
    let part = |range: Range<usize>| ids.get(range).map(<[u32]>::to_vec);
    let parts = [
        0..first.start,
        first.end..second.start,
        second.end..ids.len(),
    ]
    .map(part);
    let [Some(before), Some(between), Some(after)] = parts else {
        return Err("it puts the second text of a pair before the first".into());
    };
    let one = types.iter().position(|kind| *kind != 0);
    let first_segment = one.map(|one| one.checked_sub(first.end));
    let ones = types.get(one.unwrap_or(types.len())..).unwrap_or_default();
    let known = |first: Option<usize>| first.is_some_and(|first| first <= between.len());
    if !first_segment.is_none_or(known) || ones.iter().any(|kind| *kind != 1) {
        return Err(format!("it gives the tokens of a pair the types {types:?}").into());
    }
    Ok(PairEdges {
        before,
        between,
        after,
        first_segment: first_segment.flatten(),
    })
}

fn edges<M: Model>(tokenizer: &With<M>) -> tokenizers::Result<Edges> {
    let probe = tokenize(tokenizer, "a")?.into_encoding(None, 0, OffsetType::Byte)?;
    let probe = tokenizer.post_process(probe, None, true)?;
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
