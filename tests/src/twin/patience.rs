//! Tests that want something to be in time, where time is real and the machine may be busy.

use std::{
    any::Any,
    fmt::Display,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind},
    time::Duration,
};

use super::Lateness;

/// How long a lost server goes unnoticed, one try after the other.
const DETECT: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(10)];

/// For what must have happened, however slow the machine is.
const PATIENT: Duration = Duration::from_secs(30);

/// What no lateness of a machine excuses: a broken rule of safety.
struct Inexcusable;

/// Fails a test that is not to run once more.
///
/// # Panics
/// Always.
pub(super) fn inexcusable(why: &str) -> ! {
    eprintln!("{why}");
    panic_any(Inexcusable)
}

/// What the lateness of a machine excuses in any test: something did not happen in time.
struct TooLate;

/// Fails a test because something was not in time. It may run once more, if this machine was late.
///
/// # Panics
/// Always.
pub fn too_late(what: &dyn Display) -> ! {
    eprintln!("not in time: {what}");
    panic_any(TooLate)
}

/// Fails a test in which this does not hold, though it holds wherever the machine keeps up.
///
/// # Panics
/// When it does not hold.
pub fn holds_in_time(holds: bool, what: &dyn Display) {
    if !holds {
        too_late(what);
    }
}

/// Waits for something that has to happen, however busy the machine is: at most half a minute.
///
/// # Panics
/// When it does not happen.
pub async fn in_time<T>(what: &str, happens: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENT, happens).await.unwrap_or_else(|_| too_late(&what))
}

/// Waits, by looking again and again, until this is so.
///
/// # Panics
/// When it is not within half a minute.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    in_time(what, waiting).await;
}

/// Runs a test, in a runtime of its own, with the `detect` that its cluster shall have.
///
/// Where it fails, and this machine was late meanwhile by so much that leaders and leases may be lost by
/// that alone, its cluster had another fault than the test's: it says so, and runs once more with more
/// time. A failure on a machine that kept up is a failure at once, and so is a second owner on any machine.
///
/// # Panics
/// When the test does, or the machine has no runtime for it.
pub fn patiently(test: impl AsyncFn(Duration)) {
    patiently_by(DETECT, is_excusable, Lateness::worst, test);
}

/// The same for a test whose cluster has this `detect` each time, and which says itself what a late machine
/// excuses: only [`too_late`], which is where it waits. Whatever else it finds it has found.
///
/// # Panics
/// As [`patiently`].
pub fn patiently_at(detect: Duration, test: impl AsyncFn()) {
    patiently_by([detect; 3], is_lateness, Lateness::worst, async |_| test().await);
}

fn is_excusable(panic: &(dyn Any + Send)) -> bool {
    !panic.is::<Inexcusable>()
}

fn is_lateness(panic: &(dyn Any + Send)) -> bool {
    panic.is::<TooLate>()
}

fn patiently_by(
    detects: [Duration; 3],
    excuses: impl Fn(&(dyn Any + Send)) -> bool,
    late: impl Fn(&Lateness) -> Duration,
    test: impl AsyncFn(Duration),
) {
    for (n, detect) in detects.into_iter().enumerate() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let lateness = runtime.block_on(async { Lateness::measure() });
        let outcome = catch_unwind(AssertUnwindSafe(|| runtime.block_on(test(detect))));
        let Err(panic) = outcome else { return };
        let late = late(&lateness);
        // A beat late is a renewal less, and whoever is a little behind is not given anything.
        if !excuses(&*panic) || n + 1 == detects.len() || late <= detect / 20 {
            resume_unwind(panic);
        }
        println!(
            "once more, because this machine was {} ms late where servers are lost after {} ms",
            late.as_millis(),
            detect.as_millis()
        );
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Runs what fails until the given try on a machine that is so late, and tells how often it ran and
    /// whether it failed in the end.
    fn failing_until(good: u32, late: u64) -> (u32, bool) {
        let tries = AtomicU32::new(0);
        let all = || {
            patiently_by(
                DETECT,
                |_| true,
                |_| Duration::from_millis(late),
                async |_| {
                    let this = tries.fetch_add(1, Ordering::Relaxed) + 1;
                    assert!(this >= good, "try {this}");
                },
            );
        };
        let failed = catch_unwind(AssertUnwindSafe(all)).is_err();
        (tries.into_inner(), failed)
    }

    #[test]
    fn only_a_late_machine_gives_a_test_another_try() {
        assert_eq!(failing_until(1, 60), (1, false));
        assert_eq!(failing_until(2, 60), (2, false));
        assert_eq!(failing_until(2, 50), (1, true), "what fails in time fails");
        assert_eq!(failing_until(3, 60), (2, true), "60 ms are nothing where 3 s are waited for");
        assert_eq!(failing_until(3, 1000), (3, false));
        assert_eq!(failing_until(4, 1000), (3, true), "there is an end");
    }

    /// How often something runs that fails in this way, on a machine that is always late.
    fn tries(fails: impl Fn(), excuses: impl Fn(&(dyn Any + Send)) -> bool) -> u32 {
        let tries = AtomicU32::new(0);
        let all = || {
            patiently_by(
                DETECT,
                excuses,
                |_| Duration::from_secs(1),
                async |_| {
                    tries.fetch_add(1, Ordering::Relaxed);
                    fails();
                },
            );
        };
        assert!(catch_unwind(AssertUnwindSafe(all)).is_err());
        tries.into_inner()
    }

    #[test]
    fn a_second_owner_is_never_the_machines_fault() {
        assert_eq!(tries(|| inexcusable("two owners"), is_excusable), 1);
        assert_eq!(tries(|| inexcusable("two owners"), is_lateness), 1);
    }

    #[test]
    fn where_a_test_says_what_a_late_machine_excuses_nothing_else_is_excused() {
        assert_eq!(tries(|| panic!("a write is lost"), is_lateness), 1);
        assert_eq!(tries(|| too_late(&"a lease ended"), is_lateness), 3);
    }
}
