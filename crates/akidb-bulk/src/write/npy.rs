//! NumPy's `.npy` format, version 1.0.

use std::io::{self, Write};

use akidb_embedding::Values;

/// Header and data together start at a multiple of this.
const ALIGN: usize = 64;

/// The header of an array `[rows, columns]`.
pub(crate) fn head(
    out: &mut dyn Write,
    rows: usize,
    encoding: &str,
    dimension: usize,
) -> io::Result<()> {
    let (descr, columns) = match encoding {
        "f16" => ("<f2", dimension),
        "int8" => ("|i1", dimension),
        "binary" => ("|u1", dimension.div_ceil(8)),
        _ => ("<f4", dimension),
    };
    let dict =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    // Magic, version and length take 10 bytes, the closing newline one.
    let padding = (ALIGN - (10 + dict.len() + 1) % ALIGN) % ALIGN;
    let length = dict.len() + padding + 1;
    out.write_all(b"\x93NUMPY\x01\x00")?;
    out.write_all(
        &u16::try_from(length)
            .map_err(io::Error::other)?
            .to_le_bytes(),
    )?;
    writeln!(out, "{dict}{:padding$}", "")
}

/// One row's bytes.
pub(crate) fn row(out: &mut dyn Write, values: &Values) -> io::Result<()> {
    let bytes: Vec<u8> = match values {
        Values::F32(values) => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Values::F16(values) => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Values::I8 { codes, .. } => codes.iter().map(|c| c.cast_unsigned()).collect(),
        Values::Binary(bytes) => bytes.clone(),
    };
    out.write_all(&bytes)
}
