//! What Tasuki asks of the kernel of one server: clocks, priorities, processes, addresses, and
//! the guard process.
//!
//! Nothing here knows of a cluster. The guard and what it calls are synchronous and need nothing
//! of the node; the node's own calls are asynchronous where they wait.

pub mod address;
