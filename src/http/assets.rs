//! Files inside the program: how they are kept and answered.
//!
//! The files are part of the executable, so nothing has to be installed beside it and a path can name nothing but
//! them. Each has an entity tag, which answers 304 to who has the file, and is compressed once instead of for
//! every request.

use std::{collections::HashMap, io::Write};

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use include_dir::Dir;
use sha2::{Digest, Sha256};

/// The files of one folder by their path in it.
pub(super) struct Folder {
    assets: HashMap<&'static str, Asset>,
}

impl Folder {
    /// Takes the files as they are.
    pub(super) fn new(files: &'static Dir<'static>) -> Self {
        Self::rewritten(files, |_, bytes| Bytes::from_static(bytes))
    }

    /// Takes the files as `rewrite` gives them back, which sees the path and the content of each.
    pub(super) fn rewritten(
        files: &'static Dir<'static>,
        rewrite: impl Fn(&str, &'static [u8]) -> Bytes,
    ) -> Self {
        let mut assets = HashMap::new();
        collect(files, &rewrite, &mut assets);
        Self { assets }
    }

    pub(super) fn find(&self, path: &str) -> Option<&Asset> {
        self.assets.get(path)
    }
}

fn collect(
    folder: &'static Dir<'static>,
    rewrite: &impl Fn(&str, &'static [u8]) -> Bytes,
    assets: &mut HashMap<&'static str, Asset>,
) {
    for file in folder.files() {
        if let Some(path) = file.path().to_str() {
            assets.insert(path, Asset::new(path, rewrite(path, file.contents())));
        }
    }
    for inner in folder.dirs() {
        collect(inner, rewrite, assets);
    }
}

/// One file.
pub(super) struct Asset {
    bytes: Bytes,
    /// The same with gzip, where that is of use.
    gzip: Option<Bytes>,
    content_type: &'static str,
    /// Weak, since the bytes on the wire may be compressed.
    entity_tag: HeaderValue,
}

impl Asset {
    /// `path` says by its ending of which type the content is.
    pub(super) fn new(path: &str, bytes: Bytes) -> Self {
        let digest = hex::encode(&Sha256::digest(&bytes)[..12]);
        let content_type = content_type(path);
        Self {
            gzip: is_text(content_type).then(|| compress(&bytes)),
            bytes,
            content_type,
            entity_tag: HeaderValue::try_from(format!("W/\"{digest}\"")).expect("hexadecimal digits"),
        }
    }

    pub(super) fn is_page(&self) -> bool {
        self.content_type.starts_with("text/html")
    }

    /// Answers with the file, or with 304 when the request knows it; `caching` is the value of `Cache-Control`.
    pub(super) fn answer(&self, request: &HeaderMap, caching: &'static str) -> Response {
        let mut response = if self.is_known_to(request) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            self.content(request)
        };
        let headers = response.headers_mut();
        headers.insert(header::ETAG, self.entity_tag.clone());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
        if self.gzip.is_some() {
            headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        }
        response
    }

    fn content(&self, request: &HeaderMap) -> Response {
        let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type))];
        match self.gzip.as_ref().filter(|_| takes_gzip(request)) {
            Some(gzip) => {
                let encoding = [(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))];
                (content_type, encoding, gzip.clone()).into_response()
            }
            None => (content_type, self.bytes.clone()).into_response(),
        }
    }

    /// `If-None-Match` compares weakly (RFC 9110, 13.1.2).
    fn is_known_to(&self, request: &HeaderMap) -> bool {
        let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        let own = self.entity_tag.to_str().map(opaque).unwrap_or_default();
        listed(request, header::IF_NONE_MATCH).any(|tag| tag.trim() == "*" || opaque(tag) == own)
    }
}

/// Returns the parts of a header that is a list, over all its lines.
fn listed(request: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = &str> {
    let lines = request.get_all(name).into_iter();
    lines
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
}

/// A client that takes anything (`*`) is left to the layer that compresses all other answers.
fn takes_gzip(request: &HeaderMap) -> bool {
    listed(request, header::ACCEPT_ENCODING).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").map(str::parse);
        name.trim().eq_ignore_ascii_case("gzip") && weight != Some(Ok(0.0))
    })
}

fn compress(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let gzip = encoder.write_all(bytes).and_then(|()| encoder.finish());
    gzip.expect("memory takes every byte").into()
}

/// Images and fonts are compressed as they are.
fn is_text(content_type: &str) -> bool {
    content_type.starts_with("text/") || matches!(content_type, "application/json" | "image/svg+xml")
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "json" | "map" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "webp" => "image/webp",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn request(name: header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn gzip_is_for_who_asks_for_it() {
        for (value, takes) in [
            ("gzip, deflate, br, zstd", true),
            ("br, GZIP;q=0.5", true),
            ("br;q=1.0, gzip;q=0", false),
            ("gzip; q=0.000", false),
            ("br", false),
            ("", false),
        ] {
            let request = request(header::ACCEPT_ENCODING, value);
            assert_eq!(takes_gzip(&request), takes, "{value:?}");
        }
    }

    #[tokio::test]
    async fn a_compressed_answer_holds_the_file() {
        let text = "the same again and again, ".repeat(40);
        let asset = Asset::new("a.js", text.clone().into());
        let answer = asset.answer(&request(header::ACCEPT_ENCODING, "gzip"), "no-cache");
        assert_eq!(answer.headers()[header::CONTENT_ENCODING], "gzip");
        assert_eq!(answer.headers()[header::VARY], "accept-encoding");
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX)
            .await
            .unwrap();
        assert!(body.len() * 5 < text.len());
        let mut read = String::new();
        flate2::read::GzDecoder::new(&body[..])
            .read_to_string(&mut read)
            .unwrap();
        assert_eq!(read, text);

        let plain = asset.answer(&HeaderMap::new(), "no-cache");
        assert!(!plain.headers().contains_key(header::CONTENT_ENCODING));
        assert_eq!(plain.headers()[header::VARY], "accept-encoding");
    }

    #[test]
    fn what_is_compressed_by_itself_stays_as_it_is() {
        let asset = Asset::new("a.png", "a picture".into());
        let answer = asset.answer(&request(header::ACCEPT_ENCODING, "gzip"), "no-cache");
        assert!(!answer.headers().contains_key(header::CONTENT_ENCODING));
        assert!(!answer.headers().contains_key(header::VARY));
    }
}
