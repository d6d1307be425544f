//! Many paths: the most frequent nodes of each level, then the links between them.

use std::collections::HashMap;

use super::{
    Direction, Link, Node, NodeKind, Paths,
    walk::{Key, Plan, Scratch, Trace},
};
use crate::{analysis::counted::Counted, index::View};

type KeyMap<T> = HashMap<Key, T, foldhash::fast::RandomState>;

/// How often each node is passed, by level.
#[derive(Debug, Default)]
pub(super) struct Tally {
    considered: u64,
    paths: u64,
    people: u64,
    levels: Vec<KeyMap<u64>>,
    scratch: Scratch,
}

/// The shown nodes of one level: by key its rank. The rest has the rank after the last.
struct Shown {
    ranks: KeyMap<usize>,
    nodes: Vec<Node>,
}

/// Links between the shown nodes, in dense tables.
#[derive(Debug)]
struct Links {
    /// By level, then `source rank * width + target rank`; the last rank of a target is the end of the path.
    levels: Vec<Vec<u32>>,
    /// By rank, at the last level.
    goes_on: Vec<u32>,
    scratch: Scratch,
}

impl Tally {
    /// Counts nodes.
    pub(super) fn count(view: &View, counted: &Counted<'_>, plan: &Plan) -> Self {
        let start = || Self {
            levels: (0..plan.depth).map(|_| KeyMap::default()).collect(),
            ..Self::default()
        };
        view.fold(
            start,
            |tally, person| {
                let before = tally.paths;
                let (paths, levels) = (&mut tally.paths, &mut tally.levels);
                tally.considered += plan.trace_person(counted, person, &mut tally.scratch, |trace| {
                    *paths += 1;
                    for (level, key) in levels.iter_mut().zip(&trace.nodes) {
                        *level.entry(*key).or_default() += 1;
                    }
                });
                tally.people += u64::from(tally.paths > before);
            },
            Self::merge,
        )
    }

    fn merge(&mut self, other: Self) {
        self.considered += other.considered;
        self.paths += other.paths;
        self.people += other.people;
        for (level, other) in self.levels.iter_mut().zip(other.levels) {
            for (key, count) in other {
                *level.entry(key).or_default() += count;
            }
        }
    }

    /// Counts links and puts the diagram together.
    pub(super) fn finish(self, view: &View, counted: &Counted<'_>, plan: &Plan) -> Paths {
        let levels = self.levels.iter().enumerate();
        let shown: Vec<Shown> = levels
            .map(|(level, keys)| Shown::new(level, keys, plan))
            .collect();
        let links = Links::count(view, counted, plan, &shown);
        let mut paths = Paths {
            considered: self.considered,
            paths: self.paths,
            people: self.people,
            nodes: Vec::new(),
            links: Vec::new(),
        };
        links.draw(shown, plan, &mut paths);
        paths
    }
}

impl Shown {
    fn new(level: usize, counts: &KeyMap<u64>, plan: &Plan) -> Self {
        let mut keys: Vec<(Key, u64)> = counts.iter().map(|(key, count)| (*key, *count)).collect();
        // Names decide between equals, so that the answer is always the same.
        let order = |(one, count): &(Key, u64), (other, other_count): &(Key, u64)| {
            let by_name = || plan.texts(*one).cmp(&plan.texts(*other));
            other_count.cmp(count).then_with(by_name)
        };
        if keys.len() > plan.top {
            keys.select_nth_unstable_by(plan.top, order);
        }
        let shown_count = plan.top.min(keys.len());
        let (top, _) = keys.split_at_mut(shown_count);
        top.sort_unstable_by(order);
        let ranks = top
            .iter()
            .enumerate()
            .map(|(rank, (key, _))| (*key, rank))
            .collect();
        let node = |(key, count): &(Key, u64)| Node {
            count: *count,
            ..plan.node(level, *key)
        };
        let mut nodes: Vec<Node> = top.iter().map(node).collect();
        let merged = keys.len() - nodes.len();
        if merged > 0 {
            let all: u64 = keys.iter().map(|(_, count)| count).sum();
            let shown: u64 = nodes.iter().map(|node| node.count).sum();
            nodes.push(Node {
                merged: Some(merged),
                ..bare(level, NodeKind::Other, all - shown)
            });
        }
        Self { ranks, nodes }
    }

