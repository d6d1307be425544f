//! The browser SDK as sites embed it: the current version at an address that stays, and every released version at
//! an address of its own.
//!
//! A site that pins a version with its integrity must find the same bytes there for ever, so a released version
//! stays in `assets/sdk`. Pages of any origin load these files and no answer depends on who asks: caches may keep
//! one copy for all.

use std::{collections::BTreeMap, sync::LazyLock};

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::Response,
    routing::get,
};
use include_dir::{Dir, include_dir};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    assets::{Asset, Folder},
    extract::Path,
    problem::Problem,
    state::AppState,
};

/// Every path below is the SDK's.
const PREFIX: &str = "/sdk/";

const SCRIPT: &str = "customer-journey.min.js";
const SOURCE_MAP: &str = "customer-journey.min.js.map";

/// An hour, so that a new release is everywhere on the same day; a page never waits for the question whether
/// there is one.
const CURRENT_CACHING: &str = "public, max-age=3600, stale-while-revalidate=86400";
/// A year, which caches take for ever: a version never changes.
const VERSION_CACHING: &str = "public, max-age=31536000, immutable";
const LIST_CACHING: &str = "public, max-age=300";

static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/assets/sdk");

static SDK: LazyLock<Sdk> = LazyLock::new(|| Sdk::new(&FILES));

struct Sdk {
    stated: Stated,
    folder: Folder,
    /// Answer of `/sdk/versions.json`.
    list: Asset,
}

/// What the SDK's build writes to `assets/sdk/versions.json`.
#[derive(Deserialize)]
struct Stated {
    current: String,
    versions: BTreeMap<String, StatedVersion>,
}

#[derive(Deserialize)]
struct StatedVersion {
    integrity: String,
    bytes: u64,
    gzip_bytes: u64,
}

/// Answer of `/sdk/versions.json`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "current": "0.1.0",
    "url": "/sdk/customer-journey.min.js",
    "versions": [{
        "version": "0.1.0",
        "url": "/sdk/0.1.0/customer-journey.min.js",
        "source_map_url": "/sdk/0.1.0/customer-journey.min.js.map",
        "integrity": "sha384-2oKYJvq+tUUYFq26gq5yg11NiO6aj3pxBEsZAPdNyZU8FW0bCSnidzX7DK+IEsRb",
        "bytes": 15000,
        "gzip_bytes": 5900
    }]
}))]
pub(crate) struct SdkVersionsOut {
    /// The version at `url`.
    current: String,
    /// Path of the current version. Its content changes with a release, so it takes no `integrity`.
    url: String,
    /// Every version, the newest first.
    versions: Vec<SdkVersionOut>,
}

/// One version of the SDK.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SdkVersionOut {
    version: String,
    /// Path of the script, whose content never changes.
    url: String,
    /// Path of its source map.
    source_map_url: String,
    /// Value of the attribute `integrity`, which goes with `crossorigin="anonymous"`.
    integrity: String,
    /// Size of the script.
    bytes: u64,
    /// Size of the script as it travels.
    gzip_bytes: u64,
}

impl Sdk {
    fn new(files: &'static Dir<'static>) -> Self {
        let stated = files.get_file("versions.json").map(|file| file.contents());
        let stated: Stated = serde_json::from_slice(stated.unwrap_or_default())
            .expect("assets/sdk/versions.json is what a test has read");
        let list = serde_json::to_vec(&SdkVersionsOut::of(&stated)).expect("the list is plain data");
        Self {
            folder: Folder::new(files),
            list: Asset::new("versions.json", list.into()),
            stated,
        }
    }

    fn find(&self, version: &str, name: &str) -> Result<&Asset, Problem> {
        let known = self.stated.versions.contains_key(version);
        let asset = self.folder.find(&format!("{version}/{name}")).filter(|_| known);
        asset.ok_or_else(|| self.no_such_version())
    }

    fn no_such_version(&self) -> Problem {
        let known: Vec<&str> = self.stated.versions.keys().map(String::as_str).collect();
        let detail = format!(
            "This version of the SDK is not here. There is: {}.",
            known.join(", ")
        );
        Problem::new(StatusCode::NOT_FOUND, "unknown_sdk_version", detail).with_member("versions", known)
    }
}

impl SdkVersionsOut {
    fn of(stated: &Stated) -> Self {
        let mut versions: Vec<SdkVersionOut> = stated
            .versions
            .iter()
            .map(|(version, facts)| SdkVersionOut {
                version: version.clone(),
                url: format!("{PREFIX}{version}/{SCRIPT}"),
                source_map_url: format!("{PREFIX}{version}/{SOURCE_MAP}"),
                integrity: facts.integrity.clone(),
                bytes: facts.bytes,
                gzip_bytes: facts.gzip_bytes,
            })
            .collect();
        versions.sort_by_key(|version| std::cmp::Reverse(numbers(&version.version)));
        Self {
            current: stated.current.clone(),
            url: format!("{PREFIX}{SCRIPT}"),
            versions,
        }
    }
}

