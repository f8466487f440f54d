//! Resource types that users add: a name, a base type, and attributes with defaults.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::ids::TypeName;

/// One type that a user added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeConfig {
    /// For people.
    pub comment: String,
    /// The type that it inherits from.
    pub base: TypeName,
    /// The attributes that it adds, or gives another default, by name in small letters.
    pub attributes: BTreeMap<String, AttributeConfig>,
}

/// One attribute of a type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttributeConfig {
    /// What its values are.
    pub kind: ValueKind,
    /// Its value where a resource gives none.
    pub default: Option<Value>,
    /// A resource must give it.
    pub required: bool,
    /// The least and the greatest number, for integers; milliseconds, for durations.
    pub range: Option<(i64, i64)>,
    /// For people.
    pub comment: String,
}

/// What the values of an attribute are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueKind {
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// Yes or no.
    Boolean,
    /// A span of time, kept in milliseconds.
    Duration,
}

/// A value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// Text.
    String(String),
    /// A whole number.
    Integer(i64),
    /// Yes or no.
    Boolean(bool),
    /// A span of time in milliseconds.
    Duration(u64),
}

impl fmt::Display for Value {
    /// As a script finds it in its environment: durations in seconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String(text) => f.write_str(text),
            Self::Integer(number) => number.fmt(f),
            Self::Boolean(yes) => f.write_str(if *yes { "1" } else { "0" }),
            Self::Duration(millis) if millis % 1000 == 0 => (millis / 1000).fmt(f),
            Self::Duration(millis) => write!(f, "{}.{:03}", millis / 1000, millis % 1000),
        }
    }
}
