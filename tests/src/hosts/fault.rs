//! What is done to the cluster, and what must come of it.

use std::{fmt, io, time::Duration};

use nix::sys::signal::Signal;

use super::{Cluster, SERVERS, await_some, await_true};
use crate::network::Network;

/// How long init waits before it starts a guard that ended: systemd's default.
pub const INIT_PAUSE: Duration = Duration::from_millis(100);

/// A fault, or an operator's command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The service's process ends.
    ServiceKilled,
    /// The active server's node ends.
    NodeKilled,
    /// The active server's node stands still for longer than its lease.
    NodeStopped,
    /// The active server's guard ends; init starts it again.
    GuardKilled,
    /// The active server loses its power.
    PowerLost {
        /// It led the cluster too.
        leads: bool,
    },
    /// All cables of the active server are cut, and mended later.
    CutOff {
        /// It led the cluster too.
        leads: bool,
    },
    /// One cable of the active server is cut, and mended later.
    OneCable(Network),
    /// One cable of a server that only stands by is cut, and mended later.
    StandbyCable(Network),
    /// A server that led the cluster but runs nothing loses its power.
    LeaderLost,
    /// Both servers that stand by lose their power, and get it back later.
    TwoLost,
    /// An operator moves the group.
    Move,
    /// An operator shuts the active server down.
    Shutdown,
}

impl Fault {
    /// Every fault, in the order of a report.
    pub const ALL: [Self; 16] = [
        Self::ServiceKilled,
        Self::NodeKilled,
        Self::NodeStopped,
        Self::GuardKilled,
        Self::PowerLost { leads: false },
        Self::PowerLost { leads: true },
        Self::CutOff { leads: false },
        Self::CutOff { leads: true },
        Self::OneCable(Network::Interconnect),
        Self::OneCable(Network::Public),
        Self::StandbyCable(Network::Interconnect),
        Self::StandbyCable(Network::Public),
        Self::LeaderLost,
        Self::TwoLost,
        Self::Move,
        Self::Shutdown,
    ];

    /// Those that `TASUKI_FAULTS` names by parts of their names, separated by commas; all otherwise.
    #[must_use]
    pub fn wanted() -> Vec<Self> {
        let parts = std::env::var("TASUKI_FAULTS").unwrap_or_default();
        let is_wanted = |fault: &Self| parts.split(',').any(|part| fault.to_string().contains(part));
        Self::ALL.into_iter().filter(is_wanted).collect()
    }

    /// What must come of it.
    #[must_use]
    pub fn expectation(self) -> Expectation {
        match self {
            Self::ServiceKilled => Expectation::Restarted,
            Self::GuardKilled => Expectation::AnyInstance,
            Self::NodeStopped => Expectation::OtherInstance,
            Self::PowerLost { .. } | Self::CutOff { .. } | Self::Move | Self::Shutdown => {
                Expectation::OtherServer
            }
            // The clients' own network, and they cannot get there: the address may go where they can.
            Self::OneCable(Network::Public) => Expectation::AnyInstance,
            Self::NodeKilled | Self::OneCable(Network::Interconnect) => Expectation::Unnoticed,
            Self::StandbyCable(_) | Self::LeaderLost => Expectation::Unnoticed,
            Self::TwoLost => Expectation::StoppedAndBack,
        }
    }

    /// Whether the active server has to lead (or must not) before it happens.
    #[must_use]
    pub fn wants_leading(self) -> Option<bool> {
        match self {
            Self::PowerLost { leads } | Self::CutOff { leads } => Some(leads),
            Self::LeaderLost => Some(false),
            _ => None,
        }
    }

    /// Whether no server leaves the cluster meanwhile: one path is enough to stay.
    #[must_use]
    pub fn keeps_members(self) -> bool {
        matches!(self, Self::ServiceKilled | Self::OneCable(_) | Self::StandbyCable(_) | Self::Move)
    }

