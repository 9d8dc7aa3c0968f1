//! A query with each of many documents, as tokens.

use super::{Keep, Progress, TextTokenizer, Tokens, guard};
use crate::error::EmbedError;

/// What stands around each document, the query in it. Only documents are ever cut.
#[derive(Debug, Clone, Default)]
pub(crate) struct Frame {
    /// Tokens before everything else.
    prefix: Vec<u32>,
    /// Text that is tokenized together with the document's first words.
    prompt: String,
    /// Tokens of that text.
    prompt_tokens: Vec<u32>,
    /// Tokens behind the document.
    suffix: Vec<u32>,
    /// Where the second segment begins.
    second_segment: Option<usize>,
}

impl Frame {
    /// Tokens that a pair has beside the document's.
    pub(crate) fn tokens(&self) -> usize {
        self.prefix.len() + self.prompt_tokens.len() + self.suffix.len()
    }
}

impl TextTokenizer {
    /// `query` and a document as the tokenizer's post-processor puts them together; `None` where that
    /// leaves no token of `limit` for the document.
    pub(crate) fn pair_frame(
        &self,
        query: &str,
        limit: usize,
    ) -> Result<Option<Frame>, EmbedError> {
        let edges = guard(&self.label, || self.pipeline.pair_edges())?;
        let Some(query) = self.ids_within(query, limit)? else {
            return Ok(None);
        };
        let first = edges.before.len() + query.len();
        let frame = Frame {
            second_segment: edges.first_segment.map(|tokens| first + tokens),
            prefix: [edges.before, query, edges.between].concat(),
            suffix: edges.after,
            ..Frame::default()
        };
        Ok((frame.tokens() < limit).then_some(frame))
    }

    /// `head`, and `prompt` with a document behind it, and `tail`, tokenized apart without special
    /// tokens; `None` where that leaves no token of `limit` for the document.
    pub(crate) fn template_frame(
        &self,
        head: &str,
        prompt: String,
        tail: &str,
        limit: usize,
    ) -> Result<Option<Frame>, EmbedError> {
        let Some(prompt_tokens) = self.ids_within(&prompt, limit)? else {
            return Ok(None);
        };
        let frame = Frame {
            prefix: self.raw(head)?.ids,
            prompt,
            prompt_tokens,
            suffix: self.raw(tail)?.ids,
            second_segment: None,
        };
        Ok((frame.tokens() < limit).then_some(frame))
    }

    /// Whether a text has the same tokens behind another as alone, as far as a few others show.
    pub(crate) fn stands_alone(&self, text: &str) -> Result<bool, EmbedError> {
        let alone = self.raw(text)?.ids;
        for other in ["a", "a.", "1", " ", "\n"] {
            let behind = self.raw(&format!("{other}{text}"))?.ids;
            if behind != [self.raw(other)?.ids, alone.clone()].concat() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The one token that a word is.
    pub(crate) fn word_id(&self, word: &str) -> Option<u32> {
        self.pipeline.id(word).filter(|id| self.knows(*id))
    }

    /// Goes on with the ids of a document in its frame, at most `limit` of them.
    pub(crate) fn encode_in_frame(
        &self,
        frame: &Frame,
        document: &str,
        limit: usize,
        keep: Keep,
        progress: &mut Progress,
    ) -> Result<Option<Tokens>, EmbedError> {
        let room = limit.saturating_sub(frame.prefix.len() + frame.suffix.len());
        let content = match keep {
            Keep::Start => {
                let whole = self.go_on(&frame.prompt, document, progress)?;
                if !whole && progress.ids.len() <= room {
                    return Ok(None);
                }
                let mut content = std::mem::take(progress).ids;
                let truncated = keep.cut(&mut content, room);
                (content, truncated)
            }
            Keep::End => {
                let room = room.saturating_sub(frame.prompt_tokens.len());
                let whole = self.go_back("", document, progress)?;
                if !whole && progress.ids.len() <= room {
                    return Ok(None);
                }
                let mut end = std::mem::take(progress).ids;
                if !keep.cut(&mut end, room) {
                    // Nothing is cut: it has the tokens that it has in one with the text before it.
                    return self.encode_whole(frame, document, limit).map(Some);
                }
                let mut content = frame.prompt_tokens.clone();
                content.append(&mut end);
                (content, true)
            }
        };
        Ok(Some(in_frame(frame, content)))
    }

    fn encode_whole(
        &self,
        frame: &Frame,
        document: &str,
        limit: usize,
    ) -> Result<Tokens, EmbedError> {
        let mut progress = Progress::default();
        loop {
            let keep = Keep::Start;
            let tokens = self.encode_in_frame(frame, document, limit, keep, &mut progress)?;
            if let Some(tokens) = tokens {
                return Ok(tokens);
            }
        }
    }

    /// The ids of a text without special tokens; `None` where there are more than `most`.
    fn ids_within(&self, text: &str, most: usize) -> Result<Option<Vec<u32>>, EmbedError> {
        let mut progress = Progress::default();
        loop {
            let whole = self.go_on("", text, &mut progress)?;
            if progress.ids.len() > most {
                return Ok(None);
            }
            if whole {
                return Ok(Some(progress.ids));
            }
        }
    }
}

fn in_frame(frame: &Frame, (content, truncated): (Vec<u32>, bool)) -> Tokens {
    Tokens {
        ids: [&frame.prefix, content.as_slice(), &frame.suffix].concat(),
        truncated,
        task: 0,
        second_segment: frame.second_segment,
    }
}
