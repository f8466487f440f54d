//! The two lose each other, and both live.

use std::collections::BTreeSet;

use tasuki_core::{config::TieBreak, ids::ServerName, registry::Author};
use tasuki_tests::twin::{Twin, patiently_at, until};

use super::{DETECT, kiki, lala, propose, token, two, until_voters, voters, witness, writers::Writers};

/// The only voter among the two, as it says itself.
fn sole(twin: &Twin) -> Vec<ServerName> {
    let alone = |server: &ServerName| voters(twin, server) == BTreeSet::from([server.clone()]);
    [kiki(), lala()].into_iter().filter(alone).collect()
}

#[test]
fn r14_cut_in_two_exactly_one_goes_on() {
    patiently_at(DETECT, async || {
        let twin = two(witness()).await;
        for round in 0..3 {
            let writers = Writers::start(&twin, &format!("c{round}"));
            until("some writes", || writers.count() >= 10).await;
            twin.isolate(&[lala()]);
            until("one goes on alone", || sole(&twin).len() == 1).await;
            let winner = sole(&twin).remove(0);
            let loser = if winner == kiki() { lala() } else { kiki() };
            twin.until_online("web", std::slice::from_ref(&winner)).await;
            assert_eq!(sole(&twin), std::slice::from_ref(&winner));
            let cut_off = twin.node(&loser).unwrap();
            let by = || Author::Operator("test".into());
            assert!(cut_off.propose(by(), token("lonely"), None, Vec::new()).await.is_err());
            writers.find_all(&twin, &winner).await;
            twin.heal();
            // Its guard stopped what ran there; the node went on. It listens, and takes what it lacks.
            let state = twin.read(&winner).await;
            until("the cut off one has what was written", || cut_off.state().revision >= state.revision)
                .await;
            assert!(!cut_off.state().tokens.contains_key("lonely"), "of the cut off one nothing survives");
            twin.kill_node(&loser).await; // as its guard does once it has stood down
            twin.boot(&loser).await;
            twin.until_whole().await;
            until_voters(&twin, &["kiki", "lala"], true).await;
            twin.assert_one_owner_at_a_time();
        }
    });
}

#[test]
fn r19_cut_in_two_with_a_fence_the_heavier_side_goes_on() {
    patiently_at(DETECT, async || {
        let twin = two(TieBreak::Fence).await;
        twin.isolate(&[lala()]);
        until("kiki goes on alone", || sole(&twin).contains(&kiki())).await;
        twin.until_online("web", &[kiki()]).await;
        assert_eq!(sole(&twin), [kiki()]);
        twin.heal();
        twin.kill_machine(&lala()).await; // its power is cut already; what is left of its node ends too
        twin.boot(&lala()).await;
        until_voters(&twin, &["kiki", "lala"], false).await;
        twin.assert_one_owner_at_a_time();
    });
}

#[test]
fn after_the_unsafe_tie_break_two_masters_take_nothing_from_each_other() {
    patiently_at(DETECT, async || {
        let twin = two(TieBreak::UnsafePing { addresses: vec![[127, 9, 2, 254].into()] }).await;
        twin.isolate(&[lala()]);
        until("both go on alone, as the name says", || sole(&twin).len() == 2).await;
        for server in [kiki(), lala()] {
            propose(&twin, &server, token(&format!("by {server}"))).await;
        }
        twin.heal();
        tokio::time::sleep(DETECT).await; // they call each other all the time, and that is refused
        for (server, other) in [(kiki(), lala()), (lala(), kiki())] {
            let state = twin.read(&server).await;
            let has = |by: &ServerName| state.tokens.contains_key(&format!("by {by}"));
            assert!(has(&server) && !has(&other));
        }
    });
}
