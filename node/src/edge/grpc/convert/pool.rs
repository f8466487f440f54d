//! Server pools.

use tasuki_core::ids::{PoolName, ServerName};
use tasuki_proto::v1 as wire;

use crate::app::pools::PoolView;

/// To the wire.
#[must_use]
pub fn pool_out(pool: PoolView) -> wire::PoolInfo {
    wire::PoolInfo {
        name: pool.name.to_string(),
        built_in: pool.built_in,
        comment: pool.comment,
        min: pool.min,
        max: pool.max,
        importance: pool.importance,
        allowed: pool.allowed.iter().map(ToString::to_string).collect(),
        servers: pool.servers.iter().map(ToString::to_string).collect(),
        users: pool.users,
    }
}

/// From the wire.
#[must_use]
pub fn pool_in(pool: wire::PoolInfo) -> PoolView {
    PoolView {
        name: PoolName::new(pool.name),
        built_in: pool.built_in,
        comment: pool.comment,
        min: pool.min,
        max: pool.max,
        importance: pool.importance,
        allowed: pool.allowed.into_iter().map(ServerName::new).collect(),
        servers: pool.servers.into_iter().map(ServerName::new).collect(),
        users: pool.users,
    }
}
