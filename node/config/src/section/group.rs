//! `[[group]]`: what moves from server to server as one.
//!
//! | key | meaning | default |
//! |---|---|---|
//! | `name`, `comment` | | name needed |
//! | `servers` | those that may run it, its home first | needed |
//! | `startup` | starts with the cluster: `auto`; if it was wanted before: `restore`; when an operator says so: `manual` | `auto` |
//! | `failover` | goes elsewhere by itself: `auto` or `manual` | `auto` |
//! | `failback` | goes home by itself: `auto` or `manual` | `manual` |
//! | `exclusive` | shares its server with other exclusive groups: `no` (it does not care), `normal` (only if there is no other choice), `complete` (never) | `no` |
//! | `placement` | `ordered`: the first server that can take it; `balanced`: the one with the least load | `ordered` |
//! | `server_pools` | only servers in one of these pools | any |
//! | `load` | how much of a server it takes | 1 |
//! | `enabled` | `false`: nothing starts it | `true` |
//! | `on_quorum_loss` | when its server loses its lease: `stop` (killed), `freeze` (stands still, and goes on if nobody else owns it by then), `read_only` (only what is marked `read_only` runs on); addresses are dropped in any case | `stop` |
//! | `start_dependencies`, `stop_dependencies` | on resources outside, see `dependencies` | none |
//! | `resource` | its members, `[[group.resource]]` | needed |

use tasuki_core::config::{Automatic, Exclusive, Placement, QuorumLoss, Startup};
use toml::Spanned;

use crate::{
    draft::GroupDraft,
    problem::Code,
    reader::Section,
    section::{dependencies, resource, types::Types},
};

/// The words of `startup`.
pub(crate) const STARTUP: [(&str, Startup); 3] =
    [("auto", Startup::Always), ("restore", Startup::Restore), ("manual", Startup::Never)];

/// The words of `failover` and `failback`.
pub(crate) const AUTOMATIC: [(&str, Automatic); 2] =
    [("auto", Automatic::Auto), ("manual", Automatic::Manual)];

/// The words of `exclusive`.
pub(crate) const EXCLUSIVE: [(&str, Exclusive); 3] =
    [("no", Exclusive::No), ("normal", Exclusive::Normal), ("complete", Exclusive::Complete)];

/// The words of `placement`.
pub(crate) const PLACEMENT: [(&str, Placement); 2] =
    [("ordered", Placement::Ordered), ("balanced", Placement::Balanced)];

/// The words of `on_quorum_loss`.
pub(crate) const QUORUM_LOSS: [(&str, QuorumLoss); 3] =
    [("stop", QuorumLoss::Stop), ("freeze", QuorumLoss::Freeze), ("read_only", QuorumLoss::ReadOnly)];

/// The greatest `load`.
pub(crate) const MOST_LOAD: u32 = 1_000_000;

/// What an entry of `server_pools` may be.
pub(crate) const POOLS: &str = "a list of pool names, such as [\"online\"]";

pub(crate) fn read<'a>(section: Section<'a>, types: &Types<'a>) -> GroupDraft {
    section.need("name", "name = \"…\"");
    section.need("servers", "servers = [\"…\", …]: those that may run it, its home first");
    section.need("resource", "a section [[group.resource]] after this [[group]]");
    let automatic = |key, default| section.choice(key, &AUTOMATIC).map_or(default, Spanned::into_inner);
    let draft = GroupDraft {
        name: section.string("name"),
        comment: section.comment(),
        servers: servers(&section),
        startup: section.choice("startup", &STARTUP).map_or(Startup::Always, Spanned::into_inner),
        failover: automatic("failover", Automatic::Auto),
        failback: automatic("failback", Automatic::Manual),
        exclusive: section.choice("exclusive", &EXCLUSIVE).map_or(Exclusive::No, Spanned::into_inner),
        placement: section.choice("placement", &PLACEMENT).map_or(Placement::Ordered, Spanned::into_inner),
        pools: section.names("server_pools", POOLS).unwrap_or_default(),
        load: section.integer("load", 0..=MOST_LOAD).map_or(1, Spanned::into_inner),
        enabled: section.boolean("enabled").is_none_or(Spanned::into_inner),
        on_quorum_loss: section.choice("on_quorum_loss", &QUORUM_LOSS),
        start: dependencies::start(&section),
        stop: dependencies::stop(&section),
        resources: section
            .tables("resource", "[[group.resource]]")
            .into_iter()
            .map(|member| resource::read(member, types))
            .collect(),
    };
    section.finish();
    draft
}

fn servers(section: &Section<'_>) -> Vec<Spanned<String>> {
    let Some(servers) = section.list("servers", "a list of server names, such as [\"kiki\", \"lala\"]")
    else {
        return Vec::new();
    };
    if servers.is_empty() {
        let message = format!("{} may run nowhere: its list of servers is empty", section.what);
        let problem = section
            .reading
            .problem(Code::Missing, &section.key_span("servers"), message)
            .found("an empty list")
            .expected("at least one server name, the group's home first")
            .remedy("name the servers that may run it");
        section.reading.add(problem);
    }
    servers
}
