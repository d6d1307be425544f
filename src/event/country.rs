//! The country of an address.

use std::net::IpAddr;
use std::path::Path;

use maxminddb::{MaxMindDbError, Reader, path};
use thiserror::Error;

/// A country database in the MaxMind format, read into memory.
pub struct CountryDatabase {
    reader: Reader<Vec<u8>>,
}

/// The country database cannot be used.
#[derive(Debug, Error)]
#[error("the country database cannot be read")]
pub struct CountryDatabaseError(#[from] MaxMindDbError);

impl CountryDatabase {
    /// Reads the database (`.mmdb`) of this file.
    ///
    /// # Errors
    /// When the file cannot be read or is of another format.
    pub fn open(file: &Path) -> Result<Self, CountryDatabaseError> {
        Ok(Self {
            reader: Reader::open_readfile(file)?,
        })
    }

    /// Reads the database from memory.
    ///
    /// # Errors
    /// When the bytes are of another format.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, CountryDatabaseError> {
        Ok(Self {
            reader: Reader::from_source(bytes)?,
        })
    }

    /// Returns the ISO 3166-1 alpha-2 code of the address' country, when the database knows one.
    pub fn find_country(&self, address: IpAddr) -> Option<String> {
        let found = self.reader.lookup(address).ok()?;
        let code: Option<&str> = found.decode_path(&path!["country", "iso_code"]).ok()?;
        code.filter(|code| code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase()))
            .map(str::to_owned)
    }
}

impl std::fmt::Debug for CountryDatabase {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("CountryDatabase(…)")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A database of one node: addresses below 128.0.0.0 are in Germany, the others nowhere.
    pub(crate) fn half_germany() -> CountryDatabase {
        // Left record: data at offset 0 (nodes + 16); right record: not found (nodes).
        let mut bytes = vec![0, 0, 17, 0, 0, 1];
        bytes.extend([0; 16]);
        bytes.extend(b"\xe1\x47country\xe1\x48iso_code\x42DE");
        bytes.extend(b"\xab\xcd\xefMaxMind.com\xe9");
        // Control bytes: A1 is a uint16 and C1 a uint32 of one byte, 01 02 a uint64 of one byte.
        for (name, value) in [
            ("binary_format_major_version", &b"\xa1\x02"[..]),
            ("binary_format_minor_version", b"\xa0"),
            ("build_epoch", b"\x01\x02\x01"),
            ("database_type", b"\x44Test"),
            ("description", b"\xe0"),
            ("ip_version", b"\xa1\x04"),
            ("languages", b"\x00\x04"),
            ("node_count", b"\xc1\x01"),
            ("record_size", b"\xa1\x18"),
        ] {
            bytes.extend(text(name));
            bytes.extend(value);
        }
        CountryDatabase::from_bytes(bytes).unwrap()
    }

    fn text(text: &str) -> Vec<u8> {
        // A length above 28 would need a second byte.
        let mut bytes = vec![0x40 | u8::try_from(text.len()).unwrap()];
        bytes.extend(text.as_bytes());
        bytes
    }

    #[test]
    fn an_address_has_a_country_or_none() {
        let database = half_germany();
        assert_eq!(
            database.find_country("10.1.2.3".parse().unwrap()).as_deref(),
            Some("DE")
        );
        assert_eq!(database.find_country("200.1.2.3".parse().unwrap()), None);
        assert_eq!(database.find_country("2001:db8::1".parse().unwrap()), None);
    }

    #[test]
    fn another_format_is_refused() {
        assert!(CountryDatabase::from_bytes(b"not a database".to_vec()).is_err());
    }
}
