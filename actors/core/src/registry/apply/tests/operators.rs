//! What operators want, and what is counted.

use super::*;

#[test]
fn a_move_names_where_and_ends_with_the_next_owner() {
    let mut play = Play::web_on_kiki();
    play.ok(Command::MoveGroup { group: web(), to: None, force: false });
    let wish = play.ownership().release.clone().unwrap();
    assert_eq!((wish.to, wish.event), (Some("lala".into()), StartEvent::Start));
    assert_eq!(wish.reason, Reason::OperatorMoved { by: "operator test".into() });
    play.ok(released(1, "kiki"));
    play.assign("web", "lala", 2);
    assert_eq!((play.ownership().release.clone(), play.ownership().vacated.clone()), (None, None));
    assert_eq!(play.state.groups[&web()].target.value, Target::Online);
}

#[test]
fn a_move_that_cannot_be_is_refused() {
    let mut play = Play::web_on_kiki();
    let to = |server: &str| Command::MoveGroup { group: web(), to: Some(server.into()), force: false };
    let runs = Refusal::AlreadyRuns { group: web(), server: "kiki".into() };
    assert_eq!(play.refused(to("kiki")), runs);
    assert_eq!(play.refused(to("momo")), Refusal::NotAllowed { group: web(), server: "momo".into() });
    assert_eq!(play.refused(to("nobody")), Refusal::NoSuchServer("nobody".into()));
    let mail = Command::MoveGroup { group: "mail".into(), to: None, force: false };
    assert_eq!(play.refused(mail), Refusal::NotRunning("mail".into()));
    play.ok(gone("lala", 1));
    assert_eq!(play.refused(to("lala")), Refusal::ServerDown("lala".into()));
    assert_eq!(
        play.refused(Command::MoveGroup { group: web(), to: None, force: false }),
        Refusal::NowhereToGo(web())
    );
}

#[test]
fn a_stop_replaces_a_move_and_a_start_ends_the_stop() {
    let mut play = Play::web_on_kiki();
    play.ok(Command::MoveGroup { group: web(), to: Some("lala".into()), force: false });
    play.ok(Command::StopGroup { group: web(), force: false });
    assert_eq!(play.ownership().release.as_ref().unwrap().to, None);
    play.ok(released(1, "kiki"));
    assert_eq!(play.state.groups[&web()].target.value, Target::Offline);
    assert_eq!(play.refused(Command::StopGroup { group: web(), force: false }), Refusal::NotRunning(web()));
    play.ok(Command::StartGroup { group: web(), on: Some("lala".into()) });
    assert_eq!(play.state.groups[&web()].target.value, Target::Online);
    assert_eq!(play.ownership().vacated.as_ref().unwrap().to, Some("lala".into()));
    play.assign("web", "lala", 2);
    let runs = Refusal::AlreadyRuns { group: web(), server: "lala".into() };
    assert_eq!(play.refused(Command::StartGroup { group: web(), on: None }), runs);
}

#[test]
fn a_group_in_error_starts_again_after_its_release() {
    let mut play = Play::web_on_kiki();
    play.ok(Command::Release {
        group: web(),
        epoch: Epoch(1),
        to: None,
        event: StartEvent::Failover,
        charge: Some(Charge::Resource("db".into())),
    });
    assert_eq!(play.state.groups[&web()].failures.value.of(&"db".into(), &"kiki".into()).failovers, 1);
    play.ok(released(1, "kiki"));
    play.assign("web", "kiki", 2);
    play.ok(report(2, "kiki", GroupState::Error));
    play.ok(Command::StartGroup { group: web(), on: None });
    assert_eq!(play.state.groups[&web()].failures.value, Failures::default());
    assert_eq!(play.owner(), Some("kiki"));
    play.ok(released(2, "kiki"));
    play.assign("web", "kiki", 3);
}

