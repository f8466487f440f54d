//! Who is alive, who holds a lease, and whether this server may stay.

pub mod view;
