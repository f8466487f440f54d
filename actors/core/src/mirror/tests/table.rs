//! What the machine does in each situation at each event, as walks and stories saw it.

use std::collections::{BTreeMap, BTreeSet};

use crate::mirror::state::{Action, Event, Wake, Wish};

/// Who, in which situation, at which event.
pub type Place = (String, String, &'static str);

/// The situations that followed, and what was asked for.
pub type Followed = (BTreeSet<String>, BTreeSet<String>);

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Table {
    pub rows: BTreeMap<Place, Followed>,
}

impl Table {
    /// One event: situations are of the volume first, then of each peer.
    pub fn add(&mut self, before: &[String], event: &'static str, after: &[String], actions: &[Action]) {
        let kinds: BTreeSet<String> = actions.iter().map(action).collect();
        for (at, (was, is)) in before.iter().zip(after).enumerate() {
            let who = if at == 0 { "volume" } else { "peer" };
            let row = self.rows.entry((who.to_owned(), was.clone(), event)).or_default();
            row.0.insert(is.clone());
            if at == 0 {
                row.1.extend(kinds.iter().cloned());
            }
        }
    }

    pub fn merge(&mut self, other: Self) {
        for (key, (after, actions)) in other.rows {
            let row = self.rows.entry(key).or_default();
            row.0.extend(after);
            row.1.extend(actions);
        }
    }
}

/// The name of an event.
pub fn kind(event: &Event) -> &'static str {
    match event {
        Event::Registry { .. } => "Registry",
        Event::Promote { .. } => "Promote",
        Event::Demote => "Demote",
        Event::EpochStored => "EpochStored",
        Event::PeerMet { .. } => "PeerMet",
        Event::PeerRefused { .. } => "PeerRefused",
        Event::PeerLost { .. } => "PeerLost",
        Event::Outcome { .. } => "Outcome",
        Event::PeerSet { .. } => "PeerSet",
        Event::CopyStored => "CopyStored",
        Event::Synced { .. } => "Synced",
        Event::DiskFailed { .. } => "DiskFailed",
        Event::PeerDiskFailed { .. } => "PeerDiskFailed",
        Event::PeerSlow { .. } => "PeerSlow",
        Event::Attached => "Attached",
        Event::AttachFailed { .. } => "AttachFailed",
        Event::Detached => "Detached",
        Event::Resized { .. } => "Resized",
        Event::Wish(Wish::Rebuild { .. }) => "Wish rebuild",
        Event::Wish(Wish::Pause) => "Wish pause",
        Event::Wish(Wish::Resume) => "Wish resume",
        Event::Wish(Wish::Cancel) => "Wish cancel",
        Event::Woken(Wake::Meet) => "Woken: meet",
        Event::Woken(Wake::Again) => "Woken: again",
        Event::Woken(Wake::Patience) => "Woken: patience",
    }
}

/// The name of an action.
fn action(action: &Action) -> String {
    let text = format!("{action:?}");
    let end = text.find(['(', ' ']).unwrap_or(text.len());
    match action {
        Action::Promoted(Ok(())) => "Promoted".to_owned(),
        Action::Promoted(Err(_)) => "Promoted: no".to_owned(),
        Action::Propose { command, .. } => {
            let command = format!("{command:?}");
            let end = command.find(' ').unwrap_or(command.len());
            format!("Propose {}", &command[..end])
        }
        Action::SetPeer { mode, .. } => format!("SetPeer {mode:?}"),
        _ => text[..end].to_owned(),
    }
}
