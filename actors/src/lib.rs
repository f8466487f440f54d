//! The supervision tree of one node: the only crate with actors.
//!
//! ```text
//! ohas                      the high-availability services; one for one
//!  ├ events                 what happens, for people and subscribers
//!  ├ registry               raft → members → presence; rest for one
//!  ├ profile                keeps the signed profile in step with the registry
//!  ├ sync                   links, gossip, arbiter, lease
//!  ├ sync_monitor           the second pair of eyes
//!  ├ mirrors                one actor a mirrored volume with a copy here
//!  └ crs                    the resource services
//!     ├ placement           decides on the Raft leader
//!     ├ agents              per role and user: one actor a resource
//!     ├ groups              one actor an ownership
//!     └ monitors            one actor a monitor
//! ```
//!
//! The folders below `ohas` are this tree. Actors translate messages to events of the core's
//! machines, and perform the actions that come back; what they need from outside is in [`ports`].
//! Whatever one of them loses at a restart is evidence: truth is in the registry, and what runs is
//! probed and adopted.
#![forbid(unsafe_code)]

pub mod context;
pub mod directory;
mod follow;
pub mod handle;
pub mod journal;
pub mod node;
pub mod ohas;
pub mod ports;
mod propose;
pub mod supervise;

pub use context::{NodeOptions, StorePlace};
pub use handle::NodeHandle;
pub use node::start;
pub use ohas::sync::voting_file_actor::FileView;
