//! Looks: echoes over ICMP sockets, programs through the launcher.

use std::{net::IpAddr, time::Duration};

use async_trait::async_trait;
use tasuki_actors::ports::{LookError, Prober, ProgramAnswer, ProgramLook};
use tasuki_core::ids::BootId;
use tasuki_system::{
    confinement::Confinement,
    echo,
    exec::{ExecError, Launcher, Look},
    layout::Layout,
};

/// Looks at things on this server.
#[derive(Debug)]
pub struct SystemProber {
    launcher: Launcher,
}

impl SystemProber {
    /// A prober beside the agent of the same run folder.
    #[must_use]
    pub fn new(layout: Layout, boot: BootId) -> Self {
        let confinement = Confinement::inherited(&layout);
        Self { launcher: Launcher::new(layout, confinement, boot) }
    }
}

#[async_trait]
impl Prober for SystemProber {
    async fn echo(&self, address: IpAddr, timeout: Duration) -> Result<(), String> {
        let answered = echo::echo(address, timeout).await;
        answered.map(|_took| ()).map_err(|error| error.to_string())
    }

    async fn run(&self, look: &ProgramLook) -> Result<ProgramAnswer, LookError> {
        let seen = self.launcher.run_look(Look {
            command: &look.command,
            user: look.user.as_deref(),
            directory: look.directory.as_deref(),
            nice: look.nice,
            limit: look.timeout,
            environment: &look.environment,
        });
        match seen.await {
            Ok(seen) => Ok(ProgramAnswer { code: seen.code, first_line: seen.first_line }),
            Err(error @ (ExecError::Timeout { .. } | ExecError::Failed { .. })) => {
                Err(LookError::Failed(error.to_string()))
            }
            Err(error) => Err(LookError::NotRun(error.to_string())),
        }
    }
}
