//! Which server runs which group. The only place that chooses servers.

pub mod candidate;
pub mod plan;

#[cfg(test)]
mod tests;
