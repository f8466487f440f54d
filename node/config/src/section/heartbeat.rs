//! `[[heartbeat]]`: a heartbeat path between all servers; the first has the highest priority.

use std::path::{Path, PathBuf};

use toml::Spanned;

use crate::{
    draft::{HeartbeatDraft, HeartbeatKind},
    problem::Code,
    reader::Section,
};

pub(crate) const KINDS: [(&str, HeartbeatKind); 3] =
    [("lan", HeartbeatKind::Lan), ("com", HeartbeatKind::Com), ("disk", HeartbeatKind::Disk)];

/// The first serial line.
pub(crate) const DEFAULT_LINE: &str = "/dev/ttyS0";

pub(crate) fn read(section: Section<'_>) -> HeartbeatDraft {
    let span = section.span.clone();
    section.need("kind", "kind = \"lan\", \"com\" or \"disk\"");
    let kind = section.choice("kind", &KINDS).map(Spanned::into_inner);
    let mut draft = HeartbeatDraft { kind, network: None, device: None, span };
    match kind {
        Some(HeartbeatKind::Lan) => {
            section.need("network", "network = \"…\": the name of a [[network]]");
            draft.network = section.string("network");
            refuse(&section, "device", "network = \"…\"");
        }
        Some(HeartbeatKind::Com) => {
            draft.device = device(&section);
            if !section.writes("device") {
                draft.device = Some(Spanned::new(draft.span.clone(), PathBuf::from(DEFAULT_LINE)));
            }
            refuse(&section, "network", "device = \"/dev/ttyS0\"");
        }
        Some(HeartbeatKind::Disk) => {
            section.need("device", "device = \"/dev/…\": a partition, or a file, that all servers share");
            draft.device = device(&section);
            refuse(&section, "network", "device = \"/dev/sdb1\"");
        }
        None => {
            // One error is enough: the other keys depend on the kind.
            draft.network = section.string("network");
            let _ = section.get("device");
        }
    }
    section.finish();
    draft
}

/// A key that belongs to another kind of path.
fn refuse(section: &Section<'_>, key: &str, instead: &str) {
    let message = format!("a heartbeat path of this kind has no `{key}`");
    section.refuse(key, message, instead, &format!("take `{key}` out"));
}

fn device(section: &Section<'_>) -> Option<Spanned<PathBuf>> {
    let text = section.string("device")?;
    if Path::new(text.get_ref()).is_absolute() {
        return Some(Spanned::new(text.span(), PathBuf::from(text.into_inner())));
    }
    let problem = section
        .reading
        .problem(
            Code::BadValue,
            &text.span(),
            format!("{} is no place that every server finds", section.label("device")),
        )
        .found(format!("`{}`", text.get_ref()))
        .expected("a path from the root, such as \"/dev/ttyS0\"")
        .remedy("write the whole path, beginning with /");
    section.reading.add(problem);
    None
}
