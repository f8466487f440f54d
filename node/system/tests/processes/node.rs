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
        ["start", name, script] => {
            let config = config(Path::new(script), false);
            let resource = ResourceName::new(*name);
            match launcher.start(program(&"g".into(), &resource, &config)).await {
                Ok(_) => "up".to_owned(),
                Err(error) => error.to_string(),
            }
        }
        ["probe", name, script] => {
            let config = config(Path::new(script), false);
            let resource = ResourceName::new(*name);
            match launcher.probe(program(&"g".into(), &resource, &config)).unwrap() {
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

fn program<'a>(
    group: &'a GroupName,
    resource: &'a ResourceName,
    config: &'a tasuki_core::config::ExecConfig,
) -> Program<'a> {
    static NOTHING: std::collections::BTreeMap<String, String> = std::collections::BTreeMap::new();
    Program { group, resource, epoch: Epoch(1), config, environment: &NOTHING }
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
