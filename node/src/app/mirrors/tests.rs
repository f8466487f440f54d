//! What several servers say of one disk, as one answer.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use tasuki_core::config::MirrorDiskConfig;

use super::*;

fn here(role: CopyRole, disk: DiskState, peers: Vec<PeerStatus>) -> CopyHere {
    CopyHere {
        volume: "md".into(),
        role,
        disk,
        size: 1 << 30,
        epoch: Epoch(3),
        generation: Generation(2),
        device: None,
        export: None,
        frozen: false,
        problem: String::new(),
        peers,
        counters: Counters::default(),
        verified: None,
    }
}

fn peer(server: &str, link: LinkState, dirty: u64) -> PeerStatus {
    let progress = Some(ProgressView { total: 100, done: 40, ..ProgressView::default() });
    PeerStatus { server: server.into(), link, mode: PeerMode::Syncing, dirty, progress }
}

fn put_together(said: Vec<(&str, Result<Vec<CopyHere>, String>)>) -> VolumeStatus {
    let servers = vec!["kiki".into(), "lala".into()];
    let group = GroupConfig { servers, ..GroupConfig::default() };
    let disk = MirrorDiskConfig::of("/dev/sdb2".into(), "/dev/sdb1".into());
    let said: Vec<_> = said.into_iter().map(|(server, said)| (ServerName::new(server), said)).collect();
    together(&State::default(), "md".into(), "db".into(), &group, &disk, &said)
}

#[test]
fn the_copy_that_is_copied_to_shows_what_the_other_side_knows_of_it() {
    let source =
        here(CopyRole::Primary, DiskState::UpToDate, vec![peer("lala", LinkState::SyncSource, 4096)]);
    let target = here(CopyRole::Secondary, DiskState::Inconsistent, Vec::new());
    let status = put_together(vec![("kiki", Ok(vec![source])), ("lala", Ok(vec![target]))]);
    let [kiki, lala] = &status.copies[..] else { panic!("{status:?}") };
    assert_eq!((kiki.link, kiki.colour, kiki.dirty), (LinkState::SyncSource, Colour::Green, None));
    assert_eq!((lala.link, lala.colour, lala.dirty), (LinkState::SyncTarget, Colour::Yellow, Some(4096)));
    assert_eq!(lala.progress.map(|progress| progress.done), Some(40));
}

#[test]
fn half_an_answer_is_better_than_none() {
    let alone = here(CopyRole::Primary, DiskState::UpToDate, vec![peer("lala", LinkState::Disconnected, 7)]);
    let status = put_together(vec![("kiki", Ok(vec![alone])), ("lala", Err("the server is down".into()))]);
    let lala = &status.copies[1];
    assert_eq!((lala.colour, lala.silent.as_str()), (Colour::Grey, "the server is down"));
    assert_eq!(lala.dirty, Some(7), "what it lacks is known all the same");
    assert_eq!(status.copies[0].link, LinkState::Disconnected);
    let none = put_together(vec![("kiki", Ok(Vec::new())), ("lala", Ok(Vec::new()))]);
    assert!(none.copies.iter().all(|copy| copy.here.is_none() && !copy.silent.is_empty()));
}

#[test]
fn a_disk_that_is_not_there_is_named_with_the_one_that_was_meant() {
    let mut state = State::default();
    let error = disk_of(&state, &"md".into()).map(|_| ()).unwrap_err();
    assert_eq!((error.code(), error.exit()), ("TSK-1810", Exit::NotFound));
    state.groups = BTreeMap::new();
    assert!(error.remedy().contains("tasuki mirror create"), "{}", error.remedy());
}

/// C21: each side's state at a glance, in every situation that there is.
#[test]
fn c21_the_colour_of_a_copy_says_whether_it_can_be_used() {
    use DiskState::{Consistent, Diskless, Failed, Inconsistent, Outdated, UpToDate};
    use LinkState::{Connected, Disconnected, Diverged, Handshaking, Paused, SyncSource, SyncTarget};
    let links = [Disconnected, Handshaking, Connected, SyncSource, SyncTarget, Paused, Diverged];
    let table = [
        (UpToDate, "green green green green yellow yellow green"),
        (Consistent, "grey grey grey grey yellow yellow red"),
        (Outdated, "red red red red yellow yellow red"),
        (Inconsistent, "red red red red yellow yellow red"),
        (Failed, "red red red red yellow yellow red"),
        (Diskless, "grey grey grey grey yellow yellow red"),
    ];
    for (disk, row) in table {
        let found: Vec<String> = links.iter().map(|link| Colour::of(disk, *link).to_string()).collect();
        assert_eq!(found.join(" "), row, "{disk}");
    }
    // A copy that its server cannot open is no mere absence.
    let shut =
        CopyHere { problem: "TSK-1821: in use".into(), ..here(CopyRole::Secondary, Diskless, Vec::new()) };
    let status = put_together(vec![("kiki", Ok(vec![shut])), ("lala", Err("the server is down".into()))]);
    let colours: Vec<Colour> = status.copies.iter().map(|copy| copy.colour).collect();
    assert_eq!(colours, [Colour::Red, Colour::Grey]);
}
