//! What Tasuki asks of the kernel of one server: clocks, priorities, processes, addresses, and
//! the guard process.
//!
//! Nothing here knows of a cluster. The guard and what it calls are synchronous and need nothing
//! of the node; the node's own calls are asynchronous where they wait.
//!
//! | module | what it is for |
//! |---|---|
//! | [`layout`] | where on this server things are kept |
//! | [`clock`] | the boot clock, and noticing that it jumped (R38) |
//! | [`scheduling`] | real-time priority and locked memory, as far as permitted |
//! | [`confinement`] | keeping a resource's processes together, so that all of them can be killed |
//! | [`exec`] | starting and stopping programs in their confinement |
//! | [`fence`] | devices that make sure that another server has stopped |
//! | [`records`] | what runs here, for a node that starts again |
//! | [`address`] | floating addresses |
//! | [`echo`] | whether an address answers |
//! | [`guard`] | the process that holds the lease's end |

pub mod address;
pub mod clock;
pub mod confinement;
pub mod echo;
pub mod exec;
pub mod fence;
pub mod guard;
pub mod layout;
pub mod process;
pub mod readable;
pub mod records;
pub mod scheduling;
