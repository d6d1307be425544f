//! Whether a segment can be asked: every problem at once, each a sentence that says where.

use rust_decimal::Decimal;

use super::rule::{AttributeRule, Rule, Window};
use crate::analysis::scope::SessionCondition;

/// Rules inside of rules at most, the outermost included.
pub(crate) const DEPTH_MAX: usize = 5;

/// Rules in one segment at most, those that hold others included.
pub(crate) const RULES_MAX: usize = 50;

/// Values that one rule compares with at most.
const VALUES_MAX: usize = 100;

/// Characters of a value, name or pattern at most.
const TEXT_MAX: usize = 500;

/// Ten years: longer than anything is kept.
const DAYS_MAX: u32 = 3650;

impl Rule {
    /// Returns what is wrong with it; nothing when it can be asked.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut check = Check::default();
        check.rule(self, "rule", 1);
        if check.rules > RULES_MAX {
            check.problems.push(format!(
                "A segment has at most {RULES_MAX} rules; this one has {}.",
                check.rules
            ));
        }
        check.problems
    }
}

#[derive(Default)]
struct Check {
    problems: Vec<String>,
    rules: usize,
}

impl Check {
    fn refuse(&mut self, place: &str, sentence: &str) {
        self.problems.push(format!("{place}: {sentence}"));
    }

    fn rule(&mut self, rule: &Rule, place: &str, depth: usize) {
        self.rules += 1;
        if depth > DEPTH_MAX {
            self.refuse(
                place,
                &format!("rules lie at most {DEPTH_MAX} deep inside of each other."),
            );
            return;
        }
        match rule {
            Rule::All(rules) => self.several(rules, &format!("{place}.all"), depth),
            Rule::Any(rules) => self.several(rules, &format!("{place}.any"), depth),
            Rule::Not(rule) => self.rule(rule, &format!("{place}.not"), depth + 1),
            Rule::Text(rule) => self.values(&rule.values, &format!("{place}.text.in")),
            Rule::Number(rule) => self.bounds(rule.at_least, rule.at_most, &format!("{place}.number")),
            Rule::Revenue(rule) => {
                let place = format!("{place}.revenue");
                if !rule.currency.is_empty() && rule.currency.len() != 3 {
                    self.refuse(&place, "the currency has three letters, such as EUR, or none.");
                }
                self.bounds(rule.at_least, rule.at_most, &place);
            }
            Rule::Time(rule) => {
                let place = format!("{place}.time");
                if rule.window() == Window::default() {
                    self.refuse(&place, "say when: within_days, or from, to or both.");
                }
                self.window(rule.window(), &place);
            }
            Rule::Identified(_) => {}
            Rule::Attribute(rule) => self.attribute(rule, &format!("{place}.attribute")),
            Rule::Did(rule) => {
                let place = format!("{place}.did");
                self.text(rule.event.as_deref(), &place, "event");
                self.text(rule.page.as_deref(), &place, "page");
                self.times(rule.at_least, rule.at_most, &place);
                self.window(rule.window(), &place);
                self.sessions(&rule.sessions, &place);
            }
            Rule::Visited(rule) => {
                let place = format!("{place}.visited");
                self.times(rule.at_least, rule.at_most, &place);
                self.window(rule.window(), &place);
                self.sessions(&rule.sessions, &place);
            }
        }
    }

    fn several(&mut self, rules: &[Rule], place: &str, depth: usize) {
        if rules.is_empty() {
            self.refuse(place, "there is no rule in it.");
        }
        for (number, rule) in rules.iter().enumerate() {
            self.rule(rule, &format!("{place}[{number}]"), depth + 1);
        }
    }

    fn attribute(&mut self, rule: &AttributeRule, place: &str) {
        self.text(Some(&rule.name), place, "name");
        let has_bounds = rule.at_least.is_some() || rule.at_most.is_some();
        match (rule.values.is_empty(), has_bounds) {
            (true, false) => self.refuse(place, "say which values: in, or at_least, at_most or both."),
            (false, true) => self.refuse(place, "compares either texts (in) or a number, not both."),
            (false, false) => self.values(&rule.values, &format!("{place}.in")),
            (true, true) => self.bounds(rule.at_least, rule.at_most, place),
        }
    }

    fn values(&mut self, values: &[Option<String>], place: &str) {
        if values.is_empty() || values.len() > VALUES_MAX {
            self.refuse(place, &format!("has from 1 to {VALUES_MAX} values."));
        }
        if values.iter().flatten().any(|value| !is_storable(value)) {
            self.refuse(
                place,
                &format!("a value has at most {TEXT_MAX} characters and no NUL among them."),
            );
        }
    }

    fn text(&mut self, text: Option<&str>, place: &str, name: &str) {
        if text.is_some_and(|text| text.is_empty() || !is_storable(text)) {
            self.refuse(
                place,
                &format!("{name} has from 1 to {TEXT_MAX} characters and no NUL among them."),
            );
        }
    }

