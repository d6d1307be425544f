//! The query string of a list: typed filters, page, format, and filters whose names are open.
//!
//! A parameter that the list does not know is refused: a misspelt filter would otherwise answer with
//! everything.

use std::marker::PhantomData;

use axum::{
    extract::FromRequestParts,
    http::request::Parts,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use futures_util::{Stream, TryStreamExt, stream};
use serde::{Serialize, de::DeserializeOwned};
use utoipa::{
    IntoParams,
    openapi::path::{Parameter, ParameterIn},
};

use super::{
    extract::Query,
    list::{DayEdge, Format, OutputFormat, PageQuery, parse_time, parse_zone},
    problem::Problem,
    state::AppState,
};

/// Rows read at once while a list is streamed.
const STREAM_ROWS: i64 = 1000;

/// Open filters in one request at most.
const MEMBERS_MAX: usize = 10;

/// The query of a list whose filters are the fields of `T`. `O` documents those that [`ListQuery::all`] and
/// [`ListQuery::members`] read, which no field can hold.
#[derive(Debug)]
pub(super) struct ListQuery<T, O = NoneOpen> {
    pub(super) filter: T,
    pub(super) page: PageQuery,
    pub(super) format: Format,
    pairs: Vec<(String, String)>,
    open: PhantomData<O>,
}

/// For lists whose filters are all typed.
#[derive(Debug)]
pub(super) struct NoneOpen;

impl IntoParams for NoneOpen {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        Vec::new()
    }
}

/// The parameter that chooses how a list is written.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "documents what OutputFormat reads")]
pub(super) struct FormatIn {
    /// `json` is one page; `csv` and `ndjson` are all rows from the cursor on, streamed, whatever the limit.
    /// The header `Accept` chooses too.
    #[param(value_type = Option<FormatName>, inline)]
    format: Option<String>,
}

#[derive(utoipa::ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "documents the words OutputFormat reads")]
enum FormatName {
    Json,
    Csv,
    Ndjson,
}

impl<T, O, S> FromRequestParts<S> for ListQuery<T, O>
where
    T: DeserializeOwned + IntoParams + Send,
    O: IntoParams,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(pairs) = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await?;
        refuse_unknown::<T, O>(&pairs)?;
        let Query(filter) = Query::from_request_parts(parts, state).await?;
        let Query(page) = Query::from_request_parts(parts, state).await?;
        let OutputFormat(format) = OutputFormat::from_request_parts(parts, state).await?;
        Ok(Self {
            filter,
            page,
            format,
            pairs,
            open: PhantomData,
        })
    }
}

impl<T, O> ListQuery<T, O> {
    /// Returns every value of a parameter that may be repeated or hold several, separated by commas.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        let given = self.pairs.iter().filter(|(key, _)| key == name);
        given
            .flat_map(|(_, value)| value.split(','))
            .filter(|value| !value.is_empty())
            .map(Into::into)
            .collect()
    }

    /// Returns the open filters of a group: `group.name=value` or `group[name]=value`.
    ///
    /// # Errors
    /// 400 `invalid_query` for more than ten.
    pub(super) fn members(&self, group: &str) -> Result<Vec<(String, String)>, Problem> {
        let members: Vec<_> = self
            .pairs
            .iter()
            .filter_map(|(key, value)| Some((member_name(group, key)?.to_owned(), value.clone())))
            .collect();
        if members.len() > MEMBERS_MAX {
            return Err(Problem::bad_request(
                "invalid_query",
                format!("{group}: at most {MEMBERS_MAX} at a time"),
            ));
        }
        Ok(members)
    }
}

fn member_name<'key>(group: &str, key: &'key str) -> Option<&'key str> {
    let rest = key.strip_prefix(group)?;
    let name = rest
        .strip_prefix('.')
        .or_else(|| rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')))?;
    Some(name).filter(|name| !name.is_empty())
}

fn refuse_unknown<T: IntoParams, O: IntoParams>(pairs: &[(String, String)]) -> Result<(), Problem> {
    let groups = [
        T::into_params(|| None),
        O::into_params(|| None),
        PageQuery::into_params(|| None),
        FormatIn::into_params(|| None),
    ];
    refuse_unknown_among(pairs, groups)
}

