//! The store and the repository: reachable, writable, what the store can do, and whose clock says what.

mod bucket;

use std::sync::Arc;

use bytes::Bytes;

use super::super::open::open_store;
use super::{Finding, Level};
use crate::config::RepositorySettings;
use crate::repository::{self, Repository, layout};
use crate::storage::{Capabilities, ErrorKind, ObjectStore};

/// Signatures are refused when clocks differ by more than this many seconds; half of it is worth a warning.
const SKEW_LIMIT_SECONDS: i64 = 15 * 60;

const AREA: &str = "store";

/// Adds what it finds, and returns the repository when there is one.
pub(super) async fn check(place: &RepositorySettings, findings: &mut Vec<Finding>) -> Option<Repository> {
    let store = match open_store(place).await {
        Ok(store) => store,
        Err(error) => {
            findings.push(Finding::fail(AREA, &error));
            return None;
        }
    };
    match store.list(layout::MANIFESTS, None, 1).await {
        Ok(_) => findings.push(Finding::ok(AREA, "reachable, and may be listed")),
        Err(error) => {
            findings.push(Finding::fail(AREA, &error));
            return None;
        }
    }
    let is_directory = place.directory.is_some();
    check_capabilities(store.as_ref(), is_directory, findings).await;
    bucket::check(store.as_ref(), findings).await;
    check_clock(store.as_ref(), findings).await;
    check_repository(store, findings).await
}

async fn check_capabilities(store: &dyn ObjectStore, is_directory: bool, findings: &mut Vec<Finding>) {
    let mut probed = store.capabilities(layout::PROBES).await;
    if probed.as_ref().is_err_and(|error| error.kind == ErrorKind::Denied) {
        // A restore agent's credentials may write below the certificates alone.
        probed = store.capabilities(layout::CERTIFICATE_PROBES).await;
        if probed.is_ok() {
            findings.push(Finding::warn(AREA, "may write certificates but no backups"));
        }
    }
    match probed {
        Ok(capabilities) if is_directory => findings.push(describe_directory(capabilities)),
        Ok(capabilities) => findings.extend(describe(capabilities)),
        Err(error) if error.kind == ErrorKind::Denied => {
            findings.push(Finding::warn(
                AREA,
                "may only be read: no backup and no drill can be written",
            ));
        }
        Err(error) => findings.push(Finding::fail(AREA, &error)),
    }
}

fn describe_directory(capabilities: Capabilities) -> Finding {
    if capabilities.create_only {
        Finding::warn(
            AREA,
            "a directory: never overwritten by us, and whoever may write there can delete backups",
        )
    } else {
        Finding::warn(
            AREA,
            "a directory whose file system lets one file replace another: two agents at once are not told apart",
        )
    }
}

fn describe(capabilities: Capabilities) -> [Finding; 3] {
    let say = |is_there: bool, yes: &str, no: &str| {
        if is_there {
            Finding::ok(AREA, yes)
        } else {
            Finding::warn(AREA, no)
        }
    };
    [
        say(
            capabilities.create_only,
            "honours create-only puts (If-None-Match)",
            "ignores create-only puts (If-None-Match): existence is asked for before each put instead",
        ),
        say(
            capabilities.checksum_sha256,
            "refuses a body that contradicts its SHA-256",
            "ignores the SHA-256 sent with a body: the signed payload hash alone guards the way there",
        ),
        say(
            capabilities.object_lock,
            "keeps what it is told to retain (Object Lock)",
            "has no Object Lock here: whoever has the credentials can delete backups",
        ),
    ]
}

/// The store stamps what it stores with its own clock.
async fn check_clock(store: &dyn ObjectStore, findings: &mut Vec<Finding>) {
    let suffix: u64 = rand::random();
    for prefix in [layout::PROBES, layout::CERTIFICATE_PROBES] {
        let key = format!("{prefix}clock-{suffix:016x}");
        if store.put_new(&key, Bytes::from_static(b"clock")).await.is_err() {
            continue;
        }
        let stamped = store.head(&key).await;
        if let Err(error) = store.delete(&key).await {
            tracing::debug!(%error, key, "probe left behind");
        }
        let Ok(meta) = stamped else { return };
        let skew = meta.modified.duration_since(jiff::Timestamp::now()).as_secs();
        findings.push(skew_finding(skew));
        return;
    }
}

/// `skew` is the store's clock minus ours, in seconds.
fn skew_finding(skew: i64) -> Finding {
    match skew.abs() {
        0..=5 => Finding::ok(AREA, "its clock agrees with ours"),
        _ if skew.abs() < SKEW_LIMIT_SECONDS / 2 => {
            Finding::warn(AREA, format!("its clock differs from ours by {skew} s"))
        }
        _ => Finding::new(
            AREA,
            Level::Fail,
            format!("its clock differs from ours by {skew} s; signatures are refused from {SKEW_LIMIT_SECONDS} s on"),
        ),
    }
}

async fn check_repository(store: Arc<dyn ObjectStore>, findings: &mut Vec<Finding>) -> Option<Repository> {
    const AREA: &str = "repository";
    match Repository::open(store).await {
        Ok(repository) => {
            findings.push(Finding::ok(AREA, format!("exists, its id is {}", repository.id())));
            Some(repository)
        }
        Err(repository::Error::Missing) => {
            findings.push(Finding::warn(AREA, "does not exist yet: the first backup creates it"));
            None
        }
        Err(error) => {
            findings.push(Finding::fail(AREA, &error));
            None
        }
    }
}
