//! Where the tie-break record is, by the configuration, and how it is read and swapped.

use std::{path::PathBuf, time::Duration};

use tasuki_core::{config::TieBreak, membership::tie_break::Record, registry::State};
use tokio::sync::{Mutex, watch};

use crate::{
    context::Context,
    handle::TieBreakSeen,
    ports::{PeerAddress, RegisterError, RegisterPlace, Swap},
};

/// What the claim and the leader's care for the record share on one node.
#[derive(Default)]
pub struct TieBreakDesk {
    /// What the tie-break waits for, while it is asked.
    pub waits: watch::Sender<Option<String>>,
    /// What the record's place last answered; `None` where there is none, or nothing yet.
    pub seen: watch::Sender<Option<TieBreakSeen>>,
    /// Whoever changes the record holds this. Counts the claims: a leader writes nothing that it
    /// read before one.
    pub turn: Mutex<u64>,
}

/// The tie-break as configured.
#[must_use]
pub fn configured(context: &Context, state: &State) -> TieBreak {
    match &state.settings {
        Some(settings) => settings.value.votes.tie_break.clone(),
        None => context.options.config.settings.votes.tie_break.clone(),
    }
}

/// The register, and its place in words; `None` where there is none.
#[must_use]
pub fn place(context: &Context, state: &State) -> Option<(String, RegisterPlace)> {
    match configured(context, state) {
        TieBreak::Witness { witness } => {
            let entry = state.servers.get(&witness).map(|server| server.config.value.clone());
            let entry = entry.or_else(|| context.options.config.servers.get(&witness).cloned())?;
            let addresses = entry.addresses.values().copied().collect();
            let address = PeerAddress { server: witness.clone(), addresses, port: entry.role.port()? };
            Some((format!("witness {witness}"), RegisterPlace::Witness(address)))
        }
        TieBreak::VotingFiles => {
            let files: Vec<PathBuf> = match &state.settings {
                Some(settings) => settings.value.votes.files.clone(),
                None => context.options.config.settings.votes.files.clone(),
            };
            let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
            Some((format!("voting files {}", names.join(", ")), RegisterPlace::Files(files)))
        }
        TieBreak::None | TieBreak::Fence | TieBreak::UnsafePing { .. } => None,
    }
}

fn patience(context: &Context) -> Duration {
    context.timing().lease / 2
}

fn too_late() -> RegisterError {
    RegisterError::Unreachable("it does not answer in time".into())
}

/// Reads the record.
///
/// # Errors
/// When nothing is known of it.
pub async fn read(context: &Context, place: &RegisterPlace) -> Result<Option<Record>, RegisterError> {
    let read = context.ports.tie_break.read(place);
    tokio::time::timeout(patience(context), read).await.unwrap_or_else(|_| Err(too_late()))
}

/// Puts `to` in the place of `from`; whether it is there now. An unclear swap is read back (R16).
///
/// # Errors
/// When nothing is known of it even then.
pub async fn swap(
    context: &Context,
    place: &RegisterPlace,
    from: Option<&Record>,
    to: &Record,
) -> Result<Swap, RegisterError> {
    let swap = context.ports.tie_break.swap(place, from, to);
    match tokio::time::timeout(patience(context), swap).await.unwrap_or_else(|_| Err(too_late())) {
        Ok(outcome) => Ok(outcome),
        Err(unclear) => {
            tracing::info!(%unclear, "the tie-break record is read back");
            let found = read(context, place).await?;
            Ok(if found.as_ref() == Some(to) { Swap::Done } else { Swap::Other(found) })
        }
    }
}
