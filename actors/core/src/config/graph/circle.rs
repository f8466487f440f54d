//! Circles: what waits for itself.
//!
//! A start dependency on a type is satisfied by any one of its resources, so a way back is a circle
//! only if there is no other. So it is asked who can start at all: who waits for nobody can; who
//! waits for those that can, can. When everything stops, each waits until *all* that rely on it have
//! stopped, so among stop dependencies every way back is a circle: who relies on nobody is let go
//! first, then who relies on those only. Whoever is left in either case waits in a circle, or behind
//! one; from there each step leads to another one that is left, until a step leads back.

use std::collections::{BTreeMap, VecDeque};

use super::{Graph, GraphFault, GraphProblem, Instances, Place};
use crate::config::{Named, StartKind, dependency_syntax::Side};

pub(super) fn check(graph: &Graph<'_>, problems: &mut Vec<GraphProblem>) {
    for side in [Side::Start, Side::Stop] {
        let mut peel = Peel::new(graph, side);
        peel.all();
        while let Some(begin) = peel.gone.iter().position(|gone| !gone) {
            let circle = peel.circle(begin);
            problems.extend(report(graph, side, &circle));
            // Told once: what waits behind it is let go with it.
            for (node, _) in circle {
                peel.let_go(node);
            }
            peel.all();
        }
    }
}

/// Every node, those that others wait for to start first; circles and what is behind them last.
pub(super) fn order(graph: &Graph<'_>) -> Vec<usize> {
    let mut peel = Peel::new(graph, Side::Start);
    peel.all();
    let rest = (0..peel.gone.len()).filter(|node| !peel.gone[*node]);
    peel.order.iter().copied().chain(rest).collect()
}

/// A dependency at its place in the list of its node.
struct Edge {
    index: usize,
    target: usize,
    /// An instance of the node itself counts too.
    own_counts: bool,
}

/// Takes away whoever waits for nobody, again and again.
struct Peel {
    side: Side,
    edges: Vec<Vec<Edge>>,
    /// The nodes that each target means, and those that depend on it.
    members: Vec<Vec<usize>>,
    dependents: Vec<Vec<usize>>,
    /// The targets of which a node is a member.
    serves: Vec<Vec<usize>>,
    /// Members that are left of each target.
    left: Vec<usize>,
    /// Dependencies of each node that are not met.
    unmet: Vec<usize>,
    met: Vec<bool>,
    gone: Vec<bool>,
    ready: VecDeque<usize>,
    order: Vec<usize>,
}

impl Peel {
    fn new(graph: &Graph<'_>, side: Side) -> Self {
        let count = graph.nodes.len();
        let mut peel = Self {
            side,
            edges: Vec::new(),
            members: Vec::new(),
            dependents: Vec::new(),
            serves: vec![Vec::new(); count],
            left: Vec::new(),
            unmet: vec![0; count],
            met: Vec::new(),
            gone: vec![false; count],
            ready: VecDeque::new(),
            order: Vec::new(),
        };
        let mut known: BTreeMap<&Named, usize> = BTreeMap::new();
        for at in 0..count {
            let mut edges = Vec::new();
            for (index, on, own_counts) in waits(graph, at, side) {
                let target = *known.entry(on).or_insert_with(|| peel.target(graph, on));
                let members = &peel.members[target];
                let own = members.binary_search(&at).is_ok() && !own_counts;
                let others = members.len() - usize::from(own);
                if others > 0 {
                    edges.push(Edge { index, target, own_counts });
                    peel.dependents[target].push(at);
                }
            }
            peel.unmet[at] = edges.len();
            peel.edges.push(edges);
        }
        peel.ready = (0..count).filter(|at| peel.unmet[*at] == 0).collect();
        peel
    }

    fn target(&mut self, graph: &Graph<'_>, on: &Named) -> usize {
        let members = graph.members_of(on).to_vec();
        let target = self.members.len();
        for member in &members {
            self.serves[*member].push(target);
        }
        self.left.push(members.len());
        self.members.push(members);
        self.dependents.push(Vec::new());
        self.met.push(false);
        target
    }

    fn all(&mut self) {
        while let Some(node) = self.ready.pop_front() {
            self.let_go(node);
        }
    }

