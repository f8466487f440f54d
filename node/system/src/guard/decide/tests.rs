use super::*;

const BUDGET: Duration = Duration::from_millis(100);
const LEASE: Duration = Duration::from_millis(800);
const AFTER: AfterStop = AfterStop::Nothing;

fn at(millis: u64) -> Timestamp {
    Timestamp(millis * 1_000_000)
}

/// A guard whose node runs since 0 with a lease until 800 ms.
fn serving() -> Decider {
    let mut guard = Decider::new(BUDGET, LEASE);
    let started = Event::Started { remembered: None, runs: false, old_node: false };
    assert_eq!(guard.on(started, at(0)), [Action::StartNode]);
    assert_eq!(guard.on(Event::Renewed { end: at(800) }, at(1)), [Action::Remember(Some(at(800)))]);
    guard
}

fn stop(cause: Cause, deadline: u64) -> Action {
    Action::StopAll { cause, deadline: at(deadline) }
}

#[test]
fn r10_at_the_leases_end_the_node_is_killed_first() {
    let mut guard = serving();
    assert_eq!(guard.on(Event::Tick, at(799)), []);
    let actions = guard.on(Event::Tick, at(800));
    assert_eq!(actions, [Action::KillNode, Action::Remember(None), stop(Cause::LeaseEnded, 900)]);
    assert_eq!(guard.on(Event::AllStopped, at(810)), [Action::Remember(None), Action::StartNode]);
    assert_eq!(guard.lease_end(), None);
}

#[test]
fn r10_a_dead_node_does_not_keep_the_lease_from_ending() {
    let mut guard = serving();
    assert_eq!(guard.on(Event::NodeEnded, at(3)), [Action::StartNode]);
    let actions = guard.on(Event::Tick, at(801));
    assert_eq!(actions, [Action::KillNode, Action::Remember(None), stop(Cause::LeaseEnded, 900)]);
}

#[test]
fn a_reset_comes_first_and_where_it_is_not_permitted_everything_is_stopped() {
    let mut guard = serving();
    let why = || "a final action".to_owned();
    let actions = guard.on(Event::AskedToReset { why: why() }, at(10));
    let stop = stop(Cause::Asked(why()), 110);
    assert_eq!(actions, [Action::Reset { why: why() }, Action::KillNode, Action::Remember(None), stop]);
    assert_eq!(guard.on(Event::AllStopped, at(12)), [Action::Remember(None), Action::StartNode]);
}

#[test]
fn r38_a_clock_jump_ends_the_lease_at_once() {
    let mut guard = serving();
    let actions = guard.on(Event::ClockJumped, at(10));
    assert_eq!(actions, [Action::KillNode, Action::Remember(None), stop(Cause::ClockJumped, 110)]);
    // What the node sent before it was killed is void.
    assert_eq!(guard.on(Event::Renewed { end: at(900) }, at(11)), []);
    assert_eq!(guard.on(Event::AllStopped, at(12)), [Action::Remember(None), Action::StartNode]);
    assert_eq!(guard.on(Event::ClockJumped, at(13)), [], "without a lease nothing runs");
}

#[test]
fn r6_what_runs_goes_on_while_the_lease_of_the_guard_before_lasts() {
    let mut guard = Decider::new(BUDGET, LEASE);
    let started = Event::Started { remembered: Some(at(500)), runs: true, old_node: false };
    assert_eq!(guard.on(started, at(100)), [Action::StartNode]);
    assert_eq!(guard.lease_end(), Some(at(500)));
    assert_eq!(guard.on(Event::Tick, at(500))[0], Action::KillNode);
}

#[test]
fn r10_what_runs_without_a_lease_is_stopped_before_a_node_starts() {
    for remembered in [None, Some(at(50))] {
        let mut guard = Decider::new(BUDGET, LEASE);
        let started = Event::Started { remembered, runs: true, old_node: true };
        assert_eq!(guard.on(started, at(100)), [Action::KillNode, stop(Cause::NoLeaseAtStart, 200)]);
        assert_eq!(guard.on(Event::AllStopped, at(120)), [Action::Remember(None), Action::StartNode]);
    }
}

