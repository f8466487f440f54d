//! The tree of types while a file is read: what a resource may have, and what stands for absent
//! keys.

use std::collections::BTreeMap;

use tasuki_core::{
    config::{
        TypeConfig, ValueKind,
        built_in::{self, AttributeKind, FLOATING_IP, MIRROR_DISK, ROOT},
        type_tree::{Attribute, AttributeFault, Scope, TypeFault, TypeTree},
    },
    ids::TypeName,
};
use toml::{Spanned, de::DeValue};

use crate::{
    draft::{Name, TypeDraft, label},
    problem::Code,
    section::resource_type::Defaults,
    source::Reading,
    spell::one_of,
};

const EXEC: &str = "exec";

/// What a resource is in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    /// A program on every server.
    Local,
    /// A program.
    Program,
    /// An address.
    FloatingIp,
    /// A mirrored disk.
    MirrorDisk,
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
        names.sort_by_key(|name| (name != EXEC, name != FLOATING_IP, name != MIRROR_DISK));
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
            Scope::Cluster if self.tree.is_a(&of, &MIRROR_DISK.into()) => Root::MirrorDisk,
            Scope::Cluster => Root::Program,
        };
        let has = self.tree.attributes(&of);
        let added = |attribute: &Attribute| {
            let AttributeKind::Value(kind) = attribute.kind else { return None };
            (!self.tree.is_built_in(&attribute.defined_by)).then(|| Added {
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
