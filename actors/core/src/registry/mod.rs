//! The replicated truth: what the registry holds, and how a command changes it.
//!
//! The registry has **wishes** (the configuration, what operators want) and **facts** (who is
//! which incarnation, who owns what, what was counted). A roll-back touches wishes only (R35).

pub mod answered;
pub mod apply;
pub mod command;
pub mod fencing;
pub mod item;
pub mod key;
pub mod level;
pub mod mirror;
pub mod query;
pub mod state;

pub use apply::apply;
pub use command::{Command, Proposal, Refusal, Reply};
pub use item::{Author, Change, Item};
pub use key::Key;
pub use level::Level;
pub use state::State;
