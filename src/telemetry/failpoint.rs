//! Named places at which a test can stop the real process, to kill it there or to race something against it.
//!
//! With the feature `demo`, the process that finds its place in `KUBEBACKUP_FAILPOINT` says so on standard error and
//! waits for ever; without the feature, or without the variable, nothing happens.

/// Waits here for ever when the test asked for it.
#[cfg(feature = "demo")]
#[allow(clippy::print_stderr, reason = "the test waits for this line")]
pub async fn reach(name: &str) {
    if std::env::var("KUBEBACKUP_FAILPOINT").is_ok_and(|wanted| wanted == name) {
        eprintln!("failpoint {name}");
        std::future::pending::<()>().await;
    }
}

/// Nothing: failpoints exist only in builds with the feature `demo`.
#[cfg(not(feature = "demo"))]
pub async fn reach(_name: &str) {}