    fn bounds(&mut self, at_least: Option<Decimal>, at_most: Option<Decimal>, place: &str) {
        match (at_least, at_most) {
            (None, None) => self.refuse(place, "say how much: at_least, at_most or both."),
            (Some(least), Some(most)) if least > most => {
                self.refuse(place, "at_least is greater than at_most, so nobody can pass.");
            }
            _ => {}
        }
    }

    fn times(&mut self, at_least: Option<u32>, at_most: Option<u32>, place: &str) {
        match (at_least, at_most) {
            (Some(least), Some(most)) if least > most => {
                self.refuse(place, "at_least is greater than at_most, so nobody can pass.");
            }
            (Some(0), None) => {
                self.refuse(
                    place,
                    "at least 0 times is true of everybody; for never, say at_most 0.",
                );
            }
            _ => {}
        }
    }

    fn window(&mut self, window: Window, place: &str) {
        let Window {
            within_days,
            from,
            to,
        } = window;
        if within_days.is_some() && (from.is_some() || to.is_some()) {
            self.refuse(place, "say either within_days, or from and to, not both.");
        }
        if within_days.is_some_and(|days| !(1..=DAYS_MAX).contains(&days)) {
            self.refuse(place, &format!("within_days is from 1 to {DAYS_MAX}."));
        }
        if let (Some(from), Some(to)) = (from, to)
            && from >= to
        {
            self.refuse(place, "from is not before to, so nothing can lie between.");
        }
    }

    fn sessions(&mut self, conditions: &[SessionCondition], place: &str) {
        if conditions.len() > VALUES_MAX {
            self.refuse(place, &format!("sessions has at most {VALUES_MAX} conditions."));
        }
        for (number, condition) in conditions.iter().enumerate() {
            self.values(&condition.values, &format!("{place}.sessions[{number}].in"));
        }
    }
}

/// PostgreSQL text cannot hold NUL.
fn is_storable(text: &str) -> bool {
    text.chars().count() <= TEXT_MAX && !text.contains('\0')
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn problems(rule: Value) -> Vec<String> {
        serde_json::from_value::<Rule>(rule).unwrap().problems()
    }

    #[test]
    fn a_sound_segment_has_no_problems() {
        let rule = json!({"all": [
            {"text": {"column": "country", "in": ["AT", null]}},
            {"number": {"column": "sessions", "at_least": 3}},
            {"revenue": {"currency": "EUR", "at_least": "9.90", "at_most": 100}},
            {"time": {"column": "first_seen", "within_days": 30}},
            {"identified": true},
            {"attribute": {"name": "plan", "in": ["pro*"]}},
            {"any": [{"did": {"event": "purchase", "at_most": 0}}, {"not": {"visited": {}}}]},
        ]});
        assert_eq!(problems(rule), Vec::<String>::new());
    }

    #[test]
    fn every_problem_is_told_at_once_and_where_it_is() {
        let rule = json!({"all": [
            {"text": {"column": "country", "in": []}},
            {"number": {"column": "sessions"}},
            {"revenue": {"currency": "Euro", "at_least": 5, "at_most": 1}},
            {"time": {"column": "last_seen"}},
            {"attribute": {"name": "", "in": ["x"], "at_least": 1}},
            {"any": []},
            {"did": {"at_least": 0, "within_days": 0, "from": "2026-01-01T00:00:00Z"}},
            {"visited": {"at_least": 3, "at_most": 2, "from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z",
                         "sessions": [{"dimension": "country", "in": []}]}},
        ]});
        let found = problems(rule);
        for begin in [
            "rule.all[0].text.in: has from 1",
            "rule.all[1].number: say how much",
            "rule.all[2].revenue: the currency",
            "rule.all[2].revenue: at_least is greater",
            "rule.all[3].time: say when",
            "rule.all[4].attribute: name has",
            "rule.all[4].attribute: compares either",
            "rule.all[5].any: there is no rule",
            "rule.all[6].did: at least 0 times",
            "rule.all[6].did: say either within_days",
            "rule.all[6].did: within_days is from 1",
            "rule.all[7].visited: at_least is greater",
            "rule.all[7].visited: from is not before to",
            "rule.all[7].visited.sessions[0].in: has from 1",
        ] {
            assert_eq!(
                found.iter().filter(|problem| problem.starts_with(begin)).count(),
                1,
                "{begin} in {found:#?}"
            );
        }
        assert_eq!(found.len(), 14);
    }

    #[test]
    fn depth_and_number_of_rules_have_a_limit() {
        let nested =
            |depth: usize| (1..depth).fold(json!({"identified": true}), |rule, _| json!({"not": rule}));
        assert_eq!(problems(nested(DEPTH_MAX)), Vec::<String>::new());
        assert_eq!(problems(nested(DEPTH_MAX + 1)).len(), 1);
        let wide = |rules: usize| json!({"any": vec![json!({"identified": true}); rules - 1]});
        assert_eq!(problems(wide(RULES_MAX)), Vec::<String>::new());
        assert_eq!(problems(wide(RULES_MAX + 1)).len(), 1);
    }

    #[test]
    fn a_member_that_no_rule_has_is_refused() {
        let misspelt = json!({"did": {"event": "purchase", "at_lest": 2}});
        assert!(serde_json::from_value::<Rule>(misspelt).is_err());
    }
}
