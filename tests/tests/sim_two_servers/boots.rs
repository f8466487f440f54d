//! Who boots alone, or with a record that is not what it was.

use tasuki_core::{config::TieBreak, ids::RaftId, membership::tie_break::Mode};

use super::{DETECT, kiki, lala, nobody_goes_on, propose, token, two, until, until_voters, witness};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r16_a_crash_after_the_swap_leaves_an_owner_that_claims_again() {
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
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r15_a_returner_that_the_record_does_not_name_grants_and_writes_nothing() {
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
    twin.until("what was written alone is there", |state| state.tokens.contains_key("written alone")).await;
    twin.assert_one_owner_at_a_time();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r40_both_lost_power_and_the_one_that_the_record_names_opens_the_registry() {
    let twin = two(witness()).await;
    for server in [kiki(), lala()] {
        twin.kill_machine(&server).await;
    }
    twin.boot(&lala()).await;
    until_voters(&twin, &["lala"], true).await;
    twin.until_online("web", &[lala()]).await;
    twin.boot(&kiki()).await;
    until_voters(&twin, &["kiki", "lala"], true).await;
    twin.assert_one_owner_at_a_time();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r40_both_lost_power_and_both_boot_without_a_claim() {
    let twin = two(witness()).await;
    let before = twin.register().swaps().len();
    for server in [kiki(), lala()] {
        twin.kill_machine(&server).await;
    }
    for server in [kiki(), lala()] {
        twin.boot(&server).await;
    }
    twin.until_online("web", &[kiki(), lala()]).await;
    assert_eq!(twin.register().swaps().len(), before, "{:?}", twin.register().swaps());
    twin.assert_one_owner_at_a_time();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r19_both_lost_power_and_with_a_fence_one_alone_waits_for_the_other() {
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
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r17_a_record_that_is_gone_lets_nobody_claim_and_is_not_made_again() {
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
}
