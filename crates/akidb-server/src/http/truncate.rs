//! What a request wants done with texts that are too long.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use akidb_embedding::OnLong;

/// `true`: cut off the side that the model's tokenizer says; `END`, `START`: cut that off; `false` or `NONE`: refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Truncate {
    None,
    AsModel,
    Start,
    End,
}

impl Truncate {
    pub(crate) fn on_long(self) -> OnLong {
        match self {
            Self::None => OnLong::Error,
            Self::AsModel => OnLong::Truncate,
            Self::Start => OnLong::TruncateStart,
            Self::End => OnLong::TruncateEnd,
        }
    }
}

const NAMES: [(&str, Truncate); 3] = [
    ("NONE", Truncate::None),
    ("START", Truncate::Start),
    ("END", Truncate::End),
];

impl<'de> Deserialize<'de> for Truncate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Which;
        impl Visitor<'_> for Which {
            type Value = Truncate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("NONE, START, END, true or false")
            }

            fn visit_bool<E: Error>(self, cut: bool) -> Result<Truncate, E> {
                Ok(if cut {
                    Truncate::AsModel
                } else {
                    Truncate::None
                })
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Truncate, E> {
                NAMES
                    .into_iter()
                    .find_map(|(known, which)| known.eq_ignore_ascii_case(name).then_some(which))
                    .ok_or_else(|| E::invalid_value(Unexpected::Str(name), &self))
            }
        }
        deserializer.deserialize_any(Which)
    }
}

impl ToSchema for Truncate {}

impl PartialSchema for Truncate {
    fn schema() -> RefOr<Schema> {
        OneOfBuilder::new()
            .item(
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .enum_values(Some(NAMES.map(|(name, _)| name))),
            )
            .item(ObjectBuilder::new().schema_type(Type::Boolean))
            .description(Some(
                "END, START: cut that off; true: cut off the side that the model's tokenizer says; \
                 NONE or false: refuse",
            ))
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_and_names_in_any_case() {
        let parse = |json: &str| serde_json::from_str::<Truncate>(json);
        assert_eq!(parse("true").unwrap(), Truncate::AsModel);
        assert_eq!(parse("false").unwrap(), Truncate::None);
        assert_eq!(parse("\"start\"").unwrap(), Truncate::Start);
        assert_eq!(parse("\"END\"").unwrap(), Truncate::End);
        assert!(parse("\"MIDDLE\"").is_err() && parse("1").is_err());
    }
}
