//! Arguments that are one of a few words.

use std::error::Error;
use std::str::FromStr;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use akidb_embedding::{Choice, Precision};

/// Takes the words of a choice, and shows them in help and completions.
pub(crate) fn choices<C: Choice>() -> impl TypedValueParser<Value = C> {
    let all = C::ALL.iter();
    words(all.map(|choice| (choice.word(), choice.summary())))
}

/// As [`choices`].
pub(crate) fn precisions() -> impl TypedValueParser<Value = Precision> {
    words(Precision::ALL.into_iter().map(|precision| {
        let summary = match precision {
            Precision::Auto => "What the file holds: int8, int4, bf16 where the CPU has it, or f32",
            Precision::F32 => "f32, whatever the file holds",
            Precision::Bf16 => "bf16 weights and activations",
            Precision::Int8 => "8-bit weights and activations",
            Precision::Int4 => "4-bit weights, 8-bit activations",
        };
        (precision.as_str(), summary)
    }))
}

/// Takes these words, each with what it means; nothing where the word says it.
pub(crate) fn words<T>(
    words: impl Iterator<Item = (&'static str, &'static str)>,
) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err: Error + Send + Sync + 'static> + Clone + Send + Sync + 'static,
{
    let values = words.map(|(word, summary)| {
        let value = PossibleValue::new(word);
        match summary {
            "" => value,
            summary => value.help(summary),
        }
    });
    PossibleValuesParser::new(values).try_map(|word| word.parse::<T>())
}
