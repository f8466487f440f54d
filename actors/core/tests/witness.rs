//! A witness is a member that nothing is placed on: not by a definition that wants every server,
//! not by a pool, not by mistake.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;

use common::{Plain, cluster, definition, exec, server_name};
use tasuki_core::{
    config::{Cardinality, ClusterConfig, GroupConfig, PlacementPolicy, PoolConfig, Role, TieBreak},
    ids::{BootId, Incarnation, ServerName},
    placement::{
        forecast::{Change, Ended, Picture, forecast},
        plan::Input,
        report::report,
    },
    registry::{Command, Refusal, Reply},
};

/// Two servers, and `s3`, a witness that could vote.
fn with_witness() -> ClusterConfig {
    let mut config = cluster(3);
    config.servers.get_mut(&server_name(3)).unwrap().role = Role::Voter { port: 29004 };
    let mut everywhere = definition();
    everywhere.cardinality = Cardinality::Uniform;
    config.resources.insert("everywhere".into(), everywhere);
    let mut local = definition();
    local.cardinality = Cardinality::Local;
    config.resources.insert("local".into(), local);
    let mut favored = definition();
    (favored.placement, favored.hosting_members) = (PlacementPolicy::Favored, vec![server_name(2)]);
    config.resources.insert("one".into(), favored);
    let pool = PoolConfig { comment: String::new(), min: 2, max: None, importance: 1, servers: Vec::new() };
    config.pools.insert("all".into(), pool);
    config
}

fn played() -> Plain {
    let mut plain = Plain::founded(with_witness());
    plain.boot(&server_name(1));
    plain.boot(&server_name(2));
    plain.settle();
    plain
}

#[test]
fn nothing_runs_at_a_witness_and_everything_runs_without_it() {
    let plain = played();
    let owners: BTreeSet<&ServerName> = plain.state.groups.keys().filter_map(|g| plain.owner(g)).collect();
    assert_eq!(owners, BTreeSet::from([&server_name(1), &server_name(2)]));
    let units: Vec<&str> = plain.state.groups.keys().map(|group| group.as_str()).collect();
    assert_eq!(units, ["everywhere#1", "everywhere#2", "local#1", "local#2", "one#1"]);
    for unit in plain.state.groups.keys() {
        assert!(plain.online(unit), "{unit}");
    }
    let members = plain.state.pool_members.as_ref().unwrap();
    assert!(!members.value.contains_key(&server_name(3)), "{members:?}");
}

#[test]
fn a_witness_is_no_place_that_an_explanation_speaks_of() {
    let plain = played();
    let input = Input { state: &plain.state, fit: &plain.fit, since_start: std::time::Duration::MAX };
    let report = report(&input, &"one#1".into()).unwrap();
    assert!(report.servers.iter().all(|(server, _)| *server != server_name(3)), "{report:?}");
}

#[test]
fn a_witness_that_starts_as_a_server_is_refused() {
    let mut plain = played();
    let started = Command::ServerStarted {
        server: server_name(3),
        incarnation: Incarnation(1),
        boot: BootId::new("there"),
    };
    let reply = plain.tell(started);
    assert!(
        matches!(reply, Reply::Refused(Refusal::RunsNoGroups(ref who)) if *who == server_name(3)),
        "{reply:?}"
    );
    assert!(!plain.state.presence(&server_name(3)).unwrap().up);
}

#[test]
fn a_group_that_names_a_witness_still_never_runs_there() {
    let mut config = with_witness();
    let group = GroupConfig {
        servers: vec![server_name(3), server_name(1)],
        resources: [("r".into(), exec())].into(),
        ..GroupConfig::default()
    };
    config.groups.insert("named".into(), group);
    let mut plain = Plain::founded(config);
    plain.boot(&server_name(1));
    plain.settle();
    assert_eq!(plain.owner(&"named".into()), Some(&server_name(1)));
    plain.lose(&server_name(1));
    plain.settle();
    assert_eq!(plain.owner(&"named".into()), None);
}

#[test]
fn r20_a_forecast_counts_a_voting_witness_as_there_until_it_is_supposed_lost() {
    let down = |server: usize| Change::ServerDown { server: server_name(server) };
    let plain = played();
    let ended = |lost: &[Change]| forecast(&Picture::of(plain.state.clone()), lost, "root").unwrap().ended;
    assert_eq!(ended(&[down(2)]), Ended::Settled);
    assert_eq!(ended(&[down(3)]), Ended::Settled);
    assert_eq!(ended(&[down(2), down(3)]), Ended::NoQuorum { voters: 3, left: 1, needed: 2 });
}

#[test]
fn r14_a_forecast_lets_the_survivor_of_two_go_on_where_there_is_a_tie_break() {
    for (tie_break, ended) in [
        (TieBreak::Witness { witness: server_name(3) }, Ended::Settled),
        (TieBreak::None, Ended::NoQuorum { voters: 2, left: 1, needed: 2 }),
    ] {
        let mut config = with_witness();
        config.servers.get_mut(&server_name(3)).unwrap().role = Role::Register { port: 29004 };
        config.settings.votes.tie_break = tie_break;
        let mut plain = Plain::founded(config);
        plain.boot(&server_name(1));
        plain.boot(&server_name(2));
        plain.settle();
        let lost = Change::ServerDown { server: server_name(2) };
        assert_eq!(forecast(&Picture::of(plain.state), &[lost], "root").unwrap().ended, ended);
    }
}
