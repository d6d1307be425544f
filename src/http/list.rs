//! What every list of the API shares: pages and cursors, time ranges, and JSON, CSV or NDJSON.

mod cursor;
mod format;
mod range;

pub use cursor::{decode_cursor, encode_cursor};
pub(crate) use format::disarm;
pub use format::{Format, OutputFormat, stream_rows};
pub use range::{DayEdge, RangeQuery, TimeRange, parse_time, parse_zone};

use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned, de::Error};
use utoipa::{IntoParams, ToSchema};

use super::problem::Problem;
use crate::event::Hasher;

/// Rows of a page when the caller does not say.
pub const LIMIT_DEFAULT: i64 = 100;

/// Rows of a page at most.
pub const LIMIT_MAX: i64 = 1000;

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// Makes a page of rows that were read with `limit + 1`: a row too many means that there is more, and
    /// the cursor is the position of the last row shown.
    pub fn cut<P: Serialize>(
        mut rows: Vec<T>,
        limit: i64,
        hasher: &Hasher,
        list: &str,
        position: impl Fn(&T) -> P,
    ) -> Self {
        let limit = usize::try_from(limit).unwrap_or(0);
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = rows
            .last()
            .filter(|_| has_more)
            .map(|last| encode_cursor(hasher, list, &position(last)));
        Self {
            items: rows,
            next_cursor,
        }
    }
}

/// Which page of a list.
///
/// Numbers are read from text by hand, so that it also works flattened into another struct, where the
/// query string's decoder no longer converts.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Rows of a page.
    #[serde(default, deserialize_with = "number_from_text")]
    #[param(value_type = Option<i64>, minimum = 1, maximum = 1000, default = 100)]
    pub limit: Option<i64>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

impl PageQuery {
    /// Returns how many rows are asked for.
    ///
    /// # Errors
    /// 400 `invalid_query` outside of 1 to 1000.
    pub fn limit(&self) -> Result<i64, Problem> {
        match self.limit.unwrap_or(LIMIT_DEFAULT) {
            limit if (1..=LIMIT_MAX).contains(&limit) => Ok(limit),
            _ => Err(Problem::bad_request(
                "invalid_query",
                format!("limit: must be from 1 to {LIMIT_MAX}"),
            )),
        }
    }

    /// Returns the position the page before ended at, `None` for the first page.
    ///
    /// # Errors
    /// 400 `invalid_cursor` for a cursor that `list` has not given out.
    pub fn position<P: DeserializeOwned>(&self, hasher: &Hasher, list: &str) -> Result<Option<P>, Problem> {
        self.cursor
            .as_deref()
            .map(|cursor| decode_cursor(hasher, list, cursor))
            .transpose()
    }
}

/// Reads an optional number from a query string, flattened or not; for `#[serde(deserialize_with = …)]`.
pub fn number_from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else {
        return Ok(None);
    };
    text.parse()
        .map(Some)
        .map_err(|_| D::Error::custom(format!("{text:?} is not a whole number")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Result<PageQuery, String> {
        let uri: axum::http::Uri = format!("/x?{text}").parse().unwrap();
        axum::extract::Query::try_from_uri(&uri)
            .map(|axum::extract::Query(query)| query)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_limit_is_a_number_from_1_to_1000() {
        assert_eq!(query("").unwrap().limit().unwrap(), LIMIT_DEFAULT);
        assert_eq!(query("limit=1000").unwrap().limit().unwrap(), 1000);
        for bad in ["0", "1001", "-5", "9223372036854775807"] {
            let problem = query(&format!("limit={bad}")).unwrap().limit().unwrap_err();
            assert_eq!(problem.code(), "invalid_query");
        }
        assert!(query("limit=many").is_err());
        assert!(query("limit=9223372036854775808").is_err());
    }

    #[test]
    fn a_limit_is_read_when_the_query_is_flattened_too() {
        #[derive(Deserialize)]
        struct Outer {
            #[serde(flatten)]
            page: PageQuery,
        }
        let uri: axum::http::Uri = "/x?limit=7&other=1".parse().unwrap();
        let axum::extract::Query(outer) = axum::extract::Query::<Outer>::try_from_uri(&uri).unwrap();
        assert_eq!(outer.page.limit, Some(7));
    }

    #[test]
    fn a_page_points_on_only_when_a_row_is_left() {
        let hasher = Hasher::new("a salt of sixteen");
        let page = Page::cut(vec![1, 2, 3], 2, &hasher, "numbers", |number| *number);
        assert_eq!(page.items, [1, 2]);
        let next = PageQuery {
            limit: None,
            cursor: page.next_cursor,
        };
        assert_eq!(next.position::<i32>(&hasher, "numbers").unwrap(), Some(2));
        let last = Page::cut(vec![3, 4], 2, &hasher, "numbers", |number| *number);
        assert_eq!(last.next_cursor, None);
    }
}
