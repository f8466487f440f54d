//! A monitor's life: as stories, as the table of all transitions, and as every short script.

use super::*;
use crate::config::{FinalAction, RecoveryConfig, RecoveryTarget};

fn at(seconds: u64) -> Timestamp {
    Timestamp(seconds * 1_000_000_000)
}

/// The reference's `oracle-watch`, as another kind: 5 s, 60 s, no retries, start delay 30 s.
fn watch(kind: MonitorKind, timing: MonitorTiming, retries: u32) -> MonitorConfig {
    MonitorConfig {
        comment: String::new(),
        kind,
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(60),
        retries,
        start_delay: Duration::from_secs(30),
        timing,
        target: Some("oracle-start".into()),
        nice: 0,
        servers: Vec::new(),
        recovery: RecoveryConfig {
            target: RecoveryTarget::Resource("oracle-start".into()),
            restarts: 1,
            failovers: 1,
            last: FinalAction::None,
        },
    }
}

fn script() -> MonitorKind {
    MonitorKind::Exec { command: vec!["look".into()], user: None, directory: None }
}

fn new(config: &MonitorConfig) -> Watch {
    Watch::new(config, &"kiki".into(), at(0))
}

fn say(actions: &[Action]) -> String {
    let words = actions.iter().map(|action| match action {
        Action::Look => "look".to_owned(),
        Action::Report(report) if report.detail.is_empty() => report.state.to_string(),
        Action::Report(report) => format!("{} ({})", report.state, report.detail),
        Action::Found { detail } => format!("found: {detail}"),
        Action::Mended => "mended".to_owned(),
    });
    words.collect::<Vec<_>>().join(", ")
}

/// Plays a story: the second, what happens, what follows, when it wants to be woken next.
fn play(watch: &mut Watch, story: &[(u64, Event, &str, Option<u64>)]) {
    for (second, event, expected, wakes) in story {
        let actions = watch.on(event.clone(), at(*second));
        assert_eq!(say(&actions), *expected, "at {second} s, {event:?}");
        assert_eq!(watch.wakes(), wakes.map(at), "woken after {second} s, {event:?}");
    }
}

fn bad() -> Event {
    Event::Answer(Err("exit code 1".into()))
}

const GOOD: Event = Event::Answer(Ok(()));

#[test]
fn oracle_watch_finds_the_end_of_its_process_at_once_after_the_start_delay() {
    let mut watch = new(&watch(MonitorKind::Pid, MonitorTiming::WhileActive, 0));
    let ended = || Event::Ended("killed by signal 9".into());
    play(
        &mut watch,
        &[
            (0, Event::TargetOnline(false), "Unused (its target is not online here)", None),
            (10, Event::TargetOnline(true), "Unknown", Some(40)),
            (39, Event::Tick, "", Some(40)),
            (40, Event::Tick, "Normal, mended", None),
            (100, ended(), "Error (killed by signal 9), found: killed by signal 9", Some(105)),
            // Still so: said again after each interval, so that the ladder can climb.
            (104, Event::Tick, "", Some(105)),
            (105, Event::Tick, "found: killed by signal 9", Some(110)),
            // Its recovery stops and starts the target; the new process is another one.
            (106, Event::TargetOnline(false), "Unused (its target is not online here)", None),
            (108, Event::TargetOnline(true), "Unknown", Some(138)),
            (138, Event::Tick, "Normal, mended", None),
        ],
    );
}

#[test]
fn a_copy_that_is_being_brought_up_to_date_is_a_caution_and_no_finding() {
    let mut watch = new(&MonitorConfig {
        start_delay: Duration::ZERO,
        ..watch(MonitorKind::Mirror, MonitorTiming::Always, 0)
    });
    let doubtful = || Event::Doubtful("resync: 40 %".into());
    play(
        &mut watch,
        &[
            (0, Event::Suspended(false), "Unknown, look", None),
            (1, bad(), "Error (exit code 1), found: exit code 1", Some(6)),
            (6, Event::Tick, "look", None),
            (7, doubtful(), "Caution (resync: 40 %), mended", Some(12)),
            (12, Event::Tick, "look", None),
            (13, doubtful(), "", Some(18)),
            (18, Event::Tick, "look", None),
            (19, GOOD, "Normal, mended", Some(24)),
        ],
    );
}

#[test]
fn what_has_changed_is_looked_at_at_once_and_a_caution_says_what_it_is_about() {
    let mut watch = new(&MonitorConfig {
        start_delay: Duration::ZERO,
        ..watch(MonitorKind::Mirror, MonitorTiming::Always, 0)
    });
    let doubtful = |what: &str| Event::Doubtful(what.into());
    play(
        &mut watch,
        &[
            (0, Event::Suspended(false), "Unknown, look", None),
            (1, doubtful("never opened"), "Caution (never opened)", Some(6)),
            (2, Event::Changed, "look", None),
            // Again, before that look has ended: what it sees may be from before.
            (2, Event::Changed, "", None),
            (3, doubtful("being copied"), "Caution (being copied), look", None),
            (4, GOOD, "Normal, mended", Some(9)),
            (5, Event::Suspended(true), "Unused (suspended)", None),
            (6, Event::Changed, "", None),
        ],
    );
}

