//! Row hashes and the order-free fingerprint of a table.
//!
//! A row's hash is XXH3-128 (seed 0) of its COPY text including the newline that ends it. A fingerprint is the
//! wrapping 128-bit sum of the hashes of all rows: independent of row order, and unlike an XOR it sees a row that
//! occurs twice. It guards against accidents and bugs, not against someone who constructs collisions; that is what
//! the SHA-256 of the stored bytes is for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use xxhash_rust::xxh3::xxh3_128;

/// The hash of one row of COPY text (with its final newline).
#[must_use]
pub fn row_hash(row: &[u8]) -> u128 {
    xxh3_128(row)
}

/// Sum of row hashes, written as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Fingerprint(u128);

impl Fingerprint {
    /// Takes one more row in.
    pub fn add(&mut self, row_hash: u128) {
        self.0 = self.0.wrapping_add(row_hash);
    }

    /// The fingerprint of both sets of rows together.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Fingerprint({self})")
    }
}

/// A fingerprint's text was not 32 hexadecimal digits.
#[derive(Debug, thiserror::Error)]
#[error("a fingerprint is 32 hexadecimal digits, not '{0}'")]
pub struct ParseFingerprintError(String);

impl FromStr for Fingerprint {
    type Err = ParseFingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match u128::from_str_radix(text, 16) {
            Ok(value) if is_hex => Ok(Self(value)),
            _ => Err(ParseFingerprintError(text.to_owned())),
        }
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What a stream of rows amounted to: count, bytes of COPY text, fingerprint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowTally {
    pub rows: u64,
    /// Bytes of COPY text, newlines included.
    pub raw_bytes: u64,
    pub fingerprint: Fingerprint,
}

impl RowTally {
    /// Counts one row and returns its hash, which also decides where a chunk ends.
    pub fn add_row(&mut self, row: &[u8]) -> u128 {
        let hash = row_hash(row);
        self.rows += 1;
        self.raw_bytes += row.len() as u64;
        self.fingerprint.add(hash);
        hash
    }

    /// The tally of both streams together.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self {
            rows: self.rows + other.rows,
            raw_bytes: self.raw_bytes + other.raw_bytes,
            fingerprint: self.fingerprint.union(other.fingerprint),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(rows: &[&[u8]]) -> RowTally {
        let mut tally = RowTally::default();
        for row in rows {
            tally.add_row(row);
        }
        tally
    }

    #[test]
    fn the_order_of_rows_does_not_matter_but_their_number_does() {
        assert_eq!(tally(&[b"a\n", b"b\n"]), tally(&[b"b\n", b"a\n"]));
        assert_ne!(
            tally(&[b"a\n", b"a\n"]).fingerprint,
            tally(&[b"b\n", b"b\n"]).fingerprint
        );
        assert_ne!(
            tally(&[b"a\n"]).fingerprint,
            tally(&[b"a\n", b"a\n", b"a\n"]).fingerprint
        );
    }

    #[test]
    fn a_union_equals_one_stream() {
        let whole = tally(&[b"1\n", b"2\n", b"3\n"]);
        assert_eq!(tally(&[b"3\n"]).union(tally(&[b"1\n", b"2\n"])), whole);
    }

    #[test]
    fn the_text_form_is_read_back_and_nothing_else_is() {
        let fingerprint = tally(&[b"1\n"]).fingerprint;
        assert_eq!(fingerprint.to_string().parse::<Fingerprint>().unwrap(), fingerprint);
        for wrong in ["", "12", "+0000000000000000000000000000001", "zz"] {
            assert!(wrong.parse::<Fingerprint>().is_err(), "{wrong}");
        }
    }

    /// The published XXH3-128 vector of the empty input: a second implementation starts from this.
    #[test]
    fn the_hash_is_xxh3_128_with_seed_zero() {
        assert_eq!(row_hash(b""), 0x99aa_06d3_0147_98d8_6001_c324_468d_497f);
    }
}
