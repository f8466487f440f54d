//! `[[witness]]`: a member that runs no groups, and the short form `witness` of `[cluster]`.
//!
//! | key | meaning | default |
//! |---|---|---|
//! | `name` | its name among the servers | needed |
//! | `comment` | for people | empty |
//! | `address`, `addresses` | where it answers; need not be on a network of the cluster | needed |
//! | `port` | TCP port of its service, and UDP port of its heartbeats | 29004 |
//! | `kind` | `voter`: votes in Raft; `register`: keeps the tie-break record of two servers | by the number of servers |
//! | `domain` | what it may be lost together with | its own |

use std::net::{IpAddr, SocketAddr};

use toml::Spanned;

use super::server::bad_address;
use crate::{
    draft::{WitnessDraft, WitnessKind},
    net::parse_address,
    problem::Code,
    reader::Section,
};

/// Where a witness answers when its port is not given.
pub(crate) const DEFAULT_WITNESS_PORT: u16 = 29004;
/// How the witness of the short form is called.
pub(crate) const SHORT_NAME: &str = "witness";
/// The words of `kind`.
pub(crate) const WITNESS_KINDS: [(&str, WitnessKind); 2] =
    [("voter", WitnessKind::Voter), ("register", WitnessKind::Register)];

pub(crate) fn read(section: Section<'_>) -> WitnessDraft {
    section.need("name", "name = \"…\"");
    let port = section.integer("port", 1..=u32::from(u16::MAX));
    let (addresses, complete) = addresses(&section);
    let draft = WitnessDraft {
        name: section.string("name"),
        span: section.span.clone(),
        comment: section.comment(),
        addresses,
        complete,
        port: port.and_then(|port| u16::try_from(port.into_inner()).ok()).unwrap_or(DEFAULT_WITNESS_PORT),
        kind: section.choice("kind", &WITNESS_KINDS),
        domain: section.string("domain").map(Spanned::into_inner),
    };
    section.finish();
    draft
}

/// `address = "…"` or `addresses = ["…", …]`; and whether all of them could be read.
fn addresses(section: &Section<'_>) -> (Vec<Spanned<IpAddr>>, bool) {
    let key = if section.writes("addresses") { "addresses" } else { "address" };
    let other = section.get(if key == "address" { "addresses" } else { "address" });
    let Some(texts) = section.words(key, "an address in quotes, or a list of them") else {
        if !section.writes(key) {
            no_address(section, &section.span, "no `address`");
        }
        return (Vec::new(), false);
    };
    if let Some(other) = other {
        let problem = section
            .reading
            .problem(
                Code::BadWitness,
                &other.span(),
                format!("{} has `address` and `addresses`", section.what),
            )
            .found("both keys")
            .expected("one of them")
            .remedy("put every address into `addresses`, and take `address` out");
        section.reading.add(problem);
    }
    if texts.is_empty() {
        no_address(section, &section.key_span(key), "an empty list");
    }
    let mut found = Vec::new();
    for text in &texts {
        match parse_address(text.get_ref()) {
            Ok(address) => found.push(Spanned::new(text.span(), address)),
            Err(remedy) => bad_address(section, text, &format!("an address of {}", section.what), remedy),
        }
    }
    let complete = found.len() == texts.len() && !texts.is_empty();
    (found, complete)
}

fn no_address(section: &Section<'_>, span: &crate::source::Span, found: &str) {
    let problem = section
        .reading
        .problem(Code::Missing, span, format!("{} has no address", section.what))
        .found(found)
        .expected("the address at which every server reaches it")
        .remedy("add address = \"10.1.0.10\", or addresses = [\"…\", \"…\"] when it has several");
    section.reading.add(problem);
}

/// `witness = "ADDRESS:PORT"` of `[cluster]`.
pub(crate) fn short(section: &Section<'_>) -> Option<WitnessDraft> {
    let value = section.get("witness")?;
    let span = section.key_span("witness");
    let text = section.as_string(
        value,
        &section.label("witness"),
        "its address with its port, such as \"10.1.0.10:29004\"",
    )?;
    let place = text.get_ref();
    let (address, port) = match place.parse::<SocketAddr>() {
        Ok(place) if place.port() > 0 => (Some(Spanned::new(text.span(), place.ip())), place.port()),
        _ => {
            // Without a port: whatever is wrong is wrong with the address.
            let bare = place.rsplit_once(':').filter(|(host, _)| !host.contains(':')).map(|(host, _)| host);
            let remedy = match (bare, parse_address(place)) {
                (_, Ok(address)) => return Some(draft(Some(Spanned::new(text.span(), address)), span)),
                (Some(host), Err(_)) if parse_address(host).is_ok() => {
                    "give it a port from 1 to 65535, such as \":29004\", behind the address".to_owned()
                }
                (Some(host), Err(other)) => parse_address(host).err().unwrap_or(other),
                (None, Err(remedy)) => remedy,
            };
            bad_address(section, &text, &section.label("witness"), remedy);
            (None, DEFAULT_WITNESS_PORT)
        }
    };
    Some(WitnessDraft { port, ..draft(address, span) })
}

fn draft(address: Option<Spanned<IpAddr>>, span: crate::source::Span) -> WitnessDraft {
    WitnessDraft {
        name: Some(Spanned::new(span.clone(), SHORT_NAME.to_owned())),
        span,
        comment: String::new(),
        complete: address.is_some(),
        addresses: address.into_iter().collect(),
        port: DEFAULT_WITNESS_PORT,
        kind: None,
        domain: None,
    }
}
