//! Activations in f32.

use crate::Isa;
use crate::product::row_blocks::{Group, Row, WORDS};
use crate::product::rows::Encoding;

/// Words are the values, each block `[K / 4][rows][4]`.
#[derive(Debug, Clone, Default)]
pub(crate) struct F32Rows;

impl Encoding for F32Rows {
    const NAME: &'static str = "rows of f32";

    fn per_group(_: Isa) -> usize {
        WORDS
    }

    fn tallest(isa: Isa) -> usize {
        isa.tiles().f32.rows
    }

    fn encode(&mut self, _: Isa, row: Row<'_>) {
        let (full, rest) = row.values.as_chunks::<WORDS>();
        let mut groups = row.groups.iter_mut().step_by(row.place.block.len());
        for (values, out) in full.iter().zip(&mut groups) {
            *out = group(values);
        }
        if let Some(out) = groups.next().filter(|_| !rest.is_empty()) {
            let mut values = [0.0; WORDS];
            values[..rest.len()].copy_from_slice(rest);
            *out = group(&values);
        }
    }
}

#[inline(always)]
fn group(values: &[f32; WORDS]) -> Group {
    Group(values.map(|x| x.to_bits().cast_signed()))
}
