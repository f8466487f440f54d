//! Who votes: all servers up to two, then an odd number, five at most (R20).

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::RaftId;

/// Voters at most.
const MOST: usize = 5;

/// Chooses the voters among the servers that are `ready`, by server number. Those that vote now
/// stay, so that no vote moves without need.
#[must_use]
pub fn choose(ready: &BTreeMap<u32, RaftId>, voting: &BTreeSet<RaftId>) -> BTreeSet<RaftId> {
    let count = match ready.len() {
        0..=2 => ready.len(),
        n if n >= MOST => MOST,
        n => n - (n + 1) % 2, // 3 of 3 and 3 of 4
    };
    let (stay, come): (Vec<RaftId>, Vec<RaftId>) = ready.values().partition(|id| voting.contains(id));
    stay.into_iter().chain(come).take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(ready: u64, voting: &[u64]) -> Vec<u64> {
        let ready = (1..=ready).map(|n| (u32::try_from(n).unwrap_or(0), RaftId(n))).collect();
        choose(&ready, &voting.iter().map(|n| RaftId(*n)).collect()).into_iter().map(|id| id.0).collect()
    }

    #[test]
    fn r20_one_two_or_an_odd_number_votes() {
        assert_eq!(chosen(1, &[1]), [1]);
        assert_eq!(chosen(2, &[1]), [1, 2]);
        assert_eq!(chosen(3, &[1, 2]), [1, 2, 3]);
        assert_eq!(chosen(4, &[1, 2, 3]), [1, 2, 3]);
        assert_eq!(chosen(5, &[1, 2, 3]), [1, 2, 3, 4, 5]);
        assert_eq!(chosen(32, &[28, 29, 30, 31, 32]), [28, 29, 30, 31, 32], "no vote moves without need");
    }
}
