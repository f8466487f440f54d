//! Which server runs which group. The only place that chooses servers.

pub mod candidate;
pub mod forecast;
pub mod matrix;
pub mod plan;
pub mod pools;
pub mod record;

#[cfg(test)]
mod tests;
