//! A guard with a small node under it.

use std::{
    ffi::OsString,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    process::{Child, Command, ExitCode, Stdio},
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tasuki_core::{
    ids::{Epoch, GroupName, ResourceName},
    time::Timestamp,
};
use tasuki_system::{
    address::HeldAddress,
    clock,
    confinement::Part,
    guard::{ConfinementChoice, GuardOptions, PowerPolicy, run},
    process::ProcessId,
    records::Records,
};

use crate::{
    Test,
    node::ask,
    support::{Place, each_confinement, eventually},
};

pub const TESTS: &[Test] = &[
    ("r10_at_the_leases_end_everything_stops_with_the_node_alive", || lease_end(|_| {})),
    ("r10_at_the_leases_end_everything_stops_with_the_node_stopped", || {
        lease_end(|node| send(node, Signal::SIGSTOP));
    }),
    ("r10_at_the_leases_end_everything_stops_with_the_node_dead", || {
        lease_end(|node| send(node, Signal::SIGKILL));
    }),
    ("r6_a_killed_node_is_replaced_and_what_runs_goes_on", node_killed),
    ("r7_a_lease_given_back_is_acknowledged_once_nothing_runs", given_back),
    ("a_node_may_ask_to_stand_down", stand_down),
    ("a_reset_that_the_machine_does_not_have_ends_everything", reset),
    ("r10_a_node_dies_with_its_guard", guard_killed),
    ("r6_a_guard_that_starts_again_goes_on_with_the_lease", guard_replaced),
    ("r10_a_guard_that_starts_again_after_the_lease_stops_what_runs", guard_replaced_late),
    ("r10_at_the_leases_end_recorded_addresses_are_dropped_and_no_others", addresses),
    ("asked_to_end_a_guard_lets_its_node_leave", leave),
    ("one_guard_a_data_folder", one_guard),
    ("a_guard_that_leads_its_session_takes_a_larger_share_for_it_and_for_no_program", session_share),
];

pub const BUDGET: Duration = Duration::from_millis(500);

pub fn play(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let data_dir = PathBuf::from(arguments.next().unwrap());
    let run_dir = PathBuf::from(arguments.next().unwrap());
    let marked = arguments.next().unwrap() == "marked";
    let me = std::env::current_exe().unwrap().into_os_string();
    let node_command = vec![me, "__node".into(), data_dir.clone().into(), run_dir.clone().into()];
    let options = GuardOptions {
        data_dir,
        run_dir,
        node_command,
        power: PowerPolicy::None,
        watchdog: None,
        lease: Duration::from_secs(1),
        guard_budget: BUDGET,
        confinement: if marked { ConfinementChoice::Marked } else { ConfinementChoice::BestPossible },
    };
    run(options).unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::FAILURE
    })
}

/// A running guard, killed at the end.
pub struct Guard {
    child: Child,
    pub place: Place,
}

impl Guard {
    pub fn start(place: Place) -> Self {
        let child = Self::spawn(&place, Stdio::inherit());
        Self { child, place }
    }

    fn spawn(place: &Place, errors: Stdio) -> Child {
        Self::spawn_by(Command::new(std::env::current_exe().unwrap()), place, errors)
    }

    fn spawn_by(mut command: Command, place: &Place, errors: Stdio) -> Child {
        let layout = &place.layout;
        command
            .arg("__guard")
            .args([layout.data_dir(), layout.run_dir()])
            .arg(if place.marked { "marked" } else { "best" })
            .stderr(errors)
            .spawn()
            .unwrap()
    }

    pub fn ask(&self, command: &str) -> String {
        ask(self.place.layout.run_dir(), command)
    }

    pub fn node(&self) -> i32 {
        self.ask("pid").parse().unwrap()
    }

    pub fn renew(&self, millis: u64) -> Timestamp {
        Timestamp(self.ask(&format!("renew {millis}")).parse().unwrap())
    }

    /// Starts a program with a daemon beside it; returns its processes.
    fn start_program(&self) -> Vec<ProcessId> {
        let text = "setsid sleep 1111 >/dev/null 2>&1 &\nsleep 2222 &\nwait";
        let script = self.place.script("serve.sh", text);
        assert_eq!(self.ask(&format!("start r {}", script.display())), "up");
        eventually("three processes", || Some(self.members()).filter(|members| members.len() == 3))
    }

    fn members(&self) -> Vec<ProcessId> {
        let (group, resource) = (GroupName::from("g"), ResourceName::from("r"));
        let cell = self.place.confinement().cell(&group, &resource, Part::Main);
        cell.members().unwrap()
    }

