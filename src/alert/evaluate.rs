//! One evaluation of everything that is watched.
//!
//! Three steps: [`examine`] compares and judges, which is pure; the caller finds reasons for the alarms; [`record`] writes
//! what follows from them, alerts and the messages about them in one transaction.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};

use super::{
    baseline::Calendar,
    judge::{Alarm, Measured, Severity, Thresholds, Window, judge, measure},
    lifecycle::{self, History, Open, Past, Step},
    message::{Event, Notice},
    subject::Subject,
};
use crate::{
    analysis::{
        contrast::Reason,
        series::{Hour, Hourly},
    },
    config::Config,
    ops::metrics as metric,
    store::{
        StoreError,
        alerts::{self, AlertRow, Figures},
        deliveries,
    },
};

/// What is measured of a subject, by hour.
///
/// The success of a rate must be decided within [`Subject::lag_hours`] of the hour it counts in: of a funnel's step,
/// those who reached it in an hour are the trials, and those of them who reached the next step within an hour the
/// successes.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub subject: Subject,
    pub hourly: Hourly,
}

impl Series {
    pub fn new(subject: Subject, hourly: Hourly) -> Self {
        Self { subject, hourly }
    }
}

/// How alerts are raised and told, from the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    pub thresholds: Thresholds,
    pub cool_down_hours: Hour,
    pub zone: Tz,
    /// Names of the channels that are set up.
    pub channels: Vec<&'static str>,
    pub public_url: String,
}

impl Settings {
    /// Reads them from a valid configuration.
    pub fn new(config: &Config) -> Self {
        let alerts = &config.alerts;
        let share = |percent: u32| f64::from(percent) / 100.0;
        let channels = [
            ("slack", &alerts.slack_webhook_url),
            ("webhook", &alerts.webhook_url),
            ("email", &alerts.smtp_host),
        ];
        Self {
            thresholds: Thresholds {
                weeks_min: alerts.weeks_min as usize,
                rate_fall_min: share(alerts.rate_fall_percent_min),
                traffic_fall_min: share(alerts.traffic_fall_percent_min),
                error_rise_min: share(alerts.error_rise_percent_min),
                trials_min: alerts.sessions_min.into(),
                expected_min: alerts.expected_min.into(),
                false_alarm: 1.0 / (24.0 * f64::from(alerts.false_alarm_days)),
            },
            cool_down_hours: alerts.cool_down_hours.into(),
            zone: config.site.timezone.parse().unwrap_or(Tz::UTC),
            channels: channels
                .into_iter()
                .filter(|(_, address)| !address.is_empty())
                .map(|(name, _)| name)
                .collect(),
            public_url: config.server.public_url.clone(),
        }
    }
}

/// What an evaluation found.
#[derive(Clone, Debug)]
pub struct Findings {
    /// The hour it was made in; it is not over and not looked at.
    pub now: Hour,
    pub measured: Vec<Measured>,
    pub alarms: Vec<Alarm>,
    calendars: BTreeMap<Hour, Calendar>,
}

impl Findings {
    /// Returns the weeks an alarm's subject was compared over.
    pub fn calendar(&self, alarm: &Alarm) -> &Calendar {
        &self.calendars[&alarm.subject.lag_hours()]
    }
}

/// Compares every subject with its earlier weeks and judges all of them together.
pub fn examine(series: &[Series], now: Hour, zone: Tz, thresholds: &Thresholds) -> Findings {
    let mut calendars = BTreeMap::new();
    for one in series {
        let lag = one.subject.lag_hours();
        calendars
            .entry(lag)
            .or_insert_with(|| Calendar::new(now - lag, zone));
    }
    let measured: Vec<Measured> = series
        .iter()
        .filter_map(|one| {
            let calendar = &calendars[&one.subject.lag_hours()];
            measure(one.subject, &one.hourly, calendar, thresholds).ok()
        })
        .collect();
    Findings {
        now,
        alarms: judge(&measured, thresholds),
        measured,
        calendars,
    }
}

/// What an evaluation did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Subjects with enough data.
    pub judged: usize,
    pub opened: usize,
    pub escalated: usize,
    pub resolved: usize,
}

/// Writes what follows from the findings. `reasons` has those of each alarm, in their order.
///
/// # Errors
/// Those of the store; nothing is written then.
pub async fn record(
    connection: &mut PgConnection,
    findings: &Findings,
    reasons: &[Vec<Reason>],
    settings: &Settings,
    now: DateTime<Utc>,
) -> Result<Summary, StoreError> {
    let failed = StoreError::during;
    let mut transaction = connection.begin().await.map_err(failed("store.alerts.begin"))?;
    alerts::lock_evaluation(&mut transaction).await?;
    let known = alerts::latest(&mut transaction).await?;
    let mut subjects: Vec<Subject> = findings.measured.iter().map(|one| one.subject).collect();
    subjects.sort_unstable();
    let mut recorder = Recorder {
        connection: &mut transaction,
        settings,
        now,
        summary: Summary {
            judged: subjects.len(),
            ..Summary::default()
        },
    };
    for subject in subjects {
        let name = subject.to_string();
        let alert = known.iter().find(|alert| alert.subject == name);
        let (measured, alarm) = lifecycle::find(subject, &findings.measured, &findings.alarms);
        let step = lifecycle::next(
            &history(alert),
            measured,
            alarm,
            findings.now,
            settings.cool_down_hours,
            &settings.thresholds,
        );
        let place = findings.alarms.iter().position(|alarm| alarm.subject == subject);
        let reasons = place
            .and_then(|place| reasons.get(place))
            .map_or(&[][..], Vec::as_slice);
        recorder.apply(&name, alert, step, reasons).await?;
    }
    let summary = recorder.summary;
    transaction
        .commit()
        .await
        .map_err(failed("store.alerts.commit"))?;
    Ok(summary)
}

