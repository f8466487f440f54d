//! Whether what depends on one another can work: over the whole configuration, before it is in force.
//!
//! What is asked for here is refused or warned about when a configuration is read. At run time a
//! dependency that cannot be met only waits.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{
    Cardinality, ClusterConfig, Exclusive, Named, PlacementPolicy, ResourceConfig, StartDependency,
    StartKind, StopDependency,
    dependency_syntax::Side,
    pool::{FREE, GENERIC},
    spelling::nearest,
    type_tree::TypeTree,
};
use crate::ids::{GroupName, PoolName, ResourceName, ServerName, TypeName};

mod circle;
mod dependents;
mod fault;
mod names;
mod pools;

pub use dependents::{Dependent, Subject, dependents_of};
pub use fault::GraphFault;
pub use names::{NameKind, NameProblem, name_problems};
pub use pools::{PoolFault, PoolProblem, pool_problems};

/// Who has dependencies: a group, or a resource outside every group with all its instances.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// A failover group.
    Group(GroupName),
    /// A resource outside every group.
    Resource(ResourceName),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(name) => write!(f, "group `{name}`"),
            Self::Resource(name) => write!(f, "resource `{name}`"),
        }
    }
}

/// One dependency of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Who has it.
    pub owner: Owner,
    /// In which of its two lists.
    pub side: Side,
    /// At which place in that list, from 0.
    pub index: usize,
}

/// Something wrong with a dependency, and which one it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphProblem {
    /// Where.
    pub place: Place,
    /// What.
    pub fault: GraphFault,
}

impl fmt::Display for GraphProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place.owner, self.fault)
    }
}

/// Everything that is wrong or doubtful about the dependencies of a configuration, in the order of
/// their places.
#[must_use]
pub fn problems(config: &ClusterConfig) -> Vec<GraphProblem> {
    // Types that are wrong have been told as such; what they would add is not missed here.
    let tree = TypeTree::new(&config.types);
    let types_known = tree.is_ok();
    let graph = Graph::new(config, tree.unwrap_or_else(|_| TypeTree::built_in()));
    let mut problems = Vec::new();
    for node in &graph.nodes {
        graph.check_names(node, types_known, &mut problems);
        graph.check_contradictions(node, &mut problems);
        graph.check_return(node, &mut problems);
    }
    graph.check_servers(&mut problems);
    circle::check(&graph, &mut problems);
    problems.sort_by(|a, b| a.place.cmp(&b.place));
    problems
}

/// A group or definition with what matters here.
struct Node<'a> {
    /// Its place among all nodes.
    at: usize,
    owner: Owner,
    start: &'a [StartDependency],
    stop: &'a [StopDependency],
    enabled: bool,
    complete: bool,
    /// How many instances.
    instances: Instances,
    /// Where it may run, pools aside.
    servers: BTreeSet<&'a ServerName>,
    pools: &'a [PoolName],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Instances {
    One,
    Many,
    /// One bound to each of its servers.
    EachServer,
}

struct Graph<'a> {
    config: &'a ClusterConfig,
    tree: TypeTree,
    nodes: Vec<Node<'a>>,
    /// Which nodes have a resource of this name.
    by_name: BTreeMap<&'a ResourceName, Vec<usize>>,
    /// Which nodes have a resource of this type, or of one that inherits from it.
    by_type: BTreeMap<TypeName, Vec<usize>>,
}

