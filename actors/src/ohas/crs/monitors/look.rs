//! One look of a monitor, with its time-out.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use tasuki_core::{
    config::{MonitorConfig, MonitorKind},
    ids::MonitorName,
};
use tokio::{task::JoinSet, time::timeout};

use super::mirror;
use crate::{context::Context, ports::ProgramLook};

/// Ports keep their time-outs themselves, and name what took so long; this is for one that hangs.
const PATIENCE: Duration = Duration::from_secs(2);

/// What came of a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// All is well, or what is wrong.
    Judged(Result<(), String>),
    /// It is not well, but mends by itself.
    Doubtful(String),
}

/// Looks once.
pub async fn look(context: &Arc<Context>, name: &MonitorName, config: &MonitorConfig) -> Seen {
    let of_mirror = matches!(config.kind, MonitorKind::Mirror | MonitorKind::MirrorLink);
    if of_mirror && let Err(not_yet) = mirror::settled(context, config).await {
        return not_yet;
    }
    match &config.kind {
        MonitorKind::Mirror => mirror::copy(context, config),
        MonitorKind::MirrorLink => mirror::link(context, config),
        MonitorKind::Pid | MonitorKind::Ip { .. } | MonitorKind::Exec { .. } => {
            Seen::Judged(judge(context, name, config).await)
        }
    }
}

/// Whether all is well, or what is wrong.
async fn judge(context: &Context, name: &MonitorName, config: &MonitorConfig) -> Result<(), String> {
    let looking = async {
        match &config.kind {
            // The end of its process is told, not looked for; mirrors are looked at above.
            MonitorKind::Pid | MonitorKind::Mirror | MonitorKind::MirrorLink => Ok(()),
            MonitorKind::Ip { addresses } => echoes(context, addresses, config.timeout).await,
            MonitorKind::Exec { command, user, directory } => {
                let look = ProgramLook {
                    command: command.clone(),
                    user: user.clone(),
                    directory: directory.clone(),
                    nice: config.nice,
                    timeout: config.timeout,
                    environment: BTreeMap::from([
                        ("TASUKI_SERVER".to_owned(), context.me().to_string()),
                        ("TASUKI_MONITOR".to_owned(), name.to_string()),
                    ]),
                };
                program(context, &look).await
            }
        }
    };
    let limit = config.timeout + PATIENCE;
    timeout(limit, looking).await.unwrap_or_else(|_| Err(format!("the look did not end within {limit:?}")))
}

/// All of them, side by side.
async fn echoes(context: &Context, addresses: &[IpAddr], limit: Duration) -> Result<(), String> {
    let mut asked = JoinSet::new();
    for address in addresses.iter().copied() {
        let prober = context.ports.prober.clone();
        asked.spawn(async move { prober.echo(address, limit).await });
    }
    let mut wrong: Vec<String> = Vec::new();
    while let Some(answer) = asked.join_next().await {
        wrong.extend(answer.unwrap_or_else(|error| Err(error.to_string())).err());
    }
    wrong.sort();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
}

async fn program(context: &Context, look: &ProgramLook) -> Result<(), String> {
    let answer = context.ports.prober.run(look).await.map_err(|error| error.to_string())?;
    match (answer.code, answer.first_line.as_str()) {
        (0, _) => Ok(()),
        (code, "") => Err(format!("exit code {code}")),
        (code, line) => Err(format!("exit code {code}: {line}")),
    }
}
