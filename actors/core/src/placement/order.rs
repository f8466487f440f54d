//! What has to be looked at before what, and which of them wait for one another in a circle.

/// The nodes of a graph in an order in which what an edge leads to comes first, and their circles.
#[derive(Debug)]
pub(super) struct Order {
    /// Every node, what it leads to before it wherever that is possible.
    pub(super) nodes: Vec<usize>,
    /// Nodes of the same circle have the same number.
    pub(super) circle: Vec<usize>,
}

const UNSEEN: usize = usize::MAX;

impl Order {
    /// Tarjan's components, without recursion: chains are as long as configurations are.
    pub(super) fn of(edges: &[Vec<usize>]) -> Self {
        let count = edges.len();
        let mut seen = vec![UNSEEN; count];
        let mut low = vec![0; count];
        let mut circle = vec![UNSEEN; count];
        let (mut nodes, mut open, mut next, mut circles) = (Vec::with_capacity(count), Vec::new(), 0, 0);
        let mut path: Vec<(usize, usize)> = Vec::new();
        for root in 0..count {
            if seen[root] != UNSEEN {
                continue;
            }
            path.push((root, 0));
            while let Some((node, edge)) = path.pop() {
                if edge == 0 {
                    (seen[node], low[node]) = (next, next);
                    next += 1;
                    open.push(node);
                }
                if let Some(&to) = edges[node].get(edge) {
                    path.push((node, edge + 1));
                    if seen[to] == UNSEEN {
                        path.push((to, 0));
                    } else if circle[to] == UNSEEN {
                        low[node] = low[node].min(seen[to]);
                    }
                    continue;
                }
                nodes.push(node);
                if low[node] == seen[node] {
                    while let Some(member) = open.pop() {
                        circle[member] = circles;
                        if member == node {
                            break;
                        }
                    }
                    circles += 1;
                }
                if let Some(&(parent, _)) = path.last() {
                    low[parent] = low[parent].min(low[node]);
                }
            }
        }
        Self { nodes, circle }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_comes_first_and_circles_are_known() {
        let order = Order::of(&[vec![2], vec![], vec![1, 3], vec![2], vec![]]);
        assert_eq!(order.nodes, [1, 3, 2, 0, 4]);
        assert_eq!(order.circle[2], order.circle[3]);
        assert_ne!(order.circle[0], order.circle[2]);
        assert_ne!(order.circle[1], order.circle[2]);
    }

    #[test]
    fn a_long_chain_does_not_use_the_stack_up() {
        let edges: Vec<Vec<usize>> =
            (0..200_000).map(|n| if n == 0 { vec![] } else { vec![n - 1] }).collect();
        let turned: Vec<Vec<usize>> =
            (0..200_000).map(|n| if n == 199_999 { vec![] } else { vec![n + 1] }).collect();
        assert_eq!(Order::of(&edges).nodes.first(), Some(&0));
        assert_eq!(Order::of(&turned).nodes.first(), Some(&199_999));
    }
}
