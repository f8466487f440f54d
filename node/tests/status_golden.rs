//! What operators read, for the situations that matter, as golden text.
#![allow(clippy::unwrap_used)]

mod support;

use support::{AT, Registry, golden, node_status, view};
use tasuki::{
    app::{explain::explain, status, times},
    cli::render,
};
use tasuki_actors::handle::{NodeStatus, TieBreakSeen};
use tasuki_core::{
    config::{Role as MemberRole, TieBreak},
    ids::{Epoch, Incarnation, RaftId},
    membership::{
        punctuality::TooTight,
        tie_break::{Mode, Record},
        view::PathState,
    },
    reason::Reason,
    registry::{
        Author, Command,
        state::{AfterStop, ClusterMode, FailureKind, GroupState, ResourceState, StartEvent},
    },
    time::{Timestamp, WallTime},
};

const NOW: WallTime = WallTime(AT.0 + 192_000);
const ALL: [&str; 3] = ["kiki", "lala", "mimi"];

fn picture(registry: &Registry, heard: &[&str], voters: &[&str], confirmed: bool) -> String {
    render::cluster(&status::cluster(&registry.0, &view(heard), &node_status(voters), confirmed), NOW, false)
}

fn explained(registry: &Registry) -> String {
    let explanation = explain(&registry.0, &"web".into());
    explanation.map_or_else(|error| error.to_string(), |e| render::explanation(&e, NOW, false))
}

#[test]
fn three_servers_and_everything_runs() {
    let mut registry = Registry::running();
    registry.join("mimi");
    registry.start("mimi", 1);
    golden("status/all_up.txt", &picture(&registry, &["lala", "mimi"], &ALL, true));
    let value = status::cluster(&registry.0, &view(&["lala", "mimi"]), &node_status(&ALL), true);
    golden("status/all_up.json", &(serde_json::to_string_pretty(&value).unwrap_or_default() + "\n"));
}

#[test]
fn one_server_is_gone_and_no_more_may_be_lost() {
    let mut registry = Registry::running();
    registry.join("mimi");
    registry.start("mimi", 1);
    let gone = Command::ServerGone { server: "lala".into(), incarnation: Incarnation(1) };
    let silent = std::time::Duration::from_millis(1036);
    registry.must(Author::Leader("kiki".into()), Some(Reason::LeaseRanOut { silent }), gone);
    golden("status/one_gone.txt", &picture(&registry, &["mimi"], &ALL, true));
    golden("explain/one_gone.txt", &explained(&registry));
}

/// One cable of lala is out, and beats from mimi come so late that the knob is too tight for them.
#[test]
fn a_server_with_a_bad_path_is_up_with_caution_and_late_beats_are_warned_of() {
    let mut registry = Registry::running();
    registry.join("mimi");
    registry.start("mimi", 1);
    let mut view = view(&["lala", "mimi"]);
    let ms = std::time::Duration::from_millis;
    let path = view.peers.get_mut(&"lala".into()).unwrap().paths.get_mut(&"public".into()).unwrap();
    (path.state, path.since) = (PathState::Error, Timestamp(1_000_000_000));
    let path = view.peers.get_mut(&"mimi".into()).unwrap().paths.get_mut(&"interconnect".into()).unwrap();
    path.jitter = ms(41);
    path.tight = Some(TooTight { worst: ms(210), patience: ms(300), fits: ms(1400) });
    let value = status::cluster(&registry.0, &view, &node_status(&ALL), true);
    golden("status/caution.txt", &render::cluster(&value, NOW, false));
    assert!(value.servers.iter().map(|server| server.caution).eq([false, true, false]));
    let server = serde_json::to_value(&value.servers[1]).unwrap();
    assert_eq!(server["paths"][1]["state_for_ms"], 4000);
}

#[test]
fn every_time_and_the_names_of_three_are_shown() {
    let mut settings = Registry::running().0.settings.unwrap().value;
    settings.timing.watchdog = std::time::Duration::from_secs(2);
    settings.timing.clock_margin = settings.timing.least_clock_margin();
    golden("status/times.txt", &render::times::times(&times::times(&settings), false));
}

/// kiki and lala, with mimi as their witness.
fn with_witness(role: MemberRole) -> Registry {
    let mut registry = Registry::running();
    registry.join("mimi");
    let mut config = registry.0.config().unwrap();
    config.servers.get_mut(&"mimi".into()).unwrap().role = role;
    config.settings.votes.tie_break = TieBreak::Witness { witness: "mimi".into() };
    for group in config.groups.values_mut() {
        group.servers.retain(|server| server.as_str() != "mimi");
    }
    registry.must(Author::Operator("root".into()), None, Command::SetConfig { config });
    registry
}

