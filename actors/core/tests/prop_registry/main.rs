//! What must hold for any sequence of commands, sensible or not.

#![allow(clippy::unwrap_used)]

mod script;
mod wishes;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tasuki_core::{
    config::{Exclusive, Startup},
    ids::{Epoch, GroupName, MonitorName, PoolName, ServerName},
    placement::pools::pool_of,
    registry::{
        Command, Key, Reply,
        state::{ClusterMode, FAILURES_LIMIT, GroupEntry, MonitorState, ResourceState},
    },
};

use script::{RESOURCES, SERVERS, objects, play, steps};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn apply_is_deterministic(steps in steps()) {
        let mut replies = Vec::new();
        let one = play(&steps, |_, proposal, reply, _| replies.push((proposal.clone(), reply.clone())));
        let mut again = replies.iter();
        let two = play(&steps, |_, proposal, reply, _| {
            assert_eq!(again.next(), Some(&(proposal.clone(), reply.clone())));
        });
        prop_assert_eq!(one, two);
    }

    #[test]
    fn a_refusal_changes_nothing_and_a_change_has_the_next_revision(steps in steps()) {
        play(&steps, |before, proposal, reply, after| match reply {
            Reply::Refused(_) => assert_eq!(before, after, "{proposal:?}"),
            Reply::Applied { revision, .. } => {
                assert_eq!(*revision, before.revision.next());
                assert_eq!(after.revision, *revision);
                assert_eq!(after.history.back().map(|change| change.revision), Some(*revision));
            }
        });
    }

    #[test]
    fn what_was_read_has_not_moved(steps in steps()) {
        play(&steps, |before, proposal, reply, _| {
            let moved = proposal.read.iter().any(|(key, then)| before.revision_of(key) != *then);
            assert!(!(moved && matches!(reply, Reply::Applied { .. })), "R12: {proposal:?}");
        });
    }

    /// R13, and the epochs of a name for as long as the registry lives.
    #[test]
    fn never_two_owners_in_one_epoch_and_epochs_never_decrease(steps in steps()) {
        let mut owners: BTreeMap<(GroupName, Epoch), ServerName> = BTreeMap::new();
        let mut epochs: BTreeMap<GroupName, Epoch> = BTreeMap::new();
        play(&steps, |_, proposal, _, after| {
            for (name, group) in &after.groups {
                let ownership = &group.ownership.value;
                let last = epochs.entry(name.clone()).or_default();
                assert!(ownership.epoch >= *last, "{name} went back to {}: {proposal:?}", ownership.epoch);
                *last = ownership.epoch;
                let Some(owner) = &ownership.owner else { continue };
                let first = owners.entry((name.clone(), ownership.epoch)).or_insert_with(|| owner.clone());
                assert_eq!(first, owner, "{name}, epoch {}: {proposal:?}", ownership.epoch);
            }
        });
    }

    #[test]
    fn an_owner_changes_only_through_nobody_and_only_by_leave_of_r13(steps in steps()) {
        play(&steps, |before, proposal, _, after| {
            for (name, group) in &before.groups {
                let Some(owner) = &group.ownership.value.owner else { continue };
                let now = after.groups.get(name).and_then(|g| g.ownership.value.owner.as_ref());
                if now == Some(owner) {
                    continue;
                }
                assert_eq!(now, None, "{name} went from {owner} to another: {proposal:?}");
                let proof = match &proposal.command {
                    Command::Released { group, server, epoch } => {
                        group == name && server == owner && *epoch == before.groups[name].ownership.value.epoch
                    }
                    Command::ServerGone { server, incarnation } | Command::ServerStopped { server, incarnation } => {
                        server == owner && before.presence(server).is_some_and(|p| p.incarnation == *incarnation)
                    }
                    Command::ServerStarted { server, boot, .. } => {
                        server == owner && before.presence(server).is_some_and(|p| p.boot.as_ref() != Some(boot))
                    }
                    _ => false,
                };
                assert!(proof, "{name} lost {owner} without proof: {proposal:?}");
            }
        });
    }

    #[test]
    fn an_owner_is_a_server_that_is_up(steps in steps()) {
        play(&steps, |_, proposal, _, after| {
            for (name, group) in &after.groups {
                if let Some(owner) = &group.ownership.value.owner {
                    assert!(after.presence(owner).is_some_and(|p| p.up), "{name} on {owner}: {proposal:?}");
                } else {
                    assert!(group.config.is_some(), "{name} is configured no more and owned by nobody");
                }
            }
        });
    }

    #[test]
    fn a_revision_moves_if_and_only_if_its_object_changed(steps in steps()) {
        play(&steps, |before, proposal, reply, after| {
            let (then, now) = (objects(before), objects(after));
            let touched: BTreeSet<&Key> = match reply {
                Reply::Applied { .. } => after.history.back().unwrap().keys.iter().collect(),
                Reply::Refused(_) => BTreeSet::new(),
            };
            for (key, (revision, value)) in &now {
                let old = then.get(key);
                let changed = old.is_none_or(|(_, old)| old != value);
                let moved = old.is_none_or(|(old, _)| old != revision);
                assert_eq!(changed, moved, "{key}: {proposal:?}");
                if changed {
                    assert_eq!(*revision, after.revision, "{key}");
                    assert!(touched.contains(key), "{key} is not in the history: {proposal:?}");
                }
            }
            for key in touched {
                let changed = then.get(key) != now.get(key);
                assert!(changed, "{key} is in the history unchanged: {proposal:?}");
            }
        });
    }

    /// R35: a configuration changes wishes; of the facts it may only ask for a release.
    #[test]
    fn a_configuration_changes_no_fact(steps in steps()) {
        play(&steps, |before, proposal, _, after| {
            let Command::SetConfig { .. } = proposal.command else { return };
            for (name, server) in &before.servers {
                let now = after.servers.get(name).and_then(|s| s.presence.clone());
                assert_eq!(server.presence, now, "{name}");
            }
            assert_eq!((&before.tokens, before.last_raft_id), (&after.tokens, after.last_raft_id));
            assert_eq!((&before.mode, &before.lineage), (&after.mode, &after.lineage));
            assert_eq!(before.pool_members, after.pool_members);
            for (name, monitor) in &before.monitors {
                let same = after.monitors.get(name).filter(|now| now.config == monitor.config);
                assert!(same.is_none_or(|now| now.reports == monitor.reports), "{name}");
            }
            for (name, group) in &before.groups {
                let owned = group.ownership.value.owner.is_some();
                let Some(now) = after.groups.get(name) else {
                    assert!(!owned, "{name} was forgotten while it ran");
                    continue;
                };
                assert_eq!((&group.report, &group.failures), (&now.report, &now.failures), "{name}");
                assert_eq!(group.facts, now.facts, "{name}");
                let (then, now) = (&group.ownership.value, &now.ownership.value);
                assert_eq!((&then.owner, then.epoch), (&now.owner, now.epoch), "{name}");
            }
        });
    }

    /// The registry always knows the configuration that is in force, and only that changes it.
    #[test]
    fn the_last_version_is_the_configuration_in_force(steps in steps()) {
        play(&steps, |before, proposal, _, after| {
            let version = after.version(after.revision).expect("at least the first");
            assert_eq!(Some(&version.config), after.config().as_ref(), "{proposal:?}");
            let changed = before.config() != after.config();
            assert_eq!(before.versions.back() != after.versions.back(), changed, "{proposal:?}");
        });
    }

    /// What is remembered of a resource says whether it is up, as its owner said it last.
    #[test]
    fn facts_say_what_the_owner_said_last(steps in steps()) {
        play(&steps, |before, proposal, _, after| {
            for (name, group) in &after.groups {
                let ownership = &group.ownership.value;
                let report = group.report.as_ref().map(|item| &item.value);
                let report = report.filter(|r| ownership.owner.is_some() && r.epoch == ownership.epoch);
                for resource in RESOURCES {
                    let facts = group.facts.get(&resource.into()).map(|item| item.value.clone());
                    let facts = facts.unwrap_or_default();
                    let up = facts.rose > facts.fell;
                    let said = report.and_then(|report| report.resources.get(&resource.into()));
                    match said.map(|said| said.state) {
                        Some(ResourceState::Online) => assert!(up && facts.rose > facts.left_online),
                        Some(ResourceState::Intermediate) => assert!(up),
                        Some(ResourceState::Unknown) => {}
                        _ => assert!(!up, "{name} {resource}: {facts:?} {proposal:?}"),
                    }
                    let was = before.groups.get(name).and_then(|g| g.facts.get(&resource.into()));
                    let was = was.map(|item| item.value.clone()).unwrap_or_default();
                    let started = facts.starts - was.starts;
                    let report = matches!(&proposal.command, Command::Report { group, .. } if group == name);
                    assert!(started == 0 || (started == 1 && report && was.rose <= was.fell));
                    assert_eq!(started == 1, facts.last_restart != was.last_restart || facts.starts != was.starts);
                }
            }
        });
    }

    /// Whatever a leader decided, a group is where its configuration of that moment allows it.
    #[test]
    fn nothing_is_assigned_where_it_may_not_be(steps in steps()) {
        play(&steps, |before, proposal, reply, after| {
            let (Command::Assign { group, server, .. }, Reply::Applied { .. }) = (&proposal.command, reply) else {
                return;
            };
            let config = &before.groups[group].config.as_ref().expect("configured").value;
            assert!(config.enabled && config.servers.contains(server), "{proposal:?}");
            let local = config.instance.as_ref().is_some_and(|instance| instance.local);
            let pool = pool_of(before, server);
            assert!(local || config.pools.is_empty() || config.pools.contains(&pool), "{proposal:?}");
            let exclusive = |entry: &GroupEntry| {
                entry.config.as_ref().map_or(Exclusive::No, |config| config.value.exclusive)
            };
            let there: Vec<Exclusive> =
                after.owned_by(server).map(|(_, entry)| exclusive(entry)).filter(|e| *e != Exclusive::No).collect();
            let mine = config.exclusive;
            assert!(mine == Exclusive::No || there.len() == 1 || !there.contains(&Exclusive::Complete));
        });
    }

    #[test]
    fn pools_have_no_more_and_no_others_than_they_may(steps in steps()) {
        play(&steps, |before, proposal, reply, after| {
            if before.pool_members == after.pool_members {
                return;
            }
            assert!(matches!((&proposal.command, reply), (Command::FillPools { .. }, Reply::Applied { .. })));
            let members = &after.pool_members.as_ref().expect("filled").value;
            let mut sizes: BTreeMap<&PoolName, u32> = BTreeMap::new();
            for (server, name) in members.iter().filter(|(_, pool)| pool.as_str() != "Generic") {
                let pool = &after.pools[name].value;
                assert!(pool.servers.is_empty() || pool.servers.contains(server), "{proposal:?}");
                let size = sizes.entry(name).or_default();
                *size += 1;
                assert!(pool.max.is_none_or(|max| *size <= max), "{proposal:?}");
            }
        });
    }

    /// AUTO_START touches neither what runs nor what is disabled, and only servers' starts do.
    #[test]
    fn a_start_wants_only_what_is_idle_and_enabled(steps in steps()) {
        play(&steps, |before, proposal, _, after| {
            for (name, group) in &before.groups {
                let Some(now) = after.groups.get(name) else { continue };
                if now.target.value == group.target.value {
                    continue;
                }
                let config = now.config.as_ref().map(|config| &config.value);
                let by_name = matches!(&proposal.command,
                    Command::StartGroup { group, .. } | Command::StopGroup { group, .. } if group == name);
                let by_start = matches!(&proposal.command, Command::ServerStarted { .. }
                    | Command::ServerStopped { .. } | Command::ServerGone { .. });
                let pushed = matches!(&proposal.command, Command::SetConfig { .. });
                assert!(by_name || by_start || pushed, "{name}: {proposal:?}");
                if by_start {
                    let config = config.expect("configured");
                    assert!(config.enabled && now.ownership.value.owner.is_none(), "{name}: {proposal:?}");
                    assert!(config.startup != Startup::Restore, "{name}: {proposal:?}");
                }
            }
        });
    }

    /// Nobody finds anything on a server that is down, and no history grows without end.
    #[test]
    fn findings_are_of_servers_that_are_up_and_histories_end(steps in steps()) {
        play(&steps, |_, proposal, _, after| {
            let watch = after.monitors.get(&MonitorName::from("watch"));
            for (server, report) in watch.into_iter().flat_map(|watch| &watch.reports) {
                let up = after.presence(server).is_some_and(|p| p.up);
                assert!(up || report.value.state == MonitorState::Unknown, "{server}: {proposal:?}");
            }
            for group in after.groups.values() {
                let history = &group.failures.value.history;
                assert!(history.values().all(|records| records.len() <= FAILURES_LIMIT));
            }
        });
    }

    /// Once every server has either stopped or started anew, a shut-down cluster runs again.
    #[test]
    fn a_shutdown_ends_when_nobody_of_before_is_left(steps in steps()) {
        play(&steps, |_, proposal, _, after| {
            let stopping = matches!(after.cluster_mode(), ClusterMode::Stopping(_));
            let old = SERVERS.iter().any(|name| after.stops_with_cluster(&(*name).into()).is_some());
            let up = SERVERS.iter().any(|name| after.presence(&(*name).into()).is_some_and(|p| p.up));
            assert!(!stopping || old || !up, "{proposal:?}");
        });
    }
}
