//! `[cluster]`: settings of the cluster as a whole, and `[cluster.timing]`.

use std::time::Duration;

use tasuki_core::{
    config::OnHang,
    timing::{Timing, TimingError},
};
use toml::Spanned;

use crate::{draft::ClusterDraft, problem::Code, reader::Section, source::Span, units::format_duration};

/// About how long a lost server goes unnoticed.
pub(crate) const DEFAULT_DETECT: Duration = Duration::from_secs(1);
/// A home server that is late at a cold start is waited for this long.
pub(crate) const DEFAULT_STARTUP_WAIT: Duration = Duration::from_secs(30);
/// TCP port of the gRPC services.
pub(crate) const DEFAULT_PORT: u16 = 29001;
/// UDP port of the heartbeats.
pub(crate) const DEFAULT_HEARTBEAT_PORT: u16 = 29002;

/// What becomes of a server that hangs.
pub(crate) const ON_HANG: [(&str, OnHang); 2] = [("stop", OnHang::Stop), ("reset", OnHang::Reset)];

/// Above this, "detect" is no detection any more.
const LONGEST_DETECT: Duration = Duration::from_secs(600);

pub(crate) fn read(mut section: Section<'_>) -> ClusterDraft {
    section.what = "[cluster]".to_owned();
    section.need("name", "name = \"…\"");
    let draft = ClusterDraft {
        name: section.string("name"),
        comment: section.comment(),
        timing: read_timing(&section),
        on_hang: value_or(section.choice("on_hang", &ON_HANG), OnHang::default()),
        startup_wait: value_or(section.duration("startup_wait"), DEFAULT_STARTUP_WAIT),
        port: port(&section, "port", DEFAULT_PORT),
        heartbeat_port: port(&section, "heartbeat_port", DEFAULT_HEARTBEAT_PORT),
        witness: super::witness::short(&section),
        voting_file: super::votes::short(&section),
        fence: section.string("fence"),
    };
    section.finish();
    draft
}

fn value_or<T>(value: Option<Spanned<T>>, default: T) -> T {
    value.map_or(default, Spanned::into_inner)
}

fn port(section: &Section<'_>, key: &'static str, default: u16) -> u16 {
    let port = section.integer(key, 1..=u32::from(u16::MAX));
    port.and_then(|port| u16::try_from(port.into_inner()).ok()).unwrap_or(default)
}

/// The times of one knob, with another lease, guard budget or watchdog. The clock margin follows them,
/// so that changing one of them alone keeps R9.
pub(crate) fn derive(
    detect: Duration,
    lease: Option<Duration>,
    guard_budget: Option<Duration>,
    watchdog: Option<Duration>,
) -> Timing {
    let mut timing = Timing::from_detect(detect);
    timing.lease = lease.unwrap_or(timing.lease);
    timing.guard_budget = guard_budget.unwrap_or(timing.guard_budget);
    timing.watchdog = watchdog.unwrap_or(timing.watchdog);
    timing.clock_margin = timing.least_clock_margin();
    timing
}

fn read_timing(section: &Section<'_>) -> Option<Timing> {
    let detect = section.positive_duration("detect");
    let written = section.get("detect").map(Spanned::span);
    let detect_is_wrong = detect.is_none() && written.is_some();
    let detect_span = written.unwrap_or_else(|| section.span.clone());
    let table = section.table("timing", "a table [cluster.timing]");
    let timing = match table {
        None => Timing::from_detect(value_or(detect, DEFAULT_DETECT)),
        Some(table) => {
            let times = Overrides::read(&table);
            let spans = times.spans();
            let timing = times.onto(value_or(detect, DEFAULT_DETECT));
            table.finish();
            if !detect_is_wrong && detect_works(section, timing.detect, &detect_span) {
                report_relations(section, &timing, &spans, &detect_span);
            }
            return Some(timing);
        }
    };
    (!detect_is_wrong && detect_works(section, timing.detect, &detect_span)).then_some(timing)
}

/// The keys of `[cluster.timing]`.
struct Overrides {
    beat: Option<Spanned<Duration>>,
    path_late: Option<Spanned<Duration>>,
    path_lost: Option<Spanned<Duration>>,
    election_min: Option<Spanned<Duration>>,
    election_max: Option<Spanned<Duration>>,
    lease: Option<Spanned<Duration>>,
    guard_budget: Option<Spanned<Duration>>,
    clock_margin: Option<Spanned<Duration>>,
    watchdog: Option<Spanned<Duration>>,
}