#[test]
fn counters_count_and_are_reset() {
    let mut play = Play::web_on_kiki();
    let (db, kiki) = (ResourceName::from("db"), ServerName::from("kiki"));
    let retry = || Command::CountRetry {
        group: web(),
        epoch: Epoch(1),
        resource: db.clone(),
        server: kiki.clone(),
        kind: FailureKind::Start,
    };
    play.ok(retry());
    play.ok(retry());
    assert_eq!(play.state.groups[&web()].failures.value.of(&db, &kiki).retries, 2);
    play.ok(Command::Steady { group: web(), epoch: Epoch(1), resource: db.clone(), monitors: Vec::new() });
    assert_eq!(play.state.groups[&web()].failures.value.of(&db, &kiki).retries, 0);
    play.ok(retry());
    play.ok(Command::ResetFailures { group: web() });
    assert_eq!(play.state.groups[&web()].failures.value, Failures::default());
}

#[test]
fn the_last_rung_sends_the_owner_away() {
    for (action, mode) in [
        (FinalAction::None, ServerMode::Active),
        (FinalAction::Stop, ServerMode::Leaving(AfterStop::Nothing)),
        (FinalAction::StopAndReboot, ServerMode::Leaving(AfterStop::Reboot)),
        (FinalAction::StopAndPowerOff, ServerMode::Leaving(AfterStop::PowerOff)),
    ] {
        let mut play = Play::web_on_kiki();
        play.ok(Command::Finally { group: web(), epoch: Epoch(1), resource: "db".into(), action });
        assert_eq!(play.state.presence(&"kiki".into()).unwrap().mode, mode);
        assert_eq!(play.state.presence(&"lala".into()).unwrap().mode, ServerMode::Active);
        assert_eq!(play.owner(), Some("kiki"));
    }
}

#[test]
fn a_report_is_kept_as_its_owner_gave_it() {
    let mut play = Play::web_on_kiki();
    let failed = Some(FailedResource { resource: "db".into(), kind: FailureKind::Start, monitor: None });
    let Command::Report { group, report } = report(1, "kiki", GroupState::Error) else { panic!() };
    let report = GroupReport { failed, ..report };
    play.ok(Command::Report { group, report: report.clone() });
    assert_eq!(play.state.groups[&web()].report.as_ref().unwrap().value, report);
}

// --- the leader in an operator's place --------------------------------------------------------

#[test]
fn the_leader_says_why_and_forgives_nothing() {
    let mut play = Play::web_on_kiki();
    play.ok(Command::CountRetry {
        group: web(),
        epoch: Epoch(1),
        resource: "db".into(),
        server: "kiki".into(),
        kind: FailureKind::Start,
    });
    let start = || Command::StartGroup { group: web(), on: None };
    let needed = Reason::NeededBy { group: "mail".into() };
    let runs = Refusal::AlreadyRuns { group: web(), server: "kiki".into() };
    assert_eq!(refusal(&play.leader_says(start(), needed.clone())), &runs);
    // Not even what is in Error: that is for operators.
    play.ok(report(1, "kiki", GroupState::Error));
    assert_eq!(refusal(&play.leader_says(start(), needed.clone())), &runs);
    play.ok(Command::StopGroup { group: web(), force: false });
    play.ok(released(1, "kiki"));
    let failures = play.state.groups[&web()].failures.clone();
    assert!(matches!(play.leader_says(start(), needed.clone()), Reply::Applied { .. }));
    assert_eq!(play.target("web"), Target::Online);
    assert_eq!(play.ownership().vacated.as_ref().unwrap().reason, needed);
    assert_eq!(play.state.groups[&web()].failures, failures);
    // An operator does forgive.
    play.ok(start());
    assert_eq!(play.state.groups[&web()].failures.value, Failures::default());
}

// --- groups that do not share -----------------------------------------------------------------

#[test]
fn exclusive_groups_do_not_share_a_server_when_one_of_them_is_so_completely() {
    use Exclusive::{Complete, No, Normal};
    for (one, other, clash) in [
        (Complete, Complete, true),
        (Complete, Normal, true),
        (Normal, Complete, true),
        (Normal, Normal, false),
        (Complete, No, false),
        (No, Complete, false),
    ] {
        let mut play = Play::all_up();
        play.configure(|config| {
            config.groups.get_mut(&web()).unwrap().exclusive = one;
            config.groups.get_mut(&"mail".into()).unwrap().exclusive = other;
        });
        play.assign("mail", "kiki", 1);
        if clash {
            let refused = Refusal::Exclusive { group: web(), server: "kiki".into(), other: "mail".into() };
            assert_eq!(play.refused(assign("web", "kiki", 1)), refused);
            assert_eq!(play.refused(Command::StartGroup { group: web(), on: Some("kiki".into()) }), refused);
            play.assign("web", "lala", 1);
            let to = Command::MoveGroup { group: web(), to: Some("kiki".into()), force: false };
            assert_eq!(play.refused(to), refused);
        } else {
            play.assign("web", "kiki", 1);
        }
    }
}

