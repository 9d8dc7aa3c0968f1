//! The parts of a tokenizer.json around its model, as the `tokenizers` crate reads them, once their
//! sizes are looked at.

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokenizers::normalizers::Replace;
use tokenizers::{
    Decoder, DecoderWrapper, Encoding, NormalizedString, Normalizer, NormalizerWrapper,
    PostProcessor, PostProcessorWrapper, PreTokenizedString, PreTokenizer, PreTokenizerWrapper,
};

use super::limits::{LimitError, charsmap_growth, check_charsmaps, check_post_processor};
use super::pattern::Pattern;

/// How many parts of a kind follow each other.
const MAX_STEPS: usize = 64;

/// How many times as long one part may make a text.
const MAX_GROWTH: usize = 64;

/// How many times as long all parts of a kind may make a text that nobody looks at in between.
const MAX_TOTAL_GROWTH: usize = 64;

/// What normalizers may make of a piece of a text on the way, in bytes.
const MAX_NORMALIZED: usize = 8 << 20;

/// What they may make of it in the end: so many times its bytes, and some for a short one.
const MAX_NORMALIZED_GROWTH: usize = 16;
const SHORT: usize = 4 << 10;

/// Of a character, by NFKC and the like: U+FDFA becomes eighteen, 3 bytes become 33.
const UNICODE_GROWTH: usize = 11;

/// A file's normalizers, from the first to the last.
#[derive(Debug)]
pub(super) struct Normalizers(Vec<NormalizerStep>);

/// A normalizer that is no sequence.
#[derive(Debug)]
pub(super) struct NormalizerStep {
    pub(super) normalizer: NormalizerWrapper,
    /// It makes a text at most so many times as long.
    growth: usize,
    /// What it replaces, where it does.
    pub(super) pattern: Option<Pattern>,
}

impl Normalizers {
    pub(super) fn steps(&self) -> &[NormalizerStep] {
        &self.0
    }

    fn push(&mut self, normalizer: NormalizerWrapper) -> Result<(), LimitError> {
        if let NormalizerWrapper::Sequence(sequence) = normalizer {
            return sequence.into_iter().try_for_each(|part| self.push(part));
        }
        let mut pattern = None;
        let (name, growth) = match &normalizer {
            NormalizerWrapper::Replace(replace) => {
                let (replaced, growth) = replacement("normalizer", replace)?;
                pattern = Some(replaced);
                ("Replace", growth)
            }
            NormalizerWrapper::Precompiled(table) => {
                let table = serde_json::to_value(table).unwrap_or_default();
                let table = table.get("precompiled_charsmap").and_then(Value::as_str);
                ("Precompiled", charsmap_growth(table.unwrap_or_default())?)
            }
            NormalizerWrapper::Prepend(prepend) => ("Prepend", 1 + prepend.prepend.len()),
            NormalizerWrapper::BertNormalizer(_)
            | NormalizerWrapper::NFC(_)
            | NormalizerWrapper::NFD(_)
            | NormalizerWrapper::NFKC(_)
            | NormalizerWrapper::NFKD(_)
            | NormalizerWrapper::Lowercase(_)
            | NormalizerWrapper::ByteLevel(_) => ("", UNICODE_GROWTH),
            NormalizerWrapper::StripNormalizer(_)
            | NormalizerWrapper::StripAccents(_)
            | NormalizerWrapper::Nmt(_)
            | NormalizerWrapper::Sequence(_) => ("", 1),
        };
        grows("normalizer", name, growth, MAX_GROWTH)?;
        self.0.push(NormalizerStep {
            normalizer,
            growth,
            pattern,
        });
        few("normalizer", self.0.len())
    }
}

impl<'de> Deserialize<'de> for Normalizers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        check_charsmaps(&value).map_err(D::Error::custom)?;
        let mut this = Self(Vec::new());
        this.push(read(value)?).map_err(D::Error::custom)?;
        Ok(this)
    }
}

impl Normalizer for Normalizers {
    fn normalize(&self, text: &mut NormalizedString) -> tokenizers::Result<()> {
        for step in &self.0 {
            if text.len().saturating_mul(step.growth) > MAX_NORMALIZED {
                return Err(LimitError::TextGrows(MAX_NORMALIZED).into());
            }
            step.normalizer.normalize(text)?;
        }
        let most = SHORT + MAX_NORMALIZED_GROWTH * text.len_original();
        if text.len() > most {
            return Err(LimitError::TextGrows(most).into());
        }
        Ok(())
    }
}

/// A file's pre-tokenizers, and the pattern of each that splits by one.
#[derive(Debug)]
pub(super) struct PreTokenizers(pub(super) PreTokenizerWrapper);

impl PreTokenizers {
    /// One by one, from the first to the last.
    pub(super) fn steps(&self) -> Vec<&PreTokenizerWrapper> {
        let mut steps = Vec::new();
        collect_pre_tokenizers(&self.0, &mut steps);
        steps
    }
}

fn collect_pre_tokenizers<'a>(
    part: &'a PreTokenizerWrapper,
    steps: &mut Vec<&'a PreTokenizerWrapper>,
) {
    match part {
        PreTokenizerWrapper::Sequence(sequence) => {
            for part in sequence.as_ref() {
                collect_pre_tokenizers(part, steps);
            }
        }
        part => steps.push(part),
    }
}

