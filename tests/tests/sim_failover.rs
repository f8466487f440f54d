//! Failover over the real actors, Raft and store, with machines and cables in memory.
//! Rules R1 to R8 and R13.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use tasuki_core::{
    ids::ServerName,
    registry::{
        Author, Command,
        state::{AfterStop, ClusterMode},
    },
};
use tasuki_tests::twin::{
    Happening, Twin, config, holds_in_time, in_time, online_on, patiently, patiently_at, servers, until,
};

const DETECT: Duration = Duration::from_secs(2);
/// For what must happen within one lease, also on a machine that is busy with other tests.
const PATIENT: Duration = Duration::from_secs(3);

async fn three() -> Twin {
    three_that_detect(DETECT).await
}

async fn three_that_detect(detect: Duration) -> Twin {
    let twin = Twin::form(config(3, detect)).await;
    twin.until_whole().await;
    twin.until_online("web", &servers(&["kiki"])).await;
    twin
}

async fn propose(twin: &Twin, through: &str, command: Command) {
    twin.command(&through.into(), command).await;
}

#[test]
fn a_lost_server_is_taken_over_and_comes_back() {
    patiently(async |detect| {
        let twin = three_that_detect(detect).await;
        let kiki = ServerName::from("kiki");
        for round in 0..2 {
            twin.until_online("web", &servers(&["kiki", "lala", "mimi"])).await;
            let lost = twin.online("web").unwrap();
            let began = Instant::now();
            twin.kill_machine(&lost).await;
            twin.until_online("web", &twin.others(&lost)).await;
            println!("round {round}: {lost} lost, online elsewhere after {:?}", began.elapsed());
            twin.assert_one_owner_at_a_time();
            twin.boot(&lost).await;
            twin.until_whole().await;
        }
        assert!(twin.machine(&kiki).starts() >= 1);
        twin.assert_one_owner_at_a_time();
    });
}

#[test]
fn r1_a_cut_off_server_stops_before_another_starts() {
    patiently_at(DETECT, async || {
        let twin = three().await;
        let kiki = servers(&["kiki"]);
        twin.isolate(&kiki);
        twin.until_online("web", &twin.others(&kiki[0])).await;
        twin.assert_one_owner_at_a_time();
        let stood = |(_, what): &(Duration, Happening)| matches!(what, Happening::StoodDown(_));
        assert!(twin.machine(&kiki[0]).log().iter().any(stood), "kiki has stood down by itself");
        twin.heal();
        twin.kill_node(&kiki[0]).await; // as its guard does
        twin.boot(&kiki[0]).await;
        twin.until_whole().await;
        twin.assert_one_owner_at_a_time();
    });
}

#[test]
fn r6_a_restarted_node_adopts_what_runs() {
    patiently_at(PATIENT, async || {
        let twin = three_that_detect(PATIENT).await;
        let kiki = ServerName::from("kiki");
        twin.kill_node(&kiki).await;
        twin.boot(&kiki).await;
        twin.until("kiki is a new incarnation and web online", |state| {
            state.presence(&"kiki".into()).is_some_and(|p| p.incarnation.0 == 2 && p.up)
                && online_on(state, "web") == Some("kiki".into())
        })
        .await;
        // Longer than a lease and its grace: a lease that was not renewed would have ended by now.
        tokio::time::sleep(PATIENT * 3 / 2).await;
        let log = twin.machine(&kiki).log();
        holds_in_time(log.len() == 1, &format_args!("started once, and nothing else ever happened: {log:?}"));
    });
}

#[test]
fn one_of_two_networks_cut_changes_nothing() {
    patiently_at(PATIENT, async || {
        let twin = three_that_detect(PATIENT).await;
        twin.cut_network("inter");
        tokio::time::sleep(PATIENT * 3 / 2).await; // nothing must happen for longer than a lease and its grace
        twin.heal();
        for server in ["kiki", "lala", "mimi"] {
            let log = twin.machine(&server.into()).log();
            holds_in_time(log.len() <= 1, &format_args!("nothing happens: {server}: {log:?}"));
        }
    });
}

