//! Names: what they may look like, and that no two are the same.

use std::collections::BTreeMap;

use super::MOST_SERVERS;
use crate::{
    draft::{Draft, Name, label},
    problem::Code,
    source::Reading,
};

const LONGEST_NAME: usize = 63;

/// Servers, networks and the cluster appear in certificates and in DNS. Groups and resources
/// appear in paths and in the scripts' environment only, so they keep the names people know
/// from older configurations (`WebManager`, `ping_to_gw`).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    HostName,
    Word,
    /// What has names such as `ora.listener.type` in older configurations.
    Dotted,
}

impl Rule {
    fn allows(self, c: char) -> bool {
        c.is_ascii_lowercase()
            || c.is_ascii_digit()
            || c == '-'
            || (self != Self::HostName && (c.is_ascii_uppercase() || c == '_'))
            || (self == Self::Dotted && c == '.')
    }

    fn expected(self) -> &'static str {
        match self {
            Self::HostName => "1 to 63 of a-z, 0-9 and `-`, with no `-` at either end",
            Self::Word => "1 to 63 of a-z, A-Z, 0-9, `-` and `_`, with no `-` at either end",
            Self::Dotted => "1 to 63 of a-z, A-Z, 0-9, `-`, `_` and `.`, with no `-` or `.` at either end",
        }
    }
}

pub(crate) fn check(reading: &Reading, draft: &Draft) {
    let cluster = draft.cluster.as_ref().and_then(|cluster| cluster.name.as_ref());
    each(reading, "cluster", Rule::HostName, cluster);
    each(reading, "network", Rule::HostName, draft.networks.iter().filter_map(|n| n.name.as_ref()));
    let witnesses = draft.witnesses.iter().filter_map(|witness| witness.name.as_ref());
    let servers = draft.servers.iter().filter_map(|s| s.name.as_ref()).chain(witnesses);
    each(reading, "server", Rule::HostName, servers);
    each(reading, "group", Rule::Word, draft.groups.iter().filter_map(|g| g.name.as_ref()));
    let members = draft.groups.iter().flat_map(|group| &group.resources);
    let members = members.filter_map(|member| Some((Rule::Word, member.name.as_ref()?)));
    let alone = draft.definitions.iter();
    let alone = alone.filter_map(|alone| Some((Rule::Dotted, alone.resource.name.as_ref()?)));
    each_with_rule(reading, "resource", members.chain(alone));
    each(reading, "type", Rule::Dotted, draft.types.iter().filter_map(|t| t.name.as_ref()));
    each(reading, "server pool", Rule::Word, draft.pools.iter().filter_map(|p| p.name.as_ref()));
    each(reading, "fencing device", Rule::Word, draft.fences.iter().filter_map(|f| f.name.as_ref()));
    each(reading, "monitor", Rule::Word, draft.monitors.iter().filter_map(|m| m.name.as_ref()));
    for group in &draft.groups {
        once(reading, &group.servers, &format!("group {} names server", group.label()));
        once(reading, &group.pools, &format!("group {} names server pool", group.label()));
        for resource in &group.resources {
            let name = label(resource.name.as_ref());
            let others = resource.depends_on.iter().flatten();
            once(reading, others, &format!("`depends_on` of {name} names resource"));
        }
    }
    for definition in &draft.definitions {
        let name = label(definition.resource.name.as_ref());
        once(reading, &definition.hosting_members, &format!("`hosting_members` of {name} names server"));
        once(reading, &definition.server_pools, &format!("`server_pools` of {name} names server pool"));
    }
    for pool in &draft.pools {
        once(reading, &pool.servers, &format!("pool {} names server", label(pool.name.as_ref())));
    }
    for monitor in &draft.monitors {
        once(reading, &monitor.servers, &format!("monitor {} names server", label(monitor.name.as_ref())));
    }
    let networks = draft.heartbeats.iter().filter_map(|heartbeat| heartbeat.network.as_ref());
    once(reading, networks, "a heartbeat is configured on network");
    numbers(reading, draft);
    if let Some(server) = draft.servers.get(MOST_SERVERS) {
        let count = draft.servers.len();
        let problem = reading
            .problem(
                Code::TooManyServers,
                &server.span,
                format!("{count} servers are too many for one cluster"),
            )
            .found(format!("{count} servers; this is number {}", MOST_SERVERS + 1))
            .expected(format!("{MOST_SERVERS} servers at most"))
            .remedy("make two clusters");
        reading.add(problem);
    }
}

