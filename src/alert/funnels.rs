//! The steps of kept funnels, and where their changes sit.

use uuid::Uuid;

use super::{
    evaluate::Series,
    judge::{Alarm, Window},
    site::HOURS_BACK,
    subject::Subject,
};
use crate::{
    alert::baseline::Calendar,
    analysis::{
        contrast::{Reason, reasons_of_rate},
        funnel::{
            Funnel,
            hourly::{step_segments, step_series, watched_steps},
        },
        series::{HOUR, Hour},
    },
    index::View,
};

/// A funnel whose steps are watched.
#[derive(Clone, Debug)]
pub struct Watched {
    pub id: Uuid,
    pub funnel: Funnel,
}

impl Watched {
    /// Watches a funnel; `None` when the index alone cannot answer it.
    pub fn new(id: Uuid, funnel: Funnel) -> Option<Self> {
        let needs_store = funnel
            .steps
            .iter()
            .chain(&funnel.exclusions)
            .any(|event| !event.conditions.is_empty());
        (!needs_store).then_some(Self { id, funnel })
    }

    /// Returns the series of each watched step up to the hour `end`, which is not over.
    pub fn series(&self, view: &View, end: Hour) -> Vec<Series> {
        let covered = view.covered_from.div_euclid(HOUR) + 1;
        let first = covered.max(end - HOURS_BACK);
        let series = step_series(view, &self.funnel, first, end);
        let steps = watched_steps(&self.funnel).into_iter();
        steps
            .zip(series)
            .map(|(step, hourly)| Series::new(self.subject(step), hourly))
            .collect()
    }

    fn subject(&self, step: usize) -> Subject {
        Subject::FunnelStep {
            funnel: self.id,
            step: step as u16 + 1,
        }
    }

    /// Names the segments that an alarm about a step of this funnel is concentrated in.
    pub fn reasons(&self, view: &View, alarm: &Alarm, calendar: &Calendar) -> Vec<Reason> {
        let Subject::FunnelStep { funnel, step } = alarm.subject else {
            return Vec::new();
        };
        if funnel != self.id || step == 0 {
            return Vec::new();
        }
        let evidence = &alarm.evidence;
        let length = if evidence.window == Window::Day { 24 } else { 1 };
        let now = calendar.window(0, length, 0);
        let reference: Vec<Hour> = (1..=evidence.weeks)
            .flat_map(|week| calendar.window(week, length, 0))
            .copied()
            .collect();
        reasons_of_rate(&step_segments(
            view,
            &self.funnel,
            usize::from(step) - 1,
            now,
            &reference,
        ))
    }
}