#[test]
fn two_of_three_lost_stops_the_third_and_it_heals() {
    patiently_at(DETECT, async || {
        let twin = three().await;
        twin.kill_machine(&"lala".into()).await;
        twin.kill_machine(&"mimi".into()).await;
        let stood = |(_, what): &(Duration, Happening)| matches!(what, Happening::StoodDown(_));
        until("kiki stands down at its lease's end", || twin.machine(&"kiki".into()).log().iter().any(stood))
            .await;
        twin.kill_node(&"kiki".into()).await;
        for server in servers(&["kiki", "lala", "mimi"]) {
            twin.boot(&server).await;
        }
        twin.until_whole().await;
        twin.until_online("web", &servers(&["kiki", "lala", "mimi"])).await;
        twin.assert_one_owner_at_a_time();
    });
}

#[test]
fn r13_a_move_stops_here_before_it_starts_there() {
    patiently(async |detect| {
        let twin = three_that_detect(detect).await;
        for to in ["lala", "mimi", "kiki"] {
            let began = Instant::now();
            twin.move_to("web", &to.into()).await;
            println!("moved to {to} in {:?}", began.elapsed());
            twin.assert_one_owner_at_a_time();
        }
    });
}

#[test]
fn a_service_that_dies_is_restarted_where_it_is() {
    patiently_at(DETECT, async || {
        let twin = three().await;
        twin.machine(&"kiki".into()).kill_service("web", "service");
        twin.until("web was retried", |state| {
            state.groups[&"web".into()].failures.value.of(&"service".into(), &"kiki".into()).retries == 1
        })
        .await;
        twin.until_online("web", &servers(&["kiki"])).await;
        assert_eq!(twin.machine(&"kiki".into()).starts(), 2);
        twin.machine(&"kiki".into()).kill_service("web", "service");
        twin.until_online("web", &servers(&["lala", "mimi"])).await;
        twin.assert_one_owner_at_a_time();
    });
}

#[test]
fn r7_a_server_that_leaves_hands_over_without_waiting() {
    patiently_at(DETECT, async || {
        let twin = three().await;
        let began = Instant::now();
        propose(&twin, "mimi", Command::ServerLeave { server: "kiki".into(), after: AfterStop::Nothing })
            .await;
        twin.until_online("web", &servers(&["lala", "mimi"])).await;
        println!("handed over in {:?}", began.elapsed());
        twin.until("kiki has stopped", |state| state.presence(&"kiki".into()).is_some_and(|p| !p.up)).await;
        let kiki = ServerName::from("kiki");
        twin.kill_node(&kiki).await;
        assert_eq!(twin.machine(&kiki).log().last().map(|(_, what)| what.clone()), Some(Happening::Left));
        twin.assert_one_owner_at_a_time();
        twin.boot(&kiki).await;
        twin.until_whole().await;
    });
}

