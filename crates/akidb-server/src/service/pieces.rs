//! The tokens of texts one by one, some at a time, so that a long text's are never all in memory.

use std::sync::Arc;

use akidb_embedding::{EmbedError, EmbedOptions, Embedder, Piece, PiecesProgress};

use super::error::ServiceError;
use super::tokenize::Tokenizing;
use super::turns::Turn;

/// Tokens that are given at a time: no slice is begun behind so many.
const AT_A_TIME: usize = 8 << 10;

/// The tokens of a request's texts, as far as they are asked for.
#[derive(Debug)]
pub(crate) struct Pieces {
    tokenizing: Tokenizing,
    client: Arc<str>,
    /// `None` behind the last, and when a slice has failed.
    rest: Option<Rest>,
}

/// Some tokens of a text.
#[derive(Debug)]
pub(crate) struct PiecesPart {
    /// The text's place among the texts.
    pub(crate) text: usize,
    /// Tokens of the text that came before; `None` where it begins here.
    pub(crate) before: Option<usize>,
    pub(crate) pieces: Vec<Piece>,
    /// The text ends here.
    pub(crate) ends: bool,
}

#[derive(Debug)]
struct Rest {
    embedder: Arc<Embedder>,
    texts: Vec<String>,
    special_tokens: bool,
    options: EmbedOptions,
    text: usize,
    before: Option<usize>,
    progress: PiecesProgress,
}

impl Pieces {
    pub(super) fn new(
        tokenizing: Tokenizing,
        client: Arc<str>,
        embedder: Arc<Embedder>,
        texts: Vec<String>,
        special_tokens: bool,
        options: EmbedOptions,
    ) -> Self {
        let rest = Rest {
            embedder,
            texts,
            special_tokens,
            options,
            text: 0,
            before: None,
            progress: PiecesProgress::default(),
        };
        Self {
            tokenizing,
            client,
            rest: rest.is_some_left().then_some(rest),
        }
    }

    /// Whether there are none any more.
    pub(crate) fn is_done(&self) -> bool {
        self.rest.is_none()
    }

    /// What `with` makes of the next of them, when it is the client's turn.
    pub(crate) async fn next<T: Send + 'static>(
        &mut self,
        with: impl FnOnce(Vec<PiecesPart>) -> T + Send + 'static,
    ) -> Result<Option<T>, ServiceError> {
        let Some(mut rest) = self.rest.take() else {
            return Ok(None);
        };
        let work = move |turn: &Turn| rest.go_on(turn).map(|parts| (with(parts), rest));
        let (made, rest) = self.tokenizing.elsewhere(&self.client, work).await??;
        self.rest = rest.is_some_left().then_some(rest);
        Ok(Some(made))
    }
}

impl Rest {
    fn is_some_left(&self) -> bool {
        self.text < self.texts.len()
    }

    fn go_on(&mut self, turn: &Turn) -> Result<Vec<PiecesPart>, EmbedError> {
        let (mut parts, mut tokens) = (Vec::new(), 0);
        while let Some(text) = self.texts.get_mut(self.text) {
            let slice = self.embedder.pieces_slice(
                text,
                self.special_tokens,
                &self.options,
                &mut self.progress,
            )?;
            let ends = slice.is_none();
            let pieces = slice.unwrap_or_default();
            tokens += pieces.len();
            let part = PiecesPart {
                text: self.text,
                before: self.before,
                ends,
                pieces,
            };
            if ends {
                *text = String::new();
                self.text += 1;
                self.before = None;
                self.progress = PiecesProgress::default();
            } else {
                *self.before.get_or_insert(0) += part.pieces.len();
            }
            parts.push(part);
            if turn.is_over() || tokens >= AT_A_TIME {
                break;
            }
        }
        Ok(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::Room;

    #[tokio::test]
    async fn pieces_are_the_embedders_and_come_some_at_a_time() {
        let embedder = Embedder::builder().model("akidb-mini").build().unwrap();
        let embedder = Arc::new(embedder);
        let texts = vec!["1".repeat(100_000), String::new(), "a word ".repeat(9000)];
        let options = EmbedOptions::query();
        let each = texts
            .iter()
            .map(|text| embedder.pieces(text, true, &options).unwrap());
        let expected: Vec<_> = each.collect();
        let tokenizing = Tokenizing::new(Room::new(usize::MAX));
        let mut pieces = Pieces::new(tokenizing, "a".into(), embedder, texts, true, options);
        let (mut got, mut ended) = (Vec::new(), 0);
        while let Some(parts) = pieces.next(|parts| parts).await.unwrap() {
            let count: usize = parts.iter().map(|part| part.pieces.len()).sum();
            assert!(count < 2 * AT_A_TIME, "{count}");
            for part in parts {
                if part.before.is_none() {
                    got.push(Vec::new());
                }
                let text = &mut got[part.text];
                assert_eq!(part.before.unwrap_or(0), text.len());
                text.extend(part.pieces);
                ended += usize::from(part.ends);
            }
        }
        assert!(pieces.is_done());
        assert_eq!((got, ended), (expected, 3));
    }
}
