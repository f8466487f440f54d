//! The parts of the stack as resources: which agent keeps each of them running, how often its status
//! is looked at, and whether it starts by itself.

use serde::{Deserialize, Serialize};

/// One part of the stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub struct StackResource {
    /// Its name.
    pub name: String,
    /// What starts it again when it is gone: at once, whatever its interval says.
    pub agent: String,
    /// Seconds between two looks at its status.
    #[serde(rename = "CHECK_INTERVAL")]
    pub check_interval: u32,
    /// `always`, `restore` or `never`.
    #[serde(rename = "AUTO_START")]
    pub auto_start: String,
    /// For people.
    pub description: String,
}

/// The parts, in the order of their start.
#[must_use]
pub fn stack() -> Vec<StackResource> {
    [
        ("tasuki.guard", "init", 1, "ends everything at the lease's end"),
        ("tasuki.ohas", "tasuki.guard", 1, "the node: root of all parts below"),
        ("tasuki.events", "tasuki.ohas", 60, "what happens, for people and programs"),
        ("tasuki.registry", "tasuki.ohas", 30, "the cluster registry"),
        ("tasuki.profile", "tasuki.ohas", 60, "this server's copies of the profile"),
        // As in the reference: of status only. Its failure is noticed at once.
        ("tasuki.sync", "tasuki.ohas", 30, "heartbeats, votes and the lease"),
        ("tasuki.sync_monitor", "tasuki.ohas", 30, "watches the synchronisation and the groups"),
        // As the storage service of the reference; restarted volume by volume.
        ("tasuki.mirrors", "tasuki.ohas", 1, "the mirrored disks' data paths"),
        ("tasuki.crs", "tasuki.ohas", 30, "groups, resources and monitors"),
    ]
    .into_iter()
    .map(|(name, agent, check_interval, description)| StackResource {
        name: name.to_owned(),
        agent: agent.to_owned(),
        check_interval,
        auto_start: "always".to_owned(),
        description: description.to_owned(),
    })
    .collect()
}
