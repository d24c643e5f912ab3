//! What befalls a backup at its source: the way there, the server, its administrator, other sessions. Each ends in a backup
//! that is whole or in one clear error and none, and the next run works.

use kubebackup::demo::Cluster;

use crate::support::tcp_proxy::TcpProxy;
use crate::support::{BACKUP_ROLE, Ended, Program, World, WorldOptions};

mod connections;
mod databases;
mod ddl;
mod ended;
mod giving_way;
mod limits;
mod locks;
mod memory;
mod standby;
mod switched_over;

/// A world whose source is reached through a proxy.
struct Proxied {
    proxy: TcpProxy,
    world: World,
}

impl Proxied {
    fn start(definitions: &str) -> Self {
        Self::with(WorldOptions::default(), definitions)
    }

    fn with(options: WorldOptions<'_>, definitions: &str) -> Self {
        let world = World::with(options);
        world.source_sql(definitions);
        let proxy = TcpProxy::start(world.source.port());
        Self { proxy, world }
    }

    /// A backup through the proxy with one job, so that `copy` is one connection.
    fn backup(&self) -> Program {
        self.backup_with(5)
    }

    /// The same with a `connect_timeout` of so many seconds.
    fn backup_with(&self, connect_timeout: u8) -> Program {
        let dsn = format!(
            "host=127.0.0.1 port={} user={BACKUP_ROLE} dbname='{}' connect_timeout={connect_timeout}",
            self.proxy.port(),
            self.world.database()
        );
        let program = self.world.program(&["backup", "--jobs", "1"]);
        program.env("KUBEBACKUP_SOURCE_DSN", &dsn)
    }

    /// The next run, by which nothing of the fault is left: it makes a backup, which is certified.
    #[track_caller]
    fn recovers(&self) {
        self.proxy.clear();
        recovers(&self.world);
    }
}

#[track_caller]
fn recovers(world: &World) {
    let before = world.keys("manifests/").len();
    world.program(&["backup"]).run().ok();
    assert_eq!(world.keys("manifests/").len(), before + 1);
    world.mark_targets();
    world.program(&["drill"]).run().ok();
}

/// Failed or yielded, by what the server had time to say: that an administrator ended it, or nothing.
#[track_caller]
fn assert_failed_or_yielded(world: &World, ended: &Ended, words: &[&str]) {
    let code = ended.code().filter(|code| *code == 7).unwrap_or(1);
    assert_failed(world, ended, (code, 0), words);
}

/// One error in one line of those words, an exit code, and no backup beyond the `before` that there were.
#[track_caller]
fn assert_failed(world: &World, ended: &Ended, (code, before): (i32, usize), words: &[&str]) {
    assert_eq!(ended.code(), Some(code), "{}", ended.printed());
    let errors: Vec<&str> = ended
        .stderr
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert_eq!(errors.len(), 1, "{}", ended.stderr);
    for word in words {
        assert!(ended.stderr.contains(word), "no '{word}' in {}", ended.stderr);
    }
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    assert_eq!(world.keys("manifests/").len(), before, "{}", ended.printed());
}

/// Sessions of the program on the server.
fn sessions(cluster: &Cluster) -> String {
    let query = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'kubebackup%'";
    cluster.sql("postgres", query).unwrap()
}
