//! Addresses: inside their network, and no two the same.

use std::{collections::BTreeMap, net::IpAddr};

use tasuki_core::config::NetworkUse;
use toml::Spanned;

use crate::{
    draft::{Draft, FloatingIpDraft, KindDraft, NetworkDraft, label},
    net::Subnet,
    problem::Code,
    source::{Reading, Span},
};

/// Who has an address.
#[derive(Clone)]
struct User {
    /// As an error names it: `server kiki`, `floating address web-ip`.
    label: String,
    span: Span,
    /// Floating addresses of one resource may repeat: only one of them is up at any time.
    resource: Option<usize>,
}

pub(crate) fn check(reading: &Reading, draft: &Draft) {
    let mut users: BTreeMap<IpAddr, User> = BTreeMap::new();
    for server in &draft.servers {
        let name = label(server.name.as_ref());
        for (network, address) in &server.addresses {
            let Some(address) = address else { continue };
            let label = format!("server {name} (network {})", network.get_ref());
            claim(reading, &mut users, address, label, None);
            let known = draft.networks.iter().find(|n| named(n, network.get_ref()));
            if let Some(subnet) = known.and_then(|network| network.subnet) {
                inside(reading, address, subnet, network.get_ref());
            }
        }
    }
    for (number, (_, resource)) in draft.resources().enumerate() {
        let Some(KindDraft::FloatingIp(floating)) = &resource.kind else { continue };
        let name = label(resource.name.as_ref());
        for address in floating_addresses(floating) {
            claim(reading, &mut users, address, format!("floating address {name}"), Some(number));
            if same_family(reading, floating, address) {
                in_public_network(reading, draft, address);
            }
        }
    }
}

fn floating_addresses(floating: &FloatingIpDraft) -> impl Iterator<Item = &Spanned<IpAddr>> {
    let single = floating.per_server.iter().filter_map(|(_, address)| address.as_ref());
    floating.address.iter().chain(single)
}

fn named(network: &NetworkDraft, name: &str) -> bool {
    network.name.as_ref().is_some_and(|own| own.get_ref() == name)
}

fn claim(
    reading: &Reading,
    users: &mut BTreeMap<IpAddr, User>,
    address: &Spanned<IpAddr>,
    label: String,
    resource: Option<usize>,
) {
    let ip = *address.get_ref();
    let Some(first) = users.get(&ip) else {
        users.insert(ip, User { label, span: address.span(), resource });
        return;
    };
    if resource.is_some() && first.resource == resource {
        return;
    }
    let (message, remedy) = match (first.resource, resource) {
        (None, Some(_)) => (
            format!("{label} is an address that {} has for itself", first.label),
            "choose a free address of the network: a floating address belongs to no server",
        ),
        _ => (
            format!("{label} has the same address as {}", first.label),
            "give one of the two another address",
        ),
    };
    let problem = reading
        .problem(Code::DuplicateAddress, &address.span(), message)
        .found(format!("`{ip}`, first used{}", reading.source.in_line(&first.span)))
        .expected("an address that nothing else has")
        .remedy(remedy);
    reading.add(problem);
}

fn inside(reading: &Reading, address: &Spanned<IpAddr>, subnet: Subnet, network: &str) {
    let ip = *address.get_ref();
    let message = if !subnet.contains(ip) {
        format!("this address is outside network {network}")
    } else if subnet.is_reserved(ip) {
        format!("this address means network {network} as a whole; no machine can have it")
    } else {
        return;
    };
    let problem = reading
        .problem(Code::OutsideNetwork, &address.span(), message)
        .found(format!("`{ip}`"))
        .expected(format!("an address of a machine in {subnet}"))
        .remedy("correct the address, or the subnet of the network");
    reading.add(problem);
}

/// Clients reach a floating address over a public network, and its prefix comes from there.
fn in_public_network(reading: &Reading, draft: &Draft, address: &Spanned<IpAddr>) {
    let ip = *address.get_ref();
    // A network that could not be read might be the one.
    if draft.networks.is_empty() || draft.networks.iter().any(|network| network.subnet.is_none()) {
        return;
    }
    let public: Vec<(&str, Subnet)> = draft
        .networks
        .iter()
        .filter(|network| network.uses.contains(&NetworkUse::Public))
        .filter_map(|network| Some((network.name.as_ref()?.get_ref().as_str(), network.subnet?)))
        .collect();
    if let Some((name, subnet)) = public.iter().find(|(_, subnet)| subnet.contains(ip)) {
        inside(reading, address, *subnet, name);
        return;
    }
    let expected = if public.is_empty() {
        "a network with use = \"public\" that contains it; there is none".to_owned()
    } else {
        let list: Vec<String> = public.iter().map(|(name, subnet)| format!("{name} ({subnet})")).collect();
        format!("an address in {}", list.join(" or "))
    };
    let problem = reading
        .problem(
            Code::OutsideNetwork,
            &address.span(),
            "this floating address is outside every public network",
        )
        .found(format!("`{ip}`"))
        .expected(expected)
        .remedy("choose an address of a public network, or give its network use = \"public\"");
    reading.add(problem);
}

/// One resource has one prefix, so all its addresses are of one family.
fn same_family(reading: &Reading, floating: &FloatingIpDraft, address: &Spanned<IpAddr>) -> bool {
    let Some(main) = &floating.address else { return true };
    if main.get_ref().is_ipv4() == address.get_ref().is_ipv4() {
        return true;
    }
    let problem = reading
        .problem(Code::BadAddress, &address.span(), "IPv4 and IPv6 are mixed in one floating address")
        .found(format!("`{}` beside `{}`", address.get_ref(), main.get_ref()))
        .expected("addresses of one family")
        .remedy("make two resources, one for each family");
    reading.add(problem);
    false
}
