//! The lease, one rule a test. The last test walks holder, grantor and a takeover together
//! through random delays and losses.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::*;
use crate::{
    ids::{ServerName, Term},
    membership::fencing::Fences,
    time::Timestamp,
    timing::Timing,
};

const KIKI: &str = "kiki";

fn ms(n: u64) -> Timestamp {
    Timestamp(n * 1_000_000)
}

fn timing() -> Timing {
    Timing::from_detect(Duration::from_secs(1)) // lease 800, budget 100, margin 136 ms
}

fn members(incarnation: u64) -> BTreeMap<ServerName, Incarnation> {
    BTreeMap::from([(KIKI.into(), Incarnation(incarnation))])
}

fn leading(at: u64) -> Grantor {
    let mut grantor = Grantor::new(timing());
    grantor.on(GrantorEvent::Members(members(1)), ms(at));
    grantor.on(GrantorEvent::Elected(Term(1)), ms(at));
    grantor
}

fn request(incarnation: u64, seq: u64) -> Request {
    Request { incarnation: Incarnation(incarnation), seq, applied: 0, healthy: true }
}

fn ask(grantor: &mut Grantor, request: Request, at: u64) -> Option<Grant> {
    let event = GrantorEvent::Asked { server: KIKI.into(), request, last_log: 7 };
    match grantor.on(event, ms(at)).pop() {
        Some(GrantorAction::Grant { grant, .. }) => Some(grant),
        _ => None,
    }
}

fn confirm(grantor: &mut Grantor, sent: u64, now: u64) {
    grantor.on(GrantorEvent::Confirmed { sent: ms(sent) }, ms(now));
}

fn holder() -> Holder {
    let mut holder = Holder::default();
    holder.on(HolderEvent::Registered(Incarnation(1)), ms(0));
    holder
}

fn beat(holder: &mut Holder, at: u64) -> Option<Request> {
    match holder.on(HolderEvent::Beat { healthy: true }, ms(at)).pop() {
        Some(HolderAction::Ask(request)) => Some(request),
        _ => None,
    }
}

fn grant(seq: u64, left: u64, barrier: u64) -> HolderEvent {
    let left = Duration::from_millis(left);
    HolderEvent::Granted(Grant { incarnation: Incarnation(1), seq, left, barrier })
}

#[test]
fn r1_a_lease_is_counted_from_the_round_that_a_quorum_answered() {
    let mut grantor = leading(0);
    assert_eq!(ask(&mut grantor, request(1, 1), 10), None, "no round was answered yet");
    confirm(&mut grantor, 20, 30);
    let left = ask(&mut grantor, request(1, 2), 320).unwrap().left;
    assert_eq!(left, Duration::from_millis(500), "the round is 300 ms old");
    assert_eq!(ask(&mut grantor, request(1, 3), 820), None, "a cut-off leader grants nothing more");
}

#[test]
fn r1_a_round_of_an_earlier_leadership_counts_for_nothing() {
    let mut grantor = leading(100);
    confirm(&mut grantor, 90, 110);
    assert_eq!(ask(&mut grantor, request(1, 1), 120), None);
}

#[test]
fn r1_the_holder_counts_from_its_own_sending() {
    let mut holder = holder();
    let seq = beat(&mut holder, 100).unwrap().seq;
    let renewed = holder.on(grant(seq, 800, 0), ms(700));
    assert_eq!(renewed, [HolderAction::Renew(ms(900))]);
    assert!(holder.holds(ms(899)) && !holder.holds(ms(900)));
    assert_eq!(holder.on(grant(seq, 5000, 0), ms(701)), [], "an answer counts once");
    assert_eq!(holder.on(grant(99, 5000, 0), ms(702)), [], "an answer to nothing counts for nothing");
}

#[test]
fn r2_a_new_leader_takes_every_server_to_hold_a_full_lease() {
    let mut grantor = leading(1000);
    assert_eq!(grantor.on(GrantorEvent::Tick, ms(1000 + 800 + 264 - 1)), []);
    let judged = grantor.on(GrantorEvent::Tick, ms(1000 + 800 + 264));
    assert!(matches!(judged[..], [GrantorAction::Judge { .. }]));
}

