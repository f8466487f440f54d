//! Which of the servers that could take a unit is the best: the rules of preference, in order.

use std::fmt;

use serde::{Deserialize, Serialize};

pub use super::constraint::Rejection;
use super::{
    board::Board,
    snapshot::{Member, ServerId, Standing, TargetId, UnitId},
    together::Together,
};
use crate::{
    config::{Exclusive, Placement, StartKind},
    ids::{Revision, ServerName},
    registry::state::{GroupEntry, StartEvent},
};

/// A rule of preference, in the order in which they decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// An operator, or whoever released it, chose the server.
    Chosen,
    /// It need not share the server with another exclusive group.
    Exclusive,
    /// It has been handed on from there less often because of failures.
    HandedOn,
    /// Fewer instances of the same resource are there.
    Siblings,
    /// More can run in all: what depends on it, and what it would keep off a server.
    Others,
    /// More of what it should share a server with is there.
    Weak,
    /// Less of what it avoids is there.
    Dispersion,
    /// More of what it is drawn to is there.
    Attraction,
    /// It comes earlier in the list of servers.
    ListOrder,
    /// What it depends on came up there first.
    FirstRisen,
    /// It carries less load.
    Load,
    /// It has the lower number.
    Number,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chosen => "it was chosen",
            Self::Exclusive => "no other exclusive group is there",
            Self::HandedOn => "it was handed on from there less often because of failures",
            Self::Siblings => "fewer instances of the same resource are there",
            Self::Others => "more of what hangs together with it can run",
            Self::Weak => "what it is started with is there",
            Self::Dispersion => "less of what it avoids is there",
            Self::Attraction => "what it is drawn to is there",
            Self::ListOrder => "it comes earlier in the list of servers",
            Self::FirstRisen => "what it depends on came up there first",
            Self::Load => "it carries less load",
            Self::Number => "it has the lower number",
        })
    }
}

/// How good a server is for a unit: the smaller the better, the first difference decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    not_chosen: bool,
    shares: bool,
    pub(super) handed_on: u32,
    siblings: u32,
    pub(super) stranded: usize,
    apart: usize,
    crowded: usize,
    away: usize,
    position: usize,
    rose: Revision,
    load: u64,
    number: u32,
}

impl Rank {
    /// The rule by which this one is better than another.
    pub(super) fn better_by(&self, other: &Self) -> Option<Rule> {
        let rules = [
            (Rule::Chosen, self.not_chosen.cmp(&other.not_chosen)),
            (Rule::Exclusive, self.shares.cmp(&other.shares)),
            (Rule::HandedOn, self.handed_on.cmp(&other.handed_on)),
            (Rule::Siblings, self.siblings.cmp(&other.siblings)),
            (Rule::Others, self.stranded.cmp(&other.stranded)),
            (Rule::Weak, self.apart.cmp(&other.apart)),
            (Rule::Dispersion, self.crowded.cmp(&other.crowded)),
            (Rule::Attraction, self.away.cmp(&other.away)),
            (Rule::ListOrder, self.position.cmp(&other.position)),
            (Rule::FirstRisen, self.rose.cmp(&other.rose)),
            (Rule::Load, self.load.cmp(&other.load)),
            (Rule::Number, self.number.cmp(&other.number)),
        ];
        let (rule, order) = rules.into_iter().find(|(_, order)| order.is_ne())?;
        order.is_lt().then_some(rule)
    }
}

