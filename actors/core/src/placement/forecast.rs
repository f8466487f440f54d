//! What would follow: hypothetical events through the real `apply`, then the real placement
//! decision again and again, with owners that do as they are told, until nothing more follows.
//!
//! Nothing is changed: it all happens to a copy of the registry. Starts and stops succeed and take
//! as long as the last ones did; what never started is counted as nothing and named. Only floating
//! addresses whose cable is cut end, and do not start there. Like the leader it needs a quorum:
//! without one, nothing is decided and every server stops what it runs.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    config::ClusterConfig,
    ids::{GroupName, NetworkName, ServerName},
    membership::voters,
    placement::matrix,
    registry::{Refusal, State},
    time::WallTime,
};

mod outage;
mod play;
mod step;

pub use outage::Interruption;
pub use step::{Step, What};

/// What a forecast begins with: the registry, and what only the leader knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// The registry.
    pub state: State,
    /// The servers whose lease is being renewed.
    pub fit: BTreeSet<ServerName>,
    /// Who has a vote; empty means as the registry's servers would have it (R20).
    #[serde(default)]
    pub voters: BTreeSet<ServerName>,
    /// When it was taken, as far as that is known: how long ago something failed counts.
    #[serde(default)]
    pub at: WallTime,
}

/// Something that might happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what_if", rename_all = "snake_case")]
pub enum Change {
    /// A server loses power.
    ServerDown {
        /// Which.
        server: ServerName,
    },
    /// A server starts.
    ServerUp {
        /// Which.
        server: ServerName,
    },
    /// A server's cable to a network is cut: its floating addresses there fail. Where this was the
    /// last path on which others heard it, the server is lost.
    CableCut {
        /// Whose.
        server: ServerName,
        /// To which network.
        network: NetworkName,
    },
    /// An operator moves a group.
    Move {
        /// Which.
        group: GroupName,
        /// Where; the next allowed server otherwise.
        to: Option<ServerName>,
    },
    /// An operator starts a group.
    Start {
        /// Which.
        group: GroupName,
        /// Where; the best allowed server otherwise.
        on: Option<ServerName>,
    },
    /// An operator stops a group.
    Stop {
        /// Which.
        group: GroupName,
    },
    /// An operator pushes a configuration.
    Configure {
        /// The whole of it.
        config: Box<ClusterConfig>,
    },
}

/// What would follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forecast {
    /// What would happen, in order.
    pub steps: Vec<Step>,
    /// Every group that is touched, with what its clients would see.
    pub interruptions: Vec<Interruption>,
    /// Groups that are wanted and do not run when it is over.
    pub down: Vec<GroupName>,
    /// How it ends.
    pub ended: Ended,
}

/// How a forecast ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Ended {
    /// Nothing more follows.
    Settled,
    /// No quorum is left: every server stops what it runs when its lease ends.
    NoQuorum {
        /// How many have a vote.
        voters: u32,
        /// How many of them are left.
        left: u32,
        /// How many are needed.
        needed: u32,
    },
    /// It was not at rest after so many rounds of deciding; what came until then is shown.
    Unfinished {
        /// The rounds.
        rounds: u32,
    },
    /// These should stop and wait for ever for others to stop first.
    Waiting {
        /// Which.
        groups: Vec<GroupName>,
    },
    /// What was decided was refused, and nothing else was under way.
    Stuck {
        /// Why it was refused.
        refusal: Refusal,
    },
}

/// Why there is no forecast.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Impossible {
    /// The registry would refuse it.
    #[error("{change}: {refusal}")]
    Refused {
        /// What was supposed.
        change: String,
        /// Why not.
        refusal: Refusal,
    },
    /// The server is up already.
    #[error("server {0} is up already")]
    AlreadyUp(ServerName),
    /// No such network.
    #[error("no network is called {0}")]
    NoNetwork(NetworkName),
    /// The same server is supposed to go down and to come up.
    #[error("server {0} cannot go down and come up in one plan")]
    Both(ServerName),
}

impl Picture {
    /// A picture of a registry whose servers are all as it says.
    #[must_use]
    pub fn of(state: State) -> Self {
        let up = |name: &&ServerName| state.presence(name).is_some_and(|presence| presence.up);
        let fit = state.servers.keys().filter(up).cloned().collect();
        Self { state, fit, voters: BTreeSet::new(), at: WallTime::default() }
    }

    /// Who has a vote.
    #[must_use]
    pub fn voting(&self) -> BTreeSet<ServerName> {
        if !self.voters.is_empty() {
            return self.voters.clone();
        }
        let joined: Vec<_> = self.state.servers.values().filter_map(voters::Candidate::of).collect();
        let chosen = voters::choose(&joined, &BTreeSet::new());
        let votes =
            |name: &&ServerName| self.state.presence(name).is_some_and(|p| chosen.contains(&p.raft_id));
        self.state.servers.keys().filter(votes).cloned().collect()
    }
}

/// Plays what would follow. `by` is who would ask for it.
///
/// # Errors
/// When something that is supposed cannot happen.
pub fn forecast(picture: &Picture, what_if: &[Change], by: &str) -> Result<Forecast, Impossible> {
    let down = |change: &Change| match change {
        Change::ServerDown { server } => Some(server.clone()),
        _ => None,
    };
    let downs: BTreeSet<ServerName> = what_if.iter().filter_map(down).collect();
    let both = what_if.iter().find_map(|change| match change {
        Change::ServerUp { server } if downs.contains(server) => Some(server.clone()),
        _ => None,
    });
    if let Some(server) = both {
        return Err(Impossible::Both(server));
    }
    let cut = |change: &Change| match change {
        Change::CableCut { server, network } => Some((server.clone(), network.clone())),
        _ => None,
    };
    let cuts: BTreeSet<_> = what_if.iter().filter_map(cut).collect();
    let isolated = matrix::isolated(picture, &cuts, &downs);
    let isolated = isolated.into_iter().map(|server| Change::ServerDown { server });
    let all: Vec<Change> = what_if.iter().cloned().chain(isolated).collect();
    played(picture, &all, by)
}

/// As [`forecast`], by one who has thought of the servers that cables cut off.
pub(super) fn played(picture: &Picture, what_if: &[Change], by: &str) -> Result<Forecast, Impossible> {
    play::Play::new(picture, by).run(what_if)
}

#[cfg(test)]
mod tests;
