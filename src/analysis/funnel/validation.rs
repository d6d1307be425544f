//! Whether a funnel makes sense, and all that is wrong with it if it does not.

use std::fmt::Display;

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    count::{Rules, STEPS_MAX, Stay},
    definition::{
        CountBy, EventConditionIn, EventMatchIn, FunnelDefinition, Order, SessionConditionIn, StepIn,
    },
};
use crate::{
    analysis::{
        dimension::{DIMENSIONS, Dimension},
        scope::SessionCondition,
    },
    index::Micros,
    store::event_conditions::EventCondition,
};

/// Microseconds of a second.
const SECOND: Micros = 1_000_000;

/// Longest window: a year, as far back as most keep events.
const WINDOW_SECONDS_MAX: i64 = 365 * 24 * 60 * 60;

/// Characters of a step's name at most.
const NAME_MAX: usize = 100;

/// Exclusions of a funnel at most: with the steps they fit the bits of one word.
pub const EXCLUSIONS_MAX: usize = 10;

/// Conditions on one event, and on sessions, at most.
const EVENT_CONDITIONS_MAX: usize = 10;
const SESSION_CONDITIONS_MAX: usize = 20;
const VALUES_MAX: usize = 100;

/// Characters of a pattern at most: that of the longest address that is kept.
const PATTERN_MAX: usize = 2048;

/// One thing that is wrong with a funnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Flaw {
    /// Where it is, as in `steps[1].page`.
    pub field: String,
    /// What is wrong, as a sentence.
    pub detail: String,
}

/// Which events are meant, known to make sense.
#[derive(Clone, Debug, PartialEq)]
pub struct EventMatch {
    pub event_type: Option<String>,
    /// Its host, if it has one, is in lower case.
    pub page: Option<String>,
    pub conditions: Vec<EventCondition>,
}

/// A funnel that makes sense.
#[derive(Clone, Debug, PartialEq)]
pub struct Funnel {
    pub names: Vec<String>,
    pub steps: Vec<EventMatch>,
    pub exclusions: Vec<EventMatch>,
    pub sessions: Vec<SessionCondition>,
    pub count_by: CountBy,
    pub rules: Rules,
}

impl FunnelDefinition {
    /// Checks the whole definition.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn check(&self) -> Result<Funnel, Vec<Flaw>> {
        let mut flaws = Flaws::default();
        check_window(self.window_seconds, &mut flaws);
        check_numbers(&self.steps, &mut flaws);
        let mut steps = Vec::new();
        for (at, step) in self.steps.iter().enumerate() {
            flaws.within(format!("steps[{at}]"), |flaws| {
                steps.push(check_step(step, at, self, flaws));
            });
        }
        let exclusions = check_exclusions(&self.exclude, &steps, &mut flaws);
        let sessions = check_sessions(&self.sessions, &mut flaws);
        if !flaws.found.is_empty() {
            return Err(flaws.found);
        }
        Ok(Funnel {
            names: self
                .steps
                .iter()
                .map(|step| step.name.trim().to_owned())
                .collect(),
            steps,
            exclusions,
            sessions,
            count_by: self.count_by,
            rules: self.rules(),
        })
    }

    fn rules(&self) -> Rules {
        let optional = self.steps.iter().enumerate().filter(|(_, step)| step.optional);
        let stay = |step: &StepIn| Stay {
            min: step.min_seconds.map_or(0, |seconds| seconds * SECOND),
            max: step.max_seconds.map_or(Micros::MAX, |seconds| seconds * SECOND),
        };
        Rules {
            order: self.order,
            window: self.window_seconds * SECOND,
            optional: optional.fold(0, |mask, (at, _)| mask | 1 << at),
            stays: self.steps.iter().map(stay).collect(),
        }
    }
}

/// What was found so far, and where the search is.
#[derive(Debug, Default)]
struct Flaws {
    found: Vec<Flaw>,
    place: String,
}

impl Flaws {
    fn add(&mut self, field: impl Display, detail: impl Into<String>) {
        let field = field.to_string();
        let dot = if self.place.is_empty() || field.is_empty() || field.starts_with('[') {
            ""
        } else {
            "."
        };
        self.found.push(Flaw {
            field: format!("{}{dot}{field}", self.place),
            detail: detail.into(),
        });
    }

