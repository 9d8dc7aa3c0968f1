//! Text to token ids, with the special tokens that the model expects.

mod bpe;
mod bpe_error;
mod cuts;
mod file;
mod limits;
mod pairs;
mod parts;
mod pattern;
mod pieces;
mod pipeline;
mod prompts;
mod slices;
mod vocab;

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use akidb_backend::Pooling;
use akidb_onnx::without_byte_order_mark;
use serde::de::IgnoredAny;

use crate::error::EmbedError;
use crate::model::{ModelFiles, PoolingFrom, Settings, TruncationSide};
use crate::options::OnLong;
use pipeline::{Edges, Encoded, Pipeline};
use prompts::Prompts;
use slices::SliceSizes;

pub(crate) use pairs::Frame;
pub use pieces::{Piece, PiecesProgress};
pub(crate) use prompts::shared_prefix;
pub use slices::Progress;

const FILE: &str = "tokenizer.json";

/// A text's ids as the model sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// Its ids, those of the prompt and the special tokens included.
    pub ids: Vec<u32>,
    /// The text didn't fit, and its end was cut off.
    pub truncated: bool,
    /// The number of the model's adaptation that they are for, 0 where it has none.
    pub task: u32,
    /// Where the second segment of a pair of texts begins, for models that tell segments apart.
    pub second_segment: Option<usize>,
}

/// Which side of a text that is too long stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    Start,
    End,
}

impl Keep {
    /// At most `most` of `content`; whether some were cut off.
    fn cut(self, content: &mut Vec<u32>, most: usize) -> bool {
        let over = content.len().saturating_sub(most);
        match self {
            Self::Start => content.truncate(most),
            Self::End => drop(content.drain(..over)),
        }
        over > 0
    }
}

/// A model's tokenizer and the ids it puts around every text.
#[derive(Debug)]
pub(crate) struct TextTokenizer {
    pipeline: Pipeline,
    sizes: SliceSizes,
    prompts: Prompts,
    label: String,
    prefix: Vec<u32>,
    suffix: Vec<u32>,
    vocab_size: Option<usize>,
    /// The post-processor lacks the EOS that the model expects.
    adds_eos: bool,
    /// The side that stays where a call doesn't choose.
    keep: Keep,
    /// Prompts and texts are put in lower case, ahead of the tokenizer's own normalizer.
    lower_case: bool,
}

impl TextTokenizer {
    /// Which side stays.
    pub(crate) fn keep(&self, on_long: OnLong) -> Keep {
        match on_long {
            OnLong::TruncateStart => Keep::End,
            OnLong::TruncateEnd => Keep::Start,
            OnLong::Truncate | OnLong::Error => self.keep,
        }
    }

    pub(crate) fn load(files: &ModelFiles, settings: &Settings) -> Result<Self, EmbedError> {
        let bytes = files.read(FILE)?.ok_or_else(|| files.missing(FILE))?;
        let bytes = without_byte_order_mark(&bytes);
        Self::new(bytes, files.label(FILE), settings)
    }

    fn new(bytes: &[u8], label: String, settings: &Settings) -> Result<Self, EmbedError> {
        let loaded = guard(&label, || {
            let pipeline = Pipeline::new(bytes)?;
            let edges = pipeline.edges()?;
            Ok((pipeline, edges))
        });
        let (pipeline, edges) = loaded.map_err(|error| {
            // What isn't JSON at all, or was cut off, is told as that.
            match serde_json::from_slice::<IgnoredAny>(bytes) {
                Ok(_) => error,
                Err(source) => EmbedError::Json {
                    file: label.clone(),
                    source,
                },
            }
        })?;
        let Edges { prefix, mut suffix } = edges;
        // As transformers does: the one file before the other.
        let keep = match settings.truncation_side.or(pipeline.truncation_side) {
            Some(TruncationSide::Left) => Keep::End,
            Some(TruncationSide::Right) | None => Keep::Start,
        };

        let ends_texts = settings.pooling == Pooling::LastToken && !settings.is_reranker();
        let eos = settings.eos_token_ids.first().copied();
        let adds_eos = ends_texts && suffix.is_empty();
        match eos {
            Some(eos) if adds_eos => suffix.push(eos),
            // A caller may want the last token of a model that ends no text.
            None if adds_eos && settings.pooling_from != PoolingFrom::Caller => {
                return Err(EmbedError::Contradiction {
                    file: label,
                    message:
                        "its post-processor ends no text, and config.json has no eos_token_id to \
                              do it with"
                            .to_owned(),
                });
            }
            _ => {}
        }
        if let (Some(last), false) = (suffix.last(), settings.eos_token_ids.is_empty())
            && ends_texts
            && !settings.eos_token_ids.contains(last)
        {
            return Err(EmbedError::Contradiction {
                file: label,
                message: format!(
                    "its post-processor ends texts with {last}, but config.json says eos_token_id {:?}",
                    settings.eos_token_ids
                ),
            });
        }
        let this = Self {
            pipeline,
            sizes: SliceSizes::default(),
            prompts: Prompts::default(),
            label,
            prefix,
            suffix,
            vocab_size: settings.vocab_size,
            adds_eos: adds_eos && eos.is_some(),
            keep,
            lower_case: settings.lower_case,
        };
        for &id in this.prefix.iter().chain(&this.suffix) {
            if !this.knows(id) {
                return Err(EmbedError::Contradiction {
                    file: this.label,
                    message: format!("special token {id} is outside config.json's vocab_size"),
                });
            }
        }
        Ok(this)
    }

