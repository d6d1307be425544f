//! Which customers pass tests on what their row says: the part of a segment that the store answers.
//!
//! Every piece of SQL is a literal of this crate, chosen by a closed enum; whatever came from outside is bound.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, Postgres, QueryBuilder};
use utoipa::ToSchema;
use uuid::Uuid;

use super::filter::like_pattern;

/// Tests in one question at most: each has a bit of the answer.
pub(crate) const TESTS_MAX: usize = 63;

/// A column of customers that holds a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TextColumn {
    /// Of the first touch, as are medium, campaign, channel and entry page.
    Source,
    Medium,
    Campaign,
    Channel,
    EntryPage,
    /// Last seen, as is the country.
    DeviceType,
    /// ISO 3166-1 alpha-2.
    Country,
    /// Of the scores; absent until the customer is scored.
    RfmSegment,
    LoyaltyTier,
}

impl TextColumn {
    fn sql(self) -> &'static str {
        match self {
            Self::Source => "nullif(c.source, '')",
            Self::Medium => "c.medium",
            Self::Campaign => "c.campaign",
            Self::Channel => "nullif(c.channel, '')",
            Self::EntryPage => "c.entry_page",
            Self::DeviceType => "c.device_type",
            Self::Country => "c.country",
            Self::RfmSegment => "(SELECT x.rfm_segment FROM customer_scores x WHERE x.customer_id = c.id)",
            Self::LoyaltyTier => "(SELECT x.loyalty_tier FROM customer_scores x WHERE x.customer_id = c.id)",
        }
    }
}

/// A column of customers that holds a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NumberColumn {
    Devices,
    Sessions,
    Events,
    PageViews,
    Conversions,
    AbandonedCarts,
    VisibleSeconds,
    /// Of the scores, as are the next two; nobody without the score passes.
    Engagement,
    ChurnRisk,
    ConversionProbability,
}

impl NumberColumn {
    fn sql(self) -> &'static str {
        match self {
            Self::Devices => "c.devices",
            Self::Sessions => "c.sessions",
            Self::Events => "c.events",
            Self::PageViews => "c.page_views",
            Self::Conversions => "c.conversions",
            Self::AbandonedCarts => "c.abandoned_carts",
            Self::VisibleSeconds => "c.visible_seconds",
            Self::Engagement => "SELECT x.engagement FROM customer_scores x WHERE x.customer_id = c.id",
            Self::ChurnRisk => "SELECT x.churn_risk FROM customer_scores x WHERE x.customer_id = c.id",
            Self::ConversionProbability => {
                "SELECT x.conversion_probability FROM customer_scores x WHERE x.customer_id = c.id"
            }
        }
    }
}

/// A column of customers that holds a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TimeColumn {
    FirstSeen,
    LastSeen,
}

impl TimeColumn {
    fn sql(self) -> &'static str {
        match self {
            Self::FirstSeen => "c.first_seen",
            Self::LastSeen => "c.last_seen",
        }
    }
}

/// The bounds of a number, both included; an absent one is open.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Bounds {
    pub(crate) at_least: Option<Decimal>,
    pub(crate) at_most: Option<Decimal>,
}