    fn let_go(&mut self, node: usize) {
        if std::mem::replace(&mut self.gone[node], true) {
            return;
        }
        self.order.push(node);
        for target in std::mem::take(&mut self.serves[node]) {
            self.left[target] -= 1;
            let enough = self.side == Side::Start || self.left[target] == 0;
            if enough && !std::mem::replace(&mut self.met[target], true) {
                for dependent in self.dependents[target].clone() {
                    self.one_less(dependent, target);
                }
            } else if self.side == Side::Stop && self.left[target] == 1 {
                // The last one that is left does not wait for itself.
                let last = self.members[target].iter().copied().find(|member| !self.gone[*member]);
                let alone = |edge: &&Edge| edge.target == target && !edge.own_counts;
                if let Some(last) = last {
                    let count = self.edges[last].iter().filter(alone).count();
                    self.edges[last].retain(|edge| edge.target != target || edge.own_counts);
                    self.unmet[last] -= count;
                    if self.unmet[last] == 0 {
                        self.ready.push_back(last);
                    }
                }
            }
        }
    }

    /// A target is met: one dependency less that a node waits for.
    fn one_less(&mut self, node: usize, target: usize) {
        let Some(at) = self.edges[node].iter().position(|edge| edge.target == target) else { return };
        self.edges[node].remove(at);
        self.unmet[node] -= 1;
        if self.unmet[node] == 0 {
            self.ready.push_back(node);
        }
    }

    /// From one that is left to the next, until one comes again: the nodes on the way back, each with
    /// the place of its dependency.
    fn circle(&self, begin: usize) -> Vec<(usize, usize)> {
        let mut way: Vec<(usize, usize)> = Vec::new();
        let mut seen: BTreeMap<usize, usize> = BTreeMap::new();
        let mut at = begin;
        while !seen.contains_key(&at) {
            let next = self.edges[at].iter().find_map(|edge| {
                let mut members = self.members[edge.target].iter().copied();
                let next = members.find(|to| !self.gone[*to] && (*to != at || edge.own_counts))?;
                Some((edge.index, next))
            });
            let Some((index, to)) = next else { return vec![(at, 0)] };
            seen.insert(at, way.len());
            way.push((at, index));
            at = to;
        }
        way.split_off(seen[&at])
    }
}

/// The dependencies of a node that make it wait: their places, what they name, and whether another
/// instance of its own can be meant.
fn waits<'a>(graph: &'a Graph<'_>, at: usize, side: Side) -> Vec<(usize, &'a Named, bool)> {
    let node = &graph.nodes[at];
    if side == Side::Stop {
        // Instances that are bound to servers do not meet their like elsewhere.
        let meets = |global: bool| match node.instances {
            Instances::One => false,
            Instances::Many => true,
            Instances::EachServer => global,
        };
        return node.stop.iter().enumerate().map(|(index, d)| (index, &d.on, meets(d.global))).collect();
    }
    let waits = |kind| match kind {
        StartKind::Hard { .. } | StartKind::Pullup { .. } => true,
        StartKind::Weak { concurrent, .. } => !concurrent,
        StartKind::Attraction { .. } | StartKind::Dispersion { .. } => false,
    };
    let own_counts = node.instances != Instances::One;
    let waiting = node.start.iter().enumerate().filter(|(_, dependency)| waits(dependency.kind));
    waiting.map(|(index, dependency)| (index, &dependency.on, own_counts)).collect()
}

fn report(graph: &Graph<'_>, side: Side, circle: &[(usize, usize)]) -> Option<GraphProblem> {
    let place = |(node, index): &(usize, usize)| Place {
        owner: graph.nodes[*node].owner.clone(),
        side,
        index: *index,
    };
    let mut path: Vec<Place> = circle.iter().map(place).collect();
    // The same circle is told at the same place, from wherever it was found.
    let first = path.iter().enumerate().min_by(|(_, a), (_, b)| a.cmp(b)).map_or(0, |(at, _)| at);
    path.rotate_left(first);
    let begin = path.first().cloned()?;
    path.push(begin.clone());
    Some(GraphProblem { place: begin, fault: GraphFault::Circle { path } })
}
