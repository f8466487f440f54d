//! Resource types that users added.

use std::time::Duration;

use tasuki_core::{
    config::{AttributeConfig, TypeConfig, ValueKind},
    ids::TypeName,
};

use super::{
    sheet::Sheet,
    text::{inline, quoted, time, value},
};

pub(super) fn sheet(name: &TypeName, config: &TypeConfig) -> Sheet {
    let mut sheet = Sheet::named("[[type]]", name.as_str());
    sheet.text("base", config.base.as_str());
    sheet.optional_text("comment", &config.comment);
    for (name, attribute) in &config.attributes {
        sheet.pair(&format!("attributes.{name}"), inline(entries(attribute)));
    }
    sheet
}

fn entries(attribute: &AttributeConfig) -> Vec<(String, String)> {
    let mut entries = vec![("kind", quoted(&attribute.kind.to_string()))];
    entries.extend(attribute.default.as_ref().map(|default| ("default", value(default))));
    if attribute.required {
        entries.push(("required", true.to_string()));
    }
    let (low, high) = attribute.range.unwrap_or((i64::MIN, i64::MAX));
    let bound = |number: i64| match attribute.kind {
        ValueKind::Duration => time(Duration::from_millis(number.unsigned_abs())),
        _ => number.to_string(),
    };
    if low != i64::MIN {
        entries.push(("min", bound(low)));
    }
    if high != i64::MAX {
        entries.push(("max", bound(high)));
    }
    if !attribute.comment.is_empty() {
        entries.push(("comment", quoted(&attribute.comment)));
    }
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}
