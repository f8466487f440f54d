//! Resource types as faces show them.

use serde::{Deserialize, Serialize};
use tasuki_core::{
    config::{
        TypeConfig, Value, ValueKind,
        built_in::AttributeKind,
        type_tree::{Attribute, TypeTree},
    },
    ids::{ResourceName, TypeName},
    registry::State,
};

use super::{
    App, AppError, Caller, Role,
    resources::{ResourceError, nearest},
};

/// One type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeView {
    /// Its name.
    pub name: TypeName,
    /// The type that it inherits from; the root has none.
    pub base: Option<TypeName>,
    /// For people.
    pub comment: String,
    /// It is part of Tasuki.
    pub built_in: bool,
    /// Its attributes by name, inherited ones too; none in a list of types.
    pub attributes: Vec<AttributeView>,
    /// The resources of this type by name; none in a list of types.
    pub resources: Vec<ResourceName>,
}

/// One attribute of a type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttributeView {
    /// Its name.
    pub name: String,
    /// What its values are, as a word or in words.
    pub kind: String,
    /// Its value where a resource gives none.
    pub default: Option<String>,
    /// A resource must give it.
    pub required: bool,
    /// The least value.
    pub min: Option<String>,
    /// The greatest value.
    pub max: Option<String>,
    /// The type that brought it, or gave it its present default.
    pub from: TypeName,
    /// For people.
    pub comment: String,
}

impl App {
    /// Every type with its base, as this server has applied it.
    ///
    /// # Errors
    /// Only when the caller may not.
    pub fn type_list(&self, by: &Caller) -> Result<Vec<TypeView>, AppError> {
        by.must_be(Role::Viewer)?;
        let tree = tree_of(&self.applied())?;
        let bare = |name: TypeName| TypeView {
            attributes: Vec::new(),
            resources: Vec::new(),
            ..heading(&tree, &name)
        };
        Ok(tree.list().into_iter().map(|(name, _)| bare(name)).collect())
    }

    /// One type with everything that it inherits.
    ///
    /// # Errors
    /// When the caller may not, or there is no such type.
    pub fn type_show(&self, by: &Caller, name: &TypeName) -> Result<TypeView, AppError> {
        by.must_be(Role::Viewer)?;
        let state = self.applied();
        let tree = tree_of(&state)?;
        if !tree.contains(name) {
            return Err(no_such_type(&tree, name).into());
        }
        let of_this = |given: Option<&TypeName>| given == Some(name);
        let definitions = state.definitions.iter().filter(|(_, item)| of_this(Some(&item.value.type_name)));
        let members = state
            .groups
            .values()
            .filter_map(|entry| Some(&entry.config.as_ref()?.value))
            .filter(|config| config.instance.is_none())
            .flat_map(|config| &config.resources)
            .filter(|(_, resource)| match &resource.type_name {
                Some(given) => given == name,
                None => resource.kind.type_name() == name.as_str(),
            });
        let mut resources: Vec<ResourceName> = definitions
            .map(|(resource, _)| resource)
            .chain(members.map(|(resource, _)| resource))
            .cloned()
            .collect();
        resources.sort();
        Ok(TypeView {
            attributes: tree.attributes(name).into_iter().map(attribute).collect(),
            resources,
            ..heading(&tree, name)
        })
    }
}

fn heading(tree: &TypeTree, name: &TypeName) -> TypeView {
    TypeView {
        name: name.clone(),
        base: tree.ancestors(name).into_iter().next(),
        comment: tree.comment(name).unwrap_or_default().to_owned(),
        built_in: tree.is_built_in(name),
        attributes: Vec::new(),
        resources: Vec::new(),
    }
}

/// The tree of the types that the registry has. They were checked when they were pushed.
pub(super) fn tree_of(state: &State) -> Result<TypeTree, AppError> {
    let user =
        state.types.iter().map(|(name, item)| (name.clone(), TypeConfig::clone(&item.value))).collect();
    TypeTree::new(&user).map_err(|errors| {
        let first = errors.first().map_or_else(String::new, ToString::to_string);
        AppError::Failed(format!("the registry's types do not fit together: {first}"))
    })
}

pub(super) fn no_such_type(tree: &TypeTree, name: &TypeName) -> ResourceError {
    let known = tree.list();
    ResourceError::NoSuchType {
        name: name.to_string(),
        nearest: nearest(name.as_str(), known.iter().map(|(known, _)| known.as_str())),
    }
}

fn attribute(attribute: Attribute) -> AttributeView {
    let bound = |limit: i64, none: i64| (limit != none).then(|| number(attribute.kind, limit));
    AttributeView {
        min: attribute.range.and_then(|(min, _)| bound(min, i64::MIN)),
        max: attribute.range.and_then(|(_, max)| bound(max, i64::MAX)),
        name: attribute.name,
        kind: match attribute.kind {
            AttributeKind::Value(kind) => kind.to_string(),
            other => other.expected(),
        },
        default: attribute.default.as_ref().map(value),
        required: attribute.required,
        from: attribute.changed_by.unwrap_or(attribute.defined_by),
        comment: attribute.doc,
    }
}

fn number(kind: AttributeKind, number: i64) -> String {
    match kind.as_value() {
        ValueKind::Duration => span(number.unsigned_abs()),
        _ => number.to_string(),
    }
}

/// A value as the configuration file has it, without quotes.
fn value(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(yes) => yes.to_string(),
        Value::Duration(millis) => span(*millis),
    }
}

/// A span in the largest unit that leaves nothing over.
fn span(millis: u64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")];
    match units.into_iter().find(|(size, _)| millis > 0 && millis.is_multiple_of(*size)) {
        Some((size, unit)) => format!("{}{unit}", millis / size),
        None if millis == 0 => "0s".to_owned(),
        None => format!("{millis}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_written_as_the_file_has_them() {
        for (millis, text) in [
            (0, "0s"),
            (500, "500ms"),
            (1500, "1500ms"),
            (60_000, "1m"),
            (90_000, "90s"),
            (604_800_000, "7d"),
        ] {
            assert_eq!(span(millis), text);
        }
    }
}
