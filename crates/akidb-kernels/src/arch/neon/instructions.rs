//! Instructions of AArch64 without a stable intrinsic.
#![allow(
    unsafe_code,
    reason = "assembly of one instruction each, on registers that it names"
)]

use std::arch::aarch64::{float32x4_t, int8x16_t, int32x4_t, uint8x16_t, uint32x4_t};
use std::arch::asm;

/// Adds to each sum the products of its 4 bytes of `a` with the 4 of `b` (FEAT_DotProd).
#[inline]
#[target_feature(enable = "dotprod")]
pub(super) fn sdot(mut sums: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    // SAFETY: who calls this has proved FEAT_DotProd; the instruction reads registers and changes
    // `sums` only.
    unsafe {
        asm!(
            "sdot {sums:v}.4s, {a:v}.16b, {b:v}.16b",
            sums = inout(vreg) sums,
            a = in(vreg) a,
            b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// Adds to each sum the products of its 4 bytes of `a` with the 4 of `b` (FEAT_I8MM).
#[inline]
#[target_feature(enable = "i8mm")]
pub(super) fn usdot(mut sums: int32x4_t, a: uint8x16_t, b: int8x16_t) -> int32x4_t {
    // SAFETY: who calls this has proved FEAT_I8MM; the instruction reads registers and changes
    // `sums` only.
    unsafe {
        asm!(
            "usdot {sums:v}.4s, {a:v}.16b, {b:v}.16b",
            sums = inout(vreg) sums,
            a = in(vreg) a,
            b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// Adds to each sum the products of its 2 bf16 of `a` with the 2 of `b` (FEAT_BF16).
#[inline]
#[target_feature(enable = "bf16")]
pub(super) fn bfdot(mut sums: float32x4_t, a: uint32x4_t, b: uint32x4_t) -> float32x4_t {
    // SAFETY: who calls this has proved FEAT_BF16; the instruction reads registers and changes
    // `sums` only, and raises no floating-point exception flag.
    unsafe {
        asm!(
            "bfdot {sums:v}.4s, {a:v}.8h, {b:v}.8h",
            sums = inout(vreg) sums,
            a = in(vreg) a,
            b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// Asks for the cache line at `address`, which may be anything, to be in L2 soon.
#[inline(always)]
pub(super) fn prefetch(address: *const u8) {
    // SAFETY: a hint; it neither faults nor changes what a program can see.
    unsafe {
        asm!(
            "prfm pldl2keep, [{address}]",
            address = in(reg) address,
            options(readonly, nostack, preserves_flags),
        );
    }
}
