//! Choices that people make, and their words.

use std::error::Error;
use std::fmt::{self, Display};
use std::str::FromStr;

/// One of a few things, each with a word for it: on the command line, in settings and in answers.
///
/// [`choice!`](crate::choice!) gives an enum all of this.
pub trait Choice:
    Copy + Display + Eq + FromStr<Err = UnknownChoice> + Send + Sync + 'static
{
    /// What is chosen, as in "there is no backend \"x\"".
    const WHAT: &'static str;
    /// All there are.
    const ALL: &'static [Self];

    /// Its word.
    fn word(self) -> &'static str;

    /// What it does, in a line; empty where the word says it.
    fn summary(self) -> &'static str;
}

/// A word for nothing that can be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownChoice {
    what: &'static str,
    word: String,
    known: Vec<&'static str>,
}

impl UnknownChoice {
    /// The choice that `word` is not one of.
    pub fn of<C: Choice>(word: &str) -> Self {
        Self {
            what: C::WHAT,
            word: word.to_owned(),
            known: C::ALL.iter().map(|choice| choice.word()).collect(),
        }
    }
}

impl Display for UnknownChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, word, known } = self;
        write!(f, "there is no {what} {word:?}: {}", known.join(", "))
    }
}

impl Error for UnknownChoice {}

/// Gives an enum its words: [`Choice`](crate::Choice), `as_str`, `Display`, `FromStr` and serde. A variant that
/// a feature brings has its `cfg` here, too.
#[macro_export]
macro_rules! choice {
    ($type:ident, $what:literal, $($(#[$cfg:meta])* $variant:ident = $word:literal: $summary:literal),+ $(,)?) => {
        impl $type {
            /// Its word, on the command line, in settings and in answers.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($(#[$cfg])* Self::$variant => $word),+
                }
            }
        }

        impl $crate::Choice for $type {
            const WHAT: &'static str = $what;
            const ALL: &'static [Self] = &[$($(#[$cfg])* Self::$variant),+];

            fn word(self) -> &'static str {
                self.as_str()
            }

            fn summary(self) -> &'static str {
                match self {
                    $($(#[$cfg])* Self::$variant => $summary),+
                }
            }
        }

        impl ::std::fmt::Display for $type {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl ::std::str::FromStr for $type {
            type Err = $crate::UnknownChoice;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    $($(#[$cfg])* $word => Ok(Self::$variant),)+
                    _ => Err($crate::UnknownChoice::of::<Self>(word)),
                }
            }
        }

        impl $crate::serde::Serialize for $type {
            fn serialize<S: $crate::serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
        }

        impl<'de> $crate::serde::Deserialize<'de> for $type {
            fn deserialize<D: $crate::serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let word = <String as $crate::serde::Deserialize>::deserialize(from)?;
                word.parse().map_err($crate::serde::de::Error::custom)
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use crate::{Choice, Pooling};

    #[test]
    fn words_are_read_as_they_are_written_and_others_are_told_what_there_is() {
        for pooling in Pooling::ALL {
            assert_eq!(pooling.to_string().parse(), Ok(*pooling));
        }
        let error = "largest".parse::<Pooling>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no pooling \"largest\": last_token, mean, cls, max, mean_sqrt_len_tokens, weightedmean"
        );
    }
}
