//! What inputs look like, for the OpenAPI document.

use utoipa::openapi::schema::{Array, ArrayBuilder, Object, ObjectBuilder, OneOfBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::inputs::Inputs;

/// A text, or several: where token ids are of no use.
#[derive(Debug)]
pub(crate) enum Texts {}

/// A text, or any number of them, empty ones too.
#[derive(Debug)]
pub(crate) enum AnyTexts {}

/// Token ids of a text, or of several.
#[derive(Debug)]
pub(crate) enum Ids {}

fn text() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .build()
}

fn ids() -> Array {
    let id = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(0))
        .maximum(Some(u32::MAX));
    several(id.build())
}

fn one_or_several(text: Object, texts: Array) -> RefOr<Schema> {
    OneOfBuilder::new()
        .item(text)
        .item(texts)
        .description(Some("A text, or several"))
        .into()
}

fn several(item: impl Into<Schema>) -> Array {
    let item = RefOr::T(item.into());
    ArrayBuilder::new().items(item).min_items(Some(1)).build()
}

impl ToSchema for Inputs {}

impl PartialSchema for Inputs {
    fn schema() -> RefOr<Schema> {
        OneOfBuilder::new()
            .item(text())
            .item(several(text()))
            .item(ids())
            .item(several(ids()))
            .description(Some(
                "A text, texts, one input as token ids, or inputs as token ids",
            ))
            .into()
    }
}

impl ToSchema for Texts {}

impl PartialSchema for Texts {
    fn schema() -> RefOr<Schema> {
        one_or_several(text(), several(text()))
    }
}

impl ToSchema for AnyTexts {}

impl PartialSchema for AnyTexts {
    fn schema() -> RefOr<Schema> {
        let text = Object::with_type(Type::String);
        let several = Array::new(RefOr::T(text.clone().into()));
        one_or_several(text, several)
    }
}

impl ToSchema for Ids {}

impl PartialSchema for Ids {
    fn schema() -> RefOr<Schema> {
        OneOfBuilder::new()
            .item(ids())
            .item(several(ids()))
            .description(Some("Token ids of a text, or of several"))
            .into()
    }
}