fn history(alert: Option<&AlertRow>) -> History {
    let Some(alert) = alert else {
        return History::default();
    };
    let severity = severity(&alert.severity);
    match alert.resolved_at {
        Some(resolved_at) => History {
            open: None,
            past: Some(Past {
                severity,
                resolved: resolved_at.timestamp().div_euclid(3600),
            }),
        },
        None => History {
            open: Some(Open {
                severity,
                window: window(&alert.window_kind),
                effect: alert.effect,
                quiet_evaluations: u16::try_from(alert.quiet_evaluations).unwrap_or(0),
            }),
            past: None,
        },
    }
}

/// The table allows no other words.
fn severity(text: &str) -> Severity {
    let found = Severity::ALL
        .into_iter()
        .find(|severity| severity.as_str() == text);
    found.unwrap_or(Severity::Low)
}

fn window(text: &str) -> Window {
    let all = [Window::Hour, Window::Day, Window::Silence];
    all.into_iter()
        .find(|window| window.as_str() == text)
        .unwrap_or(Window::Hour)
}

struct Recorder<'a> {
    connection: &'a mut PgConnection,
    settings: &'a Settings,
    now: DateTime<Utc>,
    summary: Summary,
}

impl Recorder<'_> {
    async fn apply(
        &mut self,
        subject: &str,
        alert: Option<&AlertRow>,
        step: Step,
        reasons: &[Reason],
    ) -> Result<(), StoreError> {
        match (step, alert) {
            (Step::Open(alarm), _) => {
                let figures = figures(&alarm, reasons);
                if let Some(opened) = alerts::open(self.connection, subject, &figures, self.now).await? {
                    self.summary.opened += 1;
                    self.tell(Event::Opened, &opened).await?;
                }
            }
            (Step::Escalate(alarm), Some(alert)) => {
                let figures = figures(&alarm, reasons);
                if let Some(graver) = alerts::escalate(self.connection, alert.id, &figures, self.now).await? {
                    self.summary.escalated += 1;
                    self.tell(Event::Escalated, &graver).await?;
                }
            }
            (Step::Resolve, Some(alert)) => {
                if let Some(resolved) =
                    alerts::resolve(self.connection, alert.id, "recovered", self.now).await?
                {
                    self.summary.resolved += 1;
                    self.tell(Event::Resolved, &resolved).await?;
                }
            }
            (Step::Calm(quiet), Some(alert)) => {
                let quiet = i16::try_from(quiet).unwrap_or(i16::MAX);
                alerts::note_evaluation(self.connection, alert.id, quiet, self.now).await?;
            }
            (Step::Confirm, Some(alert)) => {
                alerts::note_evaluation(self.connection, alert.id, 0, self.now).await?;
            }
            _ => {}
        }
        Ok(())
    }

    async fn tell(&mut self, event: Event, alert: &AlertRow) -> Result<(), StoreError> {
        tell(self.connection, self.settings, event, alert, self.now).await
    }
}

/// Counts and logs what happened to an alert, and puts the messages about it on their way.
///
/// # Errors
/// Those of the store.
pub async fn tell(
    connection: &mut PgConnection,
    settings: &Settings,
    event: Event,
    alert: &AlertRow,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let notice = Notice::new(event, alert, &settings.public_url);
    tracing::info!(alert = %alert.id, subject = alert.subject, "alert: {}", notice.title);
    metrics::counter!(metric::ALERTS, "event" => event.as_str(), "severity" => alert.severity.clone())
        .increment(1);
    let content = serde_json::to_value(&notice).expect("a notice is plain data");
    deliveries::enqueue(
        connection,
        alert.id,
        event.as_str(),
        &settings.channels,
        &content,
        now,
    )
    .await
}

fn figures(alarm: &Alarm, reasons: &[Reason]) -> Figures {
    let evidence = &alarm.evidence;
    let time = |hour: Hour| DateTime::from_timestamp(hour * 3600, 0).unwrap_or_default();
    Figures {
        severity: alarm.severity.as_str(),
        expected: evidence.expected,
        observed: evidence.observed,
        effect: evidence.effect,
        p_value: evidence.p_value,
        trials: evidence
            .trials
            .map(|trials| i64::try_from(trials).unwrap_or(i64::MAX)),
        weeks: i16::try_from(evidence.weeks).unwrap_or(i16::MAX),
        window_kind: evidence.window.as_str(),
        window_from: time(evidence.from),
        window_to: time(evidence.to),
        reasons: serde_json::to_value(reasons).unwrap_or(Value::Null),
    }
}

#[cfg(test)]
#[path = "evaluate_tests.rs"]
mod tests;
