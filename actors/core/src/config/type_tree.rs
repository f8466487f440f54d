//! The tree of resource types: the built-in ones and those that users added.
//!
//! A type inherits every attribute of its base. It may add attributes, and give an inherited one
//! another default or a narrower range, but not another kind: whoever reads the attribute of a
//! base type can rely on what it finds.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{
    AttributeConfig, TypeConfig, Value, ValueKind,
    built_in::{self, AttributeKind, BuiltIn, CLUSTER, LOCAL, MIRROR_DISK, ROOT, STATE_WORDS, TYPES},
    dependency_syntax::{Side, parse_start, parse_stop},
    spelling::nearest,
};
use crate::ids::TypeName;

mod fault;

pub use fault::{AttributeError, AttributeFault, TypeError, TypeFault, ValueFault};

/// Every type, with its base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeTree {
    types: BTreeMap<TypeName, Node>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Node {
    base: Option<TypeName>,
    comment: String,
    built_in: bool,
    /// What a user's type adds or changes.
    own: BTreeMap<String, AttributeConfig>,
}

/// An attribute as one type has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Its name in the configuration file.
    pub name: String,
    /// Its name in the reference and in scripts.
    pub reference: String,
    /// What its values are.
    pub kind: AttributeKind,
    /// Its value where a resource gives none.
    pub default: Option<Value>,
    /// The least and the greatest number; milliseconds, for durations.
    pub range: Option<(i64, i64)>,
    /// A resource must give it.
    pub required: bool,
    /// What it means.
    pub doc: String,
    /// The type that brought it.
    pub defined_by: TypeName,
    /// The type that gave it its present default or range.
    pub changed_by: Option<TypeName>,
}

/// How many instances a type's resources have, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One on every server.
    Local,
    /// So many, on servers that are chosen.
    Cluster,
}

impl Value {
    /// What it is.
    #[must_use]
    pub fn kind(&self) -> ValueKind {
        match self {
            Self::String(_) => ValueKind::String,
            Self::Integer(_) => ValueKind::Integer,
            Self::Boolean(_) => ValueKind::Boolean,
            Self::Duration(_) => ValueKind::Duration,
        }
    }

    fn number(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            Self::Duration(millis) => Some(i64::try_from(*millis).unwrap_or(i64::MAX)),
            Self::String(_) | Self::Boolean(_) => None,
        }
    }
}

impl fmt::Display for ValueKind {
    /// As a type definition writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Boolean => "boolean",
            Self::Duration => "duration",
        })
    }
}

impl TypeTree {
    /// The built-in types alone.
    #[must_use]
    pub fn built_in() -> Self {
        let node = |(name, base, comment): (&str, Option<&str>, &str)| {
            let base = base.map(TypeName::from);
            let comment = comment.to_owned();
            (TypeName::from(name), Node { base, comment, built_in: true, own: BTreeMap::new() })
        };
        Self { types: TYPES.into_iter().map(node).collect() }
    }

    /// The built-in types with those that users added.
    ///
    /// # Errors
    /// Everything that is wrong with these.
    pub fn new(user: &BTreeMap<TypeName, TypeConfig>) -> Result<Self, Vec<TypeError>> {
        let mut tree = Self::built_in();
        let mut errors = Vec::new();
        let mut wrong = |type_name: &TypeName, fault| {
            errors.push(TypeError { type_name: type_name.clone(), attribute: None, fault });
        };
        for (name, config) in user {
            if tree.types.contains_key(name) {
                wrong(name, TypeFault::BuiltIn);
                continue;
            }
            let alike = |known: &&TypeName| known.as_str().eq_ignore_ascii_case(name.as_str());
            if let Some(other) = tree.types.keys().find(alike) {
                wrong(name, TypeFault::Case(other.clone()));
            }
            let node = Node {
                base: Some(config.base.clone()),
                comment: config.comment.clone(),
                built_in: false,
                own: config.attributes.clone(),
            };
            tree.types.insert(name.clone(), node);
        }
        for (name, node) in tree.types.iter().filter(|(_, node)| !node.built_in) {
            let Some(base) = &node.base else { continue };
            if !tree.types.contains_key(base) {
                let others = tree.types.keys().filter(|other| *other != name).map(TypeName::as_str);
                let near = nearest(base.as_str(), others).map(TypeName::from);
                wrong(name, TypeFault::NoBase { base: base.clone(), near });
            } else if let Some(path) = tree.circle(name) {
                wrong(name, TypeFault::Circle { path });
            }
        }
        // What is inherited is known only where the way to the root is.
        for (name, config) in user.iter().filter(|_| errors.is_empty()).collect::<Vec<_>>() {
            tree.check_attributes(name, config, &mut errors);
        }
        if errors.is_empty() { Ok(tree) } else { Err(errors) }
    }