#[test]
fn a_process_that_ends_within_the_start_delay_is_found_when_that_is_over() {
    let mut watch = new(&watch(MonitorKind::Pid, MonitorTiming::WhileActive, 0));
    play(
        &mut watch,
        &[
            (0, Event::TargetOnline(true), "Unknown", Some(30)),
            (7, Event::Ended("exit code 1".into()), "", Some(30)),
            (30, Event::Tick, "Error (exit code 1), found: exit code 1", Some(35)),
        ],
    );
}

#[test]
fn looks_follow_each_other_from_end_to_beginning() {
    let mut watch = new(&watch(script(), MonitorTiming::WhileActive, 0));
    play(
        &mut watch,
        &[
            (2, Event::TargetOnline(true), "Unknown", Some(32)),
            (32, Event::Tick, "look", None),
            (40, Event::Tick, "", None),
            (50, GOOD, "Normal, mended", Some(55)),
            (55, Event::Tick, "look", None),
            (56, GOOD, "", Some(61)),
        ],
    );
}

#[test]
fn a_finding_needs_more_bad_looks_in_a_row_than_retries() {
    let mut watch = new(&watch(script(), MonitorTiming::WhileActive, 2));
    play(
        &mut watch,
        &[
            (0, Event::TargetOnline(true), "Unknown", Some(30)),
            (30, Event::Tick, "look", None),
            (31, GOOD, "Normal, mended", Some(36)),
            (36, Event::Tick, "look", None),
            (36, bad(), "", Some(41)),
            (41, Event::Tick, "look", None),
            (41, bad(), "", Some(46)),
            // One good look, and they are counted from the first again.
            (46, Event::Tick, "look", None),
            (46, GOOD, "", Some(51)),
            (51, Event::Tick, "look", None),
            (51, bad(), "", Some(56)),
            (56, Event::Tick, "look", None),
            (56, bad(), "", Some(61)),
            (61, Event::Tick, "look", None),
            (61, bad(), "Error (exit code 1), found: exit code 1", Some(66)),
            (66, Event::Tick, "look", None),
            (66, bad(), "found: exit code 1", Some(71)),
            (71, Event::Tick, "look", None),
            (71, GOOD, "Normal, mended", Some(76)),
        ],
    );
}

#[test]
fn always_counts_its_delay_from_the_nodes_start_and_asks_for_no_target() {
    let mut watch = new(&watch(script(), MonitorTiming::Always, 0));
    play(
        &mut watch,
        &[
            (1, Event::TargetOnline(false), "Unknown", Some(30)),
            (20, Event::TargetOnline(true), "", Some(30)),
            (30, Event::Tick, "look", None),
            (31, Event::TargetOnline(false), "", None),
            (32, bad(), "Error (exit code 1), found: exit code 1", Some(37)),
        ],
    );
}

#[test]
fn suspended_it_does_not_look_and_what_was_under_way_counts_for_nothing() {
    let mut watch = new(&watch(script(), MonitorTiming::WhileActive, 0));
    play(
        &mut watch,
        &[
            (0, Event::TargetOnline(true), "Unknown", Some(30)),
            (30, Event::Tick, "look", None),
            (31, Event::Suspended(true), "Unused (suspended)", None),
            // Never two looks at a time, and the target has been up for long.
            (32, Event::Suspended(false), "Unknown", None),
            (33, bad(), "look", None),
            (34, GOOD, "Normal, mended", Some(39)),
            (35, Event::Suspended(true), "Unused (suspended)", None),
            (60, Event::Tick, "", None),
            (61, Event::Suspended(false), "Unknown, look", None),
        ],
    );
}

#[test]
fn a_server_that_is_not_in_its_list_never_looks() {
    let mut config = watch(script(), MonitorTiming::Always, 0);
    config.servers = vec!["lala".into()];
    let mut watch = new(&config);
    play(
        &mut watch,
        &[
            (0, Event::TargetOnline(true), "Unused (this server is not in its list)", None),
            (99, Event::Tick, "", None),
        ],
    );
}

/// The states of a monitor that looks while its target is online, each with the way there.
fn situations() -> Vec<(&'static str, Watch)> {
    let mut all = Vec::new();
    let mut one = new(&watch(script(), MonitorTiming::WhileActive, 0));
    one.on(Event::TargetOnline(false), at(0));
    all.push(("off", one.clone()));
    one.on(Event::TargetOnline(true), at(0));
    all.push(("delayed", one.clone()));
    one.on(Event::Tick, at(30));
    all.push(("first look", one.clone()));
    one.on(GOOD, at(30));
    all.push(("well", one.clone()));
    one.on(Event::Tick, at(35));
    all.push(("well, looking", one.clone()));
    one.on(bad(), at(35));
    all.push(("bad", one.clone()));
    one.on(Event::Tick, at(40));
    all.push(("bad, looking", one.clone()));
    one.on(Event::Suspended(true), at(40));
    all.push(("suspended, looking", one));
    all
}

