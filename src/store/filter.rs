//! Conditions put together at run time: the only SQL of the read side that is not one literal.
//!
//! Every piece of text pushed here is a literal of this crate (`&'static str`, so it cannot be anything else);
//! whatever came from outside is bound.

use chrono::{DateTime, Utc};
use sqlx::{Encode, Postgres, QueryBuilder, Type};

/// A query with a `WHERE` clause that grows.
pub(crate) struct Conditions {
    query: QueryBuilder<Postgres>,
    joiner: &'static str,
}

impl Conditions {
    /// Starts with `select`, which ends before its `WHERE`.
    pub(crate) fn new(select: &'static str) -> Self {
        Self {
            query: QueryBuilder::new(select),
            joiner: " WHERE ",
        }
    }

    /// Starts with a text whose first parameter is `value`, and which ends inside its `WHERE` clause.
    pub(crate) fn with_first<'t, T>(select: &'static str, value: T) -> Self
    where
        T: Encode<'t, Postgres> + Type<Postgres>,
    {
        let mut arguments = sqlx::postgres::PgArguments::default();
        sqlx::Arguments::add(&mut arguments, value).expect("an id is encoded without fail");
        Self {
            query: QueryBuilder::with_arguments(select, arguments),
            joiner: " AND ",
        }
    }

    /// Starts with two values among what is selected: `select <first> between <second> rest`. The rest ends inside the
    /// `WHERE` clause.
    pub(crate) fn with_two<'t, A, B>(
        select: &'static str,
        first: A,
        between: &'static str,
        second: B,
        rest: &'static str,
    ) -> Self
    where
        A: Encode<'t, Postgres> + Type<Postgres>,
        B: Encode<'t, Postgres> + Type<Postgres>,
    {
        let mut query = QueryBuilder::new(select);
        query.push_bind(first).push(between).push_bind(second).push(rest);
        Self {
            query,
            joiner: " AND ",
        }
    }

    /// Adds `before <value> after`.
    pub(crate) fn compare<'t, T>(&mut self, before: &'static str, value: T, after: &'static str) -> &mut Self
    where
        T: Encode<'t, Postgres> + Type<Postgres>,
    {
        self.query
            .push(self.joiner)
            .push(before)
            .push_bind(value)
            .push(after);
        self.joiner = " AND ";
        self
    }

    /// Adds `before <value>` unless there is no value.
    pub(crate) fn compare_some<'t, T>(&mut self, before: &'static str, value: Option<T>) -> &mut Self
    where
        T: Encode<'t, Postgres> + Type<Postgres>,
    {
        match value {
            Some(value) => self.compare(before, value, ""),
            None => self,
        }
    }

    /// Adds `from` (inclusive) and `to` (exclusive); the two texts end before the value.
    pub(crate) fn range(
        &mut self,
        from: (&'static str, Option<DateTime<Utc>>),
        to: (&'static str, Option<DateTime<Utc>>),
    ) -> &mut Self {
        self.compare_some(from.0, from.1).compare_some(to.0, to.1)
    }

    /// Adds a pattern in which `*` stands for any text; the text ends before the value.
    pub(crate) fn glob(&mut self, before: &'static str, pattern: Option<&str>) -> &mut Self {
        self.compare_some(before, pattern.map(like_pattern))
    }

    /// Adds one equality per pair to the JSON object in `column`: its member, read as text, is the value.
    pub(crate) fn members(&mut self, column: &'static str, pairs: &[(String, String)]) -> &mut Self {
        for (name, value) in pairs {
            self.compare(column, name.as_str(), "");
            self.query.push(" = ").push_bind(value.as_str());
        }
        self
    }

    /// Adds `before <first> between <second> after`.
    pub(crate) fn pair<'t, A, B>(
        &mut self,
        before: &'static str,
        first: A,
        between: &'static str,
        second: B,
        after: &'static str,
    ) -> &mut Self
    where
        A: Encode<'t, Postgres> + Type<Postgres>,
        B: Encode<'t, Postgres> + Type<Postgres>,
    {
        self.compare(before, first, between);
        self.query.push_bind(second).push(after);
        self
    }

    /// Adds a comparison of two columns with two values, `(a, b) < (first, second)`; the text ends with the
    /// second opening bracket.
    pub(crate) fn beyond<'t, A, B>(&mut self, before: &'static str, first: A, second: B) -> &mut Self
    where
        A: Encode<'t, Postgres> + Type<Postgres>,
        B: Encode<'t, Postgres> + Type<Postgres>,
    {
        self.pair(before, first, ", ", second, ")")
    }

    /// Ends the query with an order and a limit.
    pub(crate) fn finish(mut self, order: &'static str, rows_max: i64) -> QueryBuilder<Postgres> {
        self.query.push(order).push(" LIMIT ").push_bind(rows_max);
        self.query
    }
}

/// Turns a pattern with `*` into one for `LIKE`; every other character stands for itself.
pub(crate) fn like_pattern(glob: &str) -> String {
    let mut pattern = String::with_capacity(glob.len() + 4);
    for character in glob.chars() {
        match character {
            '*' => pattern.push('%'),
            '%' | '_' | '\\' => pattern.extend(['\\', character]),
            other => pattern.push(other),
        }
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_asterisk_is_special_in_a_pattern() {
        assert_eq!(like_pattern("/shop/*"), "/shop/%");
        assert_eq!(like_pattern(r"50%_off\*"), r"50\%\_off\\%");
    }

    #[test]
    fn values_are_bound_and_never_part_of_the_text() {
        let mut conditions = Conditions::new("SELECT 1 FROM events e");
        conditions
            .compare_some("e.country = ", Some("'; DROP TABLE events --".to_owned()))
            .compare_some("e.device_id = ", None::<String>)
            .members("e.properties ->> ", &[("a' OR 1=1".into(), "b".into())]);
        assert_eq!(
            conditions.finish(" ORDER BY 1", 5).sql().as_str(),
            "SELECT 1 FROM events e WHERE e.country = $1 AND e.properties ->> $2 = $3 ORDER BY 1 LIMIT $4"
        );
    }
}