#[test]
fn r2_a_server_that_turns_up_late_in_the_table_gets_the_full_wait_too() {
    let mut grantor = Grantor::new(timing());
    grantor.on(GrantorEvent::Elected(Term(1)), ms(0));
    grantor.on(GrantorEvent::Members(members(1)), ms(500));
    assert_eq!(grantor.on(GrantorEvent::Tick, ms(1500)), []);
    assert_eq!(grantor.on(GrantorEvent::Tick, ms(1564)).len(), 1);
}

#[test]
fn r9_a_takeover_waits_for_a_slow_watchdog_too() {
    let slow = Timing { watchdog: Duration::from_secs(2), ..timing() };
    let mut grantor = Grantor::new(slow);
    grantor.on(GrantorEvent::Members(members(1)), ms(0));
    grantor.on(GrantorEvent::Elected(Term(1)), ms(0));
    assert_eq!(grantor.on(GrantorEvent::Tick, ms(1064 + 1300 - 1)), []);
    assert_eq!(grantor.on(GrantorEvent::Tick, ms(1064 + 1300)).len(), 1);
}

fn fences(withheld: &[&str]) -> Fences {
    let set = |names: &[&str]| names.iter().map(|name| (*name).into()).collect();
    Fences {
        guarded: set(&[KIKI]),
        withheld: set(withheld),
        taking_part: set(&[KIKI]),
        suspended: false,
        patience: Duration::from_secs(5),
    }
}

/// A leader that granted kiki, which has fencing devices, a lease until 810 ms.
fn leading_with_fence() -> Grantor {
    let mut grantor = leading(0);
    grantor.on(GrantorEvent::Fences(fences(&[])), ms(0));
    confirm(&mut grantor, 1, 2);
    ask(&mut grantor, request(1, 1), 10).unwrap();
    grantor
}

fn silence(grantor: &mut Grantor, silent: bool) {
    let silent = silent.then(|| KIKI.into()).into_iter().collect();
    grantor.on(GrantorEvent::Silent(silent), ms(0));
}

fn fenced(actions: &[GrantorAction]) -> bool {
    matches!(actions, [GrantorAction::Fence { .. }])
}

#[test]
fn r36_a_silent_server_with_a_fence_is_fenced_when_its_lease_has_run_out_and_never_judged() {
    let mut grantor = leading_with_fence();
    silence(&mut grantor, true);
    assert_eq!(grantor.on(GrantorEvent::Tick, ms(809)), [], "a node that restarts keeps its services");
    assert!(fenced(&grantor.on(GrantorEvent::Tick, ms(810))), "no guard budget, no clock margin");
    assert_eq!(grantor.on(GrantorEvent::Tick, ms(60_000)), [], "and is not judged by time");
}

#[test]
fn r9_how_long_a_withheld_server_may_hold_a_lease_is_known_to_the_leader_alone() {
    let mut grantor = leading_with_fence();
    confirm(&mut grantor, 900, 901);
    assert!(ask(&mut grantor, request(1, 2), 1000).is_some());
    assert_eq!(grantor.withheld_until(&KIKI.into()), None, "it is granted more");
    grantor.on(GrantorEvent::Fences(fences(&[KIKI])), ms(1010));
    assert_eq!(ask(&mut grantor, request(1, 3), 1020), None);
    assert_eq!(grantor.withheld_until(&KIKI.into()), Some(ms(1800)));
    grantor.on(GrantorEvent::Deposed, ms(1030));
    assert_eq!(grantor.withheld_until(&KIKI.into()), None);
    // The next leader does not know what was granted last: a full lease from its election (R2).
    grantor.on(GrantorEvent::Elected(Term(2)), ms(1500));
    assert_eq!(grantor.withheld_until(&KIKI.into()), Some(ms(2300)));
}

#[test]
fn r36_one_that_is_heard_but_not_renewed_is_fenced_after_the_whole_wait() {
    let mut grantor = leading_with_fence();
    assert_eq!(grantor.on(GrantorEvent::Tick, ms(810 + 263)), []);
    assert!(fenced(&grantor.on(GrantorEvent::Tick, ms(810 + 264))));
}