impl<'de> Deserialize<'de> for PreTokenizers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let this = Self(read(Value::deserialize(deserializer)?)?);
        let steps = this.steps();
        few("pre-tokenizer", steps.len()).map_err(D::Error::custom)?;
        let mut growth = 1usize;
        for step in steps {
            growth = growth.saturating_mul(match step {
                // A byte becomes a character of two; a space may come before a piece.
                PreTokenizerWrapper::ByteLevel(_) => 3,
                // A space becomes a character of up to four bytes; one may come before a piece.
                PreTokenizerWrapper::Metaspace(_) => 5,
                PreTokenizerWrapper::Split(split) => {
                    split_pattern(&split.pattern).map_err(D::Error::custom)?;
                    1
                }
                _ => 1,
            });
        }
        grows("pre-tokenizer", "Sequence", growth, MAX_TOTAL_GROWTH).map_err(D::Error::custom)?;
        Ok(this)
    }
}

impl PreTokenizer for PreTokenizers {
    fn pre_tokenize(&self, text: &mut PreTokenizedString) -> tokenizers::Result<()> {
        self.0.pre_tokenize(text)
    }
}

/// The pattern that a pre-tokenizer splits by.
pub(super) fn split_pattern(
    pattern: &tokenizers::pre_tokenizers::split::SplitPattern,
) -> Result<Pattern, LimitError> {
    use tokenizers::pre_tokenizers::split::SplitPattern;
    match pattern {
        SplitPattern::String(text) => taken_apart("pre-tokenizer", text, Pattern::literal),
        SplitPattern::Regex(regex) => taken_apart("pre-tokenizer", regex, Pattern::new),
    }
}

/// A file's post-processor.
#[derive(Debug)]
pub(super) struct PostProcessors(PostProcessorWrapper);

impl PostProcessors {
    /// It takes the blanks at the ends of a token out of the token's range, save for one before a
    /// text's first token.
    pub(super) fn trims_but_the_first(&self) -> bool {
        fn trims(part: &PostProcessorWrapper) -> bool {
            match part {
                PostProcessorWrapper::ByteLevel(part) => part.trim_offsets && part.add_prefix_space,
                PostProcessorWrapper::Roberta(part) => part.trim_offsets && part.add_prefix_space,
                PostProcessorWrapper::Sequence(parts) => parts.as_ref().iter().any(trims),
                PostProcessorWrapper::Bert(_) | PostProcessorWrapper::Template(_) => false,
            }
        }
        trims(&self.0)
    }
}

impl<'de> Deserialize<'de> for PostProcessors {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        check_post_processor(&value).map_err(D::Error::custom)?;
        Ok(Self(read(value)?))
    }
}

impl PostProcessor for PostProcessors {
    fn added_tokens(&self, is_pair: bool) -> usize {
        self.0.added_tokens(is_pair)
    }

    fn process_encodings(
        &self,
        encodings: Vec<Encoding>,
        add_special_tokens: bool,
    ) -> tokenizers::Result<Vec<Encoding>> {
        self.0.process_encodings(encodings, add_special_tokens)
    }
}

/// A file's decoder.
#[derive(Debug)]
pub(super) struct Decoders(DecoderWrapper);

impl Decoders {
    fn growth(part: &DecoderWrapper) -> Result<usize, LimitError> {
        match part {
            DecoderWrapper::Replace(replace) => Ok(replacement("decoder", replace)?.1),
            DecoderWrapper::Sequence(sequence) => {
                let parts = sequence.get_decoders();
                few("decoder", parts.len())?;
                parts.iter().try_fold(1usize, |growth, part| {
                    Ok(growth.saturating_mul(Self::growth(part)?))
                })
            }
            _ => Ok(1),
        }
    }
}

impl<'de> Deserialize<'de> for Decoders {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let this = Self(read(Value::deserialize(deserializer)?)?);
        Self::growth(&this.0)
            .and_then(|growth| grows("decoder", "Sequence", growth, MAX_TOTAL_GROWTH))
            .map_err(D::Error::custom)?;
        Ok(this)
    }
}

impl Decoder for Decoders {
    fn decode_chain(&self, tokens: Vec<String>) -> tokenizers::Result<Vec<String>> {
        self.0.decode_chain(tokens)
    }
}

/// What is replaced, and how many times as long a text becomes by it.
fn replacement(part: &'static str, replace: &Replace) -> Result<(Pattern, usize), LimitError> {
    // The crate tells its pattern only so.
    let value = serde_json::to_value(replace).unwrap_or_default();
    let pattern = value.get("pattern").unwrap_or(&Value::Null);
    let text = |name: &str| pattern.get(name).and_then(Value::as_str);
    let pattern = match (text("String"), text("Regex").unwrap_or_default()) {
        (Some(text), _) => taken_apart(part, text, Pattern::literal),
        (None, regex) => taken_apart(part, regex, Pattern::new),
    }?;
    let content = replace.content.len();
    let growth = match pattern.min_bytes {
        // Before each character and for it.
        0 => 1 + 2 * content,
        bytes => content.div_ceil(bytes).max(1),
    };
    grows(part, "Replace", growth, MAX_GROWTH)?;
    Ok((pattern, growth))
}

fn taken_apart(
    part: &'static str,
    pattern: &str,
    take_apart: fn(&str) -> Result<Pattern, String>,
) -> Result<Pattern, LimitError> {
    take_apart(pattern).map_err(|reason| LimitError::Pattern {
        part,
        pattern: pattern.to_owned(),
        reason,
    })
}

fn grows(
    part: &'static str,
    name: &'static str,
    growth: usize,
    most: usize,
) -> Result<(), LimitError> {
    if growth > most {
        return Err(LimitError::Growth {
            part,
            name,
            growth,
            most,
        });
    }
    Ok(())
}

fn few(part: &'static str, steps: usize) -> Result<(), LimitError> {
    if steps > MAX_STEPS {
        return Err(LimitError::Steps {
            part,
            steps,
            most: MAX_STEPS,
        });
    }
    Ok(())
}

fn read<T: DeserializeOwned, E: Error>(value: Value) -> Result<T, E> {
    serde_json::from_value(value).map_err(E::custom)
}
