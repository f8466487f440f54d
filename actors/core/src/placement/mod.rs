//! Which server runs which group. The only place that chooses servers.

mod board;
pub mod candidate;
mod constraint;
pub mod dependency;
pub mod forecast;
pub mod matrix;
mod order;
pub mod plan;
pub mod pools;
pub mod record;
mod release;
pub mod report;
mod snapshot;
pub mod spared;
mod start;
mod together;

#[cfg(test)]
mod tests;
