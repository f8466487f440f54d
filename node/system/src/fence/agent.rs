//! A fence agent of the ClusterLabs contract: told on its standard input what to do, one
//! `name=value` a line; exit code 0 is done, 1 failed, and 2 of a status or monitor means off.

use std::{collections::BTreeMap, fmt::Write, path::Path, time::Duration};

use tasuki_core::config::is_secret;

use super::{
    FenceError, find_program,
    run::{Ended, Run},
};

/// One fence agent and one of the servers that it can fence.
#[derive(Clone, Copy)]
pub struct Agent<'a> {
    /// Its program: a name, or a path.
    pub program: &'a Path,
    /// What it is told beside the action and the port.
    pub parameters: &'a BTreeMap<String, String>,
    /// The server's name in the cluster.
    pub target: &'a str,
    /// Its name at the device: a plug, a domain.
    pub port: &'a str,
}

impl Agent<'_> {
    pub(super) async fn call(&self, action: &str, limit: Duration) -> Result<Ended, FenceError> {
        let program = find_program(self.program)?;
        let secrets = self.parameters.iter().filter(|(name, _)| is_secret(name));
        let run = Run {
            program: &program,
            arguments: &[],
            input: self.input(action),
            environment: &BTreeMap::new(),
            secrets: secrets.map(|(_, value)| value.as_str()).collect(),
            what: self.what(action),
        };
        run.to_its_end(limit).await
    }

    /// What the agent reads. Of names that come twice it takes the last; `port` is what older agents
    /// call the plug.
    fn input(&self, action: &str) -> String {
        let mut text = String::new();
        for (name, value) in self.parameters {
            let _ = writeln!(text, "{name}={value}"); // a String takes everything
        }
        let (target, port) = (self.target, self.port);
        let _ = write!(text, "action={action}\nnodename={target}\nplug={port}\nport={port}\n");
        text
    }

    pub(super) fn what(&self, action: &str) -> String {
        format!("{} ({action} {})", self.program.display(), self.port)
    }
}
