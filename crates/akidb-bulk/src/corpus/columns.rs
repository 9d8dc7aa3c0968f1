//! The columns that go along, of one type in all files.

use std::path::Path;

use arrow_schema::{DataType, Field, Schema};

use super::error::CorpusError;
use super::json_types::JsonTypes;
use super::kind::FileKind;
use super::planned_file::{ColumnType, PlannedFile};
use super::settings::{CorpusSettings, Keep};

/// Columns of what is written, beside those that are kept.
pub(super) const RESERVED: [&str; 10] = [
    "source_file",
    "source_row",
    "chunk",
    "start",
    "end",
    "embedding",
    "scale",
    "tokens",
    "truncated",
    "error",
];

/// The id's column and those that are kept, in this order.
pub(super) fn kept(
    settings: &CorpusSettings,
    files: &[PlannedFile],
) -> Result<Schema, CorpusError> {
    check_texts(settings, files)?;
    let texts = settings.text.columns();
    let mut names: Vec<&str> = settings.id.iter().map(String::as_str).collect();
    match &settings.keep {
        Keep::Columns(columns) => names.extend(columns.iter().map(String::as_str)),
        Keep::All => {
            let all = files.iter().flat_map(|file| &file.columns);
            let all = all.map(|column| column.name.as_str());
            names.extend(all.filter(|name| !texts.contains(name)));
        }
    }
    let mut fields: Vec<Field> = Vec::new();
    for name in names {
        if RESERVED.contains(&name) {
            return Err(CorpusError::Reserved(name.to_owned()));
        }
        if fields.iter().any(|field| field.name() == name) {
            continue;
        }
        let is_id = settings.id.as_deref() == Some(name);
        fields.push(Field::new(name, data_type(name, is_id, files)?, true));
    }
    Ok(Schema::new(fields))
}

/// The type that holds a column of all files.
fn data_type(name: &str, is_id: bool, files: &[PlannedFile]) -> Result<DataType, CorpusError> {
    let mut found: Option<(DataType, &Path)> = None;
    let mut json: Option<JsonTypes> = None;
    let mut json_path = None;
    for file in files {
        match file.column(name) {
            Some(ColumnType::Arrow(data_type)) => {
                found = Some(match found {
                    None => (data_type.clone(), &file.path),
                    Some((known, path)) => {
                        let together = common(&known, data_type);
                        let together = together.ok_or_else(|| CorpusError::ColumnTypes {
                            column: name.to_owned(),
                            first: path.to_owned(),
                            first_type: known.to_string(),
                            other: file.path.clone(),
                            other_type: data_type.to_string(),
                        })?;
                        (together, path)
                    }
                });
            }
            Some(ColumnType::Json(types)) => {
                json = Some(json.unwrap_or_default().union(*types));
                json_path = Some(&file.path);
            }
            // In single rows it may be missing; they tell.
            None if is_id && file.rows > 0 && file.kind != FileKind::Jsonl => {
                return Err(no_column(file, name));
            }
            None => {}
        }
    }
    match (found, json) {
        (Some((data_type, path)), Some(types)) => {
            let other = types.data_type();
            common(&data_type, &other).ok_or_else(|| CorpusError::ColumnTypes {
                column: name.to_owned(),
                first: path.to_owned(),
                first_type: data_type.to_string(),
                other: json_path.cloned().unwrap_or_default(),
                other_type: other.to_string(),
            })
        }
        (Some((data_type, _)), None) => Ok(data_type),
        (None, Some(types)) => Ok(types.data_type()),
        (None, None) => match files.iter().find(|file| file.rows > 0) {
            Some(file) => Err(no_column(file, name)),
            None => Ok(DataType::Null),
        },
    }
}

/// The type that holds both: the same, or text however it is held.
fn common(a: &DataType, b: &DataType) -> Option<DataType> {
    match (a, b) {
        (a, b) if a == b => Some(a.clone()),
        (DataType::Null, other) | (other, DataType::Null) => Some(other.clone()),
        (a, b) if is_text(a) && is_text(b) => Some(DataType::LargeUtf8),
        _ => None,
    }
}

/// Whether a type holds texts, however.
pub(super) fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

/// Whether a column of texts can be read from it: bytes may be text.
fn holds_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::Null => true,
        DataType::Dictionary(_, values) => holds_text(values),
        other => is_text(other),
    }
}

/// Every file has the columns of the text, and they hold text.
fn check_texts(settings: &CorpusSettings, files: &[PlannedFile]) -> Result<(), CorpusError> {
    for file in files.iter().filter(|file| file.rows > 0) {
        for name in settings.text.columns() {
            match (file.kind, file.column(name)) {
                (FileKind::Lines, _) if settings.text.columns().len() == 1 => {}
                (FileKind::Jsonl, _) => {}
                (_, None) => return Err(no_column(file, name)),
                (_, Some(ColumnType::Arrow(data_type))) if !holds_text(data_type) => {
                    return Err(CorpusError::ColumnType {
                        path: file.path.clone(),
                        column: name.to_owned(),
                        is: data_type.to_string(),
                        wanted: "text".to_owned(),
                    });
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn no_column(file: &PlannedFile, column: &str) -> CorpusError {
    let known = file.columns.iter().map(|column| column.name.clone());
    let known: Vec<String> = known.collect();
    CorpusError::NoColumn {
        path: file.path.clone(),
        column: column.to_owned(),
        known: match known.is_empty() {
            true => vec!["none: each line is a text".to_owned()],
            false => known,
        },
    }
}