impl Board<'_> {
    /// The servers of a unit's list that could take it, dependencies left out, with their place in
    /// the list. A normally exclusive unit shares one only after a failover without a better choice.
    pub(super) fn candidates(&self, unit: UnitId, event: StartEvent) -> Vec<(ServerId, usize)> {
        let Some(config) = self.snapshot.units[unit].config.filter(|config| config.enabled) else {
            return Vec::new();
        };
        let listed = config.servers.iter().enumerate();
        let mut servers: Vec<(ServerId, usize)> = listed
            .filter_map(|(position, name)| Some((self.snapshot.server(name)?, position)))
            .filter(|(server, _)| self.allows(unit, *server).is_ok())
            .collect();
        if config.exclusive == Exclusive::Normal {
            let alone = |(server, _): &(ServerId, usize)| self.would_share(unit, *server).is_none();
            if !self.may_share(event) || servers.iter().any(alone) {
                servers.retain(alone);
            }
        }
        servers
    }

    /// Puts servers in order, best first.
    pub(super) fn rank(
        &self,
        unit: UnitId,
        servers: &[(ServerId, usize)],
        chosen: Option<&ServerName>,
    ) -> Vec<(Rank, ServerId)> {
        let together = Together::around(self, unit);
        let mut ranked: Vec<(Rank, ServerId)> = servers
            .iter()
            .map(|(server, position)| {
                (self.rank_of(unit, *server, *position, chosen, together.as_ref()), *server)
            })
            .collect();
        ranked.sort_unstable();
        ranked
    }

    fn rank_of(
        &self,
        unit: UnitId,
        server: ServerId,
        position: usize,
        chosen: Option<&ServerName>,
        together: Option<&Together<'_, '_>>,
    ) -> Rank {
        let of = &self.snapshot.units[unit];
        let at = &self.snapshot.servers[server];
        let balanced = of.config.is_some_and(|config| config.placement == Placement::Balanced);
        let mut rank = Rank {
            not_chosen: chosen != Some(at.name),
            shares: self.would_share(unit, server).is_some(),
            handed_on: handed_on(of.entry, at.name),
            siblings: self.siblings(unit, server),
            stranded: together.map_or(0, |all| all.count() - all.most_with(unit, Some(server))),
            number: at.number,
            ..Rank::default()
        };
        if balanced {
            rank.rose = self.rose(unit, server);
            rank.load = self.load_without(unit, server);
        } else {
            rank.position = position;
        }
        for (target, kind) in &of.start {
            match kind {
                StartKind::Weak { global: false, .. } => {
                    rank.apart += usize::from(!self.is_or_will_be(*target, unit, server, true));
                }
                StartKind::Attraction { intermediate } => {
                    rank.away += usize::from(!self.is_or_will_be(*target, unit, server, *intermediate));
                }
                StartKind::Dispersion { intermediate, .. } => {
                    rank.crowded += usize::from(self.is_or_will_be(*target, unit, server, *intermediate));
                }
                _ => {}
            }
        }
        if !self.avoiders.is_empty() {
            let avoided = of.serves.iter().filter(|target| self.avoiders.contains_key(&(**target, server)));
            rank.crowded += avoided.count();
        }
        rank
    }

    /// Whether a member of a target is up on a server, or on its way up there.
    fn is_or_will_be(&self, target: TargetId, unit: UnitId, server: ServerId, intermediate: bool) -> bool {
        let counts = |m: &Member| m.standing == Standing::Pending || m.standing.is_up(intermediate);
        self.members(target, unit, Some(server)).any(counts)
    }

    /// When what the unit must share a server with came up on this one.
    fn rose(&self, unit: UnitId, server: ServerId) -> Revision {
        let first = self.hard(unit).find(|(_, _, global)| !global);
        let up = first
            .and_then(|(target, intermediate, _)| self.first_up(target, unit, Some(server), intermediate));
        up.map_or(Revision(0), |member| member.rose)
    }
}

/// How often a server has handed a unit on because of failures that still count.
#[must_use]
pub fn handed_on(entry: &GroupEntry, server: &ServerName) -> u32 {
    let failures = &entry.failures.value;
    let by_resource = failures.counts.values().filter_map(|by| by.get(server));
    let by_monitor = failures.monitors.values().filter_map(|by| by.get(server));
    by_resource.chain(by_monitor).map(|count| count.failovers).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One rank for each rule, worse than the default by that rule alone, in the order of the rules.
    fn worse() -> Vec<(Rule, Rank)> {
        let best = Rank::default;
        vec![
            (Rule::Chosen, Rank { not_chosen: true, ..best() }),
            (Rule::Exclusive, Rank { shares: true, ..best() }),
            (Rule::HandedOn, Rank { handed_on: 1, ..best() }),
            (Rule::Siblings, Rank { siblings: 1, ..best() }),
            (Rule::Others, Rank { stranded: 1, ..best() }),
            (Rule::Weak, Rank { apart: 1, ..best() }),
            (Rule::Dispersion, Rank { crowded: 1, ..best() }),
            (Rule::Attraction, Rank { away: 1, ..best() }),
            (Rule::ListOrder, Rank { position: 1, ..best() }),
            (Rule::FirstRisen, Rank { rose: Revision(1), ..best() }),
            (Rule::Load, Rank { load: 1, ..best() }),
            (Rule::Number, Rank { number: 1, ..best() }),
        ]
    }

    #[test]
    fn an_earlier_rule_decides_before_a_later_one_and_is_the_one_that_is_named() {
        let ranks = worse();
        for (earlier, (rule, by_earlier)) in ranks.iter().enumerate() {
            assert_eq!(Rank::default().better_by(by_earlier), Some(*rule));
            assert_eq!(by_earlier.better_by(&Rank::default()), None);
            for (_, by_later) in &ranks[earlier + 1..] {
                assert!(by_later < by_earlier, "{by_later:?} {by_earlier:?}");
                assert_eq!(by_later.better_by(by_earlier), Some(*rule));
            }
        }
        assert!(
            ranks.iter().map(|(rule, _)| rule).is_sorted(),
            "rules stand in the order in which they decide"
        );
    }
}
