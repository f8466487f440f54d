//! What monitors find.

use super::*;

pub(super) fn monitor() -> MonitorConfig {
    MonitorConfig {
        comment: String::new(),
        kind: MonitorKind::Ip { addresses: Vec::new() },
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(60),
        retries: 0,
        start_delay: Duration::ZERO,
        timing: MonitorTiming::Always,
        target: None,
        nice: 0,
        servers: Vec::new(),
        recovery: RecoveryConfig {
            target: RecoveryTarget::Group(web()),
            restarts: 1,
            failovers: 1,
            last: FinalAction::None,
        },
    }
}

fn found(server: &str, state: MonitorState) -> Command {
    let report = MonitorReport { state, detail: "no answer".into() };
    Command::MonitorReport { monitor: "watch".into(), server: server.into(), report }
}

impl Play {
    fn watched() -> Self {
        let mut play = Self::all_up();
        play.configure(|config| {
            config.monitors.insert("watch".into(), monitor());
        });
        play
    }

    fn finding(&self, server: &str) -> Option<MonitorState> {
        let reports = &self.state.monitors[&"watch".into()].reports;
        reports.get(&server.into()).map(|item| item.value.state)
    }
}

#[test]
fn each_server_tells_what_it_finds() {
    let mut play = Play::watched();
    let first = play.ok(found("kiki", MonitorState::Normal));
    play.ok(found("lala", MonitorState::Error));
    assert_eq!(play.state.history.back().unwrap().what, "monitor watch is Error on lala");
    assert_eq!(
        (play.finding("kiki"), play.finding("lala")),
        (Some(MonitorState::Normal), Some(MonitorState::Error))
    );
    let reports = play.revision_of(&Key::MonitorReports("watch".into()));
    play.ok(found("lala", MonitorState::Error));
    assert_eq!(play.revision_of(&Key::MonitorReports("watch".into())), reports, "the same again");
    play.ok(found("kiki", MonitorState::Error));
    let kiki = &play.state.monitors[&"watch".into()].reports[&"kiki".into()];
    assert_eq!((kiki.created, kiki.modified), (first, play.state.revision));

    assert_eq!(play.refused(found("nobody", MonitorState::Normal)), Refusal::NoSuchServer("nobody".into()));
    play.configure(|config| config.monitors.clear());
    assert_eq!(
        play.state.history.back().unwrap().keys,
        [Key::MonitorConfig("watch".into()), Key::MonitorReports("watch".into())]
    );
    assert_eq!(play.refused(found("kiki", MonitorState::Normal)), Refusal::NoSuchMonitor("watch".into()));
}

#[test]
fn nobody_knows_what_a_server_that_is_down_would_find() {
    for end in [gone("kiki", 1), stopped("kiki", 1)] {
        let mut play = Play::watched();
        play.ok(found("kiki", MonitorState::Error));
        play.ok(found("lala", MonitorState::Error));
        play.ok(end);
        assert_eq!(play.finding("kiki"), Some(MonitorState::Unknown));
        assert_eq!((play.finding("lala"), play.finding("momo")), (Some(MonitorState::Error), None));
        let late = play.refused(found("kiki", MonitorState::Error));
        assert_eq!(late, Refusal::ServerDown("kiki".into()));
    }
}

#[test]
fn other_rules_begin_without_findings() {
    let mut play = Play::watched();
    play.ok(found("kiki", MonitorState::Error));
    play.configure(|config| config.settings.comment = "changed".into());
    assert_eq!(play.finding("kiki"), Some(MonitorState::Error));
    play.configure(|config| config.monitors.get_mut(&"watch".into()).unwrap().retries = 9);
    assert_eq!(play.finding("kiki"), None);
}
