//! The browser SDK as pages of other origins get it.

use super::*;

const CURRENT: &str = "/sdk/customer-journey.min.js";

/// Checks what every answer below `/sdk/` says, each header once.
fn assert_open(answer: &Response, place: &str) {
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        ("cross-origin-resource-policy", "cross-origin"),
        ("timing-allow-origin", "*"),
        ("x-content-type-options", "nosniff"),
        ("vary", "accept-encoding"),
    ] {
        let values: Vec<_> = answer.headers().get_all(name).iter().collect();
        assert_eq!(values, [value], "{place}: {name}");
    }
    assert!(!answer.headers().contains_key("access-control-expose-headers"));
}

async fn current_version(app: &Router) -> Value {
    let list = json_of(get_from(app, "/sdk/versions.json", &[]).await).await;
    let current = list["current"].clone();
    let mut versions = list["versions"].as_array().unwrap().iter();
    versions
        .find(|version| version["version"] == current)
        .unwrap()
        .clone()
}

#[tokio::test]
async fn every_page_may_load_and_keep_every_file_of_the_sdk() {
    let app = router(state_without_database());
    let version = current_version(&app).await;
    let url = version["url"].as_str().unwrap();
    let source_map_url = version["source_map_url"].as_str().unwrap();
    let hour = "public, max-age=3600, stale-while-revalidate=86400";
    let for_ever = "public, max-age=31536000, immutable";
    let script = "text/javascript; charset=utf-8";
    for (path, content_type, caching) in [
        (CURRENT, script, hour),
        ("/sdk/customer-journey.min.js.map", "application/json", hour),
        (url, script, for_ever),
        (source_map_url, "application/json", for_ever),
        ("/sdk/versions.json", "application/json", "public, max-age=300"),
    ] {
        // An origin that the API's rules know, and one that they do not.
        for origin in ["https://dashboard.example", "https://shop.example"] {
            let headers = [("origin", origin), ("accept-encoding", "gzip, br")];
            let head = ask(&app, request(Method::HEAD, path, &headers, "")).await;
            let answer = get_from(&app, path, &headers).await;
            for answer in [&head, &answer] {
                assert_eq!(answer.status(), StatusCode::OK, "{path}");
                assert_eq!(answer.headers()[header::CONTENT_TYPE], content_type, "{path}");
                assert_eq!(answer.headers()[header::CACHE_CONTROL], caching, "{path}");
            }
            assert_open(&answer, path);
            assert_open(&head, path);
            assert_eq!(
                head.headers()[header::CONTENT_LENGTH],
                answer.headers()[header::CONTENT_LENGTH],
                "{path}"
            );
            assert_eq!(text(head).await, "");
        }
        let plain = get_from(&app, path, &[]).await;
        assert!(!plain.headers().contains_key(header::CONTENT_ENCODING), "{path}");
        let tag = plain.headers()[header::ETAG].to_str().unwrap().to_owned();
        let known = get_from(&app, path, &[("if-none-match", &tag)]).await;
        assert_eq!(known.status(), StatusCode::NOT_MODIFIED, "{path}");
        assert_open(&known, path);
        assert_eq!(text(known).await, "", "{path}");
    }
}

#[tokio::test]
async fn the_current_script_is_the_version_the_list_says() {
    let app = router(state_without_database());
    let version = current_version(&app).await;
    let script = text(get_from(&app, CURRENT, &[]).await).await;
    let pinned = text(get_from(&app, version["url"].as_str().unwrap(), &[]).await).await;
    assert_eq!(script, pinned);
    assert_eq!(version["bytes"], script.len());
    assert!(version["integrity"].as_str().unwrap().starts_with("sha384-"));
}

#[tokio::test]
async fn an_unknown_version_is_told_which_there_are() {
    let app = router(state_without_database());
    let current = current_version(&app).await["version"].clone();
    for path in [
        "/sdk/9.9.9/customer-journey.min.js",
        "/sdk/%2e%2e/customer-journey.min.js.map",
    ] {
        let answer = get_from(&app, path, &[]).await;
        assert_open(&answer, path);
        assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
        let problem = json_of(answer).await;
        assert_eq!(problem["code"], "unknown_sdk_version", "{path}");
        assert!(
            problem["versions"].as_array().unwrap().contains(&current),
            "{path}"
        );
        assert!(
            problem["detail"]
                .as_str()
                .unwrap()
                .contains(current.as_str().unwrap())
        );
    }
    let answer = get_from(&app, "/sdk/0.1.0/versions.json", &[]).await;
    assert_eq!(problem_code(answer, 404).await, "route_not_found");
}

#[tokio::test]
async fn a_preflight_is_answered_and_nothing_can_be_sent() {
    let app = router(state_without_database());
    let asks = [
        ("origin", "https://shop.example"),
        ("access-control-request-method", "GET"),
    ];
    let answer = ask(&app, request(Method::OPTIONS, CURRENT, &asks, "")).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_open(&answer, "OPTIONS");
    let answer = ask(&app, request(Method::POST, CURRENT, &asks[..1], "")).await;
    assert_open(&answer, "POST");
    assert_eq!(problem_code(answer, 405).await, "method_not_allowed");
}

/// The rule of the SDK ends where its paths end.
#[tokio::test]
async fn other_paths_are_no_more_open_than_before() {
    let app = router(state_without_database());
    for path in ["/sdk", "/docs", "/health", "/api/v1/system"] {
        let answer = get_from(&app, path, &[("origin", "https://shop.example")]).await;
        for name in ["access-control-allow-origin", "cross-origin-resource-policy"] {
            assert!(!answer.headers().contains_key(name), "{path}: {name}");
        }
    }
}
