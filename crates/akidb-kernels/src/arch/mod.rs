//! The instructions of each tier, and the way into code compiled for them.
//!
//! The files of this folder are the only ones with `unsafe`. What makes it sound: a value of a
//! [`Target`] type is made only inside the function compiled for that target's features, and that
//! function is called only with an [`Isa`], which exists only where the CPU has the features.

use crate::isa::{Isa, Tier};
use crate::lanes::{LANES, Lanes};

pub(crate) use nbits::{NBitsTarget, max_rows_nbits};

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod nbits;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(test)]
mod tests;

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
}

/// An operation with its arguments. `run` must be `#[inline(always)]`, and so must everything
/// that it calls: only then is it compiled for the target's features.
pub(crate) trait Kernel {
    /// Whether it uses what a tier has for products of int8. A kernel without is compiled once for
    /// the tiers that differ in nothing else.
    const INT8: bool = false;

    /// Likewise for products of bf16.
    const BF16: bool = false;

    fn run<T: Target>(self, target: T);
}

impl Isa {
    /// Runs `kernel` with this tier's instructions.
    pub(crate) fn run<K: Kernel>(self, kernel: K) {
        #[cfg_attr(
            any(target_arch = "x86_64", target_arch = "aarch64"),
            expect(unsafe_code, reason = "an Isa proves the features that are asked for")
        )]
        match self.tier() {
            // SAFETY: an `Isa` of this tier exists only where AVX2, FMA and AVX-VNNI were found.
            #[cfg(target_arch = "x86_64")]
            Tier::AvxVnni if K::INT8 => unsafe { avx2::run_vnni(kernel) },
            // SAFETY: likewise for AVX2 and FMA.
            #[cfg(target_arch = "x86_64")]
            Tier::Avx2 | Tier::AvxVnni => unsafe { avx2::run(kernel) },
            // SAFETY: likewise for AVX-512 F, BW, VL, DQ, VNNI and BF16, AVX2 and FMA.
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512Bf16 if K::BF16 => unsafe { avx512::run_bf16(kernel) },
            // SAFETY: likewise for the same without BF16.
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512Vnni | Tier::Avx512Bf16 if K::INT8 => unsafe { avx512::run_vnni(kernel) },
            // SAFETY: likewise for the same without VNNI.
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512 | Tier::Avx512Vnni | Tier::Avx512Bf16 => unsafe { avx512::run(kernel) },
            // SAFETY: likewise for Advanced SIMD, FEAT_DotProd, FEAT_I8MM and FEAT_BF16.
            #[cfg(target_arch = "aarch64")]
            Tier::NeonI8mm if K::INT8 || K::BF16 => unsafe { neon::run_i8mm(kernel) },
            // SAFETY: likewise for Advanced SIMD and FEAT_DotProd.
            #[cfg(target_arch = "aarch64")]
            Tier::NeonDot if K::INT8 => unsafe { neon::run_dot(kernel) },
            // SAFETY: likewise for Advanced SIMD.
            #[cfg(target_arch = "aarch64")]
            Tier::Neon | Tier::NeonDot | Tier::NeonI8mm => unsafe { neon::run(kernel) },
            // No `Isa` of another architecture's tier exists. One arm, for it is compiled in place.
            _ => kernel.run(portable::Portable),
        }
    }

    /// Tallest tiles of this tier.
    pub(crate) fn max_rows(self) -> MaxRows {
        let mut rows = MaxRows::default();
        self.run(&mut rows);
        rows
    }
}

/// What a product multiplies.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Operands {
    F32,
    Bf16,
    Int8,
}

impl Operands {
    /// How many 16-lane sums a row of a tile of `rows` rows has in flight: 1 is half a panel, 2 is
    /// a whole one. 0 when there is no tile so tall. A constant, so that such a tile isn't compiled.
    pub(crate) const fn vectors<T: Target>(self, rows: usize) -> usize {
        let vectors = self.all_vectors::<T>();
        if rows < vectors.len() {
            vectors[rows]
        } else {
            0
        }
    }

    /// Rows of the tallest tile.
    pub(crate) const fn tallest<T: Target>(self) -> usize {
        self.all_vectors::<T>().len() - 1
    }

    const fn all_vectors<T: Target>(self) -> &'static [usize] {
        match self {
            Self::F32 => T::VECTORS,
            Self::Bf16 => T::BF16_VECTORS,
            Self::Int8 => T::INT8_VECTORS,
        }
    }
}

/// Rows of the tallest tile, by the type of the weights.
#[derive(Default)]
pub(crate) struct MaxRows {
    pub(crate) f32: usize,
    pub(crate) int8: usize,
    pub(crate) bf16: usize,
}

impl Kernel for &mut MaxRows {
    const INT8: bool = true;
    const BF16: bool = true;

    #[inline(always)]
    fn run<T: Target>(self, _: T) {
        self.f32 = Operands::F32.tallest::<T>();
        self.int8 = Operands::Int8.tallest::<T>();
        self.bf16 = Operands::Bf16.tallest::<T>();
    }
}