#[test]
fn an_old_node_is_killed_before_another_starts() {
    let mut guard = Decider::new(BUDGET, LEASE);
    let started = Event::Started { remembered: Some(at(500)), runs: true, old_node: true };
    assert_eq!(guard.on(started, at(100)), [Action::KillNode]);
    assert_eq!(guard.on(Event::Tick, at(110)), []);
    assert_eq!(guard.on(Event::NodeEnded, at(120)), [Action::StartNode]);
}

#[test]
fn r7_the_lease_is_acknowledged_only_after_nothing_runs() {
    let mut guard = serving();
    assert_eq!(guard.on(Event::GivenBack { id: 7 }, at(10)), [stop(Cause::GivenBack, 110)]);
    assert_eq!(guard.on(Event::StillRunning, at(20)), []);
    assert_eq!(guard.on(Event::Renewed { end: at(2000) }, at(20)), [], "requests under way are void");
    assert_eq!(guard.lease_end(), Some(at(800)), "until it is acknowledged it counts");
    assert_eq!(guard.on(Event::AllStopped, at(30)), [Action::Remember(None), Action::Acknowledge { id: 7 }]);
    assert_eq!(guard.lease_end(), None);
    assert_eq!(guard.on(Event::Renewed { end: at(900) }, at(40)), [Action::Remember(Some(at(900)))]);
}

#[test]
fn r7_a_lease_that_ends_while_it_is_given_back_takes_the_node_with_it() {
    let mut guard = serving();
    guard.on(Event::GivenBack { id: 7 }, at(750));
    assert_eq!(guard.on(Event::Tick, at(760)), [stop(Cause::GivenBack, 850)]);
    let actions = guard.on(Event::Tick, at(800));
    assert_eq!(actions, [Action::KillNode, Action::Remember(None), stop(Cause::LeaseEnded, 900)]);
    let actions = guard.on(Event::AllStopped, at(810));
    assert_eq!(actions, [Action::Remember(None), Action::StartNode], "nothing to acknowledge to");
}

#[test]
fn r10_past_the_budget_it_is_said_once_and_tried_on() {
    let mut guard = serving();
    guard.on(Event::Tick, at(800));
    assert_eq!(guard.on(Event::StillRunning, at(899)), []);
    assert_eq!(guard.on(Event::StillRunning, at(900)), [Action::Overdue]);
    assert_eq!(guard.on(Event::StillRunning, at(901)), []);
    assert_eq!(guard.on(Event::Tick, at(905)), [Action::KillNode, stop(Cause::LeaseEnded, 1005)]);
    assert_eq!(guard.lease_end(), Some(at(800)), "it is what forbids petting");
}

#[test]
fn a_renewal_only_ever_extends() {
    let mut guard = serving();
    assert_eq!(guard.on(Event::Renewed { end: at(700) }, at(2)), []);
    assert_eq!(guard.on(Event::Renewed { end: at(50) }, at(60)), []);
    assert_eq!(guard.lease_end(), Some(at(800)));
}

#[test]
fn a_renewal_that_waited_in_the_socket_counts_as_long_as_it_lasts() {
    let mut guard = serving();
    guard.on(Event::Renewed { end: at(850) }, at(810));
    assert_eq!(guard.on(Event::Tick, at(811)), []);
}

#[test]
fn nodes_that_keep_ending_early_are_started_less_often() {
    let mut guard = Decider::new(BUDGET, LEASE);
    let started = Event::Started { remembered: None, runs: false, old_node: false };
    assert_eq!(guard.on(started, at(1)), [Action::StartNode]);
    for _ in 0..STARTS_AT_ONCE {
        assert_eq!(guard.on(Event::NodeEnded, at(10)), [Action::StartNode]);
    }
    assert_eq!(guard.on(Event::NodeEnded, at(10)), []);
    assert_eq!(guard.on(Event::Tick, at(109)), []);
    assert_eq!(guard.on(Event::Tick, at(110)), [Action::StartNode]);
    assert_eq!(guard.on(Event::NodeEnded, at(120)), []);
    assert_eq!(guard.on(Event::Tick, at(320)), [Action::StartNode]);
    guard.on(Event::Renewed { end: at(60_000) }, at(400));
    assert_eq!(guard.on(Event::NodeEnded, at(50_000)), [Action::StartNode], "it ran for long");
}

#[test]
fn r6_while_a_lease_lasts_no_node_is_kept_waiting() {
    let mut guard = serving();
    for _ in 0..20 {
        assert_eq!(guard.on(Event::NodeEnded, at(10)), [Action::StartNode]);
    }
}