#[test]
fn r36_one_that_was_never_heard_may_still_be_booting() {
    let mut grantor = leading(0);
    grantor.on(GrantorEvent::Fences(fences(&[])), ms(0));
    assert_eq!(grantor.on(GrantorEvent::Tick, ms(4999)), []);
    assert!(fenced(&grantor.on(GrantorEvent::Tick, ms(5000))));
}

#[test]
fn nothing_is_fenced_by_itself_while_the_cluster_is_suspended() {
    let mut grantor = leading_with_fence();
    grantor.on(GrantorEvent::Fences(Fences { suspended: true, ..fences(&[]) }), ms(20));
    silence(&mut grantor, true);
    assert_eq!(grantor.on(GrantorEvent::Tick, ms(60_000)), []);
    grantor.on(GrantorEvent::Fences(fences(&[])), ms(60_001));
    assert!(fenced(&grantor.on(GrantorEvent::Tick, ms(60_002))));
}

#[test]
fn a_clean_stop_is_given_the_whole_wait() {
    let mut grantor = leading_with_fence();
    let leaving = Fences { taking_part: BTreeSet::new(), ..fences(&[]) };
    grantor.on(GrantorEvent::Fences(leaving), ms(20));
    silence(&mut grantor, true);
    assert_eq!(grantor.on(GrantorEvent::Tick, ms(810 + 263)), []);
    assert!(fenced(&grantor.on(GrantorEvent::Tick, ms(810 + 264))));
}

#[test]
fn r4_whoever_shall_be_fenced_is_granted_nothing_also_by_the_next_leader() {
    let mut grantor = leading(0);
    confirm(&mut grantor, 1, 2);
    grantor.on(GrantorEvent::Fences(fences(&[KIKI])), ms(3));
    assert_eq!(ask(&mut grantor, request(1, 1), 10), None);
    assert!(grantor.fit(ms(10), Duration::from_secs(9)).is_empty());
    assert_eq!(grantor.on(GrantorEvent::Tick, ms(60_000)), [], "it is asked for once");
}

#[test]
fn r4_a_fencing_that_was_given_up_withholds_nothing_more() {
    let mut grantor = leading_with_fence();
    silence(&mut grantor, true);
    assert!(fenced(&grantor.on(GrantorEvent::Tick, ms(810))));
    assert_eq!(ask(&mut grantor, request(1, 2), 811), None, "withheld before the entry is proposed");
    grantor.on(GrantorEvent::Fences(fences(&[KIKI])), ms(812));
    grantor.on(GrantorEvent::Fences(fences(&[])), ms(900));
    confirm(&mut grantor, 900, 901);
    assert!(ask(&mut grantor, request(1, 3), 902).is_some());
}

#[test]
fn r3_nothing_is_granted_or_judged_before_election() {
    let mut grantor = Grantor::new(timing());
    grantor.on(GrantorEvent::Members(members(1)), ms(0));
    confirm(&mut grantor, 10, 20);
    assert_eq!(ask(&mut grantor, request(1, 1), 30), None);
    assert_eq!(grantor.on(GrantorEvent::Tick, ms(60_000)), []);
    grantor.on(GrantorEvent::Elected(Term(1)), ms(60_000));
    grantor.on(GrantorEvent::Deposed, ms(60_001));
    confirm(&mut grantor, 60_002, 60_003);
    assert_eq!(ask(&mut grantor, request(1, 2), 60_004), None);
}

#[test]
fn r4_judging_withholds_grants_at_once_until_the_judgement_is_refused() {
    let mut grantor = leading(0);
    assert_eq!(grantor.on(GrantorEvent::Tick, ms(1064)).len(), 1);
    confirm(&mut grantor, 1065, 1065);
    assert_eq!(ask(&mut grantor, request(1, 1), 1066), None, "withheld while the entry is on its way");
    assert_eq!(grantor.on(GrantorEvent::Tick, ms(1067)), [], "proposed once");
    grantor.on(GrantorEvent::JudgementUnclear(KIKI.into()), ms(1068));
    assert_eq!(ask(&mut grantor, request(1, 2), 1069), None, "unclear is still withheld");
    assert_eq!(grantor.on(GrantorEvent::Tick, ms(1070)).len(), 1, "and proposed again");
    grantor.on(GrantorEvent::JudgementRefused(KIKI.into()), ms(1071));
    assert!(ask(&mut grantor, request(1, 3), 1072).is_some());
}

