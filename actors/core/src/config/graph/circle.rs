//! Circles: what waits for itself.
//!
//! A start dependency on a type is satisfied by any one of its resources, so a way back is a circle
//! only if there is no other. So it is asked who can start at all: who waits for nobody can; who
//! waits for those that can, can. What is left waits in circles, or behind one.
//! When everything stops, each must wait for all its dependents, so among stop dependencies every
//! way back is a circle.

use std::collections::BTreeSet;

use super::{Graph, GraphFault, GraphProblem, Place};
use crate::config::{StartKind, dependency_syntax::Side};

pub(super) fn check(graph: &Graph<'_>, problems: &mut Vec<GraphProblem>) {
    starts(graph, problems);
    stops(graph, problems);
}

/// From one node on to others, by the dependency at this place in its list.
struct Edge {
    index: usize,
    to: Vec<usize>,
}

fn start_edges(graph: &Graph<'_>, at: usize) -> Vec<Edge> {
    let waits = |kind| match kind {
        StartKind::Hard { .. } | StartKind::Pullup { .. } => true,
        StartKind::Weak { concurrent, .. } => !concurrent,
        StartKind::Attraction { .. } | StartKind::Dispersion { .. } => false,
    };
    let list = graph.nodes[at].start.iter().enumerate().filter(|(_, dependency)| waits(dependency.kind));
    list.map(|(index, dependency)| Edge { index, to: graph.targets(at, &dependency.on) })
        .filter(|edge| !edge.to.is_empty())
        .collect()
}

fn starts(graph: &Graph<'_>, problems: &mut Vec<GraphProblem>) {
    let edges: Vec<Vec<Edge>> = (0..graph.nodes.len()).map(|at| start_edges(graph, at)).collect();
    let mut able: BTreeSet<usize> = BTreeSet::new();
    loop {
        let met = |edge: &Edge| edge.to.iter().any(|to| able.contains(to));
        let more: Vec<usize> =
            (0..edges.len()).filter(|at| !able.contains(at) && edges[*at].iter().all(met)).collect();
        if more.is_empty() {
            break;
        }
        able.extend(more);
    }
    // From each that cannot, the first dependency that is not met leads to another that cannot.
    let next = |at: usize| {
        let stuck = edges[at].iter().find(|edge| !edge.to.iter().any(|to| able.contains(to)))?;
        Some((stuck.index, *stuck.to.first()?))
    };
    let mut told: BTreeSet<usize> = BTreeSet::new();
    for begin in (0..edges.len()).filter(|at| !able.contains(at)) {
        let mut way: Vec<(usize, usize)> = Vec::new();
        let mut at = begin;
        while !told.contains(&at) && !way.iter().any(|(node, _)| *node == at) {
            let Some((index, to)) = next(at) else { break };
            way.push((at, index));
            at = to;
        }
        if let Some(from) = way.iter().position(|(node, _)| *node == at) {
            report(graph, Side::Start, &way[from..], problems);
        }
        told.extend(way.into_iter().map(|(node, _)| node));
    }
}

/// Among stop dependencies each way back to where it began is told once.
fn stops(graph: &Graph<'_>, problems: &mut Vec<GraphProblem>) {
    let mut done: BTreeSet<usize> = BTreeSet::new();
    for begin in 0..graph.nodes.len() {
        visit(graph, begin, &mut Vec::new(), &mut done, problems);
    }
}

fn visit(
    graph: &Graph<'_>,
    at: usize,
    way: &mut Vec<(usize, usize)>,
    done: &mut BTreeSet<usize>,
    problems: &mut Vec<GraphProblem>,
) {
    if done.contains(&at) {
        return;
    }
    for (index, dependency) in graph.nodes[at].stop.iter().enumerate() {
        way.push((at, index));
        for to in graph.targets(at, &dependency.on) {
            // Instances that are bound to servers do not meet their like elsewhere.
            let alike =
                to == at && !dependency.global && graph.nodes[at].instances == super::Instances::EachServer;
            match way.iter().position(|(node, _)| *node == to) {
                Some(_) if alike => {}
                Some(from) => report(graph, Side::Stop, &way[from..], problems),
                None => visit(graph, to, way, done, problems),
            }
        }
        way.pop();
    }
    done.insert(at);
}

fn report(graph: &Graph<'_>, side: Side, way: &[(usize, usize)], problems: &mut Vec<GraphProblem>) {
    let place = |(node, index): &(usize, usize)| Place {
        owner: graph.nodes[*node].owner.clone(),
        side,
        index: *index,
    };
    let mut path: Vec<Place> = way.iter().map(place).collect();
    // The same circle is told at the same place, from wherever it was found.
    let first = path.iter().enumerate().min_by(|(_, a), (_, b)| a.cmp(b)).map_or(0, |(at, _)| at);
    path.rotate_left(first);
    let Some(begin) = path.first().cloned() else { return };
    path.push(begin.clone());
    problems.push(GraphProblem { place: begin, fault: GraphFault::Circle { path } });
}