    fn within(&mut self, place: String, check: impl FnOnce(&mut Self)) {
        let outer = std::mem::replace(&mut self.place, place);
        check(self);
        self.place = outer;
    }
}

fn check_window(seconds: i64, flaws: &mut Flaws) {
    if !(1..=WINDOW_SECONDS_MAX).contains(&seconds) {
        flaws.add(
            "window_seconds",
            format!("The window is from 1 second to 365 days ({WINDOW_SECONDS_MAX} seconds), not {seconds}."),
        );
    }
}

fn check_numbers(steps: &[StepIn], flaws: &mut Flaws) {
    match steps.len() {
        0 | 1 => flaws.add(
            "steps",
            "A funnel needs at least two steps: one to enter and one to reach.",
        ),
        count if count > STEPS_MAX => {
            flaws.add(
                "steps",
                format!("A funnel has at most {STEPS_MAX} steps, not {count}."),
            );
        }
        _ => {}
    }
    let mut before: i64 = 0;
    for (at, step) in steps.iter().enumerate() {
        let number = step.number;
        let expected = before.saturating_add(1);
        let detail = if number == expected {
            None
        } else if number <= 0 {
            Some(format!("Steps are numbered from 1, not {number}."))
        } else if number == before {
            Some(format!("There are two steps {number}."))
        } else if number < before {
            Some(format!(
                "Step {number} comes after step {before}: write the steps in their order."
            ))
        } else {
            Some(format!("Step {expected} is missing before step {number}."))
        };
        if let Some(detail) = detail {
            flaws.add(format!("steps[{at}].number"), detail);
        }
        before = number;
    }
}

fn check_step(step: &StepIn, at: usize, funnel: &FunnelDefinition, flaws: &mut Flaws) -> EventMatch {
    let length = step.name.trim().chars().count();
    if !(1..=NAME_MAX).contains(&length) {
        flaws.add("name", format!("A step's name has 1 to {NAME_MAX} characters."));
    }
    let is_last = at + 1 == funnel.steps.len();
    if step.optional && at == 0 {
        flaws.add(
            "optional",
            "The first step opens the funnel, so it cannot be left out.",
        );
    } else if step.optional && is_last {
        flaws.add(
            "optional",
            "The last step is what the funnel leads to, so it cannot be left out.",
        );
    } else if step.optional && funnel.order == Order::Unordered {
        flaws.add(
            "optional",
            "An unordered funnel counts how many steps were done; leave the step away instead.",
        );
    }
    check_seconds(step, is_last, funnel, flaws);
    check_match(
        step.event_type.as_deref(),
        step.page.as_deref(),
        &step.conditions,
        flaws,
    )
}

fn check_seconds(step: &StepIn, is_last: bool, funnel: &FunnelDefinition, flaws: &mut Flaws) {
    for (field, seconds) in [
        ("min_seconds", step.min_seconds),
        ("max_seconds", step.max_seconds),
    ] {
        let Some(seconds) = seconds else { continue };
        if !(0..=WINDOW_SECONDS_MAX).contains(&seconds) {
            flaws.add(
                field,
                format!("This is from 0 to {WINDOW_SECONDS_MAX} seconds, not {seconds}."),
            );
        } else if is_last {
            flaws.add(
                field,
                "It limits the time until the next step, and no step comes after this one.",
            );
        } else if funnel.order == Order::Unordered {
            flaws.add(
                field,
                "It limits the time until the next step, and in an unordered funnel any step may be next.",
            );
        } else if field == "min_seconds" && seconds > funnel.window_seconds {
            flaws.add(
                field,
                "It is longer than the window, so nobody could go on in time.",
            );
        }
    }
    if let (Some(min), Some(max)) = (step.min_seconds, step.max_seconds)
        && min > max
    {
        flaws.add(
            "min_seconds",
            format!("At least {min} seconds and at most {max} exclude each other."),
        );
    }
}

