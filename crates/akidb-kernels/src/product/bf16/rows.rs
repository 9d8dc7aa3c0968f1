//! Activations rounded to bf16.

use crate::Isa;
use crate::arch::{Kernel, Target};
use crate::bf16::{to_bf16, to_bf16_pair};
use crate::product::row_blocks::{Group, Row, WORDS};
use crate::product::rows::Encoding;

/// Words are pairs of values, rounded to bf16 (to the nearest, ties to even), each block
/// `[K / 8][rows][8]`; where products have parts, single ones, and `[K / 4][rows][4]`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bf16Rows;

impl Encoding for Bf16Rows {
    const NAME: &'static str = "rows of bf16";

    fn per_group(isa: Isa) -> usize {
        2 * WORDS / isa.tiles().bf16.parts
    }

    fn tallest(isa: Isa) -> usize {
        isa.tiles().bf16.rows
    }

    fn encode(&mut self, isa: Isa, row: Row<'_>) {
        isa.run(Round(row));
    }
}

struct Round<'a>(Row<'a>);

impl Kernel for Round<'_> {
    const BF16: bool = true;

    #[inline(always)]
    fn run<T: Target>(self, _: T) {
        if T::BF16_PARTS == 1 {
            write(self.0, pairs);
        } else {
            write(self.0, singles);
        }
    }
}

/// Writes a row, `group` by group.
#[inline(always)]
fn write<const N: usize>(row: Row<'_>, group: impl Fn(&[f32; N]) -> Group) {
    let (full, rest) = row.values.as_chunks();
    let mut groups = row.groups.iter_mut().step_by(row.place.block.len());
    for (x, out) in full.iter().zip(&mut groups) {
        *out = group(x);
    }
    if let Some(out) = groups.next().filter(|_| !rest.is_empty()) {
        let mut x = [0.0; N];
        for (x, value) in x.iter_mut().zip(rest) {
            *x = *value;
        }
        *out = group(&x);
    }
}

#[inline(always)]
fn pairs(x: &[f32; 2 * WORDS]) -> Group {
    let mut group = Group::default();
    for w in 0..WORDS {
        group.0[w] = to_bf16_pair(x[2 * w], x[2 * w + 1]).cast_signed();
    }
    group
}

#[inline(always)]
fn singles(x: &[f32; WORDS]) -> Group {
    Group(x.map(|x| (u32::from(to_bf16(x)) << 16).cast_signed()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::product::rows::RowsOf;
    use crate::testing::{LENGTHS, for_each_isa, random};

    /// The bf16 of a row.
    fn row(packed: &RowsOf<Bf16Rows>, index: usize) -> Vec<u16> {
        let block = packed.row_blocks().block_of(index);
        let groups = packed.row_blocks().groups(&block).chunks(block.len());
        let words = groups.flat_map(|groups| groups[index - block.start].0);
        let halves = words.flat_map(|word| [word as u16, (word >> 16) as u16]);
        // A single value is the upper half of its word.
        let parts = packed.isa().tiles().bf16.parts;
        halves.skip(parts - 1).step_by(parts).collect()
    }

    #[test]
    fn every_value_is_rounded_and_the_rest_is_zero() {
        let shapes = LENGTHS.map(|rows| (rows, 17)).into_iter();
        for (rows, k) in shapes.chain(LENGTHS.map(|k| (2, k))) {
            let mut a = random(rows as u64, rows * k);
            a[rows * k / 2] = f32::NAN;
            for_each_isa(|isa| {
                let mut packed = RowsOf::<Bf16Rows>::new(isa);
                // What an earlier use left behind doesn't matter.
                packed.pack(&random(9, 3 * 200), 200).unwrap();
                packed.pack(&a, k).unwrap();
                for (index, x) in a.chunks(k).enumerate() {
                    let mut expected: Vec<u16> = x.iter().map(|x| to_bf16(*x)).collect();
                    expected.resize(k.next_multiple_of(Bf16Rows::per_group(isa)), 0);
                    assert_eq!(row(&packed, index), expected, "{isa} {rows}x{k}");
                }
            });
        }
    }
}
