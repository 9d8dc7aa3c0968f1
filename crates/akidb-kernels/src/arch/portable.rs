//! Whatever the compiler makes of plain loops on every CPU of the architecture.

use super::Target;
use crate::lanes::{LANES, Lanes};

/// No particular instructions. On x86-64 that is SSE2: 16 registers of 4 lanes.
#[derive(Clone, Copy)]
pub(super) struct Portable;

impl Target for Portable {
    const FMA: bool = false;
    const VECTORS: &'static [usize] = &[0, 2, 1];
    type Vector = Lanes;

    #[inline(always)]
    fn splat(self, x: f32) -> Lanes {
        [x; LANES]
    }

    #[inline(always)]
    fn load(self, lanes: &Lanes) -> Lanes {
        *lanes
    }

    #[inline(always)]
    fn store(self, vector: Lanes) -> Lanes {
        vector
    }

    #[inline(always)]
    fn mul_add(self, a: Lanes, b: Lanes, c: Lanes) -> Lanes {
        let mut sum = c;
        for l in 0..LANES {
            sum[l] = a[l] * b[l] + c[l];
        }
        sum
    }
}
