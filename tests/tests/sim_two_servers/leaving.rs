//! One of two leaves in order, both do, or three become two.

use std::{collections::BTreeSet, time::Instant};

use tasuki_core::{
    ids::ServerName,
    registry::{
        Command,
        state::{AfterStop, ClusterMode},
    },
};
use tasuki_tests::twin::{Happening, Twin, holds_in_time, patiently_at, until};

use super::{DETECT, kiki, lala, listen, propose, token, two, until_voters, voters, with, witness};

#[test]
fn r22_one_that_leaves_narrows_the_voters_first_and_comes_back() {
    patiently_at(DETECT, async || {
        let twin = two(witness()).await;
        for leaver in [lala(), kiki(), lala()] {
            let stayer = if leaver == kiki() { lala() } else { kiki() };
            let mut events = twin.node(&stayer).unwrap().events();
            let leave = Command::ServerLeave { server: leaver.clone(), after: AfterStop::Nothing };
            propose(&twin, &stayer, leave).await;
            until("the leaver has left", || {
                let log = twin.machine(&leaver).log();
                log.last().is_some_and(|(_, what)| *what == Happening::Left)
            })
            .await;
            assert_eq!(
                voters(&twin, &stayer),
                BTreeSet::from([stayer.clone()]),
                "narrowed before it stopped"
            );
            twin.kill_node(&leaver).await;
            twin.until_online("web", std::slice::from_ref(&stayer)).await;
            propose(&twin, &stayer, token(&format!("after {leaver} {:?}", Instant::now()))).await;
            while let Ok(event) = events.try_recv() {
                let claims = event.kind.starts_with("tie-break-asked");
                holds_in_time(!claims, &format_args!("nobody claims: {event:?}"));
            }
            twin.boot(&leaver).await;
            until_voters(&twin, &["kiki", "lala"], true).await;
            twin.until_whole().await;
        }
        twin.assert_one_owner_at_a_time();
    });
}

#[test]
fn r22_both_that_stop_together_stay_the_two_that_they_are() {
    patiently_at(DETECT, async || {
        let twin = two(witness()).await;
        let before = twin.register().record();
        propose(&twin, &lala(), Command::SetMode { mode: ClusterMode::Stopping(AfterStop::Nothing) }).await;
        let left =
            |server: ServerName| twin.machine(&server).log().iter().any(|(_, what)| *what == Happening::Left);
        until("both leave", || left(kiki()) && left(lala())).await;
        assert_eq!(twin.register().record(), before);
        for server in [kiki(), lala()] {
            twin.kill_node(&server).await;
        }
        for server in [kiki(), lala()] {
            twin.boot(&server).await;
        }
        twin.until_online("web", &[kiki()]).await;
        assert_eq!(twin.register().record(), before);
        twin.assert_one_owner_at_a_time();
    });
}

#[test]
fn r15_three_become_two_and_the_record_lets_both_claim() {
    patiently_at(DETECT, async || {
        listen();
        let twin = Twin::form(with(3, witness())).await;
        twin.until_whole().await;
        until_voters(&twin, &["kiki", "lala", "mimi"], true).await;
        let mimi = ServerName::from("mimi");
        twin.kill_machine(&mimi).await;
        twin.until("mimi is gone", |state| state.presence(&"mimi".into()).is_some_and(|p| !p.up)).await;
        let mut config = twin.node(&kiki()).unwrap().state().config().unwrap();
        config.servers.remove(&mimi);
        for group in config.groups.values_mut() {
            group.servers.retain(|server| *server != mimi);
        }
        propose(&twin, &kiki(), Command::RemoveServer { server: mimi, config }).await;
        until_voters(&twin, &["kiki", "lala"], true).await;
        twin.kill_machine(&kiki()).await;
        until_voters(&twin, &["lala"], true).await;
        twin.until_online("web", &[lala()]).await;
        twin.assert_one_owner_at_a_time();
    });
}
