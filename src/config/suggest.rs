//! The nearest known name to one that is not known.

use super::keys;

/// Returns the path of the key that `path` was most likely meant to be.
///
/// A known last part under a wrong section counts as near, since sections are what people forget.
pub(super) fn nearest_key(path: &str) -> Option<&'static str> {
    let candidates = keys().map(|key| {
        let whole = distance(path, key.path);
        let last = distance(last_part(path), last_part(key.path)) + 1;
        (whole.min(last), key.path)
    });
    near_enough(candidates, last_part(path).len())
}

/// Returns the environment variable that `name` was most likely meant to be.
pub(super) fn nearest_variable(name: &str) -> Option<String> {
    let candidates = keys().map(|key| {
        let known = key.environment_name();
        (distance(name, &known), known)
    });
    near_enough(candidates, name.len())
}

/// Returns the one of `names` that `name` was most likely meant to be.
pub(crate) fn nearest_name<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    near_enough(names.map(|known| (distance(name, known), known)), name.len())
}

/// A third of the letters may differ; beyond that a suggestion misleads more than it helps.
fn near_enough<T>(candidates: impl Iterator<Item = (usize, T)>, length: usize) -> Option<T> {
    candidates
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= (length / 3).max(2))
        .map(|(_, name)| name)
}

fn last_part(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// Levenshtein distance over bytes, one row at a time; all known names are ASCII.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, from) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, to) in right.bytes().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_counted_in_edits() {
        for (left, right, edits) in [
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("same", "same", 0),
            ("ab", "ba", 2),
        ] {
            assert_eq!(distance(left, right), edits, "{left} {right}");
        }
    }

    #[test]
    fn misspelt_misplaced_and_foreign_keys() {
        assert_eq!(nearest_key("server.lisen"), Some("server.listen"));
        assert_eq!(nearest_key("sever.listen"), Some("server.listen"));
        assert_eq!(nearest_key("timezone"), Some("site.timezone"));
        assert_eq!(nearest_key("server.time_zone"), Some("site.timezone"));
        assert_eq!(nearest_key("backup.s3_bucket_name"), None);
        assert_eq!(
            nearest_variable("JOURNEY_SERVER_LISTEN").as_deref(),
            Some("JOURNEY_SERVER__LISTEN")
        );
        assert_eq!(nearest_variable("JOURNEY_HOME"), None);
    }
}
