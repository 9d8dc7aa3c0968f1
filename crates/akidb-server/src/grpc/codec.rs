//! Messages to and from bytes, with a bound to the texts of one.

use prost::Message;
use prost::bytes::Buf;
use prost::encoding::decode_varint;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic_prost::ProstCodec;

use super::proto::{
    EmbedRequest, EmbedStreamRequest, GetModelInfoRequest, RerankRequest, RerankStreamRequest,
};
use super::tei_proto;
use crate::service::MOST_INPUTS;

/// As [`ProstCodec`], but messages with too many texts are refused before memory is taken for them:
/// an empty text is 2 bytes of a message and 24 of memory.
#[derive(Debug)]
pub(crate) struct Bounded<T, U>(ProstCodec<T, U>);

impl<T, U> Default for Bounded<T, U> {
    fn default() -> Self {
        Self(ProstCodec::default())
    }
}

impl<T, U> Codec for Bounded<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Texts + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = <ProstCodec<T, U> as Codec>::Encoder;
    type Decoder = BoundedDecoder<<ProstCodec<T, U> as Codec>::Decoder>;

    fn encoder(&mut self) -> Self::Encoder {
        self.0.encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        BoundedDecoder(self.0.decoder())
    }
}

#[derive(Debug)]
pub(crate) struct BoundedDecoder<D>(D);

impl<D: Decoder<Item: Texts, Error = Status>> Decoder for BoundedDecoder<D> {
    type Item = D::Item;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<D::Item>, Status> {
        match D::Item::texts(bytes.chunk()) {
            // The library says INTERNAL to what is the client's fault.
            Some(texts) if texts <= MOST_INPUTS => self.0.decode(bytes).map_err(|status| {
                Status::invalid_argument(format!("the message can't be read: {}", status.message()))
            }),
            Some(texts) => Err(Status::invalid_argument(format!(
                "the message has {texts} texts: at most {MOST_INPUTS} are read"
            ))),
            None => Err(Status::invalid_argument(
                "the message is none of this service's",
            )),
        }
    }
}

/// A message that may have texts.
pub(crate) trait Texts {
    /// How many the bytes of one have; `None` when they aren't one.
    fn texts(message: &[u8]) -> Option<usize>;
}

impl Texts for EmbedRequest {
    fn texts(message: &[u8]) -> Option<usize> {
        sum(message, |field, _| Some(usize::from(field == 1)))
    }
}

impl Texts for EmbedStreamRequest {
    fn texts(message: &[u8]) -> Option<usize> {
        sum(message, |field, request| match field {
            2 => EmbedRequest::texts(request),
            _ => Some(0),
        })
    }
}

impl Texts for RerankRequest {
    fn texts(message: &[u8]) -> Option<usize> {
        sum(message, |field, _| Some(usize::from(field == 2)))
    }
}

impl Texts for RerankStreamRequest {
    fn texts(message: &[u8]) -> Option<usize> {
        sum(message, |field, request| match field {
            2 => RerankRequest::texts(request),
            _ => Some(0),
        })
    }
}

impl Texts for GetModelInfoRequest {
    fn texts(_: &[u8]) -> Option<usize> {
        Some(0)
    }
}

impl Texts for tei_proto::InfoRequest {
    fn texts(_: &[u8]) -> Option<usize> {
        Some(0)
    }
}

impl Texts for tei_proto::EmbedRequest {
    fn texts(message: &[u8]) -> Option<usize> {
        one(message)
    }
}

impl Texts for tei_proto::EmbedAllRequest {
    fn texts(message: &[u8]) -> Option<usize> {
        one(message)
    }
}

impl Texts for tei_proto::RerankRequest {
    fn texts(message: &[u8]) -> Option<usize> {
        RerankRequest::texts(message)
    }
}

impl Texts for tei_proto::RerankStreamRequest {
    fn texts(message: &[u8]) -> Option<usize> {
        one(message)
    }
}

impl Texts for tei_proto::EncodeRequest {
    fn texts(message: &[u8]) -> Option<usize> {
        one(message)
    }
}

/// An id has 1 byte or more of a message, and 4 of memory: two are counted as a text.
impl Texts for tei_proto::DecodeRequest {
    fn texts(message: &[u8]) -> Option<usize> {
        let ids = |field, packed: &[u8]| {
            let ends = packed.iter().filter(|byte| **byte < 0x80).count();
            Some(if field == 1 { ends } else { 0 })
        };
        Some(sum(message, ids)?.div_ceil(2))
    }
}

/// A message whose text takes the place of the one before it.
fn one(message: &[u8]) -> Option<usize> {
    sum(message, |_, _| Some(0))
}

/// The sum of what `count` says of the fields that have a length, by number and bytes.
fn sum(mut message: &[u8], count: impl Fn(u64, &[u8]) -> Option<usize>) -> Option<usize> {
    let mut sum = 0_usize;
    while !message.is_empty() {
        // The wire types of https://protobuf.dev/programming-guides/encoding; groups are none of
        // proto3's.
        let tag = decode_varint(&mut message).ok()?;
        match tag & 7 {
            0 => {
                decode_varint(&mut message).ok()?;
            }
            1 => message = message.get(8..)?,
            2 => {
                let len = usize::try_from(decode_varint(&mut message).ok()?).ok()?;
                let (field, rest) = message.split_at_checked(len)?;
                sum = sum.saturating_add(count(tag >> 3, field)?);
                message = rest;
            }
            5 => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_counted_as_they_are_decoded() {
        for texts in [0, 1, 300] {
            let request = EmbedRequest {
                texts: vec!["a".to_owned(); texts],
                model: Some("b".to_owned()),
                normalize: Some(true),
                dimensions: Some(u32::MAX),
                ..EmbedRequest::default()
            };
            assert_eq!(EmbedRequest::texts(&request.encode_to_vec()), Some(texts));
            let stream = EmbedStreamRequest {
                id: u64::MAX,
                request: Some(request),
            };
            let bytes = stream.encode_to_vec();
            assert_eq!(EmbedStreamRequest::texts(&bytes), Some(texts));
            // A later request is merged with the first.
            let twice = [&bytes[..], &bytes[..]].concat();
            let decoded = EmbedStreamRequest::decode(&twice[..]).unwrap();
            assert_eq!(decoded.request.unwrap().texts.len(), 2 * texts);
            assert_eq!(EmbedStreamRequest::texts(&twice), Some(2 * texts));
        }
    }

    #[test]
    fn documents_are_texts() {
        let request = RerankRequest {
            query: "a".to_owned(),
            documents: vec!["b".to_owned(); 300],
            model: Some("c".to_owned()),
            ..RerankRequest::default()
        };
        let bytes = request.encode_to_vec();
        assert_eq!(RerankRequest::texts(&bytes), Some(300));
        assert_eq!(tei_proto::RerankRequest::texts(&bytes), Some(300));
        let stream = RerankStreamRequest {
            id: 1,
            request: Some(request),
        };
        assert_eq!(
            RerankStreamRequest::texts(&stream.encode_to_vec()),
            Some(300)
        );
    }

    #[test]
    fn what_is_no_message_has_no_texts() {
        // A length beyond the end, a group, half a number, and a number without an end.
        for bytes in [
            &[0x0a, 2, b'a'][..],
            &[0x0b, 0x0c],
            &[0x0d, 1],
            &[0x08, 0x80],
        ] {
            assert_eq!(EmbedRequest::texts(bytes), None, "{bytes:?}");
        }
    }
}