#[test]
fn table_of_all_transitions() {
    let events = [
        ("up", Event::TargetOnline(true)),
        ("down", Event::TargetOnline(false)),
        ("good", GOOD),
        ("bad", bad()),
        ("ended", Event::Ended("x".into())),
        ("time", Event::Tick),
        ("suspend", Event::Suspended(true)),
        ("resume", Event::Suspended(false)),
        ("changed", Event::Changed),
    ];
    let mut table = String::new();
    for (situation, watch) in situations() {
        for (name, event) in &events {
            let mut watch = watch.clone();
            let actions = say(&watch.on(event.clone(), at(100)));
            let actions = actions.replace(" (its target is not online here)", " (no target)");
            table += &format!("{situation:18} {name:8} {:8} {actions}\n", watch.state().to_string());
        }
    }
    let table: Vec<&str> = table.lines().map(str::trim_end).collect();
    let expected: Vec<&str> = include_str!("table.txt").lines().collect();
    assert_eq!(table, expected, "\n{}", table.join("\n"));
}

/// What must hold after each event, whatever came before.
struct Witness {
    looking: bool,
    ended_look: Option<u64>,
    was_off: bool,
    bad: u32,
    last: Option<MonitorState>,
}

impl Witness {
    fn check(&mut self, watch: &Watch, event: &Event, actions: &[Action], second: u64, retries: u32) {
        let script = format!("{event:?} -> {actions:?}");
        if *event == Event::Changed {
            self.was_off = true; // it need not rest
        }
        if let (true, Event::Answer(answer)) = (self.looking, event) {
            (self.looking, self.ended_look) = (false, Some(second));
            self.bad = if answer.is_ok() { 0 } else { self.bad + 1 };
        }
        for action in actions {
            match action {
                Action::Look => {
                    assert!(!self.looking, "two looks at a time: {script}");
                    let rested = self.ended_look.is_none_or(|end| second >= end + 5);
                    assert!(rested || self.was_off, "too early: {script}");
                    (self.looking, self.was_off) = (true, false);
                }
                Action::Report(report) => {
                    assert_ne!(Some(report.state), self.last, "the same again: {script}");
                    self.last = Some(report.state);
                }
                Action::Found { .. } => {
                    assert_eq!(watch.state(), MonitorState::Error, "{script}");
                    assert!(self.bad > retries, "{} bad looks: {script}", self.bad);
                }
                Action::Mended => assert_eq!(watch.state(), MonitorState::Normal, "{script}"),
            }
        }
        assert_eq!(self.last, Some(watch.state()), "unreported: {script}");
        if watch.state() == MonitorState::Unused {
            (self.was_off, self.bad) = (true, 0);
            assert!(watch.wakes().is_none() && !actions.contains(&Action::Look), "{script}");
        } else {
            assert!(self.looking || watch.wakes().is_some(), "it would never look again: {script}");
        }
    }
}

/// Every script of six events: each is followed by six seconds, in which ticks come.
fn all_scripts(watch: &Watch, witness: &Witness, retries: u32, second: u64, left: u32, count: &mut u64) {
    if left == 0 {
        *count += 1;
        return;
    }
    let events = [
        Event::TargetOnline(true),
        Event::TargetOnline(false),
        GOOD,
        bad(),
        Event::Tick,
        Event::Suspended(true),
        Event::Suspended(false),
        Event::Changed,
    ];
    for event in events {
        let mut watch = watch.clone();
        let mut witness = Witness { ..*witness };
        for (event, second) in [(event, second), (Event::Tick, second + 4), (Event::Tick, second + 6)] {
            let actions = watch.on(event.clone(), at(second));
            witness.check(&watch, &event, &actions, second, retries);
        }
        all_scripts(&watch, &witness, retries, second + 6, left - 1, count);
    }
}

#[test]
fn every_short_script_keeps_the_rules() {
    let mut count = 0;
    for (timing, retries) in [
        (MonitorTiming::Always, 0),
        (MonitorTiming::Always, 1),
        (MonitorTiming::WhileActive, 0),
        (MonitorTiming::WhileActive, 1),
    ] {
        let mut config = watch(script(), timing, retries);
        config.start_delay = Duration::from_secs(5);
        let witness = Witness { looking: false, ended_look: None, was_off: true, bad: 0, last: None };
        all_scripts(&new(&config), &witness, retries, 0, 6, &mut count);
    }
    assert_eq!(count, 4 * 8u64.pow(6));
}
