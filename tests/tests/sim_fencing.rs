//! Fencing over the real actors, Raft and store; the devices cut the power of machines in memory.
//! Rules R5, R12, R13 and R36.

#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tasuki_core::{
    config::{ClusterConfig, FenceConfig, FenceKind},
    ids::ServerName,
    membership::reset::with_watchdog,
    registry::{
        Command, State,
        fencing::{Fencing, FencingState},
        state::AfterStop,
    },
    timing::Timing,
};
use tasuki_tests::twin::{Happening, Twin, config, holds_in_time, in_time, online_on, patiently_at, servers};

const DETECT: Duration = Duration::from_secs(1);

/// Three servers, each with these levels of devices. Their watchdogs are slow, so that a takeover by
/// time alone would take long.
fn with_fences(levels: &[&[&str]], detect: Duration) -> ClusterConfig {
    let mut config = config(3, detect);
    config.settings.timing.watchdog = detect * 4;
    for device in levels.iter().copied().flatten() {
        let device_config = FenceConfig {
            comment: String::new(),
            kind: FenceKind::Script { program: "/bin/true".into() },
            ports: BTreeMap::new(),
            timeout: Duration::from_secs(2),
            retries: 0,
            delay: Duration::ZERO,
        };
        config.settings.fences.insert((*device).into(), device_config);
    }
    for server in config.servers.values_mut() {
        server.fencing = levels.iter().map(|level| level.iter().map(|d| (*d).into()).collect()).collect();
    }
    config
}

async fn three(levels: &[&[&str]], detect: Duration) -> Twin {
    formed(with_fences(levels, detect)).await
}

/// The same, where `dog` is the servers' own watchdogs.
async fn three_with_dogs(levels: &[&[&str]]) -> Twin {
    let mut config = with_fences(levels, DETECT);
    config.settings.timing.watchdog = Duration::ZERO;
    config.settings.fences.get_mut(&"dog".into()).unwrap().kind = FenceKind::Watchdog;
    formed(config).await
}

async fn formed(config: ClusterConfig) -> Twin {
    let twin = Twin::form(config).await;
    twin.until_whole().await;
    twin.until_online("web", &servers(&["kiki"])).await;
    twin
}

fn kiki() -> ServerName {
    "kiki".into()
}

fn fencing(state: &State) -> Option<&Fencing> {
    state.servers[&kiki()].fencing.as_ref().map(|item| &item.value)
}

fn is(state: &State, wanted: &FencingState) -> bool {
    fencing(state).is_some_and(|fencing| fencing.state == *wanted)
}

fn by(devices: &[&str]) -> FencingState {
    FencingState::Confirmed { by: devices.iter().map(|device| (*device).into()).collect() }
}

async fn propose(twin: &Twin, command: Command) {
    twin.command(&"lala".into(), command).await;
}

/// The newest term that anybody alive knows.
fn term(twin: &Twin) -> u64 {
    let alive = twin.others(&kiki()).into_iter().filter_map(|server| twin.node(&server));
    alive.map(|node| node.status().raft.term.0).max().unwrap_or(0)
}

/// The wait of a takeover by time alone, which a fence spares.
fn long_wait(detect: Duration) -> Duration {
    with_fences(&[], detect).settings.timing.takeover_wait()
}

#[test]
fn r36_a_silent_server_is_fenced_and_then_taken_over_at_once() {
    patiently_at(DETECT, async || {
        let twin = three(&[&["ipmi"]], DETECT).await;
        let began = Instant::now();
        twin.isolate(&[kiki()]);
        twin.until_online("web", &twin.others(&kiki())).await;
        let took = began.elapsed();
        println!("fenced and online elsewhere after {took:?}; by time it would be {:?}", long_wait(DETECT));
        holds_in_time(took < long_wait(DETECT), &format_args!("no wait by time alone: {took:?}"));
        let tries = twin.power().tries();
        holds_in_time(tries == [("ipmi".into(), kiki(), true)], &format_args!("one, by one: {tries:?}"));
        twin.until("it is confirmed, and the try is kept", |state| {
            is(state, &by(&["ipmi"])) && fencing(state).is_some_and(|fencing| fencing.tries.len() == 1)
        })
        .await;
        twin.assert_one_owner_at_a_time();
    });
}

