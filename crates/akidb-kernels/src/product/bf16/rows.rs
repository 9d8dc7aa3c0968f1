//! Activations rounded to bf16.

use crate::Isa;
use crate::arch::{Kernel, Target};
use crate::bf16::to_bf16_pair;
use crate::product::row_blocks::{Group, Row, WORDS};
use crate::product::rows::Encoding;

/// Values in a [`Group`].
const PER_GROUP: usize = 2 * WORDS;

/// Words are pairs of values, rounded to bf16 (to the nearest, ties to even), each block
/// `[K / 8][rows][8]`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bf16Rows;

impl Encoding for Bf16Rows {
    const NAME: &'static str = "rows of bf16";
    const PER_GROUP: usize = PER_GROUP;

    fn tallest(isa: Isa) -> usize {
        isa.max_rows().bf16
    }

    fn encode(&mut self, isa: Isa, row: Row<'_>) {
        isa.run(Round(row));
    }
}

struct Round<'a>(Row<'a>);

impl Kernel for Round<'_> {
    #[inline(always)]
    fn run<T: Target>(self, _: T) {
        let row = self.0;
        let (full, rest) = row.values.as_chunks();
        let mut groups = row.groups.iter_mut().step_by(row.place.block.len());
        for (x, out) in full.iter().zip(&mut groups) {
            *out = group(x);
        }
        if let Some(out) = groups.next().filter(|_| !rest.is_empty()) {
            let mut x = [0.0; PER_GROUP];
            for (x, value) in x.iter_mut().zip(rest) {
                *x = *value;
            }
            *out = group(&x);
        }
    }
}

#[inline(always)]
fn group(x: &[f32; PER_GROUP]) -> Group {
    let mut group = Group::default();
    for w in 0..WORDS {
        group.0[w] = to_bf16_pair(x[2 * w], x[2 * w + 1]).cast_signed();
    }
    group
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bf16::to_bf16;
    use crate::product::rows::RowsOf;
    use crate::testing::{LENGTHS, for_each_isa, random};

    /// The bf16 of a row.
    fn row(packed: &RowsOf<Bf16Rows>, index: usize) -> Vec<u16> {
        let block = packed.row_blocks().block_of(index);
        let groups = packed.row_blocks().groups(&block).chunks(block.len());
        let words = groups.flat_map(|groups| groups[index - block.start].0);
        words
            .flat_map(|word| [word as u16, (word >> 16) as u16])
            .collect()
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
                    expected.resize(k.next_multiple_of(PER_GROUP), 0);
                    assert_eq!(row(&packed, index), expected, "{isa} {rows}x{k}");
                }
            });
        }
    }
}