#[test]
fn a_cluster_that_is_shut_down_starts_again_at_home() {
    patiently_at(DETECT, async || {
        let twin = three().await;
        propose(&twin, "lala", Command::SetMode { mode: ClusterMode::Stopping(AfterStop::Nothing) }).await;
        let all = servers(&["kiki", "lala", "mimi"]);
        let left = async {
            let left = |server| twin.machine(server).log().iter().any(|(_, what)| *what == Happening::Left);
            while !all.iter().all(left) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        in_time("all servers leave", left).await;
        for server in &all {
            twin.kill_node(server).await;
        }
        for server in &all {
            twin.boot(server).await;
        }
        twin.until_whole().await;
        twin.until_online("web", &servers(&["kiki"])).await;
        twin.assert_one_owner_at_a_time();
    });
}

#[test]
fn r11_a_cut_off_leader_reads_and_commits_nothing() {
    patiently_at(DETECT, async || {
        let twin = three().await;
        let leader = twin.leader().unwrap();
        twin.isolate(std::slice::from_ref(&leader));
        let node = twin.node(&leader).unwrap();
        // Its own metrics may still call it the leader: neither a read nor a write may believe them.
        assert!(node.read().await.is_err(), "a read needs a quorum");
        let command = Command::StopGroup { group: "web".into(), force: false };
        let written = node.propose(Author::Operator("test".into()), command, None, Vec::new()).await;
        assert!(written.is_err(), "{written:?}");
        twin.until_online("web", &servers(&["kiki", "lala", "mimi"])).await;
        twin.assert_one_owner_at_a_time();
    });
}

#[test]
fn a_leader_that_dies_without_groups_stops_nothing() {
    patiently_at(PATIENT, async || {
        let twin = three_that_detect(PATIENT).await;
        twin.move_to("web", &"lala".into()).await;
        let leader = twin.leader().unwrap();
        if leader.as_str() == "lala" {
            return; // elected in between; other runs see the other case
        }
        let before = twin.machine(&"lala".into()).log();
        twin.kill_machine(&leader).await;
        twin.until("the dead leader is known as gone", |state| {
            state.presence(&leader).is_some_and(|p| !p.up)
        })
        .await;
        let after = twin.machine(&"lala".into()).log();
        holds_in_time(after == before, &format_args!("nothing was started or stopped: {after:?}"));
    });
}

#[test]
fn a_start_that_fails_everywhere_goes_there_back_once_and_gives_up() {
    patiently_at(DETECT, async || {
        let twin = three().await;
        for server in ["kiki", "lala", "mimi"] {
            twin.machine(&server.into()).fail_starts(100);
        }
        twin.machine(&"kiki".into()).kill_service("web", "service");
        twin.until("web has failed for good", |state| {
            let group = &state.groups[&"web".into()];
            let failed = group.report.as_ref().is_some_and(|r| r.value.failed.is_some());
            let handed_on =
                |server: &str| group.failures.value.of(&"service".into(), &server.into()).failovers;
            failed
                && group.ownership.value.release.is_none()
                && ["kiki", "lala", "mimi"].iter().all(|s| handed_on(s) == 1)
        })
        .await;
        for server in ["kiki", "lala", "mimi"] {
            twin.machine(&server.into()).fail_starts(0);
        }
        propose(&twin, "lala", Command::StartGroup { group: "web".into(), on: None }).await;
        twin.until_online("web", &servers(&["kiki", "lala", "mimi"])).await;
        twin.assert_one_owner_at_a_time();
    });
}

#[test]
fn actors_that_die_disturb_no_service() {
    patiently_at(PATIENT, async || {
        let twin = three_that_detect(PATIENT).await;
        let node = twin.node(&"kiki".into()).unwrap();
        let context = node.context();
        let epoch = node.state().groups[&"web".into()].ownership.value.epoch;
        let group = context.groups.actor(&"web".into(), epoch).unwrap();
        let resource = context.agents.actor(&("web".into(), "service".into())).unwrap();
        let lease = context.lease_actor.get().unwrap();
        for cell in [group.get_cell(), resource.get_cell(), lease.get_cell()] {
            cell.kill();
        }
        // Longer than a lease: one that was not renewed would have ended by now.
        tokio::time::sleep(PATIENT * 3 / 2).await;
        let log = twin.machine(&"kiki".into()).log();
        holds_in_time(log.len() == 1, &format_args!("started once, and nothing since: {log:?}"));
        // What died does its work again: the end of the service is noticed, and the group moves.
        twin.machine(&"kiki".into()).kill_service("web", "service");
        twin.until("the restart was counted", |state| {
            state.groups[&"web".into()].failures.value.of(&"service".into(), &"kiki".into()).retries == 1
        })
        .await;
        twin.until_online("web", &servers(&["kiki"])).await;
        twin.move_to("web", &"mimi".into()).await;
        twin.assert_one_owner_at_a_time();
    });
}
