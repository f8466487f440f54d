//! R23, R24: joining, and one history.

use super::*;

#[test]
fn r23_whoever_joins_again_gets_a_new_raft_id() {
    let mut play = Play::all_up();
    let ids = |play: &Play| {
        play.state.servers.values().map(|s| s.presence.as_ref().unwrap().value.raft_id).collect::<Vec<_>>()
    };
    assert_eq!(ids(&play), [RaftId(1), RaftId(2), RaftId(3)]);
    play.assign("web", "kiki", 1);
    play.issue("again", Some("kiki"), 1000);
    let reply = play.say(join("again", "secret", "kiki"));
    assert!(matches!(reply, Reply::Applied { raft_id: Some(RaftId(4)), .. }), "{reply:?}");
    assert_eq!(ids(&play), [RaftId(4), RaftId(2), RaftId(3)]);
    // What its old incarnation owned may still run.
    assert_eq!(play.owner(), Some("kiki"));
    assert_eq!(play.state.presence(&"kiki".into()).unwrap().incarnation, Incarnation(1));
}

#[test]
fn r23_a_token_works_once_in_time_for_its_server_and_with_its_secret() {
    let mut play = Play::empty();
    let token = |why| Refusal::Token(why);
    assert_eq!(play.refused(join("t", "secret", "lala")), token(TokenRefusal::Unknown));
    play.issue("t", Some("lala"), 1000);
    assert_eq!(play.refused(join("t", "other", "lala")), token(TokenRefusal::Unknown));
    assert_eq!(play.refused(join("t", "secret", "momo")), token(TokenRefusal::OtherServer));
    assert_eq!(play.refused(join("t", "secret", "nobody")), Refusal::NoSuchServer("nobody".into()));
    play.ok(join("t", "secret", "lala"));
    assert_eq!(play.state.tokens["t"].value.used_by, Some("lala".into()));
    assert_eq!(play.refused(join("t", "secret", "lala")), token(TokenRefusal::Used));

    play.issue("late", None, 99);
    assert_eq!(play.refused(join("late", "secret", "momo")), token(TokenRefusal::Expired));
    play.issue("just", None, 100);
    play.ok(join("just", "secret", "momo"));
}

#[test]
fn r23_a_used_token_cannot_be_issued_anew() {
    let mut play = Play::empty();
    play.issue("t", None, 1000);
    play.ok(join("t", "secret", "lala"));
    let again =
        Command::IssueToken { id: "t".into(), digest: "d".into(), server: None, expires: WallTime(9) };
    assert_eq!(play.refused(again), Refusal::Token(TokenRefusal::Used));
    assert_eq!(play.state.tokens["t"].value.used_by, Some("lala".into()));
}

#[test]
fn r23_a_token_for_an_unknown_server_is_not_issued() {
    let mut play = Play::empty();
    let server = Some("nobody".into());
    let issue = Command::IssueToken { id: "t".into(), digest: "d".into(), server, expires: WallTime(9) };
    assert_eq!(play.refused(issue), Refusal::NoSuchServer("nobody".into()));
}

#[test]
fn r24_a_command_for_another_history_is_refused() {
    let mut play = Play::all_up();
    for lineage in [None, Some(Lineage::new("history-2"))] {
        let mut foreign = proposal(&play.state, Command::StopGroup { group: web(), force: false });
        foreign.lineage = lineage.clone();
        let before = play.state.clone();
        assert_eq!(refusal(&apply(&mut play.state, &foreign)), &Refusal::OtherLineage(lineage));
        assert_eq!(play.state, before);
    }
}

#[test]
fn r24_a_registry_is_initialised_once() {
    let mut play = Play::empty();
    let again = || Command::Initialise {
        lineage: Lineage::new("history-2"),
        config: config(),
        founder: "lala".into(),
    };
    assert_eq!(play.refused(again()), Refusal::AlreadyInitialised);
    let mut fresh = State::default();
    let early = proposal(&fresh, Command::StopGroup { group: web(), force: false });
    assert!(matches!(refusal(&apply(&mut fresh, &early)), Refusal::NoSuchGroup(_)));
    let stranger =
        Command::Initialise { lineage: Lineage::new("h"), config: config(), founder: "nobody".into() };
    let stranger = proposal(&fresh, stranger);
    assert_eq!(refusal(&apply(&mut fresh, &stranger)), &Refusal::NoSuchServer("nobody".into()));
    assert_eq!(fresh, State::default());
}

