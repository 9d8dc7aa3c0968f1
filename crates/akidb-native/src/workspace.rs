//! Memory of one forward pass, kept for the next.

use std::sync::Mutex;

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
#[derive(Debug, Default)]
pub(crate) struct SharedColumns {
    /// The residual stream, `[rows, hidden_size]`.
    pub(crate) hidden: Columns,
    /// `[rows, qkv_width]`.
    pub(crate) qkv: Columns,
    /// `[rows, q_width]`.
    pub(crate) attended: Columns,
    /// SiLU(gate) · up, `[rows, intermediate_size]`.
    pub(crate) activated: Columns,
}

/// Memory of one thread.
#[derive(Debug)]
pub(crate) struct Memory {
    /// The residual stream of the thread's rows, `[rows, hidden_size]`.
    pub(crate) hidden: Vec<f32>,
    /// Of the last row of each text, `[texts, hidden_size]`.
    pub(crate) last_rows: Vec<f32>,
    /// Hidden states of the texts that the thread finished, `[texts, hidden_size]`.
    pub(crate) out: Vec<f32>,
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
    /// `[rows, intermediate_size]`.
    pub(crate) activated: Vec<f32>,
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
            hidden: Vec::new(),
            last_rows: Vec::new(),
            out: Vec::new(),
            chunk: Chunk::default(),
            scratch: Scratch {
                rows: Rows::new(isa),
                attention: attention::Scratch::new(isa),
            },
        };
        Self {
            key_values: Default::default(),
            columns: SharedColumns::default(),
            members: (0..threads).map(|_| Mutex::new(memory())).collect(),
        }
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
