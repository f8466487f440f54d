//! The program itself, against the real gRPC face on the socket of a fresh data folder.
#![allow(dead_code, clippy::unwrap_used)]

use std::{
    path::Path,
    process::{Command, Stdio},
};

use tasuki::{
    app::{App, ports::LocalCheck},
    edge::grpc::{bind_uds, routes, serve_uds},
};
use tasuki_core::ids::{Lineage, Revision};
use tokio_util::sync::CancellationToken;

/// What the program did.
#[derive(Debug)]
pub struct Done {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Done {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Runs it without the environment of whoever runs the tests.
pub async fn run(data: &Path, arguments: &[&str]) -> Done {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tasuki"));
    command.args(arguments).arg("--data").arg(data).env_clear().stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    Done {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Serves the face until the token is cancelled.
pub async fn served(app: App) -> (tempfile::TempDir, CancellationToken) {
    let data = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let (routes, _) = routes(app, Lineage::new("l1")).await.unwrap();
    let socket = bind_uds(&data.path().join("tasuki.sock")).unwrap();
    tokio::spawn(serve_uds(socket, routes, stop.clone()));
    (data, stop)
}

/// Other servers that can work with everything.
pub fn willing() -> Result<LocalCheck, String> {
    Ok(LocalCheck { revision: Revision(1_000_000), problems: Vec::new() })
}