impl<'a> Graph<'a> {
    fn new(config: &'a ClusterConfig, tree: TypeTree) -> Self {
        let mut graph =
            Self { config, tree, nodes: Vec::new(), by_name: BTreeMap::new(), by_type: BTreeMap::new() };
        for (name, group) in &config.groups {
            let at = graph.nodes.len();
            for (resource, member) in &group.resources {
                graph.member(at, resource, type_of(member));
            }
            graph.nodes.push(Node {
                at,
                owner: Owner::Group(name.clone()),
                start: &group.start,
                stop: &group.stop,
                enabled: group.enabled,
                complete: group.exclusive == Exclusive::Complete,
                instances: Instances::One,
                servers: group.servers.iter().collect(),
                pools: &group.pools,
            });
        }
        for (name, definition) in &config.resources {
            let at = graph.nodes.len();
            graph.member(at, name, definition.type_name.clone());
            let local = definition.cardinality == Cardinality::Local;
            let restricted = !local && definition.placement == PlacementPolicy::Restricted;
            graph.nodes.push(Node {
                at,
                owner: Owner::Resource(name.clone()),
                start: &definition.start,
                stop: &definition.stop,
                enabled: definition.enabled,
                complete: false,
                instances: match definition.cardinality {
                    Cardinality::Number(0 | 1) => Instances::One,
                    Cardinality::Number(_) => Instances::Many,
                    Cardinality::Uniform | Cardinality::Local => Instances::EachServer,
                },
                servers: if restricted {
                    definition.hosting_members.iter().collect()
                } else {
                    config.runners().into_iter().map(|(server, _)| server).collect()
                },
                pools: if local { &[] } else { &definition.server_pools },
            });
        }
        graph
    }

    fn member(&mut self, at: usize, name: &'a ResourceName, type_name: TypeName) {
        self.by_name.entry(name).or_default().push(at);
        let ancestors = self.tree.ancestors(&type_name);
        for is_a in std::iter::once(type_name).chain(ancestors) {
            let of_type = self.by_type.entry(is_a).or_default();
            // Nodes come one after the other, each with all its resources.
            if of_type.last() != Some(&at) {
                of_type.push(at);
            }
        }
    }

    /// The nodes that a dependency of `from` can mean: not itself, but for other instances of its own.
    fn targets(&self, from: usize, on: &Named) -> impl Iterator<Item = usize> {
        let alone = self.nodes[from].instances == Instances::One;
        self.members_of(on).iter().copied().filter(move |at| *at != from || !alone)
    }

    /// The nodes that have a resource of this name or type, in order.
    fn members_of(&self, on: &Named) -> &[usize] {
        let members = match on {
            Named::Resource(name) => self.by_name.get(name),
            Named::Type(name) => self.by_type.get(name),
        };
        members.map_or(&[], Vec::as_slice)
    }

    // --- names ------------------------------------------------------------------------------

    fn check_names(&self, node: &Node<'_>, types_known: bool, problems: &mut Vec<GraphProblem>) {
        let starts = node.start.iter().enumerate().map(|(index, d)| (Side::Start, index, &d.on, d.waits()));
        let stops = node.stop.iter().enumerate().map(|(index, d)| (Side::Stop, index, &d.on, false));
        for (side, index, on, waits) in starts.chain(stops) {
            let fault = match on {
                Named::Resource(name) => self.name_fault(node, name, waits),
                Named::Type(name) => self.type_fault(node, name, types_known, waits),
            };
            problems.extend(fault.map(|fault| node.problem(side, index, fault)));
        }
    }

    fn name_fault(&self, node: &Node<'_>, name: &ResourceName, waits: bool) -> Option<GraphFault> {
        let Some(owners) = self.by_name.get(name) else {
            let known = self.by_name.keys().map(|known| known.as_str());
            let near = nearest(name.as_str(), known).map(ResourceName::from);
            let group = GroupName::from(name.as_str());
            let members =
                self.config.groups.get(&group).map(|group| group.resources.keys().cloned().collect());
            return Some(GraphFault::NoResource { name: name.clone(), near, members });
        };
        if owners.iter().all(|owner| self.nodes[*owner].owner == node.owner) {
            return Some(GraphFault::Itself { name: name.clone() });
        }
        let off = owners.iter().all(|owner| !self.nodes[*owner].enabled);
        (waits && off && node.enabled).then(|| GraphFault::Disabled { on: Named::Resource(name.clone()) })
    }

