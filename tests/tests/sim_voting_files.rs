//! Voting files beside the networks: evidence, the kill block, and files that fail. Rules R18 and R21.

#![allow(clippy::unwrap_used)]

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use tasuki_actors::handle::Event;
use tasuki_core::ids::ServerName;
use tasuki_tests::twin::{Happening, Twin, config, holds_in_time, in_time, patiently_at};
use tokio::sync::broadcast::Receiver;

/// Long enough that a busy machine does not take a lease away.
const DETECT: Duration = Duration::from_secs(3);
const SOON: Duration = Duration::from_secs(20);

async fn three(files: &[&str], disk_timeout: Duration) -> Twin {
    let mut config = config(3, DETECT);
    config.settings.votes.files = files.iter().map(PathBuf::from).collect();
    config.settings.votes.disk_timeout = disk_timeout;
    let twin = Twin::form(config).await;
    twin.until_whole().await;
    twin
}

/// It stood down because it was told to, and not because its lease ran out, as on a machine that is busy.
fn told_to_stop((_, what): &(Duration, Happening)) -> bool {
    matches!(what, Happening::StoodDown(why) if why != "the lease has ended")
}

async fn event(events: &mut Receiver<Event>, kind: &str) -> Event {
    let found = async {
        loop {
            match events.recv().await {
                Ok(event) if event.kind == kind => return event,
                Ok(_) | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
                Err(error) => panic!("{kind}: {error}"),
            }
        }
    };
    in_time(&format!("the event {kind}"), found).await
}

#[test]
fn r21_a_server_that_only_the_disk_reaches_reads_its_eviction_before_its_lease_ends() {
    patiently_at(DETECT, async || {
        let twin = three(&["/shared/vote"], SOON).await;
        let leader = twin.leader().unwrap();
        let victim = twin.others(&leader).pop().unwrap();
        let disk = "disk:/shared/vote".into();
        let node = twin.node(&victim).unwrap();
        let heard = async {
            while !node.view().peers[&leader].paths.get(&disk).is_some_and(|path| path.is_heard()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        in_time("the file is evidence", heard).await;
        twin.isolate(std::slice::from_ref(&victim));
        let cut = Instant::now();
        let why = async {
            loop {
                let log = twin.machine(&victim).log();
                let stood = log.into_iter().find_map(|(_, what)| match what {
                    Happening::StoodDown(why) => Some(why),
                    _ => None,
                });
                if let Some(why) = stood {
                    return why;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let why = in_time("it stands down", why).await;
        println!("stood down {:?} after the cut: {why}", cut.elapsed());
        assert!(why.contains("has evicted this server"), "{why}");
        // Its other life says over the disk that nothing runs any more: nobody waits for its lease's end.
        twin.kill_node(&victim).await;
        twin.boot(&victim).await;
        twin.until("the victim is gone", |state| state.presence(&victim).is_some_and(|p| !p.up)).await;
        println!("gone {:?} after the cut", cut.elapsed());
        twin.heal();
        twin.until_whole().await;
        twin.assert_one_owner_at_a_time();
    });
}

#[test]
fn a_server_that_is_heard_on_a_network_is_not_evicted() {
    patiently_at(DETECT, async || {
        let twin = three(&["/shared/vote"], SOON).await;
        twin.cut_network("inter");
        tokio::time::sleep(DETECT * 2).await; // nothing must happen, and that takes time to see
        for server in ["kiki", "lala", "mimi"] {
            let log = twin.machine(&server.into()).log();
            holds_in_time(
                !log.iter().any(told_to_stop),
                &format_args!("nobody is evicted: {server}: {log:?}"),
            );
        }
    });
}

#[test]
fn files_that_fail_are_lost_after_the_disk_timeout_and_come_back() {
    patiently_at(DETECT, async || {
        let files = ["/shared/a", "/shared/b", "/shared/c"];
        let twin = three(&files, Duration::from_millis(400)).await;
        let kiki = twin.node(&ServerName::from("kiki")).unwrap();
        let views = || kiki.context().voting.views(kiki.context());
        let online = async {
            while !(views().len() == 3 && views().iter().all(|file| file.is_online())) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        in_time("all files answer", online).await;
        let mut events = kiki.events();
        twin.break_file("/shared/a", true);
        let began = Instant::now();
        assert!(event(&mut events, "voting-file-failed").await.object.contains("/shared/a"));
        assert!(event(&mut events, "voting-file-lost").await.text.contains("/shared/a"));
        assert!(began.elapsed() >= Duration::from_millis(300), "the disk time-out is a patience of its own");
        twin.break_file("/shared/b", true);
        let lost = event(&mut events, "voting-files-lost").await;
        assert!(lost.text.starts_with("TSK-1746: ") && lost.text.contains("/shared/b"), "{}", lost.text);
        let states: Vec<bool> = views().iter().map(|file| file.lost).collect();
        assert_eq!(states, [true, true, false]);
        twin.break_file("/shared/a", false);
        event(&mut events, "voting-files-back").await;
        // A majority of three servers votes: the files are evidence there, and nobody stops for them.
        for server in ["kiki", "lala", "mimi"] {
            let log = twin.machine(&server.into()).log();
            assert!(!log.iter().any(told_to_stop), "{server}: {log:?}");
        }
    });
}
