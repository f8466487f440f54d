//! Small models of what must never go wrong, walked through state by state: votes and leases
//! together, and the mirror. Each rule of the safety rules that a model knows can be taken out, and
//! must then be missed. What a model leaves out is said in its head comment.

pub mod mirror;
pub mod votes;
pub mod walk;