#[test]
fn leaving_waits_for_the_node_then_stops_what_is_left() {
    let mut guard = serving();
    assert_eq!(guard.on(Event::Left { after: AfterStop::Reboot }, at(10)), []);
    assert_eq!(
        guard.on(Event::NodeEnded, at(20)),
        [Action::KillNode, Action::Remember(None), stop(Cause::Leaving, 120)]
    );
    let actions = guard.on(Event::AllStopped, at(30));
    assert_eq!(actions, [Action::Remember(None), Action::End { after: AfterStop::Reboot }]);
    assert!(guard.is_done());
}

#[test]
fn a_node_that_left_and_does_not_end_is_killed() {
    let mut guard = serving();
    guard.on(Event::Renewed { end: at(60_000) }, at(5));
    guard.on(Event::Left { after: AFTER }, at(10));
    assert_eq!(guard.on(Event::Tick, at(2010))[0], Action::KillNode);
}

#[test]
fn asked_to_end_the_guard_asks_its_node_and_the_second_time_insists() {
    let mut guard = serving();
    assert_eq!(guard.on(Event::AskedToEnd, at(10)), [Action::TellNodeToStop]);
    let actions = guard.on(Event::AskedToEnd, at(20));
    assert_eq!(actions, [Action::KillNode, Action::Remember(None), stop(Cause::EndedAtOnce, 120)]);
    assert_eq!(guard.on(Event::AllStopped, at(30))[1], Action::End { after: AFTER });
}

#[test]
fn asked_to_end_with_a_node_that_dies_instead_everything_stops() {
    let mut guard = serving();
    guard.on(Event::AskedToEnd, at(10));
    assert_eq!(guard.on(Event::NodeEnded, at(20))[0], Action::KillNode);
    assert_eq!(guard.on(Event::AllStopped, at(30))[1], Action::End { after: AFTER });
}

#[test]
fn asked_to_end_and_the_node_dies_while_its_lease_is_given_back() {
    let mut guard = serving();
    guard.on(Event::AskedToEnd, at(10));
    guard.on(Event::GivenBack { id: 1 }, at(11));
    guard.on(Event::NodeEnded, at(12));
    let actions = guard.on(Event::AllStopped, at(13));
    assert_eq!(actions[..2], [Action::Remember(None), Action::Acknowledge { id: 1 }]);
    assert_eq!(guard.on(Event::AllStopped, at(14)).last(), Some(&Action::End { after: AFTER }));
}

#[test]
fn no_event_in_any_phase_starts_a_node_while_something_is_being_stopped() {
    let events = || {
        [
            Event::Renewed { end: at(9000) },
            Event::GivenBack { id: 9 },
            Event::AskedToStandDown { why: "why".into() },
            Event::AskedToReset { why: "why".into() },
            Event::Left { after: AFTER },
            Event::NodeEnded,
            Event::ClockJumped,
            Event::AskedToEnd,
            Event::StillRunning,
            Event::Tick,
        ]
    };
    for first in events() {
        for second in events() {
            for third in events() {
                let mut guard = serving();
                guard.on(Event::Tick, at(800));
                for event in [first.clone(), second.clone(), third] {
                    let actions = guard.on(event, at(801));
                    assert!(!actions.contains(&Action::StartNode), "{actions:?}");
                    assert!(!actions.iter().any(|action| matches!(action, Action::Acknowledge { .. })));
                    assert!(guard.lease_end().is_none_or(|end| end == at(800)));
                }
            }
        }
    }
}

#[test]
fn r9_the_reset_comes_by_the_time_everything_must_have_stopped() {
    let (timeout, lease) = (Duration::from_secs(1), Duration::from_secs(5));
    assert_eq!(watchdog_cost(timeout, lease, BUDGET), Duration::ZERO);
    let rule = WatchdogRule { timeout, budget: BUDGET, cost: Duration::ZERO };
    for now in 0..6000 {
        let may = rule.may_pet(at(now), Some(at(5000)), true);
        assert_eq!(may, now + 1000 <= 5100, "at {now}");
    }
}

#[test]
fn r9_a_slow_watchdog_adds_its_difference_and_can_still_be_petted() {
    let (timeout, lease) = (Duration::from_secs(1), Duration::from_millis(800));
    let cost = watchdog_cost(timeout, lease, BUDGET);
    assert_eq!(cost, Duration::from_millis(300));
    let rule = WatchdogRule { timeout, budget: BUDGET, cost };
    assert!(rule.may_pet(at(200), Some(at(800)), true), "a quarter of a lease after its renewal");
    assert!(!rule.may_pet(at(201), Some(at(800)), true));
}

