//! The cluster's times.

use tasuki_proto::v1 as wire;

use crate::app::times::{ClusterTimes, NamedTime};

/// To the wire.
#[must_use]
pub fn times_out(times: ClusterTimes) -> wire::ClusterTimesResponse {
    let out = |time: NamedTime| wire::NamedTime {
        name: time.name,
        ms: time.ms,
        derived_ms: time.derived_ms,
        meaning: time.meaning,
    };
    wire::ClusterTimesResponse { times: times.times.into_iter().map(out).collect() }
}

/// From the wire.
#[must_use]
pub fn times_in(times: wire::ClusterTimesResponse) -> ClusterTimes {
    let within = |time: wire::NamedTime| NamedTime {
        name: time.name,
        ms: time.ms,
        derived_ms: time.derived_ms,
        meaning: time.meaning,
    };
    ClusterTimes { times: times.times.into_iter().map(within).collect() }
}
