//! `GET /api/v1/paths`: which ways people take from a point or to it.

use axum::{Json, extract::State};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth::ReadAccess,
    insight::{Answer, Asked, Engine, ScopeIn, run},
    list::RangeQuery,
    period::bounded,
    problem::{CommonProblems, MissingProblem, Problem},
    state::AppState,
};
use crate::analysis::path::{
    self, Anchor, DEPTH_DEFAULT, DEPTH_MAX, Direction, Grouping, Paths, Question, Steps, TOP_DEFAULT,
    TOP_MAX, Unit,
};

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct PathsIn {
    /// What the steps are: page views, or events by type and page.
    #[param(inline)]
    steps: Option<Steps>,
    /// Types of the events that are steps, joined by `|`; `*` stands for any text. Only with `steps=events`; all when
    /// absent.
    #[param(example = "page_view|add_to_cart|purchase")]
    event_types: Option<String>,
    /// Paths begin at the first event on a page like this: a path, or host and path, where `*` stands for any text.
    #[param(example = "/product/*")]
    start_page: Option<String>,
    /// Paths begin at the first event of a type like this. With `start_page` both must hold.
    start_type: Option<String>,
    /// Paths end at the last event on a page like this.
    #[param(example = "/checkout")]
    end_page: Option<String>,
    /// Paths end at the last event of a type like this. With `end_page` both must hold.
    end_type: Option<String>,
    /// Which way paths are read: `forward` from their begin (the default), `backward` from their end. Follows from
    /// `start_…` and `end_…` where those are given.
    #[param(inline)]
    direction: Option<Direction>,
    /// One path for each session, or for each person across sessions.
    #[param(inline)]
    count_by: Option<Unit>,
    /// Levels, that of the begin (or end) included.
    #[param(minimum = 1, maximum = 20, default = 5)]
    depth: Option<i64>,
    /// Nodes shown at a level; the rest are one node.
    #[param(minimum = 1, maximum = 50, default = 8)]
    top: Option<i64>,
    /// Patterns joined by `|`: pages that match the first such are one node. At most 50.
    #[param(example = "/product/*|/blog/*")]
    group: Option<String>,
    /// Whether segments that look like an id (numbers, UUIDs, hexadecimal, codes such as `FF-401`) become `*`.
    group_ids: Option<bool>,
    /// Whether pages of different hosts are different nodes.
    hosts: Option<bool>,
}

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(paths))
}

/// Which ways people take.
///
/// A Sankey diagram: nodes by level and links between neighbouring levels, in the direction of time. Repeats of the
/// same step are one. `(exit)` is where a path ended, `(entry)` where one read backwards began. What enters a node
/// leaves it through links; paths longer than `depth` are counted in `goes_on` of the last level.
#[utoipa::path(get, path = "/api/v1/paths", tag = "analysis", security(("secret_key" = [])),
    params(PathsIn, RangeQuery, ScopeIn),
    responses((status = 200, description = "The diagram.", body = Answer<Paths>), CommonProblems, MissingProblem))]
async fn paths(
    _: ReadAccess,
    State(state): State<AppState>,
    asked: Asked<PathsIn>,
) -> Result<Json<Answer<Paths>>, Problem> {
    let subject = asked.subject(&state).await?;
    let question = question(asked.question)?;
    let about = subject.clone();
    let found = run(move || path::paths(&about.view, &about.scope, &question)).await?;
    Ok(Json(subject.answer(found, Engine::Index)))
}

fn question(input: PathsIn) -> Result<Question, Problem> {
    let refuse = |detail: String| Problem::bad_request("invalid_query", detail);
    let (direction, anchor) = anchor(&input)?;
    let defaults = (DEPTH_DEFAULT as i64, TOP_DEFAULT as i64);
    let question = Question {
        steps: input.steps.unwrap_or_default(),
        event_types: split(input.event_types.as_deref()),
        direction,
        anchor,
        unit: input.count_by.unwrap_or_default(),
        depth: bounded("depth", input.depth, defaults.0, DEPTH_MAX as i64)? as usize,
        top: bounded("top", input.top, defaults.1, TOP_MAX as i64)? as usize,
        grouping: Grouping {
            patterns: split(input.group.as_deref()),
            ids: input.group_ids.unwrap_or(false),
            hosts: input.hosts.unwrap_or(false),
        },
    };
    question.check().map_err(|error| refuse(error.to_string()))?;
    Ok(question)
}

