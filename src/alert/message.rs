//! Alerts in words. All wording is here.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::subject::{Measure, Subject};
use crate::store::alerts::AlertRow;

/// What happened to an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Opened,
    Escalated,
    Resolved,
}

impl Event {
    /// Returns the word for it in the store and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Escalated => "escalated",
            Self::Resolved => "resolved",
        }
    }
}

/// A message about an alert, before a channel gives it its form.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Notice {
    /// `opened`, `escalated`, `resolved` or `test`.
    pub event: String,
    pub title: String,
    /// One sentence each.
    pub lines: Vec<String>,
    /// Where to read more.
    pub url: Option<String>,
    /// The alert as it was then; null in a test.
    pub alert: Value,
}

impl Notice {
    /// Describes what happened to an alert; links begin with `public_url` unless it is empty.
    pub fn new(event: Event, alert: &AlertRow, public_url: &str) -> Self {
        let name = name(&alert.subject);
        let title = match event {
            Event::Opened => format!("{}: {name} {}", severity(alert), deviation(alert)),
            Event::Escalated => format!("Now {}: {name} {}", alert.severity, deviation(alert)),
            Event::Resolved => format!("Resolved: {name}"),
        };
        let mut lines = vec![figures(alert)];
        lines.extend(reasons(alert));
        if event == Event::Resolved {
            lines.push(match alert.resolved_reason.as_deref() {
                Some("recovered") => "The figure is back to what earlier weeks let expect.".into(),
                _ => "Somebody resolved it.".into(),
            });
        }
        Self {
            event: event.as_str().into(),
            title,
            lines,
            url: (!public_url.is_empty()).then(|| format!("{public_url}/api/v1/alerts/{}", alert.id)),
            alert: content(alert),
        }
    }

    /// A message that only shows that messages arrive.
    pub fn test() -> Self {
        Self {
            event: "test".into(),
            title: "Test: alerts arrive here".into(),
            lines: vec!["Somebody asked for this message. Nothing is wrong.".into()],
            url: None,
            alert: Value::Null,
        }
    }

