//! The high digits of outliers.

use std::collections::TryReserveError;
use std::ops::Range;

use crate::product::row_blocks::grow;

/// Most outliers of a row.
pub(crate) const MAX_OUTLIERS: usize = 16;

/// What a high digit counts in low ones.
pub(crate) const DIGIT: i32 = 256;

/// The high digit of an outlier.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct HighDigit {
    /// Number of the word, four neighbours along K, that the outlier is in.
    pub(crate) word: usize,
    /// That word, of i8, with all the others zero.
    pub(crate) digits: i32,
}

impl HighDigit {
    /// That of the value at `index`, -127 to 127.
    fn new(index: usize, digit: i32) -> Self {
        let mut bytes = [0; 4];
        bytes[index % 4] = digit as u8;
        Self {
            word: index / 4,
            digits: i32::from_ne_bytes(bytes),
        }
    }

    /// -127 to 127.
    pub(crate) fn digit(&self) -> i32 {
        let digits = self.digits.to_ne_bytes().into_iter();
        digits.map(|digit| i32::from(digit as i8)).sum()
    }
}

/// The high digits of rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct HighDigits {
    counts: Vec<usize>,
    /// Of each row, at the start.
    digits: Vec<[HighDigit; MAX_OUTLIERS]>,
}

impl HighDigits {
    /// Makes room for `rows` rows.
    pub(crate) fn grow(&mut self, rows: usize) -> Result<(), TryReserveError> {
        grow(&mut self.counts, rows)?;
        grow(&mut self.digits, rows)
    }

    /// Those of a row that there is room for, forgetting what they were.
    pub(crate) fn row(&mut self, row: usize) -> RowHighDigits<'_> {
        let count = &mut self.counts[row];
        *count = 0;
        RowHighDigits {
            count,
            digits: &mut self.digits[row],
        }
    }

    /// Gives row `to` the high digits that row `row` has in `from`.
    pub(crate) fn copy(&mut self, from: &Self, row: usize, to: usize) {
        let count = from.counts[row];
        self.counts[to] = count;
        self.digits[to][..count].copy_from_slice(&from.digits[row][..count]);
    }

    /// Whether one of the rows has some.
    #[inline(always)]
    pub(crate) fn any(&self, rows: &Range<usize>) -> bool {
        let counts = self.counts.get(rows.clone()).unwrap_or_default();
        counts.iter().any(|count| *count > 0)
    }

    /// The rows among `rows` that have some, counted from the first of `rows` on, and the digits of
    /// each, in the order of K.
    #[inline(always)]
    pub(crate) fn of(&self, rows: &Range<usize>) -> impl Iterator<Item = (usize, &[HighDigit])> {
        let counts = self.counts.get(rows.clone()).unwrap_or_default();
        let digits = self.digits.get(rows.clone()).unwrap_or_default();
        let rows = counts.iter().zip(digits).enumerate();
        rows.filter(|(_, (count, _))| **count > 0)
            .map(|(row, (count, digits))| (row, digits.get(..*count).unwrap_or_default()))
    }
}

/// The high digits of one row.
pub(crate) struct RowHighDigits<'a> {
    count: &'a mut usize,
    digits: &'a mut [HighDigit; MAX_OUTLIERS],
}

impl RowHighDigits<'_> {
    /// Adds the high digit of the value `x` at `index`, whose steps are 1 / `inverse`, if it has
    /// one, which it returns. The low digit is -128 to 127.
    pub(crate) fn add(&mut self, index: usize, x: f32, inverse: f32) -> i32 {
        let steps = (x * inverse).round_ties_even() as i32;
        let digit = (steps - i32::from(steps as i8)) / DIGIT;
        if digit != 0
            && let Some(place) = self.digits.get_mut(*self.count)
        {
            *place = HighDigit::new(index, digit);
            *self.count += 1;
        }
        digit
    }
}

#[cfg(test)]
impl HighDigits {
    /// Adds those of a row to its values, in low steps.
    pub(crate) fn add_to(&self, row: usize, values: &mut [i64]) {
        for high in self.of(&(row..row + 1)).flat_map(|(_, digits)| digits) {
            let digits = high.digits.to_ne_bytes().into_iter();
            for (value, digit) in values[4 * high.word..].iter_mut().zip(digits) {
                *value += i64::from(DIGIT) * i64::from(digit as i8);
            }
        }
    }
}
