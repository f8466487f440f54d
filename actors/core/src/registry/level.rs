//! Which words may stand in the registry: its level, while servers of several versions share it.
//!
//! A log entry is read by every member, also by one that is started again much later with the
//! version that it has. So nothing is written that a member cannot read:
//!
//! 1. every program has a level, the highest whose words it knows ([`KNOWN`]), and says it at each
//!    start ([`Command::Announce`]);
//! 2. the leader raises the registry's level once all members have announced a higher one
//!    ([`next_level`], [`Command::RaiseLevel`]); it never falls;
//! 3. what needs a higher level than the registry has ([`needs`]) is refused by whoever would propose
//!    it, by the leader before it is in the log, and by `apply`.
//!
//! Who adds a command, a reason, a refusal, or a field of what they carry, adds a level, and says
//! here what needs it; the matches below have no wildcard, so that nobody forgets a variant.
//! Level 2: an operator's own words for what they do ([`Reason::Said`]).

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

use super::{Command, Key, Refusal, State, mirror::VolumeCommand};
use crate::{
    ids::{Revision, ServerName},
    reason::Reason,
};

/// How much of the registry's vocabulary is known, or used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Level(pub u32);

impl Level {
    /// What every version knows, and what a registry has that says nothing.
    pub const BASE: Self = Self(1);
    /// With an operator's own words.
    pub const OWN_WORDS: Self = Self(2);
}

/// The highest level that this program knows.
#[cfg(not(feature = "level-1"))]
pub const KNOWN: Level = Level::OWN_WORDS;
/// The highest level that this program knows.
#[cfg(feature = "level-1")]
pub const KNOWN: Level = Level::BASE;

impl Default for Level {
    fn default() -> Self {
        Self::BASE
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a member's program says of itself at its start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spoken {
    /// The highest level that it reads, or lower, where it is held back so that the older version
    /// can be started again.
    pub level: Level,
    /// Its version, for people.
    pub version: String,
}

impl Spoken {
    /// This program, which reads all that it knows.
    #[must_use]
    pub fn here(version: impl Into<String>) -> Self {
        Self { level: KNOWN, version: version.into() }
    }
}

/// The level that a command with this reason needs.
#[must_use]
pub fn needs(command: &Command, reason: Option<&Reason>) -> Level {
    of_command(command).max(reason.map_or(Level::BASE, of_reason))
}

fn of_command(command: &Command) -> Level {
    match command {
        Command::Initialise { .. }
        | Command::SetConfig { .. }
        | Command::IssueToken { .. }
        | Command::Join { .. }
        | Command::ServerStarted { .. }
        | Command::ServerGone { .. }
        | Command::ServerStopped { .. }
        | Command::ServerLeave { .. }
        | Command::SetMode { .. }
        | Command::StartGroup { .. }
        | Command::FillPools { .. }
        | Command::StopGroup { .. }
        | Command::MoveGroup { .. }
        | Command::Assign { .. }
        | Command::Release { .. }
        | Command::Released { .. }
        | Command::Report { .. }
        | Command::CountRetry { .. }
        | Command::CountRestart { .. }
        | Command::MonitorReport { .. }
        | Command::Steady { .. }
        | Command::Finally { .. }
        | Command::NoteTieBreak { .. }
        | Command::RequestFence { .. }
        | Command::FenceTried { .. }
        | Command::ServerFenced { .. }
        | Command::WatchdogArmed { .. }
        | Command::FenceLifted { .. }
        | Command::RemoveServer { .. }
        | Command::ResetFailures { .. }
        | Command::Announce { .. }
        | Command::RaiseLevel { .. } => Level::BASE,
        Command::Volume { command, .. } => of_volume(command),
    }
}

fn of_volume(command: &VolumeCommand) -> Level {
    match command {
        VolumeCommand::Form { .. }
        | VolumeCommand::Open { .. }
        | VolumeCommand::Outdate { .. }
        | VolumeCommand::UpToDate { .. }
        | VolumeCommand::Resize { .. }
        | VolumeCommand::Close { .. }
        | VolumeCommand::Force { .. }
        | VolumeCommand::Forget => Level::BASE,
    }
}

fn of_reason(reason: &Reason) -> Level {
    match reason {
        Reason::ClusterStarted
        | Reason::OperatorStarted { .. }
        | Reason::OperatorStopped { .. }
        | Reason::OperatorMoved { .. }
        | Reason::ServerGone { .. }
        | Reason::ServerLeaving { .. }
        | Reason::ClusterStopping
        | Reason::StartFailed { .. }
        | Reason::ResourceFailed { .. }
        | Reason::HomeIsBack { .. }
        | Reason::StillWanted
        | Reason::NotConfigured
        | Reason::MonitorFound { .. }
        | Reason::FailedTooOften { .. }
        | Reason::DependencyStopped { .. }
        | Reason::PulledUp { .. }
        | Reason::NeededBy { .. }
        | Reason::PoolChanged { .. }
        | Reason::PoolsFilled { .. }
        | Reason::ServerJoined { .. }
        | Reason::ServerStarted { .. }
        | Reason::LeaseRanOut { .. }
        | Reason::SaidSo
        | Reason::Fenced { .. } => Level::BASE,
        #[cfg(not(feature = "level-1"))]
        Reason::Said { .. } => Level::OWN_WORDS,
    }
}

impl State {
    /// The level of this registry.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level.as_ref().map_or(Level::BASE, |level| level.value)
    }

    /// What each member that keeps the registry reads; the lowest where it has not said.
    fn spoken(&self) -> impl Iterator<Item = (&ServerName, Level)> {
        let readers = self.servers.iter().filter(|(_, server)| server.config.value.role.may_vote());
        readers.filter_map(|(name, server)| {
            let spoken = server.presence.as_ref()?.value.speaks.as_ref();
            Some((name, spoken.map_or(Level::BASE, |spoken| spoken.level)))
        })
    }

    /// The members that keep the registry from a level, because they do not read it or have not said
    /// that they do.
    #[must_use]
    pub fn below(&self, level: Level) -> BTreeSet<ServerName> {
        self.spoken().filter(|(_, speaks)| *speaks < level).map(|(name, _)| name.clone()).collect()
    }

    /// Why a level is not to be used now.
    #[must_use]
    pub fn not_yet(&self, needs: Level) -> Refusal {
        Refusal::NotYet { needs, level: self.level(), below: self.below(needs).into_iter().collect() }
    }

    /// The highest level that any member has announced.
    #[must_use]
    pub fn highest_spoken(&self) -> Level {
        self.spoken().map(|(_, level)| level).max().unwrap_or_default()
    }
}

/// The level that the registry can be raised to, and what that was read from (R12): the lowest that
/// all its members have announced. One that is down counts too: it reads the log when it returns.
#[must_use]
pub fn next_level(state: &State) -> Option<(Level, Vec<(Key, Revision)>)> {
    let level = state.spoken().map(|(_, level)| level).min()?;
    if level <= state.level() {
        return None;
    }
    let members = state.spoken().map(|(name, _)| Key::Presence(name.clone()));
    let read = members.chain([Key::Level]).map(|key| {
        let revision = state.revision_of(&key);
        (key, revision)
    });
    Some((level, read.collect()))
}
