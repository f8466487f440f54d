//! The cluster as a whole.

use super::*;

#[test]
fn modes_follow_each_other_in_order() {
    let mut play = Play::all_up();
    let set = |mode| Command::SetMode { mode };
    let stop = ClusterMode::Stopping(AfterStop::Nothing);
    assert!(matches!(play.refused(set(ClusterMode::Running)), Refusal::WrongMode(_)));
    play.ok(set(ClusterMode::Suspended));
    assert!(matches!(play.refused(set(ClusterMode::Suspended)), Refusal::WrongMode(_)));
    let start = Command::StartGroup { group: web(), on: None };
    assert!(matches!(play.refused(start), Refusal::WrongMode(_)));
    play.ok(set(ClusterMode::Running));
    play.ok(set(stop));
    assert!(matches!(play.refused(set(stop)), Refusal::WrongMode(_)));
    assert!(matches!(play.refused(set(ClusterMode::Suspended)), Refusal::WrongMode(_)));
    play.ok(set(ClusterMode::Running));
}

impl Play {
    pub(super) fn stop_cluster(&mut self) {
        self.ok(Command::SetMode { mode: ClusterMode::Stopping(AfterStop::Reboot) });
    }

    pub(super) fn stopping(&self) -> bool {
        matches!(self.state.cluster_mode(), ClusterMode::Stopping(_))
    }

    fn stops(&self, server: &str) -> bool {
        self.state.stops_with_cluster(&server.into()).is_some()
    }
}

#[test]
fn a_cluster_that_was_shut_down_runs_again_with_its_first_server() {
    let mut play = Play::web_on_kiki();
    play.stop_cluster();
    assert!(play.stops("kiki") && play.stops("lala") && play.stops("momo"));
    play.ok(release(1, None));
    play.ok(released(1, "kiki"));
    for server in ["kiki", "lala", "momo"] {
        play.ok(stopped(server, 1));
        assert!(play.stopping(), "nobody is back yet");
    }
    play.start("lala", 2, "boot-2");
    assert_eq!(play.state.cluster_mode(), ClusterMode::Running);
    let vacated = play.ownership().vacated.clone().unwrap();
    assert_eq!((vacated.reason, vacated.event), (Reason::ClusterStarted, StartEvent::Start));
    play.assign("web", "lala", 2);
}

#[test]
fn a_server_that_is_back_early_waits_for_the_others_to_stop() {
    let mut play = Play::all_up();
    play.stop_cluster();
    play.ok(stopped("kiki", 1));
    play.start("kiki", 2, "boot-2");
    assert!(play.stopping(), "lala and momo still stop");
    assert!(!play.stops("kiki"), "it has stopped once already");
    assert!(play.stops("lala") && play.stops("momo"));
    play.ok(stopped("lala", 1));
    assert!(play.stopping());
    play.ok(stopped("momo", 1));
    assert_eq!(play.state.cluster_mode(), ClusterMode::Running);
}

#[test]
fn the_leader_that_could_not_say_that_it_stopped_does_not_keep_the_cluster_down() {
    // The last to leave has nobody to commit its farewell with: it stays up in the registry.
    for back in [Some("boot-2"), None] {
        let mut play = Play::all_up();
        play.stop_cluster();
        play.ok(stopped("lala", 1));
        play.ok(stopped("momo", 1));
        play.start("lala", 2, "boot-2");
        play.start("momo", 2, "boot-2");
        assert!(play.stopping() && !play.stops("lala") && !play.stops("momo"));
        match back {
            Some(boot) => play.start("kiki", 2, boot),
            None => drop(play.ok(gone("kiki", 1))),
        }
        assert_eq!(play.state.cluster_mode(), ClusterMode::Running);
    }
}

#[test]
fn a_server_that_leaves_by_itself_still_stops_with_the_cluster() {
    let mut play = Play::all_up();
    play.stop_cluster();
    play.ok(Command::ServerLeave { server: "kiki".into(), after: AfterStop::Nothing });
    assert!(play.stops("kiki"));
    play.ok(Command::SetMode { mode: ClusterMode::Running });
    assert!(!play.stops("lala"));
}

#[test]
fn a_server_that_joins_again_has_not_started_anew_by_that() {
    let mut play = Play::all_up();
    play.issue("again", None, 1000);
    play.stop_cluster();
    play.ok(join("again", "secret", "kiki"));
    assert!(play.stops("kiki"), "its old incarnation may still run");
}

#[test]
fn leaving_is_for_servers_that_are_up() {
    let mut play = Play::all_up();
    play.ok(gone("kiki", 1));
    let leave = |server: &str| Command::ServerLeave { server: server.into(), after: AfterStop::Nothing };
    assert_eq!(play.refused(leave("kiki")), Refusal::ServerDown("kiki".into()));
    assert_eq!(play.refused(leave("nobody")), Refusal::NoSuchServer("nobody".into()));
}

#[test]
fn history_tells_who_what_and_which_objects() {
    let mut play = Play::web_on_kiki();
    let change = play.state.history.back().unwrap();
    assert_eq!(change.revision, play.state.revision);
    assert_eq!(change.what, "kiki owns web, epoch 1");
    assert_eq!(change.keys, [Key::Ownership(web())]);
    for _ in 0..crate::registry::state::HISTORY_LIMIT + 10 {
        play.ok(Command::ResetFailures { group: web() });
    }
    assert_eq!(play.state.history.len(), crate::registry::state::HISTORY_LIMIT);
}
