//! Servers to places at the least cost, where costs are compared part by part.
//!
//! One server after the other is given its place, by way of others that make room for it when that
//! costs less in all: the shortest augmenting path. What is placed so far is always the optimum of
//! its servers, because each next member of a place is worth no more than the one before.

use std::cmp::Ordering;

/// A cost of several parts, the weightiest first: an earlier one outweighs any number of later ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost(Vec<i32>);

impl Cost {
    pub(super) fn zero() -> Self {
        Self::default()
    }

    /// These parts, and zero in all others.
    pub(super) fn of(parts: &[(usize, i32)]) -> Self {
        let mut cost = Self::zero();
        for (at, value) in parts {
            *cost.part(*at) += value;
        }
        cost
    }

    fn part(&mut self, at: usize) -> &mut i32 {
        if self.0.len() <= at {
            self.0.resize(at + 1, 0);
        }
        &mut self.0[at]
    }

    fn plus(&self, other: &Self) -> Self {
        self.combined(other, |a, b| a + b)
    }

    fn minus(&self, other: &Self) -> Self {
        self.combined(other, |a, b| a - b)
    }

    fn combined(&self, other: &Self, combine: impl Fn(i32, i32) -> i32) -> Self {
        let length = self.0.len().max(other.0.len());
        let part = |cost: &Self, at: usize| cost.0.get(at).copied().unwrap_or_default();
        Self((0..length).map(|at| combine(part(self, at), part(other, at))).collect())
    }

    fn less_than(&self, other: &Self) -> bool {
        let length = self.0.len().max(other.0.len());
        let part = |cost: &Self, at: usize| cost.0.get(at).copied().unwrap_or_default();
        let order = (0..length).map(|at| part(self, at).cmp(&part(other, at))).find(|o| o.is_ne());
        order == Some(Ordering::Less)
    }
}

/// Servers and places by number. Every server has some place without a limit.
pub(super) trait Problem {
    fn servers(&self) -> usize;

    fn places(&self) -> usize;

    /// What it costs to put a server there; `None` when it may not be there.
    fn cost_of_moving(&self, server: usize, to: usize) -> Option<Cost>;

    /// What one more member costs a place that has so many; `None` when it has no room. Never less
    /// than what the one before cost.
    fn cost_of_having(&self, place: usize, members: u32) -> Option<Cost>;
}

/// The place of each server.
pub(super) fn solve(problem: &impl Problem) -> Vec<usize> {
    let mut placed: Vec<usize> = Vec::with_capacity(problem.servers());
    let mut members = vec![0u32; problem.places()];
    for server in 0..problem.servers() {
        let swaps = swaps(problem, &placed);
        let ways = ways(problem, server, &swaps);
        let ends = ways.iter().enumerate().filter_map(|(place, way)| {
            let more = problem.cost_of_having(place, *members.get(place)?)?;
            Some((place, way.as_ref()?.cost.plus(&more)))
        });
        let best = ends.reduce(|best, other| if other.1.less_than(&best.1) { other } else { best });
        let Some((end, _)) = best else {
            placed.push(problem.places()); // it may be nowhere
            continue;
        };
        let mut place = end;
        while let Some(Some(Way { by: Some((from, moved)), .. })) = ways.get(place) {
            if let Some(at) = placed.get_mut(*moved) {
                *at = place;
            }
            place = *from;
        }
        placed.push(place);
        if let Some(count) = members.get_mut(end) {
            *count += 1;
        }
    }
    placed
}

/// The cheapest move of a server from one place to another.
struct Swap {
    from: usize,
    to: usize,
    server: usize,
    cost: Cost,
}

fn swaps(problem: &impl Problem, placed: &[usize]) -> Vec<Swap> {
    let mut best: Vec<Vec<Option<Swap>>> = Vec::new();
    best.resize_with(problem.places(), || (0..problem.places()).map(|_| None).collect());
    for (server, from) in placed.iter().copied().enumerate() {
        let Some(here) = problem.cost_of_moving(server, from) else { continue };
        for to in (0..problem.places()).filter(|to| *to != from) {
            let Some(there) = problem.cost_of_moving(server, to) else { continue };
            let cost = there.minus(&here);
            let Some(known) = best.get_mut(from).and_then(|row| row.get_mut(to)) else { continue };
            if known.as_ref().is_none_or(|known| cost.less_than(&known.cost)) {
                *known = Some(Swap { from, to, server, cost });
            }
        }
    }
    best.into_iter().flatten().flatten().collect()
}

/// How a new server makes one of the places have a member more.
struct Way {
    cost: Cost,
    /// The place before on the way, and the server that goes from there to here; `None` when the
    /// new server itself comes here.
    by: Option<(usize, usize)>,
}

fn ways(problem: &impl Problem, server: usize, swaps: &[Swap]) -> Vec<Option<Way>> {
    let direct = |place| Some(Way { cost: problem.cost_of_moving(server, place)?, by: None });
    let mut ways: Vec<Option<Way>> = (0..problem.places()).map(direct).collect();
    for _ in 0..problem.places() {
        let mut shorter = false;
        for swap in swaps {
            let Some(Some(before)) = ways.get(swap.from) else { continue };
            let cost = before.cost.plus(&swap.cost);
            let Some(known) = ways.get_mut(swap.to) else { continue };
            if known.as_ref().is_none_or(|known| cost.less_than(&known.cost)) {
                *known = Some(Way { cost, by: Some((swap.from, swap.server)) });
                shorter = true;
            }
        }
        if !shorter {
            break;
        }
    }
    ways
}
