//! `tasuki guard`: the options of the guard process. What it does is the matter of
//! `tasuki_system::guard`.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use tasuki_core::timing::Timing;
use tasuki_system::guard::{self, ConfinementChoice, GuardOptions, PowerPolicy, WatchdogOptions};

use super::{
    args::{GuardArgs, Options},
    log,
};
use crate::app::bootstrap::Bootstrap;

const DEFAULT_DATA: &str = "/var/lib/tasuki";
const DEFAULT_RUN: &str = "/run/tasuki";

/// The folder for what is of one boot only. A data folder in another place has its own, so that
/// several servers on one machine do not meet.
#[must_use]
pub fn run_folder(data: &Path, given: Option<&Path>) -> PathBuf {
    match given {
        Some(run) => run.to_owned(),
        None if data == Path::new(DEFAULT_DATA) => PathBuf::from(DEFAULT_RUN),
        None => data.join("run"),
    }
}

/// Runs the guard until this server leaves.
#[must_use]
pub fn run(options: &Options, arguments: &GuardArgs) -> ExitCode {
    log::without_waiting();
    let data = &options.data;
    let run = run_folder(data, arguments.run.as_deref());
    // The node says the cluster's own times as soon as it runs.
    let timing = match Bootstrap::load(data) {
        Ok(Some(bootstrap)) => bootstrap.config().settings.timing.clone(),
        Ok(None) | Err(_) => Timing::from_detect(Duration::from_secs(1)),
    };
    if arguments.watchdog.is_some() && timing.watchdog.is_zero() {
        // The other servers must know how late its reset may come (R9).
        eprintln!(
            "error[TSK-1507]: --watchdog is given, but the cluster does not know the watchdog's time-out\n  \
             remedy: push a configuration with `watchdog = \"2s\"` in [cluster.timing], or start without it"
        );
        return ExitCode::FAILURE;
    }
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => {
            eprintln!("tasuki guard: cannot tell which program this is: {error}");
            return ExitCode::FAILURE;
        }
    };
    let node_command: Vec<OsString> = vec![
        program.into(),
        "node".into(),
        "--data".into(),
        data.clone().into(),
        "--run".into(),
        run.clone().into(),
    ];
    let guard = guard::run(GuardOptions {
        data_dir: data.clone(),
        run_dir: run,
        node_command,
        power: if arguments.no_power { PowerPolicy::None } else { PowerPolicy::System },
        watchdog: arguments
            .watchdog
            .clone()
            .map(|device| WatchdogOptions { device, timeout: timing.watchdog }),
        lease: timing.lease,
        guard_budget: timing.guard_budget,
        confinement: if arguments.marked {
            ConfinementChoice::Marked
        } else {
            ConfinementChoice::BestPossible
        },
    });
    guard.unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::FAILURE
    })
}
