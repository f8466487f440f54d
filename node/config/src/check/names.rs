//! Names: what they may look like, and that no two are the same.

use std::collections::BTreeMap;

use super::MOST_SERVERS;
use crate::{
    draft::{Draft, Name},
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
}

impl Rule {
    fn allows(self, c: char) -> bool {
        c.is_ascii_lowercase()
            || c.is_ascii_digit()
            || c == '-'
            || (self == Self::Word && (c.is_ascii_uppercase() || c == '_'))
    }

    fn expected(self) -> &'static str {
        match self {
            Self::HostName => "1 to 63 of a-z, 0-9 and `-`, with no `-` at either end",
            Self::Word => "1 to 63 of a-z, A-Z, 0-9, `-` and `_`, with no `-` at either end",
        }
    }
}

pub(crate) fn check(reading: &Reading, draft: &Draft) {
    let cluster = draft.cluster.as_ref().and_then(|cluster| cluster.name.as_ref());
    each(reading, "cluster", Rule::HostName, cluster);
    each(reading, "network", Rule::HostName, draft.networks.iter().filter_map(|n| n.name.as_ref()));
    each(reading, "server", Rule::HostName, draft.servers.iter().filter_map(|s| s.name.as_ref()));
    each(reading, "group", Rule::Word, draft.groups.iter().filter_map(|g| g.name.as_ref()));
    for group in &draft.groups {
        let kind = format!("resource of group {}", group.label());
        each(reading, &kind, Rule::Word, group.resources.iter().filter_map(|r| r.name.as_ref()));
        let mut seen = Vec::new();
        for server in &group.servers {
            repeated(reading, &mut seen, server, &format!("group {} names server", group.label()));
        }
        for resource in &group.resources {
            let mut seen = Vec::new();
            let name = resource.name.as_ref().map_or("", |name| name.get_ref());
            for other in resource.depends_on.iter().flatten() {
                repeated(reading, &mut seen, other, &format!("`depends_on` of {name} names resource"));
            }
        }
    }
    let mut seen = Vec::new();
    for network in draft.heartbeats.iter().filter_map(|heartbeat| heartbeat.network.as_ref()) {
        repeated(reading, &mut seen, network, "a heartbeat is configured on network");
    }
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

fn each<'a>(reading: &Reading, kind: &str, rule: Rule, names: impl IntoIterator<Item = &'a Name>) {
    let mut seen: BTreeMap<String, &Name> = BTreeMap::new();
    for name in names {
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
        let ends = word.starts_with('-') || word.ends_with('-');
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
    let plain = plain.trim_matches('-');
    if plain.is_empty() { "give it a name".to_owned() } else { format!("use \"{plain}\"") }
}

fn repeated<'a>(reading: &Reading, seen: &mut Vec<&'a Name>, name: &'a Name, what: &str) {
    if let Some(first) = seen.iter().find(|first| first.get_ref() == name.get_ref()) {
        let word = name.get_ref();
        let problem = reading
            .problem(Code::DuplicateName, &name.span(), format!("{what} `{word}` twice"))
            .found(format!("`{word}`, first{}", reading.source.in_line(&first.span())))
            .expected("each name once")
            .remedy("take one of the two out");
        reading.add(problem);
        return;
    }
    seen.push(name);
}
