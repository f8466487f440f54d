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

use tasuki_core::{
    config::{
        AttributeConfig, TypeConfig, Value, ValueKind,
        built_in::{self, AttributeKind, FLOATING_IP, ROOT},
        type_tree::{Attribute, AttributeFault, Scope, TypeFault, TypeTree},
    },
    ids::TypeName,
};
use toml::{Spanned, de::DeValue};

use crate::{
    draft::{AttributeDraft, Name, TypeDraft, label},
    problem::Code,
    reader::Section,
    section::keys,
    source::Reading,
    spell::one_of,
    units::format_duration,
};

const EXEC: &str = "exec";

/// The words of `kind`.
pub(crate) const KINDS: [(&str, ValueKind); 4] = [
    ("string", ValueKind::String),
    ("integer", ValueKind::Integer),
    ("boolean", ValueKind::Boolean),
    ("duration", ValueKind::Duration),
];

/// What a resource is in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    /// A program on every server.
    Local,
    /// A program.
    Program,
    /// An address.
    FloatingIp,
}

type Defaults<'a> = BTreeMap<(String, String), &'a Spanned<DeValue<'a>>>;

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

/// The types that resources can have.
pub(crate) struct Types<'a> {
    tree: TypeTree,
    /// Every name that there is, also of types that are wrong.
    names: Vec<String>,
    unclear: Vec<TypeName>,
    defaults: &'a Defaults<'a>,
}

/// One type with all that it inherits.
pub(crate) struct Known<'a> {
    pub(crate) name: Name,
    pub(crate) root: Root,
    /// What user types add to the built-in one.
    pub(crate) attributes: Vec<Added>,
    /// What stands for absent keys.
    pub(crate) defaults: BTreeMap<String, &'a Spanned<DeValue<'a>>>,
    /// Keys that other types have.
    pub(crate) foreign: Vec<(&'static str, AttributeFault)>,
    /// Which other keys there may be is not known.
    pub(crate) unclear: bool,
}

/// An attribute that a user type adds.
pub(crate) struct Added {
    pub(crate) name: String,
    pub(crate) kind: ValueKind,
    pub(crate) range: Option<(i64, i64)>,
    pub(crate) required: bool,
    pub(crate) doc: String,
}

impl<'a> Types<'a> {
    /// Puts the tree together, and reports what is wrong with it.
    pub(crate) fn new(reading: &Reading, drafts: &[TypeDraft], defaults: &'a Defaults<'a>) -> Self {
        // What is used most comes first; nothing is of the root type itself.
        let built_in = built_in::TYPES.iter().map(|(name, ..)| *name).filter(|name| *name != ROOT);
        let mut names: Vec<String> = built_in.map(ToOwned::to_owned).collect();
        names.sort_by_key(|name| (name != EXEC, name != FLOATING_IP));
        let own = drafts.iter().filter_map(|draft| Some(draft.name.as_ref()?.get_ref().clone()));
        names.extend(own);
        let tree = TypeTree::new(&configs(drafts)).unwrap_or_else(|errors| {
            for error in errors {
                let of = |draft: &&TypeDraft| {
                    draft.name.as_ref().map(Spanned::get_ref).map(String::as_str)
                        == Some(error.type_name.as_str())
                };
                let Some(draft) = drafts.iter().find(of) else { continue };
                report(reading, draft, error.attribute.as_deref(), &error.fault, &names);
            }
            TypeTree::built_in()
        });
        let unclear = drafts.iter().filter(|draft| draft.unclear);
        let unclear = unclear.filter_map(|draft| Some(draft.name.as_ref()?.get_ref().as_str().into()));
        Self { tree, names, unclear: unclear.collect(), defaults }
    }

