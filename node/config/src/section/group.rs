//! `[[group]]`: what moves from server to server as one.

use tasuki_core::config::{Automatic, Startup};
use toml::Spanned;

use crate::{draft::GroupDraft, problem::Code, reader::Section, section::resource};

/// The words of `startup`.
pub(crate) const STARTUP: [(&str, Startup); 3] =
    [("auto", Startup::Always), ("restore", Startup::Restore), ("manual", Startup::Never)];

/// The words of `failover` and `failback`.
pub(crate) const AUTOMATIC: [(&str, Automatic); 2] =
    [("auto", Automatic::Auto), ("manual", Automatic::Manual)];

pub(crate) fn read(section: Section<'_>) -> GroupDraft {
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
        resources: section.tables("resource", "[[group.resource]]").into_iter().map(resource::read).collect(),
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
