//! Real resets of real kernels: the watchdog's (R10), and the one by the kernel's emergency key. Each
//! machine is watched from outside: it is reset when QEMU says so.

use std::{
    path::Path,
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use tasuki_core::timing::Timing;
use tasuki_tests::vm::{Ended, Kit, Seen};

/// What the scenarios configure.
const DETECT: Duration = Duration::from_secs(10);
/// What the console and QEMU's own end may take, on a machine that is busy.
const SLACK: Duration = Duration::from_millis(1500);

/// The times of the machines' cluster.
fn timing() -> Timing {
    let mut timing = Timing::from_detect(DETECT);
    timing.watchdog = Duration::from_secs(5);
    timing
}

/// Boots a machine with a scenario, one at a time. `None`: skipped, and said so.
fn run(scenario: &str) -> Option<Seen> {
    static KIT: OnceLock<Result<Kit, String>> = OnceLock::new();
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    match KIT.get_or_init(|| Kit::new(Path::new(env!("CARGO_TARGET_TMPDIR")))) {
        Ok(kit) => Some(kit.run(scenario).unwrap_or_else(|error| panic!("{scenario}: {error}"))),
        Err(why) => {
            eprintln!("{scenario}: skipped, because {why}");
            None
        }
    }
}

/// Seconds of the machine's own clock at the end of a mark.
fn inside(rest: &str) -> f64 {
    rest.split_whitespace().last().and_then(|word| word.parse().ok()).unwrap_or(f64::NAN)
}

/// The machine was reset, and in time: the other servers wait no longer than this.
fn reset_in_time(seen: &Seen, by: &str) {
    assert_eq!(seen.ended, Ended::Reset, "{}", seen.console());
    let Some((now, _)) = seen.mark("MARK now") else { panic!("nothing was done:\n{}", seen.console()) };
    let took = seen.at - now;
    let wait = timing().takeover_wait();
    eprintln!("reset {} ms after {by}; a takeover waits {} ms", took.as_millis(), wait.as_millis());
    assert!(took <= wait + SLACK, "{took:?} after {by}:\n{}", seen.console());
}

fn by_the_watchdog(seen: &Seen) {
    let said = seen.lines.iter().any(|(_, line)| line.contains("softdog: Initiating system reboot"));
    assert!(said, "{}", seen.console());
}

#[test]
fn r10_a_machine_whose_guard_was_killed_is_reset_by_its_watchdog() {
    let Some(seen) = run("guard_killed") else { return };
    reset_in_time(&seen, "the guard was killed");
    by_the_watchdog(&seen);
    // Nobody stopped the service: only the reset did.
    let alive: Vec<f64> =
        seen.lines.iter().filter(|(_, l)| l.starts_with("MARK alive")).map(|(_, l)| inside(l)).collect();
    assert!(alive.len() > 1, "{}", seen.console());
}

#[test]
fn r10_a_machine_whose_guard_and_node_are_frozen_is_reset_by_its_watchdog() {
    let Some(seen) = run("all_frozen") else { return };
    reset_in_time(&seen, "everything of Tasuki was frozen");
    by_the_watchdog(&seen);
}

#[test]
fn a_final_action_resets_the_machine_through_the_kernels_key() {
    let Some(seen) = run("final_reset") else { return };
    reset_in_time(&seen, "the start failed");
    let said = seen.lines.iter().any(|(_, line)| line.contains("sysrq: Resetting"));
    assert!(said, "{}", seen.console());
}

#[test]
fn a_machine_whose_guard_lives_or_ends_in_order_is_not_reset() {
    let Some(seen) = run("no_reset") else { return };
    assert_eq!(seen.ended, Ended::InOrder, "{}", seen.console());
    // What a fence by watchdog has to know: the time-out that the driver took.
    let told = seen.mark("MARK told").is_some_and(|(_, told)| told.contains("\"secs\":5}"));
    assert!(told, "{}", seen.console());
    let Some((_, ended)) = seen.mark("MARK guard ended with") else { panic!("{}", seen.console()) };
    assert!(ended.starts_with("0 "), "{}", seen.console());
}
