//! One program: guard, node and command line.
//!
//! | module | what it is for |
//! |---|---|
//! | [`app`] | the application service layer: one method for each intention of an operator |
//! | [`edge`] | the outside: gRPC, the calls between servers, the system |
//! | [`cli`] | the command line: words in, tables out |
//! | [`identity`] | who this server is, and how it proves it |
//! | [`local_registry`] | what this server alone keeps: its stack, and a copy of the profile |
//! | [`profile`] | what must be known of the cluster before its registry answers |
//! | [`lab`] | a whole cluster on one machine, to try it out |
//! | [`witness`] | a process that votes, or keeps the record of two servers, for several clusters |
//! | [`wiring`] | where everything meets |

pub mod app;
pub mod cli;
pub mod edge;
pub mod identity;
pub mod lab;
mod level;
pub mod local_registry;
pub mod profile;
pub mod wiring;
pub mod witness;
