//! `[[resource]]`: a resource outside every group, with one instance or several.
//!
//! Besides the keys of `resource` (without `depends_on`), of its type and of `policies`:
//!
//! | key | meaning | default |
//! |---|---|---|
//! | `type` | `exec`, `floating_ip`, `application`, `cluster_resource`, `local_resource`, or a `[[type]]` based on one of them. A `local_resource` runs on every server | needed |
//! | `cardinality` | how many instances, 1 to 1000, or `uniform`: one on every allowed server | 1 |
//! | `placement` | `balanced`: on the server with the least load; `favored`: on `hosting_members` in their order, then on others; `restricted`: on `hosting_members` only | `balanced` |
//! | `hosting_members` | the servers that `placement` speaks of, best first | none |
//! | `server_pools` | only servers in one of these pools | any |
//! | `load` | how much of a server one instance takes, 0 to 1000000 | 1 |
//! | `auto_start` | starts with the cluster (or, on every server, with its server): `always`, if it was wanted before: `restore`, when an operator says so: `never` | `always` |
//! | `enabled` | `false`: nothing starts it | `true` |
//! | `failover` | goes elsewhere by itself: `auto` or `manual` | `auto` |
//! | `failback` | goes to a better server by itself: `auto` or `manual` | `manual` |
//! | `start_dependencies`, `stop_dependencies` | see `dependencies` | none |
//!
//! A `local_resource` has none of `cardinality`, `placement`, `hosting_members`, `server_pools`,
//! `failover`, `failback`.

use tasuki_core::config::{Automatic, Cardinality, PlacementPolicy, Startup};
use toml::{Spanned, de::DeValue};

use crate::{
    draft::DefinitionDraft,
    problem::Code,
    reader::Section,
    section::{
        dependencies,
        group::{AUTOMATIC, MOST_LOAD, POOLS},
        resource,
        types::{Root, Types},
    },
};

/// The words of `auto_start`.
pub(crate) const AUTO_START: [(&str, Startup); 3] =
    [("always", Startup::Always), ("restore", Startup::Restore), ("never", Startup::Never)];

/// The words of `placement`.
pub(crate) const PLACEMENT: [(&str, PlacementPolicy); 3] = [
    ("balanced", PlacementPolicy::Balanced),
    ("favored", PlacementPolicy::Favored),
    ("restricted", PlacementPolicy::Restricted),
];

/// The word of `cardinality` for one on every server.
pub(crate) const UNIFORM: &str = "uniform";
const MOST_INSTANCES: u32 = 1000;

pub(crate) fn read<'a>(mut section: Section<'a>, types: &Types<'a>) -> DefinitionDraft {
    let example = "type = \"exec\", \"floating_ip\", \"local_resource\" or a type of your own";
    let known = resource::begin(&mut section, types, example).filter(|known| {
        let disk = known.root == Root::MirrorDisk;
        if disk {
            let message = format!("{} has copies on the servers of a group, and is in none", section.what);
            resource::refuse_type(&section, &known.name, message, "make it a [[group.resource]]");
        }
        !disk
    });
    let common = resource::common(&section, known.as_ref());
    let unclear = known.as_ref().is_some_and(|known| known.unclear);
    let root = known.map(|known| known.root);
    let local = root == Some(Root::Local);
    let inside = "only the members of a group have `depends_on`";
    section.refuse(
        "depends_on",
        inside.to_owned(),
        "`start_dependencies`",
        "write start_dependencies = \"hard(…)\"",
    );
    let servers = "a list of server names, such as [\"kiki\", \"lala\"]";
    let mut draft = DefinitionDraft {
        resource: common,
        cardinality: Cardinality::Local,
        placement: PlacementPolicy::Balanced,
        hosting_members: Vec::new(),
        server_pools: Vec::new(),
        load: section.integer("load", 0..=MOST_LOAD).map_or(1, Spanned::into_inner),
        auto_start: section.choice("auto_start", &AUTO_START).map_or(Startup::Always, Spanned::into_inner),
        enabled: section.boolean("enabled").is_none_or(Spanned::into_inner),
        failover: Automatic::Auto,
        failback: Automatic::Manual,
        start: dependencies::start(&section),
        stop: dependencies::stop(&section),
    };
    if !local {
        let automatic = |key, default| section.choice(key, &AUTOMATIC).map_or(default, Spanned::into_inner);
        draft.failover = automatic("failover", Automatic::Auto);
        draft.failback = automatic("failback", Automatic::Manual);
        draft.cardinality = cardinality(&section, root == Some(Root::FloatingIp));
        let placement = section.choice("placement", &PLACEMENT).map(Spanned::into_inner);
        draft.placement = placement.unwrap_or_default();
        draft.hosting_members = section.names("hosting_members", servers).unwrap_or_default();
        draft.server_pools = section.names("server_pools", POOLS).unwrap_or_default();
        if section.get("placement").is_none() || placement.is_some() {
            placement_and_members(&section, &draft);
        }
    }
    match root {
        None => section.finish_missing(),
        Some(_) if unclear => section.finish_missing(),
        Some(_) => section.finish(),
    }
    draft
}

fn cardinality(section: &Section<'_>, is_address: bool) -> Cardinality {
    let Some(value) = section.get("cardinality") else { return Cardinality::Number(1) };
    let cardinality = match value.get_ref() {
        DeValue::String(_) => section
            .choice("cardinality", &[(UNIFORM, Cardinality::Uniform)])
            .map_or(Cardinality::Number(1), Spanned::into_inner),
        _ => Cardinality::Number(
            section.integer("cardinality", 1..=MOST_INSTANCES).map_or(1, Spanned::into_inner),
        ),
    };
    if is_address && cardinality != Cardinality::Number(1) {
        let message = format!("{} is an address, which only one server can have at any time", section.what);
        let problem = section
            .reading
            .problem(Code::BadValue, &value.span(), message)
            .found("more than one instance")
            .expected("`1`, which is the default")
            .remedy("make a resource for each address");
        section.reading.add(problem);
    }
    cardinality
}

/// `hosting_members` and the placements that speak of them belong together.
fn placement_and_members(section: &Section<'_>, draft: &DefinitionDraft) {
    let balanced = draft.placement == PlacementPolicy::Balanced;
    let (key, message, found, remedy) = match (balanced, draft.hosting_members.is_empty()) {
        (true, false) => (
            "hosting_members",
            "names servers that its placement does not look at",
            "`hosting_members` with placement `balanced`",
            "add placement = \"favored\" to prefer them, or placement = \"restricted\" to use no others",
        ),
        (false, true) if section.get("hosting_members").is_none_or(is_empty) => (
            "placement",
            "prefers servers, but names none",
            "no `hosting_members`",
            "add hosting_members = [\"…\"], the best first, or take `placement` out",
        ),
        _ => return,
    };
    let span = section.get(key).map_or_else(|| section.span.clone(), Spanned::span);
    let problem = section
        .reading
        .problem(Code::BadValue, &span, format!("{} {message}", section.what))
        .found(found)
        .expected("`hosting_members` with placement `favored` or `restricted`, or neither")
        .remedy(remedy);
    section.reading.add(problem);
}

fn is_empty(value: &Spanned<DeValue<'_>>) -> bool {
    match value.get_ref() {
        DeValue::Array(list) => list.is_empty(),
        DeValue::String(text) => text.trim().is_empty(),
        _ => false,
    }
}
