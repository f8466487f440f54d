//! The port `TieBreakRegister`: at a witness, or in the voting files.

mod witness;

use std::sync::Arc;

use async_trait::async_trait;
use tasuki_actors::ports::{RegisterError, RegisterPlace, Swap, TieBreakRegister};
use tasuki_core::{membership::tie_break::Record, timing::Timing};

pub use self::witness::WitnessRegister;
use crate::{edge::peer::Cuts, identity::Identity};

/// Goes to where the record is.
#[derive(Debug)]
pub struct SystemRegister {
    witness: WitnessRegister,
}

impl SystemRegister {
    /// For this server. Connects to nobody yet.
    #[must_use]
    pub fn new(identity: &Identity, timing: &Timing, cuts: Arc<Cuts>) -> Self {
        Self { witness: WitnessRegister::new(identity.clone(), timing, cuts) }
    }
}

#[async_trait]
impl TieBreakRegister for SystemRegister {
    async fn read(&self, place: &RegisterPlace) -> Result<Option<Record>, RegisterError> {
        match place {
            RegisterPlace::Witness(witness) => self.witness.read(witness).await,
            RegisterPlace::Files(_) => Err(RegisterError::Unusable(format!("{place:?} is not served"))),
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
            RegisterPlace::Files(_) => Err(RegisterError::Unusable(format!("{place:?} is not served"))),
        }
    }
}
