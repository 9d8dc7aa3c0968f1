//! The tokens of a vocabulary in one allocation.

use std::hash::BuildHasher;
use std::sync::OnceLock;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::bpe_error::BpeError;

/// Tokens in the order of the file, found by their text.
#[derive(Debug)]
pub(super) struct Vocab {
    /// All tokens, end to end.
    text: String,
    entries: Vec<Entry>,
    /// Indices into `entries`.
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// Indices into `entries` by their ids: made when they are first asked for, which only decoding
    /// does.
    by_id: OnceLock<Vec<u32>>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    start: u32,
    end: u32,
    id: u32,
}

impl Entry {
    fn token(self, text: &str) -> &str {
        text.get(self.start as usize..self.end as usize)
            .unwrap_or_default()
    }
}

impl Vocab {
    pub(super) fn new<'a>(
        tokens: impl ExactSizeIterator<Item = (&'a str, u32)> + Clone,
    ) -> Result<Self, BpeError> {
        let bytes = tokens.clone().map(|(token, _)| token.len()).sum();
        let mut this = Self {
            text: String::with_capacity(bytes),
            entries: Vec::with_capacity(tokens.len()),
            table: HashTable::with_capacity(tokens.len()),
            hasher: DefaultHashBuilder::default(),
            by_id: OnceLock::new(),
        };
        for (token, id) in tokens {
            this.push(token, id)?;
        }
        Ok(this)
    }

    fn push(&mut self, token: &str, id: u32) -> Result<(), BpeError> {
        if self.position(token).is_some() {
            return Err(BpeError::Twice(token.to_owned()));
        }
        let place = |n: usize| u32::try_from(n).map_err(|_| BpeError::TooLarge);
        let index = place(self.entries.len())?;
        let start = place(self.text.len())?;
        self.text.push_str(token);
        let end = place(self.text.len())?;
        self.entries.push(Entry { start, end, id });
        let Self {
            text,
            entries,
            table,
            hasher,
            by_id: _,
        } = self;
        table.insert_unique(hasher.hash_one(token), index, |&i| {
            hasher.hash_one(entries[i as usize].token(text))
        });
        Ok(())
    }

    /// Number of tokens.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The token's id.
    pub(super) fn get(&self, token: &str) -> Option<u32> {
        self.position(token).and_then(|at| self.id_at(at))
    }

    /// Where in the order of the file the token is.
    pub(super) fn position(&self, token: &str) -> Option<usize> {
        self.table
            .find(self.hasher.hash_one(token), |&i| {
                self.entries[i as usize].token(&self.text) == token
            })
            .map(|&i| i as usize)
    }

    /// Id of the token at a position.
    pub(super) fn id_at(&self, position: usize) -> Option<u32> {
        self.entries.get(position).map(|entry| entry.id)
    }

    /// The first token with an id.
    pub(super) fn token(&self, id: u32) -> Option<&str> {
        let entry = |index: u32| self.entries.get(index as usize);
        let id_of = |index: u32| entry(index).map_or(u32::MAX, |entry| entry.id);
        let by_id = self.by_id.get_or_init(|| {
            let mut by_id: Vec<u32> = (0..).take(self.entries.len()).collect();
            by_id.sort_by_key(|&index| id_of(index));
            by_id
        });
        let first = by_id.partition_point(|&index| id_of(index) < id);
        let entry = entry(*by_id.get(first)?)?;
        (entry.id == id).then(|| entry.token(&self.text))
    }

    /// Whether the token at a position is `left` followed by `right`.
    pub(super) fn is_pair(&self, position: usize, left: &str, right: &str) -> bool {
        self.entries
            .get(position)
            .and_then(|entry| entry.token(&self.text).strip_prefix(left))
            == Some(right)
    }

    /// Tokens and ids, in the order of the file.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, u32)> {
        self.entries.iter().map(|e| (e.token(&self.text), e.id))
    }
}
