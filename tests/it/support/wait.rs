//! Waiting on facts: something is asked again until it is so, or until a deadline that fails the test.

use std::time::{Duration, Instant};

/// Long enough for a machine that compiles something else meanwhile.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// Asks until the answer is there.
///
/// # Panics
/// With `what` when it is not there within [`DEADLINE`].
#[track_caller]
pub(crate) fn for_some<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    for_some_within(DEADLINE, what, ask)
}

/// Asks until the answer is there, at most for `limit`.
///
/// # Panics
/// With `what` when it is not there by then.
#[track_caller]
#[allow(
    clippy::disallowed_methods,
    reason = "the one place that polls; the pause is no part of any fact"
)]
pub(crate) fn for_some_within<T>(limit: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Asks until it is so.
///
/// # Panics
/// With `what` when it is not so within [`DEADLINE`].
#[track_caller]
pub(crate) fn until(what: &str, mut ask: impl FnMut() -> bool) {
    for_some(what, || ask().then_some(()));
}

/// Waits until `fact`, which asks something asynchronously, is true.
pub(crate) async fn until_async(what: &str, mut fact: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while !fact().await {
        assert!(tokio::time::Instant::now() < deadline, "waited in vain for {what}");
        tokio::task::yield_now().await;
    }
}