#[test]
fn r36_while_the_fence_fails_nobody_takes_over_until_it_works() {
    patiently_at(DETECT, async || {
        let twin = three(&[&["ipmi"]], DETECT).await;
        twin.power().break_device("ipmi");
        twin.isolate(&[kiki()]);
        twin.until("the fencing has failed", |state| is(state, &FencingState::Failed)).await;
        // Longer than any wait by time alone: only that would show a takeover that did not wait.
        tokio::time::sleep(long_wait(DETECT) * 3 / 2).await;
        let state = twin.node(&"lala".into()).unwrap().state();
        assert_eq!(state.groups[&"web".into()].ownership.value.owner, Some(kiki()));
        let stood = |(_, what): &(Duration, Happening)| matches!(what, Happening::StoodDown(_));
        assert!(twin.machine(&kiki()).log().iter().any(stood), "it has stopped by itself long ago");
        twin.power().mend_device("ipmi");
        twin.until_online("web", &twin.others(&kiki())).await;
        twin.assert_one_owner_at_a_time();
        let kikis = twin.power().tries().iter().all(|(_, target, _)| *target == kiki());
        holds_in_time(kikis, &"nobody else is fenced");
    });
}

#[test]
fn r13_an_operators_word_ends_the_wait_for_a_fence_that_fails() {
    patiently_at(DETECT, async || {
        let twin = three(&[&["ipmi"]], DETECT).await;
        twin.power().break_device("ipmi");
        twin.kill_machine(&kiki()).await;
        twin.until("the fencing has failed", |state| is(state, &FencingState::Failed)).await;
        let incarnation = twin.node(&"lala".into()).unwrap().state().presence(&kiki()).unwrap().incarnation;
        propose(&twin, Command::ServerFenced { server: kiki(), incarnation, by: Vec::new() }).await;
        twin.until_online("web", &twin.others(&kiki())).await;
        twin.assert_one_owner_at_a_time();
    });
}

#[test]
fn the_second_level_is_tried_when_the_first_fails() {
    patiently_at(DETECT, async || {
        let twin = three(&[&["ipmi"], &["pdu-a", "pdu-b"]], DETECT).await;
        twin.power().break_device("ipmi");
        twin.isolate(&[kiki()]);
        twin.until("both outlets are off", |state| is(state, &by(&["pdu-a", "pdu-b"]))).await;
        twin.until_online("web", &twin.others(&kiki())).await;
        let tried: Vec<(String, bool)> =
            twin.power().tries().into_iter().map(|(device, _, ok)| (device.to_string(), ok)).collect();
        let expected = [("ipmi", false), ("pdu-a", true), ("pdu-b", true)];
        let expected = expected.map(|(device, ok)| (device.to_owned(), ok));
        holds_in_time(tried == expected, &format_args!("one after the other: {tried:?}"));
        twin.assert_one_owner_at_a_time();
    });
}

