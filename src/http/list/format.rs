//! Lists as JSON, CSV or NDJSON.
//!
//! CSV is RFC 4180 with a header line, and safe to open in a spreadsheet: a text that begins with
//! `= + - @`, a tab or a carriage return gets a leading apostrophe, or the spreadsheet would run it as a
//! formula. Numbers stay as they are, negative ones and decimals that JSON carries as text too.

use axum::{
    body::Body,
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, header, request::Parts},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use serde::Serialize;
use serde_json::Value;

use crate::http::Problem;

/// How a list is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// One page: items and cursor.
    #[default]
    Json,
    /// All rows, a header line first.
    Csv,
    /// All rows, a JSON object on each line.
    Ndjson,
}

/// The format a request asks for: `?format=json|csv|ndjson`, else the header `Accept`, else JSON.
///
/// 400 `invalid_format` for another word in the query; an `Accept` that names none of the three is no
/// error, since browsers send one that wants HTML.
#[derive(Clone, Copy, Debug)]
pub struct OutputFormat(pub Format);

impl<S: Send + Sync> FromRequestParts<S> for OutputFormat {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let named = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "format");
        match named {
            Some((_, word)) => parse_format(&word).map(Self),
            None => Ok(Self(accepted_format(&parts.headers))),
        }
    }
}

fn parse_format(word: &str) -> Result<Format, Problem> {
    match word {
        "json" => Ok(Format::Json),
        "csv" => Ok(Format::Csv),
        "ndjson" => Ok(Format::Ndjson),
        _ => Err(Problem::bad_request(
            "invalid_format",
            "format: must be json, csv or ndjson",
        )),
    }
}

/// The first of the three that the header names; weights are for media types we have not.
fn accepted_format(headers: &HeaderMap) -> Format {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|range| match range.split(';').next()?.trim() {
            "application/json" => Some(Format::Json),
            "text/csv" => Some(Format::Csv),
            "application/x-ndjson" | "application/jsonl" => Some(Format::Ndjson),
            _ => None,
        })
        .unwrap_or_default()
}

/// Streams rows as CSV or NDJSON, in constant memory; `name` is the file's name without its ending.
///
/// `columns` are the members of a row that CSV has, in its order; NDJSON and JSON have all members.
/// [`Format::Json`] makes one array, for lists without pages.
///
/// # Errors
/// The problem of the first row, so that a query that fails at once is answered as such. A failure later
/// breaks the transfer off, so that nobody takes half a list for the whole.
pub async fn stream_rows<T, E, S>(
    format: Format,
    name: &str,
    columns: &'static [&'static str],
    rows: S,
) -> Result<Response, Problem>
where
    T: Serialize + Send + 'static,
    E: Into<Problem> + Send + 'static,
    S: Stream<Item = Result<T, E>> + Send + 'static,
{
    let mut rows = Box::pin(rows);
    let first = match rows.next().await {
        Some(Err(error)) => return Err(error.into()),
        Some(Ok(row)) => Some(Ok(row)),
        None => None,
    };
    let rows = stream::iter(first).chain(rows);
    let mut is_first = true;
    let lines = rows.map(move |row| {
        let row = row.map_err(broken_off)?;
        let separator = if std::mem::take(&mut is_first) { "" } else { "," };
        write_row(format, columns, separator, &row)
    });
    let (opening, closing) = match format {
        Format::Json => (Bytes::from_static(b"["), Bytes::from_static(b"]\n")),
        Format::Csv => (
            csv_line(columns.iter().copied()).map_err(Problem::internal)?,
            Bytes::new(),
        ),
        Format::Ndjson => (Bytes::new(), Bytes::new()),
    };
    let body = stream::iter([Ok(opening)])
        .chain(lines)
        .chain(stream::iter([Ok(closing)]));
    Ok((list_headers(format, name), Body::from_stream(body)).into_response())
}

fn broken_off<E: Into<Problem>>(error: E) -> std::io::Error {
    let problem: Problem = error.into();
    tracing::error!(
        code = problem.code(),
        cause = problem.source_chain(),
        "a streamed list broke off"
    );
    std::io::Error::other("the list broke off")
}

fn write_row<T: Serialize>(
    format: Format,
    columns: &'static [&'static str],
    separator: &str,
    row: &T,
) -> std::io::Result<Bytes> {
    match format {
        Format::Json => Ok(Bytes::from(format!("{separator}{}", serde_json::to_string(row)?))),
        Format::Ndjson => Ok(Bytes::from(serde_json::to_string(row)? + "\n")),
        Format::Csv => {
            let row = serde_json::to_value(row)?;
            csv_line(columns.iter().map(|column| cell(row.get(column))))
        }
    }
}