    /// Every name that there is.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// A type by its name. `None` when there is none that is right; that has been reported, or
    /// will be.
    pub(crate) fn find(&self, name: &Name) -> Option<Known<'a>> {
        let of = TypeName::from(name.get_ref().as_str());
        let root = match self.tree.scope(&of)? {
            Scope::Local => Root::Local,
            Scope::Cluster if self.tree.is_a(&of, &FLOATING_IP.into()) => Root::FloatingIp,
            Scope::Cluster => Root::Program,
        };
        let has = self.tree.attributes(&of);
        let added = |attribute: &Attribute| {
            let AttributeKind::Value(kind) = attribute.kind else { return None };
            built_in::attribute(&attribute.name).is_none().then(|| Added {
                name: attribute.name.clone(),
                kind,
                range: attribute.range,
                required: attribute.required,
                doc: attribute.doc.clone(),
            })
        };
        let mut defaults = BTreeMap::new();
        let mut unclear = false;
        for ancestor in std::iter::once(of.clone()).chain(self.tree.ancestors(&of)) {
            unclear |= self.unclear.contains(&ancestor);
            let own = self.defaults.iter().filter(|((type_name, _), _)| type_name == ancestor.as_str());
            for ((_, key), default) in own {
                defaults.entry(key.clone()).or_insert(*default);
            }
        }
        let foreign = built_in::ATTRIBUTES
            .iter()
            .filter(|attribute| has.iter().all(|own| own.name != attribute.name))
            .map(|attribute| (attribute.name, self.tree.missing(&of, attribute.name)))
            .collect();
        let attributes = has.iter().filter_map(added).collect();
        Some(Known { name: name.clone(), root, attributes, defaults, foreign, unclear })
    }
}

/// The types as the cluster keeps them; what has no name or base is left out.
pub(crate) fn configs(drafts: &[TypeDraft]) -> BTreeMap<TypeName, TypeConfig> {
    let config = |draft: &TypeDraft| {
        let attributes = draft.attributes.iter();
        let attributes =
            attributes.map(|attribute| (attribute.name.get_ref().clone(), attribute.config.clone()));
        let base = draft.base.as_ref()?.get_ref().as_str().into();
        let config = TypeConfig { comment: draft.comment.clone(), base, attributes: attributes.collect() };
        Some((draft.name.as_ref()?.get_ref().as_str().into(), config))
    };
    drafts.iter().filter_map(config).collect()
}

fn report(
    reading: &Reading,
    draft: &TypeDraft,
    attribute: Option<&str>,
    fault: &TypeFault,
    names: &[String],
) {
    let name = label(draft.name.as_ref());
    let own = draft.attributes.iter().find(|one| Some(one.name.get_ref().as_str()) == attribute);
    let names = one_of(names.iter().map(String::as_str));
    let (place, expected) = match fault {
        // Two names of one kind: reported with those of all other kinds.
        TypeFault::Case(other) if !built_in::TYPES.iter().any(|(name, ..)| other.as_str() == *name) => return,
        TypeFault::BuiltIn | TypeFault::Case(_) => {
            (draft.name.as_ref().map(Spanned::span), "a name of its own".to_owned())
        }
        TypeFault::NoBase { .. } => (draft.base.as_ref().map(Spanned::span), names),
        TypeFault::Circle { .. } => {
            (draft.base.as_ref().map(Spanned::span), "a way that ends at a built-in type".to_owned())
        }
        TypeFault::Default(fault) => (own.and_then(|own| own.default.clone()), fault.expected()),
        _ => (own.map(|own| own.name.span()), "an attribute that goes with those of its base".to_owned()),
    };
    let Some(place) = place else { return };
    let subject = match attribute {
        Some(attribute) => format!("attribute `{attribute}` of [[type]] {name}"),
        None => format!("[[type]] {name}"),
    };
    let found = reading.source.slice(&place).unwrap_or_default().trim_matches('"');
    let problem = reading
        .problem(Code::BadType, &place, format!("{subject}: {fault}"))
        .found(format!("`{found}`"))
        .expected(expected)
        .remedy(fault.remedy());
    reading.add(problem);
}
