//! Random actors for `tests/oracles/funnel.py`, which asks ClickHouse for their funnels.

use std::fmt::Write as _;

use rand::{RngExt as _, SeedableRng as _, rngs::ChaCha8Rng};

use super::{super::definition::Order, Hit, MAY_ENTER, Outcome, Rules, Scratch, Stay, count};

/// Actors of each kind of funnel.
const ACTORS: usize = 20_000;

/// Each line is steps, window, actor, level by our count, and the events as `time:step`, a step that is none being the
/// number of steps. Each event serves at most one step: where one can serve several, ClickHouse lets it serve all.
#[test]
#[ignore = "writes what tests/oracles/funnel.py reads, into the file that FUNNEL_ORACLE names"]
fn random_actors_are_written_for_the_oracle() {
    let path = std::env::var("FUNNEL_ORACLE").expect("FUNNEL_ORACLE names the file to write");
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let mut scratch = Scratch::default();
    let mut text = String::new();
    for (steps, window) in [(2, 0), (2, 7), (3, 5), (3, 20), (4, 15), (5, 40)] {
        let rules = Rules {
            order: Order::Ordered,
            window,
            optional: 0,
            stays: vec![Stay::ANY; steps],
        };
        for actor in 0..ACTORS {
            let length = random.random_range(0..16);
            let mut events: Vec<(i64, usize)> = (0..length)
                .map(|_| (random.random_range(0..50), random.random_range(0..=steps)))
                .collect();
            events.sort_by_key(|(time, _)| *time);
            let hit = |(time, step): &(i64, usize)| Hit {
                time: *time,
                mask: if *step < steps { 1 << step | MAY_ENTER } else { 0 },
                at: 0,
            };
            let hits: Vec<Hit> = events.iter().map(hit).collect();
            let level = match count(&rules, &hits, &mut scratch) {
                Outcome::Counted(chain) => chain.furthest() + 1,
                _ => 0,
            };
            write!(text, "{steps} {window} {actor} {level}").unwrap();
            for (time, step) in events {
                write!(text, " {time}:{step}").unwrap();
            }
            text.push('\n');
        }
    }
    std::fs::write(path, text).unwrap();
}
