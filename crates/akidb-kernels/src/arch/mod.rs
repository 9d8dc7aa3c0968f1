//! The instructions of each tier, and the way into code compiled for them.
//!
//! The files of this folder are the only ones with `unsafe`. What makes it sound: a value of a
//! [`Target`] type is made only inside the function compiled for that target's features, and that
//! function is called only with an [`Isa`], which exists only where the CPU has the features.

use crate::isa::{Isa, Tier};
use crate::lanes::Lanes;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

/// The instructions that a kernel's body may use.
///
/// Plain loops over [`Lanes`] are left to the compiler's vectoriser. `Vector` is for the inner
/// loop of the products, where it must be certain what stays in a register.
pub(crate) trait Target: Copy {
    /// Whether [`f32::mul_add`] is one instruction.
    const FMA: bool;

    /// How many 16-lane sums a row of an `MR`-row tile has in flight, by `MR`: 1 is half a panel,
    /// 2, 4 and 8 are one, two and four panels. More sums than registers would spill; fewer than
    /// about eight would wait for each other. The last entry is the tallest tile.
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
}

/// Tallest tile of a target, in rows.
pub(crate) const fn max_rows<T: Target>() -> usize {
    T::VECTORS.len() - 1
}

/// An operation with its arguments. `run` must be `#[inline(always)]`, and so must everything
/// that it calls: only then is it compiled for the target's features.
pub(crate) trait Kernel {
    fn run<T: Target>(self, target: T);
}

impl Isa {
    /// Runs `kernel` with this tier's instructions.
    pub(crate) fn run(self, kernel: impl Kernel) {
        #[cfg_attr(
            any(target_arch = "x86_64", target_arch = "aarch64"),
            expect(unsafe_code, reason = "an Isa proves the features that are asked for")
        )]
        match self.tier() {
            Tier::Portable => kernel.run(portable::Portable),
            // SAFETY: an `Isa` of this tier exists only where AVX2 and FMA were found.
            #[cfg(target_arch = "x86_64")]
            Tier::Avx2 => unsafe { avx2::run(kernel) },
            // SAFETY: likewise for AVX-512 F, BW, VL and DQ, AVX2 and FMA.
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512 => unsafe { avx512::run(kernel) },
            // SAFETY: likewise for Advanced SIMD.
            #[cfg(target_arch = "aarch64")]
            Tier::Neon => unsafe { neon::run(kernel) },
            // No `Isa` of another architecture's tier exists.
            _ => kernel.run(portable::Portable),
        }
    }

    /// Tallest tile of this tier, in rows.
    pub(crate) fn max_rows(self) -> usize {
        match self.tier() {
            #[cfg(target_arch = "x86_64")]
            Tier::Avx2 => max_rows::<avx2::Avx2>(),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512 => max_rows::<avx512::Avx512>(),
            #[cfg(target_arch = "aarch64")]
            Tier::Neon => max_rows::<neon::Neon>(),
            _ => max_rows::<portable::Portable>(),
        }
    }
}
