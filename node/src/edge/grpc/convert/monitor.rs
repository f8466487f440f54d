//! Monitors.

use tasuki_core::{ids::ServerName, registry::state::MonitorState};
use tasuki_proto::v1 as wire;

use super::{Malformed, Result, all, optional, text_of};
use crate::app::monitors::{MonitorOn, MonitorStatus};

words!(monitor_state_out, monitor_state_in, MonitorState, wire::MonitorState, {
    MonitorState::Normal => wire::MonitorState::Normal => MonitorState::Normal,
    MonitorState::Caution => wire::MonitorState::Caution => MonitorState::Caution,
    MonitorState::Error => wire::MonitorState::Error => MonitorState::Error,
    MonitorState::Unused => wire::MonitorState::Unused => MonitorState::Unused,
    MonitorState::Unknown => wire::MonitorState::Unknown => MonitorState::Unknown,
});

/// To the wire.
#[must_use]
pub fn monitor_out(monitor: MonitorStatus) -> wire::MonitorStatus {
    wire::MonitorStatus {
        name: monitor.name.to_string(),
        r#type: monitor.kind,
        watches: text_of(monitor.watches),
        mends: monitor.mends,
        state: monitor_state_out(monitor.state),
        servers: monitor
            .servers
            .into_iter()
            .map(|on| wire::MonitorOn {
                server: on.server.to_string(),
                state: monitor_state_out(on.state),
                detail: on.detail,
                restarts: on.restarts,
                failovers: on.failovers,
            })
            .collect(),
    }
}

/// From the wire.
///
/// # Errors
/// When a word has no meaning here.
pub fn monitor_in(monitor: wire::MonitorStatus) -> Result<MonitorStatus> {
    Ok(MonitorStatus {
        name: monitor.name.as_str().into(),
        kind: monitor.r#type,
        watches: optional(monitor.watches).map(|name| name.as_str().into()),
        mends: monitor.mends,
        state: monitor_state_in(monitor.state)?,
        servers: all(monitor.servers, |on| {
            Ok(MonitorOn {
                server: ServerName::new(on.server),
                state: monitor_state_in(on.state)?,
                detail: on.detail,
                restarts: on.restarts,
                failovers: on.failovers,
            })
        })?,
    })
}
