//! Resource types.

use tasuki_core::ids::TypeName;
use tasuki_proto::v1 as wire;

use super::{optional, text_of};
use crate::app::{
    edits::NewAttribute,
    types::{AttributeView, TypeView},
};

/// To the wire.
#[must_use]
pub fn type_out(of: TypeView) -> wire::TypeInfo {
    wire::TypeInfo {
        name: of.name.to_string(),
        base: text_of(of.base),
        comment: of.comment,
        built_in: of.built_in,
        attributes: of
            .attributes
            .into_iter()
            .map(|attribute| wire::TypeAttribute {
                name: attribute.name,
                kind: attribute.kind,
                default: attribute.default,
                required: attribute.required,
                min: attribute.min,
                max: attribute.max,
                from: attribute.from.to_string(),
                comment: attribute.comment,
            })
            .collect(),
        resources: of.resources.iter().map(ToString::to_string).collect(),
    }
}

/// From the wire.
#[must_use]
pub fn type_in(of: wire::TypeInfo) -> TypeView {
    TypeView {
        name: TypeName::new(of.name),
        base: optional(of.base).map(TypeName::new),
        comment: of.comment,
        built_in: of.built_in,
        attributes: of
            .attributes
            .into_iter()
            .map(|attribute| AttributeView {
                name: attribute.name,
                kind: attribute.kind,
                default: attribute.default,
                required: attribute.required,
                min: attribute.min,
                max: attribute.max,
                from: TypeName::new(attribute.from),
                comment: attribute.comment,
            })
            .collect(),
        resources: of.resources.iter().map(|name| name.as_str().into()).collect(),
    }
}

/// To the wire.
#[must_use]
pub fn new_attribute_out(attribute: NewAttribute) -> wire::NewTypeAttribute {
    wire::NewTypeAttribute {
        name: attribute.name,
        kind: attribute.kind,
        default: attribute.default.unwrap_or_default(),
        required: attribute.required,
        min: attribute.min.unwrap_or_default(),
        max: attribute.max.unwrap_or_default(),
    }
}

/// From the wire.
#[must_use]
pub fn new_attribute_in(attribute: wire::NewTypeAttribute) -> NewAttribute {
    NewAttribute {
        name: attribute.name,
        kind: attribute.kind,
        default: optional(attribute.default),
        required: attribute.required,
        min: optional(attribute.min),
        max: optional(attribute.max),
    }
}
