//! The pages inside the program: the API documentation and the demo shop.
//!
//! The files are part of the executable, so nothing has to be installed beside it and a path can name
//! nothing but them. Their addresses do not change with their content: browsers keep them and ask again
//! with the entity tag, which answers 304.

use std::{collections::HashMap, sync::LazyLock};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use include_dir::{Dir, File, include_dir};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{extract::Path, problem, state::AppState};

static DOCS: LazyLock<Folder> = LazyLock::new(|| {
    static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/assets/docs");
    Folder::new(&FILES)
});

static DEMO: LazyLock<Folder> = LazyLock::new(|| {
    static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/assets/demo-shop");
    Folder::new(&FILES)
});

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

/// The files of one folder by their path in it.
struct Folder {
    assets: HashMap<&'static str, Asset>,
}

struct Asset {
    bytes: &'static [u8],
    content_type: &'static str,
    /// Weak, since the bytes on the wire may be compressed.
    entity_tag: HeaderValue,
}

impl Folder {
    fn new(folder: &'static Dir<'static>) -> Self {
        let mut assets = HashMap::new();
        collect(folder, &mut assets);
        Self { assets }
    }

    fn answer(&self, path: &str, request: &HeaderMap) -> Option<Response> {
        self.assets.get(path).map(|asset| asset.answer(request))
    }
}

fn collect(folder: &'static Dir<'static>, assets: &mut HashMap<&'static str, Asset>) {
    for file in folder.files() {
        if let Some(path) = file.path().to_str() {
            assets.insert(path, Asset::new(path, file));
        }
    }
    for inner in folder.dirs() {
        collect(inner, assets);
    }
}

impl Asset {
    fn new(path: &str, file: &'static File<'static>) -> Self {
        let digest = hex::encode(&Sha256::digest(file.contents())[..12]);
        Self {
            bytes: file.contents(),
            content_type: content_type(path),
            entity_tag: HeaderValue::try_from(format!("W/\"{digest}\"")).expect("hexadecimal digits"),
        }
    }

    fn answer(&self, request: &HeaderMap) -> Response {
        let mut response = if self.is_known_to(request) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            let content_type = HeaderValue::from_static(self.content_type);
            ([(header::CONTENT_TYPE, content_type)], self.bytes).into_response()
        };
        let headers = response.headers_mut();
        headers.insert(header::ETAG, self.entity_tag.clone());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if self.content_type.starts_with("text/html") {
            for (name, value) in PAGE_HEADERS {
                headers.insert(name, HeaderValue::from_static(value));
            }
        }
        response
    }

    /// `If-None-Match` compares weakly (RFC 9110, 13.1.2).
    fn is_known_to(&self, request: &HeaderMap) -> bool {
        let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        let own = self.entity_tag.to_str().map(opaque).unwrap_or_default();
        request
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|tag| tag.trim() == "*" || opaque(tag) == own)
    }
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "webp" => "image/webp",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// What the demo shop's scripts need to know.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DemoConfig<'a> {
    /// Empty: the service the page came from.
    api_url: &'a str,
    api_key: &'a str,
}

/// Returns the routes of the documentation and, when the state has a demo key, of the demo shop.
pub(super) fn routes(state: &AppState) -> Router<AppState> {
    let docs = Router::new()
        .route("/docs", get(docs_index))
        .route("/docs/", get(docs_index))
        .route("/docs/{*path}", get(docs_file))
        .route("/redoc", get(async || Redirect::permanent("/docs")));
    // Somebody who types the bare address should land somewhere. Not for good: a dashboard may live here later.
    if state.demo_key.is_none() {
        return docs.route("/", get(async || Redirect::temporary("/docs")));
    }
    docs.route("/", get(async || Redirect::temporary("/demo/")))
        .route("/demo", get(async || Redirect::permanent("/demo/")))
        .route("/demo/", get(demo_index))
        .route("/demo/config.json", get(demo_config))
        .route("/demo/{*path}", get(demo_file))
}

async fn docs_index(headers: HeaderMap) -> Response {
    answer(&DOCS, "index.html", &headers).await
}

async fn docs_file(Path(path): Path<String>, headers: HeaderMap) -> Response {
    answer(&DOCS, &path, &headers).await
}

async fn demo_index(headers: HeaderMap) -> Response {
    answer(&DEMO, "index.html", &headers).await
}

async fn demo_file(Path(path): Path<String>, headers: HeaderMap) -> Response {
    answer(&DEMO, &path, &headers).await
}

async fn demo_config(State(state): State<AppState>) -> Response {
    let api_key = state.demo_key.as_deref().unwrap_or_default();
    let config = DemoConfig { api_url: "", api_key };
    ([(header::CACHE_CONTROL, "no-store")], Json(config)).into_response()
}

async fn answer(folder: &Folder, path: &str, headers: &HeaderMap) -> Response {
    match folder.answer(path, headers) {
        Some(response) => response,
        None => problem::route_not_found().await.into_response(),
    }
}
