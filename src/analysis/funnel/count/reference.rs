//! The rules once more, written to be obviously right instead of quick: every chain there is, one after the other.

use super::{EXCLUDED, Hit, MAY_ENTER, Rules, STEP_BITS, bits};
use crate::{analysis::funnel::definition::Order, index::Micros};

/// What came of an actor, without the times between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Absent,
    Removed,
    Counted { furthest: usize, entry: Micros },
}

/// A chain: events with the steps they serve.
type Path = Vec<(usize, usize)>;

/// Judges an actor by every chain there is.
pub(super) fn judge(rules: &Rules, hits: &[Hit]) -> Verdict {
    let mut paths = Vec::new();
    grow(rules, hits, &mut Vec::new(), &mut paths);
    if rules.order == Order::Strict {
        paths.retain(|path| is_contiguous(hits, path));
    }
    let times: Vec<Micros> = hits.iter().map(|hit| hit.time).collect();
    let entry_of = |path: &Path| path.iter().map(|(event, _)| times[*event]).min().unwrap();
    let end_of = |path: &Path| path.iter().map(|(event, _)| times[*event]).max().unwrap();
    let level_of = |path: &Path| match rules.order {
        Order::Unordered => path.len() - 1,
        _ => path[path.len() - 1].1,
    };
    // By step: the newest entry of all chains that reached it up to a time, as time goes on.
    let newest = |level: usize, time: Micros| {
        let there = paths
            .iter()
            .filter(|path| level_of(path) == level && end_of(path) <= time);
        there.map(entry_of).max()
    };
    let mut verdict = Verdict::Absent;
    for level in 0..rules.steps() {
        let mut before = None;
        for time in &times {
            let Some(entry) = newest(level, *time) else {
                continue;
            };
            let is_excluded = |hit: &Hit| hit.mask & EXCLUDED != 0 && entry < hit.time && hit.time < *time;
            if before.is_none_or(|before| before < entry) && hits.iter().any(is_excluded) {
                // A chain without gaps has no room for an exclusion.
                assert_ne!(rules.order, Order::Strict);
                return Verdict::Removed;
            }
            before = Some(entry);
        }
        if let Some(entry) = before {
            verdict = Verdict::Counted {
                furthest: level,
                entry,
            };
        }
    }
    verdict
}

fn grow(rules: &Rules, hits: &[Hit], path: &mut Path, paths: &mut Vec<Path>) {
    for (event, hit) in hits.iter().enumerate() {
        if path.iter().any(|(used, _)| *used == event) {
            continue;
        }
        for step in bits(hit.mask & STEP_BITS) {
            if may_follow(rules, hits, path, event, step) {
                path.push((event, step));
                paths.push(path.clone());
                grow(rules, hits, path, paths);
                path.pop();
            }
        }
    }
}

fn may_follow(rules: &Rules, hits: &[Hit], path: &Path, event: usize, step: usize) -> bool {
    let time = hits[event].time;
    let Some(&(last, last_step)) = path.last() else {
        let is_first = rules.order == Order::Unordered || step == 0;
        return is_first && hits[event].mask & MAY_ENTER != 0;
    };
    let entry = hits[path[0].0].time;
    let gap = time - hits[last].time;
    let is_in_time = gap >= 0 && time - entry <= rules.window;
    let is_next = match rules.order {
        Order::Unordered => path.iter().all(|(_, done)| *done != step),
        _ => {
            step > last_step
                && (last_step + 1..step).all(|between| rules.is_optional(between))
                && rules.stays[last_step].admits(gap)
        }
    };
    is_in_time && is_next
}

/// Whether nothing else lies between the events of a chain, for some order of those at the same time.
fn is_contiguous(hits: &[Hit], path: &Path) -> bool {
    let (first, last) = (hits[path[0].0].time, hits[path[path.len() - 1].0].time);
    (0..hits.len()).all(|event| {
        let is_used = path.iter().any(|(used, _)| *used == event);
        is_used || hits[event].time <= first || hits[event].time >= last
    })
}
