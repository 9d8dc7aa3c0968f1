//! Bounds what decoding a hostile file can cost, before a byte of it is decoded.
//!
//! Protobuf is compact: two bytes on the wire become a structure of hundreds of bytes. This walk
//! over the wire format adds up an upper bound of the memory that decoding and indexing will use,
//! without touching the weights: [`TensorProto::raw_data`](proto::TensorProto::raw_data) is shared with
//! the input and costs nothing.

use std::mem::size_of;

use crate::error::{Error, ErrorKind};
use crate::proto;

/// Most memory that decoding a file may take, in bytes, weights aside. A 28-layer decoder takes
/// about a twelfth of it.
pub const MAX_DECODED_BYTES: usize = 256 << 20;

/// Deepest nesting of messages; a graph inside a node's attribute is three deeper than its parent.
/// Below the 100 at which `prost` itself stops.
pub const MAX_DEPTH: usize = 64;

/// An element of a growing `Vec` costs up to four times its size: the first push reserves four.
const VEC: usize = 4;

/// A string in the message, and its entry in the index of values should it be a value's name: a
/// string, a list of consumers and their share of a half-empty table, which is copied to grow.
const NAME: usize = 512;

/// Refuses a serialized `ModelProto` that is cut off, nested too deeply, or too large to decode.
pub(crate) fn check(file: &[u8]) -> Result<(), Error> {
    let mut cost = 0usize;
    let mut reader = Reader {
        file,
        at: 0,
        end: file.len(),
    };
    let mut kind = Kind::Model;
    // Where each enclosing message ends and what it is.
    let mut parents = Vec::new();
    loop {
        if reader.at == reader.end {
            match parents.pop() {
                Some((parent, end)) => {
                    (kind, reader.end) = (parent, end);
                    continue;
                }
                None => return Ok(()),
            }
        }
        let (number, wire) = reader.key()?;
        let len = match wire {
            0 => {
                reader.varint()?;
                None
            }
            1 => {
                reader.skip(8)?;
                None
            }
            2 => {
                let len = reader.varint()?;
                let len = usize::try_from(len).unwrap_or(usize::MAX);
                if len > reader.end - reader.at {
                    return Err(reader.error("a length past the end"));
                }
                Some(len)
            }
            5 => {
                reader.skip(4)?;
                None
            }
            _ => return Err(reader.error("an unknown wire type")),
        };
        let field = kind.field(number);
        cost = cost.saturating_add(match (field, len) {
            (Field::Message(inner), Some(_)) => VEC * inner.size(),
            (Field::Shared, Some(_)) => VEC * size_of::<bytes::Bytes>(),
            (Field::Packed(factor), Some(len)) => len.saturating_mul(factor * VEC),
            (Field::Plain, Some(len)) => NAME.saturating_add(len.saturating_mul(2)),
            (_, None) => VEC * size_of::<u64>(),
        });
        if cost > MAX_DECODED_BYTES {
            return Err(ErrorKind::TooLarge {
                limit: MAX_DECODED_BYTES,
            }
            .into());
        }
        match (field, len) {
            (Field::Message(inner), Some(len)) => {
                if parents.len() == MAX_DEPTH {
                    return Err(ErrorKind::TooDeep { limit: MAX_DEPTH }.into());
                }
                parents.push((kind, reader.end));
                (kind, reader.end) = (inner, reader.at + len);
            }
            (_, Some(len)) => reader.skip(len)?,
            (_, None) => {}
        }
    }
}

struct Reader<'a> {
    file: &'a [u8],
    at: usize,
    /// Where the current message ends.
    end: usize,
}

impl Reader<'_> {
    fn key(&mut self) -> Result<(u64, u8), Error> {
        let key = self.varint()?;
        Ok((key >> 3, (key & 7) as u8))
    }

    fn varint(&mut self) -> Result<u64, Error> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = match self.file[..self.end].get(self.at) {
                Some(&byte) => byte,
                None => return Err(self.error("a number that is cut off")),
            };
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.error("a number of more than ten bytes"))
    }

    fn skip(&mut self, len: usize) -> Result<(), Error> {
        if len > self.end - self.at {
            return Err(self.error("a value past the end"));
        }
        self.at += len;
        Ok(())
    }

    fn error(&self, why: &'static str) -> Error {
        ErrorKind::Malformed {
            why,
            offset: self.at,
        }
        .into()
    }
}

#[derive(Clone, Copy)]
enum Field {
    Message(Kind),
    /// Bytes that stay where they are.
    Shared,
    /// Numbers; each byte on the wire becomes at most so many in memory.
    Packed(usize),
    /// A string, or a field that the decoder skips.
    Plain,
}

/// The messages of [`proto`].
#[derive(Clone, Copy)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    Segment,
    SparseTensor,
    ValueInfo,
    Type,
    TensorType,
    SparseTensorType,
    SequenceType,
    MapType,
    OptionalType,
    OpaqueType,
    Shape,
    Dimension,
    OperatorSetId,
    Entry,
    Annotation,
    Function,
    TrainingInfo,
    DeviceConfiguration,
    NodeDeviceConfiguration,
    ShardingSpec,
    IntIntListEntry,
    ShardedDim,
    SimpleShardedDim,
}

