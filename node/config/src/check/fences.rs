//! Fencing devices: that those named are there, that levels can confirm, and that a tie-break by fence
//! has devices that prove a server off.

use std::collections::BTreeSet;

use super::references::Known;
use crate::{
    draft::{Draft, FenceDraft, Name, ServerDraft, TieBreakWord, label},
    problem::{Code, Problem},
    source::{Reading, Span},
};

pub(crate) fn check(reading: &Reading, draft: &Draft) {
    let fences = Known::new("fencing device", draft.fences.iter().map(|fence| fence.name.as_ref()));
    let servers = Known::new("server", draft.servers.iter().map(|server| server.name.as_ref()));
    for fence in &draft.fences {
        for (server, _) in &fence.ports {
            let user = format!("`ports` of fencing device {} names", label(fence.name.as_ref()));
            servers.look_up(reading, server, &user);
        }
    }
    let no_devices = draft.fences.is_empty();
    let look_up = |name: &Name, user: &str| {
        if no_devices {
            let word = name.get_ref();
            let problem = reading
                .problem(
                    Code::UnknownName,
                    &name.span(),
                    format!("{user} `{word}`, but there is no fencing device"),
                )
                .found(format!("`{word}`"))
                .expected("the name of a [[fence]]")
                .remedy(format!("add a [[fence]] with name = \"{word}\""));
            reading.add(problem);
        } else {
            fences.look_up(reading, name, user);
        }
    };
    if let Some(name) = draft.cluster.as_ref().and_then(|cluster| cluster.fence.as_ref()) {
        look_up(name, "`fence` of [cluster] names");
    }
    for server in &draft.servers {
        let user = format!("server {} names", label(server.name.as_ref()));
        for name in server.fencing.iter().flatten() {
            look_up(name, &user);
        }
        levels(reading, server);
    }
    tie_break(reading, draft);
}

/// An empty level would confirm without having done anything, and a device twice does it once.
fn levels(reading: &Reading, server: &ServerDraft) {
    let name = label(server.name.as_ref());
    if server.fencing.iter().any(Vec::is_empty) {
        let span = server.fence_span.clone().unwrap_or_else(|| server.span.clone());
        let problem = reading
            .problem(Code::BadFence, &span, format!("a level of `fence` of server {name} has no device"))
            .found("an empty list")
            .expected("at least one fencing device in each level")
            .remedy("take the empty level out, or name a device in it");
        reading.add(problem);
    }
    for level in &server.fencing {
        let mut seen = BTreeSet::new();
        let Some(twice) = level.iter().find(|device| !seen.insert(device.get_ref())) else { continue };
        let word = twice.get_ref();
        let problem = reading
            .problem(
                Code::BadFence,
                &twice.span(),
                format!("a level of `fence` of server {name} names {word} twice"),
            )
            .found(format!("`{word}` twice in one level"))
            .expected("each device once in a level")
            .remedy("take one out; `retries` of the device has it tried again");
        reading.add(problem);
    }
}

/// R19: what breaks a tie must prove that the other server is off.
fn tie_break(reading: &Reading, draft: &Draft) {
    let Some(place) = breaks_tie(draft) else { return };
    for server in &draft.servers {
        let named = draft.levels_of(server);
        let fence = |name: &&Name| {
            draft
                .fences
                .iter()
                .find(|fence| fence.name.as_ref().is_some_and(|n| n.get_ref() == name.get_ref()))
        };
        let proves = |name: &&Name| fence(name).is_none_or(FenceDraft::may_prove_off);
        if named.iter().any(|level| level.iter().any(&proves)) {
            continue;
        }
        let name = label(server.name.as_ref());
        let found = match named.first().and_then(|level| level.first()) {
            None => format!("server {name} without a fencing device"),
            Some(device) => {
                let waits = fence(device).is_some_and(FenceDraft::only_waits);
                let does = if waits { "only waits for a watchdog" } else { "protects only its disks" };
                format!("server {name} with `{}`, which {does}", device.get_ref())
            }
        };
        let problem = reading
            .problem(
                Code::FenceNoTieBreak,
                &place,
                format!("a fence breaks the tie, but nothing proves that server {name} is off"),
            )
            .found(found)
            .expected("an agent or a script that switches it off, for each of the two servers")
            .remedy(format!(
                "add a [[fence]] of kind \"agent\" or \"script\", and `fence = \"…\"` to server {name}"
            ));
        reading.add(problem);
    }
}

/// Where it is said that a fence breaks the tie.
fn breaks_tie(draft: &Draft) -> Option<Span> {
    match draft.voting.as_ref().and_then(|votes| votes.tie_break.as_ref()) {
        Some(word) => (*word.get_ref() == TieBreakWord::Fence).then(|| word.span()),
        None if draft.fence_is_tie_break() => {
            draft.cluster.as_ref().and_then(|cluster| cluster.fence.as_ref()).map(Name::span)
        }
        None => None,
    }
}

/// Devices that no server has.
pub(crate) fn idle(reading: &Reading, draft: &Draft) -> Vec<Problem> {
    let used: BTreeSet<&str> = draft
        .servers
        .iter()
        .flat_map(|server| draft.levels_of(server).into_iter().flatten().map(|name| name.get_ref().as_str()))
        .collect();
    let idle = draft.fences.iter().filter_map(|fence| fence.name.as_ref());
    idle.filter(|name| !used.contains(name.get_ref().as_str()))
        .map(|name| {
            let word = name.get_ref();
            reading
                .problem(Code::IdleFence, &name.span(), format!("fencing device {word} fences nobody"))
                .found(format!("`{word}` at no server"))
                .expected("a server that it fences")
                .remedy(format!(
                    "add fence = \"{word}\" to the servers that it can switch off, or take it out"
                ))
        })
        .collect()
}

impl FenceDraft {
    fn only_waits(&self) -> bool {
        matches!(self.kind, Some(tasuki_core::config::FenceKind::Watchdog))
    }

    /// One that was not understood may be meant to.
    fn may_prove_off(&self) -> bool {
        self.kind.as_ref().is_none_or(tasuki_core::config::FenceKind::proves_off)
    }
}

impl Draft {
    /// The levels of a server: its own, or the one that `[cluster]` gives to all.
    pub(crate) fn levels_of<'a>(&'a self, server: &'a ServerDraft) -> Vec<Vec<&'a Name>> {
        if !server.fencing.is_empty() {
            return server.fencing.iter().map(|level| level.iter().collect()).collect();
        }
        let short = self.cluster.as_ref().and_then(|cluster| cluster.fence.as_ref());
        short.into_iter().map(|name| vec![name]).collect()
    }

    /// Whether the short form in `[cluster]` breaks the tie of two, because nothing else does.
    pub(crate) fn fence_is_tie_break(&self) -> bool {
        let said = self.voting.as_ref().is_some_and(|votes| votes.tie_break.is_some());
        let short = self.cluster.as_ref().is_some_and(|cluster| cluster.fence.is_some());
        let other = self.registers().next().is_some() || !self.voting_files().is_empty();
        short && !said && !other && self.votes() == 2
    }
}