    fn rank(&self, key: Key) -> usize {
        self.ranks.get(&key).copied().unwrap_or(self.ranks.len())
    }
}

fn bare(level: usize, kind: NodeKind, count: u64) -> Node {
    let name = match kind {
        NodeKind::Exit => "(exit)",
        NodeKind::Entry => "(entry)",
        _ => "(other)",
    };
    Node {
        level,
        kind,
        name: name.to_owned(),
        page: None,
        event_type: None,
        count,
        goes_on: 0,
        merged: None,
    }
}

impl Links {
    /// Targets of a level: the shown nodes, the rest of them, and the end.
    fn width(plan: &Plan) -> usize {
        plan.top + 2
    }

    fn new(plan: &Plan) -> Self {
        let width = Self::width(plan);
        Self {
            levels: vec![vec![0; width * width]; plan.depth],
            goes_on: vec![0; width],
            scratch: Scratch::default(),
        }
    }

    fn count(view: &View, counted: &Counted<'_>, plan: &Plan, shown: &[Shown]) -> Self {
        view.fold(
            || Self::new(plan),
            |links, person| {
                let Self {
                    levels,
                    goes_on,
                    scratch,
                } = links;
                plan.trace_person(counted, person, scratch, |trace| {
                    add(levels, goes_on, shown, trace, Self::width(plan));
                });
            },
            |total, part| {
                let numbers = total.levels.iter_mut().flatten().chain(&mut total.goes_on);
                let others = part.levels.into_iter().flatten().chain(part.goes_on);
                numbers.zip(others).for_each(|(number, other)| *number += other);
            },
        )
    }

    /// Puts nodes and links in their order: by level, links of the same source together.
    fn draw(self, shown: Vec<Shown>, plan: &Plan, paths: &mut Paths) {
        let width = Self::width(plan);
        let end_kind = match plan.direction {
            Direction::Forward => NodeKind::Exit,
            Direction::Backward => NodeKind::Entry,
        };
        let sizes: Vec<usize> = shown.iter().map(|level| level.nodes.len()).chain([0]).collect();
        let mut ended = 0;
        let mut places = Vec::new();
        for (level, mut nodes) in shown
            .into_iter()
            .map(|shown| shown.nodes)
            .chain([Vec::new()])
            .enumerate()
        {
            places.push(paths.nodes.len());
            if level + 1 == plan.depth {
                nodes
                    .iter_mut()
                    .zip(&self.goes_on)
                    .for_each(|(node, goes_on)| node.goes_on = u64::from(*goes_on));
            }
            paths.nodes.append(&mut nodes);
            if ended > 0 {
                paths.nodes.push(bare(level, end_kind, ended));
            }
            let ends = self
                .levels
                .get(level)
                .into_iter()
                .flatten()
                .skip(width - 1)
                .step_by(width);
            ended = ends.map(|count| u64::from(*count)).sum();
        }
        for (level, counts) in self.levels.iter().enumerate() {
            for (at, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                let near = places[level] + at / width;
                let far = match at % width {
                    rank if rank == width - 1 => places[level + 1] + sizes[level + 1],
                    rank => places[level + 1] + rank,
                };
                let (source, target) = match plan.direction {
                    Direction::Forward => (near, far),
                    Direction::Backward => (far, near),
                };
                paths.links.push(Link {
                    source,
                    target,
                    count: u64::from(*count),
                });
            }
        }
    }
}

fn add(levels: &mut [Vec<u32>], goes_on: &mut [u32], shown: &[Shown], trace: &Trace, width: usize) {
    let mut ranks = trace.nodes.iter().zip(shown).map(|(key, shown)| shown.rank(*key));
    let Some(mut source) = ranks.next() else { return };
    let mut level = 0;
    for target in ranks {
        levels[level][source * width + target] += 1;
        source = target;
        level += 1;
    }
    if trace.goes_on {
        goes_on[source] += 1;
    } else {
        levels[level][source * width + width - 1] += 1;
    }
}
