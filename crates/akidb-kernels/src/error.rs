//! The one error of this crate: arguments that don't fit each other.

/// Lengths, ranges or sizes that contradict each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// A slice has another length than the shape asks for.
    #[error("{op}: {operand} has length {actual}, expected {expected}")]
    Length {
        /// Operation.
        op: &'static str,
        /// Argument.
        operand: &'static str,
        /// Length that would fit.
        expected: usize,
        /// Length given.
        actual: usize,
    },
    /// An index or the end of a range lies beyond the limit.
    #[error("{op}: {operand} ends at {end}, beyond {limit}")]
    Range {
        /// Operation.
        op: &'static str,
        /// Argument.
        operand: &'static str,
        /// First index past the range given.
        end: usize,
        /// Largest end that would fit.
        limit: usize,
    },
    /// Bytes don't start where they should.
    #[error("{op}: {operand} is not aligned to {expected} bytes")]
    Alignment {
        /// Operation.
        op: &'static str,
        /// Argument.
        operand: &'static str,
        /// What the address must be a multiple of.
        expected: usize,
    },
    /// Weights that were taken from bytes can't be written.
    #[error("{op}: the weights lie in shared bytes")]
    Shared {
        /// Operation.
        op: &'static str,
    },
    /// A size is zero where it can't be, overflows, or can't be allocated.
    #[error("{op}: {operand} of {size} is not a usable size")]
    Size {
        /// Operation.
        op: &'static str,
        /// Argument.
        operand: &'static str,
        /// The size given.
        size: usize,
    },
}

impl ShapeError {
    /// `Ok` when `actual` equals `expected`.
    pub(crate) fn length(
        op: &'static str,
        operand: &'static str,
        expected: usize,
        actual: usize,
    ) -> Result<(), Self> {
        if actual == expected {
            Ok(())
        } else {
            Err(Self::Length {
                op,
                operand,
                expected,
                actual,
            })
        }
    }

    /// `Ok` when `end` is at most `limit`.
    pub(crate) fn range(
        op: &'static str,
        operand: &'static str,
        end: usize,
        limit: usize,
    ) -> Result<(), Self> {
        if end <= limit {
            Ok(())
        } else {
            Err(Self::Range {
                op,
                operand,
                end,
                limit,
            })
        }
    }

    /// An unusable size.
    pub(crate) fn size(op: &'static str, operand: &'static str, size: usize) -> Self {
        Self::Size { op, operand, size }
    }
}
