//! Which sessions a question counts.

use super::scope::{Scope, SessionFilter};
use crate::index::{Names, Person, Session, View};

/// The sessions of a scope: those that begin in its time, meet its conditions, and belong to its people.
///
/// It holds copies of what it looks up, so a walk needs no guard of the names.
#[derive(Debug)]
pub struct Counted<'a> {
    scope: &'a Scope,
    filter: SessionFilter,
    names: Names,
}

impl<'a> Counted<'a> {
    pub fn new(view: &View, scope: &'a Scope) -> Self {
        let guard = view.names();
        let filter = scope.session_filter(&guard);
        let names = if filter.is_empty() {
            Names::default()
        } else {
            Names {
                clients: guard.clients.clone(),
                sources: guard.sources.clone(),
                ..Names::default()
            }
        };
        Self { scope, filter, names }
    }

    /// Whether the person is one of those in question.
    pub fn has_person(&self, person: Person<'_>) -> bool {
        self.scope.admits_person(person)
    }

    /// Whether a session meets the conditions, whenever it was.
    pub fn meets(&self, session: Session<'_>) -> bool {
        self.filter.is_empty() || self.filter.admits(&self.names, session)
    }

    /// Whether a session of a person in question counts.
    pub fn has(&self, session: Session<'_>) -> bool {
        self.scope.contains(session.start()) && self.meets(session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        analysis::{dimension::Dimension, scope::SessionCondition},
        index::testing::{Story, Visit},
    };

    #[test]
    fn a_session_counts_by_its_begin_and_its_properties() {
        let mut story = Story::default();
        let phone = Visit {
            device_type: "mobile",
            channel: "Email",
            ..Visit::default()
        };
        story.visit_as(1, phone, &[(1, "page_view", "/")]);
        story.visit_as(1, phone, &[(10, "page_view", "/"), (30, "click", "/")]);
        story.visit(1, &[(15, "page_view", "/")]);
        story.visit_as(1, phone, &[(20, "page_view", "/")]);
        let view = story.view();
        let condition = |dimension, value: &str| SessionCondition {
            dimension,
            values: vec![Some(value.to_owned())],
            not: false,
        };
        let scope = Scope {
            sessions: vec![
                condition(Dimension::DeviceType, "mobile"),
                condition(Dimension::Channel, "Email"),
            ],
            ..Scope::of_time(10, 20)
        };
        let counted = Counted::new(&view, &scope);
        let sessions = view.find(1).unwrap().sessions();
        let found: Vec<bool> = sessions.map(|session| counted.has(session)).collect();
        assert_eq!(found, [false, true, false, false]);
    }
}
