use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// `A1 A2 B1 -C1 ~D1`: domain and number, `-` for down, `~` for one that may not vote; `*` for one
/// that votes now. Raft ids are counted from 1, in order; numbers too.
fn picture(text: &str) -> (Vec<Candidate>, BTreeSet<RaftId>) {
    let mut voting = BTreeSet::new();
    let candidates = text
        .split_whitespace()
        .zip(1..)
        .map(|(word, number)| {
            let raft_id = RaftId(u64::from(number));
            if word.contains('*') {
                voting.insert(raft_id);
            }
            let name = word.trim_start_matches(['-', '~', '*']);
            Candidate {
                number,
                raft_id,
                domain: (name != ".").then(|| name.to_owned()),
                up: !word.contains('-'),
                may_vote: !word.contains('~'),
            }
        })
        .collect();
    (candidates, voting)
}

fn chosen(text: &str) -> Vec<u64> {
    let (candidates, voting) = picture(text);
    choose(&candidates, &voting).into_iter().map(|id| id.0).collect()
}

#[test]
fn r20_one_two_or_an_odd_number_votes() {
    assert_eq!(chosen("*."), [1]);
    assert_eq!(chosen("*. ."), [1, 2]);
    assert_eq!(chosen("*. *. ."), [1, 2, 3]);
    assert_eq!(chosen("*. *. *. ."), [1, 2, 3]);
    assert_eq!(chosen("*. *. *. . ."), [1, 2, 3, 4, 5]);
    assert_eq!(chosen(". . *. *. *. *. *."), [3, 4, 5, 6, 7], "no vote moves without need");
}

#[test]
fn a_dead_voter_gives_its_vote_to_a_live_learner() {
    assert_eq!(chosen("*. *. -*. ."), [1, 2, 4]);
    assert_eq!(chosen("*. *. . *."), [1, 2, 4], "and does not get it back for nothing");
    assert_eq!(chosen("*. *. -*."), [1, 2, 3], "without a learner it keeps it");
    assert_eq!(chosen("*. *. -*. -."), [1, 2, 3], "nobody who is down gets one");
    assert_eq!(chosen("*. *. -*. ~."), [1, 2, 3], "nor who may not vote");
    assert_eq!(chosen("*. *. *. -*. -*. ."), [1, 2, 3, 4, 6]);
}

#[test]
fn votes_are_spread_over_domains() {
    assert_eq!(chosen("*a *a *a b c"), [1, 2, 3, 4, 5]);
    assert_eq!(chosen("*a *a *b c"), [1, 3, 4], "no domain has two of three");
    assert_eq!(chosen("*a *b *c a b c"), [1, 2, 3, 4, 5]);
    assert_eq!(chosen("*a *a *a *b *c b"), [1, 2, 4, 5, 6], "no domain has three of five");
    assert_eq!(chosen("*a *a *a *a *b b"), [1, 2, 3, 5, 6], "two domains: as even as can be");
    assert_eq!(chosen("*a *a *b *b ~c *c a"), [1, 2, 3, 4, 6], "it is safe already: nothing moves");
    assert_eq!(chosen("*a *b -*c a"), [1, 2, 4], "a live vote before an even spread");
}

#[test]
fn r20_a_witness_that_may_not_vote_has_no_vote() {
    assert_eq!(chosen("*. *. ~."), [1, 2]);
    assert_eq!(chosen("*. *. ~*."), [1, 2]);
}

#[test]
fn a_server_counts_as_gone_for_long_only_without_a_break() {
    let (one, patience) = (RaftId(1), Duration::from_secs(10));
    let at = |s: u64| Timestamp(s * 1_000_000_000);
    let mut absences = Absences::default();
    absences.note(&BTreeSet::from([one]), at(1));
    absences.note(&BTreeSet::from([one]), at(5));
    assert!(!absences.long(one, at(10), patience));
    assert!(absences.long(one, at(11), patience));
    absences.note(&BTreeSet::new(), at(12));
    absences.note(&BTreeSet::from([one]), at(13));
    assert!(!absences.long(one, at(22), patience));
    assert!(!absences.long(RaftId(2), at(99), patience));
}

