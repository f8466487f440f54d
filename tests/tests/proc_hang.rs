//! One thread of a real node is stopped, as by a debugger, and nothing else: the guard notices (O9).

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        ptrace,
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use tasuki_core::timing::Timing;
use tasuki_tests::{hosts::await_some, process::Trio};

/// The thread of a process that is called so.
fn thread(process: Pid, name: &str) -> Option<Pid> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).ok()?;
    tasks.flatten().find_map(|task| {
        let its = fs::read_to_string(task.path().join("comm")).ok()?;
        (its.trim() == name).then(|| task.file_name().to_str()?.parse().ok().map(Pid::from_raw))?
    })
}

/// The scheduling policy of a thread: 2 is round robin.
fn policy(process: Pid, thread: Pid) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{process}/task/{thread}/stat")).ok()?;
    // The name may hold blanks; what follows it begins with field 3, and the policy is field 41.
    stat.rsplit_once(')')?.1.split_whitespace().nth(38)?.parse().ok()
}

#[test]
fn o9_a_watcher_that_hangs_alone_ends_its_node_within_misscount() {
    let mut trio = Trio::new().unwrap();
    let config = trio.subnet.config("ours", "");
    trio.found(&config).unwrap();
    let node = await_some("node", || Ok(trio.servers[0].node())).unwrap();
    let agent = await_some("agent", || Ok(thread(node, "sync-agent"))).unwrap();
    if nix::unistd::geteuid().is_root() {
        assert_eq!(policy(node, agent), Some(2), "round robin");
    } else {
        eprintln!("the agent's priority: skipped, because this is not root");
    }

    if let Err(error) = ptrace::seize(agent, ptrace::Options::empty()) {
        eprintln!("skipped, because a thread cannot be stopped here: {error}");
        return;
    }
    let began = Instant::now();
    ptrace::interrupt(agent).unwrap();
    let stopped = waitpid(agent, Some(WaitPidFlag::__WALL)).unwrap();
    assert!(matches!(stopped, WaitStatus::PtraceEvent(..) | WaitStatus::Stopped(..)), "{stopped:?}");
    // It stays stopped until it is killed with everything else.
    let ended = waitpid(agent, Some(WaitPidFlag::__WALL)).unwrap();
    let took = began.elapsed();
    assert!(matches!(ended, WaitStatus::Signaled(..) | WaitStatus::Exited(..)), "{ended:?}");
    let lease = Timing::from_detect(Duration::from_secs(3)).lease;
    println!(
        "the node was killed {} ms after its agent hung; misscount is {} ms",
        took.as_millis(),
        lease.as_millis()
    );
    assert!(took >= lease * 8 / 10, "{took:?}: not for a pause that is shorter");
    assert!(took <= lease * 2, "{took:?}");
    await_some("new node", || Ok(trio.servers[0].node().filter(|new| *new != node))).unwrap();
    let log = trio.servers[0].log();
    assert!(log.contains("the synchronisation agent did not move"), "{log}");
}
