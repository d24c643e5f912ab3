//! A standby takes over while a backup of the primary is under way, at the address that the backup knows.

use std::fs;

use kubebackup::demo::Cluster;
use kubebackup::postgres::{Session, connect};

use super::{Proxied, assert_failed, sessions};
use crate::support::library::cluster_options;
use crate::support::{Running, wait};

const ROWS: &str = "CREATE TABLE t AS SELECT i, md5(i::text) AS text FROM generate_series(1, 2000) i";

/// What only the standby has once it is the primary.
const DIVERGE: &str = "DELETE FROM t WHERE i <= 1000";

struct Switching {
    ground: Proxied,
    standby: Cluster,
}

impl Switching {
    fn new() -> Self {
        let ground = Proxied::start(ROWS);
        let standby = ground.world.source.start_standby().unwrap();
        let lsn = ground
            .world
            .source
            .sql("postgres", "SELECT pg_current_wal_lsn()")
            .unwrap();
        let replayed = format!("SELECT pg_last_wal_replay_lsn() >= '{lsn}'");
        wait::until("the standby to have everything", || {
            standby.sql("postgres", &replayed).unwrap() == "t"
        });
        Self { ground, standby }
    }

    /// A backup that has its snapshot of the primary and no other session yet.
    fn begin(&self) -> Running {
        let go = self.go();
        let failpoint = format!("after-schema=go:{}", go.display());
        let mut running = self.ground.backup().env("KUBEBACKUP_FAILPOINT", &failpoint).spawn();
        running.wait_for("failpoint after-schema");
        running
    }

    fn go(&self) -> std::path::PathBuf {
        self.ground.world.directory().join("go")
    }

    /// The standby is the primary, has gone its own way, and is who answers.
    fn switch_over(&self) {
        self.standby.sql("postgres", "SELECT pg_promote()").unwrap();
        self.standby.sql("shop", DIVERGE).unwrap();
        self.ground.proxy.lead_to(self.standby.port());
    }

    fn go_on(&self) {
        fs::write(self.go(), "").unwrap();
    }

    /// The new primary's own state, and nothing of the old one's.
    fn assert_next_is_whole(&self) {
        let world = &self.ground.world;
        fs::remove_file(self.go()).unwrap();
        self.ground.backup().run().ok();
        assert_eq!(world.keys("manifests/").len(), 1);
        world.mark_targets();
        world.program(&["drill", "--keep"]).run().ok();
        assert_eq!(world.restored_sql("SELECT count(*) FROM t"), "1000");
    }
}

#[test]
fn a_backup_that_is_switched_over_ends_whether_its_sessions_were_cut_or_not_and_the_next_one_is_of_the_new_primary() {
    let switching = Switching::new();
    let kept = switching.begin();
    switching.switch_over();
    switching.go_on();
    assert_failed(
        &switching.ground.world,
        &kept.wait(),
        (1, 0),
        &["invalid snapshot identifier"],
    );

    switching.ground.proxy.lead_to(switching.ground.world.source.port());
    fs::remove_file(switching.go()).unwrap();
    let cut = switching.begin();
    switching.ground.proxy.lead_to(switching.standby.port());
    switching.ground.proxy.cut_all();
    switching.go_on();
    assert_failed(&switching.ground.world, &cut.wait(), (1, 0), &[]);
    switching.assert_next_is_whole();
}

/// Names of snapshots are numbers that begin anew on every server: half a backup of each would pass for one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_of_the_same_name_on_the_server_that_took_over_is_not_taken_for_the_backups_own() {
    let switching = Switching::new();
    count_up(&switching.ground.world.source).await;
    let running = switching.begin();
    let exported = switching.ground.world.source.data().join("pg_snapshots");
    let name = fs::read_dir(exported).unwrap().next().unwrap().unwrap().file_name();
    switching.switch_over();
    let _held = same_name(&switching.standby, name.to_str().unwrap()).await;
    switching.go_on();
    assert_failed(
        &switching.ground.world,
        &running.wait(),
        (1, 0),
        &["is another server now"],
    );
    assert_eq!(sessions(&switching.ground.world.source), "0");
    switching.assert_next_is_whole();
}

/// Transactions of the primary's first processes, so that their numbers are ahead of the standby's.
async fn count_up(cluster: &Cluster) {
    let mut sessions = Vec::new();
    for _ in 0..8 {
        let session = connect(&cluster_options(cluster, "shop"), "test").await.unwrap();
        for _ in 0..500 {
            session.client.simple_query("SELECT 1").await.unwrap();
        }
        sessions.push(session);
    }
}

/// Sessions that are held, one of which has exported a snapshot of that name: the number of its process among the server's,
/// that of its transaction, and that of the snapshot in it.
async fn same_name(cluster: &Cluster, name: &str) -> Vec<Session> {
    let place = &name[..9];
    let mut held = Vec::new();
    for _ in 0..20 {
        let session = connect(&cluster_options(cluster, "shop"), "test").await.unwrap();
        for _ in 0..5000 {
            let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pg_export_snapshot()";
            let exported = session.client.simple_query(begin).await.unwrap();
            let exported = exported.iter().find_map(|message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            });
            let exported = exported.unwrap();
            if exported == name {
                held.push(session);
                return held;
            }
            session.client.batch_execute("ROLLBACK").await.unwrap();
            if !exported.starts_with(place) || exported.as_str() > name {
                break;
            }
        }
        held.push(session);
    }
    panic!("no session of this server can give the name {name}");
}