/// Returns the numbers of a version, since 0.10.0 comes after 0.9.0.
fn numbers(version: &str) -> Vec<u64> {
    let parts = version.split(|character: char| !character.is_ascii_digit());
    parts.filter_map(|part| part.parse().ok()).collect()
}

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    // Now, not while the first page waits for it.
    LazyLock::force(&SDK);
    OpenApiRouter::new()
        .routes(routes!(list_versions))
        .route("/sdk/customer-journey.min.js", get(current_script))
        .route("/sdk/customer-journey.min.js.map", get(current_source_map))
        .route("/sdk/{version}/customer-journey.min.js", get(script))
        .route("/sdk/{version}/customer-journey.min.js.map", get(source_map))
}

/// Which versions of the browser SDK are here?
///
/// With what a page needs to pin one: its path and its integrity. Every released version stays.
#[utoipa::path(get, path = "/sdk/versions.json", tag = "ingest", operation_id = "listSdkVersions", security(()),
    responses((status = 200, description = "The current version, and all of them.", body = SdkVersionsOut)))]
async fn list_versions(headers: HeaderMap) -> Response {
    SDK.list.answer(&headers, LIST_CACHING)
}

async fn current_script(headers: HeaderMap) -> Result<Response, Problem> {
    let asset = SDK.find(&SDK.stated.current, SCRIPT)?;
    Ok(asset.answer(&headers, CURRENT_CACHING))
}

/// The script names its map beside itself, so the current one has it there, too.
async fn current_source_map(headers: HeaderMap) -> Result<Response, Problem> {
    let asset = SDK.find(&SDK.stated.current, SOURCE_MAP)?;
    Ok(asset.answer(&headers, CURRENT_CACHING))
}

async fn script(Path(version): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let asset = SDK.find(&version, SCRIPT)?;
    Ok(asset.answer(&headers, VERSION_CACHING))
}

async fn source_map(Path(version): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let asset = SDK.find(&version, SOURCE_MAP)?;
    Ok(asset.answer(&headers, VERSION_CACHING))
}

/// Headers of every answer below [`PREFIX`], with their values.
const OPEN_HEADERS: [(HeaderName, &str); 4] = [
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "cross-origin",
    ),
    // Lets a site see in its own measurements what the script costs it.
    (HeaderName::from_static("timing-allow-origin"), "*"),
    // Not on the origin, as the answers of the API do.
    (header::VARY, "accept-encoding"),
];

/// Opens the SDK's answers to the pages of every origin, instead of what the API's rules said about this one.
pub(super) async fn open_to_every_page(request: Request, next: Next) -> Response {
    let is_sdk = request.uri().path().starts_with(PREFIX);
    let mut response = next.run(request).await;
    if is_sdk {
        let headers = response.headers_mut();
        headers.remove(header::ACCESS_CONTROL_EXPOSE_HEADERS);
        for (name, value) in OPEN_HEADERS {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use base64::{Engine, prelude::BASE64_STANDARD};
    use sha2::{Digest, Sha384};

    use super::*;

    #[test]
    fn every_version_is_there_with_the_integrity_and_size_it_is_stated_to_have() {
        let stated = &SDK.stated;
        assert!(stated.versions.contains_key(&stated.current));
        for (version, facts) in &stated.versions {
            let content = |name: &str| {
                let path = format!("{version}/{name}");
                let file = FILES
                    .get_file(&path)
                    .unwrap_or_else(|| panic!("{path} is missing"));
                file.contents()
            };
            let script = content(SCRIPT);
            let digest = BASE64_STANDARD.encode(Sha384::digest(script));
            assert_eq!(
                facts.integrity,
                format!("sha384-{digest}"),
                "{version}: a released version never changes; a new build is a new version"
            );
            assert_eq!(facts.bytes, script.len() as u64, "{version}");
            assert!(
                facts.gzip_bytes > 0 && facts.gzip_bytes <= facts.bytes,
                "{version}"
            );
            serde_json::from_slice::<serde_json::Value>(content(SOURCE_MAP)).expect(version);
        }
    }

    #[test]
    fn no_version_is_there_that_is_not_stated() {
        for folder in FILES.dirs() {
            let version = folder.path().to_str().unwrap();
            assert!(SDK.stated.versions.contains_key(version), "{version}");
        }
    }

    #[test]
    fn versions_come_newest_first() {
        let facts = r#"{"integrity": "sha384-x", "bytes": 2, "gzip_bytes": 1}"#;
        let stated = format!(
            r#"{{"current": "0.10.0", "versions": {{"0.9.0": {facts}, "0.10.0": {facts}, "0.9.1": {facts}}}}}"#
        );
        let list = SdkVersionsOut::of(&serde_json::from_str(&stated).unwrap());
        let order: Vec<&str> = list
            .versions
            .iter()
            .map(|version| version.version.as_str())
            .collect();
        assert_eq!(order, ["0.10.0", "0.9.1", "0.9.0"]);
        assert_eq!(list.versions[0].url, "/sdk/0.10.0/customer-journey.min.js");
    }
}