fn check_match(
    event_type: Option<&str>,
    page: Option<&str>,
    conditions: &[EventConditionIn],
    flaws: &mut Flaws,
) -> EventMatch {
    if event_type.is_none() && page.is_none() {
        flaws.add("", "Say which event is meant: give event_type, page, or both.");
    }
    let is_type = |text: &str| {
        let is_allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b':' | b'-');
        (1..=64).contains(&text.len()) && text.bytes().all(is_allowed)
    };
    if event_type.is_some_and(|text| !is_type(text)) {
        flaws.add(
            "event_type",
            "An event type has 1 to 64 characters of a-z 0-9 _ . : -, so no event has this one.",
        );
    }
    let page = page.and_then(|pattern| match check_pattern(pattern) {
        Ok(page) => Some(page),
        Err(detail) => {
            flaws.add("page", detail);
            None
        }
    });
    EventMatch {
        event_type: event_type.map(str::to_owned),
        page,
        conditions: check_conditions(conditions, flaws),
    }
}

/// Returns the pattern with its host in lower case, as hosts are kept.
fn check_pattern(pattern: &str) -> Result<String, String> {
    if pattern.is_empty() {
        return Err("The pattern is empty, and no page is. Leave it away for any page.".to_owned());
    }
    if pattern.chars().count() > PATTERN_MAX {
        return Err(format!(
            "The pattern is longer than {PATTERN_MAX} characters, as no page is."
        ));
    }
    if pattern.contains("://") {
        return Err(format!(
            "{pattern:?} has a scheme, which pages are kept without: begin with the host or with /."
        ));
    }
    if let Some(bad) = pattern
        .chars()
        .find(|c| matches!(c, '?' | '#') || c.is_whitespace() || c.is_control())
    {
        return Err(format!(
            "{pattern:?} holds {bad:?}, which no page does: pages are kept without query and fragment, and * stands \
             for any text."
        ));
    }
    if pattern.starts_with(['/', '*']) {
        return Ok(pattern.to_owned());
    }
    let (host, path) = pattern.split_at(pattern.find('/').unwrap_or(pattern.len()));
    let host = host.to_lowercase();
    let is_host = host.contains(['.', '*']) || host == "localhost" || host.contains(':');
    if !is_host || path.is_empty() && !host.contains('*') {
        return Err(format!(
            "{pattern:?} matches no page: begin with / for a path, with a host as in shop.example/cart, or with *."
        ));
    }
    Ok(host + path)
}

fn check_conditions(conditions: &[EventConditionIn], flaws: &mut Flaws) -> Vec<EventCondition> {
    if conditions.len() > EVENT_CONDITIONS_MAX {
        flaws.add("where", format!("At most {EVENT_CONDITIONS_MAX} conditions."));
    }
    let mut checked = Vec::new();
    for (at, condition) in conditions.iter().enumerate() {
        match EventCondition::checked(&condition.property, condition.op, condition.value.as_ref()) {
            Ok(condition) => checked.push(condition),
            Err(detail) => flaws.add(format!("where[{at}]"), capitalised(&detail)),
        }
    }
    checked
}

fn capitalised(sentence: &str) -> String {
    let mut characters = sentence.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).collect()
}

fn check_exclusions(exclude: &[EventMatchIn], steps: &[EventMatch], flaws: &mut Flaws) -> Vec<EventMatch> {
    if exclude.len() > EXCLUSIONS_MAX {
        flaws.add("exclude", format!("At most {EXCLUSIONS_MAX} exclusions."));
    }
    let mut checked = Vec::new();
    for (at, wanted) in exclude.iter().enumerate() {
        flaws.within(format!("exclude[{at}]"), |flaws| {
            let before = flaws.found.len();
            let exclusion = check_match(
                wanted.event_type.as_deref(),
                wanted.page.as_deref(),
                &wanted.conditions,
                flaws,
            );
            let same = steps.iter().position(|step| *step == exclusion);
            if let Some(step) = same
                && flaws.found.len() == before
            {
                flaws.add(
                    "",
                    format!(
                        "This is step {}: an event that serves a step excludes nobody, so it would do nothing.",
                        step + 1
                    ),
                );
            }
            checked.push(exclusion);
        });
    }
    checked
}

