//! Which ways people take from a point or to it.
//!
//! A path is what somebody did one after the other, repeats of the same collapsed. Many of them together are a Sankey
//! diagram: nodes by level, links between levels, and at each level those that ended there. The definitions are in
//! docs/analysis/paths.md.

mod group;
mod tally;
mod walk;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use group::{Grouping, matches_page};

use self::{tally::Tally, walk::Plan};
use super::{counted::Counted, scope::Scope};
use crate::index::View;

/// Levels of a diagram at most.
pub const DEPTH_MAX: usize = 20;
/// More levels are more than a screen shows.
pub const DEPTH_DEFAULT: usize = 5;
/// Nodes of a level at most, the rest of them aside.
pub const TOP_MAX: usize = 50;
/// As many as can be told apart.
pub const TOP_DEFAULT: usize = 8;
/// Patterns at most: each is compared with each page.
pub const PATTERNS_MAX: usize = 50;

/// What the steps of a path are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Steps {
    /// Page views.
    #[default]
    Pages,
    /// Events of every type, with the page they happened on.
    Events,
}

/// Which way a path is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From a point: level 0 comes first in time.
    #[default]
    Forward,
    /// To a point: level 0 comes last in time.
    Backward,
}

/// Whose paths are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// One path for each session.
    #[default]
    Session,
    /// One path for each person, across sessions.
    Person,
}

/// The event at which paths begin, or end. Both must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Anchor {
    /// Glob for the path of its page, or for host and path.
    pub page: Option<String>,
    /// Glob for its type.
    pub event_type: Option<String>,
}

/// Which paths are asked for.
#[derive(Clone, Debug)]
pub struct Question {
    pub steps: Steps,
    /// Globs for the types of events that are steps; all when empty. Only with [`Steps::Events`].
    pub event_types: Vec<String>,
    pub direction: Direction,
    /// Forward the first event that matches, backward the last; without one, begin or end of the session.
    pub anchor: Option<Anchor>,
    pub unit: Unit,
    /// Levels, that of the anchor included.
    pub depth: usize,
    /// Nodes of a level that are shown; the others are one node.
    pub top: usize,
    pub grouping: Grouping,
}

impl Default for Question {
    fn default() -> Self {
        Self {
            steps: Steps::default(),
            event_types: Vec::new(),
            direction: Direction::default(),
            anchor: None,
            unit: Unit::default(),
            depth: DEPTH_DEFAULT,
            top: TOP_DEFAULT,
            grouping: Grouping::default(),
        }
    }
}

/// Why a question has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("depth: must be from 1 to {DEPTH_MAX}")]
    Depth,
    #[error("top: must be from 1 to {TOP_MAX}")]
    Top,
    #[error("group: at most {PATTERNS_MAX} patterns, none of them empty")]
    Patterns,
    #[error("event_types: only with steps=events, and at most {PATTERNS_MAX}, none of them empty")]
    EventTypes,
}

impl Question {
    /// Checks the bounds.
    ///
    /// # Errors
    /// The first one that is not kept.
    pub fn check(&self) -> Result<(), PathError> {
        let is_list =
            |texts: &[String]| texts.len() <= PATTERNS_MAX && texts.iter().all(|text| !text.is_empty());
        if !(1..=DEPTH_MAX).contains(&self.depth) {
            return Err(PathError::Depth);
        }
        if !(1..=TOP_MAX).contains(&self.top) {
            return Err(PathError::Top);
        }
        if !is_list(&self.grouping.patterns) {
            return Err(PathError::Patterns);
        }
        let has_types = !self.event_types.is_empty();
        if !is_list(&self.event_types) || (has_types && self.steps == Steps::Pages) {
            return Err(PathError::EventTypes);
        }
        Ok(())
    }
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    Page,
    Event,
    /// All nodes of the level that are not among the most frequent.
    Other,
    /// Nothing came after.
    Exit,
    /// Nothing came before.
    Entry,
}

/// A node of the diagram.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Node {
    /// Steps away from the anchor, which is level 0.
    pub level: usize,
    pub kind: NodeKind,
    /// What to write on it.
    #[schema(example = "/product/*")]
    pub name: String,
    /// The page or group of pages; absent for an event without a page.
    pub page: Option<String>,
    /// Absent for pages.
    pub event_type: Option<String>,
    /// Paths that pass it.
    pub count: u64,
    /// Paths that go on from here to where the diagram no longer shows. Only at its last level.
    pub goes_on: u64,
    /// How many different nodes are in it, when it is `other`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merged: Option<usize>,
}

/// A link between nodes of neighbouring levels, in the direction of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Link {
    /// Place in `nodes`.
    pub source: usize,
    /// Place in `nodes`.
    pub target: usize,
    /// Paths that take it.
    pub count: u64,
}

/// The ways people take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Paths {
    /// Sessions in question, or people with such sessions.
    pub considered: u64,
    /// Those of them that have a path: a step, and the anchor where one is asked for.
    pub paths: u64,
    /// People behind the paths.
    pub people: u64,
    /// By level, the most frequent first.
    pub nodes: Vec<Node>,
    pub links: Vec<Link>,
}

/// Returns the paths of a scope.
///
/// What enters a node leaves it: its count is the sum of its links onwards and of `goes_on`; at every level but 0 it is
/// the sum of its links backwards, too. People are walked twice: the first time finds the most frequent nodes.
pub fn paths(view: &View, scope: &Scope, question: &Question) -> Paths {
    let counted = Counted::new(view, scope);
    let plan = Plan::new(&view.names(), question);
    let tally = Tally::count(view, &counted, &plan);
    tally.finish(view, &counted, &plan)
}
