//! The port `TieBreakRegister`: at a witness, or in the voting files.

mod files;
mod witness;

use std::sync::Arc;

use async_trait::async_trait;
use tasuki_actors::ports::{RegisterError, RegisterPlace, Swap, TieBreakRegister};
use tasuki_core::{membership::tie_break::Record, timing::Timing};
use tasuki_storage::votes::Files;

pub use self::{files::FilesRegister, witness::WitnessRegister};
use crate::{edge::peer::Cuts, identity::Identity};

/// Goes to where the record is.
#[derive(Debug)]
pub struct SystemRegister {
    witness: WitnessRegister,
    files: FilesRegister,
}

impl SystemRegister {
    /// For this server. Connects to nobody yet.
    #[must_use]
    pub fn new(identity: &Identity, timing: &Timing, cuts: Arc<Cuts>, files: Arc<Files>) -> Self {
        let witness = WitnessRegister::new(identity.clone(), timing, cuts);
        Self { witness, files: FilesRegister::new(files) }
    }
}

#[async_trait]
impl TieBreakRegister for SystemRegister {
    async fn read(&self, place: &RegisterPlace) -> Result<Option<Record>, RegisterError> {
        match place {
            RegisterPlace::Witness(witness) => self.witness.read(witness).await,
            RegisterPlace::Files(files) => self.files.read(files).await,
        }
    }

    async fn swap(
        &self,
        place: &RegisterPlace,
        from: Option<&Record>,
        to: &Record,
    ) -> Result<Swap, RegisterError> {
        match place {
            RegisterPlace::Witness(witness) => self.witness.swap(witness, from, to).await,
            RegisterPlace::Files(files) => self.files.swap(files, from, to).await,
        }
    }
}
