//! Supervision: which children an actor has, and what happens when one of them ends.
//!
//! Restart limits are for bugs; the recovery ladder of the core is for resources. Restarting an
//! actor never restarts a service.

mod child;
mod intensity;
mod slot;
mod supervisor;

pub use child::{Child, Started};
pub use intensity::{Intensity, Window};
pub use slot::Slot;
pub use supervisor::{Strategy, Supervisor, SupervisorMsg, SupervisorSpec, TreeNode};

#[cfg(test)]
mod tests;
