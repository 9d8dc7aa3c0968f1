//! Memory of packed weights: their own, or bytes that they share with whoever made them.

use bytemuck::{Pod, Zeroable};
use bytes::Bytes;
use memmap2::MmapMut;

use crate::ShapeError;

/// A cache line.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [u8; LINE]);

/// Bytes of a [`Line`], and what the address of shared bytes must be a multiple of.
const LINE: usize = 64;

/// From this many bytes on, memory of its own is asked for on huge pages (2 MiB on x86-64).
const HUGE: usize = 2 << 20;

/// Whole cache lines.
#[derive(Debug)]
pub(crate) struct Storage(Memory);

#[derive(Debug)]
enum Memory {
    Vec(Vec<Line>),
    Pages(MmapMut),
    Shared(Bytes),
}

impl Storage {
    /// Room for `len` times `value`, whose size is a multiple of a line's; `None` when memory
    /// runs out.
    pub(crate) fn filled<T: Pod + PartialEq>(value: T, len: usize) -> Option<Self> {
        let bytes = len.checked_mul(size_of::<T>())?;
        let mut storage = match huge_pages(bytes) {
            Some(pages) => Self(Memory::Pages(pages)),
            None => {
                let mut lines = Vec::new();
                lines.try_reserve_exact(bytes.div_ceil(LINE)).ok()?;
                lines.resize(bytes.div_ceil(LINE), Line::zeroed());
                Self(Memory::Vec(lines))
            }
        };
        if value != T::zeroed() {
            storage.as_mut_slice()?.fill(value);
        }
        Some(storage)
    }

    /// `bytes` as room for `len` values of type `T`. An error when their length or alignment is
    /// another one.
    pub(crate) fn shared<T: Pod>(
        op: &'static str,
        operand: &'static str,
        bytes: Bytes,
        len: usize,
    ) -> Result<Self, ShapeError> {
        let expected = len.saturating_mul(size_of::<T>());
        ShapeError::length(op, operand, expected, bytes.len())?;
        if !bytes.as_ptr().addr().is_multiple_of(LINE) {
            return Err(ShapeError::Alignment {
                op,
                operand,
                expected: LINE,
            });
        }
        Ok(Self(Memory::Shared(bytes)))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Memory::Vec(lines) => bytemuck::cast_slice(lines),
            Memory::Pages(pages) => pages,
            Memory::Shared(bytes) => bytes,
        }
    }

    /// The values; none when their size or alignment isn't that of the storage.
    #[inline(always)]
    pub(crate) fn as_slice<T: Pod>(&self) -> &[T] {
        bytemuck::try_cast_slice(self.as_bytes()).unwrap_or_default()
    }

    /// The values, unless they are shared.
    pub(crate) fn as_mut_slice<T: Pod>(&mut self) -> Option<&mut [T]> {
        let bytes = match &mut self.0 {
            Memory::Vec(lines) => bytemuck::cast_slice_mut(lines),
            Memory::Pages(pages) => pages.as_mut(),
            Memory::Shared(_) => return None,
        };
        bytemuck::try_cast_slice_mut(bytes).ok()
    }
}

/// Zeros on huge pages, which take fewer entries of the TLB; `None` where they can't be had.
#[cfg(target_os = "linux")]
fn huge_pages(bytes: usize) -> Option<MmapMut> {
    if bytes < HUGE {
        return None;
    }
    let pages = MmapMut::map_anon(bytes).ok()?;
    pages.advise(memmap2::Advice::HugePage).ok()?;
    Some(pages)
}

#[cfg(not(target_os = "linux"))]
fn huge_pages(_: usize) -> Option<MmapMut> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::aligned;

    #[test]
    fn own_memory_is_filled_aligned_and_writable() {
        // On both sides of what is asked for on huge pages.
        for len in [1, 3, HUGE / LINE - 1, HUGE / LINE, HUGE / LINE + 1] {
            for value in [[0_u8; LINE], [7; LINE]] {
                let mut storage = Storage::filled(value, len).unwrap();
                assert_eq!(storage.as_bytes().as_ptr().addr() % LINE, 0);
                assert_eq!(storage.as_slice::<[u8; LINE]>(), vec![value; len]);
                storage.as_mut_slice::<[u8; LINE]>().unwrap()[len - 1] = [9; LINE];
                assert_eq!(storage.as_slice::<[u8; LINE]>()[len - 1], [9; LINE]);
            }
        }
    }

    #[test]
    fn absurd_sizes_are_refused() {
        for len in [usize::MAX, usize::MAX / LINE, usize::MAX / LINE / 4] {
            assert!(Storage::filled([0_u8; LINE], len).is_none());
        }
    }

    #[test]
    fn shared_bytes_must_fit_and_stay_as_they_are() {
        let bytes = aligned(&[5; 4 * LINE]);
        let shared =
            |bytes: Bytes, len| Storage::shared::<[u8; LINE]>("test", "weights", bytes, len);
        let mut storage = shared(bytes.clone(), 4).unwrap();
        assert_eq!(storage.as_bytes().as_ptr(), bytes.as_ptr());
        assert_eq!(storage.as_slice::<[u8; LINE]>(), [[5; LINE]; 4]);
        assert!(storage.as_mut_slice::<[u8; LINE]>().is_none());
        let length = |expected, actual| ShapeError::Length {
            op: "test",
            operand: "weights",
            expected,
            actual,
        };
        let error = |bytes, len| shared(bytes, len).unwrap_err();
        assert_eq!(error(bytes.clone(), 3), length(3 * LINE, 4 * LINE));
        assert_eq!(error(bytes.slice(1..), 4), length(4 * LINE, 4 * LINE - 1));
        assert_eq!(
            error(bytes.clone(), usize::MAX),
            length(usize::MAX, 4 * LINE)
        );
        let alignment = ShapeError::Alignment {
            op: "test",
            operand: "weights",
            expected: LINE,
        };
        assert_eq!(error(bytes.slice(32..32 + LINE), 1), alignment);
    }
}
