//! Every intention can be said over gRPC and on the command line, and nothing else can.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use clap::CommandFactory as _;
use prost::Message;
use tasuki::{app::intentions::INTENTIONS, cli::args::CommandLine};

/// What is said about processes of this machine rather than about a cluster.
const OTHER_WORDS: &[&str] = &["lab", "witness", "guard", "node", "__names", "__demo-http"];
/// Between servers, or between a server and a witness.
const OTHER_SERVICES: &[&str] = &["TieBreak", "Peer", "Mirror"];

#[test]
fn every_rpc_is_an_intention() {
    let listed: BTreeSet<String> = INTENTIONS.iter().filter_map(|i| i.rpc).map(str::to_owned).collect();
    assert_eq!(listed, rpcs());
}

#[test]
fn every_verb_is_an_intention() {
    let listed: BTreeSet<String> = INTENTIONS.iter().filter_map(|i| i.verb).map(str::to_owned).collect();
    assert_eq!(listed, verbs());
}

#[test]
fn what_a_face_lacks_has_a_reason() {
    for intention in INTENTIONS {
        assert_eq!(
            intention.rpc.is_none() || intention.verb.is_none(),
            !intention.why.is_empty(),
            "{intention:?}"
        );
    }
}

/// Service and method of every call, from the descriptors that reflection serves.
fn rpcs() -> BTreeSet<String> {
    let set = prost_types::FileDescriptorSet::decode(tasuki_proto::FILE_DESCRIPTOR_SET).unwrap();
    set.file
        .iter()
        .filter(|file| file.package() == "tasuki.v1")
        .flat_map(|file| &file.service)
        .filter(|service| !OTHER_SERVICES.contains(&service.name()))
        .flat_map(|service| {
            service.method.iter().map(move |method| format!("{}/{}", service.name(), method.name()))
        })
        .collect()
}

fn verbs() -> BTreeSet<String> {
    let mut verbs = BTreeSet::new();
    for noun in CommandLine::command().get_subcommands() {
        if OTHER_WORDS.contains(&noun.get_name()) {
            continue;
        }
        if noun.has_subcommands() {
            verbs.extend(
                noun.get_subcommands().map(|verb| format!("{} {}", noun.get_name(), verb.get_name())),
            );
        } else {
            verbs.insert(noun.get_name().to_owned());
        }
    }
    verbs
}