impl Overrides {
    fn read(table: &Section<'_>) -> Self {
        Self {
            beat: table.positive_duration("beat"),
            path_late: table.positive_duration("path_late"),
            path_lost: table.positive_duration("path_lost"),
            election_min: table.positive_duration("election_min"),
            election_max: table.positive_duration("election_max"),
            lease: table.positive_duration("lease"),
            guard_budget: table.positive_duration("guard_budget"),
            clock_margin: table.positive_duration("clock_margin"),
            watchdog: table.positive_duration("watchdog"),
        }
    }

    fn spans(&self) -> Vec<(&'static str, Span)> {
        [
            ("beat", &self.beat),
            ("path_late", &self.path_late),
            ("path_lost", &self.path_lost),
            ("election_min", &self.election_min),
            ("election_max", &self.election_max),
            ("lease", &self.lease),
            ("guard_budget", &self.guard_budget),
            ("clock_margin", &self.clock_margin),
            ("watchdog", &self.watchdog),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value.as_ref()?.span())))
        .collect()
    }

    fn onto(self, detect: Duration) -> Timing {
        let lease = self.lease.map(Spanned::into_inner);
        let guard_budget = self.guard_budget.map(Spanned::into_inner);
        let base = derive(detect, lease, guard_budget, self.watchdog.map(Spanned::into_inner));
        Timing {
            detect,
            beat: value_or(self.beat, base.beat),
            path_late: value_or(self.path_late, base.path_late),
            path_lost: value_or(self.path_lost, base.path_lost),
            election_min: value_or(self.election_min, base.election_min),
            election_max: value_or(self.election_max, base.election_max),
            lease: base.lease,
            guard_budget: base.guard_budget,
            clock_margin: value_or(self.clock_margin, base.clock_margin),
            watchdog: base.watchdog,
        }
    }
}

/// Whether the knob alone gives a possible set of times; reports it if not, as one mistake.
fn detect_works(section: &Section<'_>, detect: Duration, span: &Span) -> bool {
    let relation = Timing::from_detect(detect).check().err().and_then(|broken| broken.into_iter().next());
    let (message, why) = match relation {
        _ if detect > LONGEST_DETECT => ("`detect` is too long", String::new()),
        None => return true,
        Some(error) => ("`detect` is too short", format!(" ({error})")),
    };
    let shortest = format_duration(shortest_detect());
    let problem = section
        .reading
        .problem(
            Code::ImpossibleTimes,
            span,
            format!("{message}: no working set of times follows from it{why}"),
        )
        .found(format!("`{}`", format_duration(detect)))
        .expected(format!("{shortest} to {}", format_duration(LONGEST_DETECT)))
        .remedy(format!("use at least {shortest}; \"1s\" suits most networks"));
    section.reading.add(problem);
    false
}

fn shortest_detect() -> Duration {
    (1..=LONGEST_DETECT.as_secs() * 100)
        .map(|step| Duration::from_millis(step * 10))
        .find(|detect| Timing::from_detect(*detect).check().is_ok())
        .unwrap_or(DEFAULT_DETECT)
}

/// Shows each broken relation at the key that broke it.
fn report_relations(
    section: &Section<'_>,
    timing: &Timing,
    overrides: &[(&'static str, Span)],
    detect: &Span,
) {
    let derived = Timing::from_detect(timing.detect);
    let mut shown = Vec::new();
    for error in timing.check().err().unwrap_or_default() {
        let (keys, value): (&[&str], Duration) = match &error {
            TimingError::BeatTooShort(_) => (&["beat"], derived.beat),
            TimingError::ElectionWithinBeats { .. } => (&["election_min", "beat"], derived.election_min),
            TimingError::ElectionRange { .. } => (&["election_max", "election_min"], derived.election_max),
            TimingError::LeaseTooShort { .. } => (&["lease", "election_max", "beat"], derived.lease),
            TimingError::ClockMargin { .. } => (&["clock_margin"], timing.least_clock_margin()),
            TimingError::GuardBudget(_) => (&["guard_budget"], derived.guard_budget),
            TimingError::PathPatience { .. } => (&["path_late", "path_lost", "beat"], derived.path_late),
        };
        let culprit = keys.iter().find_map(|key| overrides.iter().find(|(name, _)| name == key));
        let span = culprit.map_or(detect, |(_, span)| span);
        // One wrong value can break several relations; the first says it best.
        if shown.contains(span) {
            continue;
        }
        shown.push(span.clone());
        let first = keys.first().copied().unwrap_or("detect");
        let problem = section
            .reading
            .problem(Code::ImpossibleTimes, span, format!("these times cannot work together: {error}"))
            .remedy(format!(
                "take single times out of [cluster.timing] and set `detect`; with detect = \"{}\", `{first}` \
                 would be {}",
                format_duration(timing.detect),
                format_duration(value)
            ));
        section.reading.add(problem);
    }
}