fn csv_line(cells: impl IntoIterator<Item = impl AsRef<[u8]>>) -> std::io::Result<Bytes> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    writer.write_record(cells)?;
    writer
        .into_inner()
        .map(Bytes::from)
        .map_err(|error| std::io::Error::other(error.to_string()))
}

/// A value as the text of a cell: nothing for null, JSON for lists and objects.
fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => disarm(text),
        Some(other) => other.to_string(),
    }
}

/// Puts an apostrophe before a text that a spreadsheet would run as a formula.
pub(crate) fn disarm(text: &str) -> String {
    let is_dangerous = text.starts_with(['=', '+', '-', '@', '\t', '\r']) && !is_number(text);
    if is_dangerous {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

/// Digits with at most one point, and a minus at most.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    [whole, fraction]
        .iter()
        .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

fn list_headers(format: Format, name: &str) -> HeaderMap {
    let (content_type, ending) = match format {
        Format::Json => ("application/json", None),
        Format::Csv => ("text/csv; charset=utf-8; header=present", Some("csv")),
        Format::Ndjson => ("application/x-ndjson", Some("ndjson")),
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    let disposition = ending
        .and_then(|ending| HeaderValue::from_str(&format!("attachment; filename=\"{name}.{ending}\"")).ok());
    if let Some(disposition) = disposition {
        headers.insert(header::CONTENT_DISPOSITION, disposition);
    }
    headers
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    async fn body(format: Format, rows: Vec<Value>) -> String {
        let rows = stream::iter(rows.into_iter().map(Ok::<_, Problem>));
        let response = stream_rows(format, "people", &["name", "value"], rows)
            .await
            .unwrap();
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX)
            .await
            .unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn csv_quotes_cells_and_disarms_formulas() {
        let rows = vec![
            json!({"name": "=1+1", "value": -5, "not_a_column": 1}),
            json!({"name": "a \"b\", c\nd", "value": "-5.25"}),
            json!({"name": "-5-3", "value": null}),
            json!({"name": "\tx", "value": [1, "=2"]}),
        ];
        assert_eq!(
            body(Format::Csv, rows).await,
            "name,value\r\n'=1+1,-5\r\n\"a \"\"b\"\", c\nd\",-5.25\r\n'-5-3,\r\n'\tx,\"[1,\"\"=2\"\"]\"\r\n"
        );
    }

    #[tokio::test]
    async fn every_format_is_complete_with_and_without_rows() {
        let rows = || vec![json!({"name": "a"}), json!({"name": "b"})];
        assert_eq!(
            body(Format::Json, rows()).await,
            "[{\"name\":\"a\"},{\"name\":\"b\"}]\n"
        );
        assert_eq!(
            body(Format::Ndjson, rows()).await,
            "{\"name\":\"a\"}\n{\"name\":\"b\"}\n"
        );
        assert_eq!(body(Format::Json, vec![]).await, "[]\n");
        assert_eq!(body(Format::Csv, vec![]).await, "name,value\r\n");
        assert_eq!(body(Format::Ndjson, vec![]).await, "");
    }

    #[tokio::test]
    async fn a_failure_of_the_first_row_is_a_problem_and_a_later_one_breaks_off() {
        let failing = || Err::<Value, _>(Problem::bad_request("bad", "Bad."));
        let answer = stream_rows(Format::Csv, "x", &["a"], stream::iter([failing()])).await;
        assert_eq!(answer.unwrap_err().code(), "bad");
        let late = stream::iter([Ok(json!({"a": 1})), failing()]);
        let response = stream_rows(Format::Csv, "x", &["a"], late).await.unwrap();
        assert!(
            axum::body::to_bytes(response.into_body(), usize::MAX)
                .await
                .is_err()
        );
    }

    #[tokio::test]
    async fn the_query_wins_over_the_header_and_json_is_the_default() {
        for (uri, accept, expected) in [
            ("/x", "", Ok(Format::Json)),
            ("/x", "text/html,*/*;q=0.8", Ok(Format::Json)),
            ("/x", "text/html, text/csv;q=0.9", Ok(Format::Csv)),
            ("/x?format=ndjson", "text/csv", Ok(Format::Ndjson)),
            ("/x?format=xml", "text/csv", Err("invalid_format")),
        ] {
            let request = axum::http::Request::get(uri).header(header::ACCEPT, accept);
            let (mut parts, ()) = request.body(()).unwrap().into_parts();
            let answer = OutputFormat::from_request_parts(&mut parts, &()).await;
            let answer = answer.map(|OutputFormat(format)| format);
            assert_eq!(
                answer.map_err(|problem| problem.code()),
                expected,
                "{uri} {accept}"
            );
        }
    }
}
