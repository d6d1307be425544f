//! The planted stories of the data set, which `docs/demo-data.md` tells, are found by the analyses.

use std::sync::Arc;

use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{dataset::DatasetOptions, load::Loader};
use crate::{
    analysis::{
        attribution::{Model, Question, attribute},
        dimension::Dimension,
        funnel::{Funnel, FunnelDefinition, Options, analyze},
        scope::Scope,
    },
    config::Config,
    index::{
        Index, Micros, View,
        feed::{Feed, Settings},
        question::read_for_question,
    },
    ingest::{settle::Settler, testing},
    service,
};

/// The data set in a store and in an index.
struct World {
    settler: Settler,
    view: Arc<View>,
    end: Micros,
}

impl World {
    async fn new(pool: &PgPool) -> Self {
        let end = "2026-09-14T10:20:30Z".parse().expect("a valid time");
        let options = DatasetOptions::demo(end, "http://127.0.0.1:8030");
        let mut config = Config::default();
        config.site.own_hosts = vec!["127.0.0.1".into()];
        config.retention.events_days = 0;
        let settler = Settler {
            rules: Arc::new(service::rules(&config)),
            ..testing::settler(pool).await
        };
        let loader = Loader {
            settler: settler.clone(),
            policy: Arc::new(service::policy(&config).expect("the configuration names no files")),
            key_id: 1,
        };
        loader
            .load_all(options)
            .await
            .expect("the data set can be stored");
        let settings = Settings {
            bytes_max: 100_000_000,
            poll: std::time::Duration::from_secs(1),
            events_days: None,
            file: None,
            save_every: TimeDelta::days(1),
        };
        let index = Arc::new(Index::default());
        let clock = crate::ops::Clock::fixed(end);
        Feed::open(index.clone(), settler.pool.clone(), clock, settings)
            .await
            .expect("it is filled");
        Self {
            settler,
            view: index.view().expect("it is filled"),
            end: end.timestamp_micros(),
        }
    }

    /// From so many days before the end to so many.
    fn days_before(&self, from: i64, to: i64) -> Scope {
        let day = TimeDelta::days(1).num_microseconds().expect("a day is short");
        Scope::of_time(self.end - from * day, self.end - to * day)
    }

    /// Returns the share of product visits that put something into the cart within the hour.
    async fn cart_rate(&self, sku: &str) -> f64 {
        let product = json!([{ "property": "product_id", "op": "eq", "value": sku }]);
        let funnel = funnel(json!([
            { "number": 1, "name": "Product", "event_type": "page_view", "where": product },
            { "number": 2, "name": "Cart", "event_type": "add_to_cart" },
        ]));
        let scope = self.days_before(14, 0);
        let mut connection = self.settler.pool.acquire().await.unwrap();
        let groups = funnel.event_conditions();
        let view = read_for_question(&mut connection, scope.from, scope.to, &groups)
            .await
            .unwrap();
        let answer = analyze(&view, &funnel, &scope, Options::default());
        answer.funnel.conversion_rate.expect("at least 30 looked at it")
    }
}

fn funnel(steps: Value) -> Funnel {
    let definition = json!({ "steps": steps, "window_seconds": 3600, "count_by": "session" });
    let definition: FunnelDefinition = serde_json::from_value(definition).unwrap();
    definition.check().unwrap()
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn the_planted_stories_are_found_with_their_dates_and_segments(pool: PgPool) {
    let world = World::new(&pool).await;
    assert!(world.view.size().events > 170_000);

    // The broken checkout: on phones, from 23 to 19 days before the end, and neither before nor after.
    let checkout = funnel(json!([
        { "number": 1, "name": "Checkout", "event_type": "checkout_start" },
        { "number": 2, "name": "Purchase", "event_type": "purchase" },
    ]));
    let wrong = |from: i64, to: i64| {
        let options = Options {
            reasons: true,
            ..Options::default()
        };
        let answer = analyze(&world.view, &checkout, &world.days_before(from, to), options);
        let reasons = answer.reasons.unwrap();
        let significant = reasons.into_iter().flat_map(|reasons| reasons.features);
        let significant = significant.filter(|feature| feature.significant && feature.odds_ratio > 1.0);
        let named = significant.map(|feature| (feature.dimension, feature.value.unwrap_or_default()));
        named.collect::<Vec<_>>()
    };
    let mobile = (Dimension::DeviceType, "mobile".to_owned());
    assert!(wrong(23, 19).contains(&mobile), "{:?}", wrong(23, 19));
    for (from, to) in [(39, 35), (31, 27), (18, 14), (14, 10)] {
        assert!(
            !wrong(from, to).contains(&mobile),
            "{from} to {to} days before: {:?}",
            wrong(from, to)
        );
    }

    // The campaign that brings visitors who do not buy.
    let question = Question {
        dimension: Dimension::Campaign,
        models: vec![Model::Linear],
        ..Question::default()
    };
    let attribution = attribute(&world.view, &world.days_before(46, 30), &question);
    let deal = attribution
        .values
        .iter()
        .find(|value| value.value.as_deref() == Some("spring-deal"))
        .unwrap();
    assert!(deal.sessions > 300, "{deal:?}");
    assert_eq!(deal.conversions, 0, "{deal:?}");
    let others = attribution
        .values
        .iter()
        .filter(|value| value.sessions > 100 && value.value != deal.value);
    assert!(others.clone().count() > 0 && others.clone().all(|other| other.conversions > 0));

    // The slow page of one product, in the last 14 days.
    let (slow, usual) = (world.cart_rate("FF-401").await, world.cart_rate("FF-201").await);
    assert!(slow < usual / 2.0, "{slow} against {usual}");
}
