//! Named points where a test stops the process to see what it leaves behind.
//!
//! Only with the feature `demo`; a production build has nothing here. `KUBEBACKUP_FAILPOINT=<name>` makes the process
//! print `failpoint <name>` on stderr the first time it comes there and then wait for ever: a test waits for the line,
//! does its worst (kill -9, DDL, SIGTERM) and so knows the phase that it hit. `<name>=go:<path>` waits only until a
//! file of that path exists, so that a test can let the run go on.

/// The variable that names the point.
#[cfg(feature = "demo")]
const VARIABLE: &str = "KUBEBACKUP_FAILPOINT";

/// Comes to the point `name`. Waits there if the environment says so.
///
/// Names are joints of a run: `before-role`, `after-locks`, `after-snapshot`, `after-schema`, `after-first-chunk`, `before-manifest`,
/// `after-manifest`; `after-drill-start`, `after-wipe`, `after-data`, `after-restore`, `before-certificate`; `after-create`
/// of a restore; and those of a wipe, of expiry and of prune.
#[cfg(feature = "demo")]
#[allow(
    clippy::print_stderr,
    reason = "a sign for the test that set the variable, whatever the log level"
)]
pub async fn reach(name: &str) {
    let Ok(wanted) = std::env::var(VARIABLE) else { return };
    let (wanted, go) = wanted.split_once("=go:").unwrap_or((&wanted, ""));
    if wanted != name {
        return;
    }
    eprintln!("failpoint {name}");
    if go.is_empty() {
        std::future::pending::<()>().await;
    }
    while !std::path::Path::new(go).exists() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// Nothing, in a build without the feature `demo`.
#[cfg(not(feature = "demo"))]
#[allow(clippy::unused_async, reason = "the same shape with and without the feature")]
pub async fn reach(_name: &str) {}