/// Blocks of voting files and instances of resources go by the servers' numbers.
fn numbers(reading: &Reading, draft: &Draft) {
    let mut seen: BTreeMap<u32, &str> = BTreeMap::new();
    let numbers = draft.numbers();
    let highest = numbers.iter().max().copied().unwrap_or_default();
    for (number, server) in numbers.into_iter().zip(&draft.servers) {
        let name = label(server.name.as_ref());
        let Some(first) = seen.insert(number, name) else { continue };
        let span = server.number.as_ref().map_or_else(|| server.span.clone(), |number| number.span());
        let problem = reading
            .problem(Code::DuplicateName, &span, format!("server {name} has the number of server {first}"))
            .found(format!("`{number}`"))
            .expected("a number of its own")
            .remedy(format!(
                "write `number = {}`, and leave the other servers' numbers as they are",
                highest + 1
            ));
        reading.add(problem);
    }
}

fn each<'a>(reading: &Reading, kind: &str, rule: Rule, names: impl IntoIterator<Item = &'a Name>) {
    each_with_rule(reading, kind, names.into_iter().map(|name| (rule, name)));
}

fn each_with_rule<'a>(reading: &Reading, kind: &str, names: impl IntoIterator<Item = (Rule, &'a Name)>) {
    let mut seen: BTreeMap<String, &Name> = BTreeMap::new();
    for (rule, name) in names {
        let word = name.get_ref();
        let lower = word.to_lowercase();
        if let Some(first) = seen.get(&lower) {
            let same = first.get_ref() == word;
            let how = if same { "" } else { ", but for capital letters," };
            let problem = reading
                .problem(
                    Code::DuplicateName,
                    &name.span(),
                    format!("the name `{word}` is taken{how} by another {kind}"),
                )
                .found(format!(
                    "`{word}`, and `{}`{}",
                    first.get_ref(),
                    reading.source.in_line(&first.span())
                ))
                .expected("a name of its own")
                .remedy("rename one of the two");
            reading.add(problem);
            continue;
        }
        seen.insert(lower, name);
        let ends = word.starts_with(['-', '.']) || word.ends_with(['-', '.']);
        if word.is_empty() || word.len() > LONGEST_NAME || ends || !word.chars().all(|c| rule.allows(c)) {
            let problem = reading
                .problem(Code::BadName, &name.span(), format!("this name cannot be used for a {kind}"))
                .found(found(word, rule))
                .expected(rule.expected())
                .remedy(suggestion(word, rule));
            reading.add(problem);
        }
    }
}

fn found(word: &str, rule: Rule) -> String {
    match word.chars().find(|c| !rule.allows(*c)) {
        _ if word.is_empty() => "nothing".to_owned(),
        Some(c) => format!("`{word}`, with {c:?} in it"),
        None if word.len() > LONGEST_NAME => format!("{} characters", word.len()),
        None => format!("`{word}`"),
    }
}

/// The nearest name that could be used.
fn suggestion(word: &str, rule: Rule) -> String {
    let host = word.split('.').next().unwrap_or_default();
    let word = if rule == Rule::HostName { host.to_lowercase() } else { word.to_owned() };
    let plain: String =
        word.chars().map(|c| if rule.allows(c) { c } else { '-' }).take(LONGEST_NAME).collect();
    let plain = plain.trim_matches(['-', '.']);
    if plain.is_empty() { "give it a name".to_owned() } else { format!("use \"{plain}\"") }
}

/// A list in which no name stands twice.
fn once<'a>(reading: &Reading, names: impl IntoIterator<Item = &'a Name>, what: &str) {
    let mut seen: Vec<&Name> = Vec::new();
    for name in names {
        let word = name.get_ref();
        let Some(first) = seen.iter().find(|first| first.get_ref() == word) else {
            seen.push(name);
            continue;
        };
        let problem = reading
            .problem(Code::DuplicateName, &name.span(), format!("{what} `{word}` twice"))
            .found(format!("`{word}`, first{}", reading.source.in_line(&first.span())))
            .expected("each name once")
            .remedy("take one of the two out");
        reading.add(problem);
    }
}
