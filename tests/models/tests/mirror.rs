//! A mirrored volume, every state within the printed bounds: no answered write is lost, none comes
//! back after a read that did not see it, and good copies in step are equal. Without any one of the
//! rules something is broken. `just model` goes further.

use tasuki_models::{
    mirror::{Bounds, Mirror, Rules, Step},
    walk::{Walk, walk},
};

/// One extent, two writes, one of each fault.
const ONE: Bounds =
    Bounds { extents: 1, writes: 2, crashes: 1, cuts: 1, promotions: 1, disks: 0, thaw: false };
/// Two of each fault.
const MORE: Bounds = Bounds { crashes: 2, cuts: 2, promotions: 2, ..ONE };

const MOST: usize = 60_000_000;

fn look(name: &str, rules: Rules, bounds: Bounds) -> Walk<Step> {
    println!("{bounds:?}");
    walk(name, Mirror { rules, bounds }, MOST)
}

fn holds(name: &str, bounds: Bounds) {
    let walk = look(name, Rules::ALL, bounds);
    assert_eq!(walk.broken, None, "{name}");
    assert!(walk.complete, "{name}: more states than {MOST}");
    assert!(walk.never.is_empty(), "{name}: never {:?}", walk.never);
}

fn missed(name: &str, rules: Rules, bounds: Bounds) {
    assert_ne!(rules, Rules::ALL, "{name} is in");
    assert!(look(name, rules, bounds).broken.is_some(), "nobody misses {name}");
}

#[test]
fn one_extent() {
    holds("one extent", MORE);
    holds("one extent, a frozen old primary", Bounds { thaw: true, ..ONE });
    holds("one extent, a disk that fails", Bounds { disks: 1, ..ONE });
}

#[test]
fn two_extents() {
    holds("two extents", Bounds { extents: 2, ..ONE });
}

#[test]
fn without_a_rule_the_mirror_loses_or_brings_back() {
    let all = Rules::ALL;
    missed("R25, naming the revision", Rules { r25_names_the_revision: false, ..all }, MORE);
    let never_empty = Rules { r25_never_empty: false, ..all };
    missed("R25, never empty", never_empty, Bounds { disks: 1, ..MORE });
    missed("R26, acting as if committed", Rules { r26_acts_as_if_committed: false, ..all }, MORE);
    let waits = Rules { r26_waits_for_the_outcome: false, ..all };
    missed("R26, waiting for the outcome", waits, MORE);
    let disk = Bounds { disks: 1, ..ONE };
    missed("R27, committing", Rules { r27_own_disk_committed: false, ..all }, disk);
    missed("R27, recording", Rules { r27_recorded_by_the_peer: false, ..all }, disk);
    missed("R28", Rules { r28_peer_out_first: false, ..all }, MORE);
    missed("R29", Rules { r29_log_first: false, ..all }, MORE);
    missed("R30, both sides' maps", Rules { r30_union: false, ..all }, MORE);
    missed("R30, the target out first", Rules { r30_target_out: false, ..all }, MORE);
    missed("R31", Rules { r31_older_frames: false, ..all }, Bounds { thaw: true, ..ONE });
}

#[test]
#[ignore = "minutes and gigabytes: just model"]
fn further() {
    for (name, bounds) in [
        ("one extent, three writes", Bounds { writes: 3, ..MORE }),
        ("one extent, everything", Bounds { disks: 1, thaw: true, ..MORE }),
        ("two extents, two of each", Bounds { extents: 2, ..MORE }),
    ] {
        let walk = look(name, Rules::ALL, bounds);
        assert_eq!(walk.broken, None, "{name}");
    }
}
