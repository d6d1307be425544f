//! What a configuration key is, and the macros that declare sections from one text.
//!
//! A section names each key once: documentation, type, default and unit stand together, and the struct, its
//! defaults, the printed reference and the checks of every layer all come from there.

use std::fmt;

/// The shape a value must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A whole number from 0 to the given one.
    Whole(u64),
    /// `true` or `false`.
    Switch,
    /// A list of texts; in the environment separated by commas.
    List,
    /// One of the named values, each with its meaning.
    Choice(&'static [(&'static str, &'static str)]),
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => formatter.write_str("text"),
            Self::Whole(_) => formatter.write_str("whole number"),
            Self::Switch => formatter.write_str("true or false"),
            Self::List => formatter.write_str("list of texts"),
            Self::Choice(choices) => {
                let names: Vec<_> = choices.iter().map(|(name, _)| format!("`{name}`")).collect();
                formatter.write_str(&names.join(" or "))
            }
        }
    }
}

/// One key of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Where it stands: `section.name`.
    pub path: &'static str,
    pub kind: Kind,
    /// Unit of the value; empty when it has none.
    pub unit: &'static str,
    documentation: &'static str,
}

impl Key {
    pub(super) const fn new(
        path: &'static str,
        kind: Kind,
        unit: &'static str,
        documentation: &'static str,
    ) -> Self {
        Self {
            path,
            kind,
            unit,
            documentation,
        }
    }

    /// What the key means, in one line.
    pub fn description(&self) -> &'static str {
        self.documentation.trim()
    }

    /// The environment variable that sets it, for example `JOURNEY_SERVER__LISTEN`.
    pub fn environment_name(&self) -> String {
        format!(
            "{ENVIRONMENT_PREFIX}{}",
            self.path.replace('.', "__").to_ascii_uppercase()
        )
    }
}

/// What the service's own environment variables begin with.
pub const ENVIRONMENT_PREFIX: &str = "JOURNEY_";

/// One section with its keys, in the order of the reference.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    pub name: &'static str,
    pub keys: &'static [Key],
    documentation: &'static str,
}

impl Section {
    pub(super) const fn new(name: &'static str, keys: &'static [Key], documentation: &'static str) -> Self {
        Self {
            name,
            keys,
            documentation,
        }
    }

    /// What the section is about, in one line.
    pub fn description(&self) -> &'static str {
        self.documentation.trim()
    }
}

/// A Rust type that a key may have.
pub(super) trait KeyType {
    const KIND: Kind;
}

impl KeyType for String {
    const KIND: Kind = Kind::Text;
}

impl KeyType for bool {
    const KIND: Kind = Kind::Switch;
}

impl KeyType for Vec<String> {
    const KIND: Kind = Kind::List;
}

impl KeyType for u32 {
    const KIND: Kind = Kind::Whole(u32::MAX as u64);
}

// TOML's whole numbers end at 2^63 − 1.
impl KeyType for u64 {
    const KIND: Kind = Kind::Whole(i64::MAX as u64);
}

impl KeyType for usize {
    const KIND: Kind = Kind::Whole(u32::MAX as u64);
}

/// Declares a section: `field: Type = default => "unit",` below the field's documentation.
macro_rules! section {
    (
        $(#[doc = $documentation:literal])+
        pub struct $name:ident in $section:literal {
            $(
                $(#[doc = $field_documentation:literal])+
                $field:ident : $type:ty = $default:expr $(=> $unit:literal)?
            ),+ $(,)?
        }
    ) => {
        $(#[doc = $documentation])+
        #[derive(Clone, serde::Deserialize, serde::Serialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $(
                $(#[doc = $field_documentation])+
                pub $field: $type,
            )+
        }

        impl $name {
            /// The section's entry in the reference.
            pub(super) const SECTION: $crate::config::keys::Section = $crate::config::keys::Section::new(
                $section,
                &[$(
                    $crate::config::keys::Key::new(
                        concat!($section, ".", stringify!($field)),
                        <$type as $crate::config::keys::KeyType>::KIND,
                        concat!("" $(, $unit)?),
                        concat!($($field_documentation),+),
                    ),
                )+],
                concat!($($documentation),+),
            );
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        // Written by hand instead of derived so that no secret reaches a log line.
        impl std::fmt::Debug for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter
                    .debug_struct(stringify!($name))
                    $(.field(
                        stringify!($field),
                        &$crate::config::secrets::Masked::new(
                            concat!($section, ".", stringify!($field)),
                            &self.$field,
                        ),
                    ))+
                    .finish()
            }
        }
    };
}

/// Declares an enum whose variants are written as the given names.
macro_rules! choice {
    (
        $(#[doc = $documentation:literal])+
        pub enum $name:ident {
            $($(#[doc = $variant_documentation:literal])+ $variant:ident = $text:literal),+ $(,)?
        }
    ) => {
        $(#[doc = $documentation])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
        pub enum $name {
            $($(#[doc = $variant_documentation])+ #[serde(rename = $text)] $variant,)+
        }

        impl $crate::config::keys::KeyType for $name {
            const KIND: $crate::config::keys::Kind = $crate::config::keys::Kind::Choice(&[
                $(($text, concat!($($variant_documentation),+)),)+
            ]);
        }
    };
}

pub(super) use {choice, section};
