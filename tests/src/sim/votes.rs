//! What lies outside of the servers and is shared by them: the tie-break record at a witness or in
//! voting files, and fencing devices. They answer late, not at all, or after having done it; what was
//! asked of them is done also when nobody waits for it any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use tasuki_actors::ports::{
    DiskBeat, FenceAction, FenceOrder, Fencer, RegisterError, RegisterPlace, Swap, TieBreakRegister,
    VotingFileError, VotingFiles,
};
use tasuki_core::{ids::Lineage, membership::tie_break::Record};
use tokio::sync::oneshot;

use super::{
    fact::What,
    world::{STEP, State, World},
};

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
    /// Machines that a device has switched off, and nobody has switched on again.
    pub switched_off: BTreeSet<usize>,
    blocks: BTreeMap<PathBuf, BTreeMap<u32, DiskBeat>>,
    number: u64,
    /// What was asked and has not arrived, by its time.
    asked: BTreeMap<(u64, u64), Asked>,
}

/// Something that a machine asked of the votes.
struct Asked {
    by: usize,
    what: Deed,
}

enum Deed {
    Read(oneshot::Sender<Option<Record>>),
    Swap { from: Option<Record>, to: Record, tell: oneshot::Sender<Swap> },
    Fence { target: usize, off: bool, tell: oneshot::Sender<Result<(), String>> },
}

impl VotesState {
    /// Somebody has mistaken the record's place for another cluster's: until it is put back, this
    /// other one's is found there.
    pub fn mistake(&mut self) -> Option<Record> {
        let before = self.record.clone();
        if let Some(record) = &mut self.record {
            record.lineage = Lineage::new("other");
        }
        before
    }
}

impl State {
    /// What has arrived at witness, files and devices by now is done.
    pub fn votes_turn(&mut self) {
        let due: Vec<Asked> = {
            let later = self.votes.asked.split_off(&(self.now + 1, 0));
            std::mem::replace(&mut self.votes.asked, later).into_values().collect()
        };
        for asked in due {
            // Whoever asked may not wait any more.
            match asked.what {
                Deed::Read(tell) => drop(tell.send(self.votes.record.clone())),
                Deed::Swap { from, to, tell } => {
                    let swap = self.swap(asked.by, from.as_ref(), &to);
                    drop(tell.send(swap));
                }
                Deed::Fence { target, off, tell } => {
                    let works = self.votes.fences;
                    if works && off {
                        self.happened(target, What::NodeEnds("fenced".into()));
                        self.lose_power(target, 0);
                        self.votes.switched_off.insert(target);
                    }
                    let outcome = if works { Ok(()) } else { Err("the device does not answer".into()) };
                    drop(tell.send(outcome));
                }
            }
        }
    }

    fn swap(&mut self, by: usize, from: Option<&Record>, to: &Record) -> Swap {
        if self.votes.record.as_ref() != from {
            return Swap::Other(self.votes.record.clone());
        }
        self.votes.record = Some(to.clone());
        self.votes.records.push(to.clone());
        let name = self.machines[by].name.clone();
        self.say(&format!("{name}: the tie-break record is now {to}"));
        Swap::Done
    }

    fn ask_votes(&mut self, by: usize, what: Deed) {
        let most = self.votes.delay;
        let takes = self.dice.between(1, most.max(2));
        self.votes.number += 1;
        let at = (self.now + takes * 1_000_000 + STEP, self.votes.number);
        self.votes.asked.insert(at, Asked { by, what });
    }
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

    fn is_cut_off(&self) -> bool {
        self.world.state().votes.unreachable.get(&self.at).copied().unwrap_or(false)
    }

    /// The way there or back.
    async fn reach(&self) -> Result<(), RegisterError> {
        let takes = {
            let mut state = self.world.state();
            let most = state.votes.delay;
            state.dice.between(1, most.max(2))
        };
        tokio::time::sleep(Duration::from_millis(takes)).await;
        if self.is_cut_off() { Err(RegisterError::Unreachable("cut off".into())) } else { Ok(()) }
    }

    /// Asks, and waits for the answer.
    async fn ask<T>(&self, what: impl FnOnce(oneshot::Sender<T>) -> Deed) -> Result<T, RegisterError> {
        if self.is_cut_off() {
            return Err(RegisterError::Unreachable("cut off".into()));
        }
        let (tell, answer) = oneshot::channel();
        self.world.state().ask_votes(self.at, what(tell));
        let answer = answer.await.map_err(|_| RegisterError::Unreachable("no answer".into()))?;
        self.reach().await?;
        Ok(answer)
    }
}

#[async_trait]
impl TieBreakRegister for Ports {
    async fn read(&self, _: &RegisterPlace) -> Result<Option<Record>, RegisterError> {
        self.ask(Deed::Read).await
    }

    async fn swap(
        &self,
        _: &RegisterPlace,
        from: Option<&Record>,
        to: &Record,
    ) -> Result<Swap, RegisterError> {
        let (from, to) = (from.cloned(), to.clone());
        let swap = self.ask(|tell| Deed::Swap { from, to, tell }).await?;
        let unclear = {
            let mut state = self.world.state();
            let unclear = state.votes.unclear;
            state.dice.permille(unclear)
        };
        if unclear { Err(RegisterError::Unreachable("no answer".into())) } else { Ok(swap) }
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
        let target = self.world.state().number(&order.target).ok_or("no such server")?;
        let off = order.action == FenceAction::Off;
        let outcome = self.ask(|tell| Deed::Fence { target, off, tell }).await;
        outcome.map_err(|error| error.to_string())?
    }
}