/// Returns the direction and what it starts from.
fn anchor(input: &PathsIn) -> Result<(Direction, Option<Anchor>), Problem> {
    let refuse = |detail: &str| Err(Problem::bad_request("invalid_query", detail));
    let anchor = |page: &Option<String>, event_type: &Option<String>| {
        (page.is_some() || event_type.is_some()).then(|| Anchor {
            page: page.clone(),
            event_type: event_type.clone(),
        })
    };
    let start = anchor(&input.start_page, &input.start_type);
    let end = anchor(&input.end_page, &input.end_type);
    let given = [
        &input.start_page,
        &input.start_type,
        &input.end_page,
        &input.end_type,
    ];
    if given.into_iter().flatten().any(String::is_empty) {
        return refuse("start_page, start_type, end_page, end_type: leave out what may be anything");
    }
    match (start, end, input.direction) {
        (Some(_), Some(_), _) => refuse(
            "start_page or start_type cannot be combined with end_page or end_type: ask for one end at a time",
        ),
        (Some(_), None, Some(Direction::Backward)) => {
            refuse("direction: paths from a start are read forward")
        }
        (None, Some(_), Some(Direction::Forward)) => refuse("direction: paths to an end are read backward"),
        (Some(anchor), None, _) => Ok((Direction::Forward, Some(anchor))),
        (None, Some(anchor), _) => Ok((Direction::Backward, Some(anchor))),
        (None, None, direction) => Ok((direction.unwrap_or_default(), None)),
    }
}

/// Splits what is joined by `|`; nothing when absent.
fn split(text: Option<&str>) -> Vec<String> {
    text.into_iter()
        .flat_map(|text| text.split('|'))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Question, Problem> {
        let uri = format!("/api/v1/paths?{query}").parse().unwrap();
        let axum::extract::Query(input) = axum::extract::Query::try_from_uri(&uri).unwrap();
        question(input)
    }

    #[test]
    fn the_query_string_says_what_is_asked() {
        let question = read(
            "steps=events&event_types=page_view%7Cpur*&end_page=/done&count_by=person&depth=20&top=3\
             &group=/product/*%7C/blog/*&group_ids=true",
        )
        .unwrap();
        assert_eq!(question.event_types, ["page_view", "pur*"]);
        assert_eq!(question.direction, Direction::Backward);
        assert_eq!(question.anchor.unwrap().page.as_deref(), Some("/done"));
        assert_eq!(question.unit, Unit::Person);
        assert_eq!((question.depth, question.top), (20, 3));
        assert_eq!(question.grouping.patterns, ["/product/*", "/blog/*"]);
        assert!(question.grouping.ids && !question.grouping.hosts);
        let question = read("direction=backward").unwrap();
        assert!(question.anchor.is_none() && question.direction == Direction::Backward);
    }

    #[test]
    fn what_cannot_be_asked_is_refused_by_name() {
        for (query, words) in [
            ("depth=0", "depth"),
            ("depth=21", "from 1 to 20"),
            ("top=51", "top"),
            ("start_page=/&end_page=/done", "one end at a time"),
            ("start_type=purchase&direction=backward", "read forward"),
            ("end_type=purchase&direction=forward", "read backward"),
            ("start_page=", "leave out"),
            ("event_types=click", "steps=events"),
            ("group=/a%7C", "group"),
        ] {
            let problem = read(query).unwrap_err();
            assert_eq!(problem.code(), "invalid_query", "{query}");
            assert!(problem.detail().contains(words), "{query}: {}", problem.detail());
        }
    }
}
