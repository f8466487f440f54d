//! One of two dies: the other goes on alone, or nobody does, as the tie-break says.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use tasuki_core::config::TieBreak;
use tasuki_tests::twin::{Happening, holds_in_time, patiently_at, until};

use super::{
    DETECT, has_record, kiki, lala, nobody_goes_on, two, until_voters, voters, witness, writers::Writers,
};

/// One dies, the other takes over, the dead one returns and votes again; then the other way round.
async fn each_dies_in_turn(tie_break: TieBreak) {
    let has_record = has_record(&tie_break);
    let twin = two(tie_break).await;
    for (round, leads) in [true, true, false].into_iter().enumerate() {
        let leader = twin.leader().unwrap();
        let lost = if leads == (leader == kiki()) { kiki() } else { lala() };
        let other = if lost == kiki() { lala() } else { kiki() };
        let writers = Writers::start(&twin, &format!("r{round}"));
        until("some writes", || writers.count() >= 20).await;
        let began = Instant::now();
        twin.kill_machine(&lost).await;
        until("the survivor votes alone", || voters(&twin, &other) == BTreeSet::from([other.clone()])).await;
        let alone = began.elapsed();
        let before = writers.count();
        until("writes again", || writers.count() > before).await;
        let writes = began.elapsed();
        twin.until_online("web", std::slice::from_ref(&other)).await;
        println!(
            "{lost} lost (leader: {leads}): alone after {alone:?}, writes after {writes:?}, online after {:?}",
            began.elapsed()
        );
        writers.find_all(&twin, &other).await;
        twin.boot(&lost).await;
        until_voters(&twin, &["kiki", "lala"], has_record).await;
        twin.until_whole().await;
    }
    let stood = |(_, what): &(Duration, Happening)| matches!(what, Happening::StoodDown(_));
    for server in [kiki(), lala()] {
        let log = twin.machine(&server).log();
        let kept = !log.iter().any(stood);
        holds_in_time(kept, &format_args!("the survivor keeps its lease: {server}: {log:?}"));
    }
    twin.assert_one_owner_at_a_time();
}

#[test]
fn r16_with_a_witness_the_survivor_goes_on_and_the_lost_one_returns() {
    patiently_at(DETECT, async || {
        each_dies_in_turn(witness()).await;
    });
}

#[test]
fn r16_with_voting_files_the_survivor_goes_on_and_the_lost_one_returns() {
    patiently_at(DETECT, async || {
        each_dies_in_turn(TieBreak::VotingFiles).await;
    });
}

#[test]
fn r19_with_a_fence_the_survivor_goes_on_and_the_lost_one_returns() {
    patiently_at(DETECT, async || {
        each_dies_in_turn(TieBreak::Fence).await;
    });
}

#[test]
fn with_addresses_that_answer_the_survivor_goes_on_and_the_lost_one_returns() {
    patiently_at(DETECT, async || {
        each_dies_in_turn(TieBreak::UnsafePing { addresses: vec![[127, 9, 2, 254].into()] }).await;
    });
}

#[test]
fn r16_an_unclear_swap_is_read_back() {
    patiently_at(DETECT, async || {
        let twin = two(witness()).await;
        twin.register().lose_answers(1);
        twin.kill_machine(&kiki()).await;
        until_voters(&twin, &["lala"], true).await;
        twin.until_online("web", &[lala()]).await;
        let claims = twin.register().swaps().iter().filter(|(by, _)| *by == lala()).count();
        assert_eq!(claims, 1, "{:?}", twin.register().swaps());
    });
}

#[test]
fn r19_a_fence_that_fails_breaks_no_tie() {
    patiently_at(DETECT, async || {
        let twin = two(TieBreak::Fence).await;
        twin.power().break_device("ipmi-1");
        twin.kill_machine(&kiki()).await;
        nobody_goes_on(&twin, &lala()).await;
        twin.power().mend_device("ipmi-1");
        until_voters(&twin, &["lala"], false).await;
    });
}

#[test]
fn without_an_answer_from_the_addresses_nobody_goes_on() {
    patiently_at(DETECT, async || {
        let gateway = [127, 9, 2, 254].into();
        let twin = two(TieBreak::UnsafePing { addresses: vec![gateway] }).await;
        twin.machine(&lala()).answers(gateway, false);
        twin.kill_machine(&kiki()).await;
        nobody_goes_on(&twin, &lala()).await;
        twin.machine(&lala()).answers(gateway, true);
        until_voters(&twin, &["lala"], false).await;
    });
}

#[test]
fn without_a_tie_break_two_that_lose_each_other_stop() {
    patiently_at(DETECT, async || {
        let twin = two(TieBreak::None).await;
        twin.kill_machine(&kiki()).await;
        nobody_goes_on(&twin, &lala()).await;
        twin.boot(&kiki()).await;
        twin.until_whole().await;
        twin.until_online("web", &[kiki(), lala()]).await;
        twin.assert_one_owner_at_a_time();
    });
}