/// Up to eight candidates of up to four domains.
fn situations() -> impl Strategy<Value = (Vec<Candidate>, BTreeSet<RaftId>)> {
    let one = (prop::option::of(0..3u8), prop::bool::weighted(0.8), prop::bool::weighted(0.9), any::<bool>());
    prop::collection::vec(one, 1..8).prop_map(|all| {
        let mut voting = BTreeSet::new();
        let candidates = all
            .into_iter()
            .zip(1..)
            .map(|((domain, up, may_vote, votes), number)| {
                let raft_id = RaftId(u64::from(number));
                if votes && voting.len() < 5 {
                    voting.insert(raft_id);
                }
                Candidate { number, raft_id, domain: domain.map(|d| d.to_string()), up, may_vote }
            })
            .collect();
        (candidates, voting)
    })
}

/// How bad a set of voters is, worst first: dead ones, what the loss of a domain lacks of a
/// quorum, votes that move.
fn badness(set: &BTreeSet<RaftId>, all: &[Candidate], voting: &BTreeSet<RaftId>) -> [usize; 3] {
    let members: Vec<&Candidate> = all.iter().filter(|one| set.contains(&one.raft_id)).collect();
    let live: Vec<&&Candidate> = members.iter().filter(|one| one.up).collect();
    let quorum = set.len() / 2 + 1;
    let lacks = live.iter().map(|lost| {
        let left = live.iter().filter(|one| domain(one) != domain(lost)).count();
        quorum.saturating_sub(left)
    });
    let moves = set.difference(voting).count();
    [members.len() - live.len(), lacks.max().unwrap_or(0), moves]
}

/// Every set that might vote, of one size.
fn sets(all: &[Candidate], voting: &BTreeSet<RaftId>, size: usize) -> Vec<BTreeSet<RaftId>> {
    let able: Vec<RaftId> = all
        .iter()
        .filter(|one| one.may_vote && (one.up || voting.contains(&one.raft_id)))
        .map(|one| one.raft_id)
        .collect();
    (0..1usize << able.len())
        .filter(|mask| mask.count_ones() as usize == size)
        .map(|mask| {
            able.iter().enumerate().filter(|(at, _)| mask >> at & 1 == 1).map(|(_, id)| *id).collect()
        })
        .collect()
}

proptest! {
    #[test]
    fn r20_no_other_set_of_voters_is_better((all, voting) in situations()) {
        let set = choose(&all, &voting);
        prop_assert!(set.len() <= 2 || set.len() % 2 == 1 && set.len() <= 5);
        let able = all.iter().filter(|one| one.may_vote && (one.up || voting.contains(&one.raft_id))).count();
        prop_assert!(set.len() + 1 >= able.min(5), "as many as there may be");
        let ours = badness(&set, &all, &voting);
        for other in sets(&all, &voting, set.len()) {
            prop_assert!(ours <= badness(&other, &all, &voting), "{other:?} is better than {set:?}");
        }
    }

    #[test]
    fn what_was_chosen_is_chosen_again((all, voting) in situations()) {
        let set = choose(&all, &voting);
        prop_assert_eq!(choose(&all, &set), set);
    }

    #[test]
    fn a_server_that_returns_takes_no_vote_for_nothing((all, voting) in situations(), back in 0..8usize) {
        let set = choose(&all, &voting);
        let mut later = all.clone();
        if let Some(one) = later.get_mut(back).filter(|one| !one.up && !set.contains(&one.raft_id)) {
            one.up = true;
            let again = choose(&later, &set);
            let kept = set.intersection(&again).count();
            // A vote is taken away only where the spread gets better by it, or the number odd.
            if again.len() == set.len() && kept < set.len() {
                prop_assert!(badness(&again, &later, &set)[..2] < badness(&set, &later, &set)[..2]);
            }
        }
    }
}
