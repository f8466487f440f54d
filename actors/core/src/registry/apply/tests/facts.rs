//! What is remembered of starts and stops.

use super::*;

/// A report of `web` with the resource `db` in a state since a time.
fn db(epoch: u64, server: &str, state: ResourceState, since: u64) -> Command {
    let report = ResourceReport { state, detail: String::new(), since: WallTime(since) };
    Command::Report {
        group: web(),
        report: GroupReport {
            epoch: Epoch(epoch),
            server: server.into(),
            state: GroupState::Online,
            resources: BTreeMap::from([("db".into(), report)]),
            failed: None,
        },
    }
}

impl Play {
    fn facts(&self) -> Facts {
        self.state.groups[&web()].facts.get(&"db".into()).map(|item| item.value.clone()).unwrap_or_default()
    }

    /// `web` runs on kiki with `db` online.
    fn db_on_kiki() -> (Self, Revision) {
        let mut play = Self::web_on_kiki();
        play.ok(db(1, "kiki", ResourceState::OnlinePending, 1000));
        assert_eq!(play.facts(), Facts::default());
        let rose = play.ok(db(1, "kiki", ResourceState::Online, 1300));
        (play, rose)
    }
}

#[test]
fn a_start_counts_with_when_where_and_how_long() {
    let (play, rose) = Play::db_on_kiki();
    let expected = Facts {
        starts: 1,
        rose,
        last_restart: WallTime(1300),
        last_server: Some("kiki".into()),
        start_took: Some(300),
        ..Facts::default()
    };
    assert_eq!(play.facts(), expected);
    assert_eq!(play.revision_of(&Key::Facts(web())), rose);
}

#[test]
fn what_a_restarted_node_finds_running_has_not_risen_anew() {
    let (mut play, _) = Play::db_on_kiki();
    let before = play.facts();
    play.start("kiki", 2, "boot-1");
    play.ok(db(1, "kiki", ResourceState::Unknown, 2000));
    play.ok(db(1, "kiki", ResourceState::Online, 2001));
    assert_eq!(play.facts(), before);
}

#[test]
fn an_end_and_a_start_under_the_same_ownership_count() {
    let (mut play, _) = Play::db_on_kiki();
    let fell = play.ok(db(1, "kiki", ResourceState::OnlineFailure, 2000));
    assert_eq!((play.facts().fell, play.facts().left_online), (fell, fell));
    play.ok(db(1, "kiki", ResourceState::OnlinePending, 2100));
    assert_eq!((play.facts().fell, play.facts().left_online), (fell, fell), "down is down");
    let rose = play.ok(db(1, "kiki", ResourceState::Online, 2600));
    let facts = play.facts();
    assert_eq!((facts.starts, facts.rose, facts.start_took), (2, rose, Some(500)));
    assert_eq!((facts.last_restart, facts.fell, facts.left_online), (WallTime(2600), fell, fell));
}

#[test]
fn intermediate_is_up_but_not_online() {
    let (mut play, rose) = Play::db_on_kiki();
    let left = play.ok(db(1, "kiki", ResourceState::Intermediate, 2000));
    let facts = play.facts();
    assert_eq!((facts.starts, facts.rose, facts.left_online, facts.fell), (1, rose, left, Revision(0)));
    // Back online: what waits for ONLINE comes back, but it did not start.
    let back = play.ok(db(1, "kiki", ResourceState::Online, 2100));
    let facts = play.facts();
    assert_eq!((facts.starts, facts.rose, facts.last_restart), (1, back, WallTime(1300)));
    // From INTERMEDIATE to nothing it leaves ONLINE no second time.
    let left = play.ok(db(1, "kiki", ResourceState::Intermediate, 2200));
    let fell = play.ok(db(1, "kiki", ResourceState::Offline, 2300));
    assert_eq!((play.facts().left_online, play.facts().fell), (left, fell));
}

#[test]
fn what_comes_up_intermediate_has_started_and_was_never_online() {
    let mut play = Play::web_on_kiki();
    let rose = play.ok(db(1, "kiki", ResourceState::Intermediate, 1000));
    assert_eq!((play.facts().starts, play.facts().rose), (1, rose));
    play.ok(gone("kiki", 1));
    assert_eq!((play.facts().left_online, play.facts().fell), (Revision(0), play.state.revision));
}

#[test]
fn a_release_ends_it_and_the_next_owner_starts_it_anew() {
    let (mut play, _) = Play::db_on_kiki();
    play.ok(release(1, Some("lala")));
    let stopping = play.ok(db(1, "kiki", ResourceState::OfflinePending, 2000));
    assert_eq!(play.facts().fell, stopping);
    play.ok(released(1, "kiki")); // at 100: before the stop by these clocks, which is no time at all
    assert_eq!((play.facts().fell, play.facts().stop_took), (stopping, Some(0)));
    play.assign("web", "lala", 2);
    let rose = play.ok(db(2, "lala", ResourceState::Online, 3000));
    let facts = play.facts();
    assert_eq!((facts.starts, facts.rose, facts.start_took), (2, rose, None));
    assert_eq!(facts.last_server, Some("lala".into()));
}

#[test]
fn a_stop_takes_as_long_as_it_was_pending() {
    let (mut play, _) = Play::db_on_kiki();
    play.ok(db(1, "kiki", ResourceState::OfflinePending, 2000));
    play.ok(db(1, "kiki", ResourceState::Offline, 2700));
    assert_eq!(play.facts().stop_took, Some(700));
    play.ok(released(1, "kiki"));
    assert_eq!(play.facts().stop_took, Some(700), "said once");
}

#[test]
fn the_end_of_its_owner_is_its_own() {
    let ends: [fn(&mut Play) -> Revision; 4] = [
        |play| play.ok(released(1, "kiki")),
        |play| play.ok(gone("kiki", 1)),
        |play| play.ok(stopped("kiki", 1)),
        |play| play.ok(started("kiki", 2, "boot-2")),
    ];
    for end in ends {
        let (mut play, _) = Play::db_on_kiki();
        let fell = end(&mut play);
        assert_eq!((play.facts().fell, play.facts().left_online), (fell, fell));
        assert!(play.state.history.back().unwrap().keys.contains(&Key::Facts(web())));
    }
}

#[test]
fn what_its_owner_speaks_of_no_more_is_down() {
    let (mut play, _) = Play::db_on_kiki();
    let fell = play.ok(report(1, "kiki", GroupState::Online));
    assert_eq!((play.facts().fell, play.facts().left_online), (fell, fell));
}