/// Refuses a parameter that is in none of the groups.
///
/// # Errors
/// 400 `unknown_parameter` names it, and those there are.
pub(super) fn refuse_unknown_among(
    pairs: &[(String, String)],
    groups: impl IntoIterator<Item = Vec<Parameter>>,
) -> Result<(), Problem> {
    let known: Vec<String> = groups
        .into_iter()
        .flatten()
        .map(|parameter| parameter.name)
        .collect();
    let is_known = |key: &str| {
        known
            .iter()
            .any(|name| name == key || member_name(name, key).is_some())
    };
    match pairs.iter().find(|(key, _)| !is_known(key)) {
        None => Ok(()),
        Some((key, _)) => Err(Problem::bad_request(
            "unknown_parameter",
            format!(
                "{key:?} is no parameter of this address. It has: {}.",
                known.join(", ")
            ),
        )),
    }
}

/// Begin (inclusive) and end (exclusive) of a filter by time; an absent one is open.
pub(super) type OpenRange = (Option<DateTime<Utc>>, Option<DateTime<Utc>>);

/// Reads the ends of a filter by time; what is absent stays open.
///
/// `names` are those of the two parameters; a plain date is a whole day of the zone `tz`, else of the site.
///
/// # Errors
/// 400 `invalid_time` or `invalid_timezone`.
pub(super) fn open_range(
    names: [&str; 2],
    from: Option<&str>,
    to: Option<&str>,
    zone: Tz,
) -> Result<OpenRange, Problem> {
    let [from_name, to_name] = names;
    Ok((
        from.map(|text| parse_time(from_name, text, zone, DayEdge::Begin))
            .transpose()?,
        to.map(|text| parse_time(to_name, text, zone, DayEdge::End))
            .transpose()?,
    ))
}

/// Returns the zone that is asked for, else the site's.
///
/// # Errors
/// 400 `invalid_timezone`.
pub(super) fn zone(tz: Option<&str>, state: &AppState) -> Result<Tz, Problem> {
    parse_zone(tz.unwrap_or(&state.config.site.timezone))
}

/// A list of which any page can be read.
pub(super) trait Listing: Clone + Send + Sync + 'static {
    type Row: Serialize + Send + 'static;
    /// Where a page ends.
    type Position: Serialize + DeserializeOwned + Clone + Send + Sync + 'static;

    /// The list's name with all that changes its order; binds cursors to it.
    fn name(&self) -> String;

    /// Names the exported file, without its ending.
    const FILE: &'static str;

    /// Columns of the CSV.
    const COLUMNS: &'static [&'static str];

    fn position(row: &Self::Row) -> Self::Position;

    /// Reads the rows after `position`, `rows_max` at most.
    fn read(
        &self,
        state: &AppState,
        after: Option<Self::Position>,
        rows_max: i64,
    ) -> impl Future<Output = sqlx::Result<Vec<Self::Row>>> + Send;
}

/// Answers with one page as JSON, or with all rows from the cursor on as CSV or NDJSON.
pub(super) async fn answer<L: Listing>(
    listing: L,
    state: AppState,
    page: &PageQuery,
    format: Format,
) -> Result<Response, Problem> {
    let name = listing.name();
    let after: Option<L::Position> = page.position(&state.hasher, &name)?;
    if format == Format::Json {
        let limit = page.limit()?;
        let rows = listing.read(&state, after, limit + 1).await?;
        let page = super::list::Page::cut(rows, limit, &state.hasher, &name, L::position);
        return Ok(axum::Json(page).into_response());
    }
    super::list::stream_rows(format, L::FILE, L::COLUMNS, walk(listing, state, after)).await
}

/// Reads page after page, so that an export of any length holds no transaction open and few rows in memory.
fn walk<L: Listing>(
    listing: L,
    state: AppState,
    after: Option<L::Position>,
) -> impl Stream<Item = sqlx::Result<L::Row>> + Send {
    stream::try_unfold(Some(after), move |next| {
        let (listing, state) = (listing.clone(), state.clone());
        async move {
            let Some(after) = next else {
                return Ok(None);
            };
            let rows = listing.read(&state, after, STREAM_ROWS).await?;
            let is_last = i64::try_from(rows.len()).is_ok_and(|count| count < STREAM_ROWS);
            let next = rows.last().filter(|_| !is_last).map(|row| Some(L::position(row)));
            Ok::<_, sqlx::Error>(Some((stream::iter(rows.into_iter().map(Ok)), next)))
        }
    })
    .try_flatten()
}
