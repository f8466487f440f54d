//! The words for resources, types and server pools.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Waiting;

/// `tasuki resource …`
#[derive(Debug, Subcommand)]
pub enum ResourceVerb {
    /// Add a resource to the configuration
    Add {
        /// Its name
        name: String,
        /// Its type; `tasuki type list` shows them
        #[arg(long = "type", value_name = "TYPE", required_unless_present = "file")]
        type_name: Option<String>,
        /// Its attributes.
        #[command(flatten)]
        attributes: Attributes,
        /// Take the keys of this TOML file (those of a [[resource]] section) too
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Whether it is only tried.
        #[command(flatten)]
        edit: Editing,
    },
    /// Change attributes of a resource; those not named stay as they are
    Modify {
        /// The resource
        name: String,
        /// What changes.
        #[command(flatten)]
        attributes: SomeAttributes,
        /// Whether it is only tried.
        #[command(flatten)]
        edit: Editing,
    },
    /// Take a resource out of the configuration, which also stops it
    Delete {
        /// The resource
        name: String,
        /// Whether it is only tried.
        #[command(flatten)]
        edit: Editing,
    },
    /// Start every instance that does not run
    Start {
        /// The resource
        name: String,
        /// Only the instance on this server
        #[arg(long, value_name = "SERVER")]
        on: Option<String>,
        /// How long to wait for it.
        #[command(flatten)]
        wait: Waiting,
    },
    /// Stop every instance that runs
    Stop {
        /// The resource
        name: String,
        /// Only the instance on this server
        #[arg(long, value_name = "SERVER")]
        on: Option<String>,
        /// Also when that stops others that depend on it
        #[arg(long)]
        force: bool,
        /// How long to wait for it.
        #[command(flatten)]
        wait: Waiting,
    },
    /// Move one instance to another server
    Relocate {
        /// The resource
        name: String,
        /// The instance on this server; needed when several run
        #[arg(long, value_name = "SERVER")]
        from: Option<String>,
        /// Where to; the next allowed server otherwise
        #[arg(long, value_name = "SERVER")]
        to: Option<String>,
        /// Also when that stops others that depend on it
        #[arg(long)]
        force: bool,
        /// How long to wait for it.
        #[command(flatten)]
        wait: Waiting,
    },
    /// Let a resource be started again
    Enable {
        /// The resource
        name: String,
    },
    /// Let nothing start a resource; what runs goes on
    Disable {
        /// The resource
        name: String,
    },
    /// Where resources run, those in groups too
    #[command(visible_alias = "list")]
    Status {
        /// Only this resource
        name: Option<String>,
        /// In which form; `list` for one resource and `table` for all when not given
        #[arg(long, value_enum, value_name = "FORM")]
        format: Option<Form>,
    },
}

/// The forms of a resource's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// A line for each instance, local resources first
    Table,
    /// NAME, TYPE, TARGET and STATE of each resource
    List,
    /// Everything that is known of each instance
    Full,
}

/// `tasuki type …`
#[derive(Debug, Subcommand)]
pub enum TypeVerb {
    /// Add a resource type to the configuration
    Add {
        /// Its name
        name: String,
        /// The type that it inherits from
        #[arg(long, value_name = "TYPE", required_unless_present = "file")]
        base: Option<String>,
        /// An attribute, as NAME:KIND[=DEFAULT][,required][,MIN..MAX]; KIND is string, integer,
        /// boolean or duration
        #[arg(long = "attribute", value_name = "ATTRIBUTE", value_parser = new_attribute)]
        attributes: Vec<NewAttribute>,
        /// Take the keys of this TOML file (those of a [[type]] section) too
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Whether it is only tried.
        #[command(flatten)]
        edit: Editing,
    },
    /// Every type with the one that it inherits from
    List,
    /// One type with all its attributes, inherited ones too
    Show {
        /// The type
        name: String,
    },
    /// Take a type out of the configuration
    Delete {
        /// The type
        name: String,
        /// Whether it is only tried.
        #[command(flatten)]
        edit: Editing,
    },
}

/// `tasuki pool …`
#[derive(Debug, Subcommand)]
pub enum PoolVerb {
    /// Add a server pool to the configuration
    Add {
        /// Its name
        name: String,
        /// What it asks for.
        #[command(flatten)]
        pool: PoolArgs,
        /// Take the keys of this TOML file (those of a [[pool]] section) too
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Whether it is only tried.
        #[command(flatten)]
        edit: Editing,
    },
    /// Change a server pool; what is not named stays as it is
    Modify {
        /// The pool
        name: String,
        /// What changes.
        #[command(flatten)]
        pool: PoolArgs,
        /// Whether it is only tried.
        #[command(flatten)]
        edit: Editing,
    },
    /// Take a server pool out of the configuration; its servers go where they are needed
    Delete {
        /// The pool
        name: String,
        /// Whether it is only tried.
        #[command(flatten)]
        edit: Editing,
    },
    /// Which servers are in which pool
    #[command(visible_alias = "list")]
    Status {
        /// Only this pool
        name: Option<String>,
    },
}

