//! What is said of a quorum's loss in two places, and has to fit: by the group, and by its resources.

use tasuki_core::config::{ClusterConfig, QuorumLoss};

use crate::{
    draft::{GroupDraft, KindDraft, label},
    problem::{Code, Problem},
    source::Reading,
};

pub(super) fn read_only(reading: &Reading, group: &GroupDraft) -> Vec<Problem> {
    let policy = group.on_quorum_loss.as_ref();
    let reads_on = policy.is_some_and(|policy| *policy.get_ref() == QuorumLoss::ReadOnly);
    let marked = group
        .resources
        .iter()
        .filter(|resource| matches!(&resource.kind, Some(KindDraft::Exec(exec)) if exec.config.read_only));
    let marked: Vec<_> = marked.collect();
    if reads_on && marked.is_empty() {
        let Some(policy) = policy else { return Vec::new() };
        let message = format!("nothing of {} goes on without a lease: no resource only reads", group.label());
        return vec![
            reading
                .problem(Code::ReadOnlyMismatch, &policy.span(), message)
                .found("on_quorum_loss = \"read_only\", and nothing marked `read_only`")
                .expected("`read_only = true` on what only reads")
                .remedy("mark it, or take `on_quorum_loss` out: the group is stopped in any case"),
        ];
    }
    let stopped = marked.into_iter().filter(|_| !reads_on);
    let warning = |name: &crate::draft::Name| {
        let message = format!(
            "{} only reads, but is stopped with its group {} when the lease ends",
            label(Some(name)),
            group.label()
        );
        reading
            .problem(Code::ReadOnlyMismatch, &name.span(), message)
            .found("`read_only = true` in a group that does not go on read-only")
            .expected("on_quorum_loss = \"read_only\" on the group")
            .remedy("set it, or take `read_only` out")
    };
    stopped.filter_map(|resource| resource.name.as_ref()).map(warning).collect()
}

/// Groups that are to be frozen, on a machine that cannot do it: they are stopped there instead.
#[must_use]
pub fn freezer_warning(config: &ClusterConfig, can_freeze: bool) -> Option<Problem> {
    let frozen = config.groups.iter().filter(|(_, group)| group.on_quorum_loss == QuorumLoss::Freeze);
    let names: Vec<String> = frozen.map(|(name, _)| format!("`{name}`")).collect();
    if can_freeze || names.is_empty() {
        return None;
    }
    let message = format!("this machine cannot freeze {}: stopped instead", names.join(", "));
    Some(
        Problem::nowhere(Code::CannotFreeze, "", message)
            .found("no freezer of control groups (version 2)")
            .expected("Linux 5.2 or newer with the unified hierarchy mounted")
            .remedy("mount cgroup2 (systemd.unified_cgroup_hierarchy=1), or set on_quorum_loss = \"stop\""),
    )
}