#[test]
fn a_witness_is_heard_or_not_and_never_down() {
    let registry = with_witness(MemberRole::Voter { port: 29004 });
    golden("status/voting_witness.txt", &picture(&registry, &["lala", "mimi"], &ALL, true));
    golden("status/voting_witness_not_heard.txt", &picture(&registry, &["lala"], &ALL, true));

    let mut registry = with_witness(MemberRole::Register { port: 29004 });
    let record = Record {
        lineage: registry.0.lineage.clone().unwrap(),
        number: 3,
        mode: Mode::Pair(RaftId(1), RaftId(2)),
    };
    let noted = Command::NoteTieBreak { record, made: true, place: "witness mimi".into() };
    registry.must(Author::Leader("kiki".into()), None, noted);
    let seen = |problem: Option<&str>| {
        let tie_break = TieBreakSeen {
            place: "witness mimi".into(),
            record: problem.is_none().then(|| "number 3: stores 1 and 2 may claim".into()),
            problem: problem.map(ToOwned::to_owned),
        };
        let node = NodeStatus { tie_break: Some(tie_break), ..node_status(&["kiki", "lala"]) };
        render::cluster(&status::cluster(&registry.0, &view(&["lala"]), &node, true), NOW, false)
    };
    golden("status/witness_with_a_record.txt", &seen(None));
    let why = "the tie-break record cannot be reached: witness mimi does not answer within 250 ms";
    golden("status/witness_with_a_record_not_heard.txt", &seen(Some(why)));
}

#[test]
fn without_a_quorum_nobody_leads() {
    let registry = Registry::running();
    golden("status/no_quorum.txt", &picture(&registry, &[], &ALL, false));
}

#[test]
fn a_cluster_of_one_survives_nothing() {
    golden("status/founder.txt", &picture(&Registry::founded(), &[], &["kiki"], true));
}

#[test]
fn a_suspended_cluster_says_so() {
    let mut registry = Registry::running();
    registry.must(Author::Operator("aoi".into()), None, Command::SetMode { mode: ClusterMode::Suspended });
    golden("status/suspended.txt", &picture(&registry, &["lala"], &ALL, true));
    golden("explain/suspended.txt", &explained(&registry));
}

#[test]
fn a_group_that_failed_over_shows_where_it_failed() {
    let mut registry = Registry::running();
    let epoch = Epoch(1);
    let author = || Author::Server("kiki".into());
    let retry = Command::CountRetry {
        group: "web".into(),
        epoch,
        resource: "app".into(),
        server: "kiki".into(),
        kind: FailureKind::Ended,
    };
    registry.must(author(), None, retry);
    let reason = Reason::ResourceFailed { resource: "app".into(), server: "kiki".into() };
    let release = Command::Release {
        group: "web".into(),
        epoch,
        to: None,
        event: StartEvent::Failover,
        charge: Some(tasuki_core::registry::command::Charge::Resource("app".into())),
    };
    registry.must(Author::Leader("kiki".into()), Some(reason.clone()), release);
    golden("explain/being_released.txt", &explained(&registry));
    registry.must(author(), None, Command::Released { group: "web".into(), epoch, server: "kiki".into() });
    registry.own("web", "lala", reason);
    golden("explain/failed_over.txt", &explained(&registry));
}

#[test]
fn a_group_in_error_names_its_resource() {
    let mut registry = Registry::running();
    registry.report(
        "web",
        "kiki",
        Epoch(1),
        GroupState::Error,
        ResourceState::OnlineFailure,
        "exit code 1: cannot open /srv/web",
    );
    golden("status/error.txt", &picture(&registry, &["lala"], &ALL, true));
    golden("explain/error.txt", &explained(&registry));
}

#[test]
fn a_server_that_leaves_takes_no_groups() {
    let mut registry = Registry::running();
    let leave = Command::ServerLeave { server: "lala".into(), after: AfterStop::Reboot };
    registry.must(Author::Operator("aoi".into()), None, leave);
    golden("status/leaving.txt", &picture(&registry, &["lala"], &ALL, true));
    golden("explain/leaving.txt", &explained(&registry));
}

#[test]
fn an_unknown_group_is_not_found() {
    let error = explain(&Registry::running().0, &"wbe".into()).map(|_| ());
    assert_eq!(error.map_err(|e| e.code().to_owned()), Err("TSK-1603".to_owned()));
}
