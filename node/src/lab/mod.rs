//! `tasuki lab`: a whole cluster on this machine, to try it out. Three servers, each with its guard,
//! on loopback addresses, in a folder of their own, with a small HTTP service to watch. Needs no
//! rights: loopback addresses are everybody's, and without control groups programs are kept
//! together by marks.
//!
//! ```text
//!   tasuki lab (up.rs) ──── children: guard kiki, guard lala, guard mimi ── node, programs
//!     │  form.rs   init, join: the commands that an operator gives
//!     │  service.rs   asks the service all the time; screen.rs shows it
//!     ▲
//!     └─ lab.sock ── tasuki lab kill | start | cut | heal (control.rs, verbs.rs)
//!                      power.rs   everything of a server ends at one moment
//!                      cables.rs  the file of cuts that a node looks at
//! ```
//!
//! The guards are the real ones and so is everything below them: what the lab shows is the product.
//! What it does not do: start a server again that ended by itself. That would hide what happened.

mod cables;
mod control;
mod error;
mod folder;
mod form;
mod place;
mod power;
mod screen;
mod service;
mod state;
mod up;
mod verbs;

use std::{path::Path, process::ExitCode};

pub use self::error::LabError;
use self::{control::Request, screen::Screen, up::Hints};
use crate::{
    app::AppError,
    cli::{
        args::{LabArgs, LabVerb, Options},
        output::Output,
    },
};

/// Carries out `tasuki lab …`.
#[must_use]
pub fn run(options: &Options, arguments: LabArgs) -> ExitCode {
    let out = Output::new(options.json, options.color);
    match perform(out, arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => out.fail(&error),
    }
}

fn perform(out: Output, arguments: LabArgs) -> Result<(), AppError> {
    let LabArgs { dir, keep, verb } = arguments;
    let folder = folder::choose(dir.as_deref())?;
    let ask = |request| verbs::request(&folder, out, &request);
    match verb {
        None | Some(LabVerb::Up) => {
            Ok(up::run(&folder, keep, &mut Screen::new(out), &hints(dir.as_deref()))?)
        }
        Some(LabVerb::Kill { server }) => ask(Request::Kill { server }),
        Some(LabVerb::Start { server }) => ask(Request::Start { server }),
        Some(LabVerb::Cut { server, network }) => ask(Request::Cut { server, network }),
        Some(LabVerb::Heal { server }) => ask(Request::Heal { server }),
        Some(LabVerb::Status) => verbs::status(&folder, out),
        Some(LabVerb::Down) => verbs::down(&folder, out),
    }
}

/// As this very program was called: it need not be where a shell looks.
fn hints(dir: Option<&Path>) -> Hints {
    let program = std::env::args().next().unwrap_or_else(|| "tasuki".to_owned());
    let lab = dir.map_or_else(|| "lab".to_owned(), |dir| format!("lab --dir {}", dir.display()));
    Hints { program, lab }
}
