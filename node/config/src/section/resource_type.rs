//! `[[type]]`: a resource type of the user's own, with the attributes that it adds to its base.
//!
//! ```toml
//! [[type]]
//! name = "web_service"
//! base = "cluster_resource"
//! attributes.port = { kind = "integer", default = 80, min = 1, max = 65535, comment = "where it listens" }
//! attributes.site = { kind = "string", required = true }
//! attributes.check_interval = { kind = "duration", default = "10s" }
//! ```
//!
//! | key | meaning | default |
//! |---|---|---|
//! | `name`, `comment` | | name needed |
//! | `base` | the type that it inherits from | needed |
//! | `attributes.NAME` | an attribute that it adds; or, of a name that its base has, another default | none |
//!
//! | key of an attribute | meaning | default |
//! |---|---|---|
//! | `kind` | `string`, `integer`, `boolean` or `duration` | needed |
//! | `default` | its value where a resource gives none | none |
//! | `required` | a resource must give it | `false` |
//! | `min`, `max` | bounds of integers and durations | none |
//! | `comment` | for people | empty |

use std::{collections::BTreeMap, time::Duration};

use tasuki_core::config::{AttributeConfig, Value, ValueKind};
use toml::{Spanned, de::DeValue};

use crate::{
    draft::{AttributeDraft, Name, TypeDraft},
    problem::Code,
    reader::Section,
    section::keys,
    units::format_duration,
};

/// The words of `kind`.
pub(crate) const KINDS: [(&str, ValueKind); 4] = [
    ("string", ValueKind::String),
    ("integer", ValueKind::Integer),
    ("boolean", ValueKind::Boolean),
    ("duration", ValueKind::Duration),
];

/// Where the defaults of attributes stand, by type and attribute.
pub(crate) type Defaults<'a> = BTreeMap<(String, String), &'a Spanned<DeValue<'a>>>;

/// All types, and where the defaults of their attributes stand.
pub(crate) fn read_all<'a>(sections: Vec<Section<'a>>) -> (Vec<TypeDraft>, Defaults<'a>) {
    let mut defaults = Defaults::new();
    let types = sections.into_iter().map(|section| read(section, &mut defaults)).collect();
    (types, defaults)
}

fn read<'a>(section: Section<'a>, defaults: &mut Defaults<'a>) -> TypeDraft {
    section.need("name", "name = \"…\"");
    section.need("base", "base = \"cluster_resource\", or another type");
    let name = section.string("name");
    let mut attributes = Vec::new();
    let mut given = 0;
    let example = "a table { NAME = { kind = \"string\" }, … }";
    if let Some(table) = section.table("attributes", example) {
        for (attribute, value) in table.entries() {
            given += 1;
            let what = format!("attribute `{}` of {}", attribute.get_ref(), section.what);
            let DeValue::Table(own) = value.get_ref() else {
                let _: Option<()> = table.wrong_type(value, &what, "a table such as { kind = \"string\" }");
                continue;
            };
            let own = Section::new(section.reading, what, attribute.span(), own);
            if keys::is_extra(attribute.get_ref()) {
                let problem = section
                    .reading
                    .problem(Code::BadName, &attribute.span(), format!("{} cannot be called that", own.what))
                    .found(format!("`{}`", attribute.get_ref()))
                    .expected("a name that means nothing else in a resource")
                    .remedy("rename it");
                section.reading.add(problem);
                continue;
            }
            if let (Some(name), Some(default)) = (&name, own.get("default")) {
                defaults.insert((name.get_ref().clone(), attribute.get_ref().clone()), default);
            }
            attributes.extend(read_attribute(own, attribute));
        }
    }
    let unclear = attributes.len() < given;
    let draft =
        TypeDraft { name, comment: section.comment(), base: section.string("base"), attributes, unclear };
    section.finish();
    draft
}

fn read_attribute(section: Section<'_>, name: Name) -> Option<AttributeDraft> {
    section.need("kind", "kind = \"string\", \"integer\", \"boolean\" or \"duration\"");
    let kind = section.choice("kind", &KINDS).map(Spanned::into_inner);
    let required = section.boolean("required").is_some_and(Spanned::into_inner);
    let comment = section.comment();
    let Some(kind) = kind else {
        for key in ["default", "min", "max"] {
            section.get(key);
        }
        section.finish();
        return None;
    };
    let range = range(&section, kind);
    let default = value(&section, "default", kind, None);
    if let Some(default) = default.as_ref().filter(|_| required) {
        let message =
            format!("{} must be given by every resource, so its default is never used", section.what);
        let problem = section
            .reading
            .problem(Code::BadValue, &default.span(), message)
            .found("`required = true` with a `default`")
            .expected("one of the two")
            .remedy("take one of the two out");
        section.reading.add(problem);
    }
    let draft = AttributeDraft {
        name,
        default: default.as_ref().map(Spanned::span),
        config: AttributeConfig { kind, default: default.map(Spanned::into_inner), required, range, comment },
    };
    section.finish();
    Some(draft)
}

fn range(section: &Section<'_>, kind: ValueKind) -> Option<(i64, i64)> {
    let bound = |key| {
        if kind != ValueKind::Duration {
            return section.whole(key, i64::MIN..=i64::MAX).map(Spanned::into_inner);
        }
        i64::try_from(section.duration(key)?.get_ref().as_millis()).ok()
    };
    let (min, max) = (bound("min"), bound("max"));
    (min.is_some() || max.is_some()).then_some((min.unwrap_or(i64::MIN), max.unwrap_or(i64::MAX)))
}

/// A value of an attribute, within its bounds.
pub(crate) fn value(
    section: &Section<'_>,
    key: &str,
    kind: ValueKind,
    range: Option<(i64, i64)>,
) -> Option<Spanned<Value>> {
    let (low, high) = range.unwrap_or((i64::MIN, i64::MAX));
    let place = section.get(key)?.span();
    let value = match kind {
        ValueKind::String => Value::String(section.string(key)?.into_inner()),
        ValueKind::Boolean => Value::Boolean(section.boolean(key)?.into_inner()),
        ValueKind::Integer => Value::Integer(section.whole(key, low..=high)?.into_inner()),
        ValueKind::Duration => {
            let span = section.duration(key)?;
            if !within_bounds(section, key, &span, range) {
                return None;
            }
            Value::Duration(u64::try_from(span.get_ref().as_millis()).ok()?)
        }
    };
    Some(Spanned::new(place, value))
}

/// Whether a duration is within bounds, in milliseconds; reports it if not.
pub(crate) fn within_bounds(
    section: &Section<'_>,
    key: &str,
    span: &Spanned<Duration>,
    range: Option<(i64, i64)>,
) -> bool {
    let (low, high) = range.unwrap_or((i64::MIN, i64::MAX));
    let millis = i64::try_from(span.get_ref().as_millis()).unwrap_or(i64::MAX);
    if (low..=high).contains(&millis) {
        return true;
    }
    let shown = |millis: i64| format_duration(Duration::from_millis(millis.unsigned_abs()));
    let expected = match (low, high) {
        (low, i64::MAX) => format!("at least {}", shown(low)),
        (i64::MIN, high) => format!("at most {}", shown(high)),
        (low, high) => format!("{} to {}", shown(low), shown(high)),
    };
    let problem = section
        .reading
        .problem(Code::BadValue, &span.span(), format!("{} is out of range", section.label(key)))
        .found(format!("`{}`", format_duration(*span.get_ref())))
        .expected(&expected)
        .remedy(format!("use {expected}"));
    section.reading.add(problem);
    false
}
