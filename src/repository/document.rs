//! The repository's own JSON objects: each begins with the digest of what follows its first line.
//!
//! `{"sha256":"<64 hex>",` and a newline, then the remainder of one JSON object. It stays plain JSON for any reader, and
//! `tail -n +2 | sha256sum` tells whether a single byte has changed, which no other object could tell of a root.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::{Error, Result};
use super::id::Sha256Digest;
use super::manifest::FORMAT_VERSION;

const OPENING: &str = "{\"sha256\":\"";
const CLOSING: &str = "\",\n";
const DIGEST_DIGITS: usize = 64;

/// The object's bytes. `document` must serialize as a JSON object with at least one field.
///
/// # Errors
/// `Json` when it does not serialize.
pub fn encode<T: Serialize>(document: &T) -> Result<Bytes> {
    let mut body = serde_json::to_vec(document).map_err(Error::Json)?;
    body.push(b'\n');
    // Without its opening brace, which the first line has already.
    let body = body.get(1..).unwrap_or_default();
    let mut object = Vec::with_capacity(OPENING.len() + DIGEST_DIGITS + CLOSING.len() + body.len());
    object.extend_from_slice(OPENING.as_bytes());
    object.extend_from_slice(Sha256Digest::of(body).to_string().as_bytes());
    object.extend_from_slice(CLOSING.as_bytes());
    object.extend_from_slice(body);
    Ok(object.into())
}

/// Reads what `encode` wrote. Damage is told before an unknown version, and an unknown version before an unknown shape.
///
/// # Errors
/// `Damaged` when a byte differs from what was written, `UnknownFormat` for a version that is not ours.
pub fn decode<T: DeserializeOwned>(key: &str, object: &[u8]) -> Result<T> {
    #[derive(Deserialize)]
    struct Version {
        format_version: u64,
    }
    let checked = check_digest(object);
    if let Err(reason @ Mismatch::Digest) = checked {
        return Err(Error::damaged(key, reason.as_text()));
    }
    match serde_json::from_slice::<Version>(object) {
        Ok(Version { format_version }) if format_version != u64::from(FORMAT_VERSION) => {
            return Err(Error::UnknownFormat {
                key: key.to_owned(),
                found: format_version,
                known: FORMAT_VERSION,
            });
        }
        _ => {}
    }
    checked.map_err(|reason| Error::damaged(key, reason.as_text()))?;
    serde_json::from_slice(object).map_err(|error| Error::damaged(key, error.to_string()))
}

#[derive(Clone, Copy)]
enum Mismatch {
    /// The first line is not ours; perhaps a later format's.
    FirstLine,
    Digest,
}

impl Mismatch {
    fn as_text(self) -> &'static str {
        match self {
            Self::FirstLine => "it does not begin with its digest",
            Self::Digest => "its bytes do not have the digest in its first line",
        }
    }
}

fn check_digest(object: &[u8]) -> std::result::Result<(), Mismatch> {
    let rest = object.strip_prefix(OPENING.as_bytes()).ok_or(Mismatch::FirstLine)?;
    let (digest, rest) = rest.split_at_checked(DIGEST_DIGITS).ok_or(Mismatch::FirstLine)?;
    let body = rest.strip_prefix(CLOSING.as_bytes()).ok_or(Mismatch::FirstLine)?;
    if Sha256Digest::of(body).to_string().as_bytes() == digest {
        Ok(())
    } else {
        Err(Mismatch::Digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Document {
        format_version: u64,
        name: String,
    }

    fn document(format_version: u64) -> Document {
        Document {
            format_version,
            name: "täglich".to_owned(),
        }
    }

    #[test]
    fn a_document_is_plain_json_that_reads_back() {
        let object = encode(&document(1)).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&object).unwrap();
        assert_eq!(json["name"], "täglich");
        assert_eq!(decode::<Document>("k", &object).unwrap(), document(1));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let object = encode(&document(1)).unwrap().to_vec();
        for bit in 0..object.len() * 8 {
            let mut flipped = object.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode::<Document>("k", &flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn every_truncation_is_damage() {
        let object = encode(&document(1)).unwrap();
        for length in 0..object.len() {
            let read = decode::<Document>("k", &object[..length]);
            assert!(matches!(read, Err(Error::Damaged { .. })), "{length} bytes");
        }
    }

    #[test]
    fn an_unknown_version_is_told_before_the_shape() {
        for object in [
            encode(&serde_json::json!({"format_version": 7, "shape": []})).unwrap(),
            Bytes::from_static(b"{\"format_version\": 7, \"without\": \"digest\"}"),
        ] {
            let read = decode::<Document>("manifests/x.json", &object);
            assert!(
                matches!(read, Err(Error::UnknownFormat { found: 7, known: 1, .. })),
                "{read:?}"
            );
        }
    }

    #[test]
    fn a_flip_in_the_version_is_damage_not_a_new_format() {
        let object = String::from_utf8(encode(&document(1)).unwrap().to_vec()).unwrap();
        let flipped = object.replace("\"format_version\":1", "\"format_version\":3");
        assert!(matches!(
            decode::<Document>("k", flipped.as_bytes()),
            Err(Error::Damaged { .. })
        ));
    }
}
