//! Activations that are much larger than the rest of their row.
//!
//! In trained decoders a few channels are tens of times as large as all others (Dettmers et al.,
//! "LLM.int8()", 2022): steps of i8 that reach up to them leave the others no resolution. So they
//! have no part in choosing a row's step, and take two digits instead, 256 · high + low. The low
//! digits lie among the i8 of the row; the products add the few high ones, as exact integers.

use crate::arch::Target;
use crate::lanes::{LANES, load_partial};
use crate::product::quantized::high_digits::{DIGIT, MAX_OUTLIERS, RowHighDigits};

/// In a normal distribution 1 of 15 000 values is larger than this many means of the magnitudes.
const THRESHOLD: f32 = 5.0;

/// The largest row whose outliers are left alone, 127 · 256 times the smallest normal f32: steps
/// stay normal numbers.
const SMALL: f32 = 127.0 * DIGIT as f32 * f32::MIN_POSITIVE;

/// Magnitudes order as their bits do, with infinity and NaN on top.
#[inline(always)]
pub(crate) fn magnitude(x: f32) -> u32 {
    x.to_bits() & 0x7fff_ffff
}

/// Parts that a row is cut into: of each, every `PARTS`-th value.
const PARTS: usize = 2 * LANES;

/// Vectors of a row that are compared at a time.
const MASKS: usize = 16;

/// How large the values of a row are.
pub(crate) struct Magnitudes {
    /// The largest of each part.
    of_parts: [u32; PARTS],
    /// The largest of all.
    pub(crate) largest: f32,
    /// Above it, a value is an outlier.
    threshold: f32,
}

impl Magnitudes {
    /// Those of `row`.
    #[inline(always)]
    pub(crate) fn of(row: &[f32]) -> Self {
        let mut of_parts = [0; PARTS];
        let mut sums = [0.0_f32; PARTS];
        let (full, rest) = row.as_chunks::<PARTS>();
        for x in full {
            for l in 0..PARTS {
                of_parts[l] = of_parts[l].max(magnitude(x[l]));
                sums[l] += x[l].abs();
            }
        }
        for (l, x) in rest.iter().enumerate() {
            of_parts[l] = of_parts[l].max(magnitude(*x));
            sums[l] += x.abs();
        }
        let mut half = [0.0; LANES];
        for l in 0..LANES {
            half[l] = sums[l] + sums[l + LANES];
        }
        let mean = crate::lanes::sum(&half) / row.len() as f32;
        Self {
            of_parts,
            largest: f32::from_bits(of_parts.into_iter().fold(0, u32::max)),
            threshold: THRESHOLD * mean,
        }
    }

    /// A magnitude that all outliers exceed.
    fn bar(&self) -> u32 {
        let mut of_parts = self.of_parts;
        let (_, nth, _) = of_parts.select_nth_unstable_by(MAX_OUTLIERS - 1, |a, b| b.cmp(a));
        // So many values are as large as this one.
        magnitude(self.threshold).max(nth.saturating_sub(1))
    }
}

/// Index and magnitude of an outlier.
pub(crate) type Outlier = (usize, u32);

/// The outliers of a row: of the values above the threshold the largest ones, of equal ones the
/// first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outliers {
    /// At the start, the indices rising.
    found: [Outlier; MAX_OUTLIERS],
    count: usize,
    /// Magnitude that a further one must exceed.
    bar: u32,
    /// Largest magnitude of the other values.
    rest: u32,
}

impl Outliers {
    /// Those of `row`, whose largest magnitude is a finite number.
    #[inline(always)]
    pub(crate) fn find<T: Target>(target: T, row: &[f32], magnitudes: &Magnitudes) -> Self {
        let mut outliers = Self {
            found: [(0, 0); _],
            count: 0,
            bar: 0,
            rest: 0,
        };
        let largest = magnitudes.largest;
        if largest <= magnitudes.threshold || largest < SMALL {
            outliers.rest = magnitude(largest);
            return outliers;
        }
        outliers.bar = magnitudes.bar();
        let mut rest = [0; LANES];
        for (index, values) in row.chunks(MASKS * LANES).enumerate() {
            // First all comparisons, then what is rare, so that the loop needs no memory.
            let bar = outliers.bar;
            let mut above = [0; MASKS];
            let (full, tail) = values.as_chunks::<LANES>();
            let tail = load_partial(tail, 0.0);
            for (above, values) in above.iter_mut().zip(full.iter().chain([&tail])) {
                let magnitudes = values.map(magnitude);
                for l in 0..LANES {
                    let small = magnitudes[l] <= bar;
                    rest[l] = rest[l].max(if small { magnitudes[l] } else { 0 });
                }
                *above = target.above(&magnitudes, bar);
            }
            for (part, mut above) in above.into_iter().enumerate() {
                while above != 0 {
                    let at = part * LANES + above.trailing_zeros() as usize;
                    let magnitude = values.get(at).map_or(0, |x| magnitude(*x));
                    outliers.consider(index * MASKS * LANES + at, magnitude);
                    above &= above - 1;
                }
            }
        }
        outliers.rest = rest.into_iter().fold(outliers.rest, u32::max);
        outliers
    }

