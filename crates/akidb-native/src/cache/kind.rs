//! What a header says about a packed weight, and the way back.

use akidb_kernels::{
    Int8Type, NBitsCodes, NBitsFormat, PackedBf16, PackedF32, PackedInt8, PackedNBits, ShapeError,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::product::Weight;

/// Form of a weight.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) enum Kind {
    F32,
    Bf16,
    Int8,
    NBits {
        codes: Codes,
        block_size: usize,
        zero_points: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) enum Codes {
    Int4,
    Int8,
    /// Bits of each level.
    Levels([u32; 16]),
}

impl Kind {
    pub(super) fn of(weight: &Weight) -> Self {
        match weight {
            Weight::F32(_) => Self::F32,
            Weight::Bf16(_) => Self::Bf16,
            Weight::Int8(_) => Self::Int8,
            Weight::NBits(weight) => Self::NBits {
                codes: match weight.format().codes {
                    NBitsCodes::Int4 => Codes::Int4,
                    NBitsCodes::Int8 => Codes::Int8,
                    NBitsCodes::Levels(levels) => Codes::Levels(levels.map(f32::to_bits)),
                },
                block_size: weight.format().block_size,
                zero_points: weight.format().zero_points,
            },
        }
    }

    /// The weight whose [`parts`] these are; `None` when it has another number of them.
    pub(super) fn weight(
        self,
        [k, n]: [usize; 2],
        parts: Vec<Bytes>,
    ) -> Option<Result<Weight, ShapeError>> {
        Some(match self {
            Self::F32 => {
                let [bytes] = parts.try_into().ok()?;
                PackedF32::from_bytes(k, n, bytes).map(Weight::F32)
            }
            Self::Bf16 => {
                let [bytes] = parts.try_into().ok()?;
                PackedBf16::from_bytes(k, n, bytes).map(Weight::Bf16)
            }
            // The type says how bytes are written, and these are.
            Self::Int8 => {
                PackedInt8::from_bytes(k, n, Int8Type::U8, parts.try_into().ok()?).map(Weight::Int8)
            }
            Self::NBits {
                codes,
                block_size,
                zero_points,
            } => {
                let format = NBitsFormat {
                    codes: match codes {
                        Codes::Int4 => NBitsCodes::Int4,
                        Codes::Int8 => NBitsCodes::Int8,
                        Codes::Levels(levels) => NBitsCodes::Levels(levels.map(f32::from_bits)),
                    },
                    block_size,
                    zero_points,
                };
                PackedNBits::from_bytes(k, n, format, parts.try_into().ok()?).map(Weight::NBits)
            }
        })
    }
}

/// The bytes of a weight.
pub(crate) fn parts(weight: &Weight) -> Vec<&[u8]> {
    match weight {
        Weight::F32(weight) => vec![weight.as_bytes()],
        Weight::Bf16(weight) => vec![weight.as_bytes()],
        Weight::Int8(weight) => weight.as_bytes().into(),
        Weight::NBits(weight) => weight.as_bytes().into(),
    }
}
