//! Pages become nodes: by their path, by patterns, by what looks like an id in it.

use std::borrow::Cow;

use crate::{
    analysis::scope::matches_glob,
    index::{Names, names::Dictionary, names::path_of},
};

/// How pages are put together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grouping {
    /// Pages that match the first of these are one node, named by the pattern.
    pub patterns: Vec<String>,
    /// Whether segments of a path that look like an id become `*`.
    pub ids: bool,
    /// Whether pages of different hosts are different nodes.
    pub hosts: bool,
}

/// The node of each page.
#[derive(Debug)]
pub(super) struct Groups {
    /// By page number; 0 where there is no page.
    pub(super) node_of_page: Vec<u32>,
    pub(super) texts: Dictionary<Box<str>>,
}

impl Groups {
    pub(super) fn new(names: &Names, grouping: &Grouping) -> Self {
        let mut texts = Dictionary::default();
        let nodes = names.pages.values().map(|page| match &**page {
            "" => 0,
            page => texts.intern_text(&grouping.node_of(page)),
        });
        let node_of_page = nodes.collect();
        Self { node_of_page, texts }
    }
}

impl Grouping {
    /// Returns the node of a page, which is host and path.
    pub fn node_of<'a>(&'a self, page: &'a str) -> Cow<'a, str> {
        let found = self.patterns.iter().find(|glob| matches_page(glob, page));
        if let Some(pattern) = found {
            return Cow::Borrowed(pattern);
        }
        let text = if self.hosts { page } else { path_of(page) };
        if self.ids {
            without_ids(text)
        } else {
            Cow::Borrowed(text)
        }
    }
}

/// Whether a pattern matches a page by its path, or by host and path.
pub fn matches_page(glob: &str, page: &str) -> bool {
    matches_glob(glob, path_of(page)) || (!glob.starts_with('/') && matches_glob(glob, page))
}

/// Writes `*` for each segment that looks like an id. What stands before the first slash is a host and stays.
fn without_ids(page: &str) -> Cow<'_, str> {
    let segments = || page.split('/').skip(1);
    if !segments().any(|segment| is_id(stem(segment))) {
        return Cow::Borrowed(page);
    }
    let mut text = page.split('/').next().unwrap_or_default().to_owned();
    for segment in segments() {
        text.push('/');
        let stem = stem(segment);
        if is_id(stem) {
            text.push('*');
            text.push_str(&segment[stem.len()..]);
        } else {
            text.push_str(segment);
        }
    }
    Cow::Owned(text)
}

/// Returns a segment without a file ending such as `.html`.
fn stem(segment: &str) -> &str {
    match segment.rsplit_once('.') {
        Some((stem, ending))
            if (1..=5).contains(&ending.len()) && ending.bytes().all(|byte| byte.is_ascii_alphabetic()) =>
        {
            stem
        }
        _ => segment,
    }
}

/// Whether a segment looks like an id: a number, a UUID, at least eight hexadecimal digits with a decimal one among
/// them, or a code of one to four letters and at least two digits, such as `FF-401`.
fn is_id(segment: &str) -> bool {
    is_number(segment) || is_uuid(segment) || is_hex(segment) || is_code(segment)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Words such as `deadbeef` have no decimal digit; what is made by a machine nearly always has.
fn is_hex(text: &str) -> bool {
    text.len() >= 8
        && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        && text.bytes().any(|byte| byte.is_ascii_digit())
}

fn is_code(text: &str) -> bool {
    let letters = text.bytes().take_while(u8::is_ascii_alphabetic).count();
    let rest = &text[letters..];
    let digits = rest.strip_prefix(['-', '_']).unwrap_or(rest);
    (1..=4).contains(&letters) && digits.len() >= 2 && is_number(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_an_id_becomes_an_asterisk() {
        let grouping = Grouping {
            ids: true,
            ..Grouping::default()
        };
        for (page, expected) in [
            ("shop.example/", "/"),
            ("shop.example/product/FF-401", "/product/*"),
            ("shop.example/product/ff401/reviews", "/product/*/reviews"),
            ("shop.example/2026/11/hello", "/*/*/hello"),
            ("shop.example/p/12345.html", "/p/*.html"),
            (
                "shop.example/order/0198C5F2-7d1b-7c3a-9a52-2f6f0f6f4d11",
                "/order/*",
            ),
            (
                "shop.example/order/0198c5f2-7d1b-7c3a-9a52-2f6f0f6f4dzz",
                "/order/0198c5f2-7d1b-7c3a-9a52-2f6f0f6f4dzz",
            ),
            ("shop.example/a/1f00ba52", "/a/*"),
            ("shop.example/a/1f00ba5", "/a/1f00ba5"),
            ("shop.example/a/deadbeef", "/a/deadbeef"),
            ("shop.example/mp3/iphone-15", "/mp3/iphone-15"),
            ("shop.example/ä/€-42", "/ä/€-42"),
            ("127.0.0.1/home", "/home"),
        ] {
            assert_eq!(grouping.node_of(page), expected, "{page}");
        }
    }

    #[test]
    fn the_first_pattern_that_matches_names_the_node() {
        let grouping = Grouping {
            patterns: vec!["/product/*".into(), "blog.example/*".into(), "*".into()],
            ..Grouping::default()
        };
        assert_eq!(grouping.node_of("shop.example/product/7"), "/product/*");
        assert_eq!(grouping.node_of("blog.example/product/7"), "/product/*");
        assert_eq!(grouping.node_of("blog.example/x"), "blog.example/*");
        assert_eq!(grouping.node_of("shop.example/x"), "*");
    }

    #[test]
    fn hosts_tell_pages_apart_when_asked() {
        let mut grouping = Grouping::default();
        assert_eq!(grouping.node_of("a.example/x"), grouping.node_of("b.example/x"));
        grouping.hosts = true;
        grouping.ids = true;
        assert_eq!(grouping.node_of("a77.example/x/77"), "a77.example/x/*");
    }
}
