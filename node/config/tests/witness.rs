//! What a witness is by default, and that it is written back as it was read.
#![allow(clippy::unwrap_used)]

use tasuki_config::{Code, parse, to_toml};
use tasuki_core::config::{ClusterConfig, Role, TieBreak};

const TWO: &str = include_str!("warn/two_servers_without_tie_break.toml");
const SHORT: &str = include_str!("warn/witness_of_two_servers.toml");

fn read(text: &str) -> ClusterConfig {
    parse(text, "here.toml").unwrap().config
}

/// Two servers with these sections added.
fn with(sections: &str) -> ClusterConfig {
    read(&format!("{TWO}\n{sections}"))
}

#[test]
fn the_witness_of_two_servers_keeps_their_record_and_is_their_tie_break() {
    let config = read(SHORT);
    let witness = &config.servers[&"witness".into()];
    assert_eq!(witness.role, Role::Register { port: 29004 });
    assert_eq!(witness.number, 3);
    assert_eq!(witness.addresses[&"public".into()].to_string(), "10.1.0.10");
    assert_eq!(config.settings.votes.tie_break, TieBreak::Witness { witness: "witness".into() });
    assert_eq!(config.runners().len(), 2);
}

#[test]
fn the_sample_with_a_witness_is_without_doubt() {
    let sample = include_str!("../../../deploy/samples/two-servers-and-witness.toml");
    let loaded = parse(sample, "two-servers-and-witness.toml").unwrap();
    assert_eq!(loaded.warnings, []);
    let ruru = TieBreak::Witness { witness: "ruru".into() };
    assert_eq!(loaded.config.settings.votes.tie_break, ruru);
}

#[test]
fn beside_three_servers_a_witness_votes() {
    let momo = "[[server]]\nname = \"momo\"\naddresses = { public = \"10.1.0.87\", interconnect = \"192.168.0.3\" }\n";
    let config =
        with(&format!("{momo}[[witness]]\nname = \"mimi\"\naddress = \"10.1.0.10\"\nport = 31000\n"));
    assert_eq!(config.servers[&"mimi".into()].role, Role::Voter { port: 31000 });
    assert_eq!(config.servers[&"mimi".into()].number, 4, "after those of the servers, wherever it stands");
    assert_eq!(config.settings.votes.tie_break, TieBreak::None);
}

#[test]
fn a_witness_may_be_outside_every_network_and_have_several_addresses() {
    let config =
        with("[[witness]]\nname = \"mimi\"\naddresses = [\"172.16.0.9\", \"10.1.0.10\", \"172.16.1.9\"]\n");
    let witness = &config.servers[&"mimi".into()];
    let on: Vec<(&str, String)> =
        witness.addresses.iter().map(|(network, ip)| (network.as_str(), ip.to_string())).collect();
    let expected = [("@outside", "172.16.0.9"), ("@outside-2", "172.16.1.9"), ("public", "10.1.0.10")];
    assert_eq!(on, expected.map(|(network, ip)| (network, ip.to_owned())));
}

#[test]
fn every_witness_reads_back_as_it_was_written() {
    let sections = [
        "",
        "[[witness]]\nname = \"mimi\"\naddress = \"10.1.0.10\"\ncomment = \"in the \\\"other\\\" house\"\n",
        "[[witness]]\nname = \"mimi\"\naddresses = [\"172.16.0.9\", \"10.1.0.10\"]\nport = 1\nkind = \"voter\"\ndomain = \"c\"\n",
        "[[witness]]\nname = \"mimi\"\naddress = \"fd00::10\"\nkind = \"voter\"\n\
         [[witness]]\nname = \"mumu\"\naddress = \"10.1.0.11\"\nkind = \"voter\"\n\
         [[witness]]\nname = \"momo\"\naddress = \"10.1.0.12\"\n",
    ];
    let configs = sections.iter().map(|sections| with(sections)).chain([read(SHORT)]);
    for config in configs {
        let written = to_toml(&config);
        assert_eq!(read(&written), config, "{written}");
    }
}

#[test]
fn the_words_witness_and_port_are_optional_in_the_short_form() {
    for (short, port) in [("10.1.0.10", 29004), ("10.1.0.10:1", 1), ("[fd00::10]:7", 7), ("fd00::10", 29004)]
    {
        let text = TWO.replace("detect = \"1s\"", &format!("detect = \"1s\"\nwitness = \"{short}\""));
        assert_eq!(read(&text).servers[&"witness".into()].role, Role::Register { port }, "{short}");
    }
}

#[test]
fn two_servers_with_any_witness_are_not_warned_of_a_missing_tie_break() {
    for kind in ["voter", "register"] {
        let text =
            format!("{TWO}\n[[witness]]\nname = \"mimi\"\naddress = \"10.1.0.10\"\nkind = \"{kind}\"\n");
        let warnings = parse(&text, "here.toml").unwrap().warnings;
        assert!(warnings.iter().all(|warning| warning.code != Code::NoTieBreak), "{kind}: {warnings:?}");
    }
    assert!(parse(TWO, "here.toml").unwrap().warnings.iter().any(|warning| warning.code == Code::NoTieBreak));
}