#[test]
fn r4_a_grant_counts_only_once_the_leaders_log_is_applied() {
    let mut holder = holder();
    let seq = beat(&mut holder, 100).unwrap().seq;
    assert_eq!(holder.on(grant(seq, 800, 5), ms(110)), []);
    assert!(!holder.holds(ms(120)));
    assert_eq!(holder.on(HolderEvent::Applied(4), ms(130)), []);
    assert_eq!(holder.on(HolderEvent::Applied(5), ms(140)), [HolderAction::Renew(ms(900))]);
}

#[test]
fn r4_every_grant_names_the_leaders_last_log_entry() {
    let mut grantor = leading(0);
    confirm(&mut grantor, 1, 2);
    assert_eq!(ask(&mut grantor, request(1, 1), 3).unwrap().barrier, 7);
}

#[test]
fn r21_the_word_of_a_new_life_ends_the_wait_for_the_old_one() {
    let mut grantor = leading(0);
    confirm(&mut grantor, 0, 1);
    assert!(ask(&mut grantor, request(1, 1), 1).is_some());
    let stopped = |before| GrantorEvent::Stopped { server: KIKI.into(), before: Incarnation(before) };
    // It says nothing of itself, nor of a life that came after it.
    assert_eq!(grantor.on(stopped(1), ms(2)), []);
    let judged = grantor.on(stopped(2), ms(3));
    let [GrantorAction::Judge { incarnation: Incarnation(1), .. }] = &judged[..] else {
        panic!("{judged:?}")
    };
    // R4: from here on the old life is granted nothing, and it is judged once.
    assert!(ask(&mut grantor, request(1, 2), 4).is_none());
    assert_eq!(grantor.on(stopped(2), ms(5)), []);
    // The new life holds a lease of its own, which is waited for.
    grantor.on(GrantorEvent::Members(members(2)), ms(6));
    assert_eq!(grantor.on(stopped(2), ms(7)), []);
    assert_eq!(grantor.on(GrantorEvent::Tick, ms(700)), []);
}

#[test]
fn r5_only_the_incarnation_that_the_registry_knows_is_granted() {
    let mut grantor = leading(0);
    confirm(&mut grantor, 1, 2);
    assert_eq!(ask(&mut grantor, request(2, 1), 3), None);
    grantor.on(GrantorEvent::Members(members(2)), ms(4));
    assert!(ask(&mut grantor, request(2, 2), 5).is_some());
    assert_eq!(ask(&mut grantor, request(1, 3), 6), None, "the old life is granted nothing more");
}

#[test]
fn r5_a_grant_for_another_life_counts_for_nothing() {
    let mut holder = holder();
    let seq = beat(&mut holder, 100).unwrap().seq;
    holder.on(HolderEvent::Registered(Incarnation(2)), ms(110));
    assert_eq!(holder.on(grant(seq, 800, 0), ms(120)), []);
    // Nor does one whose number happens to fit.
    let seq = beat(&mut holder, 130).unwrap().seq;
    assert_eq!(holder.on(grant(seq, 800, 0), ms(140)), []);
}

#[test]
fn r5_a_new_life_does_not_end_the_old_ones_lease_in_the_table() {
    let mut grantor = leading(0);
    confirm(&mut grantor, 1, 2);
    ask(&mut grantor, request(1, 1), 700).unwrap(); // may last until 1500
    grantor.on(GrantorEvent::Members(members(2)), ms(701));
    assert_eq!(grantor.on(GrantorEvent::Tick, ms(1501 + 263)), []);
    assert_eq!(grantor.on(GrantorEvent::Tick, ms(1501 + 264)).len(), 1);
}

