//! What must hold of the counting, whatever happened.

use proptest::prelude::*;

use super::{
    super::definition::Order, Chain, EXCLUDED, Hit, MAY_ENTER, Outcome, Rules, STEP_BITS, STEPS_MAX, Scratch,
    Stay, count, reference, reference::Verdict,
};
use crate::index::Micros;

const ORDERS: [Order; 3] = [Order::Ordered, Order::Strict, Order::Unordered];

/// Hits of a few moments. Times are dense, so that many are equal.
fn hits(steps: usize, most: usize, exclusions: bool) -> impl Strategy<Value = Vec<Hit>> {
    let hit = (0..8_i64, 0..1_u32 << steps, any::<bool>(), 0..6_u8, 0..6_u8).prop_map(
        move |(time, mask, single, kind, entering)| {
            // Most events serve one step or none, as in life.
            let mask = if single { mask & mask.wrapping_neg() } else { mask };
            let mask = match kind {
                0 if exclusions => EXCLUDED,
                _ => mask,
            };
            let enter = if entering == 0 { 0 } else { MAY_ENTER };
            Hit {
                time,
                mask: mask | enter,
                at: 0,
            }
        },
    );
    prop::collection::vec(hit, 0..=most).prop_map(|mut hits| {
        hits.sort_by_key(|hit| hit.time);
        hits
    })
}

fn stay() -> impl Strategy<Value = Stay> {
    prop_oneof![
        3 => Just(Stay::ANY),
        1 => (0..4_i64, 0..5_i64).prop_map(|(min, more)| Stay { min, max: min + more }),
        1 => (0..4_i64).prop_map(|min| Stay { min, max: Micros::MAX }),
    ]
}

fn plain(order: Order, steps: usize, window: Micros) -> Rules {
    Rules {
        order,
        window,
        optional: 0,
        stays: vec![Stay::ANY; steps],
    }
}

/// Rules of any kind; unordered ones have neither optional steps nor times on them.
fn rules(steps: usize) -> impl Strategy<Value = Rules> {
    let order = prop::sample::select(&ORDERS[..]);
    let stays = prop::collection::vec(stay(), steps);
    (order, 0..10_i64, 0..1_u32 << steps, stays).prop_map(move |(order, window, optional, stays)| {
        if order == Order::Unordered {
            return plain(order, steps, window);
        }
        let inner = (1 << (steps - 1)) - 2;
        Rules {
            order,
            window,
            optional: optional & inner,
            stays,
        }
    })
}

/// In ordered funnels nothing is asked of the first step but its bit.
fn prepared(order: Order, hits: &[Hit]) -> Vec<Hit> {
    let prepare = |hit: &Hit| {
        let clears = order != Order::Unordered && hit.mask & MAY_ENTER == 0;
        Hit {
            mask: if clears { hit.mask & !1 } else { hit.mask },
            ..*hit
        }
    };
    hits.iter().map(prepare).collect()
}

fn counted(rules: &Rules, hits: &[Hit]) -> Outcome {
    count(rules, &prepared(rules.order, hits), &mut Scratch::default())
}

fn furthest(rules: &Rules, hits: &[Hit]) -> Option<usize> {
    match counted(rules, hits) {
        Outcome::Counted(chain) => Some(chain.furthest()),
        _ => None,
    }
}

fn verdict(outcome: Outcome) -> Verdict {
    match outcome {
        Outcome::Absent => Verdict::Absent,
        Outcome::Removed => Verdict::Removed,
        Outcome::Counted(chain) => Verdict::Counted {
            furthest: chain.furthest(),
            entry: chain.entry(),
        },
    }
}

