//! The words for the arithmetic of products.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Arithmetic of the linear layers. Softmax, norms and sums are in f32 whatever it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// What the file holds: 8-bit codes as [`Self::Int8`], 4-bit codes as [`Self::Int4`], f16 and
    /// bf16 as [`Self::Bf16`] where the CPU has instructions for it, all else as [`Self::F32`].
    #[default]
    Auto,
    /// f32, whatever the file holds.
    F32,
    /// bf16 weights and activations.
    Bf16,
    /// 8-bit weights and activations. Weights that are not stored in 8 bits are quantised, with a
    /// scale for each output.
    Int8,
    /// 4-bit weights and 8-bit activations. Weights that are not stored in 4 bits are quantised,
    /// with a scale for each 32 inputs of an output.
    Int4,
}

impl Precision {
    /// Every precision.
    pub const ALL: [Self; 5] = [Self::Auto, Self::F32, Self::Bf16, Self::Int8, Self::Int4];

    /// The name that [`FromStr`] reads: `auto`, `f32`, `bf16`, `int8` or `int4`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
            Self::Int4 => "int4",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Precision {
    type Err = PrecisionError;

    fn from_str(name: &str) -> Result<Self, PrecisionError> {
        let mut all = Self::ALL.into_iter();
        let found = all.find(|precision| precision.as_str() == name);
        found.ok_or_else(|| PrecisionError(name.to_owned()))
    }
}

/// A name that stands for no precision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown precision \"{0}\"; known are {known}", known = Precision::ALL.map(Precision::as_str).join(", "))]
pub struct PrecisionError(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for precision in Precision::ALL {
            assert_eq!(precision.to_string().parse(), Ok(precision));
            let json = serde_json::to_string(&precision).unwrap();
            assert_eq!(json, format!("{:?}", precision.as_str()));
        }
        let error = "F32".parse::<Precision>().unwrap_err().to_string();
        let expected = "unknown precision \"F32\"; known are auto, f32, bf16, int8, int4";
        assert_eq!(error, expected);
    }
}
