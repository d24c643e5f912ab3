//! Drills of real backups on a second cluster, by what becomes of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kubebackup::backup::{BackupOptions, backup};
use kubebackup::demo::Cluster;
use kubebackup::drill::{Certificate, DrillOptions, Error, drill};
use kubebackup::postgres::{ConnectOptions, TlsMode};
use kubebackup::repository::id::{BackupId, RepositoryId};
use kubebackup::repository::{CertificateState, Repository};
use kubebackup::storage::MemoryStore;
use kubebackup::telemetry::progress::{Progress, Silent};
use tokio_util::sync::CancellationToken;

use crate::support::world::mark_disposable;
use crate::support::{BACKUP_PASSWORD, BACKUP_ROLE, create_backup_role, source_cluster, target_cluster};

mod certified;
mod circumstances;
mod dying;
mod failed;
mod files;
mod full;
mod interrupted;
mod locks;
mod login;
mod together;
mod unverified;

/// A source with a backup, and a marked target on another cluster.
struct Ground {
    source: Cluster,
    target: Cluster,
    repository: Repository,
    backup_id: BackupId,
}

impl Ground {
    async fn with(definitions: &str) -> Self {
        let source = source_cluster();
        create_backup_role(&source, true);
        let roles = "CREATE ROLE app_owner; CREATE ROLE app_user; CREATE DATABASE shop OWNER app_owner";
        source.sql("postgres", roles).unwrap();
        source.sql("shop", definitions).unwrap();
        let target = target_cluster();
        target.sql("postgres", "CREATE DATABASE restored").unwrap();
        let id = RepositoryId::new(11);
        let repository = Repository::open_or_create(Arc::new(MemoryStore::new()), id)
            .await
            .unwrap();
        mark_disposable(&target, "restored", repository.id().as_str());
        let mut ground = Self {
            source,
            target,
            repository,
            backup_id: BackupId::new(jiff::Timestamp::UNIX_EPOCH, 0),
        };
        ground.back_up(&["shop"]).await;
        ground
    }

    async fn back_up(&mut self, databases: &[&str]) {
        let mut options = BackupOptions::new("test");
        options.databases = Some(databases.iter().map(ToString::to_string).collect());
        let source = connect_options(&self.source, BACKUP_ROLE, BACKUP_PASSWORD, "shop");
        let (progress, cancel) = (Arc::new(Silent), CancellationToken::new());
        let stored = backup(&source, &self.repository, &options, progress, &cancel)
            .await
            .unwrap();
        self.backup_id = stored.manifest.backup_id;
    }

    fn target_options(&self) -> ConnectOptions {
        self.target_of(self.target.superuser(), self.target.password())
    }

    fn target_of(&self, user: &str, password: &str) -> ConnectOptions {
        connect_options(&self.target, user, password, "restored")
    }

    fn options(&self) -> DrillOptions {
        DrillOptions {
            targets: BTreeMap::from([("shop".to_owned(), self.target_options())]),
            ..DrillOptions::default()
        }
    }

    async fn drill(&self, options: &DrillOptions) -> Certificate {
        let cancel = CancellationToken::new();
        drill(&self.repository, &self.backup_id, options, &Silent, &cancel)
            .await
            .unwrap()
    }

    /// States of the objects beside the backup, in order.
    async fn states(&self) -> Vec<CertificateState> {
        let listed = self.repository.certificates_of(&self.backup_id).await.unwrap();
        listed.into_iter().map(|certificate| certificate.state).collect()
    }

    /// The key of the chunk that holds this table's first rows.
    async fn chunk_of(&self, table: &str) -> String {
        let backup = self.repository.read_backup(&self.backup_id).await.unwrap();
        let table = backup.databases[0]
            .tables
            .iter()
            .find(|stored| stored.name().name == table)
            .unwrap();
        backup.chunks[table.segments[0].chunk as usize].key.clone()
    }

    async fn flip_a_byte(&self, key: &str) {
        let store = self.repository.store();
        let mut bytes = store.get(key).await.unwrap().to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        store.delete(key).await.unwrap();
        store.put_new(key, bytes.into()).await.unwrap();
    }

    fn restored(&self, query: &str) -> String {
        self.target.sql("restored", query).unwrap()
    }
}

fn connect_options(cluster: &Cluster, user: &str, password: &str, database: &str) -> ConnectOptions {
    ConnectOptions {
        host: "127.0.0.1".to_owned(),
        port: cluster.port(),
        user: user.to_owned(),
        database: database.to_owned(),
        password: password.into(),
        tls: TlsMode::Disable,
        connect_timeout: Duration::from_secs(10),
    }
}

/// Does something the first time that a phase begins.
struct AtPhase<'a> {
    phase: &'a str,
    action: &'a (dyn Fn() + Send + Sync),
    done: AtomicBool,
}

impl<'a> AtPhase<'a> {
    fn new(phase: &'a str, action: &'a (dyn Fn() + Send + Sync)) -> Self {
        Self {
            phase,
            action,
            done: AtomicBool::new(false),
        }
    }
}

impl Progress for AtPhase<'_> {
    fn begin(&self, phase: &str, _total_bytes: Option<u64>) {
        if phase == self.phase && !self.done.swap(true, Ordering::SeqCst) {
            (self.action)();
        }
    }

    fn advance(&self, _bytes: u64) {}

    fn end(&self) {}
}

impl Ground {
    /// Drills and does something once a phase begins.
    async fn drill_and(&self, phase: &str, action: &(dyn Fn() + Send + Sync), cancel: &CancellationToken) -> Outcomes {
        self.drill_as(&self.options(), phase, action, cancel).await
    }

    async fn drill_as(
        &self,
        options: &DrillOptions,
        phase: &str,
        action: &(dyn Fn() + Send + Sync),
        cancel: &CancellationToken,
    ) -> Outcomes {
        let progress = AtPhase::new(phase, action);
        let ended = drill(&self.repository, &self.backup_id, options, &progress, cancel).await;
        assert!(progress.done.into_inner(), "the phase {phase} was never reached");
        ended
    }
}

type Outcomes = Result<Certificate, Error>;
