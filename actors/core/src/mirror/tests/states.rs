//! What the machine does in each situation at each event: collected from all stories and from walks, and
//! kept as `docs/mirror-states.md`. `UPDATE=1` writes it anew; look at the difference before keeping it.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path};

use super::{story::table_of_stories, table::Table, walk::Walk};

/// The seeds of the walks that are looked at, with two copies and with three.
const WALKS: u64 = 40;

const HEAD: &str = "\
# What a volume's machine does, in each situation, at each event

Written by a test (`actors/core/src/mirror/tests/states.rs`) from what the mirror-state machine did in all
its stories and in eighty random walks; it fails when the machine does something else. The situations are
those of `mirror/state.rs`: of the volume on its owner, and of each peer as the owner sees it. An event that is missing in
a situation was never met there; one that changes nothing and asks for nothing is left out.

";

fn row(out: &mut String, was: &str, event: &str, after: &BTreeSet<String>, actions: &BTreeSet<String>) {
    let list = |of: &BTreeSet<String>| of.iter().cloned().collect::<Vec<_>>().join(", ");
    let after = if after.len() == 1 && after.contains(was) { "–".to_owned() } else { list(after) };
    let _ = writeln!(out, "| {was} | {event} | {after} | {} |", list(actions));
}

fn drawn(table: &Table) -> String {
    let mut out = HEAD.to_owned();
    for (who, title) in [("volume", "The volume"), ("peer", "A peer")] {
        let _ = writeln!(out, "## {title}\n");
        let last = if who == "volume" { " asks for |" } else { "" };
        let _ = writeln!(out, "| in | at | then |{last}");
        let _ = writeln!(out, "|---|---|---|{}", if last.is_empty() { "" } else { "---|" });
        for ((of, was, event), (after, actions)) in &table.rows {
            let nothing = after.len() == 1 && after.contains(was) && actions.is_empty();
            if of != who || nothing {
                continue;
            }
            if who == "volume" {
                row(&mut out, was, event, after, actions);
            } else {
                let list: Vec<&str> = after.iter().map(String::as_str).collect();
                let _ = writeln!(out, "| {was} | {event} | {} |", list.join(", "));
            }
        }
        out.push('\n');
    }
    out.trim_end().to_owned() + "\n"
}

#[test]
fn the_table_of_situations_and_events_is_what_the_machine_does() {
    let mut table = table_of_stories();
    for sides in [2, 3] {
        for seed in 0..WALKS {
            let mut walk = Walk::new(seed, sides, None);
            walk.world.table = Some(Table::default());
            walk.walk().unwrap_or_else(|why| panic!("{}", walk.told(seed, &why)));
            table.merge(walk.world.table.take().unwrap_or_default());
        }
    }
    let drawn = drawn(&table);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/mirror-states.md");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&file, &drawn).unwrap();
    }
    let written = fs::read_to_string(&file).unwrap_or_default();
    assert!(written == drawn, "{} differs; UPDATE=1 writes it anew:\n{drawn}", file.display());
}
