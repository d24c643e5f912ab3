//! What a request asks a store for, read from its method, path and query.

use std::fmt;

use hyper::{Method, Uri};

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Call {
    /// `PutObject`, `GetObject`, `HeadObject`, `ListObjectsV2`, `DeleteObject`, `DeleteObjects`; `Other` for anything that
    /// only looks at the bucket or at an object's lock and versions.
    pub(crate) operation: &'static str,
    /// Key in the bucket, or the prefix of a listing.
    pub(crate) key: String,
}

impl Call {
    /// Buckets are the path's first part, as in every test.
    pub(super) fn of(method: &Method, uri: &Uri) -> Self {
        let key = uri.path().trim_start_matches('/').split_once('/');
        let key = key.map_or("", |(_, key)| key);
        let query: Vec<(String, String)> = pairs(uri.query().unwrap_or_default()).collect();
        let value = |name: &str| query.iter().find(|(found, _)| found == name).map(|(_, value)| value);
        let is_plain = query.iter().all(|(name, _)| name == "x-id");
        let operation = match (method, key.is_empty()) {
            (&Method::GET, true) if value("list-type").is_some() => "ListObjectsV2",
            (&Method::POST, true) if value("delete").is_some() => "DeleteObjects",
            (&Method::GET, false) if is_plain => "GetObject",
            (&Method::HEAD, false) if is_plain => "HeadObject",
            (&Method::PUT, false) if is_plain => "PutObject",
            // With or without a version.
            (&Method::DELETE, false) => "DeleteObject",
            _ => "Other",
        };
        let key = match value("prefix") {
            Some(prefix) if key.is_empty() => prefix.clone(),
            _ => decode(key),
        };
        Self { operation, key }
    }

    /// The first two parts of its key: what kind of object it is about, for tests whose repository lies below one part.
    pub(crate) fn class(&self) -> &str {
        let mut slashes = self.key.match_indices('/').map(|(position, _)| position);
        let end = slashes.nth(1).unwrap_or(self.key.len());
        &self.key[..end]
    }

    /// Whether its request carries a body.
    pub(super) fn uploads(&self) -> bool {
        matches!(self.operation, "PutObject" | "DeleteObjects")
    }

    /// Whether its answer carries a body that matters.
    pub(super) fn downloads(&self) -> bool {
        matches!(self.operation, "GetObject" | "ListObjectsV2")
    }
}

impl fmt::Display for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} of '{}'", self.operation, self.key)
    }
}

fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    })
}

/// Percent signs only: no client of these tests writes a space as a plus.
fn decode(text: &str) -> String {
    let mut decoded = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let quoted = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match quoted.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(quoted) if byte == b'%' => {
                decoded.push(quoted);
                rest = &after[2..];
            }
            _ => {
                decoded.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[test]
fn a_request_tells_its_operation_and_its_key() {
    for (method, uri, operation, key) in [
        (
            Method::GET,
            "/b/it/chunks/ab?x-id=GetObject",
            "GetObject",
            "it/chunks/ab",
        ),
        (Method::PUT, "/b/it/a%20b?x-id=PutObject", "PutObject", "it/a b"),
        (Method::HEAD, "/b/it/a", "HeadObject", "it/a"),
        (Method::DELETE, "/b/it/a?versionId=1", "DeleteObject", "it/a"),
        (Method::POST, "/b/?delete", "DeleteObjects", ""),
        (
            Method::GET,
            "/b/?list-type=2&prefix=it%2Fchunks%2F",
            "ListObjectsV2",
            "it/chunks/",
        ),
        (Method::GET, "/b?object-lock", "Other", ""),
        (Method::GET, "/b/it/a?retention", "Other", "it/a"),
    ] {
        let call = Call::of(&method, &uri.parse().unwrap());
        assert_eq!((call.operation, call.key.as_str()), (operation, key), "{method} {uri}");
    }
    let call = Call::of(&Method::GET, &"/b/it/chunks/ab/cd".parse().unwrap());
    assert_eq!(call.class(), "it/chunks");
}
