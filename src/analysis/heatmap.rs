//! Heatmaps: where on a page people click, and how far down they look.
//!
//! The store answers, since the index knows no places on pages. Here is what its answers are made of: the grid that
//! clicks are counted on, and the curve of who reached which depth.

use serde::Serialize;
use utoipa::ToSchema;

/// Views below which no share is claimed.
pub(crate) const VIEWS_MIN: i64 = 30;

/// Columns of a grid: the width of the viewport in equal parts.
pub(crate) const COLUMNS_DEFAULT: i64 = 50;
pub(crate) const COLUMNS_MAX: i64 = 200;

/// Height of a band of a grid, in pixels of the document.
pub(crate) const BAND_DEFAULT: i64 = 20;
pub(crate) const BAND_MAX: i64 = 1000;

/// A grid over a page: columns are parts of the viewport's width, so that phones of all widths fall together; bands are
/// pixels from the top, since the length of a page does not follow from the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Grid {
    pub(crate) columns: i64,
    /// Pixels of the document.
    pub(crate) band_px: i64,
}

/// One step of the curve of depths.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Reach {
    /// Percent of the page.
    pub(crate) depth: usize,
    /// Views that reached it.
    pub(crate) views: i64,
    /// Of all views that told a depth; absent below 30.
    pub(crate) share: Option<f64>,
}

/// How far down views reached.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct ScrollCurve {
    /// Views of the page.
    pub(crate) views: i64,
    /// Views that told how deep they went. The others were cut off, or are not over yet.
    pub(crate) views_measured: i64,
    /// Mean of the deepest places, in percent; absent without any.
    pub(crate) mean_depth: Option<f64>,
    /// Ten steps of ten percent.
    pub(crate) reach: Vec<Reach>,
}

impl ScrollCurve {
    /// Makes the curve from the number of views by their deepest place, 0 to 100 percent; `None` told no depth.
    pub(crate) fn of(views_by_depth: &[(Option<i16>, i64)]) -> Self {
        let mut deepest = [0_i64; 101];
        let mut views = 0;
        for (depth, count) in views_by_depth {
            views += count;
            if let Some(depth) = depth {
                deepest[usize::from(depth.clamp(&0, &100).unsigned_abs())] += count;
            }
        }
        let measured: i64 = deepest.iter().sum();
        let sum: i64 = deepest.iter().zip(0..).map(|(views, depth)| views * depth).sum();
        let reach = (1..=10).map(|tenth| {
            let views = deepest[tenth * 10..].iter().sum();
            Reach {
                depth: tenth * 10,
                views,
                share: (measured >= VIEWS_MIN).then(|| views as f64 / measured as f64),
            }
        });
        Self {
            views,
            views_measured: measured,
            mean_depth: (measured > 0).then(|| sum as f64 / measured as f64),
            reach: reach.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// The worked example of docs/analysis/heatmaps.md.
    #[test]
    fn the_documented_example_comes_out_as_it_says() {
        let curve = ScrollCurve::of(&[(Some(100), 10), (Some(55), 20), (Some(30), 10), (None, 5)]);
        assert_eq!((curve.views, curve.views_measured), (45, 40));
        assert_eq!(curve.mean_depth, Some(60.0));
        let shares: Vec<f64> = curve.reach.iter().filter_map(|step| step.share).collect();
        assert_eq!(shares, [1.0, 1.0, 1.0, 0.75, 0.75, 0.25, 0.25, 0.25, 0.25, 0.25]);
    }

    #[test]
    fn few_views_make_no_share() {
        let curve = ScrollCurve::of(&[(Some(50), VIEWS_MIN - 1), (None, 100)]);
        assert!(curve.reach.iter().all(|step| step.share.is_none()));
        assert_eq!(ScrollCurve::of(&[]).mean_depth, None);
    }

    proptest! {
        #[test]
        fn each_step_counts_the_views_that_went_as_deep(depths in vec(proptest::option::of(0i16..=100), 0..80)) {
            let rows: Vec<_> = depths.iter().map(|depth| (*depth, 1)).collect();
            let curve = ScrollCurve::of(&rows);
            prop_assert_eq!(curve.views, depths.len() as i64);
            for step in &curve.reach {
                let reached = depths.iter().flatten().filter(|depth| **depth as usize >= step.depth).count();
                prop_assert_eq!(step.views, reached as i64);
            }
        }
    }
}
