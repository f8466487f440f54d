//! R35: wishes and facts.

use super::*;

#[test]
fn r35_a_new_configuration_touches_wishes_only() {
    let mut play = Play::web_on_kiki();
    play.ok(report(1, "kiki", GroupState::Online));
    play.ok(Command::CountRetry {
        group: web(),
        epoch: Epoch(1),
        resource: "db".into(),
        server: "kiki".into(),
        kind: FailureKind::Start,
    });
    let before = play.state.clone();
    let mut new = config();
    new.settings.comment = "changed".into();
    new.servers.get_mut(&"kiki".into()).unwrap().comment = "changed".into();
    let group = new.groups.get_mut(&web()).unwrap();
    group.comment = "changed".into();
    group.servers = vec!["lala".into()];
    play.ok(Command::SetConfig { config: new.clone() });
    assert_eq!(play.state.config(), Some(new));
    for (name, server) in &before.servers {
        assert_eq!(play.state.servers[name].presence, server.presence, "{name}");
    }
    let (then, now) = (&before.groups[&web()], &play.state.groups[&web()]);
    assert_eq!((&now.ownership, &now.report), (&then.ownership, &then.report));
    assert_eq!((&now.failures, &now.target), (&then.failures, &then.target));
    assert_eq!((&play.state.tokens, play.state.last_raft_id), (&before.tokens, before.last_raft_id));
    assert_eq!((&play.state.mode, &play.state.lineage), (&before.mode, &before.lineage));
}

#[test]
fn r35_only_what_differs_gets_a_new_revision() {
    let mut play = Play::all_up();
    let before = play.state.clone();
    let mut new = config();
    new.groups.get_mut(&web()).unwrap().comment = "changed".into();
    let revision = play.ok(Command::SetConfig { config: new });
    for key in play.state.keys() {
        let expected = if key == Key::GroupConfig(web()) { revision } else { before.revision_of(&key) };
        assert_eq!(play.revision_of(&key), expected, "{key}");
    }
    assert_eq!(play.state.history.back().unwrap().keys, [Key::GroupConfig(web())]);
}

#[test]
fn r35_a_server_that_joined_stays_configured() {
    let mut play = Play::empty();
    let mut without = config();
    without.servers.remove(&"kiki".into());
    assert_eq!(play.refused(Command::SetConfig { config: without }), Refusal::ServerInUse("kiki".into()));
    let mut without = config();
    without.servers.remove(&"momo".into());
    play.ok(Command::SetConfig { config: without });
    assert!(!play.state.servers.contains_key(&"momo".into()));
    // The settings too: the profile has one server less.
    let keys = &play.state.history.back().unwrap().keys;
    assert_eq!(*keys, [Key::Settings, Key::ServerConfig("momo".into())]);
}

#[test]
fn r35_a_group_that_is_taken_out_is_released_first() {
    let mut play = Play::web_on_kiki();
    let mut without = config();
    without.groups.remove(&web());
    play.ok(Command::SetConfig { config: without.clone() });
    let entry = &play.state.groups[&web()];
    assert_eq!((entry.config.is_none(), entry.target.value), (true, Target::Offline));
    assert_eq!(play.owner(), Some("kiki"));
    assert_eq!(play.ownership().release.as_ref().unwrap().reason, Reason::NotConfigured);
    // Pushed again meanwhile: nothing more happens to it.
    let before = play.state.groups.clone();
    play.ok(Command::SetConfig { config: without });
    assert_eq!(play.state.groups, before);
    play.ok(released(1, "kiki"));
    assert!(!play.state.groups.contains_key(&web()));
}

#[test]
fn r35_the_epochs_of_a_group_do_not_come_again_with_its_name() {
    let mut without = config();
    without.groups.remove(&web());
    let mut play = Play::web_on_kiki();
    play.ok(Command::SetConfig { config: without.clone() });
    play.ok(released(1, "kiki"));
    play.ok(Command::SetConfig { config: config() });
    assert!(matches!(play.refused(assign("web", "lala", 1)), Refusal::OtherEpoch { .. }));
    play.assign("web", "lala", 2);
    play.ok(released(2, "lala"));
    // Also when it was offline as it was taken out.
    play.ok(Command::SetConfig { config: without });
    play.ok(Command::SetConfig { config: config() });
    assert!(matches!(play.refused(assign("web", "kiki", 1)), Refusal::OtherEpoch { .. }));
    play.assign("web", "kiki", 3);
}

#[test]
fn r35_a_group_that_comes_back_while_it_is_released_is_wanted_again() {
    let mut play = Play::web_on_kiki();
    let mut without = config();
    without.groups.remove(&web());
    play.ok(Command::SetConfig { config: without });
    play.ok(Command::SetConfig { config: config() });
    assert_eq!(play.state.groups[&web()].target.value, Target::Online);
    assert!(play.ownership().release.is_some());
    play.ok(released(1, "kiki"));
    play.assign("web", "kiki", 2);
}
