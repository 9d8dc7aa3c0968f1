//! Memory of one forward pass, kept for the next.

use akidb_kernels::{AttentionScratch, Isa, PanelRow};

use crate::dims::Dims;
use crate::product::Rows;

/// Buffers of a forward pass. They grow as needed and don't shrink.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// The residual stream, `[tokens, hidden_size]`.
    pub(crate) hidden: Vec<f32>,
    /// One layer's keys and values: of each text, of each key/value head.
    pub(crate) key_values: Vec<PanelRow>,
    pub(crate) chunk: Chunk,
    pub(crate) scratch: Scratch,
}

/// Activations of a chunk of rows.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    /// `[rows, qkv_width]`.
    pub(crate) qkv: Vec<f32>,
    /// `[rows, q_width]`.
    pub(crate) attended: Vec<f32>,
    /// `[rows, gate_up_width]`.
    pub(crate) gate_up: Vec<f32>,
}

/// Memory of the threads.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// Rows that all threads multiply, each with its own panels.
    pub(crate) shared: Rows,
    /// One for each thread.
    pub(crate) workers: Vec<Worker>,
}

/// Memory of one thread.
#[derive(Debug)]
pub(crate) struct Worker {
    /// Rows that this thread multiplies alone.
    pub(crate) rows: Rows,
    /// Heads after norm and rotation.
    pub(crate) heads: Vec<f32>,
    pub(crate) attention: AttentionScratch,
}

impl Workspace {
    pub(crate) fn new(isa: Isa, threads: usize) -> Self {
        let worker = || Worker {
            rows: Rows::new(isa),
            heads: Vec::new(),
            attention: AttentionScratch::new(isa),
        };
        Self {
            hidden: Vec::new(),
            key_values: Vec::new(),
            chunk: Chunk::default(),
            scratch: Scratch {
                shared: Rows::new(isa),
                workers: (0..threads).map(|_| worker()).collect(),
            },
        }
    }
}

impl Chunk {
    /// Makes room for `rows` rows.
    pub(crate) fn reserve(&mut self, dims: &Dims, rows: usize) {
        grow(&mut self.qkv, rows * dims.qkv_width());
        grow(&mut self.attended, rows * dims.q_width);
        grow(&mut self.gate_up, rows * dims.gate_up_width());
    }
}

/// Makes `buffer` at least `len` long, and returns so much of it.
pub(crate) fn grow<T: Copy + Default>(buffer: &mut Vec<T>, len: usize) -> &mut [T] {
    if buffer.len() < len {
        buffer.reserve_exact(len - buffer.len());
        buffer.resize(len, T::default());
    }
    &mut buffer[..len]
}
