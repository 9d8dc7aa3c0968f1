//! Which types the fields of JSON objects have, found out without keeping a value.

use std::collections::HashMap;
use std::fmt;

use arrow_schema::DataType;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::error::CorpusError;

/// Most different fields of a file.
const MAX_FIELDS: usize = 4096;

/// Integers beyond lose digits as f64.
const EXACT_IN_F64: u64 = 1 << 53;

/// The types that a field has in some rows, nulls aside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct JsonTypes(u8);

impl JsonTypes {
    const BOOL: u8 = 1;
    const INT: u8 = 2;
    /// An integer that f64 doesn't hold.
    const LARGE_INT: u8 = 4;
    const FLOAT: u8 = 8;
    const TEXT: u8 = 16;
    /// A list, an object, or an integer beyond i64.
    const OTHER: u8 = 32;

    /// The type of one value.
    pub(crate) fn of(value: &serde_json::Value) -> Self {
        // A value that is there already has a type.
        FieldType::deserialize(value).map_or(Self(Self::OTHER), |FieldType(types)| types)
    }

    pub(crate) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The type of a column that holds them: values of several types, and lists and objects, are
    /// written as JSON.
    pub(crate) fn data_type(self) -> DataType {
        const INTS: u8 = JsonTypes::INT | JsonTypes::LARGE_INT;
        const NUMBERS: u8 = JsonTypes::INT | JsonTypes::FLOAT;
        match self.0 {
            Self::BOOL => DataType::Boolean,
            0 => DataType::Utf8,
            types if types & !INTS == 0 => DataType::Int64,
            types if types & !NUMBERS == 0 => DataType::Float64,
            _ => DataType::Utf8,
        }
    }
}

impl<'de> Deserialize<'de> for FieldType {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(TypeVisitor).map(Self)
    }
}

/// The type of one value.
struct FieldType(JsonTypes);

struct TypeVisitor;

impl<'de> Visitor<'de> for TypeVisitor {
    type Value = JsonTypes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<JsonTypes, E> {
        Ok(JsonTypes(0))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<JsonTypes, E> {
        Ok(JsonTypes(JsonTypes::BOOL))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<JsonTypes, E> {
        Ok(JsonTypes(match value.unsigned_abs() > EXACT_IN_F64 {
            true => JsonTypes::LARGE_INT,
            false => JsonTypes::INT,
        }))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<JsonTypes, E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) => Ok(JsonTypes(JsonTypes::OTHER)),
        }
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<JsonTypes, E> {
        Ok(JsonTypes(JsonTypes::FLOAT))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<JsonTypes, E> {
        Ok(JsonTypes(JsonTypes::TEXT))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<JsonTypes, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(JsonTypes(JsonTypes::OTHER))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonTypes, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(JsonTypes(JsonTypes::OTHER))
    }
}

/// The fields of one object.
struct ObjectTypes(Vec<(String, JsonTypes)>);

impl<'de> Deserialize<'de> for ObjectTypes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(ObjectVisitor).map(Self)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Vec<(String, JsonTypes)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut types = Vec::new();
        while let Some((name, FieldType(value))) = map.next_entry()? {
            types.push((name, value));
        }
        Ok(types)
    }
}

/// The fields of many objects, in the order in which they were first seen.
#[derive(Debug, Default)]
pub(super) struct FieldTypes {
    fields: Vec<(String, JsonTypes)>,
    places: HashMap<String, usize>,
}

impl FieldTypes {
    /// Takes a line's fields in. A line that is no object is a bad row, of which nothing is learned.
    pub(super) fn add(&mut self, line: &str) -> Result<(), CorpusError> {
        let Ok(ObjectTypes(types)) = serde_json::from_str(line) else {
            return Ok(());
        };
        for (name, types) in types {
            if let Some(place) = self.places.get(&name) {
                if let Some((_, known)) = self.fields.get_mut(*place) {
                    *known = known.union(types);
                }
                continue;
            }
            if self.fields.len() == MAX_FIELDS {
                return Err(CorpusError::Settings(format!(
                    "objects have more than {MAX_FIELDS} different fields: they are no columns"
                )));
            }
            self.places.insert(name.clone(), self.fields.len());
            self.fields.push((name, types));
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Vec<(String, JsonTypes)> {
        self.fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_column_holds_every_value() {
        for (values, expected) in [
            (&["1", "null", "-2"][..], DataType::Int64),
            (&["1", "9007199254740993"], DataType::Int64),
            (&["1", "2.5"], DataType::Float64),
            (&["9007199254740993", "2.5"], DataType::Utf8),
            (&["18446744073709551615"], DataType::Utf8),
            (&["true", "false"], DataType::Boolean),
            (&["true", "1"], DataType::Utf8),
            (&["\"a\"", "null"], DataType::Utf8),
            (&["[1]", "{\"a\": 1}"], DataType::Utf8),
            (&["null"], DataType::Utf8),
        ] {
            let mut types = FieldTypes::default();
            for value in values {
                types.add(&format!("{{\"x\": {value}, \"y\": 1}}")).unwrap();
            }
            types.add("{\"x\": \"broken").unwrap();
            let fields = types.finish();
            assert_eq!(fields[0].0, "x");
            assert_eq!(fields[0].1.data_type(), expected, "{values:?}");
            assert_eq!(fields[1].1.data_type(), DataType::Int64);
        }
    }
}
