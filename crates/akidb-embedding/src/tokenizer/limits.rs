//! How large a tokenizer.json may make itself and the texts that it is used on: whatever it says is
//! looked at before anything is allocated for it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

/// Longest string, in bytes. The longest tokens and patterns of known models have some hundred.
const MAX_STRING: usize = 4 << 10;

/// The one string that is longer: the table of SentencePiece's normalizer, 0.3 MB in known models.
const CHARSMAP: &str = "precompiled_charsmap";

/// Bytes of the longest string that the table puts for another (33 in Unicode's own).
const MAX_REPLACEMENT: usize = 64;

/// Tokens that a post-processor puts around a text.
const MAX_SPECIAL_TOKENS: usize = 256;

/// WordPiece compares each part of a word with the vocabulary: the square of this many steps.
const MAX_WORD_CHARS: u64 = 512;

/// Bytes of a Unigram's tokens: its trie takes some hundred bytes for each.
const MAX_UNIGRAM_BYTES: usize = 12 << 20;

/// Why a tokenizer.json is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum LimitError {
    #[error("a string of it has {0} bytes: at most {MAX_STRING} can be")]
    String(usize),
    #[error("its {CHARSMAP} is damaged: {0}")]
    Charsmap(&'static str),
    #[error("its post-processor says {0} special tokens: at most {MAX_SPECIAL_TOKENS} can be")]
    SpecialTokens(usize),
    #[error("its post-processor puts each text {0} times: once is meant")]
    Repeats(usize),
    #[error("its words have up to {0} characters: at most {MAX_WORD_CHARS} can be")]
    WordChars(u64),
    #[error("its tokens have {0} bytes: at most {MAX_UNIGRAM_BYTES} can be")]
    Unigram(usize),
    #[error("the {part} {name} makes a text {growth} times as long: at most {most} can be")]
    Growth {
        part: &'static str,
        name: &'static str,
        growth: usize,
        most: usize,
    },
    #[error("it has {steps} {part}s: at most {most} can be")]
    Steps {
        part: &'static str,
        steps: usize,
        most: usize,
    },
    #[error("the pattern {pattern:?} of a {part} is not supported: {reason}")]
    Pattern {
        part: &'static str,
        pattern: String,
        reason: String,
    },
    #[error("its normalizers make more than {0} bytes of a piece of text")]
    TextGrows(usize),
    #[error("the tokens' text has more than {0} bytes")]
    Decoded(usize),
}

/// Looks at the length of each string of the file.
pub(super) fn check_strings(json: &[u8]) -> Result<(), LimitError> {
    let mut at = 0;
    while let Some(open) = json
        .get(at..)
        .and_then(|rest| rest.iter().position(|&b| b == b'"'))
    {
        let start = at + open + 1;
        let mut end = start;
        while let Some(&byte) = json.get(end).filter(|&&byte| byte != b'"') {
            end += if byte == b'\\' { 2 } else { 1 };
        }
        if end - start > MAX_STRING && !is_charsmap(&json[..start - 1]) {
            return Err(LimitError::String(end - start));
        }
        at = end + 1;
    }
    Ok(())
}

/// Whether a value follows that the file calls [`CHARSMAP`].
fn is_charsmap(before: &[u8]) -> bool {
    let before = before.trim_ascii_end().strip_suffix(b":");
    let key = before.and_then(|before| before.trim_ascii_end().strip_suffix(b"\""));
    key.is_some_and(|key| key.ends_with(CHARSMAP.as_bytes()))
}

/// Looks at the tables of a normalizer, wherever it has them: the library allocates as much as a
/// table says of itself.
pub(super) fn check_charsmaps(normalizer: &Value) -> Result<(), LimitError> {
    match normalizer {
        Value::Array(parts) => parts.iter().try_for_each(check_charsmaps),
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| match value {
            Value::String(base64) if name == CHARSMAP => charsmap_growth(base64).map(drop),
            value => check_charsmaps(value),
        }),
        _ => Ok(()),
    }
}

/// Bytes of the longest string that a table puts for another: the length of a trie, the trie, and
/// strings that end with a zero.
pub(super) fn charsmap_growth(base64: &str) -> Result<usize, LimitError> {
    let bytes = STANDARD.decode(base64);
    let bytes = bytes.map_err(|_| LimitError::Charsmap("it is not base64"))?;
    let (length, rest) = bytes
        .split_first_chunk()
        .ok_or(LimitError::Charsmap("it has no length"))?;
    let strings = usize::try_from(u32::from_le_bytes(*length))
        .ok()
        .and_then(|length| rest.get(length / 4 * 4..))
        .ok_or(LimitError::Charsmap("its trie is longer than itself"))?;
    let longest = strings.split(|&b| b == 0).map(<[u8]>::len).max();
    match longest.unwrap_or_default() {
        longest @ ..=MAX_REPLACEMENT => Ok(longest.max(1)),
        _ => Err(LimitError::Charsmap("a string of it is too long")),
    }
}

/// Looks at what a post-processor puts around a text and how often it puts the text.
pub(super) fn check_post_processor(value: &Value) -> Result<(), LimitError> {
    if let Value::Array(parts) = value {
        return parts.iter().try_for_each(check_post_processor);
    }
    let Value::Object(fields) = value else {
        return Ok(());
    };
    if let (Some(Value::Array(single)), Some(tokens)) =
        (fields.get("single"), fields.get("special_tokens"))
    {
        let token = |piece: &Value| {
            let id = piece.get("SpecialToken")?.get("id")?.as_str()?;
            Some(tokens.get(id)?.get("ids")?.as_array()?.len())
        };
        let special: usize = single.iter().filter_map(token).sum();
        if special > MAX_SPECIAL_TOKENS {
            return Err(LimitError::SpecialTokens(special));
        }
        let texts = single
            .iter()
            .filter(|piece| piece.get("Sequence").is_some());
        match texts.count() {
            1 => {}
            texts => return Err(LimitError::Repeats(texts)),
        }
    }
    fields.values().try_for_each(check_post_processor)
}

/// Looks at the sizes of a model that the library reads.
pub(super) fn check_model(json: &[u8]) -> Result<(), LimitError> {
    #[derive(Deserialize)]
    struct File {
        model: Model,
    }
    #[derive(Deserialize)]
    struct Model {
        #[serde(default)]
        max_input_chars_per_word: Option<u64>,
        #[serde(default)]
        vocab: Vocab,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Vocab {
        Unigram(Vec<(String, f64)>),
        Other(serde::de::IgnoredAny),
    }
    impl Default for Vocab {
        fn default() -> Self {
            Self::Other(serde::de::IgnoredAny)
        }
    }
    // What can't be read isn't read by the library either.
    let Ok(File { model }) = serde_json::from_slice(json) else {
        return Ok(());
    };
    if let Some(chars) = model.max_input_chars_per_word
        && chars > MAX_WORD_CHARS
    {
        return Err(LimitError::WordChars(chars));
    }
    if let Vocab::Unigram(tokens) = model.vocab {
        let bytes = tokens.iter().map(|(token, _)| token.len()).sum();
        if bytes > MAX_UNIGRAM_BYTES {
            return Err(LimitError::Unigram(bytes));
        }
    }
    Ok(())
}
