//! Conditions on what only the store knows of an event: its properties.
//!
//! A condition becomes a boolean expression over the table `events e`. Every piece of text pushed here is a literal of
//! this crate, columns come from a closed set, and names and values from outside are bound.

use std::borrow::Cow;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{Postgres, QueryBuilder};
use utoipa::ToSchema;

/// What custom properties begin with on the wire.
pub const CUSTOM_PREFIX: &str = "properties.";

/// Characters of a custom property's name or of a text to compare with at most.
const TEXT_MAX: usize = 1000;

macro_rules! columns {
    ($($variant:ident $column:literal $kind:ident,)*) => {
        /// A column of the table of events that conditions may name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum EventColumn { $($variant,)* }

        /// Every column that conditions may name.
        pub const EVENT_COLUMNS: &[EventColumn] = &[$(EventColumn::$variant,)*];

        impl EventColumn {
            /// Returns its name on the wire, which is also that in the table.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $column,)* }
            }

            fn kind(self) -> Kind {
                match self { $(Self::$variant => Kind::$kind,)* }
            }

            /// Returns the column as its kind is compared.
            fn sql(self) -> &'static str {
                match self { $(Self::$variant => columns!(@sql $column $kind),)* }
            }
        }
    };
    (@sql $column:literal Text) => { concat!("e.", $column) };
    (@sql $column:literal Number) => { concat!("e.", $column, "::numeric") };
}

columns! {
    PageTitle "page_title" Text,
    Referrer "referrer" Text,
    ReferrerHost "referrer_host" Text,
    UtmSource "utm_source" Text,
    UtmMedium "utm_medium" Text,
    UtmCampaign "utm_campaign" Text,
    UtmTerm "utm_term" Text,
    UtmContent "utm_content" Text,
    ElementSelector "element_selector" Text,
    ElementText "element_text" Text,
    ElementId "element_id" Text,
    ElementClasses "element_classes" Text,
    ScrollDepth "scroll_depth" Number,
    FormId "form_id" Text,
    FormFieldName "form_field_name" Text,
    FormFieldType "form_field_type" Text,
    ProductId "product_id" Text,
    ProductName "product_name" Text,
    ProductCategory "product_category" Text,
    ProductPrice "product_price" Number,
    Quantity "quantity" Number,
    CartTotal "cart_total" Number,
    OrderId "order_id" Text,
    OrderTotal "order_total" Number,
    Currency "currency" Text,
    SearchQuery "search_query" Text,
    SearchResultsCount "search_results_count" Number,
    ErrorMessage "error_message" Text,
    PageLoadTimeMs "page_load_time_ms" Number,
    TimeOnPageSeconds "time_on_page_seconds" Number,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
}

/// A property of an event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventProperty {
    Column(EventColumn),
    /// A member of the custom properties.
    Custom(String),
}

impl EventProperty {
    /// Reads a property as it is written: a column's name, or `properties.` and the name of a custom one.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(name) = text.strip_prefix(CUSTOM_PREFIX) {
            let is_usable = (1..=TEXT_MAX).contains(&name.len()) && !name.contains('\0');
            return is_usable.then(|| Self::Custom(name.to_owned()));
        }
        let mut columns = EVENT_COLUMNS.iter().copied();
        columns.find(|column| column.as_str() == text).map(Self::Column)
    }

    /// Returns its name on the wire.
    pub fn name(&self) -> Cow<'static, str> {
        match self {
            Self::Column(column) => column.as_str().into(),
            Self::Custom(name) => format!("{CUSTOM_PREFIX}{name}").into(),
        }
    }
}

/// How a property is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    Eq,
    /// Holds also where there is no such property.
    Ne,
    Gt,
    Gte,
    Lt,
    Lte,
    /// The text holds this text, upper and lower case told apart.
    Contains,
    /// There is such a property; with the value `false`, there is none.
    Exists,
}

