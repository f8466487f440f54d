//! Names that must name something: networks, servers, server pools, resources.

use tasuki_core::config::pool::{FREE, GENERIC};

use crate::{
    draft::{DefinitionDraft, Draft, GroupDraft, KindDraft, Name, label},
    problem::Code,
    source::Reading,
    spell::{did_you_mean, nearest, one_of},
};

pub(crate) fn check(reading: &Reading, draft: &Draft) {
    let networks = Known::new("network", draft.networks.iter().map(|network| network.name.as_ref()));
    // A witness is not unknown: that it is no server is said elsewhere.
    let servers = Known::new("server", draft.servers.iter().map(|server| server.name.as_ref()))
        .but(draft.witnesses.iter().filter_map(|witness| witness.name.as_ref()));
    let pools = draft.pools.iter().map(|pool| pool.name.as_ref());
    let pools = Known::new("server pool", pools).with(FREE).with(GENERIC);
    for server in &draft.servers {
        for (network, _) in &server.addresses {
            networks.look_up(
                reading,
                network,
                &format!("server {} has an address on", label(server.name.as_ref())),
            );
        }
    }
    for heartbeat in &draft.heartbeats {
        let Some(network) = &heartbeat.network else { continue };
        networks.look_up(reading, network, "this heartbeat names");
        if networks.has(network) {
            heartbeat_addresses(reading, draft, &networks, network);
        }
    }
    for group in &draft.groups {
        let user = format!("group {} names", group.label());
        for server in &group.servers {
            servers.look_up(reading, server, &user);
        }
        for pool in &group.pools {
            pools.look_up(reading, pool, &user);
        }
        in_group(reading, &servers, group);
    }
    for pool in &draft.pools {
        for server in &pool.servers {
            servers.look_up(reading, server, &format!("pool {} names", label(pool.name.as_ref())));
        }
    }
    for definition in &draft.definitions {
        alone(reading, &servers, &pools, definition);
    }
    for monitor in &draft.monitors {
        for server in &monitor.servers {
            servers.look_up(reading, server, &format!("monitor {} names", label(monitor.name.as_ref())));
        }
    }
}

fn alone(reading: &Reading, servers: &Known<'_>, pools: &Known<'_>, definition: &DefinitionDraft) {
    let name = label(definition.resource.name.as_ref());
    for server in &definition.hosting_members {
        servers.look_up(reading, server, &format!("`hosting_members` of {name} names"));
    }
    for pool in &definition.server_pools {
        pools.look_up(reading, pool, &format!("`server_pools` of {name} names"));
    }
    let Some(KindDraft::FloatingIp(floating)) = &definition.resource.kind else { return };
    for (server, _) in &floating.per_server {
        servers.look_up(reading, server, &format!("`per_server` of {name} names"));
    }
}

fn in_group(reading: &Reading, servers: &Known<'_>, group: &GroupDraft) {
    let names = group.resources.iter().map(|resource| resource.name.as_ref());
    let resources = Known::new("resource of its group", names);
    let own: Vec<&str> = group.servers.iter().map(|server| server.get_ref().as_str()).collect();
    for resource in &group.resources {
        let name = label(resource.name.as_ref());
        for other in resource.depends_on.iter().flatten() {
            resources.look_up(reading, other, &format!("`depends_on` of {name} names"));
        }
        let Some(KindDraft::FloatingIp(floating)) = &resource.kind else { continue };
        for (server, _) in &floating.per_server {
            let word = server.get_ref().as_str();
            servers.look_up(reading, server, &format!("`per_server` of {name} names"));
            if !servers.has(server) || own.contains(&word) || own.is_empty() {
                continue;
            }
            let message = format!("`per_server` of {name} names `{word}`, where its group never runs");
            let problem = reading
                .problem(Code::UnknownName, &server.span(), message)
                .found(format!("`{word}`"))
                .expected(one_of(own.iter().copied()))
                .remedy(format!(
                    "add `{word}` to the servers of group {}, or take it out here",
                    group.label()
                ));
            reading.add(problem);
        }
    }
}

/// The names that may be used for one kind of thing.
pub(super) struct Known<'a> {
    kind: &'static str,
    names: Vec<&'a str>,
    /// Some have no readable name, or there are none at all: that is the mistake, it has been
    /// reported, and an unknown name may well be the one that is missing.
    complete: bool,
    /// Names of something else, with which somebody else finds fault.
    others: Vec<&'a str>,
}

impl<'a> Known<'a> {
    pub(super) fn new(kind: &'static str, names: impl Iterator<Item = Option<&'a Name>>) -> Self {
        let all: Vec<Option<&Name>> = names.collect();
        let names: Vec<&str> = all.iter().flatten().map(|name| name.get_ref().as_str()).collect();
        let complete = !names.is_empty() && names.len() == all.len();
        Self { kind, names, complete, others: Vec::new() }
    }

    /// But for these, which are not looked for.
    pub(super) fn but(mut self, others: impl Iterator<Item = &'a Name>) -> Self {
        self.others = others.map(|name| name.get_ref().as_str()).collect();
        self
    }

    /// With one more, which is there without being defined.
    pub(super) fn with(mut self, name: &'a str) -> Self {
        self.complete |= self.names.is_empty();
        self.names.push(name);
        self
    }

    pub(super) fn has(&self, name: &Name) -> bool {
        self.names.contains(&name.get_ref().as_str())
    }

    pub(super) fn look_up(&self, reading: &Reading, name: &Name, user: &str) {
        if self.has(name) || !self.complete || self.others.contains(&name.get_ref().as_str()) {
            return;
        }
        let (word, kind) = (name.get_ref().as_str(), self.kind);
        let names = || self.names.iter().copied();
        let problem = reading
            .problem(
                Code::UnknownName,
                &name.span(),
                format!("{user} `{word}`, but no {kind} is called that"),
            )
            .found(format!("`{word}`"))
            .expected(one_of(names()))
            .remedy(did_you_mean(nearest(word, names()), format!("define it, or use {}", one_of(names()))));
        reading.add(problem);
    }
}

/// A server that cannot be heard on a path would look lost on it for ever.
fn heartbeat_addresses(reading: &Reading, draft: &Draft, networks: &Known<'_>, network: &Name) {
    let word = network.get_ref();
    for server in &draft.servers {
        let Some(name) = &server.name else { continue };
        // No address at all, or one on a misspelt network: that has been reported.
        let misspelt = server.addresses.iter().any(|(on, _)| !networks.has(on));
        let heard = server.addresses.iter().any(|(on, _)| on.get_ref() == word);
        if heard || misspelt || server.addresses.is_empty() {
            continue;
        }
        let on: Vec<&str> = server.addresses.iter().map(|(on, _)| on.get_ref().as_str()).collect();
        let message =
            format!("server {} has no address on network {word}, which carries heartbeats", name.get_ref());
        let problem = reading
            .problem(Code::NoHeartbeatAddress, &name.span(), message)
            .found(format!("addresses on {}", one_of(on)))
            .expected(format!("an address on `{word}` too"))
            .remedy(format!("add {word} = \"ADDRESS\" to its addresses, or take the heartbeat out"));
        reading.add(problem);
    }
}
