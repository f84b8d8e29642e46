//! The shape of a region's control flow: order, dominators, loops, merges.
//!
//! WebAssembly has structured control flow only. A graph in which every way back leads to a node that dominates where it
//! comes from can be written with `loop`, `block` and `if` directly (Ramsey, "Beyond Relooper", 2022). Other ways back go by
//! way of the entry where that dispatches; elsewhere they are cut, so that they leave the region.

use crate::plan::{Region, Target};

/// See the module. Nodes are numbered as in the region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The reachable nodes, each after those it is reached from, ways back apart.
    pub order: Vec<usize>,
    /// The place of a node in `order`; `usize::MAX` for one that is not reached.
    pub place: Vec<usize>,
    /// The immediate dominator.
    pub dominator: Vec<usize>,
    /// Whether ways back lead here.
    pub is_loop: Vec<bool>,
    /// Whether several ways forward lead here.
    pub is_merge: Vec<bool>,
    /// The nodes dominated immediately, in order.
    pub children: Vec<Vec<usize>>,
}

impl Shape {
    /// Cuts what cannot be written, and tells the shape of the rest.
    pub fn of(region: &mut Region) -> Shape {
        loop {
            let shape = Shape::compute(region);
            let bad = |from: usize, to: usize| shape.is_back(from, to) && !shape.dominates(to, from);
            let edges = shape.order.iter().flat_map(|&from| successors(region, from).map(move |to| (from, to)));
            let edges: Vec<(usize, usize)> = edges.filter(|&(from, to)| bad(from, to)).collect();
            if edges.is_empty() {
                return shape;
            }
            if !shape.keep_dispatchers_out(region, &edges) && !region.detour(&edges) {
                region.cut_edges(bad);
            }
        }
    }

    /// Takes edges from dispatchers, but for the entry, into the middle of loops away; tells whether there were any.
    fn keep_dispatchers_out(&self, region: &mut Region, bad: &[(usize, usize)]) -> bool {
        let mut before: Vec<Vec<usize>> = vec![Vec::new(); region.nodes.len()];
        let mut after = before.clone();
        let code = |node: usize| region.nodes[node].is_code();
        for &node in self.order.iter().filter(|&&node| code(node)) {
            for to in successors(region, node).filter(|&to| code(to)) {
                before[to].push(node);
                after[node].push(to);
            }
        }
        let mut away = vec![false; region.nodes.len()];
        for &(from, to) in bad {
            // The nodes of the loop: what its beginning leads to and what leads to its end, without dispatchers.
            let (down, up) = (reached(&after, to), reached(&before, from));
            for node in (1..region.nodes.len()).filter(|&node| node != to && down[node] && up[node]) {
                away[node] = true;
            }
        }
        let mut cut = false;
        let entry = region.entry;
        let dispatches: Vec<bool> =
            region.nodes.iter().enumerate().map(|(number, node)| !node.is_code() && number != entry).collect();
        region.cut_edges(|from, to| {
            let hit = dispatches[from] && away[to];
            cut |= hit;
            hit
        });
        cut
    }

    /// Whether an edge leads back.
    pub fn is_back(&self, from: usize, to: usize) -> bool {
        self.place[from] != usize::MAX && self.place[to] <= self.place[from]
    }

    fn dominates(&self, a: usize, mut b: usize) -> bool {
        while self.place[b] > self.place[a] {
            b = self.dominator[b];
        }
        a == b
    }

    fn compute(region: &Region) -> Shape {
        let count = region.nodes.len();
        let order = order(region);
        let mut place = vec![usize::MAX; count];
        for (i, &node) in order.iter().enumerate() {
            place[node] = i;
        }
        let mut before: Vec<Vec<usize>> = vec![Vec::new(); count];
        let mut edges: Vec<(usize, usize)> = Vec::new();
        for &node in &order {
            for to in successors(region, node) {
                before[to].push(node);
                edges.push((node, to));
            }
        }
        // Cooper, Harvey, Kennedy: "A simple, fast dominance algorithm".
        let mut dominator = vec![usize::MAX; count];
        if let Some(&entry) = order.first() {
            dominator[entry] = entry;
        }
        let mut changed = true;
        while changed {
            changed = false;
            for &node in order.iter().skip(1) {
                let mut new = usize::MAX;
                for &from in &before[node] {
                    if dominator[from] == usize::MAX {
                        continue;
                    }
                    new = if new == usize::MAX { from } else { common(&dominator, &place, new, from) };
                }
                if dominator[node] != new {
                    dominator[node] = new;
                    changed = true;
                }
            }
        }
        let mut forward = vec![0; count];
        let mut is_loop = vec![false; count];
        for &(from, to) in &edges {
            if place[to] <= place[from] {
                is_loop[to] = true;
            } else {
                // What dispatches does so by branches.
                forward[to] += if region.nodes[from].is_code() { 1 } else { 2 };
            }
        }
        let mut children = vec![Vec::new(); count];
        for &node in order.iter().skip(1) {
            if let Some(list) = children.get_mut(dominator[node]) {
                list.push(node);
            }
        }
        let is_merge = forward.iter().map(|&n| n > 1).collect();
        Shape { order, place, dominator, is_loop, is_merge, children }
    }
}

fn successors(region: &Region, node: usize) -> impl Iterator<Item = usize> + '_ {
    region.targets(node).filter_map(|target| match target {
        Target::Node(to) => Some(to),
        Target::Out(_) => None,
    })
}

/// Reverse post-order from the entry.
fn order(region: &Region) -> Vec<usize> {
    let mut order = Vec::with_capacity(region.nodes.len());
    let mut seen = vec![false; region.nodes.len()];
    let entry = region.entry;
    let mut stack = vec![(entry, successors(region, entry).collect::<Vec<_>>())];
    seen[entry] = true;
    while let Some((node, rest)) = stack.last_mut() {
        match rest.pop() {
            Some(to) if !seen[to] => {
                seen[to] = true;
                let next = successors(region, to).collect();
                stack.push((to, next));
            }
            Some(_) => {}
            None => {
                order.push(*node);
                stack.pop();
            }
        }
    }
    order.reverse();
    order
}

fn common(dominator: &[usize], place: &[usize], mut a: usize, mut b: usize) -> usize {
    while a != b {
        while place[a] > place[b] {
            a = dominator[a];
        }
        while place[b] > place[a] {
            b = dominator[b];
        }
    }
    a
}

/// What a node leads to by some edges.
fn reached(edges: &[Vec<usize>], from: usize) -> Vec<bool> {
    let mut seen = vec![false; edges.len()];
    let mut next = vec![from];
    while let Some(node) = next.pop() {
        if !std::mem::replace(&mut seen[node], true) {
            next.extend(&edges[node]);
        }
    }
    seen
}
