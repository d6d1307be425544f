//! The little of Nix the service speaks: store paths, Nix's base 32, and SRI hashes.
//!
//! `doctor` and `/api/v1/system` name the build and the system generation that run.

use std::{fmt, path::Path, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD};

/// Digits of Nix's base 32: no `e o t u`, so that no word appears by chance (source: Nix manual, glossary).
const DIGITS: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";

/// Digits of the hash in a store path: 160 bits.
const STORE_HASH_LENGTH: usize = 32;

/// Characters of the longest name in a store path (source: Nix manual, "Store path").
const STORE_NAME_LENGTH_MAX: usize = 211;

/// Where NixOS keeps the link to the system that runs.
pub const CURRENT_SYSTEM: &str = "/run/current-system";

/// Why a text is not what Nix writes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NixError {
    #[error("{0:?} is not a store path such as /nix/store/<32 digits>-name")]
    StorePath(String),
    #[error("{0:?} is not Nix base 32")]
    Base32(String),
    #[error("{0:?} is not an SRI hash such as sha256-<base 64>")]
    Sri(String),
}

/// A path directly in the store: `/nix/store/<hash>-<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StorePath {
    hash: [u8; 20],
    name: String,
}

impl StorePath {
    /// Returns the store path that `path` is or lies in.
    ///
    /// # Errors
    /// [`NixError::StorePath`] when there is none.
    pub fn containing(path: &str) -> Result<Self, NixError> {
        let refused = || NixError::StorePath(path.into());
        let inside = path.strip_prefix("/nix/store/").ok_or_else(refused)?;
        let entry = inside.split('/').next().unwrap_or(inside);
        let (hash, name) = entry.split_at_checked(STORE_HASH_LENGTH).ok_or_else(refused)?;
        let name = name
            .strip_prefix('-')
            .filter(|name| is_store_name(name))
            .ok_or_else(refused)?;
        let hash = decode_base32(hash)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(refused)?;
        Ok(Self {
            hash,
            name: name.into(),
        })
    }

    /// Returns the hash in Nix's base 32.
    pub fn hash(&self) -> String {
        encode_base32(&self.hash)
    }

    /// Returns what follows the hash, usually name and version.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for StorePath {
    type Err = NixError;

    /// Reads a store path and nothing below it.
    fn from_str(text: &str) -> Result<Self, NixError> {
        let path = Self::containing(text)?;
        if path.to_string() == text {
            Ok(path)
        } else {
            Err(NixError::StorePath(text.into()))
        }
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "/nix/store/{}-{}", self.hash(), self.name)
    }
}

/// A name may not be `.` or `..`, nor begin with one of these and a dash.
fn is_store_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-._?=".contains(&byte);
    let first = name.split('-').next();
    (1..=STORE_NAME_LENGTH_MAX).contains(&name.len())
        && name.bytes().all(plain)
        && !matches!(first, Some("." | ".."))
}

/// Writes bytes in Nix's base 32: the last digit holds the lowest five bits of the first byte.
pub fn encode_base32(bytes: &[u8]) -> String {
    let length = (bytes.len() * 8).div_ceil(5);
    let digit = |place: usize| {
        let (byte, shift) = (place * 5 / 8, place * 5 % 8);
        let low = u16::from(bytes[byte]);
        let high = u16::from(bytes.get(byte + 1).copied().unwrap_or(0));
        char::from(DIGITS[usize::from((high << 8 | low) >> shift) & 31])
    };
    (0..length).rev().map(digit).collect()
}

/// Reads Nix's base 32.
///
/// # Errors
/// [`NixError::Base32`] for a foreign digit, a length that no bytes have, or bits left over that are not zero.
pub fn decode_base32(text: &str) -> Result<Vec<u8>, NixError> {
    let refused = || NixError::Base32(text.into());
    let mut bytes = vec![0_u8; text.len() * 5 / 8];
    if (bytes.len() * 8).div_ceil(5) != text.len() {
        return Err(refused());
    }
    for (place, letter) in text.bytes().rev().enumerate() {
        let digit = DIGITS
            .iter()
            .position(|digit| *digit == letter)
            .ok_or_else(refused)?;
        let (byte, shift) = (place * 5 / 8, place * 5 % 8);
        let bits = (digit as u16) << shift;
        bytes[byte] |= bits as u8;
        match bytes.get_mut(byte + 1) {
            Some(next) => *next |= (bits >> 8) as u8,
            None if bits >> 8 != 0 => return Err(refused()),
            None => {}
        }
    }
    Ok(bytes)
}

/// Algorithms of hashes, with the bytes they give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HashAlgorithm {
    Md5,
    Sha1,
    Sha256,
    Sha512,
}

impl HashAlgorithm {
    const ALL: [Self; 4] = [Self::Md5, Self::Sha1, Self::Sha256, Self::Sha512];

    fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    fn length(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

/// A hash as lock files write it: `sha256-<base 64>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SriHash {
    algorithm: HashAlgorithm,
    digest: Vec<u8>,
}

impl SriHash {
    /// Makes the hash of a SHA-256 digest.
    pub fn of_sha256(digest: [u8; 32]) -> Self {
        Self {
            algorithm: HashAlgorithm::Sha256,
            digest: digest.into(),
        }
    }

    /// Returns the algorithm that made the digest.
    pub fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    /// Returns the digest, of the length its algorithm gives.
    pub fn digest(&self) -> &[u8] {
        &self.digest
    }
}

impl serde::Serialize for SriHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for SriHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl FromStr for SriHash {
    type Err = NixError;

