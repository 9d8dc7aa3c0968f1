//! The integers that a value holds, where they follow from shapes: they become shapes again.

/// Most integers of a value that are kept one by one.
pub(super) const MAX_EXACT: usize = 64;

/// What is known of the integers in a value, or of floats that are integers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Contents {
    /// Each of them, row-major.
    Exact(Vec<i64>),
    /// Each is at least the first and at most the second.
    Within(i64, i64),
}

use Contents::{Exact, Within};

impl Contents {
    pub(super) fn of(values: Vec<i64>) -> Option<Self> {
        if values.len() <= MAX_EXACT {
            return Some(Exact(values));
        }
        Some(Within(*values.iter().min()?, *values.iter().max()?))
    }

    pub(super) fn repeated(value: i64, count: Option<usize>) -> Self {
        match count {
            Some(count) if count <= MAX_EXACT => Exact(vec![value; count]),
            _ => Within(value, value),
        }
    }

    pub(super) fn bounds(&self) -> Option<(i64, i64)> {
        match self {
            Exact(values) => Some((*values.iter().min()?, *values.iter().max()?)),
            Within(least, most) => Some((*least, *most)),
        }
    }

    pub(super) fn exact(&self) -> Option<&[i64]> {
        match self {
            Exact(values) => Some(values),
            Within(..) => None,
        }
    }

    /// What holds for both.
    pub(super) fn or(&self, other: &Self) -> Option<Self> {
        if self == other {
            return Some(self.clone());
        }
        match (self.bounds(), other.bounds()) {
            (Some(a), Some(b)) => Some(Within(a.0.min(b.0), a.1.max(b.1))),
            (Some((least, most)), None) | (None, Some((least, most))) => Some(Within(least, most)),
            (None, None) => None,
        }
    }

    pub(super) fn loose(&self) -> Option<Self> {
        self.bounds().map(|(least, most)| Within(least, most))
    }
}

/// Number of values of a shape, where every axis is known.
pub(super) fn count_of(dims: &[Option<i64>]) -> Option<i64> {
    dims.iter().try_fold(1i64, |n, dim| n.checked_mul((*dim)?))
}
