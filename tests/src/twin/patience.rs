//! Tests that want something to be in time, where time is real and the machine may be busy.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind},
    time::Duration,
};

use super::Lateness;

/// How long a lost server goes unnoticed, one try after the other.
const DETECT: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(10)];

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

/// Runs a test, in a runtime of its own, with the `detect` that its cluster shall have.
///
/// Where it fails, and this machine was late meanwhile by so much that leaders and leases may be lost by
/// that alone, its cluster had another fault than the test's: it says so, and runs once more with more
/// time. A failure on a machine that kept up is a failure at once, and so is a second owner on any machine.
///
/// # Panics
/// When the test does, or the machine has no runtime for it.
pub fn patiently(test: impl AsyncFn(Duration)) {
    patiently_by(Lateness::worst, test);
}

fn patiently_by(late: impl Fn(&Lateness) -> Duration, test: impl AsyncFn(Duration)) {
    for (n, detect) in DETECT.into_iter().enumerate() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let lateness = runtime.block_on(async { Lateness::measure() });
        let outcome = catch_unwind(AssertUnwindSafe(|| runtime.block_on(test(detect))));
        let Err(panic) = outcome else { return };
        let late = late(&lateness);
        // A beat late is a renewal less, and whoever is a little behind is not given anything.
        if panic.is::<Inexcusable>() || n + 1 == DETECT.len() || late <= detect / 20 {
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

    #[test]
    fn a_second_owner_is_never_the_machines_fault() {
        let tries = AtomicU32::new(0);
        let all = || {
            patiently_by(
                |_| Duration::from_secs(1),
                async |_| {
                    tries.fetch_add(1, Ordering::Relaxed);
                    inexcusable("two owners");
                },
            );
        };
        assert!(catch_unwind(AssertUnwindSafe(all)).is_err());
        assert_eq!(tries.into_inner(), 1);
    }
}