    fn probe(&self) -> String {
        self.ask(&format!("probe r {}", self.place.path().join("serve.sh").display()))
    }

    /// Kills the guard alone, as a bug or an operator would.
    pub fn kill(mut self) -> Place {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let place = Place::new(self.place.marked);
        std::mem::replace(&mut self.place, place)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn send(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap();
}

pub fn has_ended(process: &OwnedFd, patience: PollTimeout) -> bool {
    poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], patience).unwrap() == 1
}

fn lease_end(disturb: impl Fn(i32)) {
    each_confinement(|marked| {
        let guard = Guard::start(Place::new(marked));
        guard.renew(20_000);
        let processes = guard.start_program();
        guard.ask("give-back");
        assert!(guard.members().is_empty());

        guard.renew(1500);
        let processes = {
            drop(processes);
            guard.start_program()
        };
        let node_pid = guard.node();
        let node = ProcessId::of(node_pid).unwrap().open().unwrap();
        let end = guard.renew(2000);
        disturb(node_pid);
        let open: Vec<OwnedFd> = processes.iter().filter_map(ProcessId::open).collect();
        assert_eq!(open.len(), 3);
        for process in &open {
            assert!(has_ended(process, PollTimeout::from(10_000_u16)));
            assert!(has_ended(&node, PollTimeout::ZERO), "the node is killed first");
        }
        let now = clock::now();
        assert!(now >= end, "nothing stops before the lease's end");
        assert!(now.since(end) <= BUDGET, "{:?} after the lease's end", now.since(end));
        println!("everything had stopped {:?} after the lease's end (marked: {marked})", now.since(end));
        eventually("a fresh node", || (guard.ask("lease") == "None").then_some(()));
        assert_eq!(guard.probe(), "stopped");
    });
}

fn node_killed() {
    each_confinement(|marked| {
        let guard = Guard::start(Place::new(marked));
        let end = guard.renew(20_000);
        let before = guard.start_program();
        let node = guard.node();
        send(node, Signal::SIGKILL);
        eventually("another node", || (guard.node() != node).then_some(()));
        assert_eq!(guard.ask("lease"), format!("{:?}", Some(end.0)));
        assert_eq!(guard.probe(), "running");
        assert_eq!(guard.members(), before);
    });
}

fn given_back() {
    each_confinement(|marked| {
        let guard = Guard::start(Place::new(marked));
        guard.renew(20_000);
        let processes = guard.start_program();
        let node = guard.node();
        assert_eq!(guard.ask("give-back"), "left running: 0");
        assert!(processes.iter().all(|process| process.open().is_none()));
        assert_eq!(guard.node(), node, "the node lives on");
        assert_eq!(guard.ask("lease"), "None");
    });
}

fn stand_down() {
    let guard = Guard::start(Place::new(false));
    guard.renew(20_000);
    guard.start_program();
    let node = guard.node();
    guard.ask("stand-down");
    eventually("another node", || (guard.node() != node).then_some(()));
    assert!(guard.members().is_empty());
    assert_eq!(guard.ask("lease"), "None");
}

/// Under a guard that leaves its machine as it is: the reset itself would end the tests.
fn reset() {
    let guard = Guard::start(Place::new(false));
    guard.renew(20_000);
    guard.start_program();
    let node = guard.node();
    guard.ask("reset");
    eventually("another node", || (guard.node() != node).then_some(()));
    assert!(guard.members().is_empty());
    assert_eq!(guard.ask("lease"), "None");
}

fn guard_killed() {
    let guard = Guard::start(Place::new(false));
    let node = ProcessId::of(guard.node()).unwrap().open().unwrap();
    let _place = guard.kill();
    assert!(has_ended(&node, PollTimeout::from(5000_u16)));
}

fn guard_replaced() {
    each_confinement(|marked| {
        let guard = Guard::start(Place::new(marked));
        let end = guard.renew(20_000);
        let before = guard.start_program();
        let guard = Guard::start(guard.kill());
        assert_eq!(guard.ask("lease"), format!("{:?}", Some(end.0)));
        assert_eq!(guard.members(), before);
        assert_eq!(guard.probe(), "running");
    });
}

