//! Mirrored disks as tables.

use tasuki_core::mirror::{Colour, DiskState, LinkState, Role};

use crate::{
    app::mirrors::{CopyStatus, ProgressView, VolumeStatus, remedy},
    cli::output::{Cell, Style, table},
};

/// Every copy of every disk, a line each.
#[must_use]
pub fn status(volumes: &[VolumeStatus], color: bool) -> String {
    if volumes.is_empty() {
        return "no mirrored disks are configured".to_owned();
    }
    let rows: Vec<Vec<Cell>> =
        volumes.iter().flat_map(|volume| volume.copies.iter().map(|copy| row(volume, copy))).collect();
    let heading =
        ["VOLUME", "GROUP", "SERVER", "ROLE", "DISK", "LINK", "COLOUR", "LACKS", "PROGRESS", "LEFT", "NOTE"];
    let mut text = table(&heading, &rows, color);
    for volume in volumes {
        let frozen = volume.copies.iter().find(|copy| copy.here.as_ref().is_some_and(|here| here.frozen));
        if let Some(copy) = frozen {
            text +=
                &format!("writes to {} wait on {} for what the cluster decides\n", volume.name, copy.server);
        }
        for copy in &volume.copies {
            let problem = copy.here.as_ref().map(|here| here.problem.as_str()).unwrap_or_default();
            if let Some(remedy) = remedy(problem) {
                text += &format!("{} on {}: {remedy}\n", volume.name, copy.server);
            }
        }
        if let Some(copy) = diverged(volume) {
            text += &format!(
                "TSK-1805: the copies of {} have gone apart; `tasuki mirror differences {}` says what each has, \
                 `tasuki mirror rebuild {} --discard {}` gives up what only {} has\n",
                volume.name, volume.name, volume.name, copy.server, copy.server
            );
        }
    }
    text
}

/// A copy whose data and the open one's have gone apart.
fn diverged(volume: &VolumeStatus) -> Option<&CopyStatus> {
    let is_open = |copy: &CopyStatus| copy.here.as_ref().is_some_and(|here| here.role == Role::Primary);
    volume.copies.iter().find(|copy| copy.link == LinkState::Diverged && !is_open(copy))
}

fn row(volume: &VolumeStatus, copy: &CopyStatus) -> Vec<Cell> {
    let (role, disk) = match &copy.here {
        Some(here) => (here.role.to_string(), Cell::new(here.disk.to_string(), style_of(here.disk))),
        None => (String::new(), Cell::new("?", Style::Warn)),
    };
    let note = match &copy.here {
        Some(here) if !here.problem.is_empty() => here.problem.clone(),
        _ => copy.silent.clone(),
    };
    vec![
        volume.name.as_str().into(),
        volume.group.as_str().into(),
        copy.server.as_str().into(),
        role.into(),
        disk,
        if copy.here.is_some() { copy.link.to_string() } else { String::new() }.into(),
        colour(copy.colour),
        copy.dirty.filter(|dirty| *dirty > 0).map(bytes).unwrap_or_default().into(),
        copy.progress.as_ref().map(percent).unwrap_or_default().into(),
        copy.progress.as_ref().and_then(left).unwrap_or_default().into(),
        note.into(),
    ]
}

fn style_of(disk: DiskState) -> Style {
    match disk {
        DiskState::UpToDate => Style::Good,
        DiskState::Consistent | DiskState::Inconsistent => Style::Warn,
        DiskState::Diskless | DiskState::Failed | DiskState::Outdated => Style::Bad,
    }
}

fn colour(colour: Colour) -> Cell {
    let style = match colour {
        Colour::Green => Style::Good,
        Colour::Yellow => Style::Warn,
        Colour::Red => Style::Bad,
        Colour::Grey => Style::Plain,
    };
    Cell::new(colour.to_string(), style)
}

/// One disk, with everything that is known of it.
#[must_use]
pub fn detail(volume: &VolumeStatus, color: bool) -> String {
    let mut text = String::new();
    let mut line = |key: &str, value: String| {
        if !value.is_empty() {
            text += &format!("{key:<12} {value}\n");
        }
    };
    line("volume", volume.name.to_string());
    line("group", volume.group.to_string());
    line("size", if volume.size == 0 { "never opened yet".to_owned() } else { bytes(volume.size) });
    line("open on", volume.owner.as_ref().map_or_else(|| "no server".to_owned(), ToString::to_string));
    line("epoch", format!("{}, generation {} of its data", volume.epoch.0, volume.generation.0));
    let good: Vec<&str> = volume.good.iter().map(|server| server.as_str()).collect();
    line("good copies", if good.is_empty() { "none yet".to_owned() } else { good.join(", ") });
    if let Some(forced) = &volume.forced {
        let instead: Vec<&str> = forced.instead_of.iter().map(|server| server.as_str()).collect();
        line(
            "forced",
            format!("from the copy on {} at {}, instead of {}", forced.server, forced.at, instead.join(", ")),
        );
    }
    if let Some(copy) = diverged(volume) {
        line(
            "diverged",
            format!(
                "TSK-1805: the copy on {} and the open one each have data that the other lacks; `tasuki mirror \
                 differences {}` says what",
                copy.server, volume.name
            ),
        );
    }
    for copy in &volume.copies {
        text += &format!("\n{}\n", Style::Bold.paint(copy.server.as_str(), color));
        text += &copy_detail(copy, color);
    }
    text
}

