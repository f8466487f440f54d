//! Machines with voting files on a disk that they share, and watchdogs that really reset them: the kill
//! block (R21), a server that cannot read it because it is frozen, or whose guard was killed (R10), and the
//! fence by its own watchdog (R9, R36). They are watched from outside, on one clock; the service counts into
//! a disk that both have, where another one that still counts would be seen.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use tasuki_actors::ports::DiskBeat;
use tasuki_core::{ids::Incarnation, timing::Timing};
use tasuki_storage::votes::{Examined, VotingFile, examine};
use tasuki_tests::{
    hosts::program,
    vm::{Ended, Kit, Machine, Seen},
};
use tempfile::TempDir;

/// What `pair.sh` configures.
const DETECT: Duration = Duration::from_secs(20);
const WATCHDOG: Duration = Duration::from_secs(10);
/// What the console and QEMU's own end may take, on a machine that is busy.
const SLACK: Duration = Duration::from_millis(1500);
/// Room for a voting file, and for the disk that the service counts into.
const DISK: u64 = 2 << 20;
/// Their numbers in the configuration, and in the voting file.
const KIKI: u32 = 1;
const LALA: u32 = 2;

/// The times of the machines' cluster.
fn timing() -> Timing {
    let mut timing = Timing::from_detect(DETECT);
    timing.watchdog = WATCHDOG;
    timing
}

/// One machine, or two, at a time. `None`: skipped, and said so.
fn with_kit<T>(scenario: &str, run: impl FnOnce(&Kit) -> io::Result<T>) -> Option<T> {
    static KIT: OnceLock<Result<Kit, String>> = OnceLock::new();
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    match KIT.get_or_init(|| Kit::new(Path::new(env!("CARGO_TARGET_TMPDIR")))) {
        Ok(kit) => Some(run(kit).unwrap_or_else(|error| panic!("{scenario}: {error}"))),
        Err(why) => {
            eprintln!("{scenario}: skipped, because {why}");
            None
        }
    }
}

/// A blank disk for votes, and one for the service.
fn disks() -> io::Result<(TempDir, [PathBuf; 2])> {
    let folder = tempfile::tempdir()?;
    let disks = ["votes", "shared"].map(|name| folder.path().join(name));
    for disk in &disks {
        std::fs::File::create(disk)?.set_len(DISK)?;
    }
    Ok((folder, disks))
}

/// The voting file on a machine's disk, as the server of this number has it.
fn voting_file(disk: &Path, number: u32) -> io::Result<VotingFile> {
    match examine(disk).map_err(io::Error::other)? {
        Examined::Voting(header) => VotingFile::open(disk, &header.lineage, number).map_err(io::Error::other),
        other => Err(io::Error::other(format!("no voting file: {other:?}"))),
    }
}

/// Boots a pair with a scenario; and what the survivor says of whom it has evicted.
fn pair(scenario: &str) -> Option<([Seen; 2], DiskBeat)> {
    with_kit(scenario, |kit| {
        let (_folder, disks) = disks()?;
        let seen = kit.run_pair(scenario, &[program()?], &disks).map_err(io::Error::other)?;
        let (_, beats) = voting_file(&disks[0], LALA)?.peek::<DiskBeat>().map_err(io::Error::other)?;
        let kiki = beats.into_iter().find(|(number, _)| *number == KIKI);
        Ok((seen, kiki.ok_or_else(|| io::Error::other("kiki has written nothing"))?.1))
    })
}

fn consoles([kiki, lala]: &[Seen; 2]) -> String {
    format!("kiki:\n{}\nlala:\n{}", kiki.console(), lala.console())
}

