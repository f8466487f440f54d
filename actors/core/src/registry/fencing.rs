//! What the registry keeps of the tie-break and of fencing.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{FenceName, Incarnation},
    membership::tie_break::Record,
    time::WallTime,
};

/// The tries that are kept of one fencing.
pub const TRIES_LIMIT: usize = 20;

/// What was committed of the tie-break record. The record itself is at the witness or in the voting
/// files; a leader changes it only after committing what it means to write (R15, R17).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TieBreakNote {
    /// What is written there, or is about to be.
    pub record: Record,
    /// It was found there once: from then on a blank place is a lost record (R17).
    pub made: bool,
    /// Where; empty while there is no register.
    #[serde(default)]
    pub place: String,
}

/// The fencing of one server: the last one, and how far it is. At most one at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fencing {
    /// Which incarnation should be fenced (R5).
    pub incarnation: Incarnation,
    /// Why.
    pub because: String,
    /// How far it is.
    pub state: FencingState,
    /// The last [`TRIES_LIMIT`] tries, oldest first.
    pub tries: Vec<FenceTry>,
}

/// How far a fencing is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FencingState {
    /// It should be done; the leader does it.
    Requested,
    /// Every device of one level has confirmed it.
    Confirmed {
        /// By which devices; empty when an operator confirmed it by hand.
        by: Vec<FenceName>,
    },
    /// No level could; it is tried again.
    Failed,
    /// The server is back, and its devices let it in again.
    Lifted,
}

/// One try of one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceTry {
    /// Which device.
    pub device: FenceName,
    /// When it ended.
    pub at: WallTime,
    /// Why it failed; `None` when it confirmed.
    pub error: Option<String>,
}