impl Kind {
    fn size(self) -> usize {
        match self {
            Self::Model => size_of::<proto::ModelProto>(),
            Self::Graph => size_of::<proto::GraphProto>(),
            Self::Node => size_of::<proto::NodeProto>(),
            Self::Attribute => size_of::<proto::AttributeProto>(),
            Self::Tensor => size_of::<proto::TensorProto>(),
            Self::Segment => size_of::<proto::tensor_proto::Segment>(),
            Self::SparseTensor => size_of::<proto::SparseTensorProto>(),
            Self::ValueInfo => size_of::<proto::ValueInfoProto>(),
            Self::Type => size_of::<proto::TypeProto>(),
            Self::TensorType => size_of::<proto::type_proto::Tensor>(),
            Self::SparseTensorType => size_of::<proto::type_proto::SparseTensor>(),
            Self::SequenceType => size_of::<proto::type_proto::Sequence>(),
            Self::MapType => size_of::<proto::type_proto::Map>(),
            Self::OptionalType => size_of::<proto::type_proto::Optional>(),
            Self::OpaqueType => size_of::<proto::type_proto::Opaque>(),
            Self::Shape => size_of::<proto::TensorShapeProto>(),
            Self::Dimension => size_of::<proto::tensor_shape_proto::Dimension>(),
            Self::OperatorSetId => size_of::<proto::OperatorSetIdProto>(),
            Self::Entry => size_of::<proto::StringStringEntryProto>(),
            Self::Annotation => size_of::<proto::TensorAnnotation>(),
            Self::Function => size_of::<proto::FunctionProto>(),
            Self::TrainingInfo => size_of::<proto::TrainingInfoProto>(),
            Self::DeviceConfiguration => size_of::<proto::DeviceConfigurationProto>(),
            Self::NodeDeviceConfiguration => size_of::<proto::NodeDeviceConfigurationProto>(),
            Self::ShardingSpec => size_of::<proto::ShardingSpecProto>(),
            Self::IntIntListEntry => size_of::<proto::IntIntListEntryProto>(),
            Self::ShardedDim => size_of::<proto::ShardedDimProto>(),
            Self::SimpleShardedDim => size_of::<proto::SimpleShardedDimProto>(),
        }
    }

    fn field(self, number: u64) -> Field {
        use Field::{Message, Packed, Plain, Shared};
        // A varint takes at least one byte, an f32 four, an f64 eight.
        const INT64: Field = Packed(8);
        const INT32: Field = Packed(4);
        const FIXED: Field = Packed(1);
        match (self, number) {
            (Self::Model, 7) => Message(Self::Graph),
            (Self::Model, 8) => Message(Self::OperatorSetId),
            (Self::Model, 14) => Message(Self::Entry),
            (Self::Model, 20) => Message(Self::TrainingInfo),
            (Self::Model, 25) => Message(Self::Function),
            (Self::Model, 26) => Message(Self::DeviceConfiguration),
            (Self::Graph, 1) => Message(Self::Node),
            (Self::Graph, 5) => Message(Self::Tensor),
            (Self::Graph, 11..=13) => Message(Self::ValueInfo),
            (Self::Graph, 14) => Message(Self::Annotation),
            (Self::Graph, 15) => Message(Self::SparseTensor),
            (Self::Graph, 16) => Message(Self::Entry),
            (Self::Node, 5) => Message(Self::Attribute),
            (Self::Node, 9) => Message(Self::Entry),
            (Self::Node, 10) => Message(Self::NodeDeviceConfiguration),
            (Self::Attribute, 4 | 9) => Shared,
            (Self::Attribute, 5 | 10) => Message(Self::Tensor),
            (Self::Attribute, 6 | 11) => Message(Self::Graph),
            (Self::Attribute, 7) => FIXED,
            (Self::Attribute, 8) => INT64,
            (Self::Attribute, 14 | 15) => Message(Self::Type),
            (Self::Attribute, 22 | 23) => Message(Self::SparseTensor),
            (Self::Tensor, 1) => INT64,
            (Self::Tensor, 3) => Message(Self::Segment),
            (Self::Tensor, 4 | 10) => FIXED,
            (Self::Tensor, 5) => INT32,
            (Self::Tensor, 6 | 9) => Shared,
            (Self::Tensor, 7 | 11) => INT64,
            (Self::Tensor, 13 | 16) => Message(Self::Entry),
            (Self::SparseTensor, 1 | 2) => Message(Self::Tensor),
            (Self::SparseTensor, 3) => INT64,
            (Self::ValueInfo, 2) => Message(Self::Type),
            (Self::ValueInfo, 4) => Message(Self::Entry),
            (Self::Type, 1) => Message(Self::TensorType),
            (Self::Type, 4) => Message(Self::SequenceType),
            (Self::Type, 5) => Message(Self::MapType),
            (Self::Type, 7) => Message(Self::OpaqueType),
            (Self::Type, 8) => Message(Self::SparseTensorType),
            (Self::Type, 9) => Message(Self::OptionalType),
            (Self::TensorType | Self::SparseTensorType, 2) => Message(Self::Shape),
            (Self::SequenceType | Self::OptionalType, 1) => Message(Self::Type),
            (Self::MapType, 2) => Message(Self::Type),
            (Self::Shape, 1) => Message(Self::Dimension),
            (Self::Annotation, 2) => Message(Self::Entry),
            (Self::Function, 7) => Message(Self::Node),
            (Self::Function, 9) => Message(Self::OperatorSetId),
            (Self::Function, 11) => Message(Self::Attribute),
            (Self::Function, 12) => Message(Self::ValueInfo),
            (Self::Function, 14) => Message(Self::Entry),
            (Self::TrainingInfo, 1 | 2) => Message(Self::Graph),
            (Self::TrainingInfo, 3 | 4) => Message(Self::Entry),
            (Self::NodeDeviceConfiguration, 2) => Message(Self::ShardingSpec),
            (Self::ShardingSpec, 2) => INT64,
            (Self::ShardingSpec, 3) => Message(Self::IntIntListEntry),
            (Self::ShardingSpec, 4) => Message(Self::ShardedDim),
            (Self::IntIntListEntry, 2) => INT64,
            (Self::ShardedDim, 2) => Message(Self::SimpleShardedDim),
            _ => Plain,
        }
    }
}
