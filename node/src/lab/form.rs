//! From nothing to a cluster of three, by the same commands that an operator gives.

use std::{
    ffi::OsStr,
    fs,
    future::Future,
    process::{Child, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{net::UnixStream, process::Command, sync::mpsc};

use super::{
    error::LabError,
    power,
    screen::Screen,
    state::{Lab, SERVERS},
};
use crate::app::status::{ClusterStatus, ServerState};

/// A machine that is very busy takes a while.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// A guard that has ended.
#[derive(Debug)]
pub(super) struct GuardEnded {
    pub(super) server: String,
    pub(super) pid: u32,
    pub(super) how: String,
    /// Because its node was asked to stop.
    pub(super) in_order: bool,
}

/// Starts a server and reports the end of its guard.
pub(super) fn start(
    lab: &mut Lab,
    server: &str,
    ends: &mpsc::UnboundedSender<GuardEnded>,
) -> Result<(), LabError> {
    let mut child: Child = power::on(lab, server)?;
    let (server, pid, ends) = (server.to_owned(), child.id(), ends.clone());
    let waiting = move || {
        let status = child.wait();
        let in_order = status.as_ref().is_ok_and(ExitStatus::success);
        let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        let _the_lab_ends = ends.send(GuardEnded { server, pid, how, in_order });
    };
    let spawned = std::thread::Builder::new().stack_size(64 * 1024).spawn(waiting);
    spawned.map(drop).map_err(LabError::io("starting a thread"))
}

/// Makes the cluster; returns when all three servers are up and vote.
pub(super) async fn form(
    lab: &mut Lab,
    ends: &mpsc::UnboundedSender<GuardEnded>,
    screen: &mut Screen,
) -> Result<(), LabError> {
    let began = Instant::now();
    let [first, others @ ..] = SERVERS;
    let config = lab.folder.join("cluster.toml");
    let init = ["cluster", "init", "--server", first, "--config"].map(OsStr::new);
    tasuki(lab, first, &[&init[..], &[config.as_os_str()]].concat()).await?;
    start(lab, first, ends)?;
    until(lab, first, &format!("{first} did not start"), || async {
        UnixStream::connect(lab.data(first).join("tasuki.sock")).await.is_ok() && status(lab).await.is_some()
    })
    .await?;
    step(screen, "init", &format!("{first} has made the cluster"), began);

    let join = |server: &'static str| {
        let lab = &*lab;
        async move {
            let token = tasuki(lab, first, &["cluster", "token", "--server", server].map(OsStr::new)).await?;
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (at, token) = (text(&token["join_at"][0]), text(&token["token"]));
            let join = ["cluster", "join", &at, "--server", server, "--token", &token];
            tasuki(lab, server, &join.map(OsStr::new)).await
        }
    };
    futures::future::try_join(join(others[0]), join(others[1])).await?;
    for server in others {
        start(lab, server, ends)?;
    }
    step(screen, "join", &format!("{} have joined it", others.join(" and ")), began);

    until(lab, first, "the cluster did not form", || async {
        status(lab).await.is_some_and(|status| {
            status.servers.len() == SERVERS.len()
                && status.servers.iter().all(|s| s.state == ServerState::Up && s.voter && !s.silent)
        })
    })
    .await?;
    step(screen, "formed", "three servers, each with a vote", began);
    Ok(())
}

/// What a quorum says of the cluster, when there is one, and the registry has its first content.
async fn status(lab: &Lab) -> Option<ClusterStatus> {
    let status = tasuki(lab, SERVERS[0], &["cluster", "status"].map(OsStr::new)).await.ok()?;
    let status: ClusterStatus = serde_json::from_value(status).ok()?;
    (status.confirmed && status.lineage.is_some()).then_some(status)
}

/// Says how far it is.
pub(super) fn step(screen: &mut Screen, word: &str, what: &str, began: Instant) {
    let seconds = began.elapsed().as_secs_f64();
    let value = json!({ "event": word, "what": what, "seconds": seconds });
    screen.event(&value, &format!("  {word:<7} {what:<34} {seconds:>6.2} s"));
}

/// Looks until it is so.
async fn until<F: Future<Output = bool>>(
    lab: &Lab,
    server: &str,
    otherwise: &str,
    so: impl Fn() -> F,
) -> Result<(), LabError> {
    let end = Instant::now() + PATIENCE;
    while !so().await {
        if Instant::now() >= end {
            return Err(failed(lab, server, otherwise, format!("not within {} s", PATIENCE.as_secs())));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Runs this program with a server's data folder; what it answers.
async fn tasuki(lab: &Lab, server: &str, arguments: &[&OsStr]) -> Result<Value, LabError> {
    let mut command = Command::new(power::program()?);
    for variable in power::FOREIGN {
        command.env_remove(variable);
    }
    command.arg("--json").arg("--data").arg(lab.data(server)).args(arguments);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let words: Vec<_> = arguments.iter().take(2).map(|word| word.to_string_lossy()).collect();
    let step = format!("`tasuki {}` for {server}", words.join(" "));
    let output = command.output().await.map_err(|error| failed(lab, server, &step, error.to_string()))?;
    if output.status.success() {
        return serde_json::from_slice(&output.stdout)
            .map_err(|error| failed(lab, server, &step, error.to_string()));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let why = match serde_json::from_str::<Value>(&said) {
        Ok(error) => {
            let part = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
            format!("{}: {}", part("code"), part("message"))
        }
        Err(_) => said.trim().to_owned(),
    };
    Err(failed(lab, server, &step, why))
}

/// With the last that the server's log has to say.
fn failed(lab: &Lab, server: &str, step: &str, why: String) -> LabError {
    let log = lab.log(server);
    let text = fs::read_to_string(&log).unwrap_or_default();
    let complaint = text.lines().rev().find(|line| line.contains("ERROR") || line.contains("TSK-"));
    let why = match complaint {
        Some(line) => format!("{why}; its log says: {}", line.trim()),
        None => why,
    };
    LabError::Step { step: step.to_owned(), why, log }
}
