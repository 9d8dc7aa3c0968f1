//! A line of JSON Lines as a row.

use akidb_embedding::Input;
use serde_json::{Map, Value};

use super::Fields;
use crate::error::RowError;

/// What a line holds.
pub(super) struct Object {
    pub(super) id: Option<Value>,
    /// Of each field that goes along; `None` where the object hasn't it.
    pub(super) kept: Vec<Option<Value>>,
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
            kept: vec![None; fields.keep.len()],
            input: Err(error),
        }
    }

    fn of(mut object: Map<String, Value>, fields: &Fields) -> Self {
        let id = fields.id.as_ref().map(|field| object.get(field).cloned());
        let value = |field: &String| object.get(field).cloned();
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
    text_or_ids(
        value.ok_or_else(|| RowError::NoField(field.to_owned()))?,
        field,
    )
}

/// A text, or a list of token ids.
pub(crate) fn text_or_ids(value: Value, field: &str) -> Result<Input<'static>, RowError> {
    match value {
        Value::String(text) => Ok(Input::from(text)),
        Value::Array(ids) => {
            let id = |(index, id): (usize, &Value)| {
                let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
                id.ok_or_else(|| RowError::NotIds {
                    field: field.to_owned(),
                    index,
                })
            };
            let ids: Result<Vec<u32>, _> = ids.iter().enumerate().map(id).collect();
            ids.map(Input::from)
        }
        other => Err(RowError::NotText {
            field: field.to_owned(),
            is: kind(&other),
        }),
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
