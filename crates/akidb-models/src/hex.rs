//! Checksums and commits: bytes written as lower-case hexadecimal digits.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `N` bytes, read and written as `2 * N` hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hex<const N: usize>(pub [u8; N]);

/// Checksum of a file's bytes.
pub type Sha256 = Hex<32>;

/// Checksum that git gives a file: SHA-1 over `blob {size}\0` and the bytes.
pub type GitBlob = Hex<20>;

/// A commit of a repository.
pub type Commit = Hex<20>;

/// Text that is not such a number.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is not {digits} hexadecimal digits")]
pub struct HexError {
    text: String,
    digits: usize,
}

impl<const N: usize> FromStr for Hex<N> {
    type Err = HexError;

    fn from_str(text: &str) -> Result<Self, HexError> {
        let wrong = || HexError {
            // Bounded, since it may come from the network.
            text: text.chars().take(80).collect(),
            digits: 2 * N,
        };
        if text.len() != 2 * N {
            return Err(wrong());
        }
        let mut bytes = [0; N];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digit = |c: u8| char::from(c).to_digit(16);
            let [high, low] = [pair.first(), pair.last()].map(|c| c.copied().and_then(digit));
            let value = high.zip(low).map(|(high, low)| high * 16 + low);
            *byte = value.and_then(|v| u8::try_from(v).ok()).ok_or_else(wrong)?;
        }
        Ok(Self(bytes))
    }
}

impl<const N: usize> fmt::Display for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl<const N: usize> fmt::Debug for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<const N: usize> TryFrom<String> for Hex<N> {
    type Error = HexError;

    fn try_from(text: String) -> Result<Self, HexError> {
        text.parse()
    }
}

impl<const N: usize> From<Hex<N>> for String {
    fn from(hex: Hex<N>) -> Self {
        hex.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_digits_of_the_right_number_are_taken() {
        let commit: Hex<2> = "00fF".parse().unwrap();
        assert_eq!(
            (commit.0, commit.to_string()),
            ([0, 255], "00ff".to_owned())
        );
        for wrong in ["", "00f", "00fff", "00fg", "+0ff", "é0f"] {
            assert!(wrong.parse::<Hex<2>>().is_err(), "{wrong}");
        }
    }
}
