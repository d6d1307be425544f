//! Conversions and revenue, shared out.

use std::{cmp::Reverse, collections::BTreeMap};

use rust_decimal::Decimal;

use super::{
    Amount, Attribution, ConversionPath, Credit, Model, PEOPLE_MIN, Question, Revenue, Step, ValueCredits,
    apportion::apportion,
    money,
    touch::{Conversion, Found, Touch},
    values::Values,
};
use crate::index::{NameId, View};

/// Parts of a conversion that credit comes in.
const CONVERSION: i128 = 1_000_000;
/// Digits after the point of [`CONVERSION`].
const CONVERSION_SCALE: u32 = 6;

/// How large the largest weight is when removal effects become whole numbers: as many steps as a float tells apart.
const EFFECT_UNIT: f64 = (1_u64 << f64::MANTISSA_DIGITS) as f64;

/// One currency in which there is revenue.
#[derive(Debug)]
struct Purse {
    label: NameId,
    currency: Option<String>,
    scale: u32,
    /// All of it, in units.
    total: i128,
}

/// What one model gives each value: millionths of conversions, then units of each currency.
#[derive(Debug)]
struct Shares {
    /// By purse, the conversions being the first, then by value.
    parts: Vec<Vec<i128>>,
}

/// Shares everything out.
pub(super) fn share_out(view: &View, values: &Values, found: &Found, question: &Question) -> Attribution {
    let purses = purses(view, &found.conversions);
    let effects = found.chain.removal_effects();
    let shares: Vec<(Model, Shares)> = question
        .models
        .iter()
        .map(|model| {
            let shares = match model {
                Model::DataDriven => Shares::by_effect(&effects, found, &purses),
                model => Shares::by_touch(*model, values.len(), found, &purses),
            };
            (*model, shares)
        })
        .collect();
    let revenue = purses.iter().map(|purse| Revenue {
        currency: purse.currency.clone(),
        amount: money::amount(purse.total, purse.scale),
        decimals: purse.scale,
    });
    let is_direct_only = |(_, touches): &(&Conversion, &[Touch])| touches.iter().all(|touch| touch.is_direct);
    Attribution {
        dimension: question.dimension,
        conversions: found.conversions.len() as u64,
        people: found.converters,
        direct_only: found.paths().filter(is_direct_only).count() as u64,
        revenue: revenue.collect(),
        values: lines(values, found, &effects, &shares, &purses),
        paths: top_paths(values, found, question.paths),
    }
}

/// Returns the currencies, in the order of their codes.
fn purses(view: &View, conversions: &[Conversion]) -> Vec<Purse> {
    let mut amounts: BTreeMap<NameId, Vec<Decimal>> = BTreeMap::new();
    for order in conversions.iter().filter_map(|conversion| conversion.order) {
        if !order.value.is_zero() {
            amounts.entry(order.currency).or_default().push(order.value);
        }
    }
    let names = view.names();
    let purse = |(label, amounts): (NameId, Vec<Decimal>)| {
        let currency = names.label(label);
        let scale = money::scale(money::exponent(currency), amounts.iter().copied());
        Purse {
            label,
            currency: currency.map(str::to_owned),
            scale,
            total: amounts.iter().fold(0, |sum: i128, amount| {
                sum.saturating_add(money::units(*amount, scale))
            }),
        }
    };
    let mut purses: Vec<Purse> = amounts.into_iter().map(purse).collect();
    purses.sort_by(|one, other| one.currency.cmp(&other.currency));
    purses
}

impl Shares {
    fn by_touch(model: Model, values: usize, found: &Found, purses: &[Purse]) -> Self {
        let mut parts = vec![vec![0_i128; values]; purses.len() + 1];
        let (mut weights, mut shares) = (Vec::new(), Vec::new());
        let mut give = |part: &mut Vec<i128>, total, weights: &[u64], touches: &[Touch]| {
            apportion(total, weights, &mut shares);
            for (share, touch) in shares.iter().zip(touches) {
                let sum = &mut part[usize::from(touch.value)];
                *sum = sum.saturating_add(*share);
            }
        };
        for (conversion, touches) in found.paths() {
            model.weigh(touches, conversion.time, &mut weights);
            give(&mut parts[0], CONVERSION, &weights, touches);
            let Some(order) = conversion.order else { continue };
            if let Some(place) = purses.iter().position(|purse| purse.label == order.currency) {
                let units = money::units(order.value, purses[place].scale);
                give(&mut parts[place + 1], units, &weights, touches);
            }
        }
        Self { parts }
    }

