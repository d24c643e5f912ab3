//! What an S3 store is opened with: where the bucket is, who asks, and how long anything may take.
//!
//! Credentials normally come from the default chain (environment, profile, web identity, container or instance role);
//! fixed ones are for a caller that owns the server it talks to.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::super::{Error, ErrorKind, Result};
use super::protection::Protection;

/// How to reach a bucket.
#[derive(Clone, Debug)]
pub struct S3Options {
    pub bucket: String,
    /// Every key lies below it; empty for the whole bucket. Slashes at either end make no difference.
    pub prefix: String,
    /// From the environment, the profile or the instance when none; `us-east-1` when an endpoint is set and nothing
    /// names a region.
    pub region: Option<String>,
    /// `http(s)://host[:port]` of a store that is not AWS.
    pub endpoint: Option<String>,
    /// `endpoint/bucket/key` instead of `bucket.endpoint/key`.
    pub path_style: bool,
    /// Section of the AWS configuration files.
    pub profile: Option<String>,
    /// PEM certificates to trust instead of the machine's own, for this store alone. Read once.
    pub ca_file: Option<PathBuf>,
    /// What new objects are given.
    pub protection: Protection,
    /// Fixed credentials instead of the default chain.
    pub credentials: Option<S3Credentials>,
    pub connect_timeout: Duration,
    /// Longest wait for the next bytes of an answer; for the first of an upload's, the time of its body longer.
    pub read_timeout: Duration,
    /// Longest single attempt, up to the answer's headers; of an upload, the time of its body longer.
    pub attempt_timeout: Duration,
    /// Attempts in all, the first included.
    pub max_attempts: u32,
}

/// A key pair that is already in memory.
#[derive(Clone)]
pub struct S3Credentials {
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: Option<String>,
}

impl fmt::Debug for S3Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("S3Credentials")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

impl S3Options {
    /// Options for `bucket` with the default chain for the rest.
    #[must_use]
    pub fn new(bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            ..Self::default()
        }
    }

    /// Refuses what no store could serve, before any request is made.
    pub(super) fn check(&self) -> Result<()> {
        let refuse = |problem: String| Err(Error::new(ErrorKind::Settings, "open", "").with_source(problem));
        if self.bucket.is_empty() || self.bucket.contains('/') || self.bucket.contains(char::is_whitespace) {
            return refuse(format!("'{}' is no bucket name", self.bucket));
        }
        if let Some(endpoint) = &self.endpoint
            && !(endpoint.starts_with("http://") || endpoint.starts_with("https://"))
        {
            return refuse("an endpoint starts with http:// or https://".to_owned());
        }
        if self.endpoint.as_ref().is_some_and(|endpoint| endpoint.contains('@')) {
            return refuse("an endpoint holds no user or password".to_owned());
        }
        if self.max_attempts == 0 {
            return refuse("at least one attempt is needed".to_owned());
        }
        Ok(())
    }

    /// The prefix as it stands before every key: empty, or ending in one slash.
    pub(super) fn key_prefix(&self) -> String {
        match self.prefix.trim_matches('/') {
            "" => String::new(),
            trimmed => format!("{trimmed}/"),
        }
    }
}

impl Default for S3Options {
    fn default() -> Self {
        Self {
            bucket: String::new(),
            prefix: String::new(),
            region: None,
            endpoint: None,
            path_style: false,
            profile: None,
            ca_file: None,
            protection: Protection::default(),
            credentials: None,
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(30),
            attempt_timeout: Duration::from_mins(1),
            max_attempts: 5,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_in_one_slash_or_is_empty() {
        for (given, expected) in [("", ""), ("/", ""), ("a", "a/"), ("/a/b/", "a/b/")] {
            let options = S3Options {
                prefix: given.to_owned(),
                ..S3Options::new("b")
            };
            assert_eq!(options.key_prefix(), expected, "{given}");
        }
    }

    #[test]
    fn settings_that_cannot_work_are_refused_before_any_request() {
        let endpoint = |text: &str| S3Options {
            endpoint: Some(text.to_owned()),
            ..S3Options::new("b")
        };
        let attempts = S3Options {
            max_attempts: 0,
            ..S3Options::new("b")
        };
        for wrong in [
            S3Options::new(""),
            S3Options::new("a/b"),
            endpoint("localhost:9000"),
            endpoint("http://u:p@h"),
            attempts,
        ] {
            assert_eq!(wrong.check().unwrap_err().kind, ErrorKind::Settings, "{wrong:?}");
        }
        assert!(endpoint("http://127.0.0.1:9000").check().is_ok());
    }

    #[test]
    fn credentials_do_not_show_their_secret() {
        let credentials = S3Credentials {
            access_key_id: "id".to_owned(),
            secret_access_key: "hidden".to_owned(),
            session_token: Some("hidden".to_owned()),
        };
        assert!(!format!("{credentials:?}").contains("hidden"));
    }
}
