//! What a witness lacks of a server. Its tree has no actor that would ask for any of it; whoever
//! asks nevertheless is refused.

use std::{collections::BTreeSet, net::IpAddr, path::Path, time::Duration};

use async_trait::async_trait;
use tasuki_actors::ports::{
    AgentError, DiskBeat, FenceOrder, Fencer, Guard, LookError, Probe, Prober, ProgramAnswer, ProgramLook,
    RegisterError, RegisterPlace, ResourceAgent, ResourceOrder, Swap, TieBreakRegister, VotingFileError,
    VotingFiles,
};
use tasuki_core::{
    ids::{GroupName, ResourceName},
    membership::tie_break::Record,
    registry::state::AfterStop,
    time::Timestamp,
};
use tokio::sync::oneshot;

const WHY: &str = "a witness runs nothing";

/// A machine on which nothing runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoMachine;

#[async_trait]
impl Guard for NoMachine {
    fn renew(&self, _end: Timestamp) {}

    fn lease_end(&self) -> Option<Timestamp> {
        None
    }

    fn held_nothing(&self) -> bool {
        true
    }

    async fn end_lease(&self) -> Result<(), String> {
        Ok(())
    }

    fn stand_down(&self, _why: &str) {}

    fn reset(&self, _why: &str) {}

    fn leave(&self, _after: AfterStop) {}
}

#[async_trait]
impl ResourceAgent for NoMachine {
    async fn start(&self, _: &ResourceOrder) -> Result<Option<oneshot::Receiver<String>>, AgentError> {
        Err(AgentError::Failed(WHY.into()))
    }

    async fn stop(&self, _: &ResourceOrder) -> Result<(), AgentError> {
        Ok(())
    }

    async fn probe(&self, _: &ResourceOrder) -> Result<Probe, AgentError> {
        Ok(Probe::Stopped)
    }

    async fn running(&self) -> Result<BTreeSet<(GroupName, ResourceName)>, AgentError> {
        Ok(BTreeSet::new())
    }

    async fn clean(&self, _: &GroupName, _: &ResourceName) -> Result<(), AgentError> {
        Ok(())
    }
}

#[async_trait]
impl Prober for NoMachine {
    async fn echo(&self, _: IpAddr, _: Duration) -> Result<(), String> {
        Err(WHY.into())
    }

    async fn run(&self, _: &ProgramLook) -> Result<ProgramAnswer, LookError> {
        Err(LookError::NotRun(WHY.into()))
    }
}

#[async_trait]
impl TieBreakRegister for NoMachine {
    async fn read(&self, _: &RegisterPlace) -> Result<Option<Record>, RegisterError> {
        Err(RegisterError::Unusable(WHY.into()))
    }

    async fn swap(&self, _: &RegisterPlace, _: Option<&Record>, _: &Record) -> Result<Swap, RegisterError> {
        Err(RegisterError::Unusable(WHY.into()))
    }
}

#[async_trait]
impl VotingFiles for NoMachine {
    async fn exchange(&self, _: &Path, _: &DiskBeat) -> Result<Vec<DiskBeat>, VotingFileError> {
        Err(VotingFileError::Failed(WHY.into()))
    }
}

#[async_trait]
impl Fencer for NoMachine {
    async fn act(&self, _: &FenceOrder) -> Result<(), String> {
        Err(WHY.into())
    }
}