#[test]
fn r12_a_fenced_server_comes_back_is_let_in_and_may_run_groups_again() {
    patiently_at(DETECT, async || {
        let twin = three(&[&["ipmi"]], DETECT).await;
        twin.isolate(&[kiki()]);
        twin.until_online("web", &twin.others(&kiki())).await;
        twin.heal();
        twin.kill_node(&kiki()).await;
        twin.boot(&kiki()).await;
        twin.until("kiki is let in again", |state| is(state, &FencingState::Lifted)).await;
        twin.until_whole().await;
        let to = Some(kiki());
        let fit = async {
            let leads = |name: &ServerName| twin.node(name).unwrap().context().leading.borrow().clone();
            let all = || twin.others(&kiki()).into_iter().chain([kiki()]);
            while !all().any(|name| leads(&name).is_some_and(|leading| leading.fit.contains(&kiki()))) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        in_time("kiki is granted a lease again", fit).await;
        propose(&twin, Command::MoveGroup { group: "web".into(), to, force: false }).await;
        twin.until_online("web", &[kiki()]).await;
        twin.assert_one_owner_at_a_time();
    });
}

#[test]
fn at_most_one_fencing_a_target_also_when_the_leader_changes() {
    patiently_at(DETECT, async || {
        let twin = three(&[&["ipmi"]], DETECT).await;
        twin.power().takes(DETECT);
        twin.kill_machine(&kiki()).await;
        twin.until("it is asked for", |state| fencing(state).is_some()).await;
        let before = term(&twin);
        propose(&twin, Command::StopGroup { group: "web".into(), force: false }).await; // any other change
        twin.until("it is confirmed", |state| is(state, &by(&["ipmi"]))).await;
        assert_eq!(twin.power().most_at_once(), 1);
        // A leader that was deposed before it had said what came of its try leaves it to the next to try again.
        let (tries, leaders) = (twin.power().tries(), 1 + term(&twin).saturating_sub(before));
        assert!((1..=leaders).contains(&(tries.len() as u64)), "{leaders} leaders: {tries:?}");
    });
}

#[test]
fn r6_a_node_that_restarts_within_its_lease_is_not_fenced() {
    patiently_at(DETECT, async || {
        let patient = Duration::from_secs(3);
        let twin = three(&[&["ipmi"]], patient).await;
        twin.kill_node(&kiki()).await;
        twin.boot(&kiki()).await;
        twin.until("kiki is a new incarnation and web online", |state| {
            state.presence(&kiki()).is_some_and(|p| p.incarnation.0 == 2 && p.up)
                && online_on(state, "web") == Some(kiki())
        })
        .await;
        tokio::time::sleep(patient * 3 / 2).await; // longer than a lease: a fence would have come by now
        holds_in_time(twin.power().tries().is_empty(), &"nobody is fenced");
        holds_in_time(
            twin.machine(&kiki()).log().len() == 1,
            &"started once, and nothing else ever happened",
        );
    });
}

#[test]
fn a_server_that_stops_in_order_is_not_fenced() {
    patiently_at(DETECT, async || {
        let twin = three(&[&["ipmi"]], DETECT).await;
        propose(&twin, Command::ServerLeave { server: kiki(), after: AfterStop::Nothing }).await;
        twin.until_online("web", &twin.others(&kiki())).await;
        twin.until("kiki has stopped", |state| state.presence(&kiki()).is_some_and(|p| !p.up)).await;
        twin.kill_node(&kiki()).await;
        tokio::time::sleep(long_wait(DETECT)).await; // a fence would have come by now
        holds_in_time(twin.power().tries().is_empty(), &"nobody is fenced");
        twin.assert_one_owner_at_a_time();
    });
}

/// R9, R10: nothing is ordered; the leader waits until the watchdog that is there has done its work,
/// whatever time-out was configured.
#[test]
fn r10_an_armed_watchdog_confirms_once_its_time_has_passed() {
    patiently_at(DETECT, async || {
        let twin = three_with_dogs(&[&["dog"]]).await;
        let timeout = DETECT * 3;
        twin.machine(&kiki()).arm_watchdog(timeout);
        twin.until("the others know of it", |state| {
            state.presence(&kiki()).is_some_and(|p| p.watchdog == Some(timeout))
        })
        .await;
        let timing = with_watchdog(&Timing::from_detect(DETECT), timeout);
        let began = Instant::now();
        twin.isolate(&[kiki()]);
        twin.until_online("web", &twin.others(&kiki())).await;
        let took = began.elapsed();
        println!("taken over after {took:?}; its watchdog may take {:?}", timing.takeover_wait());
        // Its last lease was granted within a lease before it was cut off.
        assert!(took + timing.lease >= timing.takeover_wait(), "{took:?}");
        twin.until("the watchdog has confirmed it", |state| is(state, &by(&["dog"]))).await;
        assert_eq!(twin.power().tries(), [], "no device was ordered to do anything");
        twin.assert_one_owner_at_a_time();
        twin.heal();
        twin.kill_node(&kiki()).await;
        twin.boot(&kiki()).await;
        twin.until("kiki is let in again", |state| is(state, &FencingState::Lifted)).await;
    });
}

#[test]
fn r10_a_watchdog_that_nobody_told_of_confirms_nothing() {
    patiently_at(DETECT, async || {
        let twin = three_with_dogs(&[&["dog"], &["ipmi"]]).await;
        twin.power().break_device("ipmi");
        twin.machine(&"lala".into()).arm_watchdog(DETECT);
        twin.isolate(&[kiki()]);
        twin.until("the fencing has failed", |state| is(state, &FencingState::Failed)).await;
        // As that is known somewhere: lala may not have heard of the second try yet.
        let state = twin.newest();
        let tried: Vec<&str> = fencing(&state).unwrap().tries.iter().map(|t| t.device.as_str()).collect();
        assert!(tried.starts_with(&["dog", "ipmi"]), "{tried:?}"); // perhaps tried once more already
        let why = fencing(&state).unwrap().tries[0].error.clone().unwrap();
        assert!(why.contains("told of no watchdog"), "{why}");
        // Longer than any wait by time alone: only that would show a takeover that did not wait.
        tokio::time::sleep(Timing::from_detect(DETECT).takeover_wait() * 3 / 2).await;
        let state = twin.node(&"lala".into()).unwrap().state();
        assert_eq!(state.groups[&"web".into()].ownership.value.owner, Some(kiki()));
        twin.power().mend_device("ipmi");
        twin.until("the other level has", |state| is(state, &by(&["ipmi"]))).await;
        twin.until_online("web", &twin.others(&kiki())).await;
    });
}