/// Whether the chain is one that the rules allow.
fn assert_valid(rules: &Rules, hits: &[Hit], chain: &Chain) {
    let steps: Vec<(usize, Micros)> = chain.steps().collect();
    assert_eq!(steps[0].0, 0);
    for pair in steps.windows(2) {
        let ((step, time), (next, later)) = (pair[0], pair[1]);
        assert!(rules.stays[step].admits(later - time), "{chain:?}");
        assert!((step + 1..next).all(|between| rules.is_optional(between)));
    }
    assert!(steps[steps.len() - 1].1 - chain.entry() <= rules.window);
    for (step, time) in steps {
        let serves =
            |hit: &Hit| hit.time == time && (rules.order == Order::Unordered || hit.mask >> step & 1 == 1);
        assert!(hits.iter().any(serves), "{chain:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn an_actor_is_judged_as_by_every_chain_there_is((rules, hits) in (2..=4_usize).prop_flat_map(
        |steps| (rules(steps), hits(steps, 7, true))
    )) {
        let hits = prepared(rules.order, &hits);
        let outcome = counted(&rules, &hits);
        prop_assert_eq!(verdict(outcome), reference::judge(&rules, &hits));
        if let Outcome::Counted(chain) = outcome {
            assert_valid(&rules, &hits, &chain);
        }
    }

    #[test]
    fn the_quick_way_is_the_general_way(
        (steps, hits) in (2..=5_usize).prop_flat_map(|steps| (Just(steps), hits(steps, 20, true))),
        window in 0..10_i64,
    ) {
        let rules = plain(Order::Ordered, steps, window);
        let hits = prepared(Order::Ordered, &hits);
        let mut scratch = Scratch::default();
        prop_assert_eq!(
            super::plain::count(&rules, &hits, &mut scratch),
            super::general::count(&rules, &hits, &mut scratch)
        );
    }

    #[test]
    fn one_scratch_serves_actor_after_actor(
        rules in rules(3), one in hits(3, 8, true), other in hits(3, 8, true),
    ) {
        let mut scratch = Scratch::default();
        let (one, other) = (prepared(rules.order, &one), prepared(rules.order, &other));
        count(&rules, &one, &mut scratch);
        prop_assert_eq!(count(&rules, &other, &mut scratch), counted(&rules, &other));
    }

    #[test]
    fn a_further_step_raises_no_earlier_one(rules in rules(4), hits in hits(4, 8, true)) {
        // Unordered counts are of numbers of steps: one more to choose from can raise each but the last.
        let order = if rules.order == Order::Unordered { Order::Ordered } else { rules.order };
        // A step that may be left out in the longer funnel cannot be the last of the shorter one.
        let rules = Rules { order, optional: rules.optional & 1 << 1, ..rules };
        let fewer = Rules { stays: rules.stays[..3].to_vec(), ..rules.clone() };
        let without: Vec<Hit> = hits.iter().map(|hit| Hit { mask: hit.mask & !(1 << 3), ..*hit }).collect();
        let (short, long) = (furthest(&fewer, &without), furthest(&rules, &hits));
        for step in 0..3 {
            let counts = |reached: Option<usize>| reached.is_some_and(|furthest| furthest >= step);
            prop_assert!(counts(short) || !counts(long));
        }
    }

    #[test]
    fn a_step_put_in_anywhere_raises_no_conversion(hits in hits(4, 8, false), window in 0..10_i64, place in 0..4_usize) {
        for order in ORDERS {
            let low = (1_u32 << place) - 1;
            let without = |hit: &Hit| {
                let steps = hit.mask & STEP_BITS;
                Hit { mask: steps & low | (steps >> 1 & !low) | (hit.mask & !STEP_BITS), ..*hit }
            };
            let hits: Vec<Hit> = hits.iter().map(|hit| Hit { mask: hit.mask | MAY_ENTER, ..*hit }).collect();
            let fewer: Vec<Hit> = hits.iter().map(without).collect();
            let long = furthest(&plain(order, 4, window), &hits) == Some(3);
            let short = furthest(&plain(order, 3, window), &fewer) == Some(2);
            // Without the step in the middle its event would be "any other event".
            prop_assert!(short || !long || order == Order::Strict);
        }
    }

    #[test]
    fn a_wider_window_lowers_no_count(rules in rules(3), hits in hits(3, 9, false), more in 1..5_i64) {
        let wider = Rules { window: rules.window + more, ..rules.clone() };
        prop_assert!(furthest(&wider, &hits) >= furthest(&rules, &hits));
    }

    #[test]
    fn strict_converts_no_more_than_ordered_and_ordered_no_more_than_unordered(
        hits in hits(3, 9, false), window in 0..10_i64,
    ) {
        let converts = |order| furthest(&plain(order, 3, window), &hits) == Some(2);
        prop_assert!(!converts(Order::Strict) || converts(Order::Ordered));
        prop_assert!(!converts(Order::Ordered) || converts(Order::Unordered));
    }

    #[test]
    fn the_order_of_simultaneous_events_changes_nothing(
        rules in rules(3),
        (hits, shuffled) in hits(3, 9, true)
            .prop_flat_map(|hits| (Just(hits.clone()), Just(hits).prop_shuffle())),
    ) {
        let mut shuffled = shuffled;
        shuffled.sort_by_key(|hit| hit.time);
        prop_assert_eq!(counted(&rules, &hits), counted(&rules, &shuffled));
    }
}

#[test]
fn a_thousand_simultaneous_events_are_no_trouble() {
    let all = (1 << STEPS_MAX) - 1;
    let hit = |_| Hit {
        time: 5,
        mask: all | MAY_ENTER,
        at: 0,
    };
    let hits: Vec<Hit> = (0..1000).map(hit).collect();
    for order in ORDERS {
        assert_eq!(furthest(&plain(order, STEPS_MAX, 0), &hits), Some(STEPS_MAX - 1));
    }
}
