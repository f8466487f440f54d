//! What lies outside of the servers and is shared by them: the tie-break record at a witness or in
//! voting files, and fencing devices. They answer late, not at all, or after having done it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use tasuki_actors::ports::{
    DiskBeat, FenceAction, FenceOrder, Fencer, RegisterError, RegisterPlace, Swap, TieBreakRegister,
    VotingFileError, VotingFiles,
};
use tasuki_core::membership::tie_break::Record;

use super::{fact::What, world::World};

/// See the module.
#[derive(Default)]
pub struct VotesState {
    /// The record.
    pub record: Option<Record>,
    /// Every record that there was.
    pub records: Vec<Record>,
    /// Machines that cannot reach it.
    pub unreachable: BTreeMap<usize, bool>,
    /// Milliseconds until it answers, at most.
    pub delay: u64,
    /// Of a thousand swaps so many are done and not answered.
    pub unclear: u64,
    /// Of a thousand blocks so many are read torn, which leaves them out.
    pub torn: u64,
    /// Fencing devices work.
    pub fences: bool,
    blocks: BTreeMap<PathBuf, BTreeMap<u32, DiskBeat>>,
}

/// The ports of one machine.
pub struct Ports {
    world: World,
    at: usize,
}

impl Ports {
    /// The ports of a machine.
    #[must_use]
    pub fn new(world: World, at: usize) -> Self {
        Self { world, at }
    }

    async fn reach(&self) -> Result<(), RegisterError> {
        let (takes, cut) = {
            let mut state = self.world.state();
            let most = state.votes.delay;
            let takes = state.dice.between(1, most.max(2));
            (takes, state.votes.unreachable.get(&self.at).copied().unwrap_or(false))
        };
        tokio::time::sleep(Duration::from_millis(takes)).await;
        if cut { Err(RegisterError::Unreachable("cut off".into())) } else { Ok(()) }
    }
}

#[async_trait]
impl TieBreakRegister for Ports {
    async fn read(&self, _: &RegisterPlace) -> Result<Option<Record>, RegisterError> {
        self.reach().await?;
        let record = self.world.state().votes.record.clone();
        self.reach().await?;
        Ok(record)
    }

    async fn swap(
        &self,
        _: &RegisterPlace,
        from: Option<&Record>,
        to: &Record,
    ) -> Result<Swap, RegisterError> {
        self.reach().await?;
        let (done, unclear) = {
            let mut state = self.world.state();
            let done = state.votes.record.as_ref() == from;
            if done {
                state.votes.record = Some(to.clone());
                state.votes.records.push(to.clone());
                let name = state.machines[self.at].name.clone();
                state.say(&format!("{name}: the tie-break record is now {to}"));
            }
            let unclear = state.votes.unclear;
            (
                if done { Swap::Done } else { Swap::Other(state.votes.record.clone()) },
                state.dice.permille(unclear),
            )
        };
        self.reach().await?;
        if unclear { Err(RegisterError::Unreachable("no answer".into())) } else { Ok(done) }
    }
}

#[async_trait]
impl VotingFiles for Ports {
    async fn exchange(&self, file: &Path, own: &DiskBeat) -> Result<Vec<DiskBeat>, VotingFileError> {
        self.reach().await.map_err(|error| VotingFileError::Failed(error.to_string()))?;
        let mut state = self.world.state();
        let torn = state.votes.torn;
        let blocks = state.votes.blocks.entry(file.to_owned()).or_default();
        blocks.insert(own.number, own.clone());
        let others: Vec<DiskBeat> =
            blocks.values().filter(|beat| beat.number != own.number).cloned().collect();
        Ok(others.into_iter().filter(|_| !state.dice.permille(torn)).collect())
    }
}

#[async_trait]
impl Fencer for Ports {
    async fn act(&self, order: &FenceOrder) -> Result<(), String> {
        self.reach().await.map_err(|error| error.to_string())?;
        let mut state = self.world.state();
        if !state.votes.fences {
            return Err(format!("{} has no device in this cluster", order.target));
        }
        let target = state.number(&order.target).ok_or("no such server")?;
        if order.action == FenceAction::Off {
            state.happened(target, What::NodeEnds("fenced".into()));
            state.lose_power(target, 0);
        }
        Ok(())
    }
}