    /// The way from a type back to itself, told once: at the first of its names.
    fn circle(&self, name: &TypeName) -> Option<Vec<TypeName>> {
        let mut path = vec![name.clone()];
        loop {
            let base = self.types.get(path.last()?)?.base.clone()?;
            if base == *name {
                path.push(base);
                return (path.iter().min() == Some(name)).then_some(path);
            }
            if path.contains(&base) {
                return None; // a circle further up
            }
            path.push(base);
        }
    }

    fn check_attributes(&self, name: &TypeName, config: &TypeConfig, errors: &mut Vec<TypeError>) {
        let ancestry = self.ancestry(name);
        let inherited = config.base.clone();
        for (attribute, given) in &config.attributes {
            let fault = self.attribute_fault(&inherited, &ancestry, attribute, given);
            errors.extend(fault.map(|fault| TypeError {
                type_name: name.clone(),
                attribute: Some(attribute.clone()),
                fault,
            }));
        }
    }

    fn attribute_fault(
        &self,
        base: &TypeName,
        ancestry: &[&str],
        name: &str,
        given: &AttributeConfig,
    ) -> Option<TypeFault> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(plain) {
            return Some(TypeFault::AttributeName(name.to_owned()));
        }
        if STATE_WORDS.contains(&name) {
            return Some(TypeFault::StateWord(name.to_owned()));
        }
        if name == "name" || name == "type" {
            return Some(TypeFault::Fixed(name.to_owned()));
        }
        // What only disks have is too common to be theirs alone: `port`, `size`, `data`.
        let taken = |attribute: &&BuiltIn| attribute.on != MIRROR_DISK && !attribute.is_on(ancestry);
        if let Some(built_in) = built_in::attribute(name).filter(taken) {
            return Some(TypeFault::Elsewhere { name: name.to_owned(), on: built_in.home() });
        }
        let inherited = self.attribute(base, name);
        let kind = inherited.as_ref().map_or(AttributeKind::Value(given.kind), |inherited| inherited.kind);
        let number = matches!(kind, AttributeKind::NumberOr(_)) && given.kind == ValueKind::Integer;
        if kind.as_value() != given.kind && !number {
            let by =
                inherited.as_ref().map_or_else(|| base.clone(), |inherited| inherited.defined_by.clone());
            return Some(TypeFault::OtherKind {
                name: name.to_owned(),
                by,
                inherited: kind,
                kind: given.kind,
            });
        }
        if let Some(range) = given.range {
            if !matches!(given.kind, ValueKind::Integer | ValueKind::Duration) {
                return Some(TypeFault::RangeOfKind);
            }
            if range.0 > range.1 {
                return Some(TypeFault::EmptyRange { kind: given.kind, range });
            }
        }
        let range = narrower(inherited.and_then(|inherited| inherited.range), given.range);
        let default = given.default.as_ref()?;
        value_fault(kind, range, default).map(TypeFault::Default)
    }

    /// Every type with its base, in the order of their names: the root has none.
    #[must_use]
    pub fn list(&self) -> Vec<(TypeName, Option<TypeName>)> {
        self.types.iter().map(|(name, node)| (name.clone(), node.base.clone())).collect()
    }

    /// Whether there is such a type.
    #[must_use]
    pub fn contains(&self, name: &TypeName) -> bool {
        self.types.contains_key(name)
    }

    /// Whether it is there from the start.
    #[must_use]
    pub fn is_built_in(&self, name: &TypeName) -> bool {
        self.types.get(name).is_some_and(|node| node.built_in)
    }

    /// What people wrote about it.
    #[must_use]
    pub fn comment(&self, name: &TypeName) -> Option<&str> {
        self.types.get(name).map(|node| node.comment.as_str())
    }

    /// The type that was probably meant.
    #[must_use]
    pub fn nearest(&self, name: &str) -> Option<TypeName> {
        nearest(name, self.types.keys().map(TypeName::as_str)).map(TypeName::from)
    }

    /// The types from which a type inherits, its base first, the root last.
    #[must_use]
    pub fn ancestors(&self, name: &TypeName) -> Vec<TypeName> {
        self.ancestry(name).into_iter().skip(1).map(TypeName::from).collect()
    }

    /// Whether a type is another, or inherits from it.
    #[must_use]
    pub fn is_a(&self, name: &TypeName, base: &TypeName) -> bool {
        self.ancestry(name).contains(&base.as_str())
    }

    /// Where resources of a type run; `None` for the root, of which there are none.
    #[must_use]
    pub fn scope(&self, name: &TypeName) -> Option<Scope> {
        let ancestry = self.ancestry(name);
        if ancestry.contains(&LOCAL) {
            Some(Scope::Local)
        } else {
            ancestry.contains(&CLUSTER).then_some(Scope::Cluster)
        }
    }

    /// The type itself first, the root last; empty when there is no such type.
    fn ancestry(&self, name: &TypeName) -> Vec<&str> {
        let mut path: Vec<&str> = Vec::new();
        let mut next = self.types.get_key_value(name);
        while let Some((name, node)) = next {
            if path.contains(&name.as_str()) {
                break;
            }
            path.push(name.as_str());
            next = node.base.as_ref().and_then(|base| self.types.get_key_value(base));
        }
        path
    }

    /// Every attribute of a type, inherited ones too, in the order of their names.
    #[must_use]
    pub fn attributes(&self, type_name: &TypeName) -> Vec<Attribute> {
        let ancestry = self.ancestry(type_name);
        let built_in = built_in::ATTRIBUTES.iter().map(|attribute| attribute.name);
        let names: BTreeSet<&str> = built_in.chain(self.own_names(&ancestry)).collect();
        names.into_iter().filter_map(|name| self.inherited(&ancestry, name)).collect()
    }

    /// One attribute of a type.
    #[must_use]
    pub fn attribute(&self, type_name: &TypeName, name: &str) -> Option<Attribute> {
        self.inherited(&self.ancestry(type_name), name)
    }

    /// What users' types on the way to the root add or change.
    fn own_names<'a>(&'a self, ancestry: &'a [&str]) -> impl Iterator<Item = &'a str> {
        let nodes = ancestry.iter().filter_map(|name| self.types.get(&TypeName::from(*name)));
        nodes.flat_map(|node| node.own.keys().map(String::as_str))
    }

    /// From the root down: who brings the attribute, and who changes it.
    fn inherited(&self, ancestry: &[&str], name: &str) -> Option<Attribute> {
        let mut found = built_in::attribute_on(name, ancestry).map(|attribute| attribute.seen(ancestry));
        for type_name in ancestry.iter().rev().map(|name| TypeName::from(*name)) {
            let Some(config) = self.types.get(&type_name).and_then(|node| node.own.get(name)) else {
                continue;
            };
            match &mut found {
                Some(inherited) => inherited.change(&type_name, config),
                None => found = Some(Attribute::added(name, &type_name, config)),
            }
        }
        found
    }

    /// The defaults that users' types give to built-in attributes: what holds where a resource of
    /// this type says nothing.
    #[must_use]
    pub fn presets(&self, type_name: &TypeName) -> BTreeMap<String, Value> {
        let ancestry = self.ancestry(type_name);
        let changed =
            self.own_names(&ancestry).filter(|name| built_in::attribute_on(name, &ancestry).is_some());
        let attributes = changed.filter_map(|name| self.inherited(&ancestry, name));
        attributes.filter_map(|attribute| Some((attribute.name, attribute.default?))).collect()
    }

    /// Checks one value that is given for an attribute of a type, built in or not.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_value(&self, type_name: &TypeName, name: &str, value: &Value) -> Result<(), AttributeError> {
        let wrong = |fault| AttributeError { name: name.to_owned(), fault };
        let Some(attribute) = self.attribute(type_name, name) else {
            return Err(wrong(self.missing(type_name, name)));
        };
        match value_fault(attribute.kind, attribute.range, value) {
            None => Ok(()),
            Some(fault) => Err(wrong(AttributeFault::Value { name: name.to_owned(), fault })),
        }
    }

    /// Checks what a resource gives for the attributes that users' types added, and fills their
    /// defaults in. Built-in attributes are not part of the answer.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn check(
        &self,
        type_name: &TypeName,
        given: &BTreeMap<String, Value>,
    ) -> Result<BTreeMap<String, Value>, Vec<AttributeError>> {
        let mut errors: Vec<AttributeError> =
            given.iter().filter_map(|(name, value)| self.check_value(type_name, name, value).err()).collect();
        let mut values = BTreeMap::new();
        let ancestry = self.ancestry(type_name);
        let own: BTreeSet<&str> = self
            .own_names(&ancestry)
            .filter(|name| built_in::attribute_on(name, &ancestry).is_none())
            .collect();
        for attribute in own.into_iter().filter_map(|name| self.inherited(&ancestry, name)) {
            match given.get(&attribute.name).or(attribute.default.as_ref()) {
                Some(value) => {
                    values.insert(attribute.name, value.clone());
                }
                None if attribute.required => errors.push(AttributeError {
                    name: attribute.name.clone(),
                    fault: AttributeFault::Required {
                        name: attribute.name,
                        by: attribute.defined_by,
                        kind: attribute.kind,
                    },
                }),
                None => {}
            }
        }
        if errors.is_empty() { Ok(values) } else { Err(errors) }
    }

    /// Why a type does not have an attribute.
    #[must_use]
    pub fn missing(&self, type_name: &TypeName, name: &str) -> AttributeFault {
        let (type_name, name) = (type_name.clone(), name.to_owned());
        if let Some(elsewhere) = built_in::attribute(&name) {
            let local = self.scope(&type_name) == Some(Scope::Local) && elsewhere.on == CLUSTER;
            return AttributeFault::Elsewhere { type_name, name, on: elsewhere.home(), local };
        }
        let known = self.attributes(&type_name);
        let near = nearest(&name, known.iter().map(|attribute| attribute.name.as_str())).map(str::to_owned);
        AttributeFault::Unknown { type_name, name, near }
    }
}

