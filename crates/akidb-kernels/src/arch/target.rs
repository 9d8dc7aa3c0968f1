//! What a kernel may ask of a tier.

use crate::lanes::{LANES, Lanes};

/// The instructions that a kernel's body may use.
///
/// Plain loops over [`Lanes`] are left to the compiler's vectoriser. `Vector` and the like are for
/// the inner loop of the products, where it must be certain what stays in a register.
pub(crate) trait Target: Int8Target + Bf16Target + NBitsTarget {}

impl<T: Int8Target + Bf16Target + NBitsTarget> Target for T {}

/// The part of a [`Target`] for arithmetic in f32.
pub(crate) trait F32Target: Copy {
    /// Whether [`f32::mul_add`] is one instruction.
    const FMA: bool;

    /// How many 16-lane sums a row of an `MR`-row tile has in flight, by `MR`: 1 is half a panel,
    /// 2 is a whole one. More sums than registers would spill. The last entry is the tallest tile.
    const VECTORS: &'static [usize];

    /// Sixteen lanes in one or more registers.
    type Vector: Copy;

    /// `x` in all lanes.
    fn splat(self, x: f32) -> Self::Vector;

    /// Lanes from memory.
    fn load(self, lanes: &Lanes) -> Self::Vector;

    /// Lanes to memory.
    fn store(self, vector: Self::Vector) -> Lanes;

    /// `a * b + c`, rounded once where [`Self::FMA`].
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;

    /// `a * b + c` of single numbers, rounded once where [`Self::FMA`].
    #[inline(always)]
    fn mul_add_f32(a: f32, b: f32, c: f32) -> f32 {
        if Self::FMA {
            a.mul_add(b, c)
        } else {
            a * b + c
        }
    }

    /// [`Self::mul_add_f32`], lane by lane.
    #[inline(always)]
    fn mul_add_lanes(a: &Lanes, b: &Lanes, c: &Lanes) -> Lanes {
        let mut sum = *c;
        for l in 0..LANES {
            sum[l] = Self::mul_add_f32(a[l], b[l], c[l]);
        }
        sum
    }

    /// The lanes above `bar`, the first one as the lowest bit.
    #[inline(always)]
    fn above(self, lanes: &[u32; LANES], bar: u32) -> u32 {
        let mut above = 0;
        for (l, lane) in lanes.iter().enumerate() {
            above |= u32::from(*lane > bar) << l;
        }
        above
    }

    /// Asks for what `weights` points to, whole cache lines, to be in L2 soon.
    fn prefetch<W>(self, weights: &W);
}

/// The part of a [`Target`] for products of u8 weights with i8 activations.
pub(crate) trait Int8Target: F32Target {
    /// As [`F32Target::VECTORS`].
    const INT8_VECTORS: &'static [usize];

    /// Whether [`Self::dot_shifted`] takes 128 from each weight. Then the caller adds 128 · the sum
    /// of the activations, which is the same for all columns.
    const SHIFTED: bool = false;

    /// 64 weights in one or more registers: 16 columns of 4 along K.
    type Weights: Copy;

    /// Sixteen i32 in one or more registers.
    type Sums: Copy;

    /// Sums of nothing.
    fn zero_sums(self) -> Self::Sums;

    /// Weights from memory.
    fn load_weights(self, weights: &[u8; 4 * LANES]) -> Self::Weights;

    /// Adds to each column's sum the products of its 4 weights with the 4 i8 of `activations`, in
    /// the order of memory. Exact; an overflow wraps around.
    fn dot(self, weights: Self::Weights, activations: i32, sums: Self::Sums) -> Self::Sums;

    /// How many times a product reads weights: once, or the first and third of each four along K,
    /// then the second and fourth. A row of A then has two i16 for each time instead of four i8 for
    /// both, which saves widening them again and again.
    const INT8_PARTS: usize = 1;

    /// Weights of a part, from memory.
    #[inline(always)]
    fn load_part(self, weights: &[u8; 4 * LANES], _part: usize) -> Self::Weights {
        self.load_weights(weights)
    }

    /// Adds the products of a part with the activations that it has.
    #[inline(always)]
    fn dot_part(self, weights: Self::Weights, activations: i32, sums: Self::Sums) -> Self::Sums {
        self.dot_shifted(weights, activations, sums)
    }

