//! The pages inside the program: the API documentation and the demo shop.
//!
//! Their addresses do not change with their content: browsers keep them and ask again with the entity tag.

use std::sync::{Arc, LazyLock};

use axum::{
    Router,
    http::{HeaderMap, HeaderValue},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use bytes::Bytes;
use include_dir::{Dir, include_dir};

use super::{
    assets::{Asset, Folder},
    extract::Path,
    problem,
    state::AppState,
};

static DOCS: LazyLock<Folder> = LazyLock::new(|| {
    static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/assets/docs");
    Folder::new(&FILES)
});

static DEMO_FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/assets/demo-shop");

/// What stands in the shop's pages for its write key.
const WRITE_KEY_PLACE: &str = "{{write_key}}";

/// Own scripts, styles, images and requests only; nothing inline, no plugin, no frame around the page.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self'; font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; \
     frame-ancestors 'none'";

/// Headers of every HTML page, with their values.
const PAGE_HEADERS: [(&str, &str); 5] = [
    ("content-security-policy", CONTENT_SECURITY_POLICY),
    ("cross-origin-opener-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
    ("referrer-policy", "strict-origin-when-cross-origin"),
    ("x-frame-options", "DENY"),
];

/// Returns the routes of the documentation and, when the state has a demo key, of the demo shop.
pub(super) fn routes(state: &AppState) -> Router<AppState> {
    let docs = Router::new()
        .route("/docs", get(docs_index))
        .route("/docs/", get(docs_index))
        .route("/docs/{*path}", get(docs_file))
        .route("/redoc", get(async || Redirect::permanent("/docs")));
    // Somebody who types the bare address should land somewhere. Not for good: a dashboard may live here later.
    let Some(write_key) = &state.demo_key else {
        return docs.route("/", get(async || Redirect::temporary("/docs")));
    };
    let shop = Arc::new(shop_of(write_key));
    let index = shop.clone();
    docs.route("/", get(async || Redirect::temporary("/demo/")))
        .route("/demo", get(async || Redirect::permanent("/demo/")))
        .route(
            "/demo/",
            get(async move |headers: HeaderMap| answer(&index, "index.html", &headers).await),
        )
        .route(
            "/demo/{*path}",
            get(async move |Path(path): Path<String>, headers: HeaderMap| {
                answer(&shop, &path, &headers).await
            }),
        )
}

async fn docs_index(headers: HeaderMap) -> Response {
    answer(&DOCS, "index.html", &headers).await
}

async fn docs_file(Path(path): Path<String>, headers: HeaderMap) -> Response {
    answer(&DOCS, &path, &headers).await
}

async fn answer(folder: &Folder, path: &str, headers: &HeaderMap) -> Response {
    match folder.find(path) {
        Some(asset) => answer_page(asset, headers),
        None => problem::route_not_found().await.into_response(),
    }
}

fn answer_page(asset: &Asset, request: &HeaderMap) -> Response {
    let mut response = asset.answer(request, "no-cache");
    if asset.is_page() {
        for (name, value) in PAGE_HEADERS {
            response
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
    }
    response
}

/// Returns the shop whose pages send events with this key.
fn shop_of(write_key: &str) -> Folder {
    let write_key = escape_attribute(write_key);
    Folder::rewritten(&DEMO_FILES, |path, bytes| fill(path, bytes, &write_key))
}

/// Puts the key, escaped by now, into a page; any other file stays as it is.
fn fill(path: &str, bytes: &'static [u8], write_key: &str) -> Bytes {
    match std::str::from_utf8(bytes) {
        Ok(page) if path.ends_with(".html") && page.contains(WRITE_KEY_PLACE) => {
            page.replace(WRITE_KEY_PLACE, write_key).into()
        }
        _ => Bytes::from_static(bytes),
    }
}

/// Escapes what could end an attribute or begin an element.
fn escape_attribute(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_gets_the_key_and_a_script_does_not() {
        let key = escape_attribute("pk_a\"><script>'&");
        assert_eq!(key, "pk_a&quot;&gt;&lt;script&gt;&#39;&amp;");
        let text = b"<script data-api-key=\"{{write_key}}\"></script><p data-key=\"{{write_key}}\">";
        assert_eq!(
            fill("index.html", text, "pk_1"),
            &b"<script data-api-key=\"pk_1\"></script><p data-key=\"pk_1\">"[..]
        );
        assert_eq!(fill("shop.js", text, "pk_1"), &text[..]);
    }

    #[test]
    fn no_page_of_the_shop_asks_for_anything_but_the_key() {
        let key = "pk_of_a_test";
        let shop = shop_of(key);
        let mut pages = 0;
        for file in DEMO_FILES.files() {
            let path = file.path().to_str().unwrap();
            let page = fill(path, file.contents(), key);
            let page = String::from_utf8_lossy(&page);
            assert!(!path.ends_with(".html") || !page.contains("{{"), "{path}");
            pages += usize::from(shop.find(path).unwrap().is_page());
        }
        assert!(pages > 1);
    }
}