impl Attribute {
    fn added(name: &str, by: &TypeName, config: &AttributeConfig) -> Self {
        Self {
            name: name.to_owned(),
            reference: name.to_uppercase(),
            kind: AttributeKind::Value(config.kind),
            default: config.default.clone(),
            range: config.range,
            required: config.required,
            doc: config.comment.clone(),
            defined_by: by.clone(),
            changed_by: None,
        }
    }

    fn change(&mut self, by: &TypeName, config: &AttributeConfig) {
        if config.default.is_some() {
            self.default.clone_from(&config.default);
        }
        self.range = narrower(self.range, config.range);
        self.required |= config.required;
        if !config.comment.is_empty() {
            self.doc.clone_from(&config.comment);
        }
        self.changed_by = Some(by.clone());
    }
}

impl BuiltIn {
    fn seen(&self, ancestry: &[&str]) -> Attribute {
        Attribute {
            name: self.name.to_owned(),
            reference: self.reference.to_owned(),
            kind: self.kind,
            default: self.default_on(ancestry).value(),
            range: self.range,
            required: self.required,
            doc: self.doc.to_owned(),
            defined_by: self.on.into(),
            changed_by: None,
        }
    }

    /// The type to name to somebody who looks for it: scripts are what an `exec` is.
    fn home(&self) -> TypeName {
        if self.on == ROOT { "exec".into() } else { self.on.into() }
    }
}

