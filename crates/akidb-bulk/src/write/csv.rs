//! Comma-separated values, as RFC 4180 has them, with lines that end as on Unix.

use std::borrow::Cow;
use std::io::{self, Write};

use akidb_embedding::{Embedding, Provenance, Values};
use serde_json::Value;

use super::text::numbers;
use crate::row::{Columns, Row};

/// `index,line,id,…,tokens,truncated,v0,v1,…`; int8 has a `scale` before its codes.
pub(super) fn header(
    out: &mut dyn Write,
    columns: &Columns,
    provenance: &Provenance,
) -> io::Result<()> {
    let mut names = vec![Cow::Borrowed("index")];
    if columns.line {
        names.push("line".into());
    }
    if columns.id {
        names.push("id".into());
    }
    names.extend(columns.keep.iter().map(|name| quoted(name)));
    names.extend(["tokens".into(), "truncated".into()]);
    if provenance.encoding == "int8" {
        names.push("scale".into());
    }
    let values = match provenance.encoding.as_str() {
        "binary" => provenance.dimension.div_ceil(8),
        _ => provenance.dimension,
    };
    names.extend((0..values).map(|i| Cow::Owned(format!("v{i}"))));
    writeln!(out, "{}", names.join(","))
}

/// A row with its vector.
pub(super) fn line(
    out: &mut dyn Write,
    columns: &Columns,
    row: &Row,
    embedding: &Embedding,
) -> io::Result<()> {
    write!(out, "{},", row.index)?;
    if let Some(line) = row.line {
        write!(out, "{line},")?;
    }
    if columns.id {
        write!(out, "{},", cell(row.id.as_ref().unwrap_or(&Value::Null)))?;
    }
    for value in &row.kept {
        write!(out, "{},", cell(value))?;
    }
    write!(out, "{},{},", embedding.tokens, embedding.truncated)?;
    if let Values::I8 { scale, .. } = embedding.values {
        write!(out, "{scale},")?;
    }
    writeln!(out, "{}", numbers(&embedding.values).join(","))
}

/// A text as it is, nothing for null, JSON for the rest.
fn cell(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Null => Cow::Borrowed(""),
        Value::String(text) => quoted(text),
        other => Cow::Owned(quoted(&other.to_string()).into_owned()),
    }
}

fn quoted(text: &str) -> Cow<'_, str> {
    match text.contains([',', '"', '\r', '\n']) {
        true => Cow::Owned(format!("\"{}\"", text.replace('"', "\"\""))),
        false => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        for (value, expected) in [
            (serde_json::json!("plain text"), "plain text"),
            (serde_json::json!("a, \"b\"\r\nc"), "\"a, \"\"b\"\"\r\nc\""),
            (serde_json::json!(null), ""),
            (serde_json::json!(1.5), "1.5"),
            (serde_json::json!(["a", 1]), "\"[\"\"a\"\",1]\""),
        ] {
            assert_eq!(cell(&value), expected);
        }
    }
}
