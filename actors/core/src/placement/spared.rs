//! What a lease's end leaves of what runs: the groups that ask for something else than a stop. A
//! preview for people; the guard acts by its records alone (R10).

use std::fmt;

use crate::{
    config::{AtLeaseEnd, ResourceKind},
    ids::{GroupName, ResourceName, ServerName},
    registry::State,
};

/// A group of which something is left when its server loses its lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spared {
    /// The group.
    pub group: GroupName,
    /// Its owner.
    pub server: ServerName,
    /// These stand still, until a lease is held again or somebody else owned the group.
    pub frozen: Vec<ResourceName>,
    /// These run on.
    pub reading: Vec<ResourceName>,
}

impl fmt::Display for Spared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, server, frozen, reading } = self;
        if frozen.is_empty() {
            let names: Vec<&str> = reading.iter().map(ResourceName::as_str).collect();
            write!(f, "of {group} only {} runs on at {server}, reading", names.join(", "))
        } else {
            write!(f, "{group} stands still on {server}")
        }
    }
}

/// What would be left on the servers that `lose` their lease.
#[must_use]
pub fn spared(state: &State, lose: impl Fn(&ServerName) -> bool) -> Vec<Spared> {
    let groups = state.groups.iter().filter_map(|(group, entry)| {
        let config = &entry.config.as_ref()?.value;
        let server = entry.ownership.value.owner.clone().filter(|server| lose(server))?;
        let of = |wanted: AtLeaseEnd| {
            let left = config.resources.iter().filter(move |(_, resource)| match &resource.kind {
                ResourceKind::Exec(exec) => config.on_quorum_loss.of(exec.read_only) == wanted,
                ResourceKind::FloatingIp(_) | ResourceKind::MirrorDisk(_) => false,
            });
            left.map(|(name, _)| name.clone()).collect::<Vec<_>>()
        };
        let spared = Spared {
            group: group.clone(),
            server,
            frozen: of(AtLeaseEnd::Freeze),
            reading: of(AtLeaseEnd::RunOn),
        };
        (!spared.frozen.is_empty() || !spared.reading.is_empty()).then_some(spared)
    });
    groups.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{
        config::{ExecConfig, GroupConfig, QuorumLoss, ResourceConfig},
        ids::Revision,
        registry::{
            Item,
            state::{Failures, GroupEntry, Ownership, Target},
        },
        time::WallTime,
    };

    fn item<T>(value: T) -> Item<T> {
        Item { value, created: Revision(1), modified: Revision(1), at: WallTime(0) }
    }

    fn group(policy: QuorumLoss, owner: Option<&str>) -> GroupEntry {
        let exec = |read_only| {
            let config = ExecConfig { read_only, ..ExecConfig::of(vec!["/bin/it".to_owned()]) };
            ResourceConfig::of(ResourceKind::Exec(config))
        };
        let resources = [("reader".into(), exec(true)), ("writer".into(), exec(false))].into();
        let config = GroupConfig { on_quorum_loss: policy, resources, ..GroupConfig::default() };
        let ownership = Ownership { owner: owner.map(Into::into), ..Ownership::default() };
        GroupEntry {
            config: Some(item(config)),
            target: item(Target::Online),
            ownership: item(ownership),
            report: None,
            failures: item(Failures::default()),
            facts: [].into(),
        }
    }

    #[test]
    fn only_what_asks_for_it_is_left_and_only_on_who_loses_the_lease() {
        let mut state = State::default();
        state.groups.insert("stops".into(), group(QuorumLoss::Stop, Some("kiki")));
        state.groups.insert("frozen".into(), group(QuorumLoss::Freeze, Some("kiki")));
        state.groups.insert("reads".into(), group(QuorumLoss::ReadOnly, Some("lala")));
        state.groups.insert("nowhere".into(), group(QuorumLoss::Freeze, None));
        let said: Vec<String> = spared(&state, |_| true).iter().map(ToString::to_string).collect();
        assert_eq!(said, ["frozen stands still on kiki", "of reads only reader runs on at lala, reading"]);
        assert_eq!(spared(&state, |server| server.as_str() == "lala").len(), 1);
    }
}
