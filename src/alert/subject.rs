//! What alerts are about.

use std::{fmt, str::FromStr};

use uuid::Uuid;

/// Something that is measured every hour and may go wrong. Its text names it in the store and in the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// Sessions that began: `traffic`.
    Traffic,
    /// Share of sessions with a purchase: `conversion_rate`.
    ConversionRate,
    /// Share of sessions with a JavaScript error: `error_rate`.
    ErrorRate,
    /// Whether anything arrives at all: `no_data`.
    NoData,
    /// Share of those at a funnel's step (counted from 1) who reach the next one: `funnel:<id>:step:<number>`.
    FunnelStep { funnel: Uuid, step: u16 },
}

/// What is measured of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// A number of things.
    Count,
    /// The share of trials that succeed.
    Rate,
    /// The time in which nothing came.
    Silence,
}

/// Which way is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Down,
    Up,
}

impl Subject {
    pub fn measure(self) -> Measure {
        match self {
            Self::Traffic => Measure::Count,
            Self::NoData => Measure::Silence,
            Self::ConversionRate | Self::ErrorRate | Self::FunnelStep { .. } => Measure::Rate,
        }
    }

    pub fn direction(self) -> Direction {
        match self {
            Self::ErrorRate => Direction::Up,
            _ => Direction::Down,
        }
    }

    /// Returns the hours that must pass before an hour's numbers are final.
    ///
    /// A success counts when it comes within an hour, so what began in an hour is decided one hour after its end.
    pub fn lag_hours(self) -> i64 {
        match self.measure() {
            Measure::Rate => 1,
            Measure::Count | Measure::Silence => 0,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Traffic => formatter.write_str("traffic"),
            Self::ConversionRate => formatter.write_str("conversion_rate"),
            Self::ErrorRate => formatter.write_str("error_rate"),
            Self::NoData => formatter.write_str("no_data"),
            Self::FunnelStep { funnel, step } => write!(formatter, "funnel:{funnel}:step:{step}"),
        }
    }
}

/// A text that names no subject.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no subject: it must be traffic, conversion_rate, error_rate, no_data or funnel:<id>:step:<number>"
)]
pub struct UnknownSubject(String);

impl FromStr for Subject {
    type Err = UnknownSubject;

    fn from_str(text: &str) -> Result<Self, UnknownSubject> {
        let unknown = || UnknownSubject(text.into());
        Ok(match text {
            "traffic" => Self::Traffic,
            "conversion_rate" => Self::ConversionRate,
            "error_rate" => Self::ErrorRate,
            "no_data" => Self::NoData,
            _ => {
                let rest = text.strip_prefix("funnel:").ok_or_else(unknown)?;
                let (funnel, step) = rest.split_once(":step:").ok_or_else(unknown)?;
                Self::FunnelStep {
                    funnel: funnel.parse().map_err(|_| unknown())?,
                    step: step.parse().ok().filter(|step| *step > 0).ok_or_else(unknown)?,
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_read_as_it_is_written() {
        let step = Subject::FunnelStep {
            funnel: Uuid::from_u128(7),
            step: 3,
        };
        for subject in [
            Subject::Traffic,
            Subject::ConversionRate,
            Subject::ErrorRate,
            Subject::NoData,
            step,
        ] {
            assert_eq!(subject.to_string().parse(), Ok(subject));
        }
        for unknown in ["", "funnel", "funnel:1:step:1", "funnel:x:step", "Traffic"] {
            assert_eq!(unknown.parse::<Subject>(), Err(UnknownSubject(unknown.into())));
        }
        let first = Uuid::nil();
        assert!(format!("funnel:{first}:step:0").parse::<Subject>().is_err());
    }
}
