//! A packed weight of any precision, and the rows that are multiplied with it.

pub(crate) use akidb_kernels::{Rows, Weight};
