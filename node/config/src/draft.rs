//! The file as it was read: every value with its place, nothing compared with anything yet.
//! `None` stands for what was absent or has been reported as wrong.

use std::{net::IpAddr, time::Duration};

use tasuki_core::{
    config::{Automatic, ExecConfig, NetworkUse, StartFailurePolicy, Startup, StopFailurePolicy},
    timing::Timing,
};
use toml::Spanned;

use crate::{net::Subnet, source::Span};

pub(crate) type Name = Spanned<String>;

/// The whole file.
#[derive(Default)]
pub(crate) struct Draft {
    pub(crate) cluster: Option<ClusterDraft>,
    pub(crate) networks: Vec<NetworkDraft>,
    pub(crate) servers: Vec<ServerDraft>,
    pub(crate) heartbeats: Vec<HeartbeatDraft>,
    pub(crate) groups: Vec<GroupDraft>,
}

pub(crate) struct ClusterDraft {
    pub(crate) name: Option<Name>,
    pub(crate) comment: String,
    pub(crate) timing: Option<Timing>,
    pub(crate) startup_wait: Duration,
    pub(crate) port: u16,
    pub(crate) heartbeat_port: u16,
}

pub(crate) struct NetworkDraft {
    pub(crate) name: Option<Name>,
    pub(crate) subnet: Option<Subnet>,
    pub(crate) uses: Vec<NetworkUse>,
}

pub(crate) struct ServerDraft {
    pub(crate) name: Option<Name>,
    pub(crate) span: Span,
    pub(crate) comment: String,
    /// Network and address there.
    pub(crate) addresses: Vec<(Name, Option<Spanned<IpAddr>>)>,
}

pub(crate) struct HeartbeatDraft {
    pub(crate) network: Option<Name>,
    pub(crate) span: Span,
}

pub(crate) struct GroupDraft {
    pub(crate) name: Option<Name>,
    pub(crate) comment: String,
    pub(crate) servers: Vec<Name>,
    pub(crate) startup: Startup,
    pub(crate) failover: Automatic,
    pub(crate) failback: Automatic,
    pub(crate) resources: Vec<ResourceDraft>,
}

impl GroupDraft {
    pub(crate) fn label(&self) -> &str {
        self.name.as_ref().map_or("(without name)", |name| name.get_ref())
    }
}

pub(crate) struct ResourceDraft {
    pub(crate) name: Option<Name>,
    pub(crate) comment: String,
    pub(crate) depends_on: Option<Vec<Name>>,
    pub(crate) on_start_failure: StartFailurePolicy,
    pub(crate) on_stop_failure: StopFailurePolicy,
    pub(crate) kind: Option<KindDraft>,
}

pub(crate) enum KindDraft {
    Exec(ExecDraft),
    FloatingIp(FloatingIpDraft),
}

pub(crate) struct ExecDraft {
    pub(crate) config: ExecConfig,
    pub(crate) start: Span,
    pub(crate) stop: Option<Span>,
}

pub(crate) struct FloatingIpDraft {
    pub(crate) address: Option<Spanned<IpAddr>>,
    pub(crate) device: Option<String>,
    pub(crate) prefix: Option<Spanned<u8>>,
    pub(crate) per_server: Vec<(Name, Option<Spanned<IpAddr>>)>,
}