fn guard_replaced_late() {
    each_confinement(|marked| {
        let guard = Guard::start(Place::new(marked));
        guard.renew(20_000);
        let before = guard.start_program();
        let place = guard.kill();
        // As if the lease had ended meanwhile, and as if nothing were known of it.
        std::fs::write(place.layout.lease(), "").unwrap();
        let guard = Guard::start(place);
        assert_eq!(guard.ask("lease"), "None");
        assert!(before.iter().all(|process| process.open().is_none()));
        assert_eq!(guard.probe(), "stopped");
    });
}

fn ip(arguments: &str) -> Option<String> {
    let output = Command::new("ip").args(arguments.split(' ')).output().ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

/// A network namespace, removed at the end.
struct Network(String);

impl Network {
    fn new() -> Option<Self> {
        let name = format!("tasuki-guard-{}", std::process::id());
        ip(&format!("netns add {name}"))?;
        let network = Self(name);
        network.ip("link add d0 type veth peer name d1")?;
        network.ip("link set d1 up")?;
        network.ip("link set d0 up")?;
        Some(network)
    }

    fn ip(&self, arguments: &str) -> Option<String> {
        ip(&format!("-n {} {arguments}", self.0))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        ip(&format!("netns del {}", self.0));
    }
}

fn addresses() {
    let Some(network) = Network::new() else {
        println!("skipped, because no network namespace can be made here");
        return;
    };
    network.ip("addr add 10.77.0.1/24 dev d0").unwrap();
    network.ip("addr add 10.77.0.9/24 dev d0").unwrap();
    let place = Place::new(false);
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{}", network.0)).arg(std::env::current_exe().unwrap());
    let child = Guard::spawn_by(command, &place, Stdio::inherit());
    let guard = Guard { child, place };
    let end = guard.renew(1000);
    let records = Records::new(guard.place.layout.address_records(), clock::boot_id().unwrap());
    let held =
        HeldAddress { address: [10, 77, 0, 9].into(), prefix: 24, device: "d0".into(), loopback: false };
    records.write(&"g".into(), &"fip".into(), Epoch(1), held).unwrap();
    eventually("the floating address is gone", || {
        (!network.ip("addr show dev d0").unwrap().contains("10.77.0.9")).then_some(())
    });
    let now = clock::now();
    assert!(now >= end && now.since(end) <= BUDGET, "{:?} after the lease's end", now.since(end));
    println!("the address was gone {:?} after the lease's end", now.since(end));
    assert!(network.ip("addr show dev d0").unwrap().contains("10.77.0.1/24"), "the server's own stays");
    eventually("no record", || records.all().unwrap().is_empty().then_some(()));
}

fn leave() {
    let mut guard = Guard::start(Place::new(false));
    guard.renew(20_000);
    let processes = guard.start_program();
    send(i32::try_from(guard.child.id()).unwrap(), Signal::SIGTERM);
    assert!(guard.child.wait().unwrap().success());
    assert!(processes.iter().all(|process| process.open().is_none()));
    assert!(!guard.place.layout.node_process().exists());
}

/// The nice value of a process's session; `None` where the kernel has none.
fn session_nice(pid: u32) -> Option<i32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/autogroup")).ok()?;
    text.trim().rsplit_once("nice ")?.1.parse().ok()
}

fn session_share() {
    let own = session_nice(std::process::id());
    let asks = "echo -15 > /proc/self/autogroup";
    let permitted = Command::new("setsid").args(["sh", "-c", asks]).stderr(Stdio::null()).status();
    if own.is_none() || !permitted.is_ok_and(|status| status.success()) {
        return println!("skipped, because this kernel has no sched_autogroup, or does not permit to use it");
    }
    let place = Place::new(false);
    let mut leader = Command::new("setsid");
    leader.arg(std::env::current_exe().unwrap());
    let child = Guard::spawn_by(leader, &place, Stdio::inherit());
    let guard = Guard { child, place };
    guard.node();
    assert_eq!(session_nice(guard.child.id()), Some(-15));
    guard.renew(60_000);
    for program in guard.start_program() {
        assert_eq!(session_nice(program.pid.try_into().unwrap()), Some(0), "{program:?}");
    }
    drop(guard);
    // Started by hand, it shares its session with others and leaves it as it is.
    let guard = Guard::start(Place::new(false));
    guard.node();
    assert_eq!((session_nice(guard.child.id()), session_nice(std::process::id())), (own, own));
}

fn one_guard() {
    let guard = Guard::start(Place::new(false));
    guard.node();
    let second = Guard::spawn(&guard.place, Stdio::piped());
    let output = second.wait_with_output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(text.contains("TSK-1501") && text.contains(&guard.child.id().to_string()), "{text}");
}