// --- what stops with it -----------------------------------------------------------------------

impl Play {
    /// `mail` stops with the program `db` of `web`; both run on kiki. `mail` may run there only, or
    /// on lala too.
    fn dependent(mail_on_lala: bool) -> Self {
        let mut play = Self::all_up();
        play.configure(|config| {
            let web = config.groups.get_mut(&web()).unwrap();
            web.servers.push("momo".into());
            web.resources.insert("db".into(), program());
            let mail = config.groups.get_mut(&"mail".into()).unwrap();
            mail.servers =
                if mail_on_lala { vec!["kiki".into(), "lala".into()] } else { vec!["kiki".into()] };
            mail.resources.insert("smtp".into(), program());
            mail.stop = vec![StopDependency {
                on: Named::Resource("db".into()),
                intermediate: false,
                global: false,
                shutdown: false,
            }];
        });
        for (group, resource) in [("web", "db"), ("mail", "smtp")] {
            play.assign(group, "kiki", 1);
            let report =
                ResourceReport { state: ResourceState::Online, detail: String::new(), since: WallTime(100) };
            play.ok(Command::Report {
                group: group.into(),
                report: GroupReport {
                    epoch: Epoch(1),
                    server: "kiki".into(),
                    state: GroupState::Online,
                    resources: BTreeMap::from([(resource.into(), report)]),
                    failed: None,
                },
            });
        }
        play
    }
}

#[test]
fn what_would_stop_others_asks_first() {
    let others = Refusal::StopsOthers { group: web(), dependents: vec!["mail".into()] };
    let stop = |force| Command::StopGroup { group: web(), force };
    let to = |to: Option<&str>, force| Command::MoveGroup { group: web(), to: to.map(Into::into), force };

    let mut play = Play::dependent(false);
    assert_eq!(play.refused(stop(false)), others);
    assert_eq!(play.refused(to(None, false)), others);
    assert_eq!(play.refused(to(Some("lala"), false)), others);
    play.clone().ok(to(Some("lala"), true));
    play.clone().ok(to(None, true));
    play.ok(Command::StopGroup { group: "mail".into(), force: false });
    play.ok(stop(true));
    assert_eq!(play.ownership().release.as_ref().unwrap().to, None);

    // Nobody is in the way of what does not run.
    let mut play = Play::dependent(false);
    play.ok(Command::Released { group: "mail".into(), epoch: Epoch(1), server: "kiki".into() });
    play.ok(stop(false));
}

#[test]
fn a_move_asks_only_when_others_cannot_follow() {
    let to = |to: Option<&str>| Command::MoveGroup { group: web(), to: to.map(Into::into), force: false };
    // mail has no start dependency that would bring it along, and stops: with one, it follows.
    let mut play = Play::dependent(true);
    play.configure(|config| {
        let mail = config.groups.get_mut(&"mail".into()).unwrap();
        let kind = crate::config::StartKind::Hard { intermediate: false, global: false };
        mail.start = vec![crate::config::StartDependency { on: Named::Resource("db".into()), kind }];
        // lala, where both can be, is not the first choice.
        config.groups.get_mut(&web()).unwrap().servers = vec!["kiki".into(), "momo".into(), "lala".into()];
    });
    let others = Refusal::StopsOthers { group: web(), dependents: vec!["mail".into()] };
    assert_eq!(play.refused(to(Some("momo"))), others);
    play.clone().ok(to(Some("lala")));
    play.ok(to(None));
    assert_eq!(play.ownership().release.as_ref().unwrap().to, Some("lala".into()));
}
