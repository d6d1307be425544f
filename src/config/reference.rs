//! Prints every key as Markdown, for `docs/configuration.md`.

use std::fmt::Write;

use figment::value::Value;

use super::{
    BUNDLE_NAMES, Config, SECTIONS,
    keys::{Key, Kind, Section},
    load::toml_text,
    secrets::SECRET_SOURCES,
};

const INTRODUCTION: &str = "\
# Configuration

This page is printed by `customer-journey config reference`; a test holds it equal to the code.

## Where settings come from

Later layers win:

1. the defaults below;
2. a TOML file: `--config FILE`, else the file named by `JOURNEY_CONFIG`, else `/etc/customer-journey/config.toml`
   if it exists;
3. the names of the original bundle, see [Names of the original bundle](#names-of-the-original-bundle);
4. environment variables `JOURNEY_SECTION__KEY`, two underscores between section and key. Lists are separated by
   commas;
5. secrets from the files that `secrets.*_file` name;
6. secrets from the systemd credentials directory (`LoadCredential=`), see [Credentials](#credentials).

A key that is not known is refused by name, in the file and among `JOURNEY_*` variables alike. All problems are
reported at once.

| command | what it does |
| --- | --- |
| `customer-journey config check FILE` | checks a file alone, without its secrets |
| `customer-journey config check` | checks everything as the service would read it |
| `customer-journey config show` | prints each setting in force with the layer it came from, secrets masked |
| `customer-journey config reference` | prints this page |
";

/// Returns the reference of all keys as Markdown.
pub fn reference() -> String {
    let defaults = Value::serialize(Config::default()).expect("defaults are plain values");
    let mut page = String::from(INTRODUCTION);
    for section in SECTIONS {
        write_section(&mut page, section, &defaults);
    }
    write_bundle_names(&mut page);
    write_credentials(&mut page);
    page
}

fn write_section(page: &mut String, section: &Section, defaults: &Value) {
    let _ = write!(page, "\n## `[{}]`\n\n{}\n\n", section.name, section.description());
    page.push_str(
        "| key | type | default | unit | environment | meaning |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    for key in section.keys {
        let default = defaults.find_ref(key.path).map(toml_text).unwrap_or_default();
        let name = key.path.split('.').next_back().unwrap_or(key.path);
        let _ = writeln!(
            page,
            "| `{name}` | {} | `{default}` | {} | `{}` | {} |",
            key.kind,
            key.unit,
            key.environment_name(),
            meaning(key)
        );
    }
}

fn meaning(key: &Key) -> String {
    let mut text = key.description().to_owned();
    if let Kind::Choice(choices) = key.kind {
        for (name, documentation) in choices {
            let _ = write!(text, " `{name}`: {}", documentation.trim());
        }
    }
    text
}

fn write_bundle_names(page: &mut String) {
    page.push_str("\n## Names of the original bundle\n\n");
    page.push_str("Empty ones count as not set, and a `JOURNEY_*` name for the same key wins.\n\n");
    page.push_str("| name | key |\n| --- | --- |\n");
    for bundle in BUNDLE_NAMES {
        let _ = writeln!(page, "| `{}` | `{}` |", bundle.name, bundle.path);
    }
}

fn write_credentials(page: &mut String) {
    page.push_str("\n## Credentials\n\n");
    page.push_str("A line break at the end of a secret's file is not part of the secret.\n\n");
    page.push_str("| credential | file named by | key |\n| --- | --- | --- |\n");
    for source in SECRET_SOURCES {
        let _ = writeln!(
            page,
            "| `{}` | `{}` | `{}` |",
            source.credential, source.file_key, source.target
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_page_is_the_printed_one() {
        let committed = include_str!("../../docs/configuration.md");
        assert!(
            committed == reference(),
            "docs/configuration.md is out of date: customer-journey config reference > docs/configuration.md"
        );
    }

    #[test]
    fn every_field_of_the_configuration_has_a_key_and_no_key_lacks_a_field() {
        let Value::Dict(_, sections) = Value::serialize(Config::default()).unwrap() else {
            panic!("the configuration is made of sections");
        };
        let fields = sections.iter().flat_map(|(section, value)| {
            let fields = value.as_dict().unwrap().keys();
            fields.map(move |field| format!("{section}.{field}"))
        });
        let mut fields: Vec<_> = fields.collect();
        let mut known: Vec<_> = super::super::keys().map(|key| key.path.to_owned()).collect();
        fields.sort();
        known.sort();
        assert_eq!(fields, known);
    }

    #[test]
    fn every_key_is_described_and_no_cell_breaks_the_table() {
        for key in super::super::keys() {
            assert!(key.description().ends_with(['.', '!', '?']), "{}", key.path);
            assert!(!meaning(key).contains(['|', '\n']), "{}", key.path);
        }
    }
}