impl Comparison {
    fn sql(self) -> &'static str {
        match self {
            Self::Eq => " = ",
            Self::Ne => " IS DISTINCT FROM ",
            Self::Gt => " > ",
            Self::Gte => " >= ",
            Self::Lt => " < ",
            Self::Lte => " <= ",
            Self::Contains | Self::Exists => unreachable!("not an operator between two values"),
        }
    }

    fn is_ordering(self) -> bool {
        matches!(self, Self::Gt | Self::Gte | Self::Lt | Self::Lte)
    }
}

/// A value to compare with.
#[derive(Clone, Debug, PartialEq)]
enum Operand {
    Text(String),
    Number(Decimal),
    Truth(bool),
}

/// One condition on an event, known to make sense.
#[derive(Clone, Debug, PartialEq)]
pub struct EventCondition {
    property: EventProperty,
    op: Comparison,
    operand: Operand,
}

impl EventCondition {
    /// Puts a condition together.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the property or the value.
    pub fn checked(property: &str, op: Comparison, value: Option<&Value>) -> Result<Self, String> {
        let Some(found) = EventProperty::parse(property) else {
            let names: Vec<&str> = EVENT_COLUMNS.iter().map(|column| column.as_str()).collect();
            return Err(format!(
                "{property:?} is no property of an event. Custom ones begin with {CUSTOM_PREFIX:?}; the others are {}.",
                names.join(", ")
            ));
        };
        let operand = operand(&found, op, value)?;
        Ok(Self {
            property: found,
            op,
            operand,
        })
    }

    /// Adds the condition to a query as an expression over `events e` that is true or false, never null.
    pub fn push_to(&self, query: &mut QueryBuilder<Postgres>) {
        query.push("coalesce(");
        match &self.property {
            EventProperty::Column(column) => self.push_column(query, *column),
            EventProperty::Custom(name) => self.push_custom(query, name),
        }
        query.push(", false)");
    }

    fn push_column(&self, query: &mut QueryBuilder<Postgres>, column: EventColumn) {
        match (&self.operand, self.op) {
            (Operand::Truth(exists), _) => {
                query.push(column.sql());
                query.push(if *exists { " IS NOT NULL" } else { " IS NULL" });
            }
            (Operand::Text(text), Comparison::Contains) => {
                query.push("strpos(").push(column.sql()).push(", ");
                query.push_bind(text.clone()).push(") > 0");
            }
            (Operand::Text(text), op) => {
                query.push(column.sql()).push(op.sql()).push_bind(text.clone());
            }
            (Operand::Number(number), op) => {
                query.push(column.sql()).push(op.sql()).push_bind(*number);
            }
        }
    }

    fn push_custom(&self, query: &mut QueryBuilder<Postgres>, name: &str) {
        let name = name.to_owned();
        match (&self.operand, self.op) {
            (Operand::Truth(exists), Comparison::Exists) => {
                query.push("(e.properties -> ").push_bind(name);
                query.push(") IS NOT NULL = ").push_bind(*exists);
            }
            (Operand::Text(text), Comparison::Contains) => {
                query.push("strpos(e.properties ->> ").push_bind(name).push(", ");
                query.push_bind(text.clone()).push(") > 0");
            }
            (Operand::Number(number), op) if op.is_ordering() => {
                query
                    .push("CASE WHEN jsonb_typeof(e.properties -> ")
                    .push_bind(name.clone());
                query.push(") = 'number' THEN (e.properties ->> ").push_bind(name);
                query
                    .push(")::numeric")
                    .push(op.sql())
                    .push_bind(*number)
                    .push(" END");
            }
            (operand, op) => {
                query.push("(e.properties -> ").push_bind(name).push(")");
                query.push(op.sql()).push("to_jsonb(");
                match operand {
                    Operand::Text(text) => query.push_bind(text.clone()).push("::text"),
                    Operand::Number(number) => query.push_bind(*number).push("::numeric"),
                    Operand::Truth(truth) => query.push_bind(*truth).push("::boolean"),
                };
                query.push(")");
            }
        }
    }
}

