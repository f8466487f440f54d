//! What can be wrong with a type, and with what a resource gives as its attributes.

use super::super::{
    ValueKind,
    built_in::{AttributeKind, CLUSTER, LOCAL},
};
use crate::ids::TypeName;

/// What is wrong with a type that a user added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct TypeError {
    /// Which type.
    pub type_name: TypeName,
    /// Which of its attributes, if it is about one.
    pub attribute: Option<String>,
    /// What.
    pub fault: TypeFault,
}

/// What can be wrong with a type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TypeFault {
    /// The name of a built-in type.
    #[error("a built-in type has this name")]
    BuiltIn,
    /// A name that differs from another only by capital letters.
    #[error("the name differs from type `{0}` only by capital letters")]
    Case(TypeName),
    /// No such base.
    #[error("no type is called `{base}`")]
    NoBase {
        /// What stands there.
        base: TypeName,
        /// What was probably meant.
        near: Option<TypeName>,
    },
    /// It inherits from itself.
    #[error("the type inherits from itself: {}", path.iter().map(|t| format!("`{t}`")).collect::<Vec<_>>().join(" from "))]
    Circle {
        /// From the type back to it.
        path: Vec<TypeName>,
    },
    /// Not a name for an attribute.
    #[error("`{0}` cannot be the name of an attribute")]
    AttributeName(String),
    /// The name of something that the cluster itself says.
    #[error("`{0}` is a word for the state of a resource")]
    StateWord(String),
    /// `name` and `type` are as they are.
    #[error("`{0}` cannot be changed by a type")]
    Fixed(String),
    /// A built-in attribute that types of this branch do not have.
    #[error("`{name}` exists on `{on}`, from which this type does not inherit")]
    Elsewhere {
        /// Which.
        name: String,
        /// The type that has it.
        on: TypeName,
    },
    /// An inherited attribute that would be of another kind.
    #[error("`{name}` of `{by}` is {}, not {}", .inherited.expected(), .kind.expected())]
    OtherKind {
        /// Which.
        name: String,
        /// The type that defines it.
        by: TypeName,
        /// Its kind there.
        inherited: AttributeKind,
        /// Its kind here.
        kind: ValueKind,
    },
    /// A range on something that is no number.
    #[error("only whole numbers and durations have a least and a greatest value")]
    RangeOfKind,
    /// A range in which nothing lies.
    #[error("no value lies between {} and {}", number(*.kind, .range.0), number(*.kind, .range.1))]
    EmptyRange {
        /// Of numbers or durations.
        kind: ValueKind,
        /// From, to.
        range: (i64, i64),
    },
    /// A default that could not be given.
    #[error("the default {0}")]
    Default(ValueFault),
}

impl TypeFault {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::BuiltIn | Self::Case(_) | Self::StateWord(_) => "choose another name".to_owned(),
            Self::NoBase { near: Some(near), .. } => format!("did you mean `{near}`?"),
            Self::NoBase { near: None, .. } => {
                format!("inherit from `{LOCAL}`, `{CLUSTER}`, or add that type too")
            }
            Self::Circle { .. } => format!("have one of them inherit from `{LOCAL}` or `{CLUSTER}`"),
            Self::AttributeName(_) => {
                "use small letters, digits and `_`, with a letter at the beginning".to_owned()
            }
            Self::Fixed(_) => "take it out of the type".to_owned(),
            Self::Elsewhere { on, .. } => {
                format!("take it out, or have the type inherit from `{on}`")
            }
            Self::OtherKind { .. } => {
                "keep the kind that it has, or give the new attribute another name".to_owned()
            }
            Self::RangeOfKind => "take `min` and `max` out".to_owned(),
            Self::EmptyRange { .. } => "make `min` the smaller one".to_owned(),
            Self::Default(_) => "give another default, or none".to_owned(),
        }
    }
}

/// What is wrong with what a resource gives as an attribute.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct AttributeError {
    /// Which attribute.
    pub name: String,
    /// What.
    pub fault: AttributeFault,
}

