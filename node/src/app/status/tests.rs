//! Which groups no other server could take.

use std::collections::{BTreeMap, BTreeSet};

use tasuki_core::{
    ids::{Generation, VolumeName},
    registry::{Item, mirror::Volume},
};

use super::*;

fn item<T>(value: T) -> Item<T> {
    Item { value, created: Revision(1), modified: Revision(1), at: WallTime(0) }
}

fn server(name: &str, state: ServerState) -> ServerStatus {
    ServerStatus {
        name: name.into(),
        number: 1,
        kind: MemberKind::Server,
        state,
        because: None,
        incarnation: Incarnation(1),
        voter: true,
        leader: false,
        silent: false,
        caution: false,
        gossip: None,
        lease_left_ms: None,
        paths: Vec::new(),
        groups: Vec::new(),
        version: None,
        level: None,
    }
}

fn up() -> Vec<ServerStatus> {
    ["kiki", "lala", "mimi"].map(|name| server(name, ServerState::Up)).into()
}

/// `db` runs on kiki, and may run on kiki and lala. Each of its mirrored disks has these good copies.
fn db(disks: &[(&str, &[&str])]) -> (State, Vec<GroupStatus>) {
    let config = GroupConfig { servers: vec!["kiki".into(), "lala".into()], ..GroupConfig::default() };
    let entry = GroupEntry {
        config: Some(item(config)),
        target: item(Target::Online),
        ownership: item(Ownership { owner: Some("kiki".into()), ..Ownership::default() }),
        report: None,
        failures: item(Default::default()),
        facts: BTreeMap::new(),
    };
    let status = vec![group(&"db".into(), &entry)];
    let volume = |good: &[&str]| Volume {
        group: "db".into(),
        size: 1 << 30,
        epoch: Epoch(1),
        owner: Some("kiki".into()),
        good: good.iter().map(|name| ServerName::new(*name)).collect(),
        generation: Generation(1),
        forced: None,
        opened_by: None,
        compare: BTreeSet::new(),
    };
    let mut state = State::default();
    state.groups.insert("db".into(), entry);
    state.volumes = disks.iter().map(|(name, good)| (VolumeName::new(*name), item(volume(good)))).collect();
    (state, status)
}

fn is_stranded(servers: &[ServerStatus], disks: &[(&str, &[&str])]) -> bool {
    let (state, groups) = db(disks);
    stranded(&state, servers, &groups) == [GroupName::from("db")]
}

#[test]
fn a_group_without_disks_is_stranded_when_no_other_server_of_its_list_is_up() {
    assert!(!is_stranded(&up(), &[]));
    let mut servers = up();
    servers[1].state = ServerState::Down;
    assert!(is_stranded(&servers, &[]), "mimi is not in its list");
    servers[1].state = ServerState::Leaving;
    assert!(is_stranded(&servers, &[]), "one that hands its groups over takes none");
    (servers[1].state, servers[1].silent) = (ServerState::Up, true);
    assert!(is_stranded(&servers, &[]));
}

#[test]
fn a_group_on_mirrored_disks_is_stranded_unless_another_server_has_a_good_copy_of_all_of_them() {
    let (both, only_kiki) = (&["kiki", "lala"][..], &["kiki"][..]);
    assert!(!is_stranded(&up(), &[("data", both)]));
    assert!(is_stranded(&up(), &[("data", only_kiki)]));
    assert!(is_stranded(&up(), &[("data", both), ("log", only_kiki)]), "half of its disks is not enough");
    assert!(!is_stranded(&up(), &[("data", both), ("log", both)]));
    // A good copy on a server that it may not run on is none for it.
    assert!(is_stranded(&up(), &[("data", &["kiki", "mimi"])]));
}

#[test]
fn disks_of_other_groups_strand_nothing_and_what_is_not_wanted_is_not_counted() {
    let (mut state, groups) = db(&[("data", &["kiki"])]);
    state.volumes.values_mut().for_each(|volume| volume.value.group = "other".into());
    assert!(stranded(&state, &up(), &groups).is_empty());
    let (state, mut groups) = db(&[("data", &["kiki"])]);
    groups[0].target = Target::Offline;
    assert!(stranded(&state, &up(), &groups).is_empty());
}

#[test]
fn the_sentence_names_what_is_stranded() {
    let survival = Survival {
        survives: true,
        voters: 3,
        voters_up: 3,
        needed: 2,
        stranded: vec!["db".into()],
        tie_break: None,
    };
    let said = survival.sentence(true);
    assert_eq!(said, "yes: 3 of 3 voters are up, 2 are needed; no other server could take db");
}
