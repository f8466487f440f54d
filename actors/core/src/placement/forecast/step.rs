//! One step of what would follow.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    config::FinalAction,
    ids::{GroupName, NetworkName, PoolName, ResourceName, ServerName},
    reason::Reason,
};

/// One step, with when it begins and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Milliseconds after the beginning.
    pub after_ms: u64,
    /// What.
    pub what: What,
    /// Why, when it is a decision.
    pub reason: Option<Reason>,
}

/// What happens in a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum What {
    /// A server loses power: supposed.
    Lost {
        /// Which.
        server: ServerName,
    },
    /// A server starts: supposed.
    Joined {
        /// Which.
        server: ServerName,
    },
    /// A server's cable is cut: supposed.
    Cut {
        /// Whose.
        server: ServerName,
        /// To which network.
        network: NetworkName,
    },
    /// An operator's wish: supposed.
    Asked {
        /// In words.
        what: String,
    },
    /// No lease of the server can be valid any more: its groups may start elsewhere.
    Gone {
        /// Which.
        server: ServerName,
    },
    /// A server is given a group.
    Assign {
        /// Which.
        group: GroupName,
        /// To whom.
        server: ServerName,
    },
    /// An owner is told to stop a group.
    Release {
        /// Which.
        group: GroupName,
        /// Whose.
        server: ServerName,
        /// Where it goes, when that is chosen.
        to: Option<ServerName>,
    },
    /// Something else is wanted online.
    Want {
        /// Which.
        group: GroupName,
    },
    /// Servers change pools.
    Pools {
        /// Which server is in which pool then.
        members: BTreeMap<ServerName, PoolName>,
    },
    /// A resource is stopped.
    Stop {
        /// Of which group.
        group: GroupName,
        /// Which.
        resource: ResourceName,
        /// Where.
        server: ServerName,
        /// How long that took last time, milliseconds.
        takes_ms: Option<u64>,
    },
    /// A resource is started.
    Start {
        /// Of which group.
        group: GroupName,
        /// Which.
        resource: ResourceName,
        /// Where.
        server: ServerName,
        /// How long that took last time, milliseconds.
        takes_ms: Option<u64>,
    },
    /// A floating address fails because its cable is cut.
    Fails {
        /// Of which group.
        group: GroupName,
        /// Which.
        resource: ResourceName,
        /// Where.
        server: ServerName,
        /// The network that it lies in.
        network: NetworkName,
        /// It should have started; otherwise it ran.
        start: bool,
    },
    /// A group is offline and free.
    Released {
        /// Which.
        group: GroupName,
        /// Who had it.
        server: ServerName,
    },
    /// All of a group runs.
    Online {
        /// Which.
        group: GroupName,
        /// Where.
        server: ServerName,
    },
    /// The last rung of the recovery ladder.
    Finally {
        /// Of which group.
        group: GroupName,
        /// Of which resource.
        resource: ResourceName,
        /// What.
        action: FinalAction,
    },
    /// A server that was to stop has stopped.
    Stopped {
        /// Which.
        server: ServerName,
    },
    /// Too few voters are left: every server stops what it runs when its lease ends.
    StandDown,
}

impl What {
    /// The group it is about.
    #[must_use]
    pub fn group(&self) -> Option<&GroupName> {
        match self {
            Self::Assign { group, .. }
            | Self::Release { group, .. }
            | Self::Want { group }
            | Self::Stop { group, .. }
            | Self::Start { group, .. }
            | Self::Fails { group, .. }
            | Self::Released { group, .. }
            | Self::Online { group, .. }
            | Self::Finally { group, .. } => Some(group),
            _ => None,
        }
    }

    /// The server it is about.
    #[must_use]
    pub fn server(&self) -> Option<&ServerName> {
        match self {
            Self::Lost { server }
            | Self::Joined { server }
            | Self::Cut { server, .. }
            | Self::Gone { server }
            | Self::Stopped { server }
            | Self::Assign { server, .. }
            | Self::Release { server, .. }
            | Self::Stop { server, .. }
            | Self::Start { server, .. }
            | Self::Fails { server, .. }
            | Self::Released { server, .. }
            | Self::Online { server, .. } => Some(server),
            _ => None,
        }
    }

    /// One word for programs.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Lost { .. } => "lost",
            Self::Joined { .. } => "joined",
            Self::Cut { .. } => "cut",
            Self::Asked { .. } => "asked",
            Self::Gone { .. } => "gone",
            Self::Assign { .. } => "assign",
            Self::Release { .. } => "release",
            Self::Want { .. } => "want",
            Self::Pools { .. } => "pools",
            Self::Stop { .. } => "stop",
            Self::Start { .. } => "start",
            Self::Fails { .. } => "fails",
            Self::Released { .. } => "released",
            Self::Online { .. } => "online",
            Self::Finally { .. } => "finally",
            Self::Stopped { .. } => "stopped",
            Self::StandDown => "stand_down",
        }
    }
}

fn takes(f: &mut fmt::Formatter<'_>, takes_ms: Option<u64>) -> fmt::Result {
    match takes_ms {
        Some(ms) => write!(f, " ({ms} ms last time)"),
        None => f.write_str(" (never measured)"),
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { server } => write!(f, "{server} is lost"),
            Self::Joined { server } => write!(f, "{server} starts"),
            Self::Cut { server, network } => write!(f, "the cable of {server} to {network} is cut"),
            Self::Asked { what } => f.write_str(what),
            Self::Gone { server } => {
                write!(f, "the lease of {server} has ended for certain: it is gone")
            }
            Self::Assign { group, server } => write!(f, "{server} gets {group}"),
            Self::Release { group, server, to: Some(to) } => {
                write!(f, "{server} is told to stop {group}, which goes to {to}")
            }
            Self::Release { group, server, to: None } => write!(f, "{server} is told to stop {group}"),
            Self::Want { group } => write!(f, "{group} is wanted online"),
            Self::Pools { members } => {
                f.write_str("server pools:")?;
                for (at, (server, pool)) in members.iter().enumerate() {
                    write!(f, "{} {server} in {pool}", if at > 0 { "," } else { "" })?;
                }
                Ok(())
            }
            Self::Stop { group, resource, server, takes_ms } => {
                write!(f, "{server} stops {resource} of {group}")?;
                takes(f, *takes_ms)
            }
            Self::Start { group, resource, server, takes_ms } => {
                write!(f, "{server} starts {resource} of {group}")?;
                takes(f, *takes_ms)
            }
            Self::Fails { group, resource, server, network, start: true } => {
                write!(
                    f,
                    "{server} cannot start {resource} of {group}: its cable to {network} carries nothing"
                )
            }
            Self::Fails { group, resource, server, network, start: false } => {
                write!(f, "{resource} of {group} fails on {server}: its cable to {network} carries nothing")
            }
            Self::Released { group, server } => write!(f, "{server} has stopped {group}"),
            Self::Online { group, server } => write!(f, "{group} is online on {server}"),
            Self::Finally { group, resource, action } => {
                write!(f, "final action of {resource} of {group}: {action:?}")
            }
            Self::Stopped { server } => write!(f, "{server} has stopped"),
            Self::StandDown => {
                f.write_str("too few voters are left: every server stops what it runs as its lease ends")
            }
        }
    }
}
