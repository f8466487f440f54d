//! `tasuki lab kill | start | cut | heal | status | down`, from another terminal.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{
    cables,
    control::{self, Request, since_ms},
    error::LabError,
    folder::Lock,
    power, screen, service,
    state::{Lab, SERVERS},
    up,
};
use crate::{
    app::{AppError, wall_now},
    cli::output::{Output, Style},
};

/// How long the lab's own process may take to end; after that it is killed.
const ENDS_WITHIN: Duration = Duration::from_secs(8);

/// The lab there.
fn find(folder: &Path) -> Result<Lab, LabError> {
    Lab::load(folder)?.filter(|lab| !lab.state.kept).ok_or_else(|| LabError::None(folder.to_owned()))
}

/// Has something done, and says so.
pub(super) fn request(folder: &Path, out: Output, request: &Request) -> Result<(), AppError> {
    let done = control::request(&mut find(folder)?, request)?;
    out.show(&done.event, |_| done.text)
}

/// The cluster through a server that runs, what the lab did to its servers, and the service.
pub(super) fn status(folder: &Path, out: Output) -> Result<(), AppError> {
    let lab = find(folder)?;
    let seen = control::service(&lab);
    let answer = service::ask(lab.state.place.service()).ok();
    // Who is cut off answers too, but knows less.
    let mut servers: Vec<&str> = SERVERS.into_iter().filter(|server| lab.is_on(server)).collect();
    servers.sort_by_key(|server| !cables::cut_networks(&lab, server).is_empty());
    let cluster = servers.iter().find_map(|server| cluster(&lab, server, out));
    let value = json!({
        "folder": lab.folder,
        "servers": SERVERS.map(|server| json!({
            "name": server,
            "on": lab.is_on(server),
            "cut": cables::cut_networks(&lab, server),
        })),
        "address": lab.state.place.service(),
        "answered_by": answer,
        "service": seen,
        "cluster": cluster.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok()),
    });
    out.show(&value, |_| {
        let mut text =
            format!("Lab in {}, for {}\n", lab.folder.display(), screen::span(since_ms(lab.state.began)));
        for server in SERVERS {
            if let Some(line) = deed(&lab, server) {
                text.push_str(&format!("  {}\n", Style::Warn.paint(&line, out.color)));
            }
        }
        let line = match (&seen, &answer) {
            (Some(seen), _) => screen::service(seen, wall_now(), out.color),
            (None, Some(answer)) => format!("up on {}", answer.server),
            (None, None) => Style::Bad.paint("no answer", out.color),
        };
        text.push_str(&format!("Service http://{}/: {line}\n\n", lab.state.place.service()));
        match cluster {
            Some(cluster) => text.push_str(&cluster),
            None => text.push_str(&Style::Bad.paint("No server of the lab answers.", out.color)),
        }
        text
    })
}

/// What is not as it was in the beginning.
fn deed(lab: &Lab, server: &str) -> Option<String> {
    let power = lab.state.servers.get(server)?;
    if !lab.is_on(server) {
        return Some(match power.guard {
            None => format!("{server} is off, for {}", screen::span(since_ms(power.since))),
            Some(_) => format!("{server}: its guard has ended; see {}", lab.log(server).display()),
        });
    }
    match &cables::cut_networks(lab, server)[..] {
        [] => None,
        cut if cut.iter().any(|network| network == "*") => {
            Some(format!("{server} is cut off from all networks"))
        }
        cut => Some(format!("{server} is cut off from network {}", cut.join(", "))),
    }
}

/// `tasuki cluster status` as one server sees it.
fn cluster(lab: &Lab, server: &str, out: Output) -> Option<String> {
    let mut command = Command::new(power::program().ok()?);
    for variable in power::FOREIGN {
        command.env_remove(variable);
    }
    command.args(["--color", if out.color { "always" } else { "never" }]);
    if out.json {
        command.arg("--json");
    }
    command.arg("--data").arg(lab.data(server)).args(["cluster", "status"]);
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Takes everything down: through the lab's own process where there is one, so that its terminal is
/// left in order, and without it otherwise.
pub(super) fn down(folder: &Path, out: Output) -> Result<(), AppError> {
    let Some(lab) = Lab::load(folder)? else {
        return Err(LabError::None(folder.to_owned()).into());
    };
    if lab.state.process.open().is_some() {
        lab.state.process.signal(Signal::TERM);
        // Suspended, it would not hear that.
        lab.state.process.signal(Signal::CONT);
    }
    let mut lock = Lock::take_within(folder, ENDS_WITHIN)?;
    if lock.is_none() && Lab::load(folder)?.is_some() {
        lab.state.process.signal(Signal::KILL);
        lock = Lock::take_within(folder, ENDS_WITHIN)?;
    }
    // What is left: of a lab that was killed, or kept.
    let left = match lock {
        Some(_) => Lab::load(folder)?,
        None => None,
    };
    if let Some(mut lab) = left {
        up::take_down(&mut lab, false)?;
    }
    let value = json!({ "event": "down", "folder": folder });
    out.show(&value, |_| format!("everything is down, {} is removed", folder.display()))
}
