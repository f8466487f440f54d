//! Names that must name something: networks, servers, resources.

use crate::{
    draft::{Draft, KindDraft, Name},
    problem::Code,
    source::Reading,
    spell::{did_you_mean, nearest, one_of},
};

pub(crate) fn check(reading: &Reading, draft: &Draft) {
    let networks: Vec<&str> = names(draft.networks.iter().map(|network| network.name.as_ref()));
    let servers: Vec<&str> = names(draft.servers.iter().map(|server| server.name.as_ref()));
    for server in &draft.servers {
        let label = server.name.as_ref().map_or("", |name| name.get_ref());
        for (network, _) in &server.addresses {
            known(reading, network, "network", &networks, &format!("the addresses of server {label}"));
        }
    }
    for heartbeat in &draft.heartbeats {
        let Some(network) = &heartbeat.network else { continue };
        known(reading, network, "network", &networks, "this heartbeat");
        if networks.contains(&network.get_ref().as_str()) {
            heartbeat_addresses(reading, draft, network);
        }
    }
    for group in &draft.groups {
        for server in &group.servers {
            known(reading, server, "server", &servers, &format!("group {}", group.label()));
        }
        let own: Vec<&str> = group.servers.iter().map(|server| server.get_ref().as_str()).collect();
        let resources: Vec<&str> = names(group.resources.iter().map(|resource| resource.name.as_ref()));
        for resource in &group.resources {
            let label = resource.name.as_ref().map_or("", |name| name.get_ref());
            for other in resource.depends_on.iter().flatten() {
                let user = format!("`depends_on` of {label}");
                known(reading, other, &format!("resource of group {}", group.label()), &resources, &user);
            }
            let Some(KindDraft::FloatingIp(floating)) = &resource.kind else { continue };
            for (server, _) in &floating.per_server {
                let user = format!("`per_server` of {label}");
                known(reading, server, &format!("server of group {}", group.label()), &own, &user);
            }
        }
    }
}

fn names<'a>(names: impl Iterator<Item = Option<&'a Name>>) -> Vec<&'a str> {
    names.flatten().map(|name| name.get_ref().as_str()).collect()
}

fn known(reading: &Reading, name: &Name, kind: &str, known: &[&str], user: &str) {
    let word = name.get_ref().as_str();
    // With nothing defined at all, that is the mistake, and it has been reported.
    if known.contains(&word) || known.is_empty() {
        return;
    }
    let near = nearest(word, known.iter().copied());
    let problem = reading
        .problem(
            Code::UnknownName,
            &name.span(),
            format!("{user} names `{word}`, but no {kind} is called that"),
        )
        .found(format!("`{word}`"))
        .expected(one_of(known.iter().copied()))
        .remedy(did_you_mean(near, format!("define it, or use {}", one_of(known.iter().copied()))));
    reading.add(problem);
}

/// A server that cannot be heard on a path would look lost on it for ever.
fn heartbeat_addresses(reading: &Reading, draft: &Draft, network: &Name) {
    let word = network.get_ref();
    for server in &draft.servers {
        let Some(name) = &server.name else { continue };
        // No address at all is a missing key, which has been reported.
        if server.addresses.is_empty() || server.addresses.iter().any(|(on, _)| on.get_ref() == word) {
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
