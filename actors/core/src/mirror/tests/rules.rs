//! Each rule taken out: the walks notice, all within the same number of walks. Three are not here, because
//! so few walks meet what they are for: a region that leaves the log early (R29), bits that are cleared
//! early, and a source that is not flushed (R30). Every rule has its story besides (`stories/`), and those
//! three are noticed by that alone.

use super::{Lapse, noticed, settings::Gap};

/// The walks that it may take at most.
const WALKS: u64 = 600;

fn is_noticed(rule: &str, lapse: Option<Lapse>, gap: Option<Gap>, sides: usize) {
    match noticed(lapse, gap, sides, WALKS) {
        Some((seed, why)) => {
            println!("{rule}: noticed in walk {seed}: {}", why.lines().next().unwrap_or_default());
        }
        None => panic!("{rule}: taken out, and {WALKS} walks noticed nothing"),
    }
}

macro_rules! rule {
    ($name:ident, $rule:literal, lapse $lapse:ident, $sides:literal) => {
        #[test]
        fn $name() {
            is_noticed($rule, Some(Lapse::$lapse), None, $sides);
        }
    };
    ($name:ident, $rule:literal, gap $gap:ident, $sides:literal) => {
        #[test]
        fn $name() {
            is_noticed($rule, None, Some(Gap::$gap), $sides);
        }
    };
}

rule!(t2_a_copy_that_is_not_good_is_not_opened, "T2", lapse AnyCopy, 2);
rule!(r25_a_command_names_the_facts_that_it_read, "R25 revision", lapse OlderFacts, 2);
rule!(r25_the_good_copies_are_never_none, "R25 never none", lapse NoneGood, 2);
rule!(r25_only_the_owner_of_the_epoch_speaks, "R25 epoch", lapse AnyEpoch, 2);
rule!(r26_up_to_date_counts_from_the_proposal_on, "R26 as if committed", lapse NotAsIfCommitted, 2);
rule!(r26_every_write_waits_before_up_to_date_is_proposed, "R26 required first", lapse NotYetRequired, 2);
rule!(r26_going_on_alone_waits_for_the_commit, "R26 outcome", lapse AloneAtOnce, 2);
rule!(r27_losing_the_own_disk_is_committed, "R27 commit", lapse OwnDiskKeptGood, 2);
rule!(r27_the_peer_records_what_a_primary_lacks, "R27 record", gap NotRecorded, 2);
rule!(r28_a_peer_that_was_not_met_is_out_before_the_first_read, "R28", lapse PeerStaysGood, 2);
rule!(r29_the_log_names_a_write_before_it_is_sent, "R29 log first", gap SentBeforeLog, 2);
rule!(r29_what_was_not_flushed_joins_the_map, "R29 unflushed", gap UnflushedForgotten, 2);
rule!(r29_what_the_log_of_a_crash_names_is_copied, "R29 crash", gap LogForgotten, 2);
rule!(r30_both_sides_maps_are_copied, "R30 union", gap NoUnion, 2);
rule!(r30_the_target_is_out_before_the_first_block, "R30 target", lapse TargetStaysGood, 2);
rule!(r30_a_block_and_a_write_exclude_each_other, "R30 exclusion", gap NoExclusion, 2);
rule!(r31_older_frames_are_refused, "R31", gap OlderFrames, 2);
rule!(r32_a_flush_waits_for_both_legs, "R32", gap FlushAlone, 2);
rule!(r30_with_three_copies_what_nobody_recorded_is_compared, "R30 compare", lapse NotCompared, 3);
