//! One failover group on its owner: which resource to start or stop next.

pub mod environment;
pub mod lifecycle;
pub mod order;
