//! The `model` of a tokenizer.json that holds a BPE, its strings borrowed where they have no escapes.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

#[derive(Debug, Deserialize)]
enum Kind {
    #[serde(rename = "BPE")]
    Bpe,
}

/// What the file says, not yet checked against itself.
#[derive(Debug, Deserialize)]
pub(super) struct BpeFile<'a> {
    #[serde(rename = "type")]
    _kind: Kind,
    dropout: Option<f32>,
    #[serde(borrow)]
    unk_token: Option<Text<'a>>,
    #[serde(borrow)]
    continuing_subword_prefix: Option<Text<'a>>,
    #[serde(borrow)]
    end_of_word_suffix: Option<Text<'a>>,
    byte_fallback: Option<bool>,
    ignore_merges: Option<bool>,
    #[serde(borrow)]
    vocab: Tokens<'a>,
    #[serde(borrow)]
    merges: Vec<Pair<'a>>,
}

impl BpeFile<'_> {
    /// An option that changes how words are split, where one is set.
    pub(super) fn unsupported(&self) -> Option<&'static str> {
        let set = |text: &Option<Text<'_>>| text.as_ref().is_some_and(|text| !text.0.is_empty());
        [
            ("dropout", self.dropout.is_some_and(|p| p != 0.0)),
            ("unk_token", self.unk_token.is_some()),
            (
                "continuing_subword_prefix",
                set(&self.continuing_subword_prefix),
            ),
            ("end_of_word_suffix", set(&self.end_of_word_suffix)),
            ("byte_fallback", self.byte_fallback == Some(true)),
        ]
        .into_iter()
        .find_map(|(name, on)| on.then_some(name))
    }

    pub(super) fn ignore_merges(&self) -> bool {
        self.ignore_merges == Some(true)
    }

    pub(super) fn tokens(&self) -> impl ExactSizeIterator<Item = (&str, u32)> + Clone {
        self.vocab.0.iter().map(|(token, id)| (&*token.0, *id))
    }

    /// From the first to be done to the last.
    pub(super) fn merges(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.merges.iter().map(|Pair(a, b)| (&*a.0, &*b.0))
    }
}

/// A string. (`Cow` itself borrows only as a field of its own, not inside a list.)
#[derive(Debug)]
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Seen;
        impl<'de> Visitor<'de> for Seen {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Seen)
    }
}

/// The vocabulary in the order of the file.
#[derive(Debug)]
struct Tokens<'a>(Vec<(Text<'a>, u32)>);

impl<'de: 'a, 'a> Deserialize<'de> for Tokens<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Seen;
        impl<'de> Visitor<'de> for Seen {
            type Value = Tokens<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of token ids")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut tokens = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    tokens.push(entry);
                }
                Ok(Tokens(tokens))
            }
        }
        deserializer.deserialize_map(Seen)
    }
}

/// Two tokens to merge: `["a", "b"]`, or in older files `"a b"`.
#[derive(Debug)]
struct Pair<'a>(Text<'a>, Text<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for Pair<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Seen;
        impl<'de> Visitor<'de> for Seen {
            type Value = Pair<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("two tokens")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                let (a, b) = halves(text)?;
                Ok(Pair(Text(Cow::Borrowed(a)), Text(Cow::Borrowed(b))))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                let (a, b) = halves(text)?;
                let owned = |half: &str| Text(Cow::Owned(half.to_owned()));
                Ok(Pair(owned(a), owned(b)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let missing = |n| A::Error::invalid_length(n, &"two tokens");
                let a = seq.next_element()?.ok_or_else(|| missing(0))?;
                let b = seq.next_element()?.ok_or_else(|| missing(1))?;
                Ok(Pair(a, b))
            }
        }
        deserializer.deserialize_any(Seen)
    }
}

/// The tokens of an older file's merge. Its first line may be a comment, which is no merge.
fn halves<E: Error>(text: &str) -> Result<(&str, &str), E> {
    text.split_once(' ')
        .filter(|(_, b)| !b.contains(' '))
        .filter(|_| !text.starts_with("#version"))
        .ok_or_else(|| E::custom("a merge is not two tokens parted by a space"))
}
