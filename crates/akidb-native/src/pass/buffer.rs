//! Memory whose rows start cache lines.

use std::ops::{Deref, DerefMut};

/// f32 from the start of a cache line on: vectors of rows that do the same lie across no two lines.
#[derive(Debug, Default)]
pub(crate) struct Buffer(Vec<f32>);

/// f32 in a cache line.
pub(crate) const CACHE_LINE: usize = 16;

impl Buffer {
    /// Where the first cache line starts.
    fn start(&self) -> usize {
        let start = self.0.as_ptr().align_offset(CACHE_LINE * size_of::<f32>());
        start.min(self.0.len())
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.0[self.start()..]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        let start = self.start();
        &mut self.0[start..]
    }
}

/// Makes `buffer` at least `len` long, and returns so much of it. What was in it may be elsewhere.
pub(crate) fn grow(buffer: &mut Buffer, len: usize) -> &mut [f32] {
    if buffer.len() < len {
        buffer.0 = vec![0.0; len + CACHE_LINE - 1];
    }
    &mut buffer[..len]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_start_cache_lines() {
        let mut buffer = Buffer::default();
        assert!(buffer.is_empty());
        for len in [1, 16, 17, 100_000] {
            let grown = grow(&mut buffer, len);
            assert_eq!((grown.len(), grown.as_ptr() as usize % 64), (len, 0));
            assert!(buffer.len() >= len);
        }
        assert_eq!(grow(&mut buffer, 5).len(), 5);
    }
}