    /// [`Self::dot`] with weights as the instructions want them.
    #[inline(always)]
    fn dot_shifted(self, weights: Self::Weights, activations: i32, sums: Self::Sums) -> Self::Sums {
        self.dot(weights, activations, sums)
    }

    /// Sums to memory.
    fn store_sums(self, sums: Self::Sums) -> [i32; LANES];
}

/// The part of a [`Target`] for products of bf16, the upper halves of f32, summed in f32.
pub(crate) trait Bf16Target: F32Target {
    /// As [`F32Target::VECTORS`].
    const BF16_VECTORS: &'static [usize];

    /// 32 bf16 in one or more registers: 16 columns of 2 along K.
    type Pairs: Copy;

    /// bf16 from memory.
    fn load_pairs(self, pairs: &[u16; 2 * LANES]) -> Self::Pairs;

    /// Adds to each column's sum the products of its 2 bf16 with the 2 of `activations`, whose
    /// low half belongs to the first one, in the same order for all columns. Without bf16
    /// instructions the first product is added first, and all targets give the same bits. Those of
    /// x86-64 add the second first; that of Arm adds the two to each other, then to the sum, and
    /// rounds both times to odd instead of to the nearest. Both take subnormal numbers for zeros.
    fn dot_pairs(self, pairs: Self::Pairs, activations: u32, sums: Self::Vector) -> Self::Vector;

    /// As [`Int8Target::INT8_PARTS`]: the first bf16 of each pair, then the second. A row of A then
    /// has an f32 for each, and sums are those of [`Self::dot_pairs`].
    const BF16_PARTS: usize = 1;

    /// bf16 of a part, from memory.
    #[inline(always)]
    fn load_pairs_part(self, pairs: &[u16; 2 * LANES], _part: usize) -> Self::Pairs {
        self.load_pairs(pairs)
    }

    /// Adds the products of a part with the activations that it has.
    #[inline(always)]
    fn dot_pairs_part(
        self,
        pairs: Self::Pairs,
        activations: u32,
        sums: Self::Vector,
    ) -> Self::Vector {
        self.dot_pairs(pairs, activations, sums)
    }
}

/// The part of a [`Target`] for weights of 4 or 8 bits with a scale for each block.
pub(crate) trait NBitsTarget: Int8Target {
    /// As [`Int8Target::INT8_VECTORS`]; each sum of integers has a total in f32 at its side.
    const NBITS_VECTORS: &'static [usize];

    /// Sixteen bytes to look up, in a register.
    type Table: Copy;

    /// A table from memory.
    fn load_table(self, bytes: &[u8; 16]) -> Self::Table;

    /// `x` in all lanes.
    fn splat_sums(self, x: i32) -> Self::Sums;

    /// `a + b`.
    fn add_sums(self, a: Self::Sums, b: Self::Sums) -> Self::Sums;

    /// Entries of the table that the low or `HIGH` nibbles of `codes` choose.
    fn look_up<const HIGH: bool>(
        self,
        table: Self::Table,
        codes: &[u8; 4 * LANES],
    ) -> Self::Weights;

    /// 16 · the low or `HIGH` nibbles of `codes`: in the upper half of a byte, a nibble needs one
    /// instruction less than in the lower one.
    #[inline(always)]
    fn nibbles<const HIGH: bool>(self, codes: &[u8; 4 * LANES]) -> Self::Weights {
        let mut bytes = *codes;
        for byte in &mut bytes {
            *byte = if HIGH { *byte & 0xf0 } else { *byte << 4 };
        }
        self.load_weights(&bytes)
    }

    /// Sixteen little-endian i16 from memory.
    #[inline(always)]
    fn load_i16(self, values: &[u8; 2 * LANES]) -> Self::Vector {
        let mut lanes = [0.0; LANES];
        for (lane, bytes) in lanes.iter_mut().zip(values.as_chunks().0) {
            *lane = f32::from(i16::from_le_bytes(*bytes));
        }
        self.load(&lanes)
    }

    /// Sums rounded to f32.
    #[inline(always)]
    fn sums_to_f32(self, sums: Self::Sums) -> Self::Vector {
        let sums = self.store_sums(sums);
        let mut lanes = [0.0; LANES];
        for l in 0..LANES {
            lanes[l] = sums[l] as f32;
        }
        self.load(&lanes)
    }
}
