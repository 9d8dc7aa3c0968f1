//! A line of JSON Lines as a row.

use akidb_embedding::Input;
use serde_json::{Map, Value};

use super::Fields;
use crate::error::RowError;

/// What a line holds.
pub(super) struct Object {
    pub(super) id: Option<Value>,
    pub(super) kept: Vec<Value>,
    pub(super) input: Result<Input<'static>, RowError>,
}

impl Object {
    pub(super) fn parse(line: &str, fields: &Fields) -> Self {
        match object(line) {
            Ok(object) => Self::of(object, fields),
            Err(error) => Self::broken(error, fields),
        }
    }

    /// A row of which nothing can be read.
    pub(super) fn broken(error: RowError, fields: &Fields) -> Self {
        Self {
            id: None,
            kept: vec![Value::Null; fields.keep.len()],
            input: Err(error),
        }
    }

    fn of(mut object: Map<String, Value>, fields: &Fields) -> Self {
        let id = fields.id.as_ref().map(|field| object.get(field).cloned());
        let value = |field: &String| object.get(field).cloned().unwrap_or_default();
        let kept = fields.keep.iter().map(value).collect();
        let without_id = match (&fields.id, &id) {
            (Some(field), Some(None)) => Some(RowError::NoField(field.clone())),
            _ => None,
        };
        Self {
            id: id.flatten(),
            kept,
            input: match without_id {
                Some(error) => Err(error),
                None => input(&mut object, &fields.text),
            },
        }
    }
}

pub(crate) fn object(line: &str) -> Result<Map<String, Value>, RowError> {
    match serde_json::from_str(line)? {
        Value::Object(object) => Ok(object),
        other => Err(RowError::NotObject(kind(&other))),
    }
}

fn input(object: &mut Map<String, Value>, field: &str) -> Result<Input<'static>, RowError> {
    let value = object.remove(field);
    match value.ok_or_else(|| RowError::NoField(field.to_owned()))? {
        Value::String(text) => Ok(Input::from(text)),
        other => {
            let is = kind(&other);
            let ids = serde_json::from_value::<Vec<u32>>(other);
            ids.map(Input::from).map_err(|_| RowError::NotText {
                field: field.to_owned(),
                is,
            })
        }
    }
}

pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
