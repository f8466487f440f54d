//! A node that does what a test tells it, over a socket in its run folder.

use std::{
    ffi::OsString,
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use tasuki_core::{
    config::AtLeaseEnd,
    ids::{Epoch, GroupName, ResourceName},
    registry::state::AfterStop,
};
use tasuki_system::{
    clock,
    confinement::Confinement,
    exec::{Found, Launcher, Program},
    guard::{GuardClient, die_with_parent},
    layout::Layout,
};

use crate::support::config;

pub fn play(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    die_with_parent().unwrap();
    let data = PathBuf::from(arguments.next().unwrap());
    let run = PathBuf::from(arguments.next().unwrap());
    let layout = Layout::open(&data, &run).unwrap();
    let confinement = Confinement::inherited(&layout);
    let launcher = Launcher::new(layout, confinement, clock::boot_id().unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let guard = GuardClient::connect().unwrap();
    let leaving = guard.clone();
    runtime.spawn(async move {
        leaving.stop_requested().await;
        leaving.end_lease().await.unwrap();
        leaving.leave(AfterStop::Nothing);
        std::process::exit(0)
    });

    let path = run.join("control");
    let _ = fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    for connection in listener.incoming() {
        let mut connection = connection.unwrap();
        let mut line = String::new();
        BufReader::new(connection.try_clone().unwrap()).read_line(&mut line).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = runtime.block_on(obey(&words, &guard, &launcher));
        writeln!(connection, "{answer}").unwrap();
    }
    ExitCode::SUCCESS
}

async fn obey(words: &[&str], guard: &GuardClient, launcher: &Launcher) -> String {
    match words {
        ["pid"] => std::process::id().to_string(),
        ["renew", millis] => {
            let end = clock::now() + Duration::from_millis(millis.parse().unwrap());
            guard.renew(end);
            end.0.to_string()
        }
        ["lease"] => format!("{:?}", guard.lease_end().map(|end| end.0)),
        ["start", name, script] => start(launcher, name, script, AtLeaseEnd::Stop, 1).await,
        // As a group with a policy of its own, under an ownership.
        ["start", name, script, policy, epoch] => {
            let at_lease_end = match *policy {
                "stop" => AtLeaseEnd::Stop,
                "freeze" => AtLeaseEnd::Freeze,
                "run-on" => AtLeaseEnd::RunOn,
                other => panic!("unknown policy {other:?}"),
            };
            start(launcher, name, script, at_lease_end, epoch.parse().unwrap()).await
        }
        ["stop", name, script] => {
            let (config, resource) = (config(Path::new(script), false), ResourceName::new(*name));
            launcher.stop(program(&"g".into(), &resource, &config)).await.unwrap();
            "stopped".to_owned()
        }
        ["left"] => {
            let left = launcher.left_at_lease_end().unwrap();
            let left = left.iter().map(|(group, name, epoch)| format!("{group}/{name} {}", epoch.0));
            left.collect::<Vec<_>>().join(", ")
        }
        ["end-left", name, epoch] => {
            let epoch = Epoch(epoch.parse().unwrap());
            launcher.end_left(&"g".into(), &ResourceName::new(*name), epoch).await.unwrap();
            "done".to_owned()
        }
        ["probe", name, script, epoch @ ..] => {
            let config = config(Path::new(script), false);
            let (group, resource) = ("g".into(), ResourceName::new(*name));
            let epoch = Epoch(epoch.first().map_or(1, |epoch| epoch.parse().unwrap()));
            match launcher.probe(Program { epoch, ..program(&group, &resource, &config) }).unwrap() {
                Found::Running(_) => "running".to_owned(),
                Found::Stopped => "stopped".to_owned(),
            }
        }
        ["give-back"] => {
            guard.end_lease().await.unwrap();
            format!("left running: {}", launcher.running().unwrap().len())
        }
        ["stand-down"] => {
            guard.stand_down("the test says so");
            "asked".to_owned()
        }
        ["reset"] => {
            guard.reset("the test says so");
            "asked".to_owned()
        }
        other => panic!("unknown command {other:?}"),
    }
}

async fn start(launcher: &Launcher, name: &str, script: &str, policy: AtLeaseEnd, epoch: u64) -> String {
    let (config, resource) = (config(Path::new(script), false), ResourceName::new(name));
    let group = "g".into();
    let program =
        Program { epoch: Epoch(epoch), at_lease_end: policy, ..program(&group, &resource, &config) };
    match launcher.start(program).await {
        Ok(_) => "up".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn program<'a>(
    group: &'a GroupName,
    resource: &'a ResourceName,
    config: &'a tasuki_core::config::ExecConfig,
) -> Program<'a> {
    static NOTHING: std::collections::BTreeMap<String, String> = std::collections::BTreeMap::new();
    let at_lease_end = AtLeaseEnd::Stop;
    Program { group, resource, epoch: Epoch(1), config, environment: &NOTHING, at_lease_end }
}

/// Tells the node something, as soon as there is one, and returns its answer.
pub fn ask(run: &Path, command: &str) -> String {
    crate::support::eventually(&format!("an answer to {command}"), || {
        let mut connection = UnixStream::connect(run.join("control")).ok()?;
        writeln!(connection, "{command}").ok()?;
        let mut answer = String::new();
        BufReader::new(connection).read_line(&mut answer).ok()?;
        (!answer.is_empty()).then(|| answer.trim().to_owned())
    })
}