    fn type_fault(
        &self,
        node: &Node<'_>,
        name: &TypeName,
        types_known: bool,
        waits: bool,
    ) -> Option<GraphFault> {
        if !self.tree.contains(name) {
            let near = self.tree.nearest(name.as_str());
            return types_known.then(|| GraphFault::NoType { name: name.clone(), near });
        }
        let on = Named::Type(name.clone());
        if self.targets(node.at, &on).next().is_none() {
            return Some(GraphFault::NoneOfType { name: name.clone() });
        }
        let off = self.targets(node.at, &on).all(|target| !self.nodes[target].enabled);
        (waits && off && node.enabled).then_some(GraphFault::Disabled { on })
    }

    // --- contradictions -----------------------------------------------------------------------

    fn check_contradictions(&self, node: &Node<'_>, problems: &mut Vec<GraphProblem>) {
        for (index, dependency) in node.start.iter().enumerate() {
            let earlier = &node.start[..index];
            let same = |other: &&StartDependency| other.on == dependency.on;
            let twice = earlier.iter().filter(same).find(|other| other.kind.is_like(&dependency.kind));
            let apart = |kind: StartKind| matches!(kind, StartKind::Dispersion { .. });
            let against = earlier.iter().filter(same).find(|other| {
                apart(other.kind) && dependency.kind.is_together()
                    || apart(dependency.kind) && other.kind.is_together()
            });
            let fault = match (twice, against) {
                (Some(other), _) => {
                    GraphFault::Twice { this: dependency.to_string(), other: other.to_string() }
                }
                (None, Some(other)) => {
                    GraphFault::Contradiction { this: dependency.to_string(), other: other.to_string() }
                }
                (None, None) => continue,
            };
            problems.push(node.problem(Side::Start, index, fault));
        }
        for (index, dependency) in node.stop.iter().enumerate() {
            // One for stacks and one for always is no contradiction: the second one says more.
            let twice = node.stop[..index]
                .iter()
                .find(|other| other.on == dependency.on && other.shutdown == dependency.shutdown);
            if let Some(other) = twice {
                let fault = GraphFault::Twice { this: dependency.to_string(), other: other.to_string() };
                problems.push(node.problem(Side::Stop, index, fault));
            }
        }
    }

    /// What stops with another comes back with it only when it is told to.
    fn check_return(&self, node: &Node<'_>, problems: &mut Vec<GraphProblem>) {
        let at = node.at;
        for (index, dependency) in node.stop.iter().enumerate() {
            let pulled = |other: &StartDependency| {
                let pullup = matches!(other.kind, StartKind::Pullup { .. });
                pullup && (other.on == dependency.on || self.covers(at, &other.on, &dependency.on))
            };
            let stops = self.targets(at, &dependency.on).next().is_some();
            if stops && !dependency.shutdown && !node.start.iter().any(pulled) {
                let fault = GraphFault::NoReturn { on: dependency.on.clone() };
                problems.push(node.problem(Side::Stop, index, fault));
            }
        }
    }

    /// Whether `on` means all that `other` means.
    fn covers(&self, at: usize, on: &Named, other: &Named) -> bool {
        let members = self.members_of(on);
        self.targets(at, other).all(|target| members.binary_search(&target).is_ok())
    }

    // --- servers ----------------------------------------------------------------------------

