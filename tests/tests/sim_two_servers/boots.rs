//! Who boots alone, or with a record that is not what it was.

use tasuki_core::{config::TieBreak, ids::RaftId, membership::tie_break::Mode};
use tasuki_tests::twin::{Twin, holds_in_time, patiently_at, until};

use super::{
    DETECT, kiki, lala, nobody_goes_on, propose, token, two, two_that_wait_at_a_boot, until_voters, witness,
};

/// Lala, which has booted, claims, and runs what there is; kiki boots after it, and both vote.
async fn lala_goes_on_and_kiki_returns(twin: &Twin) {
    until_voters(twin, &["lala"], true).await;
    twin.until_online("web", &[lala()]).await;
    twin.boot(&kiki()).await;
    until_voters(twin, &["kiki", "lala"], true).await;
    twin.assert_one_owner_at_a_time();
}

#[test]
fn r16_a_crash_after_the_swap_leaves_an_owner_that_claims_again() {
    patiently_at(DETECT, async || {
        let twin = two(witness()).await;
        twin.register().cut_after_swap();
        twin.kill_machine(&kiki()).await;
        until("the record names lala", || {
            twin.register().record().is_some_and(|record| record.mode == Mode::Sole(RaftId(2)))
        })
        .await;
        twin.kill_machine(&lala()).await;
        twin.register().heal();
        // The one whom the record does not name waits, also when it boots first.
        twin.boot(&kiki()).await;
        nobody_goes_on(&twin, &kiki()).await;
        twin.kill_machine(&kiki()).await;
        twin.boot(&lala()).await;
        until_voters(&twin, &["lala"], true).await;
        twin.boot(&kiki()).await;
        until_voters(&twin, &["kiki", "lala"], true).await;
        twin.until_whole().await;
        twin.assert_one_owner_at_a_time();
    });
}

/// As when its lease ended in the middle of its claim, and its node was started again.
#[test]
fn r16_one_whom_the_record_names_claims_again_without_giving_the_other_time_to_boot() {
    patiently_at(DETECT, async || {
        let twin = two_that_wait_at_a_boot(witness()).await;
        twin.register().cut_after_swap();
        twin.kill_machine(&kiki()).await;
        until("the record names lala", || {
            twin.register().record().is_some_and(|record| record.mode == Mode::Sole(RaftId(2)))
        })
        .await;
        twin.kill_machine(&lala()).await;
        twin.boot(&lala()).await; // it does not reach the record at first, and asks again
        twin.register().heal();
        lala_goes_on_and_kiki_returns(&twin).await;
    });
}

#[test]
fn r16_a_node_that_restarts_on_its_machine_gives_a_lost_one_no_time_to_boot() {
    patiently_at(DETECT, async || {
        let twin = two_that_wait_at_a_boot(witness()).await;
        twin.kill_node(&lala()).await;
        twin.kill_machine(&kiki()).await;
        assert!(twin.register().record().is_some_and(|record| matches!(record.mode, Mode::Pair(..))));
        twin.boot(&lala()).await;
        lala_goes_on_and_kiki_returns(&twin).await;
    });
}

#[test]
fn a_machine_that_boots_gives_the_other_its_time_to_boot() {
    patiently_at(DETECT, async || {
        let twin = two_that_wait_at_a_boot(witness()).await;
        let before = twin.register().swaps().len();
        for server in [kiki(), lala()] {
            twin.kill_machine(&server).await;
        }
        twin.boot(&lala()).await;
        nobody_goes_on(&twin, &lala()).await;
        twin.boot(&kiki()).await;
        twin.until_online("web", &[kiki(), lala()]).await;
        let swaps = twin.register().swaps();
        holds_in_time(swaps.len() == before, &format_args!("nobody claims: {swaps:?}"));
        twin.assert_one_owner_at_a_time();
    });
}

#[test]
fn r15_a_returner_that_the_record_does_not_name_grants_and_writes_nothing() {
    patiently_at(DETECT, async || {
        let twin = two(witness()).await;
        twin.kill_machine(&lala()).await;
        until_voters(&twin, &["kiki"], true).await;
        propose(&twin, &kiki(), token("written alone")).await;
        twin.kill_machine(&kiki()).await;
        twin.boot(&lala()).await;
        nobody_goes_on(&twin, &lala()).await;
        assert_eq!(twin.machine(&lala()).starts(), 0, "without a grant nothing starts");
        twin.boot(&kiki()).await;
        until_voters(&twin, &["kiki", "lala"], true).await;
        twin.until("what was written alone is there", |state| state.tokens.contains_key("written alone"))
            .await;
        twin.assert_one_owner_at_a_time();
    });
}

#[test]
fn r40_both_lost_power_and_the_one_that_the_record_names_opens_the_registry() {
    patiently_at(DETECT, async || {
        let twin = two(witness()).await;
        for server in [kiki(), lala()] {
            twin.kill_machine(&server).await;
        }
        twin.boot(&lala()).await;
        lala_goes_on_and_kiki_returns(&twin).await;
    });
}

#[test]
fn r40_both_lost_power_and_both_boot_without_a_claim() {
    patiently_at(DETECT, async || {
        let twin = two(witness()).await;
        let before = twin.register().swaps().len();
        for server in [kiki(), lala()] {
            twin.kill_machine(&server).await;
        }
        for server in [kiki(), lala()] {
            twin.boot(&server).await;
        }
        twin.until_online("web", &[kiki(), lala()]).await;
        let swaps = twin.register().swaps();
        holds_in_time(swaps.len() == before, &format_args!("nobody claims: {swaps:?}"));
        twin.assert_one_owner_at_a_time();
    });
}

#[test]
fn r19_both_lost_power_and_with_a_fence_one_alone_waits_for_the_other() {
    patiently_at(DETECT, async || {
        let twin = two(TieBreak::Fence).await;
        for server in [kiki(), lala()] {
            twin.kill_machine(&server).await;
        }
        twin.boot(&lala()).await;
        nobody_goes_on(&twin, &lala()).await;
        assert!(twin.power().tries().is_empty(), "and fences nobody: {:?}", twin.power().tries());
        twin.boot(&kiki()).await;
        twin.until_online("web", &[kiki(), lala()]).await;
        twin.assert_one_owner_at_a_time();
    });
}

#[test]
fn r17_a_record_that_is_gone_lets_nobody_claim_and_is_not_made_again() {
    patiently_at(DETECT, async || {
        let twin = two(witness()).await;
        twin.register().wipe();
        twin.kill_machine(&kiki()).await;
        nobody_goes_on(&twin, &lala()).await;
        assert_eq!(twin.register().record(), None);
        twin.boot(&kiki()).await;
        twin.until_online("web", &[kiki(), lala()]).await;
        tokio::time::sleep(DETECT).await; // the leader looks several times, and leaves it
        assert_eq!(twin.register().record(), None);
        twin.assert_one_owner_at_a_time();
    });
}