#[test]
fn r10_without_a_lease_it_is_petted_only_while_nothing_runs() {
    let rule = WatchdogRule { timeout: Duration::from_secs(1), budget: BUDGET, cost: Duration::ZERO };
    assert!(rule.may_pet(at(1), None, false));
    assert!(!rule.may_pet(at(1), None, true));
}

fn alive(part: Watched, millis: u64) -> Event {
    Event::Alive { part, at: at(millis) }
}

/// A guard whose node has a long lease and whose parts were all heard at 100 ms.
fn watching() -> Decider {
    let mut guard = serving();
    guard.on(Event::Renewed { end: at(60_000) }, at(2));
    for part in Watched::ALL {
        assert_eq!(guard.on(alive(part, 100), at(100)), []);
    }
    guard
}

fn hung(actions: &[Action]) -> Option<&str> {
    match actions {
        [Action::KillNode, Action::Remember(None), Action::StopAll { cause: Cause::Hung(why), .. }] => {
            Some(why)
        }
        _ => None,
    }
}

#[test]
fn o9_a_part_that_is_silent_for_misscount_ends_everything_whatever_the_lease() {
    for part in Watched::ALL {
        let mut guard = watching();
        for other in Watched::ALL.into_iter().filter(|other| *other != part) {
            guard.on(alive(other, 700), at(700));
        }
        assert_eq!(guard.next_tick(at(700)), Some(at(900)));
        assert_eq!(guard.on(Event::AllHeard, at(899)), []);
        let actions = guard.on(Event::AllHeard, at(900));
        let why = format!("{part} did not move for 800 ms");
        assert_eq!(hung(&actions), Some(&why[..]));
        assert_eq!(guard.on(Event::AllStopped, at(910)), [Action::Remember(None), Action::StartNode]);
        assert_eq!(guard.on(Event::AllHeard, at(5000)), [], "the new node has said nothing yet");
    }
}

#[test]
fn o9_a_watcher_that_hung_is_noticed_at_the_latest_when_the_hang_ends() {
    let mut guard = watching();
    // The guard itself did not run meanwhile, and reads what was said in order.
    assert_eq!(guard.on(alive(Watched::Sync, 500), at(1500)), []);
    assert_eq!(guard.on(alive(Watched::Sync, 1200), at(1500)), []);
    assert!(hung(&guard.on(alive(Watched::Agent, 1400), at(1500))).is_some());
}

#[test]
fn o9_a_guard_that_was_late_itself_blames_nobody() {
    let mut guard = watching();
    for millis in [600, 1100, 1600, 2100] {
        for part in Watched::ALL {
            assert_eq!(guard.on(alive(part, millis), at(2200)), []);
        }
    }
    assert_eq!(guard.on(Event::AllHeard, at(2200)), []);
}

#[test]
fn o9_what_a_watcher_found_ends_everything_and_resets_the_machine_where_that_is_configured() {
    let why = || "the lease actor does not move".to_owned();
    let mut guard = watching();
    assert_eq!(hung(&guard.on(Event::Hangs { why: why() }, at(200))), Some(&why()[..]));
    assert_eq!(guard.on(Event::Hangs { why: why() }, at(201)), [], "once");
    let mut guard = watching();
    guard.set_times(BUDGET, LEASE, OnHang::Reset);
    let actions = guard.on(Event::Hangs { why: why() }, at(200));
    assert_eq!(actions[0], Action::Reset { why: why() });
    assert!(hung(&actions[1..]).is_some(), "for where it is not permitted");
}

#[test]
fn o9_a_node_that_ends_or_leaves_does_not_hang() {
    let mut guard = watching();
    assert_eq!(guard.on(Event::NodeEnded, at(300)), [Action::StartNode]);
    assert_eq!(guard.on(Event::AllHeard, at(2000)), []);
    let mut guard = watching();
    assert_eq!(guard.on(Event::Left { after: AFTER }, at(300)), []);
    assert_eq!(guard.on(Event::AllHeard, at(1500)), []);
    assert_eq!(guard.on(alive(Watched::Sync, 1500), at(1500)), []);
}