    /// Largest magnitude that steps of 127 need to reach, so that two digits reach the outliers.
    #[inline(always)]
    pub(crate) fn top(&self, largest: f32) -> f32 {
        if self.count == 0 {
            return largest;
        }
        f32::from_bits(self.rest).max(largest / DIGIT as f32)
    }

    /// The outliers, their indices rising.
    pub(crate) fn found(&self) -> &[Outlier] {
        self.found.get(..self.count).unwrap_or_default()
    }

    /// Writes the high digits of `row`, whose steps are 1 / `inverse`, to `out`; returns their sum.
    #[inline(never)]
    pub(crate) fn high_digits(&self, row: &[f32], inverse: f32, mut out: RowHighDigits<'_>) -> i32 {
        let mut digit = |at| out.add(at, row.get(at).copied().unwrap_or_default(), inverse);
        self.found().iter().map(|(at, _)| digit(*at)).sum()
    }

    /// Takes a value if it counts. Has no use for vectors, so that one copy of it serves all tiers.
    #[inline(never)]
    fn consider(&mut self, index: usize, magnitude: u32) {
        if magnitude <= self.bar {
            // The bar has risen.
            self.rest = self.rest.max(magnitude);
        } else if let Some(place) = self.found.get_mut(self.count) {
            *place = (index, magnitude);
            self.count += 1;
            if self.count == MAX_OUTLIERS {
                self.bar = self.found[self.last_of_the_smallest()].1;
            }
        } else {
            self.rest = self.rest.max(self.bar);
            let leaving = self.last_of_the_smallest();
            self.found.copy_within(leaving + 1.., leaving);
            self.found[MAX_OUTLIERS - 1] = (index, magnitude);
            self.bar = self.found[self.last_of_the_smallest()].1;
        }
    }

    /// Of all places, which must be taken.
    fn last_of_the_smallest(&self) -> usize {
        let mut at = 0;
        for (i, found) in self.found.iter().enumerate() {
            if found.1 <= self.found[at].1 {
                at = i;
            }
        }
        at
    }
}

/// A row in steps, found the slow way, and rows to try.
#[cfg(test)]
pub(crate) mod reference {
    use super::*;
    use crate::testing::random;

    /// Rows, `[rows, k]`: of each four one without outliers, one with its first or last value as
    /// one, one with many, and one with a huge value among zeros.
    pub(crate) fn rows_with_outliers(seed: u64, rows: usize, k: usize) -> Vec<f32> {
        let mut a = random(seed, rows * k);
        for (index, row) in a.chunks_mut(k).enumerate() {
            let end = if index % 8 < 4 { 0 } else { k - 1 };
            match index % 4 {
                1 => row[end] = -30.0,
                2 => {
                    for (at, x) in row.iter_mut().enumerate().skip(index % 7).step_by(9) {
                        *x *= 20.0 + 7.0 * (at % 13) as f32;
                    }
                }
                3 => {
                    row.fill(0.0);
                    row[(7 * index) % k] = 1e6;
                }
                _ => {}
            }
        }
        a
    }

    /// Whole numbers, up to 127 in magnitude save for outliers, and the step.
    pub(crate) fn quantize(row: &[f32]) -> (Vec<i64>, f32) {
        let (steps, scales) = quantize_blocks(row, row.len());
        (steps, scales[0])
    }