    /// Shares by value instead of by touch: everything there is, in proportion to the removal effects.
    fn by_effect(effects: &[f64], found: &Found, purses: &[Purse]) -> Self {
        let weights: Vec<u64> = effects
            .iter()
            .map(|effect| (effect * EFFECT_UNIT).round() as u64)
            .collect();
        let conversions = found.conversions.len() as i128 * CONVERSION;
        let totals = std::iter::once(conversions).chain(purses.iter().map(|purse| purse.total));
        let part = |total| {
            let mut shares = Vec::new();
            apportion(total, &weights, &mut shares);
            shares.resize(effects.len(), 0);
            shares
        };
        Self {
            parts: totals.map(part).collect(),
        }
    }

    fn credit(&self, model: Model, value: usize, purses: &[Purse]) -> Credit {
        let amount = |(purse, part): (&Purse, &Vec<i128>)| Amount {
            currency: purse.currency.clone(),
            amount: money::amount(part[value], purse.scale),
        };
        Credit {
            model,
            conversions: money::amount(self.parts[0][value], CONVERSION_SCALE),
            revenue: purses.iter().zip(&self.parts[1..]).map(amount).collect(),
        }
    }
}

/// What conversions owe to one value, whatever the model.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    touches: u64,
    conversions: u64,
    assisted: u64,
}

fn parts(values: usize, found: &Found) -> Vec<Part> {
    let mut parts = vec![Part::default(); values];
    let mut touched: Vec<u16> = Vec::new();
    let distinct = |touches: &[Touch], into: &mut Vec<u16>| {
        into.clear();
        into.extend(touches.iter().map(|touch| touch.value));
        into.sort_unstable();
        into.dedup();
    };
    for (_, touches) in found.paths() {
        for touch in touches {
            parts[usize::from(touch.value)].touches += 1;
        }
        distinct(touches, &mut touched);
        touched
            .iter()
            .for_each(|value| parts[usize::from(*value)].conversions += 1);
        distinct(&touches[..touches.len() - 1], &mut touched);
        touched
            .iter()
            .for_each(|value| parts[usize::from(*value)].assisted += 1);
    }
    parts
}

fn lines(
    values: &Values,
    found: &Found,
    effects: &[f64],
    shares: &[(Model, Shares)],
    purses: &[Purse],
) -> Vec<ValueCredits> {
    let has_enough = found.converters >= PEOPLE_MIN;
    let line = |(value, part): (usize, Part)| {
        let (text, other) = values.text(value);
        ValueCredits {
            value: text,
            other,
            sessions: found.sessions[value],
            touches: part.touches,
            conversions: part.conversions,
            assisted: part.assisted,
            removal_effect: has_enough.then_some(effects[value]),
            credits: shares
                .iter()
                .map(|(model, shares)| shares.credit(*model, value, purses))
                .collect(),
        }
    };
    // A value may have an effect by nothing but sessions that led to no conversion before one that is in question.
    let is_known =
        |(value, part): &(usize, Part)| found.sessions[*value] + part.touches > 0 || effects[*value] > 0.0;
    let lines = parts(values.len(), found)
        .into_iter()
        .enumerate()
        .filter(is_known)
        .map(line);
    let mut lines: Vec<ValueCredits> = lines.collect();
    // Stable: texts decide between equals.
    lines.sort_by_key(|line| (line.other, Reverse(line.sessions)));
    lines
}

fn top_paths(values: &Values, found: &Found, limit: usize) -> Vec<ConversionPath> {
    let mut counts: BTreeMap<Vec<u16>, u64> = BTreeMap::new();
    for (_, touches) in found.paths() {
        let mut steps: Vec<u16> = touches.iter().map(|touch| touch.value).collect();
        steps.dedup();
        *counts.entry(steps).or_default() += 1;
    }
    let mut paths: Vec<(Vec<u16>, u64)> = counts.into_iter().collect();
    // Values are in the order of their texts, so what is left to decide is decided by them.
    paths.sort_by_key(|(steps, count)| (Reverse(*count), steps.len()));
    paths.truncate(limit);
    let step = |value: u16| {
        let (value, other) = values.text(usize::from(value));
        Step { value, other }
    };
    let path = |(steps, conversions): (Vec<u16>, u64)| ConversionPath {
        steps: steps.into_iter().map(step).collect(),
        conversions,
    };
    paths.into_iter().map(path).collect()
}
