//! A part of the units, for one of several processes.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::CorpusError;
use super::plan::Unit;

/// The `index`th of `count` parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Shard {
    /// From 1.
    index: usize,
    count: usize,
}

impl Shard {
    /// `index` counts from 1.
    ///
    /// # Errors
    /// When it isn't between 1 and `count`.
    pub fn new(index: usize, count: usize) -> Result<Self, CorpusError> {
        match (1..=count).contains(&index) {
            true => Ok(Self { index, count }),
            false => Err(CorpusError::Settings(format!(
                "there is no shard {index} of {count}: shards are counted from 1"
            ))),
        }
    }

    /// Its number, from 1.
    pub fn index(self) -> usize {
        self.index
    }

    /// How many there are.
    pub fn count(self) -> usize {
        self.count
    }

    /// Its units, which stand side by side, so that files are read through.
    pub fn of(self, units: &[Unit]) -> &[Unit] {
        let at = |index: usize| {
            let units = units.len() as u128 * index as u128 / self.count as u128;
            usize::try_from(units).unwrap_or(usize::MAX)
        };
        units
            .get(at(self.index - 1)..at(self.index))
            .unwrap_or_default()
    }
}

impl Display for Shard {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = CorpusError;

    fn from_str(text: &str) -> Result<Self, CorpusError> {
        let numbers = text.split_once('/').and_then(|(index, count)| {
            Some((index.trim().parse().ok()?, count.trim().parse().ok()?))
        });
        let wrong = || CorpusError::Settings(format!("a shard is I/N as in 2/8, not {text:?}"));
        let (index, count) = numbers.ok_or_else(wrong)?;
        Self::new(index, count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_unit_is_in_one_shard() {
        let unit = |n: u64| Unit {
            name: n.to_string(),
            file: 0,
            first_row: n,
            rows: 1,
            byte: 0,
            line: 0,
        };
        for units in [0, 1, 5, 12] {
            let units: Vec<_> = (0..units).map(unit).collect();
            for count in 1..8 {
                let shards = (1..=count).map(|index| Shard::new(index, count).unwrap());
                let all: Vec<_> = shards.flat_map(|shard| shard.of(&units).to_vec()).collect();
                assert_eq!(all, units);
            }
        }
        assert_eq!("2/3".parse::<Shard>().unwrap(), Shard::new(2, 3).unwrap());
        for wrong in ["", "2", "2/", "/3", "a/3", "-1/3", "0/3", "4/3"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
        assert!(Shard::new(0, 3).is_err());
        assert!(Shard::new(4, 3).is_err());
        assert!(Shard::new(1, 0).is_err());
    }
}