/// One test of a customer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum CustomerTest<'rule> {
    /// The text matches one of the values, in which `*` stands for any text; `None` is passed by who has none.
    Text(TextColumn, &'rule [Option<String>]),
    Number(NumberColumn, Bounds),
    /// The sum in one currency; 0 where there is none.
    Revenue(&'rule str, Bounds),
    /// From (inclusive) and to (exclusive).
    Time(TimeColumn, Option<DateTime<Utc>>, Option<DateTime<Utc>>),
    Identified(bool),
    /// The current value of an attribute, as text.
    AttributeText(&'rule str, &'rule [Option<String>]),
    /// The current value of an attribute that is a JSON number.
    AttributeNumber(&'rule str, Bounds),
}

/// Says who passes which tests: the bit of each test that is passed, for those who pass at least one.
///
/// # Panics
/// With more than [`TESTS_MAX`] tests.
pub(crate) async fn list_matching(
    connection: &mut PgConnection,
    tests: &[CustomerTest<'_>],
) -> sqlx::Result<Vec<(Uuid, i64)>> {
    assert!(tests.len() <= TESTS_MAX, "each test has a bit");
    if tests.is_empty() {
        return Ok(Vec::new());
    }
    matching_query(tests).build_query_as().fetch_all(connection).await
}

fn matching_query(tests: &[CustomerTest<'_>]) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::new("SELECT m.id, m.bits FROM (SELECT c.id, 0::bigint");
    for (bit, test) in tests.iter().enumerate() {
        query.push(" | CASE WHEN ");
        push_test(&mut query, test);
        query.push(" THEN ").push_bind(1_i64 << bit).push(" ELSE 0 END");
    }
    query.push(" AS bits FROM customers c) m WHERE m.bits <> 0");
    query
}

fn push_test(query: &mut QueryBuilder<Postgres>, test: &CustomerTest<'_>) {
    match test {
        CustomerTest::Text(column, values) => {
            query.push(column.sql());
            push_texts(query, values, column.sql());
        }
        CustomerTest::Number(column, bounds) => {
            query.push("(").push(column.sql()).push(")::numeric");
            push_bounds(query, *bounds);
        }
        CustomerTest::Revenue(currency, bounds) => {
            query
                .push("coalesce((c.revenue ->> ")
                .push_bind((*currency).to_owned());
            query.push(")::numeric, 0)");
            push_bounds(query, *bounds);
        }
        CustomerTest::Time(column, from, to) => {
            // An infinite bound is one that every time passes.
            query.push(column.sql()).push(" >= coalesce(").push_bind(*from);
            query.push(", '-infinity') AND ").push(column.sql());
            query.push(" < coalesce(").push_bind(*to).push(", 'infinity')");
        }
        CustomerTest::Identified(wanted) => {
            query.push("(c.user_id IS NOT NULL) = ").push_bind(*wanted);
        }
        CustomerTest::AttributeText(name, values) => {
            query.push("(SELECT a.value");
            push_texts(query, values, "a.value");
            query
                .push(" FROM (SELECT c.attributes ->> ")
                .push_bind((*name).to_owned());
            query.push(" AS value) a)");
        }
        CustomerTest::AttributeNumber(name, bounds) => {
            // The inner CASE keeps a text from being read as a number.
            query
                .push("CASE jsonb_typeof(c.attributes -> ")
                .push_bind((*name).to_owned());
            query
                .push(") WHEN 'number' THEN (c.attributes ->> ")
                .push_bind((*name).to_owned());
            query.push(")::numeric");
            push_bounds(query, *bounds);
            query.push(" ELSE false END");
        }
    }
}

/// Continues a text with "is like one of these, or absent when that is wanted".
fn push_texts(query: &mut QueryBuilder<Postgres>, values: &[Option<String>], sql: &'static str) {
    let patterns: Vec<String> = values.iter().flatten().map(|glob| like_pattern(glob)).collect();
    query.push(" LIKE ANY(").push_bind(patterns).push(")");
    if values.contains(&None) {
        query.push(" OR ").push(sql).push(" IS NULL");
    }
}

fn push_bounds(query: &mut QueryBuilder<Postgres>, bounds: Bounds) {
    query.push(" BETWEEN coalesce(").push_bind(bounds.at_least);
    query
        .push(", '-infinity'::numeric) AND coalesce(")
        .push_bind(bounds.at_most);
    query.push(", 'infinity'::numeric)");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_bound_and_never_part_of_the_text() {
        let hostile = "'; DROP TABLE customers --".to_owned();
        let values = [Some(hostile.clone()), None];
        let bounds = Bounds::default();
        let query = matching_query(&[
            CustomerTest::Text(TextColumn::Country, &values),
            CustomerTest::AttributeText(&hostile, &values),
            CustomerTest::AttributeNumber(&hostile, bounds),
            CustomerTest::Revenue(&hostile, bounds),
        ]);
        assert!(!query.sql().as_str().contains("DROP"));
    }

    fn decimal(text: &str) -> Option<Decimal> {
        Some(text.parse().unwrap())
    }

    #[sqlx::test(migrator = "crate::store::MIGRATOR")]
    async fn each_test_sets_its_own_bit(pool: sqlx::PgPool) {
        let mut connection = pool.acquire().await.unwrap();
        sqlx::query(
            r#"INSERT INTO customers (id, user_id, first_seen, country, sessions, revenue, attributes, channel) VALUES
               ('00000000-0000-0000-0000-000000000001', 'ann', '2026-01-01', 'AT', 3, '{"EUR": "10.50"}',
                '{"plan": "pro", "seats": 4}', 'email'),
               ('00000000-0000-0000-0000-000000000002', NULL, '2026-02-01', NULL, 1, '{}', '{"seats": "4"}', '')"#,
        )
        .execute(&mut *connection)
        .await
        .unwrap();
        sqlx::query(
            "INSERT INTO customer_scores (customer_id, computed_at, engagement, churn_risk, loyalty_tier, why)
             VALUES ('00000000-0000-0000-0000-000000000001', '2026-02-02', 70, 0.25, 'gold', '{}')",
        )
        .execute(&mut *connection)
        .await
        .unwrap();
        let texts = |values: &[Option<&str>]| -> Vec<Option<String>> {
            values.iter().map(|value| value.map(str::to_owned)).collect()
        };
        let (austria, nowhere) = (texts(&[Some("A*")]), texts(&[None]));
        let gold = texts(&[Some("gold")]);
        let (pro, four) = (texts(&[Some("pro")]), texts(&[Some("4")]));
        let new_year = "2026-01-01T00:00:00Z".parse().unwrap();
        let february = "2026-02-01T00:00:00Z".parse().unwrap();
        let at_least = |text| Bounds {
            at_least: decimal(text),
            at_most: None,
        };
        let tests = [
            (CustomerTest::Text(TextColumn::Country, &austria), [true, false]),
            (CustomerTest::Text(TextColumn::Country, &nowhere), [false, true]),
            (CustomerTest::Text(TextColumn::Channel, &nowhere), [false, true]),
            (
                CustomerTest::Number(NumberColumn::Sessions, at_least("3")),
                [true, false],
            ),
            (CustomerTest::Revenue("EUR", at_least("10.50")), [true, false]),
            (CustomerTest::Revenue("USD", at_least("0.01")), [false, false]),
            (
                CustomerTest::Revenue(
                    "EUR",
                    Bounds {
                        at_least: None,
                        at_most: decimal("5"),
                    },
                ),
                [false, true],
            ),
            (
                CustomerTest::Time(TimeColumn::FirstSeen, Some(new_year), Some(february)),
                [true, false],
            ),
            (
                CustomerTest::Time(TimeColumn::FirstSeen, Some(february), None),
                [false, true],
            ),
            (CustomerTest::Identified(false), [false, true]),
            (
                CustomerTest::Number(NumberColumn::Engagement, at_least("70")),
                [true, false],
            ),
            (
                CustomerTest::Number(NumberColumn::ChurnRisk, at_least("0.26")),
                [false, false],
            ),
            (
                CustomerTest::Number(NumberColumn::ConversionProbability, at_least("0")),
                [false, false],
            ),
            (CustomerTest::Text(TextColumn::LoyaltyTier, &gold), [true, false]),
            (CustomerTest::Text(TextColumn::RfmSegment, &nowhere), [true, true]),
            (CustomerTest::AttributeText("plan", &pro), [true, false]),
            (CustomerTest::AttributeText("plan", &nowhere), [false, true]),
            (CustomerTest::AttributeText("seats", &four), [true, true]),
            (
                CustomerTest::AttributeNumber("seats", at_least("4")),
                [true, false],
            ),
            (
                CustomerTest::AttributeNumber("plan", Bounds::default()),
                [false, false],
            ),
        ];
        let (questions, expected): (Vec<_>, Vec<_>) = tests.into_iter().unzip();
        let found = list_matching(&mut connection, &questions).await.unwrap();
        for (person, place) in [(1, 0), (2, 1)] {
            let id = Uuid::from_u128(person);
            let bits = found
                .iter()
                .find(|(found, _)| *found == id)
                .map_or(0, |(_, bits)| *bits);
            for (bit, expected) in expected.iter().enumerate() {
                assert_eq!(
                    bits >> bit & 1 == 1,
                    expected[place],
                    "{person}: {:?}",
                    questions[bit]
                );
            }
        }
    }
}
