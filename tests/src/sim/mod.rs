//! The simulator: the real actors, core and openraft over a simulated network, clock, disk and
//! resources. Everything follows from one seed, in one thread, as fast as the CPU allows.
//!
//! | module | what |
//! |---|---|
//! | [`run`] | one run: forms a cluster, lets faults happen, mends everything, looks |
//! | [`driver`] | the order in which machines take their steps |
//! | [`world`] | everything outside of the nodes |
//! | [`machine`], [`guard`], [`host`] | a machine, its guard (the real one's decider), its node process |
//! | [`network`], [`aside`], [`disk`], [`votes`] | what nodes reach outside |
//! | [`faults`], [`members`] | what goes wrong, and what operators do, from the seed |
//! | [`scripts`], [`profile`] | what goes wrong together, so that one rule matters |
//! | [`client`] | who uses the registry meanwhile |
//! | [`bites`] | which rules are taken out, and where that is noticed |
//! | [`fact`], [`trace`] | what happened: for the invariants, and for people |
//!
//! Each node has a runtime of its own whose time is paused and moved on by the driver in steps of a
//! millisecond, scaled by its machine's clock rate: so a machine can be frozen in the middle of
//! whatever it does, and killed by dropping its runtime. What the random numbers of libraries are
//! made of (`getrandom`) follows from the seed too; the program `simulate` sees to that, and runs
//! each seed in a process of its own, because libraries count in statics.

pub mod aside;
pub mod bites;
pub mod client;
pub mod dice;
pub mod disk;
pub mod driver;
pub mod fact;
pub mod faults;
pub mod guard;
pub mod host;
pub mod machine;
pub mod members;
pub mod network;
pub mod profile;
pub mod run;
pub mod scripts;
pub mod trace;
pub mod votes;
pub mod world;