/// What can be wrong with an attribute of a resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttributeFault {
    /// No type has it.
    #[error("type `{type_name}` has no attribute `{name}`")]
    Unknown {
        /// The resource's type.
        type_name: TypeName,
        /// What stands there.
        name: String,
        /// What was probably meant.
        near: Option<String>,
    },
    /// Another type has it.
    #[error("`{name}` exists on `{on}`, not on `{type_name}`{}", why(.type_name, .local))]
    Elsewhere {
        /// The resource's type.
        type_name: TypeName,
        /// Which.
        name: String,
        /// The type that has it.
        on: TypeName,
        /// The resource's type is, or inherits from, `local_resource`.
        local: bool,
    },
    /// A value that cannot be.
    #[error("`{name}` {fault}")]
    Value {
        /// Which.
        name: String,
        /// What is wrong with its value.
        fault: ValueFault,
    },
    /// Nothing where something must be.
    #[error("`{name}` is missing: type `{by}` requires it")]
    Required {
        /// Which.
        name: String,
        /// The type that defines it.
        by: TypeName,
        /// What could be given.
        kind: AttributeKind,
    },
}

fn why(type_name: &TypeName, local: &bool) -> String {
    if *local {
        format!(
            ": a resource of type `{type_name}` has one instance on every server, so there is nothing to place"
        )
    } else {
        String::new()
    }
}

impl AttributeFault {
    /// What could stand there.
    #[must_use]
    pub fn expected(&self) -> String {
        match self {
            Self::Unknown { type_name, .. } => format!("an attribute of type `{type_name}`"),
            Self::Elsewhere { on, .. } => format!("a type that inherits from `{on}`"),
            Self::Value { fault, .. } => fault.expected(),
            Self::Required { kind, .. } => kind.expected(),
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Unknown { near: Some(near), .. } => format!("did you mean `{near}`?"),
            Self::Unknown { near: None, type_name, .. } => {
                format!("take it out, or add it to type `{type_name}`")
            }
            Self::Elsewhere { on, .. } => format!("take it out, or use a type that inherits from `{on}`"),
            Self::Value { .. } => "correct the value".to_owned(),
            Self::Required { name, .. } => format!("give `{name}`"),
        }
    }
}

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueFault {
    /// Of another kind.
    #[error("is {}, not {}", .found.expected(), .kind.expected())]
    Kind {
        /// What it should be.
        kind: AttributeKind,
        /// What it is.
        found: ValueKind,
    },
    /// None of the words.
    #[error("is `{found}`")]
    Word {
        /// What it should be.
        kind: AttributeKind,
        /// What it is.
        found: String,
    },
    /// Too small or too big.
    #[error("is {}", number(*.kind, *.found))]
    Range {
        /// A number or a duration.
        kind: ValueKind,
        /// From, to.
        range: (i64, i64),
        /// What it is.
        found: i64,
    },
    /// Not dependencies.
    #[error("cannot be read: {0}")]
    Dependencies(String),
}

impl ValueFault {
    /// What could stand there.
    #[must_use]
    pub fn expected(&self) -> String {
        match self {
            Self::Kind { kind, .. } | Self::Word { kind, .. } => kind.expected(),
            Self::Range { kind, range: (least, greatest), .. } => match (*least, *greatest) {
                (i64::MIN, greatest) => format!("at most {}", number(*kind, greatest)),
                (least, i64::MAX) => format!("at least {}", number(*kind, least)),
                (least, greatest) => format!("{} to {}", number(*kind, least), number(*kind, greatest)),
            },
            Self::Dependencies(_) => "dependencies as in `hard(db) pullup(db)`".to_owned(),
        }
    }
}

/// A number, or a span of time with the biggest unit that fits.
fn number(kind: ValueKind, value: i64) -> String {
    if kind != ValueKind::Duration {
        return value.to_string();
    }
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")];
    let unit = units.into_iter().find(|(size, _)| value % size == 0 && value >= *size);
    unit.map_or_else(|| format!("{}s", value / 1000), |(size, unit)| format!("{}{unit}", value / size))
}