#[test]
fn r7_after_the_hand_back_nothing_brings_the_lease_back() {
    let mut holder = holder();
    let seq = beat(&mut holder, 100).unwrap().seq;
    holder.on(HolderEvent::HandBack, ms(110));
    assert_eq!(holder.on(grant(seq, 800, 0), ms(120)), []);
    assert_eq!(beat(&mut holder, 130), None, "and it asks no more");
    assert!(!holder.holds(ms(121)));
}

#[test]
fn r8_a_server_that_is_a_lease_behind_or_unhealthy_is_not_renewed() {
    let mut grantor = leading(0);
    grantor.on(GrantorEvent::Committed(5), ms(0));
    confirm(&mut grantor, 400, 401);
    assert!(ask(&mut grantor, request(1, 1), 402).is_some(), "behind for less than a lease");
    confirm(&mut grantor, 900, 901);
    assert_eq!(ask(&mut grantor, request(1, 2), 902), None, "behind for more");
    assert!(ask(&mut grantor, Request { applied: 5, ..request(1, 3) }, 903).is_some());
    assert_eq!(ask(&mut grantor, Request { applied: 5, healthy: false, ..request(1, 4) }, 904), None);
}

#[test]
fn a_server_is_fit_only_while_it_is_being_renewed() {
    let mut grantor = leading(0);
    let patience = Duration::from_millis(150);
    assert!(grantor.fit(ms(1), patience).is_empty(), "not before it was granted a lease");
    confirm(&mut grantor, 1, 2);
    ask(&mut grantor, request(1, 1), 10).unwrap();
    assert_eq!(grantor.fit(ms(160), patience).len(), 1);
    assert!(grantor.fit(ms(161), patience).is_empty());
}

/// Random delays and losses between one holder and a leader that may be cut off and replaced:
/// when the server is judged by anybody, its own lease has ended, on clocks 8 % apart.
#[test]
fn r1_r2_r9_the_holder_always_ends_before_anybody_judges_it() {
    for seed in 1..=2000u64 {
        takeover_never_overlaps(seed);
    }
}

fn takeover_never_overlaps(seed: u64) {
    let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut draw = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    // The holder's clock runs 8 % slow: the worst for us.
    let own = |now: u64| Timestamp(ms(now).0 / 100 * 92);
    let mut holder = holder();
    let mut leaders = [leading(0), Grantor::new(timing())];
    leaders[1].on(GrantorEvent::Members(members(1)), ms(0));
    let cut_at = 200 + draw(1500); // the quorum follows the second leader from here on
    let deaf_at = cut_at + draw(400); // and nobody hears the holder from here on
    let mut replies: Vec<(u64, Grant)> = Vec::new();
    for now in 1..6000 {
        if now == cut_at {
            leaders[1].on(GrantorEvent::Elected(Term(2)), ms(now));
        }
        if now % 50 == 0 {
            // Rounds: the first leader's only while the quorum follows it.
            let quorum = usize::from(now >= cut_at);
            leaders[quorum].on(GrantorEvent::Confirmed { sent: ms(now) }, ms(now));
            if let Some(request) = beat(&mut holder, own(now).0 / 1_000_000).filter(|_| now < deaf_at) {
                for leader in &mut leaders {
                    if draw(4) > 0
                        && let Some(grant) = ask(leader, Request { applied: 7, ..request.clone() }, now)
                    {
                        replies.push((now + draw(900), grant));
                    }
                }
            }
        }
        holder.on(HolderEvent::Applied(7), own(now));
        replies.retain(|(at, grant)| {
            if *at <= now {
                holder.on(HolderEvent::Granted(grant.clone()), own(now));
            }
            *at > now
        });
        // Only the leader that a quorum follows can have a judgement committed.
        let judged = leaders[usize::from(now >= cut_at)].on(GrantorEvent::Tick, ms(now));
        if !judged.is_empty() {
            // The guard needs its budget after the lease's end.
            let stopped = own(now).0.saturating_sub(100 * 1_000_000);
            assert!(!holder.holds(Timestamp(stopped)), "seed {seed}: judged at {now} ms while it ran");
            return;
        }
    }
}
