//! The order of a group's resources, from its dependencies.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    config::{GroupConfig, ResourceKind},
    ids::ResourceName,
};

/// Who depends on whom. Without a list of its own a resource follows the default: floating addresses,
/// then mirrored disks, then programs (C7).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    needs: BTreeMap<ResourceName, BTreeSet<ResourceName>>,
}

impl Order {
    /// The order within a group.
    #[must_use]
    pub fn of(group: &GroupConfig) -> Self {
        let rank = |kind: &ResourceKind| match kind {
            ResourceKind::FloatingIp(_) => 0,
            ResourceKind::MirrorDisk(_) => 1,
            ResourceKind::Exec(_) => 2,
        };
        let needs = group.resources.iter().map(|(name, resource)| {
            let needs = match &resource.depends_on {
                Some(list) => list.iter().cloned().collect(),
                None => group
                    .resources
                    .iter()
                    .filter(|(_, other)| {
                        // A resource that names this kind of order itself is left out of the default,
                        // so that the two cannot make a circle.
                        other.depends_on.is_none() && rank(&other.kind) < rank(&resource.kind)
                    })
                    .map(|(other, _)| other.clone())
                    .collect(),
            };
            (name.clone(), needs)
        });
        Self { needs: needs.collect() }
    }

    /// What must be online before `resource` starts.
    pub fn needs(&self, resource: &ResourceName) -> impl Iterator<Item = &ResourceName> {
        self.needs.get(resource).into_iter().flatten()
    }

    /// What must be offline before `resource` stops.
    pub fn needed_by<'a>(&'a self, resource: &'a ResourceName) -> impl Iterator<Item = &'a ResourceName> {
        self.needs.iter().filter(move |(_, needs)| needs.contains(resource)).map(|(name, _)| name)
    }

    /// These resources and everything that directly or indirectly depends on them.
    #[must_use]
    pub fn with_dependents(&self, resources: &[ResourceName]) -> BTreeSet<ResourceName> {
        let mut all: BTreeSet<ResourceName> = BTreeSet::new();
        let mut open: Vec<&ResourceName> = resources.iter().collect();
        while let Some(next) = open.pop() {
            if all.insert(next.clone()) {
                open.extend(
                    self.needs.iter().filter(|(_, needs)| needs.contains(next)).map(|(name, _)| name),
                );
            }
        }
        all
    }

    /// A circle of dependencies, if there is one: the resources along it, the first again at the end.
    #[must_use]
    pub fn circle(&self) -> Option<Vec<ResourceName>> {
        let mut done = BTreeSet::new();
        for start in self.needs.keys() {
            let mut path = Vec::new();
            if let Some(circle) = self.walk(start, &mut path, &mut done) {
                return Some(circle);
            }
        }
        None
    }

    fn walk(
        &self,
        at: &ResourceName,
        path: &mut Vec<ResourceName>,
        done: &mut BTreeSet<ResourceName>,
    ) -> Option<Vec<ResourceName>> {
        if let Some(from) = path.iter().position(|seen| seen == at) {
            let mut circle = path[from..].to_vec();
            circle.push(at.clone());
            return Some(circle);
        }
        if !done.insert(at.clone()) {
            return None;
        }
        path.push(at.clone());
        for next in self.needs(at) {
            // `done` may hold what is still on the path: the circle is found all the same.
            if path.contains(next) || !done.contains(next) {
                let circle = self.walk(next, path, done);
                if circle.is_some() {
                    return circle;
                }
            }
        }
        path.pop();
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(needs: &[(&str, &[&str])]) -> Order {
        let needs =
            needs.iter().map(|(name, list)| ((*name).into(), list.iter().map(|n| (*n).into()).collect()));
        Order { needs: needs.collect() }
    }

    #[test]
    fn a_circle_is_shown_with_its_path() {
        let circle = order(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])]).circle();
        let names: Vec<String> = circle.into_iter().flatten().map(|n| n.to_string()).collect();
        assert_eq!(names, ["b", "c", "b"]);
    }

    #[test]
    fn a_diamond_is_no_circle() {
        assert_eq!(order(&[("a", &["b", "c"]), ("b", &["d"]), ("c", &["d"]), ("d", &[])]).circle(), None);
    }
}
