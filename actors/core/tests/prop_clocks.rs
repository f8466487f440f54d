//! R9 with clocks that are slewed: whatever two servers' clocks do within the rate that Linux allows,
//! what a lease allowed has ended in real time before anybody may take over.

use std::time::Duration;

use proptest::prelude::*;
use tasuki_core::timing::{Timing, TimingError};

/// One twelfth: how far a clock that is being slewed runs too slow or too fast.
const WORST: i64 = 83_333;
const MILLION: i64 = 1_000_000;

/// How much real time passes while a clock that runs `rate` millionths too fast counts this much.
fn real(counted: Duration, rate: i64) -> f64 {
    counted.as_secs_f64() * MILLION as f64 / (MILLION + rate) as f64
}

/// The latest moment, counted by the holder, at which something of it may run: its own lease and budget,
/// or the reset by a watchdog that was petted in the last moment that was allowed.
fn holder_ends(timing: &Timing) -> Duration {
    timing.lease + timing.guard_budget + timing.watchdog_cost()
}

fn times() -> impl Strategy<Value = Timing> {
    (200u64..20_000, 60u64..300, 20u64..2_000, prop_oneof![Just(0), 0u64..60_000], 0u64..500).prop_map(
        |(detect, lease, budget, watchdog, more)| {
            let plain = Timing::from_detect(Duration::from_millis(detect));
            let timing = Timing {
                lease: plain.lease * u32::try_from(lease).unwrap_or(100) / 100,
                guard_budget: Duration::from_millis(budget),
                watchdog: Duration::from_millis(watchdog),
                ..plain
            };
            Timing { clock_margin: timing.least_clock_margin() + Duration::from_millis(more), ..timing }
        },
    )
}

fn rate() -> impl Strategy<Value = i64> {
    prop_oneof![Just(-WORST), Just(WORST), -WORST..=WORST]
}

proptest! {
    #[test]
    fn r9_the_holder_has_ended_before_a_takeover_whatever_the_clocks_do(
        timing in times(),
        holder in rate(),
        leader in rate(),
    ) {
        let ended = real(holder_ends(&timing), holder);
        let taken_over = real(timing.takeover_wait(), leader);
        prop_assert!(ended <= taken_over, "{ended} s and {taken_over} s with {timing:?}");
    }

    /// The margin is not only enough: 2 ms less and two clocks exist with which it is not.
    #[test]
    fn r9_a_smaller_margin_is_refused_and_would_not_do(timing in times()) {
        let margin = timing.least_clock_margin() - Duration::from_millis(2);
        let timing = Timing { clock_margin: margin, ..timing };
        let refused = timing.check().err().unwrap_or_default();
        let named = refused.iter().any(|error| matches!(error, TimingError::ClockMargin { .. }));
        prop_assert!(named);
        let ended = real(holder_ends(&timing), -WORST);
        let taken_over = real(timing.takeover_wait(), WORST);
        prop_assert!(ended > taken_over, "{ended} s and {taken_over} s with {timing:?}");
    }
}
