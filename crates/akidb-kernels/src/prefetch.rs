//! Asking for memory ahead of time.

use crate::Isa;
use crate::arch::{Kernel, Target};
use crate::lanes::LANES;

/// Asks for `values`, which are read soon, to be in the cache. The CPU does so by itself only for
/// what follows in memory, and begins anew with each page.
pub fn prefetch(isa: Isa, values: &[f32]) {
    isa.run(Prefetch(values));
}

struct Prefetch<'a>(&'a [f32]);

impl Kernel for Prefetch<'_> {
    #[inline(always)]
    fn run<T: Target>(self, target: T) {
        for line in self.0.as_chunks::<LANES>().0 {
            target.prefetch(line);
        }
    }
}
