//! What the invariants look at.

use std::sync::Arc;

use tasuki_core::{
    ids::{Epoch, GroupName, Incarnation, ResourceName},
    registry::State,
};

use super::{client::Op, machine::MachineState};

/// A resource on a machine.
pub type Which = (GroupName, ResourceName);

/// Something that happened, and when in true time.
#[derive(Clone, Debug)]
pub struct Fact {
    /// Nanoseconds since the simulation began.
    pub at: u64,
    /// On which machine.
    pub machine: usize,
    /// What.
    pub what: What,
}

/// Why a resource stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopCause {
    /// The node had it stopped, under this epoch; none when it was cleaned up.
    Asked(Option<Epoch>),
    /// The guard stopped everything.
    Guard(String),
    /// The machine lost its power.
    Power,
    /// It died by itself: a fault.
    Itself,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum What {
    /// A resource runs.
    Started {
        /// Which.
        which: Which,
        /// Under which epoch.
        epoch: Epoch,
        /// The guard held a lease at that moment.
        leased: bool,
    },
    /// A resource runs no more.
    Stopped {
        /// Which.
        which: Which,
        /// Why.
        cause: StopCause,
    },
    /// The guard begins to stop everything.
    StandsDown(String),
    /// The machine gets power.
    Booted,
    /// A node process begins.
    NodeStarts,
    /// A node process is gone.
    NodeEnds(String),
    /// The machine does not move from now on.
    Frozen,
    /// It moves again.
    Thawed,
    /// A node has applied the registry up to here.
    Applied(Arc<State>),
    /// An entry is committed, as a node has applied it: index, term, and the digest of its identity.
    Committed {
        /// Where.
        index: u64,
        /// Of which term.
        term: u64,
    },
    /// A server decides in this term (R3).
    Leads {
        /// Which term.
        term: u64,
    },
    /// The registry knows this incarnation, says the node.
    Presented(Incarnation),
    /// A client's operation has begun, or has ended.
    Client(Op),
    /// All faults are mended.
    Healed,
    /// What should run by then was looked at.
    Settled(Result<(), String>),
    /// A task panicked.
    Panicked(String),
}

impl Fact {
    /// As a line of the trace.
    #[must_use]
    pub fn line(&self, machines: &[MachineState]) -> Option<String> {
        let name = machines.get(self.machine).map_or("-".to_owned(), |machine| machine.name.to_string());
        let text = match &self.what {
            What::Applied(state) => {
                let last = state.history.back().map(|change| change.what.clone()).unwrap_or_default();
                format!("applied revision {}: {last}", state.revision)
            }
            What::Committed { .. } => return None,
            What::Started { which: (group, resource), epoch, leased } => {
                let lease = if *leased { "" } else { " WITHOUT A LEASE" };
                format!("++ {group}/{resource} epoch {epoch}{lease}")
            }
            What::Stopped { which: (group, resource), cause } => {
                format!("-- {group}/{resource}: {cause:?}")
            }
            What::Client(op) => op.to_string(),
            other => format!("{other:?}"),
        };
        Some(format!("{name}: {text}"))
    }
}