    /// Returns the lines and the address as plain text.
    pub fn text(&self) -> String {
        let lines = self.lines.iter().chain(&self.url);
        lines.map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

/// The alert as programs read it.
fn content(alert: &AlertRow) -> Value {
    json!({
        "id": alert.id,
        "subject": alert.subject,
        "severity": alert.severity,
        "status": alert.status,
        "opened_at": alert.opened_at,
        "resolved_at": alert.resolved_at,
        "resolved_reason": alert.resolved_reason,
        "expected": alert.expected,
        "observed": alert.observed,
        "effect": alert.effect,
        "p_value": alert.p_value,
        "trials": alert.trials,
        "weeks": alert.weeks,
        "window": {"kind": alert.window_kind, "from": alert.window_from, "to": alert.window_to},
        "reasons": alert.reasons,
    })
}

fn name(subject: &str) -> String {
    match subject.parse() {
        Ok(Subject::Traffic) => "traffic".into(),
        Ok(Subject::ConversionRate) => "conversion rate".into(),
        Ok(Subject::ErrorRate) => "sessions with JavaScript errors".into(),
        Ok(Subject::NoData) => "no data".into(),
        Ok(Subject::FunnelStep { funnel, step }) => format!("step {step} of funnel {funnel}"),
        Err(_) => subject.into(),
    }
}

fn measure(alert: &AlertRow) -> Measure {
    alert.subject.parse().map_or(Measure::Count, Subject::measure)
}

fn severity(alert: &AlertRow) -> String {
    let mut letters = alert.severity.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

fn deviation(alert: &AlertRow) -> String {
    if measure(alert) == Measure::Silence {
        let hours = (alert.window_to - alert.window_from).num_hours();
        return format!("for {hours} hours");
    }
    let percent = (alert.effect.abs() * 100.0).round();
    let direction = if alert.effect < 0.0 { "down" } else { "up" };
    format!("{direction} {percent} %")
}

fn figures(alert: &AlertRow) -> String {
    let window = match alert.window_kind.as_str() {
        "hour" => "In the hour",
        "day" => "In the 24 hours",
        _ => "In the hours",
    };
    let until = alert.window_to.format("%Y-%m-%d %H:%M UTC");
    let from = alert.window_from.format("%Y-%m-%d %H:%M");
    let (observed, expected) = match measure(alert) {
        Measure::Rate => (percent(alert.observed), percent(alert.expected)),
        _ => (number(alert.observed), number(alert.expected)),
    };
    let of = alert
        .trials
        .map(|trials| format!(" of {trials}"))
        .unwrap_or_default();
    format!(
        "{window} from {from} to {until}: {observed}{of}, where the same hours of {} earlier weeks let expect {expected}.",
        alert.weeks
    )
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn number(number: f64) -> String {
    format!("{number:.0}")
}

fn reasons(alert: &AlertRow) -> Vec<String> {
    let reasons = alert.reasons.as_array().map(Vec::as_slice).unwrap_or_default();
    reasons.iter().filter_map(reason).collect()
}

fn reason(reason: &Value) -> Option<String> {
    let dimension = reason["dimension"].as_str()?.replace('_', " ");
    let value = reason["value"].as_str().unwrap_or("none");
    let (expected, observed) = (reason["expected"].as_f64()?, reason["observed"].as_f64()?);
    let share = reason["share"].as_f64()?.min(1.0);
    let figures = match reason["change"].as_str()? {
        "rate" => format!("{} instead of {}", percent(observed), percent(expected)),
        "mix" => format!(
            "{} of sessions instead of {}",
            percent(observed),
            percent(expected)
        ),
        _ => format!("{} instead of {}", number(observed), number(expected)),
    };
    Some(format!(
        "{:.0} % of the change: {dimension} {value}, {figures}.",
        share * 100.0
    ))
}

#[cfg(test)]
pub(super) mod tests {
    use uuid::Uuid;

    use super::*;

    pub(in crate::alert) fn alert() -> AlertRow {
        AlertRow {
            id: Uuid::from_u128(1),
            subject: "conversion_rate".into(),
            severity: "high".into(),
            status: "open".into(),
            opened_at: "2026-06-16T11:05:00Z".parse().unwrap(),
            updated_at: "2026-06-16T11:05:00Z".parse().unwrap(),
            acknowledged_at: None,
            acknowledged_by: None,
            resolved_at: None,
            resolved_reason: None,
            expected: 0.1,
            observed: 0.04,
            effect: -0.6,
            p_value: 1e-9,
            trials: Some(1000),
            weeks: 8,
            window_kind: "hour".into(),
            window_from: "2026-06-16T09:00:00Z".parse().unwrap(),
            window_to: "2026-06-16T10:00:00Z".parse().unwrap(),
            reasons: json!([{"dimension": "device_type", "value": "mobile", "change": "rate", "expected": 0.09,
                "observed": 0.01, "share": 0.95, "sessions": 600}]),
            quiet_evaluations: 0,
        }
    }

    #[test]
    fn an_alert_says_what_when_how_much_and_where() {
        let notice = Notice::new(Event::Opened, &alert(), "https://journey.example");
        assert_eq!(notice.title, "High: conversion rate down 60 %");
        assert_eq!(
            notice.text(),
            "In the hour from 2026-06-16 09:00 to 2026-06-16 10:00 UTC: 4.0 % of 1000, where the same hours of 8 earlier \
             weeks let expect 10.0 %.\n\
             95 % of the change: device type mobile, 1.0 % instead of 9.0 %.\n\
             https://journey.example/api/v1/alerts/00000000-0000-0000-0000-000000000001"
        );
    }

    #[test]
    fn silence_is_told_in_hours_and_the_end_with_its_reason() {
        let silent = AlertRow {
            subject: "no_data".into(),
            window_kind: "silence".into(),
            effect: -1.0,
            resolved_reason: Some("recovered".into()),
            reasons: json!([]),
            trials: None,
            ..alert()
        };
        let opened = Notice::new(Event::Opened, &silent, "");
        assert_eq!(opened.title, "High: no data for 1 hours");
        assert_eq!(opened.url, None);
        let resolved = Notice::new(Event::Resolved, &silent, "");
        assert_eq!(resolved.title, "Resolved: no data");
        assert!(resolved.text().ends_with("let expect."));
    }

    #[test]
    fn a_notice_comes_back_from_the_store_as_it_went() {
        let notice = Notice::new(Event::Escalated, &alert(), "");
        let back: Notice = serde_json::from_value(serde_json::to_value(&notice).unwrap()).unwrap();
        assert_eq!(back, notice);
    }
}