fn check_sessions(conditions: &[SessionConditionIn], flaws: &mut Flaws) -> Vec<SessionCondition> {
    if conditions.len() > SESSION_CONDITIONS_MAX {
        flaws.add(
            "sessions",
            format!("At most {SESSION_CONDITIONS_MAX} conditions."),
        );
    }
    let mut checked = Vec::new();
    for (at, condition) in conditions.iter().enumerate() {
        let name = &condition.dimension;
        let dimension = DIMENSIONS
            .into_iter()
            .find(|dimension| dimension.as_str() == name);
        flaws.within(format!("sessions[{at}]"), |flaws| {
            if !(1..=VALUES_MAX).contains(&condition.values.len()) {
                flaws.add("in", format!("Give 1 to {VALUES_MAX} values, null for \"none\"."));
            }
            match dimension {
                None => {
                    let names = DIMENSIONS.map(Dimension::as_str).join(", ");
                    flaws.add(
                        "dimension",
                        format!("{name:?} is no dimension of a session. There are: {names}."),
                    );
                }
                Some(dimension) => checked.push(SessionCondition {
                    dimension,
                    values: condition.values.clone(),
                    not: condition.not,
                }),
            }
        });
    }
    checked
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn flaws(value: Value) -> Vec<(String, String)> {
        let definition: FunnelDefinition = serde_json::from_value(value).unwrap();
        let flaws = definition.check().err().unwrap_or_default();
        flaws.into_iter().map(|flaw| (flaw.field, flaw.detail)).collect()
    }

    fn step(number: i64, event_type: &str) -> Value {
        json!({"number": number, "name": event_type, "event_type": event_type})
    }

    /// Asserts that a funnel has one flaw, in this field, whose sentence holds this text.
    fn assert_flaw(value: Value, field: &str, text: &str) {
        let found = flaws(value);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].0, field);
        assert!(found[0].1.contains(text), "{}", found[0].1);
        assert!(found[0].1.ends_with('.'), "{}", found[0].1);
    }

    fn with_step(members: Value) -> Value {
        let mut middle = step(2, "b");
        for (name, member) in members.as_object().unwrap() {
            middle[name] = member.clone();
        }
        json!({"steps": [step(1, "a"), middle, step(3, "c")]})
    }

    #[test]
    fn numbers_run_from_one_without_gaps() {
        let steps = |numbers: &[i64]| {
            let steps: Vec<Value> = numbers.iter().map(|number| step(*number, "a")).collect();
            json!({ "steps": steps })
        };
        assert!(flaws(steps(&[1, 2, 3])).is_empty());
        assert_flaw(
            steps(&[1, 3]),
            "steps[1].number",
            "Step 2 is missing before step 3",
        );
        assert_flaw(
            steps(&[2, 3]),
            "steps[0].number",
            "Step 1 is missing before step 2",
        );
        assert_flaw(steps(&[1, 1]), "steps[1].number", "two steps 1");
        assert_flaw(steps(&[1, 2, 1]), "steps[2].number", "comes after step 2");
        assert_flaw(steps(&[0, 1]), "steps[0].number", "numbered from 1");
        assert_flaw(steps(&[1]), "steps", "at least two");
        assert_flaw(steps(&[]), "steps", "at least two");
        let many: Vec<i64> = (1..=21).collect();
        assert_flaw(steps(&many), "steps", "at most 20 steps, not 21");
    }

    #[test]
    fn a_pattern_must_be_able_to_match_a_page() {
        for good in [
            "/",
            "/a/*",
            "*",
            "*/cart",
            "shop.example/*",
            "localhost/x",
            "localhost:3000/*",
            "*.example/*",
        ] {
            assert!(flaws(with_step(json!({"page": good}))).is_empty(), "{good}");
        }
        for (bad, text) in [
            ("", "empty"),
            ("cart", "matches no page"),
            ("cart/pay", "matches no page"),
            ("shop.example", "matches no page"),
            ("https://shop.example/cart", "scheme"),
            ("/search?q=*", "without query"),
            ("/a b", "' '"),
        ] {
            assert_flaw(with_step(json!({"page": bad})), "steps[1].page", text);
        }
    }

    #[test]
    fn a_step_says_what_it_means() {
        let nothing = json!({"steps": [step(1, "a"), {"number": 2, "name": "b"}]});
        assert_flaw(nothing, "steps[1]", "Say which event");
        assert_flaw(
            with_step(json!({"event_type": "Add To Cart"})),
            "steps[1].event_type",
            "no event has",
        );
        assert_flaw(with_step(json!({"name": "  "})), "steps[1].name", "1 to 100");
        assert_flaw(
            with_step(json!({"where": [{"property": "colour", "op": "eq", "value": "red"}]})),
            "steps[1].where[0]",
            "no property",
        );
    }

    #[test]
    fn times_fit_each_other_and_the_window() {
        let window = |seconds: i64| json!({"steps": [step(1, "a"), step(2, "b")], "window_seconds": seconds});
        assert!(flaws(window(WINDOW_SECONDS_MAX)).is_empty());
        for bad in [0, -1, WINDOW_SECONDS_MAX + 1, i64::MAX] {
            assert_flaw(window(bad), "window_seconds", "365 days");
        }
        let times = |min: i64, max: i64| with_step(json!({"min_seconds": min, "max_seconds": max}));
        assert!(flaws(times(5, 5)).is_empty());
        assert_flaw(times(6, 5), "steps[1].min_seconds", "exclude each other");
        assert_flaw(times(-1, 5), "steps[1].min_seconds", "from 0");
        let mut last = json!({"steps": [step(1, "a"), step(2, "b")]});
        last["steps"][1]["max_seconds"] = json!(9);
        assert_flaw(last, "steps[1].max_seconds", "no step comes after");
        let mut long = window(5);
        long["steps"][0]["min_seconds"] = json!(6);
        assert_flaw(long, "steps[0].min_seconds", "longer than the window");
    }

    #[test]
    fn only_a_step_in_the_middle_may_be_left_out() {
        assert!(flaws(with_step(json!({"optional": true}))).is_empty());
        for (at, text) in [(0, "opens the funnel"), (2, "leads to")] {
            let mut value = with_step(json!({}));
            value["steps"][at]["optional"] = json!(true);
            assert_flaw(value, &format!("steps[{at}].optional"), text);
        }
        let mut unordered = with_step(json!({"optional": true}));
        unordered["order"] = json!("unordered");
        assert_flaw(unordered, "steps[1].optional", "how many steps");
    }

    #[test]
    fn an_exclusion_is_no_step() {
        let mut value = with_step(json!({}));
        value["exclude"] = json!([{"event_type": "x"}, {"event_type": "b"}]);
        assert_flaw(value, "exclude[1]", "This is step 2");
    }

    #[test]
    fn sessions_are_asked_for_what_they_have() {
        let mut value = with_step(json!({}));
        value["sessions"] = json!([{"dimension": "shoe_size", "in": ["42"]}]);
        assert_flaw(
            value.clone(),
            "sessions[0].dimension",
            "no dimension of a session",
        );
        value["sessions"] = json!([{"dimension": "browser", "in": []}]);
        assert_flaw(value, "sessions[0].in", "1 to 100 values");
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let found = flaws(json!({
            "steps": [{"number": 1, "name": "", "page": "cart"}, {"number": 3, "name": "b"}],
            "window_seconds": 0,
            "exclude": [{}],
            "sessions": [{"dimension": "x", "in": []}],
        }));
        let fields: Vec<&str> = found.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "window_seconds",
                "steps[1].number",
                "steps[0].name",
                "steps[0].page",
                "steps[1]",
                "exclude[0]",
                "sessions[0].in",
                "sessions[0].dimension",
            ]
        );
    }

    #[test]
    fn what_was_written_is_what_is_kept() {
        let mut value = with_step(json!({"optional": true, "min_seconds": 1}));
        value["window_seconds"] = json!(60);
        value["order"] = json!("strict");
        value["count_by"] = json!("session");
        let definition: FunnelDefinition = serde_json::from_value(value.clone()).unwrap();
        assert_eq!(serde_json::to_value(&definition).unwrap(), value);
    }
}
