//! The configurations that were.

use super::*;
use crate::registry::state::VERSIONS_RESOURCES_LIMIT;

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

#[test]
fn large_configurations_are_kept_less_long() {
    let mut play = Play::empty();
    let many = VERSIONS_RESOURCES_LIMIT / 2 - 1;
    for number in 0..5 {
        play.configure(|config| {
            config.settings.comment = number.to_string();
            let resource = |n: usize| (ResourceName::new(format!("r{n}")), program());
            let group =
                GroupConfig { resources: (0..many).map(resource).collect(), ..GroupConfig::default() };
            config.groups.insert("large".into(), group);
        });
        assert!(play.state.versions.len() >= 2, "the one before can always be brought back");
    }
    let kept: Vec<&str> = play.state.versions.iter().map(|v| v.config.settings.comment.as_str()).collect();
    assert_eq!(kept, ["3", "4"]);
}
