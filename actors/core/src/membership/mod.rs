//! Who is alive, who holds a lease, and whether this server may stay.

pub mod alone;
pub mod fencing;
pub mod gate;
pub mod hang;
pub mod lease;
pub mod link;
pub mod punctuality;
pub mod reset;
pub mod roster;
pub mod tie_break;
pub mod verdict;
pub mod view;
pub mod voters;
