//! One failover group on its owner: which resource to start or stop next.

pub mod lifecycle;
pub mod order;
