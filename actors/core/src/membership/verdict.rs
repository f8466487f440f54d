//! The membership decision of one server about itself: may this side go on?
//!
//! With Raft in the house, a quorum of the voters is the side that lives. What this plan adds is
//! the time until which a side without one may still run (its lease), and that it then stops.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

use super::view::View;
use crate::{ids::ServerName, time::Timestamp};

/// What the verdict is made from.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    /// This server.
    pub me: &'a ServerName,
    /// Who has a vote.
    pub voters: &'a BTreeSet<ServerName>,
    /// What this server hears.
    pub view: &'a View,
    /// When its lease ends, if it has one.
    pub lease_end: Option<Timestamp>,
    /// Now, on the same clock.
    pub now: Timestamp,
    /// What the tie-break of two waits for, while it is asked.
    pub tie_break: Option<&'a str>,
}

/// May this side go on?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// This side has a quorum and this server a lease.
    Stay,
    /// Not now, but what runs may run until then: a quorum may come back.
    Wait {
        /// The end of the lease.
        until: Timestamp,
        /// Why.
        because: Doubt,
    },
    /// Nothing may run here.
    StandDown {
        /// Why.
        because: Doubt,
    },
}

/// Why a server may not simply stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// Too few voters are heard on this side.
    NoQuorum {
        /// Heard, this server included.
        heard: usize,
        /// Needed.
        needed: usize,
    },
    /// Voters are heard, but no leader renews the lease.
    NoLease,
    /// One of two, which waits for the tie-break.
    TieBreak(String),
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoQuorum { heard, needed } => {
                write!(f, "only {heard} of the {needed} voters needed are heard on this side")
            }
            Self::NoLease => f.write_str("no leader renews this server's lease"),
            Self::TieBreak(what) => write!(f, "waits for the tie-break: {what}"),
        }
    }
}

/// Decides. A lease that has ended always means standing down: evidence of others' votes cannot
/// bring it back, only a grant can (R21).
#[must_use]
pub fn decide(input: &Input<'_>) -> Verdict {
    let heard = input
        .voters
        .iter()
        .filter(|voter| *voter == input.me || input.view.peers.get(voter).is_some_and(|p| !p.is_silent()))
        .count();
    let needed = input.voters.len() / 2 + 1;
    let quorum = heard >= needed;
    let because = match input.tie_break {
        Some(what) => Doubt::TieBreak(what.to_owned()),
        None if quorum => Doubt::NoLease,
        None => Doubt::NoQuorum { heard, needed },
    };
    match input.lease_end {
        Some(until) if input.now < until && quorum => Verdict::Stay,
        Some(until) if input.now < until => Verdict::Wait { until, because },
        _ => Verdict::StandDown { because },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::membership::view::{GossipState, PathState, PathView, PeerView};

    /// `{A B} | {C}`: who hears whom. Answers the servers that may stay, as `{A B}`.
    fn stays(picture: &str) -> String {
        let parts: Vec<Vec<&str>> =
            picture.split('|').map(|p| p.trim_matches([' ', '{', '}']).split(' ').collect()).collect();
        let all: BTreeSet<ServerName> = parts.iter().flatten().map(|s| ServerName::from(*s)).collect();
        let mut stay = Vec::new();
        for part in &parts {
            for me in part {
                let heard = |other: &ServerName| part.contains(&other.as_str());
                let peers = all.iter().filter(|s| s.as_str() != *me);
                let view = View { peers: peers.map(|s| (s.clone(), peer(heard(s)))).collect() };
                let (now, end) = (Timestamp(5), Some(Timestamp(10)));
                let input = Input {
                    me: &(*me).into(),
                    voters: &all,
                    view: &view,
                    lease_end: end,
                    now,
                    tie_break: None,
                };
                if decide(&input) == Verdict::Stay {
                    stay.push(*me);
                }
            }
        }
        stay.sort_unstable();
        format!("{{{}}}", stay.join(" "))
    }

    fn peer(heard: bool) -> PeerView {
        let state = if heard { PathState::Normal } else { PathState::Error };
        let path = PathView { state, ..PathView::default() };
        PeerView { gossip: GossipState::Alive, paths: BTreeMap::from([("lan".into(), path)]) }
    }

    #[test]
    fn pictures() {
        for (picture, lives) in [
            ("{A B C}", "{A B C}"),
            ("{A B} | {C}", "{A B}"),
            ("{A} | {B} | {C}", "{}"),
            ("{A} | {B}", "{}"),
            ("{A B} | {C D}", "{}"),
            ("{A B C} | {D E}", "{A B C}"),
            ("{A B} | {C D} | {E}", "{}"),
        ] {
            assert_eq!(stays(picture), lives, "{picture}");
        }
    }

    #[test]
    fn without_quorum_it_waits_for_the_lease_and_then_stands_down() {
        let (me, view) = (ServerName::from("A"), View::default());
        let voters = BTreeSet::from([me.clone(), "B".into(), "C".into()]);
        let at = |now| Input {
            me: &me,
            voters: &voters,
            view: &view,
            lease_end: Some(Timestamp(10)),
            now: Timestamp(now),
            tie_break: None,
        };
        assert!(matches!(decide(&at(9)), Verdict::Wait { until: Timestamp(10), .. }));
        assert!(matches!(decide(&at(10)), Verdict::StandDown { .. }));
    }

    #[test]
    fn one_of_two_says_that_it_waits_for_the_tie_break() {
        let (me, view) = (ServerName::from("A"), View::default());
        let voters = BTreeSet::from([me.clone(), "B".into()]);
        let (lease_end, now) = (Some(Timestamp(10)), Timestamp(5));
        let input =
            Input { me: &me, voters: &voters, view: &view, lease_end, now, tie_break: Some("the witness") };
        let because = Doubt::TieBreak("the witness".into());
        assert_eq!(decide(&input), Verdict::Wait { until: Timestamp(10), because });
    }

    #[test]
    fn r21_a_lost_lease_stands_down_even_when_everybody_is_heard() {
        let me = ServerName::from("A");
        let voters = BTreeSet::from([me.clone(), "B".into()]);
        let view = View { peers: BTreeMap::from([("B".into(), peer(true))]) };
        let now = Timestamp(11);
        let input = Input {
            me: &me,
            voters: &voters,
            view: &view,
            lease_end: Some(Timestamp(10)),
            now,
            tie_break: None,
        };
        assert_eq!(decide(&input), Verdict::StandDown { because: Doubt::NoLease });
    }
}
