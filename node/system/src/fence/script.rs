//! A script as a fencing device: called with `off NAME`, `on NAME` or `status NAME`. Exit code 0 of
//! `off` and `on` is done; a status is 0 for on and 2 for off, and anything else is a failure.
//!
//! Scripts written for the forced stop of the reference system find their variables as well:
//! `CLP_SERVER_DOWN`, `CLP_SERVER_LOCAL`, `CLP_FORCESTOP_MODE`.

use std::{collections::BTreeMap, path::Path, time::Duration};

use super::{
    FenceError, find_program,
    run::{Ended, Run},
};

/// One script and one of the servers that it can fence.
#[derive(Clone, Copy, Debug)]
pub struct Script<'a> {
    /// The program.
    pub program: &'a Path,
    /// The server on which it runs.
    pub local: &'a str,
    /// The server's name in the cluster.
    pub target: &'a str,
    /// Its name at the device.
    pub port: &'a str,
}

impl Script<'_> {
    pub(super) async fn call(&self, action: &str, limit: Duration) -> Result<Ended, FenceError> {
        let program = find_program(self.program)?;
        let mode = if action == "status" { "0" } else { "1" };
        let environment = BTreeMap::from([
            ("CLP_SERVER_DOWN".to_owned(), self.target.to_owned()),
            ("CLP_SERVER_LOCAL".to_owned(), self.local.to_owned()),
            ("CLP_FORCESTOP_MODE".to_owned(), mode.to_owned()),
        ]);
        let run = Run {
            program: &program,
            arguments: &[action, self.port],
            input: String::new(),
            environment: &environment,
            secrets: Vec::new(),
            what: self.what(action),
        };
        run.to_its_end(limit).await
    }

    pub(super) fn what(&self, action: &str) -> String {
        format!("{} {action} {}", self.program.display(), self.port)
    }
}
