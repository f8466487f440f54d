//! What the recovery of a finding mends on the server that found it.

use crate::{
    config::{MonitorConfig, RecoveryTarget},
    ids::{GroupName, ResourceName, ServerName},
    registry::State,
};

/// The units that `server` owns and that the monitor's recovery concerns, each with its resources.
/// Nothing where the server owns none of them: a bad ping on a standby moves nothing. A unit that
/// is being released is left alone, and so is what a monitor of a mirrored disk only shows.
#[must_use]
pub fn concerns(
    state: &State,
    monitor: &MonitorConfig,
    server: &ServerName,
) -> Vec<(GroupName, Vec<ResourceName>)> {
    if monitor.kind.is_of_mirror() && monitor.recovery.is_nothing() {
        return Vec::new();
    }
    let owned = state.groups.iter().filter(|(_, group)| {
        let ownership = &group.ownership.value;
        ownership.owner.as_ref() == Some(server) && ownership.release.is_none()
    });
    let concerned = owned.filter_map(|(name, group)| {
        let resources = &group.config.as_ref()?.value.resources;
        let resources: Vec<ResourceName> = match &monitor.recovery.target {
            RecoveryTarget::Resource(only) => resources.keys().filter(|r| *r == only).cloned().collect(),
            RecoveryTarget::Group(only) if only != name => Vec::new(),
            RecoveryTarget::Group(_) | RecoveryTarget::Cluster => resources.keys().cloned().collect(),
        };
        (!resources.is_empty()).then(|| (name.clone(), resources))
    });
    concerned.collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::*;
    use crate::{
        config::{
            ExecConfig, FinalAction, GroupConfig, MonitorKind, MonitorTiming, RecoveryConfig, ResourceConfig,
            ResourceKind,
        },
        ids::Revision,
        reason::Reason,
        registry::{
            Item,
            state::{Failures, GroupEntry, Ownership, StartEvent, Target, Vacate},
        },
        time::WallTime,
    };

    fn item<T>(value: T) -> Item<T> {
        Item { value, created: Revision(1), modified: Revision(1), at: WallTime(0) }
    }

    /// `web` (ip, db) and `db#1` (db) on kiki, `mail` (post) on lala, `old` (db) leaving kiki.
    fn state() -> State {
        let mut state = State::default();
        for (name, owner, resources, leaves) in [
            ("web", "kiki", &["db", "ip"][..], false),
            ("db#1", "kiki", &["db"][..], false),
            ("mail", "lala", &["post"][..], false),
            ("old", "kiki", &["db"][..], true),
        ] {
            let resource = || ResourceConfig::of(ResourceKind::Exec(ExecConfig::of(Vec::new())));
            let resources = resources.iter().map(|name| ((*name).into(), resource())).collect();
            let vacate = Vacate { to: None, reason: Reason::StillWanted, event: StartEvent::Start };
            let ownership = Ownership {
                owner: Some(owner.into()),
                release: leaves.then_some(vacate),
                ..Ownership::default()
            };
            let entry = GroupEntry {
                config: Some(item(GroupConfig { resources, ..GroupConfig::default() })),
                target: item(Target::Online),
                ownership: item(ownership),
                report: None,
                failures: item(Failures::default()),
                facts: BTreeMap::new(),
            };
            state.groups.insert(name.into(), entry);
        }
        state
    }

    /// What a monitor with this target concerns on a server: `group: resources; …`.
    fn concerned(target: RecoveryTarget, server: &str) -> String {
        let monitor = MonitorConfig {
            comment: String::new(),
            kind: MonitorKind::Pid,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(60),
            retries: 0,
            start_delay: Duration::ZERO,
            timing: MonitorTiming::Always,
            target: None,
            nice: 0,
            servers: Vec::new(),
            recovery: RecoveryConfig { target, restarts: 0, failovers: 0, last: FinalAction::None },
        };
        let units = concerns(&state(), &monitor, &server.into()).into_iter().map(|(group, resources)| {
            let resources: String = resources.iter().map(|resource| format!(" {resource}")).collect();
            format!("{group}:{resources}")
        });
        units.collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn a_resource_is_mended_where_it_is_and_only_it() {
        assert_eq!(concerned(RecoveryTarget::Resource("db".into()), "kiki"), "db#1: db; web: db");
        assert_eq!(concerned(RecoveryTarget::Resource("other".into()), "kiki"), "");
    }

    #[test]
    fn a_group_is_mended_whole_and_only_by_its_owner() {
        assert_eq!(concerned(RecoveryTarget::Group("web".into()), "kiki"), "web: db ip");
        assert_eq!(concerned(RecoveryTarget::Group("web".into()), "lala"), "");
        assert_eq!(concerned(RecoveryTarget::Group("old".into()), "kiki"), "");
    }

    #[test]
    fn the_cluster_is_every_unit_on_the_server_that_found_it() {
        assert_eq!(concerned(RecoveryTarget::Cluster, "kiki"), "db#1: db; web: db ip");
        assert_eq!(concerned(RecoveryTarget::Cluster, "lala"), "mail: post");
        assert_eq!(concerned(RecoveryTarget::Cluster, "mimi"), "");
    }
}
