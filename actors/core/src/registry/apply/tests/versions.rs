//! The configurations that were.

use super::*;

#[test]
fn each_configuration_that_differs_is_a_version() {
    let mut play = Play::empty();
    let first = Revision(1);
    assert_eq!(play.state.versions.len(), 1);
    let last = play.state.versions.back().unwrap().clone();
    assert_eq!(
        (last.revision, last.at, &last.author),
        (first, WallTime(100), &Author::Operator("test".into()))
    );
    assert_eq!(last.config, config());

    play.configure(|_| ());
    assert_eq!(play.state.versions.len(), 1, "nothing differs");
    let second = play.configure(|config| config.settings.comment = "changed".into());
    let third = play.configure(|config| config.settings.comment = String::new());
    let revisions: Vec<_> = play.state.versions.iter().map(|version| version.revision).collect();
    assert_eq!(revisions, [first, second, third]);

    let comment = |revision| Some(play.state.version(revision)?.config.settings.comment.clone());
    assert_eq!(play.state.version(Revision(0)), None);
    assert_eq!(comment(Revision(second.0 - 1)), Some(String::new()));
    assert_eq!(comment(second), Some("changed".into()));
    assert_eq!(comment(third), Some(String::new()));
    assert_eq!(play.state.version(play.state.revision).unwrap().revision, third);
    assert_eq!(play.state.version(play.state.revision.next()), None, "nothing of the future");
}

#[test]
fn the_last_versions_are_kept() {
    let mut play = Play::empty();
    for number in 0..VERSIONS_LIMIT {
        play.configure(|config| config.settings.comment = number.to_string());
    }
    assert_eq!(play.state.versions.len(), VERSIONS_LIMIT);
    assert_eq!(play.state.versions.front().unwrap().config.settings.comment, "0");
    assert_eq!(play.state.version(Revision(1)), None);
}

#[test]
fn a_refused_configuration_is_no_version() {
    let mut play = Play::empty();
    let mut without = config();
    without.servers.remove(&"kiki".into());
    play.refused(Command::SetConfig { config: without });
    assert_eq!(play.state.versions.len(), 1);
}
