//! Fencing.

use tasuki_core::{
    ids::{FenceName, Incarnation, ServerName},
    registry::fencing::FenceTry,
    time::WallTime,
};
use tasuki_proto::v1 as wire;

use crate::app::fences::{DeviceView, FencingView};

/// To the wire.
#[must_use]
pub fn device_out(device: DeviceView) -> wire::FenceDevice {
    wire::FenceDevice {
        name: device.name.to_string(),
        comment: device.comment,
        kind: device.kind,
        what: device.what,
        proves_off: device.proves_off,
        servers: device.servers.iter().map(ToString::to_string).collect(),
    }
}

/// From the wire.
#[must_use]
pub fn device_in(device: wire::FenceDevice) -> DeviceView {
    DeviceView {
        name: FenceName::new(device.name),
        comment: device.comment,
        kind: device.kind,
        what: device.what,
        proves_off: device.proves_off,
        servers: device.servers.into_iter().map(ServerName::new).collect(),
    }
}

/// To the wire.
#[must_use]
pub fn fencing_out(view: FencingView) -> wire::ServerFencing {
    let level = |level: &Vec<FenceName>| wire::FenceLevel { devices: words(level) };
    wire::ServerFencing {
        server: view.server.to_string(),
        levels: view.levels.iter().map(level).collect(),
        state: view.state,
        by: words(&view.by),
        incarnation: view.incarnation.0,
        because: view.because,
        tries: view
            .tries
            .into_iter()
            .map(|one| wire::FenceTry {
                device: one.device.to_string(),
                at_ms: one.at.0,
                error: one.error.unwrap_or_default(),
            })
            .collect(),
    }
}

/// From the wire.
#[must_use]
pub fn fencing_in(view: wire::ServerFencing) -> FencingView {
    FencingView {
        server: ServerName::new(view.server),
        levels: view.levels.into_iter().map(|level| names(level.devices)).collect(),
        state: view.state,
        by: names(view.by),
        incarnation: Incarnation(view.incarnation),
        because: view.because,
        tries: view
            .tries
            .into_iter()
            .map(|one| FenceTry {
                device: FenceName::new(one.device),
                at: WallTime(one.at_ms),
                error: (!one.error.is_empty()).then_some(one.error),
            })
            .collect(),
    }
}

fn words(names: &[FenceName]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn names(words: Vec<String>) -> Vec<FenceName> {
    words.into_iter().map(FenceName::new).collect()
}
