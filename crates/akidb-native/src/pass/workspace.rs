//! Memory of one forward pass, kept for the next.

use std::sync::{Mutex, RwLock};

use akidb_kernels::{Isa, Rows};

use super::attention;
use super::buffer::Buffer;
use super::key_values::KeyValues;
use super::shared_columns::Columns;

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
    /// Inside the MLP, `[rows, intermediate_size]`.
    pub(crate) inner: Columns,
    /// What a branch gives, `[rows, hidden_size]`.
    pub(crate) branch: Columns,
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
    pub(crate) inner: Buffer,
    /// `[rows, hidden_size]`, where branches are normalised before they are added.
    pub(crate) branch: Buffer,
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
                inner: Columns::default(),
                branch: Columns::default(),
                packed: (0..threads).map(|_| RwLock::new(Rows::new(isa))).collect(),
            },
            members: (0..threads).map(|_| Mutex::new(memory())).collect(),
        }
    }
}
