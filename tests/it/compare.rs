//! The comparison: silent about a faithful dump and restore, and naming every object that is not as it was.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kubebackup::backup::{AssertionQuery, BackupOptions, backup};
use kubebackup::content::{CatalogueObject, LedgerState};
use kubebackup::demo::Cluster;
use kubebackup::drill::{Check, CheckName, CompareOptions, Comparison, Outcome, compare_database, compare_inventory};
use kubebackup::postgres::definitions::{DefinitionDifference, compare_definitions, dump_definitions};
use kubebackup::postgres::inventory::read_inventory;
use kubebackup::postgres::program::ClientPrograms;
use kubebackup::postgres::scratch::read_scratch;
use kubebackup::postgres::{ConnectOptions, TlsMode, connect};
use kubebackup::repository::Repository;
use kubebackup::repository::id::RepositoryId;
use kubebackup::repository::manifest::Backup;
use kubebackup::storage::MemoryStore;
use kubebackup::telemetry::progress::Silent;
use tokio_util::sync::CancellationToken;

use crate::support::{BACKUP_PASSWORD, BACKUP_ROLE, create_backup_role, source_cluster};

mod differences;
mod every_class;

/// One object of every class and the fixed points of a dump and restore.
const EVERY_CLASS: &str = include_str!("compare/every_class.sql");

/// A cluster with a `source` database and a `target` that stock `pg_dump | pg_restore` made from it.
struct Pair {
    cluster: Cluster,
    programs: ClientPrograms,
    archive: Bytes,
}

impl Pair {
    async fn with(definitions: &str) -> Self {
        let cluster = source_cluster();
        create_backup_role(&cluster, true);
        cluster
            .sql(
                "postgres",
                "CREATE ROLE app_owner; CREATE ROLE app_user; CREATE DATABASE source; CREATE DATABASE target",
            )
            .unwrap();
        cluster.sql("source", definitions).unwrap();
        let major = cluster.sql("postgres", "SELECT current_setting('server_version_num')::int / 10000");
        let major = major.unwrap().parse().unwrap();
        let programs = ClientPrograms::find(major, Some(cluster.bin_directory()))
            .await
            .unwrap();
        let archive = run_client(&cluster, "pg_dump", &["-Fc", "-d", &cluster.dsn("postgres", "source")]);
        let dump = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(dump.path(), &archive).unwrap();
        let path = dump.path().to_str().unwrap();
        run_client(
            &cluster,
            "pg_restore",
            &["-e", "-d", &cluster.dsn("postgres", "target"), path],
        );
        let schema = ["-Fc", "-s", "-d", &cluster.dsn("postgres", "source")];
        let archive = run_client(&cluster, "pg_dump", &schema).into();
        Self {
            cluster,
            programs,
            archive,
        }
    }

    fn options(&self, database: &str) -> ConnectOptions {
        connect_options(&self.cluster, database)
    }

    fn as_backup_role(&self, database: &str) -> ConnectOptions {
        ConnectOptions {
            user: BACKUP_ROLE.to_owned(),
            password: BACKUP_PASSWORD.into(),
            ..self.options(database)
        }
    }

    /// Makes the database `altered`: the target with `statements` done to it.
    fn alter(&self, statements: &str) {
        let clone = "DROP DATABASE IF EXISTS altered WITH (FORCE); \
                     CREATE DATABASE altered TEMPLATE target STRATEGY file_copy";
        self.cluster.sql("postgres", clone).unwrap();
        self.cluster.sql("altered", statements).unwrap();
    }

    fn scratch_databases(&self) -> String {
        let scratch = "SELECT datname FROM pg_database WHERE datname ~ 'scratch'";
        self.cluster.sql("postgres", scratch).unwrap()
    }

    async fn inventory(&self, database: &str) -> Vec<CatalogueObject> {
        let session = connect(&self.options(database), "test").await.unwrap();
        read_inventory(&session.client).await.unwrap()
    }

    async fn scratch_definitions(&self) -> String {
        let cancel = CancellationToken::new();
        read_scratch(&self.options("target"), &self.programs, &self.archive, 2, &cancel)
            .await
            .unwrap()
            .unwrap()
            .definitions
    }

    async fn differences(&self, database: &str, scratch: &str) -> Vec<DefinitionDifference> {
        let found = dump_definitions(&self.options(database), &self.programs).await.unwrap();
        compare_definitions(&found, scratch).differences
    }
}

fn connect_options(cluster: &Cluster, database: &str) -> ConnectOptions {
    ConnectOptions {
        host: "127.0.0.1".to_owned(),
        port: cluster.port(),
        user: cluster.superuser().to_owned(),
        database: database.to_owned(),
        password: cluster.password().into(),
        tls: TlsMode::Disable,
        connect_timeout: Duration::from_secs(10),
    }
}

fn run_client(cluster: &Cluster, program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = std::process::Command::new(cluster.bin_directory().join(program))
        .args(arguments)
        .env("PGPASSWORD", cluster.password())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Objects of failed checks.
fn failed(checks: &[Check]) -> Vec<String> {
    checks
        .iter()
        .filter(|check| check.outcome == Outcome::Failed)
        .map(|check| check.object.clone().unwrap_or_default())
        .collect()
}
