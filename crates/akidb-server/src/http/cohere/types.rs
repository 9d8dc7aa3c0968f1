//! Vectors as Cohere's clients ask for them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use akidb_embedding::{Embedding, Encoding, Values, encode};

use crate::http::answer;
use crate::service::EmbedAnswer;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, ToSchema)]
#[schema(as = CohereEmbeddingType)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EmbeddingType {
    /// Numbers.
    Float,
    /// -127 to 127, the largest magnitude becoming 127.
    Int8,
    /// The same plus 128.
    Uint8,
    /// Signs, eight to a byte, minus 128.
    Binary,
    /// Signs, eight to a byte, the first in the highest bit.
    Ubinary,
    /// Little-endian f32 as base64.
    Base64,
}

/// For each type that was asked for, one vector a text, in order.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = CohereEmbeddings)]
pub(crate) struct Embeddings {
    #[serde(skip_serializing_if = "Option::is_none")]
    float: Option<Vec<Vec<f32>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    int8: Option<Vec<Vec<i8>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uint8: Option<Vec<Vec<u8>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    binary: Option<Vec<Vec<i8>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ubinary: Option<Vec<Vec<u8>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<Vec<String>>,
}

impl Embeddings {
    pub(super) fn new(answer: &EmbedAnswer, types: &[EmbeddingType]) -> Self {
        let all = |embed: fn(&Embedding) -> Vec<u8>| answer.embeddings.iter().map(embed).collect();
        let mut this = Self::default();
        for kind in types {
            match kind {
                EmbeddingType::Float => {
                    let floats = answer.embeddings.iter().map(answer::floats);
                    this.float = Some(floats.map(<[f32]>::to_vec).collect());
                }
                EmbeddingType::Int8 => {
                    this.int8 = Some(answer.embeddings.iter().map(codes).collect());
                }
                EmbeddingType::Uint8 => {
                    this.uint8 = Some(all(|e| codes(e).into_iter().map(offset).collect()));
                }
                EmbeddingType::Binary => {
                    let bits = answer.embeddings.iter().map(bits);
                    let signed = |bytes: Vec<u8>| bytes.into_iter().map(centred).collect();
                    this.binary = Some(bits.map(signed).collect());
                }
                EmbeddingType::Ubinary => this.ubinary = Some(all(bits)),
                EmbeddingType::Base64 => {
                    let floats = answer.embeddings.iter().map(answer::floats);
                    this.base64 = Some(floats.map(answer::base64).collect());
                }
            }
        }
        this
    }
}

fn codes(embedding: &Embedding) -> Vec<i8> {
    match encode(answer::floats(embedding).to_vec(), Encoding::I8) {
        Some(Values::I8 { codes, .. }) => codes,
        _ => Vec::new(),
    }
}

fn bits(embedding: &Embedding) -> Vec<u8> {
    match encode(answer::floats(embedding).to_vec(), Encoding::Binary) {
        Some(Values::Binary(bits)) => bits,
        _ => Vec::new(),
    }
}

/// -128 becomes 0.
fn offset(code: i8) -> u8 {
    code.cast_unsigned() ^ 0x80
}

/// 0 becomes -128.
fn centred(byte: u8) -> i8 {
    (byte ^ 0x80).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embedding(values: Vec<f32>) -> Embedding {
        Embedding {
            values: Values::F32(values),
            tokens: 1,
            truncated: false,
        }
    }

    #[test]
    fn small_types_are_the_signed_and_unsigned_form_of_one_code() {
        let e = embedding(vec![-1.0, 0.0, 0.5, 1.0, -0.1, 0.1, 0.1, 0.1, 0.2]);
        assert_eq!(codes(&e)[..4], [-127, 0, 64, 127]);
        assert_eq!(
            codes(&e)[..4]
                .iter()
                .map(|&c| offset(c))
                .collect::<Vec<_>>(),
            [1, 128, 192, 255]
        );
        assert_eq!(bits(&e), [0b0011_0111, 0b1000_0000]);
        assert_eq!([0, 55, 128, 255].map(centred), [-128, -73, 0, 127]);
    }
}