/// Attributes with their values.
#[derive(Clone, Debug, Args)]
pub struct Attributes {
    /// An attribute, like load=3; `tasuki type show TYPE` shows them
    #[arg(long = "attr", value_name = "KEY=VALUE", value_parser = attribute)]
    pub attributes: Vec<(String, String)>,
}

/// At least one attribute with its value.
#[derive(Clone, Debug, Args)]
pub struct SomeAttributes {
    /// An attribute, like load=3; an empty value is that of its type
    #[arg(long = "attr", value_name = "KEY=VALUE", value_parser = attribute, required = true)]
    pub attributes: Vec<(String, String)>,
}

/// What a pool asks for.
#[derive(Clone, Debug, Args)]
pub struct PoolArgs {
    /// Fill it up to this many servers before others get more
    #[arg(long, value_name = "COUNT")]
    pub min: Option<u32>,
    /// Never give it more servers than this
    #[arg(long, value_name = "COUNT")]
    pub max: Option<u32>,
    /// The more important pool is filled first
    #[arg(long, value_name = "NUMBER")]
    pub importance: Option<u32>,
    /// Only these servers may be in it, like kiki,lala
    #[arg(long, value_name = "SERVERS", value_delimiter = ',')]
    pub servers: Vec<String>,
    /// A note for people
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
}

impl PoolArgs {
    /// As attributes with their values.
    #[must_use]
    pub fn attributes(self) -> Vec<(String, String)> {
        let number = |number: Option<u32>| number.map(|number| number.to_string());
        let servers = (!self.servers.is_empty()).then(|| self.servers.join(" "));
        [
            ("min", number(self.min)),
            ("max", number(self.max)),
            ("importance", number(self.importance)),
            ("servers", servers),
            ("comment", self.comment),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .collect()
    }
}

/// How an edit of the configuration is made.
#[derive(Clone, Copy, Debug, Args)]
pub struct Editing {
    /// Have it checked everywhere, but change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `KEY=VALUE`
pub(super) fn attribute(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not KEY=VALUE, like load=3")),
    }
}

/// An attribute that a type adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAttribute(pub crate::app::edits::NewAttribute);

/// `NAME:KIND[=DEFAULT][,required][,MIN..MAX]`. What stands behind a comma and is neither of the
/// two belongs to the default.
fn new_attribute(text: &str) -> Result<NewAttribute, String> {
    let expected = || {
        format!("{text:?} is not NAME:KIND[=DEFAULT][,required][,MIN..MAX], like port:integer=80,1..65535")
    };
    let (name, mut rest) = text.split_once(':').ok_or_else(expected)?;
    let mut attribute = crate::app::edits::NewAttribute {
        name: name.trim().to_owned(),
        kind: String::new(),
        default: None,
        required: false,
        min: None,
        max: None,
    };
    while let Some((before, last)) = rest.rsplit_once(',') {
        if last == "required" {
            attribute.required = true;
        } else if let Some((min, max)) = last.split_once("..").filter(|_| !last.contains('=')) {
            attribute.min = (!min.is_empty()).then(|| min.to_owned());
            attribute.max = (!max.is_empty()).then(|| max.to_owned());
        } else {
            break;
        }
        rest = before;
    }
    let (kind, default) = match rest.split_once('=') {
        Some((kind, default)) => (kind, Some(default.to_owned())),
        None => (rest, None),
    };
    if attribute.name.is_empty() || !["string", "integer", "boolean", "duration"].contains(&kind) {
        return Err(expected());
    }
    kind.clone_into(&mut attribute.kind);
    attribute.default = default;
    Ok(NewAttribute(attribute))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn attributes_of_types_are_said_in_one_word() {
        let of = |text| {
            let a = new_attribute(text).unwrap().0;
            (a.name, a.kind, a.default, a.required, a.min, a.max)
        };
        let some = |text: &str| Some(text.to_owned());
        let word = |text: &str| text.to_owned();
        assert_eq!(
            of("port:integer=80,1..65535"),
            (word("port"), word("integer"), some("80"), false, some("1"), some("65535"))
        );
        assert_eq!(of("site:string,required"), (word("site"), word("string"), None, true, None, None));
        assert_eq!(
            of("grace:duration,required,..5m"),
            (word("grace"), word("duration"), None, true, None, some("5m"))
        );
        assert_eq!(of("list:string=a,b=c,required").2, some("a,b=c"));
        assert_eq!(of("path:string=/a..b").2, some("/a..b"));
        for wrong in ["port", "port:number", ":integer", "port:", "port:integer,maybe", "port:=80"] {
            assert!(new_attribute(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn attributes_are_keys_with_values() {
        assert_eq!(attribute("check_interval=10s"), Ok(("check_interval".into(), "10s".into())));
        assert_eq!(attribute("start=/bin/a b=c"), Ok(("start".into(), "/bin/a b=c".into())));
        assert_eq!(attribute("comment="), Ok(("comment".into(), String::new())));
        assert!(attribute("check_interval").is_err() && attribute("=10s").is_err());
    }
}