fn operand(property: &EventProperty, op: Comparison, value: Option<&Value>) -> Result<Operand, String> {
    let name = property.name();
    if op == Comparison::Exists {
        return match value {
            None | Some(Value::Bool(true)) => Ok(Operand::Truth(true)),
            Some(Value::Bool(false)) => Ok(Operand::Truth(false)),
            Some(_) => Err("the value of \"exists\" is true or false, or left out.".to_owned()),
        };
    }
    let operand = match value {
        Some(Value::String(text)) if text.chars().count() > TEXT_MAX => {
            return Err(format!("the text is longer than {TEXT_MAX} characters."));
        }
        Some(Value::String(text)) if text.contains('\0') => {
            return Err("the text holds a NUL character, which no property can.".to_owned());
        }
        Some(Value::String(text)) => Operand::Text(text.clone()),
        Some(Value::Number(number)) => {
            let text = number.to_string();
            let parsed = text.parse().or_else(|_| Decimal::from_scientific(&text));
            Operand::Number(parsed.map_err(|_| format!("{text} has too many digits to compare with."))?)
        }
        Some(Value::Bool(truth)) => Operand::Truth(*truth),
        None | Some(Value::Null) => {
            return Err(format!("say which value {name} is compared with."));
        }
        Some(_) => return Err("the value is a text, a number, true or false.".to_owned()),
    };
    let kind = match property {
        EventProperty::Column(column) => Some(column.kind()),
        EventProperty::Custom(_) => None,
    };
    match (kind, op, &operand) {
        (_, Comparison::Contains, Operand::Number(_) | Operand::Truth(_)) => {
            Err("\"contains\" looks for a text.".to_owned())
        }
        (Some(Kind::Number), Comparison::Contains, _) => Err(format!(
            "{name} is a number: compare it, or ask whether it exists."
        )),
        (Some(Kind::Number), _, Operand::Text(_) | Operand::Truth(_)) => {
            Err(format!("{name} is a number, so it is compared with a number."))
        }
        (Some(Kind::Text), _, Operand::Number(_) | Operand::Truth(_)) => {
            Err(format!("{name} is a text, so it is compared with a text."))
        }
        (_, op, Operand::Text(_) | Operand::Truth(_)) if op.is_ordering() => {
            Err("greater and less compare numbers.".to_owned())
        }
        _ => Ok(operand),
    }
}

