//! Monitors: that there is what they watch, and what they mend.

use tasuki_core::config::MonitorTiming;

use super::references::Known;
use crate::{
    assemble::CLUSTER,
    draft::{Draft, KindDraft, MonitorDraft, MonitorKindDraft, Name, RecoveryDraft, ResourceDraft, label},
    problem::Code,
    source::Reading,
};

pub(crate) fn check(reading: &Reading, draft: &Draft) {
    let resources = Known::new("resource", draft.resources().map(|(_, resource)| resource.name.as_ref()));
    for monitor in &draft.monitors {
        let name = label(monitor.name.as_ref());
        if let Some(target) = &monitor.target {
            resources.look_up(reading, target, &format!("monitor {name} watches"));
            if matches!(monitor.kind, Some(MonitorKindDraft::Pid)) {
                process_of(reading, draft, name, target);
            }
        }
        if let (Some(target), Some(MonitorKindDraft::Mirror | MonitorKindDraft::MirrorLink)) =
            (&monitor.target, &monitor.kind)
        {
            disk_of(reading, draft, name, target);
        }
        timing(reading, monitor);
        if let Some(recovery) = &monitor.recovery {
            recovery_target(reading, draft, name, recovery);
        }
    }
}

/// A `pid` monitor watches a process, so there must be one.
fn process_of(reading: &Reading, draft: &Draft, monitor: &str, target: &Name) {
    let word = target.get_ref().as_str();
    let named = |resource: &&ResourceDraft| resource.name.as_ref().is_some_and(|own| own.get_ref() == word);
    let Some(resource) = draft.resources().map(|(_, resource)| resource).find(named) else { return };
    let (why, remedy) = match &resource.kind {
        Some(KindDraft::Exec(exec)) if exec.config.wait => (
            "is synchronous: its start command ends, so no process of it goes on that could be watched",
            "give it `wait = false` if its start command keeps running, or use a monitor of type \"exec\"",
        ),
        Some(KindDraft::FloatingIp(_)) => {
            ("is an address, which has no process", "watch an exec resource with `wait = false`")
        }
        Some(KindDraft::MirrorDisk(_)) => (
            "is a mirrored disk, which has no process",
            "use a monitor of type \"mirror\": one comes by itself",
        ),
        _ => return,
    };
    let problem = reading
        .problem(
            Code::BadMonitor,
            &target.span(),
            format!("monitor {monitor} watches a process, but {word} {why}"),
        )
        .found(format!("`{word}`"))
        .expected("an exec resource with `wait = false`")
        .remedy(remedy);
    reading.add(problem);
}

/// A monitor of a mirrored disk watches one.
fn disk_of(reading: &Reading, draft: &Draft, monitor: &str, target: &Name) {
    let word = target.get_ref().as_str();
    let named = |resource: &&ResourceDraft| resource.name.as_ref().is_some_and(|own| own.get_ref() == word);
    let Some(resource) = draft.resources().map(|(_, resource)| resource).find(named) else { return };
    if !matches!(resource.kind, Some(KindDraft::Exec(_) | KindDraft::FloatingIp(_))) {
        return;
    }
    let problem = reading
        .problem(
            Code::BadMonitor,
            &target.span(),
            format!("monitor {monitor} watches a mirrored disk, but {word} is none"),
        )
        .found(format!("`{word}`"))
        .expected("a resource with type = \"mirror_disk\"")
        .remedy("name one, or use another type of monitor");
    reading.add(problem);
}

fn timing(reading: &Reading, monitor: &MonitorDraft) {
    let name = label(monitor.name.as_ref());
    let active = *monitor.timing.get_ref() == MonitorTiming::WhileActive;
    let (message, found, remedy) = match (&monitor.kind, &monitor.target) {
        (Some(MonitorKindDraft::Pid), _) if !active => (
            format!("monitor {name} can look only while its target runs: before that there is no process"),
            "`always` with type \"pid\"",
            "take `timing` out",
        ),
        (Some(MonitorKindDraft::Pid), _) => return, // without a target: that has been reported
        (_, None) if active => (
            format!("monitor {name} looks while its target is active, but has no target"),
            "`while_active` without `target`",
            "add target = \"…\", the name of a resource, or take `timing` out",
        ),
        _ => return,
    };
    let problem = reading
        .problem(Code::BadMonitor, &monitor.timing.span(), message)
        .found(found)
        .expected("`while_active` with a target, or `always`")
        .remedy(remedy);
    reading.add(problem);
}

fn recovery_target(reading: &Reading, draft: &Draft, monitor: &str, recovery: &RecoveryDraft) {
    let word = recovery.target.get_ref().as_str();
    let is = |name: Option<&Name>| name.is_some_and(|name| name.get_ref() == word);
    let group = draft.groups.iter().any(|group| is(group.name.as_ref()));
    let resource = draft.resources().any(|(_, resource)| is(resource.name.as_ref()));
    let meanings = usize::from(group) + usize::from(resource) + usize::from(word == CLUSTER);
    if meanings > 1 {
        let problem = reading
            .problem(
                Code::BadMonitor,
                &recovery.target.span(),
                format!("monitor {monitor} does not say which `{word}` it mends"),
            )
            .found(format!("several things that are called `{word}`"))
            .expected("a name that only one resource or group has, or `cluster`")
            .remedy("rename one of them");
        reading.add(problem);
        return;
    }
    if meanings == 0 {
        let groups = draft.groups.iter().map(|group| group.name.as_ref());
        let resources = draft.resources().map(|(_, resource)| resource.name.as_ref());
        let known = Known::new("resource or group", groups.chain(resources)).with(CLUSTER);
        known.look_up(reading, &recovery.target, &format!("monitor {monitor} mends"));
    }
}
