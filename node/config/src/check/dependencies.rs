//! Resources that would wait for each other for ever.

use std::collections::BTreeMap;

use crate::{
    draft::{GroupDraft, KindDraft, Name, ResourceDraft},
    problem::Code,
    source::Reading,
};

struct Node<'a> {
    name: &'a Name,
    /// What must be online before it, and where that is written; nowhere when it is the default.
    before: Vec<(&'a str, Option<&'a Name>)>,
}

/// Reports each cycle once, at the dependency that closes it.
pub(crate) fn check(reading: &Reading, group: &GroupDraft) {
    let nodes = nodes(group);
    let mut done: Vec<&str> = Vec::new();
    for start in group.resources.iter().filter_map(|resource| resource.name.as_ref()) {
        let mut path = Vec::new();
        visit(reading, &nodes, start.get_ref(), &mut path, &mut done);
    }
}

fn nodes(group: &GroupDraft) -> BTreeMap<&str, Node<'_>> {
    // The default order: floating addresses before mirrored disks before programs.
    let rank = |resource: &ResourceDraft| match resource.kind {
        Some(KindDraft::FloatingIp(_)) => Some(0),
        Some(KindDraft::MirrorDisk(_)) => Some(1),
        Some(KindDraft::Exec(_)) => Some(2),
        None => None,
    };
    let mut nodes = BTreeMap::new();
    for resource in &group.resources {
        let Some(name) = &resource.name else { continue };
        let edges = if resource.depends_on.is_none() {
            let own = rank(resource);
            let earlier = group.resources.iter().filter(|other| rank(other).is_some() && rank(other) < own);
            let earlier = earlier.filter_map(|other| other.name.as_ref());
            earlier.map(|other| (other.get_ref().as_str(), None)).collect()
        } else {
            let list = resource.depends_on.iter().flatten();
            list.map(|other| (other.get_ref().as_str(), Some(other))).collect()
        };
        nodes.entry(name.get_ref().as_str()).or_insert(Node { name, before: edges });
    }
    nodes
}

fn visit<'a>(
    reading: &Reading,
    nodes: &BTreeMap<&'a str, Node<'a>>,
    at: &'a str,
    path: &mut Vec<&'a str>,
    done: &mut Vec<&'a str>,
) {
    let Some(node) = nodes.get(at) else { return };
    if done.contains(&at) {
        return;
    }
    path.push(at);
    for (next, written) in &node.before {
        match path.iter().position(|on| on == next) {
            Some(begin) => report(reading, nodes, &path[begin..], written.unwrap_or(node.name)),
            None => visit(reading, nodes, next, path, done),
        }
    }
    path.pop();
    done.push(at);
}

fn report(reading: &Reading, nodes: &BTreeMap<&str, Node<'_>>, cycle: &[&str], place: &Name) {
    let mut shown: Vec<String> = cycle.iter().map(|name| format!("`{name}`")).collect();
    shown.extend(shown.first().cloned());
    let by_default = cycle.iter().find(|name| {
        nodes.get(*name).is_some_and(|node| node.before.iter().any(|(_, written)| written.is_none()))
    });
    let remedy = match by_default {
        Some(name) => format!(
            "`{name}` waits for the floating addresses by default: give it a `depends_on` of its own, or take \
             one of the others out"
        ),
        None => "take one of these dependencies out".to_owned(),
    };
    let problem = reading
        .problem(Code::DependencyCycle, &place.span(), "these resources wait for each other")
        .found(shown.join(" after "))
        .expected("an order in which they can start")
        .remedy(remedy);
    reading.add(problem);
}
