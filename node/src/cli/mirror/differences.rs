//! What differs between copies, as text.

use super::bytes;
use crate::app::mirrors::Difference;

/// So many files are named; JSON has more.
const FILES: usize = 100;

/// A paragraph for each side.
pub(super) fn text(parts: &[Difference]) -> String {
    if parts.is_empty() {
        return "no copy is known to have what another one lacks".to_owned();
    }
    parts.iter().map(one).collect::<Vec<_>>().join("\n")
}

fn one(part: &Difference) -> String {
    let Some(lacks) = &part.lacks else { return format!("{}: {}", part.server, part.note) };
    let places = if part.places_in_all == 1 { "place" } else { "places" };
    let mut text = format!(
        "{} has {} in {} {places} that {lacks} may lack",
        part.server,
        bytes(part.bytes),
        part.places_in_all,
    );
    if !part.filesystem.is_empty() {
        let count = part.files.len();
        let files = if count == 1 { "file" } else { "files" };
        text += &format!("\n  {count} {files} ({})", part.filesystem);
        for file in part.files.iter().take(FILES) {
            text += &format!("\n    {file}");
        }
        if count > FILES {
            text += &format!("\n    and {} more: --json names them", count - FILES);
        }
    }
    if !part.note.is_empty() {
        text += &format!("\n  {}", part.note);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_says_what_only_it_has() {
        let kiki = Difference {
            server: "kiki".into(),
            lacks: Some("lala".into()),
            bytes: 8192,
            places: vec![(0, 8192)],
            places_in_all: 1,
            filesystem: "ext4".into(),
            files: vec!["/a".into()],
            note: String::new(),
        };
        let lala = Difference::unknown("lala".into(), "it is off".into());
        assert_eq!(
            text(&[kiki, lala]),
            "kiki has 8.0 KiB in 1 place that lala may lack\n  1 file (ext4)\n    /a\nlala: it is off"
        );
        assert!(text(&[]).contains("no copy"));
    }
}