fn remove(play: &Play, server: &str) -> Command {
    let config = play.state.config().unwrap().without_server(&server.into()).unwrap();
    Command::RemoveServer { server: server.into(), config }
}

#[test]
fn r13_a_server_leaves_for_good_only_when_it_is_down_and_owns_nothing() {
    let mut play = Play::web_on_kiki();
    let command = remove(&play, "kiki");
    assert_eq!(play.refused(command.clone()), Refusal::StillUp("kiki".into()));
    play.ok(gone("kiki", 1));
    play.ok(command);
    assert!(!play.state.servers.contains_key(&"kiki".into()));
    let config = play.state.config().unwrap();
    assert!(config.groups.values().all(|group| !group.servers.contains(&"kiki".into())));
    assert_eq!(config.servers[&"lala".into()].number, 2, "numbers stay");
    let again = Command::RemoveServer { server: "kiki".into(), config };
    assert_eq!(play.refused(again), Refusal::NoSuchServer("kiki".into()));
}

#[test]
fn a_removal_takes_no_other_member_out() {
    let mut play = Play::all_up();
    play.ok(gone("kiki", 1));
    let mut config = play.state.config().unwrap().without_server(&"kiki".into()).unwrap();
    config.servers.remove(&"lala".into());
    let command = Command::RemoveServer { server: "kiki".into(), config };
    assert_eq!(play.refused(command), Refusal::ServerInUse("lala".into()));
    assert!(play.state.presence(&"kiki".into()).is_some(), "a refusal leaves nothing behind");
}

#[test]
fn a_server_that_is_needed_stays() {
    use crate::config::removal::Needs;
    let play = Play::all_up();
    let mut config = play.state.config().unwrap();
    for group in config.groups.values_mut() {
        group.servers = vec!["kiki".into()];
    }
    let needs = config.without_server(&"kiki".into()).unwrap_err();
    assert!(needs.contains(&Needs::Group(web())), "{needs:?}");
    config.servers.retain(|name, _| name.as_str() == "kiki");
    assert!(config.without_server(&"kiki".into()).unwrap_err().contains(&Needs::Cluster));
}

#[test]
fn the_profile_gets_a_new_number_when_it_changes_and_only_then() {
    use crate::config::profile::Profile;
    let mut play = Play::all_up();
    let number = |play: &Play| Profile::of(&play.state).unwrap().sequence;
    let first = number(&play);
    play.configure_web(|group| group.comment = "other".into());
    play.ok(gone("momo", 1));
    assert_eq!(number(&play), first);
    let changed = play.configure(|config| config.settings.port += 1);
    assert_eq!(number(&play), changed);
    let moved =
        play.configure(|config| config.servers.get_mut(&"lala".into()).unwrap().comment = "r2".into());
    assert_eq!(number(&play), moved);
    let command = remove(&play, "momo");
    let removed = play.ok(command);
    assert_eq!(number(&play), removed, "a server that goes is a change too");
}

#[test]
fn a_profile_brings_a_configuration_up_to_date_and_nothing_else() {
    use crate::config::profile::Profile;
    let mut play = Play::all_up();
    let mut stale = play.state.config().unwrap();
    stale.groups.clear();
    play.configure(|config| {
        config.settings.port = 4711;
        config.servers.get_mut(&"lala".into()).unwrap().domain = Some("cellar".into());
    });
    play.ok(gone("momo", 1));
    let command = remove(&play, "momo");
    play.ok(command);
    Profile::of(&play.state).unwrap().apply_to(&mut stale);
    let now = play.state.config().unwrap();
    assert_eq!((&stale.settings, &stale.servers), (&now.settings, &now.servers));
    assert!(stale.groups.is_empty());
}
