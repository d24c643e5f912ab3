//! This machine's clock, by which agents decide when something is due and date what they write.
//!
//! With the feature `demo` a test can make it jump: `KUBEBACKUP_CLOCK_FILE` names a file that holds by how many seconds the
//! clock is wrong, and is read anew each time. Signatures of requests, timeouts and pauses go by the real clock: a store
//! refuses a signer whose clock is far off. A production build has nothing of this.

use jiff::Timestamp;

/// The variable that names the file.
#[cfg(feature = "demo")]
const VARIABLE: &str = "KUBEBACKUP_CLOCK_FILE";

/// The time.
#[cfg(feature = "demo")]
#[must_use]
pub fn now() -> Timestamp {
    let error = std::env::var(VARIABLE)
        .ok()
        .and_then(|path| std::fs::read_to_string(path).ok())
        .and_then(|text| text.trim().parse().ok())
        .map_or(jiff::SignedDuration::ZERO, jiff::SignedDuration::from_secs);
    let now = Timestamp::now();
    now.checked_add(error).unwrap_or(now)
}

/// The time.
#[cfg(not(feature = "demo"))]
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::now()
}