    /// The same with a step for each block.
    pub(crate) fn quantize_blocks(row: &[f32], block_size: usize) -> (Vec<i64>, Vec<f32>) {
        let sum: f64 = row.iter().map(|x| f64::from(x.abs())).sum();
        let threshold = f64::from(THRESHOLD) * sum / row.len() as f64;
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|i, j| row[*j].abs().total_cmp(&row[*i].abs()).then(i.cmp(j)));
        let all_small = row[order[0]].abs() < SMALL;
        let above = order.into_iter().take(MAX_OUTLIERS);
        let above = above.take_while(|i| f64::from(row[*i].abs()) > threshold && !all_small);
        let outliers: Vec<usize> = above.collect();
        let (mut steps, mut scales) = (Vec::new(), Vec::new());
        for (block, values) in row.chunks(block_size).enumerate() {
            let mut top = 0.0_f32;
            for (i, x) in values.iter().enumerate() {
                let outlier = outliers.contains(&(block * block_size + i));
                top = top.max(x.abs() / if outlier { 256.0 } else { 1.0 });
            }
            if top < 127.0 * f32::MIN_POSITIVE {
                top = 0.0;
            }
            let inverse = if top > 0.0 { 127.0 / top } else { 0.0 };
            steps.extend(
                values
                    .iter()
                    .map(|x| (x * inverse).round_ties_even() as i64),
            );
            scales.push(top / 127.0);
        }
        (steps, scales)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Kernel;
    use crate::testing::{for_each_isa, random};

    struct Find<'a> {
        row: &'a [f32],
        out: &'a mut Option<Outliers>,
    }

    impl Kernel for Find<'_> {
        #[inline(always)]
        fn run<T: Target>(self, target: T) {
            let magnitudes = Magnitudes::of(self.row);
            *self.out = Some(Outliers::find(target, self.row, &magnitudes));
        }
    }

    fn outliers(row: &[f32]) -> (Vec<usize>, f32) {
        let mut all = Vec::new();
        for_each_isa(|isa| {
            let mut outliers = None;
            isa.run(Find {
                row,
                out: &mut outliers,
            });
            let outliers = outliers.unwrap();
            all.push((
                outliers.found().iter().map(|(at, _)| *at).collect(),
                f32::from_bits(outliers.rest),
            ));
        });
        assert!(all.iter().all(|found| *found == all[0]), "{all:?}");
        all.swap_remove(0)
    }

    #[test]
    fn equal_values_have_none() {
        for k in [1, 2, 5, 31, 64, 200, 3072] {
            for x in [0.0, 1e-45, -0.3, 1e37, f32::MAX] {
                assert_eq!(outliers(&vec![x; k]), (vec![], x.abs()), "{k} {x}");
            }
        }
    }

    #[test]
    fn a_single_one_is_found_anywhere() {
        for k in [6, 16, 33, 64, 65, 200, 1024] {
            for at in [0, 1, k / 2, k - 2, k - 1] {
                let mut row = random(1, k);
                row[at] = -1000.0;
                let others = row.iter().filter(|x| **x > -2.0);
                let rest = others.fold(0.0_f32, |m, x| m.max(x.abs()));
                assert_eq!(outliers(&row), (vec![at], rest), "{k} {at}");
            }
        }
        let mut zeros = [0.0; 100];
        zeros[77] = 1e-6;
        assert_eq!(outliers(&zeros), (vec![77], 0.0));
        zeros[77] = 1e-35;
        assert_eq!(outliers(&zeros), (vec![], 1e-35));
    }

    #[test]
    fn the_largest_ones_are_kept_and_of_equal_ones_the_first() {
        let mut row = vec![0.01; 1000];
        let many = MAX_OUTLIERS + 9;
        let at = |i: usize| 3 + 37 * i;
        for i in 0..many {
            row[at(i)] = -100.0;
        }
        let first: Vec<usize> = (0..MAX_OUTLIERS).map(at).collect();
        assert_eq!(outliers(&row), (first, 100.0));
        // Rising: the last ones; falling: the first ones.
        for i in 0..many {
            row[at(i)] = 100.0 + i as f32;
        }
        let last: Vec<usize> = (9..many).map(at).collect();
        assert_eq!(outliers(&row), (last, 108.0));
        for i in 0..many {
            row[at(i)] = 200.0 - i as f32;
        }
        let first: Vec<usize> = (0..MAX_OUTLIERS).map(at).collect();
        assert_eq!(outliers(&row), (first, 200.0 - MAX_OUTLIERS as f32));
        // Of the smaller ones, which are equal, the first few stay between the larger ones.
        for i in 0..many {
            row[at(i)] = if i % 2 == 1 { 200.0 } else { 100.0 };
        }
        let mut mixed: Vec<usize> = (1..many).step_by(2).map(at).collect();
        mixed.extend((0..many).step_by(2).take(MAX_OUTLIERS - many / 2).map(at));
        mixed.sort_unstable();
        assert_eq!(outliers(&row), (mixed, 100.0));
    }
}
