//! The instructions of each tier, and the way into code compiled for them.
//!
//! The files of this folder are the only ones with `unsafe`. What makes it sound: a value of a
//! [`Target`] type is made only inside the function compiled for that target's features, and that
//! function is called only with an [`Isa`], which exists only where the CPU has the features.

use crate::isa::{Isa, Tier};

pub(crate) use target::{NBitsTarget, Target};
pub(crate) use tiles::{Operands, max_rows_nbits};

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
mod target;
#[cfg(test)]
mod tests;
mod tiles;

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
            // SAFETY: an `Isa` of these tiers exists only where AVX2 and FMA were found.
            #[cfg(target_arch = "x86_64")]
            Tier::Avx2 | Tier::AvxVnni => unsafe { avx2::run(kernel) },
            // SAFETY: an `Isa` of this tier exists only where AVX-512 F, BW, VL, DQ, VNNI and BF16,
            // AVX2 and FMA were found.
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512Bf16 if K::BF16 => unsafe { avx512::run_bf16(kernel) },
            // SAFETY: an `Isa` of these tiers exists only where AVX-512 F, BW, VL, DQ and VNNI,
            // AVX2 and FMA were found.
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512Vnni | Tier::Avx512Bf16 if K::INT8 => unsafe { avx512::run_vnni(kernel) },
            // SAFETY: an `Isa` of these tiers exists only where AVX-512 F, BW, VL and DQ, AVX2 and
            // FMA were found.
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512 | Tier::Avx512Vnni | Tier::Avx512Bf16 => unsafe { avx512::run(kernel) },
            // SAFETY: an `Isa` of this tier exists only where Advanced SIMD, FEAT_DotProd,
            // FEAT_I8MM and FEAT_BF16 were found.
            #[cfg(target_arch = "aarch64")]
            Tier::NeonI8mm if K::INT8 || K::BF16 => unsafe { neon::run_i8mm(kernel) },
            // SAFETY: an `Isa` of this tier exists only where Advanced SIMD and FEAT_DotProd were
            // found.
            #[cfg(target_arch = "aarch64")]
            Tier::NeonDot if K::INT8 => unsafe { neon::run_dot(kernel) },
            // SAFETY: an `Isa` of these tiers exists only where Advanced SIMD was found.
            #[cfg(target_arch = "aarch64")]
            Tier::Neon | Tier::NeonDot | Tier::NeonI8mm => unsafe { neon::run(kernel) },
            // No `Isa` of another architecture's tier exists. One arm, for it is compiled in place.
            _ => kernel.run(portable::Portable),
        }
    }
}
