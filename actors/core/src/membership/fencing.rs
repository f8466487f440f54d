//! Fencing: who is waited for until a device has confirmed, which device is tried next, and what
//! the registry asks a server to do about it.
//!
//! A server with fencing devices is never taken over by time alone (R36): only when a device or an
//! operator has confirmed that it is off, when it said itself that it has stopped, or when it came
//! back with a new boot. Devices are tried level by level; within a level all of them must confirm.
//!
//! ```text
//! (silent) --RequestFence--> Requested --all of one level--> Confirmed --the server is back--> Lifted
//!                              ^    \--no level is left--> Failed --after a while--> Requested
//!                              \________ it starts, or says that it has stopped: Lifted
//! ```

use std::{collections::BTreeSet, time::Duration};

use crate::{
    config::{ClusterSettings, FenceKind},
    ids::{FenceName, Incarnation, RaftId, ServerName},
    membership::tie_break::OwnLog,
    planted::{self, Planted},
    registry::{
        State,
        fencing::{Fencing, FencingState},
        state::{ClusterMode, ServerMode},
    },
};

/// Between two fencings of the same server that failed, at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What is done next in one fencing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FencingStep {
    /// Order this device to switch the target off.
    Try {
        /// Which.
        device: FenceName,
        /// Not before so long: the lighter side of two gives way (R19).
        after: Duration,
    },
    /// Every device of one level has confirmed it.
    Confirmed {
        /// Which.
        by: Vec<FenceName>,
    },
    /// No level is left.
    Exhausted,
}

/// One fencing of one server.
///
/// ```text
/// level 1: device, device ... --all confirmed--> Confirmed
///    | one fails, its retries used up
/// level 2: ...
///    | no level is left
/// Exhausted
/// ```
#[derive(Clone, Debug)]
pub struct Attempt {
    levels: Vec<Vec<Tries>>,
    level: usize,
    confirmed: Vec<FenceName>,
    delay: Duration,
}

#[derive(Clone, Debug)]
struct Tries {
    device: FenceName,
    left: u32,
}

impl Attempt {
    /// Over the levels of a server. A level that names a device nobody defined cannot confirm and is
    /// left out. `lighter`: this side gives way to the other one of two.
    #[must_use]
    pub fn new(settings: &ClusterSettings, levels: &[Vec<FenceName>], lighter: bool) -> Self {
        let tries = |device: &FenceName| {
            let config = settings.fences.get(device)?;
            Some(Tries { device: device.clone(), left: config.retries })
        };
        let level = |level: &Vec<FenceName>| level.iter().map(tries).collect::<Option<Vec<_>>>();
        let levels: Vec<Vec<Tries>> =
            levels.iter().filter_map(level).filter(|level| !level.is_empty()).collect();
        let delays = levels.iter().flatten().filter_map(|tries| settings.fences.get(&tries.device));
        let delay = delays.map(|config| config.delay).max().filter(|_| lighter).unwrap_or_default();
        Self { levels, level: 0, confirmed: Vec::new(), delay }
    }

    /// What is done now.
    #[must_use]
    pub fn step(&self) -> FencingStep {
        let Some(level) = self.levels.get(self.level) else { return FencingStep::Exhausted };
        match level.get(self.confirmed.len()) {
            Some(tries) => FencingStep::Try { device: tries.device.clone(), after: self.delay },
            None => FencingStep::Confirmed { by: self.confirmed.clone() },
        }
    }

    /// The device of the last [`FencingStep::Try`] has answered.
    pub fn tried(&mut self, confirmed: bool) {
        self.delay = Duration::ZERO;
        let Some(tries) =
            self.levels.get_mut(self.level).and_then(|level| level.get_mut(self.confirmed.len()))
        else {
            return;
        };
        if confirmed {
            self.confirmed.push(tries.device.clone());
        } else if tries.left > 0 {
            tries.left -= 1;
        } else {
            // What one level confirmed says nothing for the next.
            self.level += 1;
            self.confirmed.clear();
        }
    }
}

/// How long after a fencing that failed, for the so manieth time in a row, it is asked for again.
#[must_use]
pub fn pause(failures: u32, detect: Duration) -> Duration {
    (detect * 2u32.pow(failures.min(10))).min(LONGEST_PAUSE)
}

/// What the registry asks of one server about fencing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Fence it.
    Fence {
        /// Which server.
        server: ServerName,
        /// Which incarnation.
        incarnation: Incarnation,
    },
    /// Ask for its fencing again, after a [`pause`].
    AskAgain {
        /// Which server.
        server: ServerName,
        /// Which incarnation.
        incarnation: Incarnation,
        /// Why it should be fenced.
        because: String,
    },
    /// This server is back: its devices let it in again.
    Return {
        /// The devices that it has to be registered with.
        devices: Vec<FenceName>,
    },
}

/// What `me` has to do; the first two only where it `leads`. Nobody fences itself: a device run by
/// its own target cannot confirm anything.
#[must_use]
pub fn duties(state: &State, me: &ServerName, leads: bool) -> Vec<Duty> {
    let mut duties = Vec::new();
    for (name, entry) in &state.servers {
        let Some(fencing) = entry.fencing.as_ref().map(|item| &item.value) else { continue };
        let Some(presence) = state.presence(name) else { continue };
        let (server, incarnation) = (name.clone(), fencing.incarnation);
        let current = presence.incarnation == incarnation;
        match fencing.state {
            FencingState::Requested if leads && current && name != me => {
                duties.push(Duty::Fence { server, incarnation });
            }
            FencingState::Failed if leads && current && presence.up && name != me => {
                let because = fencing.because.clone();
                duties.push(Duty::AskAgain { server, incarnation, because });
            }
            FencingState::Confirmed { .. } if name == me && presence.up && !current => {
                duties.push(Duty::Return { devices: registered_with(state, me) });
            }
            _ => {}
        }
    }
    duties
}