    fn from_str(text: &str) -> Result<Self, NixError> {
        let refused = || NixError::Sri(text.into());
        let (name, digest) = text.split_once('-').ok_or_else(refused)?;
        let algorithm = HashAlgorithm::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
            .ok_or_else(refused)?;
        let digest = STANDARD.decode(digest).map_err(|_| refused())?;
        if digest.len() != algorithm.length() {
            return Err(refused());
        }
        Ok(Self { algorithm, digest })
    }
}

impl fmt::Display for SriHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}-{}",
            self.algorithm.name(),
            STANDARD.encode(&self.digest)
        )
    }
}

/// Returns the store path of the system that runs; `None` where the system is not NixOS.
pub fn current_system() -> Option<StorePath> {
    system_at(Path::new(CURRENT_SYSTEM))
}

fn system_at(link: &Path) -> Option<StorePath> {
    let target = std::fs::read_link(link).ok()?;
    StorePath::containing(target.to_str()?).ok()
}

/// Returns the store path this program was started from; `None` where Nix did not install it.
pub fn current_program() -> Option<StorePath> {
    let program = std::env::current_exe().ok()?;
    StorePath::containing(program.to_str()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STORE_PATH: &str = "/nix/store/ar7jsnlqbr3hhmz0bhmpv0lm3jmhxvhb-libidn2-2.3.4";

    /// The first is the digest in the manual's reference of `nix-hash`, the next two are SHA-256 of `abc` and of nothing.
    #[test]
    fn base_32_of_known_digests() {
        let vectors = [
            (
                "e4fd8ba5f7bbeaea5ace89fe10255536cd60dab6",
                "nvd61k9nalji1zl9rrdfmsmvyyjqpzg4",
            ),
            (
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                "1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s",
            ),
            (
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                "0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73",
            ),
            ("", ""),
            ("1f", "0z"),
        ];
        for (digest, text) in vectors {
            let bytes = hex::decode(digest).unwrap();
            assert_eq!(encode_base32(&bytes), text);
            assert_eq!(decode_base32(text).unwrap(), bytes);
        }
    }

    #[test]
    fn what_is_not_base_32_is_refused() {
        for text in ["e0", "0E", "z", "zz", "0z0", "ü0"] {
            assert_eq!(decode_base32(text), Err(NixError::Base32(text.into())));
        }
    }

    #[test]
    fn store_paths_are_read_and_printed() {
        let path: StorePath = STORE_PATH.parse().unwrap();
        assert_eq!(path.hash(), "ar7jsnlqbr3hhmz0bhmpv0lm3jmhxvhb");
        assert_eq!(path.name(), "libidn2-2.3.4");
        assert_eq!(path.to_string(), STORE_PATH);
        let inside = StorePath::containing(&format!("{STORE_PATH}/lib/libidn2.so")).unwrap();
        assert_eq!(inside, path);
        assert!(format!("{STORE_PATH}/lib").parse::<StorePath>().is_err());
    }

    #[test]
    fn what_is_not_a_store_path_is_refused() {
        let hash = "ar7jsnlqbr3hhmz0bhmpv0lm3jmhxvhb";
        let long = "a".repeat(212);
        for entry in [
            format!("{hash}-"),
            format!("{hash}libidn2"),
            format!("{hash}-."),
            format!("{hash}-..-a"),
            format!("{hash}-a b"),
            format!("{hash}-{long}"),
            format!("{}-a", hash.replace('a', "e")),
            hash.into(),
            "short-a".into(),
            "ü".repeat(17),
        ] {
            assert!(
                StorePath::containing(&format!("/nix/store/{entry}")).is_err(),
                "{entry}"
            );
        }
        assert!(StorePath::containing(&format!("/usr/store/{hash}-a")).is_err());
        assert!(StorePath::containing(&format!("/nix/store/{hash}-{}", &long[1..])).is_ok());
    }

    #[test]
    fn sri_hashes_are_read_and_printed() {
        let text = "sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";
        let hash: SriHash = text.parse().unwrap();
        assert_eq!(hash.algorithm(), HashAlgorithm::Sha256);
        assert_eq!(
            encode_base32(hash.digest()),
            "1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s"
        );
        assert_eq!(hash.to_string(), text);
        // The manual's own, in its reference of `nix-hash`.
        let hash: SriHash = "sha1-5P2Lpfe76upazon+ECVVNs1g2rY=".parse().unwrap();
        assert_eq!(encode_base32(hash.digest()), "nvd61k9nalji1zl9rrdfmsmvyyjqpzg4");
        for bad in [
            "sha256",
            "sha256-",
            "sha1-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=",
            "crc-AAAA",
            "sha256-$",
        ] {
            assert_eq!(bad.parse::<SriHash>(), Err(NixError::Sri(bad.into())));
        }
    }

    #[test]
    fn the_system_is_where_the_link_points() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("current-system");
        assert_eq!(system_at(&link), None);
        std::os::unix::fs::symlink(STORE_PATH, &link).unwrap();
        assert_eq!(system_at(&link).unwrap().to_string(), STORE_PATH);
        let other = folder.path().join("other");
        std::os::unix::fs::symlink("/usr", &other).unwrap();
        assert_eq!(system_at(&other), None);
    }

    proptest! {
        #[test]
        fn base_32_is_read_as_it_was_written(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert_eq!(decode_base32(&encode_base32(&bytes)).unwrap(), bytes);
        }

        #[test]
        fn no_two_texts_mean_the_same_bytes(text in "[0-9a-z]{0,20}") {
            if let Ok(bytes) = decode_base32(&text) {
                prop_assert_eq!(encode_base32(&bytes), text);
            }
        }
    }
}
