//! Memory of one forward pass, kept for the next.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, RwLock};

use akidb_kernels::Isa;

use crate::attention;
use crate::columns::Columns;
use crate::key_values::KeyValues;
use crate::product::Rows;

/// Buffers of a forward pass. They grow as needed and don't shrink.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// Keys and values of one layer, and of the next one: a thread may start with that while
    /// another still looks at these.
    pub(crate) key_values: [KeyValues; 2],
    /// Of few rows, each thread's columns.
    pub(crate) columns: SharedColumns,
    /// Of each thread, locked by it for the whole pass.
    pub(crate) members: Vec<Mutex<Memory>>,
}

/// Activations of few rows.
#[derive(Debug)]
pub(crate) struct SharedColumns {
    /// The residual stream, `[rows, hidden_size]`.
    pub(crate) hidden: Columns,
    /// q, k and v, `[rows, columns]`.
    pub(crate) qkv: Columns,
    /// `[rows, q_width]`.
    pub(crate) attended: Columns,
    /// SiLU(gate) · up, `[rows, intermediate_size]`.
    pub(crate) activated: Columns,
    /// Rows that each thread packed for all.
    pub(crate) packed: Vec<RwLock<Rows>>,
}

/// Memory of one thread.
#[derive(Debug)]
pub(crate) struct Memory {
    /// The residual stream of the thread's rows, `[rows, hidden_size]`.
    pub(crate) hidden: Buffer,
    /// Of the last row of each text, `[texts, hidden_size]`.
    pub(crate) wanted_rows: Buffer,
    /// Hidden states of the texts that the thread finished, `[texts, hidden_size]`.
    pub(crate) out: Buffer,
    pub(crate) chunk: Chunk,
    pub(crate) scratch: Scratch,
}

/// Activations of a chunk of rows.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    /// Some columns of q, k and v, `[rows, columns]`.
    pub(crate) qkv: Buffer,
    /// `[rows, q_width]`.
    pub(crate) attended: Buffer,
    /// `[rows, intermediate_size]`.
    pub(crate) activated: Buffer,
}

/// What the kernels keep from one call to the next.
#[derive(Debug)]
pub(crate) struct Scratch {
    pub(crate) rows: Rows,
    pub(crate) attention: attention::Scratch,
}

impl Workspace {
    pub(crate) fn new(isa: Isa, threads: usize) -> Self {
        let memory = || Memory {
            hidden: Buffer::default(),
            wanted_rows: Buffer::default(),
            out: Buffer::default(),
            chunk: Chunk::default(),
            scratch: Scratch {
                rows: Rows::new(isa),
                attention: attention::Scratch::new(isa),
            },
        };
        Self {
            key_values: Default::default(),
            columns: SharedColumns {
                hidden: Columns::default(),
                qkv: Columns::default(),
                attended: Columns::default(),
                activated: Columns::default(),
                packed: (0..threads).map(|_| RwLock::new(Rows::new(isa))).collect(),
            },
            members: (0..threads).map(|_| Mutex::new(memory())).collect(),
        }
    }
}

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
