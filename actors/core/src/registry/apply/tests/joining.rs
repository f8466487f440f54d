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