fn copy_detail(copy: &CopyStatus, color: bool) -> String {
    let mut text = String::new();
    let mut line = |key: &str, value: String| {
        if !value.is_empty() {
            text += &format!("  {key:<12} {value}\n");
        }
    };
    line("data", copy.data.display().to_string());
    line("metadata", copy.metadata.display().to_string());
    line("silent", copy.silent.clone());
    line("lacks", copy.dirty.filter(|dirty| *dirty > 0).map(bytes).unwrap_or_default());
    line("progress", copy.progress.as_ref().map(progress).unwrap_or_default());
    let Some(here) = &copy.here else { return text };
    line("role", here.role.to_string());
    line("disk", style_of(here.disk).paint(&here.disk.to_string(), color));
    line("link", format!("{} ({})", copy.link, copy.colour));
    line("problem", here.problem.clone());
    line("remedy", remedy(&here.problem).unwrap_or_default().to_owned());
    line("size", if here.size == 0 { String::new() } else { bytes(here.size) });
    line("epoch", format!("{}, generation {}", here.epoch.0, here.generation.0));
    line("device", here.device.as_ref().map(|path| path.display().to_string()).unwrap_or_default());
    line("export", here.export.as_ref().map(|path| path.display().to_string()).unwrap_or_default());
    if here.role == Role::Primary {
        let counters = &here.counters;
        line(
            "writes",
            format!(
                "{} ({}), {} under way",
                counters.writes,
                bytes(counters.written_bytes),
                bytes(counters.in_flight)
            ),
        );
        line("reads", format!("{} ({})", counters.reads, bytes(counters.read_bytes)));
        line("flushes", counters.flushes.to_string());
        line(
            "frozen",
            if here.frozen { "writes wait for what the cluster decides".to_owned() } else { String::new() },
        );
    }
    for peer in &here.peers {
        line("peer", format!("{}: {}, lacks {}", peer.server, peer.link, bytes(peer.dirty)));
    }
    if let Some(verified) = &here.verified {
        line("verified", verdict(verified));
    }
    text
}

/// What a check found, in a sentence.
#[must_use]
pub(super) fn verdict(verified: &crate::app::mirrors::Verified) -> String {
    let against = verified.server.as_ref().map_or_else(String::new, |server| format!(" with {server}"));
    let compared = bytes(verified.compared);
    let differs: u64 = verified.different.iter().map(|(_, length)| length).sum();
    let mut text = match differs {
        0 => format!("{compared} compared{against}: no difference"),
        _ => format!(
            "{compared} compared{against}: {} differ, in {} places",
            bytes(differs),
            verified.different.len()
        ),
    };
    if verified.repaired && differs > 0 {
        text += ", marked to be copied";
    }
    if !verified.problem.is_empty() {
        text += &format!("; ended early: {}", verified.problem);
    }
    text
}

/// A number of bytes in a unit that people read.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // Tenths, without floating point: no size is rounded up to the next unit.
    let mut tenths = u128::from(bytes) * 10;
    let mut unit = "B";
    for next in units {
        if tenths < 10_240 {
            break;
        }
        (tenths, unit) = (tenths / 1024, next);
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

fn percent(progress: &ProgressView) -> String {
    let done = u128::from(progress.done) * 100;
    format!("{} %", done.checked_div(u128::from(progress.total)).unwrap_or(100))
}

fn left(progress: &ProgressView) -> Option<String> {
    let seconds = progress.remaining_ms?.div_ceil(1000);
    Some(match seconds {
        0..=99 => format!("{seconds} s"),
        100..=5999 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    })
}

/// How far it is, with a bar.
#[must_use]
pub(super) fn progress(progress: &ProgressView) -> String {
    let parts = u128::from(progress.done) * 20;
    let parts =
        usize::try_from(parts.checked_div(u128::from(progress.total)).unwrap_or(20)).unwrap_or(20).min(20);
    let bar = format!("[{}{}]", "#".repeat(parts), ".".repeat(20 - parts));
    let left = left(progress).map(|left| format!(", {left} left")).unwrap_or_default();
    format!(
        "{bar} {}, {} of {}, {} a second{left}",
        percent(progress),
        bytes(progress.done),
        bytes(progress.total),
        bytes(progress.rate)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_times_and_bars_are_short() {
        for (number, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1024 * 1024 - 1, "1023.9 KiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16383.9 PiB"),
        ] {
            assert_eq!(bytes(number), text);
        }
        let half = ProgressView { total: 200, done: 100, sent: 50, rate: 10, remaining_ms: Some(10_001) };
        assert_eq!(progress(&half), "[##########..........] 50 %, 100 B of 200 B, 10 B a second, 11 s left");
        let none = ProgressView::default();
        assert_eq!(progress(&none), "[####################] 100 %, 0 B of 0 B, 0 B a second");
        assert_eq!(
            left(&ProgressView { remaining_ms: Some(7_260_000), ..none }).as_deref(),
            Some("2 h 1 min")
        );
    }
}