/// The devices with which a server has to be registered to reach its disks.
#[must_use]
pub fn registered_with(state: &State, server: &ServerName) -> Vec<FenceName> {
    let Some(settings) = &state.settings else { return Vec::new() };
    let levels = state.servers.get(server).map(|entry| &entry.config.value.fencing);
    let devices: BTreeSet<&FenceName> = levels.into_iter().flatten().flatten().collect();
    let reserves = |device: &&&FenceName| {
        let config = settings.value.fences.get(**device);
        config.is_some_and(|config| matches!(config.kind, FenceKind::Reservation { .. }))
    };
    devices.iter().filter(reserves).map(|device| (*device).clone()).collect()
}

/// What the grantor of leases has to know of fencing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fences {
    /// Servers that are never judged by time alone.
    pub guarded: BTreeSet<ServerName>,
    /// Servers that are granted nothing: they shall be fenced, or they are and were not let in again.
    pub withheld: BTreeSet<ServerName>,
    /// Servers whose silence alone is reason enough: they take part, in a cluster that runs.
    pub taking_part: BTreeSet<ServerName>,
    /// The cluster is suspended: no fencing is asked for, since nothing is to happen by itself.
    pub suspended: bool,
    /// A server that was not heard yet may still be booting: it has this long from the election.
    pub patience: Duration,
}

impl Fences {
    /// From the registry.
    #[must_use]
    pub fn of(state: &State) -> Self {
        let names = |of: &dyn Fn(&ServerName) -> bool| -> BTreeSet<ServerName> {
            state.servers.keys().filter(|name| of(name)).cloned().collect()
        };
        let running = state.cluster_mode() == ClusterMode::Running;
        let active = |name: &ServerName| state.presence(name).is_some_and(|p| p.mode == ServerMode::Active);
        Self {
            guarded: names(&|name| is_guarded(state, name)),
            withheld: names(&|name| is_withheld(state, name)),
            taking_part: names(&|name| running && active(name)),
            suspended: state.cluster_mode() == ClusterMode::Suspended,
            patience: state.settings.as_ref().map(|s| s.value.startup_wait).unwrap_or_default(),
        }
    }
}

/// Whether a server has fencing devices: then its end is confirmed, never only waited for (R36).
#[must_use]
pub fn is_guarded(state: &State, server: &ServerName) -> bool {
    state.servers.get(server).is_some_and(|entry| !entry.config.value.fencing.is_empty())
}

/// Whether a server may hold no lease and own nothing: it shall be fenced, or it has been fenced and
/// was not let in again.
#[must_use]
pub fn is_withheld(state: &State, server: &ServerName) -> bool {
    let Some(Fencing { incarnation, state: fencing, .. }) =
        state.servers.get(server).and_then(|entry| entry.fencing.as_ref()).map(|item| &item.value)
    else {
        return false;
    };
    let current = state.presence(server).is_some_and(|presence| presence.incarnation == *incarnation);
    match fencing {
        FencingState::Confirmed { .. } => true,
        FencingState::Requested | FencingState::Failed => current,
        FencingState::Lifted => false,
    }
}

/// Whether `me` gives way to `other`: the side that runs fewer groups, and of equals the higher
/// number.
#[must_use]
pub fn gives_way(state: &State, me: &ServerName, other: &ServerName) -> bool {
    let rank = |server: &ServerName| {
        let number = state.servers.get(server).map_or(u32::MAX, |entry| entry.config.value.number);
        (std::cmp::Reverse(state.owned_by(server).count()), number)
    };
    rank(me) > rank(other)
}

/// Why a confirmed power-off does not make the survivor of two the sole owner (R19).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// R15: nobody goes on alone during a change of voters, or out of any but a pair with this peer.
    #[error("the last voters in this server's log are not these two servers")]
    NotThePair,
    /// R19: a fence remembers nothing, so this server does not know what happened before it booted.
    #[error(
        "this server has not replicated with the other one since it booted: it may lack what the other committed"
    )]
    NotInThisBoot,
    /// No level of the other's devices proves that it is off.
    #[error("no fencing device of the other server proves that it is off")]
    NoProof,
}

/// R19: whether fencing `peer` may break a tie of two: only for a server that has replicated with it
/// in this boot, under a membership of these two that is also the last in its log.
///
/// # Errors
/// Why not.
pub fn may_break_tie(own: &OwnLog, peer: RaftId, replicated_in_this_boot: bool) -> Result<(), Unfit> {
    if own.configs != [BTreeSet::from([own.me, peer])] {
        return Err(Unfit::NotThePair);
    }
    if replicated_in_this_boot || planted::is(Planted::ColdTie) { Ok(()) } else { Err(Unfit::NotInThisBoot) }
}

/// The levels that may break a tie of two: in each, some device proves that the server is off. A
/// reservation protects only its disks, and a watchdog only says that time has passed.
#[must_use]
pub fn proving_levels(settings: &ClusterSettings, levels: &[Vec<FenceName>]) -> Vec<Vec<FenceName>> {
    let proves = |device: &FenceName| settings.fences.get(device).is_some_and(|c| c.kind.proves_off());
    // What another device of the level proves needs no watchdog, which waits for the lease of a leader.
    let waits = |device: &FenceName| {
        settings.fences.get(device).is_some_and(|config| matches!(config.kind, FenceKind::Watchdog))
    };
    let proving = levels.iter().filter(|level| level.iter().any(proves));
    proving.map(|level| level.iter().filter(|device| !waits(device)).cloned().collect()).collect()
}

#[cfg(test)]
mod tests;
