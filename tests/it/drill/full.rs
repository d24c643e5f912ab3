//! A target without room on its disk: rows do not fit, or indexes do not.

use std::process::{Child, Stdio};

use kubebackup::demo::{Cluster, unprivileged};
use kubebackup::drill::{Cause, Verdict};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Ground;
use crate::support::small_disk::SmallDisk;
use crate::support::wait;

const SHOWN: &str = "what a full disk does to a drill";

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_when_rows_or_indexes_come_leaves_a_drill_unverified_until_there_is_room() {
    let Some(disk) = SmallDisk::mount(22, SHOWN) else {
        return;
    };
    // About 20 MB of rows and as much of index, beside the 8 MB of an empty database.
    let mut ground = Ground::with(
        "CREATE TABLE t AS SELECT i, repeat(md5(i::text), 8) AS text FROM generate_series(1, 70000) i;
         CREATE INDEX ON t (text, i)",
    )
    .await;
    let tablespace = format!("CREATE TABLESPACE small LOCATION '{}'", disk.path().display());
    ground.target.sql("postgres", &tablespace).unwrap();
    ground
        .target
        .sql("postgres", "ALTER DATABASE restored SET TABLESPACE small")
        .unwrap();
    for (mebibytes, words) in [(22, "load"), (40, "pg_restore")] {
        disk.resize(mebibytes);
        let certificate = ground.drill(&ground.options()).await;
        let summary = &certificate.summary;
        assert_eq!(
            certificate.verdict,
            Verdict::Unverified(Cause::Interrupted),
            "{mebibytes} MiB: {summary}"
        );
        assert!(
            summary.contains("No space left on device") && summary.contains(words),
            "{mebibytes} MiB: {summary}"
        );
    }
    // What `pg_restore` writes down is understood in whatever language the server speaks.
    let german = German::restart(&mut ground.target);
    let certificate = ground.drill(&ground.options()).await;
    let summary = &certificate.summary;
    assert_eq!(
        certificate.verdict,
        Verdict::Unverified(Cause::Interrupted),
        "{summary}"
    );
    assert!(summary.contains("No space left on device"), "{summary}");
    disk.resize(200);
    assert_eq!(ground.drill(&ground.options()).await.verdict, Verdict::Certified);
    drop(german);
}

/// Wherever nothing may be mounted too: an index that its sort has no room for.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_without_room_for_a_sort_leaves_a_drill_unverified_until_there_is() {
    let ground = Ground::with(
        "CREATE TABLE t AS SELECT i, md5(i::text) AS text FROM generate_series(1, 20000) i; CREATE INDEX ON t (text)",
    )
    .await;
    let set = |setting: &str| {
        ground
            .target
            .sql("postgres", &format!("ALTER ROLE postgres {setting}"))
            .unwrap()
    };
    set("SET maintenance_work_mem = '1MB'");
    set("SET temp_file_limit = '64kB'");
    let certificate = ground.drill(&ground.options()).await;
    let summary = &certificate.summary;
    assert_eq!(
        certificate.verdict,
        Verdict::Unverified(Cause::Interrupted),
        "{summary}"
    );
    assert!(summary.contains("temp_file_limit"), "{summary}");
    set("RESET temp_file_limit");
    assert_eq!(ground.drill(&ground.options()).await.verdict, Verdict::Certified);
}

/// A server that speaks German, as far as its translation is installed. No locale is needed for that but C.UTF-8.
struct German(Child);

impl German {
    fn restart(cluster: &mut Cluster) -> Self {
        let speak = "ALTER SYSTEM SET lc_messages = 'C.utf8'";
        cluster.sql("postgres", speak).unwrap();
        cluster.stop(Signal::SIGINT).unwrap();
        let server = unprivileged(&cluster.bin_directory().join("postgres"))
            .arg("-D")
            .arg(cluster.data())
            .env("LANGUAGE", "de")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait::until("the server to be back", || cluster.sql("postgres", "SELECT 1").is_ok());
        let refused = cluster.sql("postgres", "SELECT nonsense").unwrap_err().to_string();
        if !refused.contains("existiert nicht") {
            eprintln!(
                "PostgreSQL's translations are not installed, so the drill on a German server is one on an English one"
            );
        }
        Self(server)
    }
}

impl Drop for German {
    fn drop(&mut self) {
        let server = i32::try_from(self.0.id()).unwrap();
        let _ = kill(Pid::from_raw(server), Signal::SIGQUIT);
        let _ = self.0.wait();
    }
}