/// R10: the second machine was reset by its watchdog, in time, and before the service began on the first:
/// how long after what was done to it.
fn reset_before_the_service_began(seen: &[Seen; 2]) -> Duration {
    let [kiki, lala] = seen;
    assert_eq!((kiki.ended, lala.ended), (Ended::InOrder, Ended::Reset), "{}", consoles(seen));
    let by_softdog = lala.lines.iter().any(|(_, line)| line.contains("softdog: Initiating system reboot"));
    assert!(by_softdog, "{}", consoles(seen));
    let both = seen.iter().any(|machine| machine.mark("MARK both run").is_some());
    assert!(!both, "{}", consoles(seen));
    let (Some((now, _)), Some((began, _))) = (lala.mark("MARK now"), kiki.mark("MARK kiki serves")) else {
        panic!("{}", consoles(seen))
    };
    let (reset, began) = (lala.at.saturating_sub(now), began.saturating_sub(now));
    let (watchdog, wait) = (WATCHDOG.as_millis(), timing().takeover_wait().as_millis());
    eprintln!(
        "reset after {} ms (the watchdog's time-out is {watchdog} ms, a takeover waits {wait} ms); the service \
         began on the other machine after {} ms",
        reset.as_millis(),
        began.as_millis()
    );
    assert!(reset <= timing().takeover_wait() + SLACK, "{reset:?}:\n{}", consoles(seen));
    assert!(began > reset, "{began:?} before {reset:?}:\n{}", consoles(seen));
    began
}

#[test]
fn r21_a_server_that_reads_its_eviction_in_the_voting_file_stops_at_once() {
    let Some((seen, written)) = with_kit("evicted", |kit| {
        let (_folder, disks) = disks()?;
        let machine = Machine {
            scenario: "evicted".to_owned(),
            programs: vec![program()?],
            files: vec![("me".to_owned(), "0\n".to_owned())],
            disks: disks.to_vec(),
            cut: None,
        };
        // From outside, as another server writes it: again and again, because a block that is only there may
        // be old.
        let mut eviction = DiskBeat {
            server: "lala".into(),
            number: LALA,
            incarnation: Incarnation(1),
            seq: 0,
            stopped: false,
            evicts: BTreeMap::from([("kiki".into(), Incarnation(1))]),
        };
        let (mut written, mut failed) = (None, None);
        let mut tell = |at: Duration, line: &str| {
            if line.starts_with("MARK whole") || line.starts_with("MARK alive") && written.is_some() {
                eviction.seq += 1;
                let done = voting_file(&disks[0], LALA)
                    .and_then(|mut file| file.exchange(&eviction).map_err(io::Error::other));
                written = written.or(Some(at));
                failed = failed.take().or(done.err());
            }
        };
        let seen = kit.run_and_tell(&machine, &mut tell).map_err(io::Error::other)?;
        let console = seen.console();
        let written = written.ok_or_else(|| io::Error::other(format!("it is never whole:\n{console}")))?;
        failed.map_or(Ok((seen, written)), Err)
    }) else {
        return;
    };
    assert_eq!(seen.ended, Ended::InOrder, "{}", seen.console());
    let (Some((stopped, _)), Some((_, why))) = (seen.mark("MARK stopped"), seen.mark("MARK why: ")) else {
        panic!("{}", seen.console())
    };
    let took = stopped.saturating_sub(written);
    eprintln!("stopped {} ms after its eviction was written", took.as_millis());
    assert!(why.contains("lala has evicted this server"), "{why}:\n{}", seen.console());
}

#[test]
#[ignore = "two machines that need the processor for themselves: just vm-pair"]
fn r10_a_server_that_is_frozen_and_does_not_read_its_eviction_is_reset_by_its_watchdog() {
    let Some((seen, kiki)) = pair("frozen") else { return };
    reset_before_the_service_began(&seen);
    assert_eq!(kiki.evicts, BTreeMap::from([("lala".into(), Incarnation(1))]), "{}", consoles(&seen));
}

/// R9, R36: the survivor waits until the other one's own watchdog has done its work for certain.
#[test]
#[ignore = "two machines that need the processor for themselves: just vm-pair"]
fn r36_a_fence_by_watchdog_confirms_a_server_whose_guard_was_killed() {
    let Some((seen, _)) = pair("dog") else { return };
    let began = reset_before_the_service_began(&seen);
    // The last lease was granted a beat or two before.
    let timing = timing();
    assert!(began + timing.beat * 4 >= timing.takeover_wait(), "{began:?}:\n{}", consoles(&seen));
    let confirmed = seen[0].lines.iter().any(|(_, line)| line.contains("dog: confirmed"));
    assert!(confirmed, "{}", consoles(&seen));
}
