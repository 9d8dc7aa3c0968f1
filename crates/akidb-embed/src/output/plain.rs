//! Numbers as text.

use std::io::{self, Write};

use akidb_embedding::{Embedding, Values};

fn numbers(values: &Values) -> Vec<String> {
    match values {
        Values::F32(values) => values.iter().map(ToString::to_string).collect(),
        Values::F16(values) => values.iter().map(ToString::to_string).collect(),
        Values::I8 { codes, .. } => codes.iter().map(ToString::to_string).collect(),
        Values::Binary(bytes) => bytes.iter().map(ToString::to_string).collect(),
    }
}

fn scale(values: &Values) -> Option<f32> {
    match values {
        Values::I8 { scale, .. } => Some(*scale),
        _ => None,
    }
}

/// `index,tokens,truncated,v0,v1,…`, after a header; int8 has a `scale` before its codes.
pub(super) fn csv(out: &mut dyn Write, index: usize, embedding: &Embedding) -> io::Result<()> {
    let numbers = numbers(&embedding.values);
    if index == 0 {
        let names: Vec<String> = (0..numbers.len()).map(|i| format!("v{i}")).collect();
        let scale = if scale(&embedding.values).is_some() {
            "scale,"
        } else {
            ""
        };
        writeln!(out, "index,tokens,truncated,{scale}{}", names.join(","))?;
    }
    let scale = scale(&embedding.values).map_or_else(String::new, |scale| format!("{scale},"));
    writeln!(
        out,
        "{index},{},{},{scale}{}",
        embedding.tokens,
        embedding.truncated,
        numbers.join(",")
    )
}

/// The values alone.
pub(super) fn text(out: &mut dyn Write, values: &Values) -> io::Result<()> {
    writeln!(out, "{}", numbers(values).join(" "))
}