    /// Hard dependencies without `global` ask for the same server: is there one? What a dependency
    /// can have depends on what its own dependencies leave it, so it is asked until nothing changes.
    fn check_servers(&self, problems: &mut Vec<GraphProblem>) {
        let mut left: Vec<BTreeSet<&ServerName>> = self.nodes.iter().map(|node| self.allowed(node)).collect();
        let order = circle::order(self); // what others need comes first: mostly once is enough
        loop {
            let mut changed = false;
            for (at, node) in order.iter().map(|at| (*at, &self.nodes[*at])) {
                if left[at].is_empty() {
                    continue;
                }
                for (index, dependency) in node.start.iter().enumerate() {
                    let StartKind::Hard { global: false, .. } = dependency.kind else { continue };
                    let targets = || self.targets(at, &dependency.on);
                    if targets().all(|target| left[target].is_empty()) {
                        continue; // told elsewhere, or at the one that is the cause
                    }
                    let mut missing = left[at].clone();
                    for target in targets() {
                        if missing.is_empty() {
                            break; // any one of a type will do: seldom more than a few are looked at
                        }
                        if !self.kept_apart(node, &self.nodes[target]) {
                            missing.retain(|server| !left[target].contains(server));
                        }
                    }
                    let both: BTreeSet<&ServerName> = left[at].difference(&missing).copied().collect();
                    if both == left[at] {
                        continue;
                    }
                    changed = true;
                    let bound = node.instances == Instances::EachServer;
                    if both.is_empty() || bound {
                        let never = left[at].difference(&both).map(|server| (*server).clone()).collect();
                        let fault = GraphFault::NeverTogether {
                            on: dependency.on.clone(),
                            every: both.is_empty(),
                            never,
                            why: self.why_apart(node, targets().next()),
                        };
                        problems.push(node.problem(Side::Start, index, fault));
                    }
                    left[at] = both;
                }
            }
            if !changed {
                return;
            }
        }
    }

    /// Where a node may run at all: its list, and the lists of its pools.
    fn allowed(&self, node: &Node<'a>) -> BTreeSet<&'a ServerName> {
        if node.pools.is_empty() {
            return node.servers.clone();
        }
        let in_pool = |server: &&&ServerName| {
            node.pools.iter().any(|pool| match self.config.pools.get(pool) {
                Some(config) => config.servers.is_empty() || config.servers.contains(server),
                None => pool.as_str() == FREE || pool.as_str() == GENERIC,
            })
        };
        node.servers.iter().filter(in_pool).copied().collect()
    }

    /// Whether two can never share a server, whichever it is: a server is in one pool at a time, and
    /// completely exclusive groups share with no other.
    fn kept_apart(&self, a: &Node<'_>, b: &Node<'_>) -> bool {
        let pools = !a.pools.is_empty() && !b.pools.is_empty();
        (a.complete && b.complete) || (pools && !a.pools.iter().any(|pool| b.pools.contains(pool)))
    }

    fn why_apart(&self, node: &Node<'_>, target: Option<usize>) -> String {
        let Some(target) = target.map(|target| &self.nodes[target]) else { return String::new() };
        if node.complete && target.complete {
            return format!("{} and {} are both exclusive", node.owner, target.owner);
        }
        if self.kept_apart(node, target) {
            return format!(
                "{} runs in {}, {} in {}",
                node.owner,
                words(node.pools.iter().map(PoolName::as_str)),
                target.owner,
                words(target.pools.iter().map(PoolName::as_str)),
            );
        }
        format!(
            "{} may run on {}, {} on {}",
            node.owner,
            words(self.allowed(node).into_iter().map(ServerName::as_str)),
            target.owner,
            words(self.allowed(target).into_iter().map(ServerName::as_str)),
        )
    }
}

impl Node<'_> {
    fn problem(&self, side: Side, index: usize, fault: GraphFault) -> GraphProblem {
        GraphProblem { place: Place { owner: self.owner.clone(), side, index }, fault }
    }
}

impl StartDependency {
    /// Whether R1 does not start without R2.
    fn waits(&self) -> bool {
        matches!(self.kind, StartKind::Hard { .. })
    }
}

impl StartKind {
    /// The same kind, whatever its modifiers.
    fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// Whether it wants R1 on R2's server.
    fn is_together(&self) -> bool {
        match self {
            Self::Hard { global, .. } | Self::Weak { global, .. } | Self::Pullup { global, .. } => !global,
            Self::Attraction { .. } => true,
            Self::Dispersion { .. } => false,
        }
    }
}

/// The type of a resource in a group.
fn type_of(resource: &ResourceConfig) -> TypeName {
    resource.type_name.clone().unwrap_or_else(|| resource.kind.type_name().into())
}

/// "`a`, `b`"
fn words<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "no server".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests;