/// Both ranges hold.
fn narrower(inherited: Option<(i64, i64)>, own: Option<(i64, i64)>) -> Option<(i64, i64)> {
    match (inherited, own) {
        (Some((a, b)), Some((c, d))) => Some((a.max(c), b.min(d))),
        (range, None) | (None, range) => range,
    }
}

fn value_fault(kind: AttributeKind, range: Option<(i64, i64)>, value: &Value) -> Option<ValueFault> {
    match (kind, value) {
        (AttributeKind::Word(words), Value::String(text)) if !words.contains(&text.as_str()) => {
            return Some(ValueFault::Word { kind, found: text.clone() });
        }
        (AttributeKind::NumberOr(word), Value::String(text)) if text != word => {
            return Some(ValueFault::Word { kind, found: text.clone() });
        }
        (AttributeKind::NumberOr(_), Value::Integer(_)) => {}
        (AttributeKind::Dependencies(Side::Start), Value::String(text)) => {
            return parse_start(text).err().map(|error| ValueFault::Dependencies(error.to_string()));
        }
        (AttributeKind::Dependencies(Side::Stop), Value::String(text)) => {
            return parse_stop(text).err().map(|error| ValueFault::Dependencies(error.to_string()));
        }
        _ if kind.as_value() != value.kind() => return Some(ValueFault::Kind { kind, found: value.kind() }),
        _ => {}
    }
    let (found, range) = (value.number()?, range?);
    let outside = found < range.0 || found > range.1;
    outside.then_some(ValueFault::Range { kind: value.kind(), range, found })
}

#[cfg(test)]
mod tests;
