//! The OpenAPI document and the static pages.

use std::collections::HashSet;

use super::*;

fn app_with_demo() -> Router {
    let mut parts = parts(pool_without_database());
    parts.demo_key = Some("pk_demo".into());
    router(parts.into())
}

#[tokio::test]
async fn the_document_is_served_and_complete() {
    let app = router(state_without_database());
    let document = json_of(get_from(&app, "/openapi.json", &[]).await).await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let schemes = document["components"]["securitySchemes"].as_object().unwrap();
    let tags: HashSet<&str> = document["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| tag["name"].as_str().unwrap())
        .collect();
    let mut ids = HashSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let place = format!("{method} {path}");
            assert!(
                ids.insert(operation["operationId"].clone()),
                "{place}: id is taken"
            );
            assert!(!operation["summary"].as_str().unwrap().is_empty(), "{place}");
            assert!(tags.contains(operation["tags"][0].as_str().unwrap()), "{place}");
            for requirement in operation["security"].as_array().expect(&place) {
                for scheme in requirement.as_object().unwrap().keys() {
                    assert!(schemes.contains_key(scheme), "{place}: {scheme}");
                }
            }
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.keys().any(|status| status.starts_with('2')), "{place}");
            for (status, response) in responses {
                let is_ready = path == "/ready";
                if status.starts_with(['4', '5']) && !is_ready {
                    assert!(
                        response["content"]["application/problem+json"].is_object(),
                        "{place} {status}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn every_reference_of_the_document_leads_somewhere() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|member| references(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    let document = serde_json::to_value(crate::http::document()).unwrap();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.contains(&"#/components/schemas/Problem"));
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[tokio::test]
async fn pages_come_with_type_policy_and_entity_tag() {
    let app = router(state_without_database());
    let page = get_from(&app, "/docs", &[]).await;
    assert_eq!(page.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
    let policy = page.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"));
    assert_eq!(page.headers()[header::X_FRAME_OPTIONS], "DENY");
    let script = get_from(&app, "/docs/docs.js", &[]).await;
    assert_eq!(
        script.headers()[header::CONTENT_TYPE],
        "text/javascript; charset=utf-8"
    );
    assert_eq!(script.headers()[header::CACHE_CONTROL], "no-cache");
    let tag = script.headers()[header::ETAG].to_str().unwrap().to_owned();
    let strong = tag.trim_start_matches("W/").to_owned();
    for known in [tag.clone(), strong, format!("\"other\", {tag}"), "*".into()] {
        let again = get_from(&app, "/docs/docs.js", &[("if-none-match", &known)]).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{known}");
        assert_eq!(text(again).await, "");
    }
    let other = get_from(&app, "/docs/docs.js", &[("if-none-match", "\"other\"")]).await;
    assert_eq!(other.status(), StatusCode::OK);
}

#[tokio::test]
async fn redoc_leads_to_docs_and_no_path_leads_out() {
    let app = router(state_without_database());
    let answer = get_from(&app, "/redoc", &[]).await;
    assert_eq!(answer.status(), StatusCode::PERMANENT_REDIRECT);
    assert_eq!(answer.headers()[header::LOCATION], "/docs");
    for path in [
        "/docs/../Cargo.toml",
        "/docs/%2e%2e/demo-shop/index.html",
        "/docs/..%2fx",
    ] {
        let answer = get_from(&app, path, &[]).await;
        assert_eq!(problem_code(answer, 404).await, "route_not_found", "{path}");
    }
    for path in ["/docs/%00", "/docs/%FF"] {
        let answer = get_from(&app, path, &[]).await;
        assert_eq!(problem_code(answer, 400).await, "invalid_path", "{path}");
    }
}

#[tokio::test]
async fn the_demo_exists_only_where_it_is_on() {
    let off = router(state_without_database());
    for path in ["/demo/", "/demo/shop.css"] {
        assert_eq!(get_from(&off, path, &[]).await.status(), StatusCode::NOT_FOUND);
    }
    let on = app_with_demo();
    let answer = get_from(&on, "/demo", &[]).await;
    assert_eq!(answer.headers()[header::LOCATION], "/demo/");
    let image = get_from(&on, "/demo/art/tent.svg", &[]).await;
    assert_eq!(image.headers()[header::CONTENT_TYPE], "image/svg+xml");
}

/// Nothing but our own files is allowed by the policy, so every link, image and import must lead to one.
#[tokio::test]
async fn every_link_of_a_page_leads_to_a_file() {
    let app = app_with_demo();
    let mut waiting = vec!["/docs".to_owned(), "/demo/".to_owned()];
    let mut seen = HashSet::new();
    while let Some(path) = waiting.pop() {
        if !seen.insert(path.clone()) {
            continue;
        }
        let answer = get_from(&app, &path, &[]).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let content_type = answer.headers()[header::CONTENT_TYPE]
            .to_str()
            .unwrap()
            .to_owned();
        let body = text(answer).await;
        waiting.extend(links(&path, &content_type, &body));
    }
    for script in ["/docs/docs.js", "/demo/shop.js"] {
        assert!(seen.contains(script), "{script} is not linked: {seen:?}");
    }
}

fn links(path: &str, content_type: &str, body: &str) -> Vec<String> {
    let quoted = |opening: &'static str| {
        body.split(opening)
            .skip(1)
            .filter_map(|rest| rest.split(['"', '?', '#']).next())
    };
    if content_type.starts_with("text/html") {
        let absolute = quoted("href=\"").chain(quoted("src=\""));
        absolute
            .filter(|link| link.starts_with('/'))
            .map(String::from)
            .collect()
    } else if content_type.starts_with("text/javascript") {
        let folder = &path[..path.rfind('/').unwrap()];
        quoted("from \"./")
            .map(|name| format!("{folder}/{name}"))
            .collect()
    } else {
        Vec::new()
    }
}