    /// Does it.
    ///
    /// # Errors
    /// When it cannot be done: a fault of the test.
    pub fn strike(self, cluster: &Cluster, active: usize, leader: usize) -> io::Result<()> {
        let lab = cluster.lab();
        match self {
            Self::ServiceKilled => cluster.service(active)?.signal(Signal::SIGKILL),
            Self::NodeKilled => cluster.node(active)?.signal(Signal::SIGKILL),
            Self::NodeStopped => cluster.node(active)?.signal(Signal::SIGSTOP),
            Self::GuardKilled => {
                cluster.guard(active)?.signal(Signal::SIGKILL)?;
                cluster.await_guard_end(active)?;
                std::thread::sleep(INIT_PAUSE);
                cluster.start_guard(active)
            }
            Self::PowerLost { .. } => cluster.power_off(active),
            Self::CutOff { .. } => lab.cut(active, &Network::ALL),
            Self::OneCable(network) => lab.cut(active, &[network]),
            Self::StandbyCable(network) => lab.cut(standby(active), &[network]),
            Self::LeaderLost => cluster.power_off(leader),
            Self::TwoLost => others(active).try_for_each(|server| cluster.power_off(server)),
            Self::Move => {
                let to = standby(active);
                cluster.calls().move_group(&cluster.data(to), super::GROUP, SERVERS[to]).map(drop)
            }
            Self::Shutdown => cluster.calls().shut_down(&cluster.data(active), SERVERS[active]).map(drop),
        }
    }

    /// What an outage of one kind is long enough to be called over: for the faults after which the
    /// service must stop everywhere, waits until it has.
    ///
    /// # Errors
    /// When it has not in time.
    pub fn await_stop(self, cluster: &Cluster, active: usize) -> io::Result<()> {
        match self {
            Self::TwoLost => await_true("end of the service", || Ok(cluster.service(active).is_err())),
            _ => Ok(()),
        }
    }

    /// Takes it back where a person with hands would: cables, power, and init after a shutdown.
    ///
    /// # Errors
    /// When it cannot be done.
    pub fn mend(self, cluster: &Cluster, active: usize, leader: usize) -> io::Result<()> {
        let lab = cluster.lab();
        match self {
            Self::ServiceKilled | Self::NodeKilled | Self::GuardKilled | Self::Move => Ok(()),
            Self::NodeStopped => {
                // The guard has killed it; nobody sends it on.
                await_some("new node", || Ok(cluster.node(active).ok())).map(drop)
            }
            Self::PowerLost { .. } => cluster.power_on(active),
            Self::CutOff { .. } => lab.heal(active, &Network::ALL),
            Self::OneCable(network) => lab.heal(active, &[network]),
            Self::StandbyCable(network) => lab.heal(standby(active), &[network]),
            Self::LeaderLost => cluster.power_on(leader),
            Self::TwoLost => others(active).try_for_each(|server| cluster.power_on(server)),
            Self::Shutdown => {
                cluster.await_guard_end(active)?;
                cluster.start_guard(active)
            }
        }
    }
}

/// A server that is not the active one.
#[must_use]
pub fn standby(active: usize) -> usize {
    (active + 1) % SERVERS.len()
}

fn others(active: usize) -> impl Iterator<Item = usize> {
    (0..SERVERS.len()).filter(move |server| *server != active)
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ServiceKilled => "service killed",
            Self::NodeKilled => "node killed",
            Self::NodeStopped => "node stopped (SIGSTOP) beyond its lease",
            Self::GuardKilled => "guard killed, started again by init",
            Self::PowerLost { leads: false } => "power lost",
            Self::PowerLost { leads: true } => "power lost, it led too",
            Self::CutOff { leads: false } => "all cables cut, then mended",
            Self::CutOff { leads: true } => "all cables cut, it led too",
            Self::OneCable(Network::Interconnect) => "its interconnect cable cut",
            Self::OneCable(Network::Public) => "its public cable cut",
            Self::StandbyCable(Network::Interconnect) => "a standby's interconnect cable cut",
            Self::StandbyCable(Network::Public) => "a standby's public cable cut",
            Self::LeaderLost => "leader lost, not the active server",
            Self::TwoLost => "two of three lost",
            Self::Move => "clean move",
            Self::Shutdown => "clean shutdown of the active server",
        })
    }
}

/// What must come of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// The same process answers all the time.
    Unnoticed,
    /// Another process answers, on the same server.
    Restarted,
    /// Another process answers, wherever.
    OtherInstance,
    /// Another server answers.
    OtherServer,
    /// The same process or another.
    AnyInstance,
    /// Nobody answers until the others are back.
    StoppedAndBack,
}
