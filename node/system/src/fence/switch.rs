//! Devices that switch a server off and on: what is common to agents and scripts.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{FenceError, agent::Agent, run::Ended, script::Script};

/// Between two questions for the status.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// A device needs some time to answer: the last question is not cut shorter.
const LEAST: Duration = Duration::from_millis(100);

/// A device that switches, and one of the servers that it can switch.
#[derive(Clone, Copy)]
pub enum Switch<'a> {
    /// A fence agent.
    Agent(Agent<'a>),
    /// A script.
    Script(Script<'a>),
}

/// What a status says by its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Power {
    On,
    Off,
}

fn power(ended: &Ended) -> Option<Power> {
    match ended.code {
        Some(0) => Some(Power::On),
        Some(2) => Some(Power::Off),
        _ => None,
    }
}

impl Switch<'_> {
    /// Switches the server off, and reads back that it is: within `limit`.
    ///
    /// # Errors
    /// When that is not confirmed.
    pub async fn off(&self, limit: Duration) -> Result<(), FenceError> {
        self.switch("off", Power::Off, limit).await
    }

    /// Switches the server on, and reads back that it is: within `limit`.
    ///
    /// # Errors
    /// When that is not confirmed.
    pub async fn on(&self, limit: Duration) -> Result<(), FenceError> {
        self.switch("on", Power::On, limit).await
    }

    /// Whether the device answers: within `limit`.
    ///
    /// # Errors
    /// When it does not.
    pub async fn monitor(&self, limit: Duration) -> Result<(), FenceError> {
        let action = match self {
            Self::Agent(_) => "monitor",
            Self::Script(_) => "status",
        };
        let ended = self.call(action, limit).await?;
        match power(&ended) {
            Some(_) => Ok(()),
            None => Err(self.failed(action, ended)),
        }
    }

    async fn switch(&self, action: &str, wanted: Power, limit: Duration) -> Result<(), FenceError> {
        let end = Instant::now() + limit;
        let left = || end.saturating_duration_since(Instant::now());
        let ended = self.call(action, limit).await?;
        if ended.code != Some(0) {
            return Err(self.failed(action, ended));
        }
        loop {
            let ended = self.call("status", left().max(LEAST)).await?;
            if power(&ended) == Some(wanted) {
                return Ok(());
            }
            if left() <= ASK_AGAIN {
                let last = match power(&ended) {
                    Some(Power::On) => "it is on".to_owned(),
                    Some(Power::Off) => "it is off".to_owned(),
                    None => format!("its status {}{}", ended.how, ended.output),
                };
                return Err(FenceError::NotReadBack { what: self.what(action), limit, last });
            }
            sleep(ASK_AGAIN).await;
        }
    }

    async fn call(&self, action: &str, limit: Duration) -> Result<Ended, FenceError> {
        match self {
            Self::Agent(agent) => agent.call(action, limit).await,
            Self::Script(script) => script.call(action, limit).await,
        }
    }

    fn what(&self, action: &str) -> String {
        match self {
            Self::Agent(agent) => agent.what(action),
            Self::Script(script) => script.what(action),
        }
    }

    fn failed(&self, action: &str, ended: Ended) -> FenceError {
        FenceError::Failed { what: self.what(action), how: ended.how, output: ended.output }
    }
}

#[cfg(test)]
mod tests;