    /// The same, with nothing put around texts.
    pub(crate) fn without_special_tokens(self) -> Self {
        Self {
            prefix: Vec::new(),
            suffix: Vec::new(),
            adds_eos: false,
            ..self
        }
    }

    /// Tokens put around every text.
    pub(crate) fn special_tokens(&self) -> usize {
        self.prefix.len() + self.suffix.len()
    }

    /// True when the EOS is added here because the tokenizer's own post-processor doesn't.
    pub(crate) fn adds_eos(&self) -> bool {
        self.adds_eos
    }

    /// Ids of `prompt` followed by `text`, at most `limit` of them with the special tokens.
    #[cfg(test)]
    fn encode(
        &self,
        prompt: &str,
        text: &str,
        limit: usize,
        keep: Keep,
    ) -> Result<Tokens, EmbedError> {
        let mut progress = Progress::default();
        loop {
            let tokens = self.encode_slice(prompt, text, limit, keep, &mut progress)?;
            if let Some(tokens) = tokens {
                return Ok(tokens);
            }
        }
    }

    /// Ids given by the caller, after the prompt's; special tokens that are there already stay.
    pub(crate) fn encode_ids(
        &self,
        prompt: &str,
        ids: &[u32],
        limit: usize,
        keep: Keep,
    ) -> Result<Tokens, String> {
        if let Some(&id) = ids.iter().find(|&&id| !self.knows(id)) {
            return Err(format!(
                "token id {id} is outside the vocabulary of {}",
                self.vocab_size.unwrap_or_default()
            ));
        }
        let ids = ids.strip_prefix(self.prefix.as_slice()).unwrap_or(ids);
        let ids = ids.strip_suffix(self.suffix.as_slice()).unwrap_or(ids);
        let mut content = self.raw(prompt).map_err(|e| e.to_string())?.ids;
        content.extend_from_slice(ids);
        let room = limit.saturating_sub(self.special_tokens());
        let truncated = keep.cut(&mut content, room);
        Ok(self.wrap(content, truncated))
    }

    /// The tokens that a text after this prompt starts with, but for its last few, which may merge
    /// with the text's first characters; none where that isn't known.
    pub(crate) fn prompt_ids(&self, prompt: &str) -> Result<Arc<[u32]>, EmbedError> {
        self.prompts.get(prompt, |prompt| {
            let content = self.raw(prompt)?;
            Ok([self.prefix.as_slice(), &content.ids].concat())
        })
    }

    fn knows(&self, id: u32) -> bool {
        self.vocab_size.is_none_or(|size| (id as usize) < size)
    }

    fn raw(&self, text: &str) -> Result<Encoded, EmbedError> {
        if text.is_empty() {
            return Ok(Encoded::default());
        }
        let text = self.as_trained(text);
        let encoded = guard(&self.label, || self.pipeline.encode(&text))?;
        match encoded.ids.iter().find(|&&id| !self.knows(id)) {
            // The tokenizer may have more tokens than the model, which knows nothing of these.
            Some(&id) => Err(EmbedError::InvalidTokens {
                index: 0,
                message: format!(
                    "its token {id} ({:?}) is outside the model's vocabulary of {}",
                    self.pipeline.token(id).unwrap_or_default(),
                    self.vocab_size.unwrap_or_default()
                ),
            }),
            None => Ok(encoded),
        }
    }

    /// A text as the model's texts were when it was trained.
    fn as_trained<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.lower_case {
            true => Cow::Owned(text.to_lowercase()),
            false => Cow::Borrowed(text),
        }
    }

    fn wrap(&self, content: Vec<u32>, truncated: bool) -> Tokens {
        let ids = if self.prefix.is_empty() {
            let mut ids = content;
            ids.extend_from_slice(&self.suffix);
            ids
        } else {
            [&self.prefix, content.as_slice(), &self.suffix].concat()
        };
        Tokens {
            ids,
            truncated,
            task: 0,
            second_segment: None,
        }
    }
}

/// Calls into the tokenizer library, whose panics on a hostile file become errors too: one model
/// must not end the process. The panic hook has shown the message by then.
fn guard<T>(label: &str, call: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, EmbedError> {
    let message = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(e)) => e.to_string(),
        Err(_) => "the tokenizer library panicked on it".to_owned(),
    };
    Err(EmbedError::Tokenizer {
        file: label.to_owned(),
        message,
    })
}

#[cfg(test)]
#[cfg(feature = "builtin")]
mod hostile_tests;
#[cfg(test)]
#[cfg(feature = "builtin")]
mod tests;
