//! Two servers and a witness that votes, over the real actors, Raft and store. Rules R11 and R20.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use tasuki_core::{
    config::{ClusterConfig, Role},
    ids::{Incarnation, RaftId, ServerName},
};
use tasuki_tests::twin::{Twin, config, in_time, patiently_at, servers, until};

const DETECT: Duration = Duration::from_secs(2);

fn witness() -> ServerName {
    "mimi".into()
}

/// `kiki` and `lala`, with `mimi` as their witness.
fn pair() -> ClusterConfig {
    let mut config = config(3, DETECT);
    config.servers.get_mut(&witness()).unwrap().role = Role::Voter { port: 4 };
    for group in config.groups.values_mut() {
        group.servers = servers(&["kiki", "lala"]);
    }
    config
}

async fn formed() -> Twin {
    let twin = Twin::form(pair()).await;
    twin.until_online("web", &servers(&["kiki", "lala"])).await;
    until("three vote", || {
        let status = twin.node(&"kiki".into()).unwrap().status();
        status.raft.voters.len() == 3
    })
    .await;
    twin
}

#[test]
fn a_witness_that_is_made_leader_hands_leadership_on_and_decides_nothing() {
    patiently_at(DETECT, async || {
        let twin = formed().await;
        let node = twin.node(&witness()).unwrap();
        let mut events = node.events();
        for round in 0..3 {
            until("a server leads", || {
                let leader = twin.leader();
                leader.is_some_and(|leader| {
                    leader != witness() && twin.node(&leader).unwrap().context().leading.borrow().is_some()
                })
            })
            .await;
            let leader = twin.leader().unwrap();
            let raft = twin.node(&leader).unwrap().context().raft.borrow().clone().unwrap();
            raft.transfer_leadership(RaftId(3)).await.unwrap();
            let handed_on = async {
                loop {
                    assert!(node.context().leading.borrow().is_none(), "a witness decides");
                    if events.recv().await.unwrap().kind == "leadership-handed-on" {
                        return;
                    }
                }
            };
            in_time(&format!("round {round}: the witness led"), handed_on).await;
        }
        until("a server leads again", || twin.leader().is_some_and(|leader| leader != witness())).await;
        assert!(node.context().lease.borrow().is_none() && node.status().incarnation == Incarnation(0));
        twin.until_online("web", &servers(&["kiki", "lala"])).await;
        twin.assert_one_owner_at_a_time();
    });
}

#[test]
fn r20_of_two_servers_with_a_voting_witness_one_may_be_lost_or_the_witness() {
    patiently_at(DETECT, async || {
        let twin = formed().await;
        twin.kill_node(&witness()).await;
        let online = || tasuki_tests::twin::online_on(&twin.node(&"kiki".into()).unwrap().state(), "web");
        until("kiki knows who runs the group", || online().is_some()).await;
        let owner = online().unwrap();
        tokio::time::sleep(DETECT * 2).await; // long enough for everything that must not happen
        twin.until_online("web", std::slice::from_ref(&owner)).await;
        twin.boot(&witness()).await;
        let caught_up = || {
            let applied = |server: &str| twin.node(&server.into()).unwrap().status().raft.applied;
            applied("mimi") >= applied("kiki").max(applied("lala"))
        };
        until("the witness has caught up", caught_up).await;
        twin.kill_machine(&owner).await;
        let other: Vec<ServerName> =
            servers(&["kiki", "lala"]).into_iter().filter(|server| *server != owner).collect();
        twin.until_online("web", &other).await;
        assert_ne!(twin.leader(), Some(witness()));
        twin.assert_one_owner_at_a_time();
    });
}

#[test]
fn a_witness_has_nothing_that_could_hold_a_lease_or_run_a_group() {
    patiently_at(DETECT, async || {
        let twin = formed().await;
        let tree = twin.node(&witness()).unwrap().tree().await;
        let expected = "ohas\n  events\n    event\n  registry\n    raft\n    handover\n    announce\n  sync\n    links\n      \
                    link kiki over inter\n      link kiki over public\n      link lala over inter\n      \
                    link lala over public\n    links_keeper\n    gossip\n    beats\n";
        assert_eq!(tree, expected, "{tree}");
    });
}
