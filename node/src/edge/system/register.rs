//! The port `TieBreakRegister`: at a witness, or in the voting files.

use async_trait::async_trait;
use tasuki_actors::ports::{RegisterError, RegisterPlace, Swap, TieBreakRegister};
use tasuki_core::membership::tie_break::Record;

/// See the module.
#[derive(Debug, Default)]
pub struct SystemRegister {}

#[async_trait]
impl TieBreakRegister for SystemRegister {
    async fn read(&self, place: &RegisterPlace) -> Result<Option<Record>, RegisterError> {
        Err(RegisterError::Unusable(format!("{place:?} is not served")))
    }

    async fn swap(
        &self,
        place: &RegisterPlace,
        _from: Option<&Record>,
        _to: &Record,
    ) -> Result<Swap, RegisterError> {
        Err(RegisterError::Unusable(format!("{place:?} is not served")))
    }
}
