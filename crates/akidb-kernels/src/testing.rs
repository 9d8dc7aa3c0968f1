//! What the tests of all operations share.

use std::sync::Once;

use crate::{Isa, ShapeError, Tier};

/// Lengths that cross each lane, panel and tile edge.
pub(crate) const LENGTHS: [usize; 32] = [
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 24, 25, 31, 32, 33, 47, 48,
    63, 64, 65, 127, 128, 129,
];

/// Runs `test` on every tier of this CPU, and says once which tiers it lacks.
pub(crate) fn for_each_isa(test: impl FnMut(Isa)) {
    static SKIPPED: Once = Once::new();
    SKIPPED.call_once(|| {
        for tier in Tier::ALL.into_iter().filter(|t| Isa::new(*t).is_none()) {
            akidb_testing::skip(&format!("tests of the {tier} kernels: this CPU lacks them"));
        }
    });
    Isa::available().for_each(test);
}

/// Repeatable numbers in -1..1 (an LCG by Knuth).
pub(crate) fn random(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed;
    (0..len)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// Repeatable bytes.
pub(crate) fn random_bytes(seed: u64, len: usize) -> Vec<u8> {
    let values = random(seed, len).into_iter();
    values.map(|x| ((x + 1.0) * 128.0) as u8).collect()
}

/// Bits of each value, for exact comparison.
pub(crate) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// A copy of `bytes` that starts a cache line.
pub(crate) fn aligned(bytes: &[u8]) -> bytes::Bytes {
    let mut room = vec![0; bytes.len() + 64];
    let start = room.as_ptr().align_offset(64);
    room[start..start + bytes.len()].copy_from_slice(bytes);
    bytes::Bytes::from(room).slice(start..start + bytes.len())
}

/// What gives the row of an index from `a`, `[any, k]` row-major.
pub(crate) fn row_of<'a>(
    a: &'a [f32],
    k: usize,
) -> impl Fn(usize, &mut [f32]) -> Result<Option<&'a [f32]>, ShapeError> {
    move |index, _| Ok(a.get(index * k..(index + 1) * k))
}
