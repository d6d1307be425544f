//! One walk over everybody, and the answer put together.

use foldhash::HashMap;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    breakdown::Breakdown,
    elsewhere::{Elsewhere, ElsewhereTally},
    matching::Plan,
    reasons::{Reasons, ReasonsTally},
    result::{Comparison, FunnelOut},
    tally::Tally,
    validation::Funnel,
    walk::{Actor, Seen, Walker},
};
use crate::{
    analysis::{dimension::Dimension, scope::Scope},
    index::View,
};

/// What to answer besides the steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub breakdown: Option<Dimension>,
    /// The period of equal length just before.
    pub compare: bool,
    pub reasons: bool,
    pub elsewhere: bool,
}

/// The answer to a funnel.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct FunnelAnswer {
    #[serde(flatten)]
    pub funnel: FunnelOut,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breakdown: Option<Breakdown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elsewhere: Option<Vec<Elsewhere>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasons: Option<Vec<Reasons>>,
}

/// Answers a funnel over a scope.
///
/// Chains are booked on the time of their entry, which lies in the scope; their later steps may lie after it, as far as
/// the window reaches. The conditions of the scope on sessions are, as those of the funnel, on the session of the
/// entry.
pub fn analyze(view: &View, funnel: &Funnel, scope: &Scope, options: Options) -> FunnelAnswer {
    let (plan, elsewhere) = {
        let names = view.names();
        let elsewhere = ElsewhereTally::new(funnel.steps.len(), &names);
        (Plan::new(funnel, scope, &names), elsewhere)
    };
    let counted = walk(view, &plan, options, &elsewhere);
    let out = FunnelOut::new(funnel, counted.tally, counted.removed);
    let comparison = options.compare.then(|| {
        let before = plan.of_period_before();
        let counted = walk(view, &before, Options::default(), &elsewhere);
        Comparison::new(&out, FunnelOut::new(funnel, counted.tally, counted.removed))
    });
    let names = view.names();
    let breakdown = counted.breakdown.map(|(dimension, tallies)| {
        Breakdown::new(dimension, plan.count_by, tallies, &names, funnel.steps.len())
    });
    FunnelAnswer {
        breakdown,
        comparison,
        elsewhere: counted.elsewhere.map(|tally| tally.finish(funnel, &names)),
        reasons: counted.reasons.map(|tally| tally.finish(funnel, &names)),
        funnel: out,
    }
}

/// What one walk counts.
#[derive(Debug)]
struct Counted {
    tally: Tally,
    removed: u64,
    breakdown: Option<(Dimension, HashMap<u32, Tally>)>,
    elsewhere: Option<ElsewhereTally>,
    reasons: Option<ReasonsTally>,
}

impl Counted {
    fn new(plan: &Plan, options: Options, elsewhere: &ElsewhereTally) -> Self {
        Self {
            tally: Tally::new(plan.rules.steps()),
            removed: 0,
            breakdown: options.breakdown.map(|dimension| (dimension, HashMap::default())),
            elsewhere: options.elsewhere.then(|| elsewhere.fresh()),
            reasons: options.reasons.then(|| ReasonsTally::new(plan)),
        }
    }

    fn add(&mut self, plan: &Plan, actor: &Actor<'_>) {
        self.tally.add(actor);
        if let Some((dimension, tallies)) = &mut self.breakdown {
            let key = dimension.key(&plan.tuples, actor.session_of(0));
            let tally = tallies.entry(key);
            tally.or_insert_with(|| Tally::new(plan.rules.steps())).add(actor);
        }
        if let Some(elsewhere) = &mut self.elsewhere {
            elsewhere.add(actor);
        }
        if let Some(reasons) = &mut self.reasons {
            reasons.add(actor);
        }
    }

    /// Adds what was counted of other people.
    fn merge(&mut self, other: Self, steps: usize) {
        self.tally.merge(other.tally);
        self.removed += other.removed;
        if let (Some((_, tallies)), Some((_, others))) = (&mut self.breakdown, other.breakdown) {
            for (key, tally) in others {
                let sum = tallies.entry(key).or_insert_with(|| Tally::new(steps));
                sum.merge(tally);
            }
        }
        if let (Some(elsewhere), Some(other)) = (&mut self.elsewhere, other.elsewhere) {
            elsewhere.merge(other);
        }
        if let (Some(reasons), Some(other)) = (&mut self.reasons, other.reasons) {
            reasons.merge(other);
        }
    }
}

fn walk(view: &View, plan: &Plan, options: Options, elsewhere: &ElsewhereTally) -> Counted {
    let start = || (Counted::new(plan, options, elsewhere), Walker::new(plan));
    let (counted, _) = view.fold(
        start,
        |(counted, walker), person| {
            walker.walk(person, |seen| match seen {
                Seen::Removed => counted.removed += 1,
                Seen::Counted(actor) => counted.add(plan, &actor),
            });
        },
        |(counted, _), (other, _)| counted.merge(other, plan.rules.steps()),
    );
    counted
}
