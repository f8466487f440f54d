//! The ports to this machine, made real: clocks, guard, resources, looks. Translation only; what they do
//! is in `tasuki-system`.

mod agent;
mod clock;
mod fencer;
mod guard;
pub mod mirror_disk;
mod prober;
mod register;
pub mod sync_agent;
mod volumes;
mod votes;
mod voting_files;

pub use self::{
    agent::SystemAgent,
    clock::SystemClock,
    fencer::SystemFencer,
    guard::SystemGuard,
    mirror_disk::{MirrorDisks, files::ExtFiles},
    prober::SystemProber,
    register::{SystemRegister, WitnessRegister},
    volumes::SystemVolumes,
    votes::SystemVotes,
    voting_files::SystemVotingFiles,
};