/// Adds a number to a query whose bit k says whether all conditions of group k hold of `events e`. 31 groups at most.
pub fn push_marks(query: &mut QueryBuilder<Postgres>, groups: &[Vec<EventCondition>]) {
    assert!(groups.len() <= 31, "a bit per group in a signed number");
    query.push("(0");
    for (bit, group) in groups.iter().enumerate() {
        query.push(" | CASE WHEN true");
        for condition in group {
            query.push(" AND ");
            condition.push_to(query);
        }
        query.push(" THEN ").push_bind(1_i32 << bit).push(" ELSE 0 END");
    }
    query.push(")");
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sqlx::PgPool;

    use super::*;

    fn condition(property: &str, op: Comparison, value: Value) -> EventCondition {
        let value = (!value.is_null()).then_some(value);
        EventCondition::checked(property, op, value.as_ref()).unwrap()
    }

    #[test]
    fn names_and_values_are_bound_and_never_part_of_the_text() {
        let mut query = QueryBuilder::new("");
        let evil = "x' OR true --";
        condition(&format!("properties.{evil}"), Comparison::Eq, json!(evil)).push_to(&mut query);
        condition("product_id", Comparison::Contains, json!(evil)).push_to(&mut query);
        condition("order_total", Comparison::Gte, json!(49.9)).push_to(&mut query);
        assert_eq!(
            query.sql().as_str(),
            "coalesce((e.properties -> $1) = to_jsonb($2::text), false)\
             coalesce(strpos(e.product_id, $3) > 0, false)\
             coalesce(e.order_total::numeric >= $4, false)"
        );
    }

    #[test]
    fn what_cannot_be_compared_is_refused_with_a_sentence() {
        use Comparison::*;
        for (property, op, value, expected) in [
            ("colour", Eq, json!("red"), "is no property"),
            ("properties.", Eq, json!("red"), "is no property"),
            ("order_total", Eq, json!("red"), "is a number"),
            ("order_total", Contains, json!("1"), "is a number"),
            ("product_id", Eq, json!(5), "is a text"),
            ("product_id", Gt, json!("5"), "compare numbers"),
            ("properties.plan", Lt, json!("a"), "compare numbers"),
            ("properties.plan", Contains, json!(5), "looks for a text"),
            ("properties.plan", Eq, json!(null), "say which value"),
            ("properties.plan", Eq, json!([1]), "a text, a number"),
            ("properties.plan", Exists, json!("yes"), "true or false"),
            ("properties.plan", Eq, json!("a\0b"), "NUL"),
            ("properties.plan", Eq, json!("a".repeat(1001)), "longer than"),
        ] {
            let sentence = EventCondition::checked(property, op, Some(&value)).unwrap_err();
            assert!(sentence.contains(expected), "{property} {value}: {sentence}");
            assert!(sentence.ends_with('.'), "{sentence}");
        }
    }

    #[sqlx::test(migrator = "crate::store::MIGRATOR")]
    async fn a_mark_says_what_holds_of_an_event(pool: PgPool) {
        use Comparison::*;
        let groups = [
            (vec![condition("order_total", Gte, json!(50))], true),
            (vec![condition("order_total", Lt, json!(49.99))], false),
            (vec![condition("order_total", Eq, json!(50.00))], true),
            (vec![condition("product_id", Eq, json!("a-1"))], true),
            (vec![condition("product_id", Contains, json!("-1"))], true),
            (vec![condition("product_id", Contains, json!("%"))], false),
            (vec![condition("product_id", Ne, json!("a-2"))], true),
            (vec![condition("element_id", Ne, json!("buy"))], true),
            (vec![condition("element_id", Exists, json!(null))], false),
            (vec![condition("element_id", Exists, json!(false))], true),
            (vec![condition("properties.plan", Eq, json!("pro"))], true),
            (vec![condition("properties.plan", Ne, json!("pro"))], false),
            (vec![condition("properties.seats", Gt, json!(4))], true),
            (vec![condition("properties.seats", Eq, json!(5.0))], true),
            (vec![condition("properties.plan", Gt, json!(4))], false),
            (vec![condition("properties.trial", Eq, json!(true))], true),
            (vec![condition("properties.none", Exists, json!(null))], false),
            (vec![condition("properties.none", Ne, json!("x"))], true),
            (vec![condition("properties.plan", Contains, json!("r"))], true),
            (
                vec![
                    condition("product_id", Eq, json!("a-1")),
                    condition("order_total", Gt, json!(50)),
                ],
                false,
            ),
            (vec![], true),
        ];
        let conditions: Vec<_> = groups.iter().map(|(group, _)| group.clone()).collect();
        let mut query = QueryBuilder::new("SELECT ");
        push_marks(&mut query, &conditions);
        query.push(
            " FROM (SELECT 50.0::numeric AS order_total, 'a-1'::text AS product_id, NULL::text AS element_id,
              '{\"plan\": \"pro\", \"seats\": 5, \"trial\": true}'::jsonb AS properties) e",
        );
        let marks: i32 = query.build_query_scalar().fetch_one(&pool).await.unwrap();
        for (bit, (group, expected)) in groups.iter().enumerate() {
            assert_eq!(marks >> bit & 1 == 1, *expected, "{group:?}");
        }
    }

    #[sqlx::test(migrator = "crate::store::MIGRATOR")]
    async fn every_column_can_be_asked_of_the_table(pool: PgPool) {
        let conditions = EVENT_COLUMNS.iter().map(|column| {
            let value = match column.kind() {
                Kind::Text => json!("x"),
                Kind::Number => json!(1.5),
            };
            condition(column.as_str(), Comparison::Eq, value)
        });
        let mut query = QueryBuilder::new("SELECT ");
        push_marks(&mut query, &[conditions.collect()]);
        query.push(" FROM events e");
        let rows: Vec<i32> = query.build_query_scalar().fetch_all(&pool).await.unwrap();
        assert!(rows.is_empty());
    }
}
