//! Drift on a real database: what freezes deletion, what thaws it, and what does neither.

mod freezing;
mod verbs;

use kubebackup::repository::drift::{Drift, DriftAcceptance};
use kubebackup::repository::id::{BackupId, DrillId};
use kubebackup::repository::manifest::Manifest;
use kubebackup::repository::{CertificateState, Repository};

use crate::support::World;
use crate::support::library::{backup_options, memory_repository, try_backup};

/// A database with tables of every size, backed up and certified.
struct Scene {
    world: World,
    repository: Repository,
}

impl Scene {
    async fn new() -> Self {
        let world = World::start();
        world.source_sql(
            "CREATE TABLE orders AS SELECT n AS id, md5(n::text) AS note FROM generate_series(1, 5000) n;
             CREATE TABLE settings AS SELECT n AS id FROM generate_series(1, 20) n;
             ALTER TABLE orders ADD PRIMARY KEY (id);
             CREATE VIEW latest AS SELECT max(id) FROM orders;
             CREATE SCHEMA billing;
             CREATE TABLE billing.rates AS SELECT n AS id FROM generate_series(1, 30) n;
             CREATE TABLE billing.terms AS SELECT n AS id FROM generate_series(1, 40) n;
             CREATE FUNCTION billing.fee(n int) RETURNS int LANGUAGE sql AS 'SELECT n + 1';",
        );
        let scene = Self {
            world,
            repository: memory_repository().await,
        };
        scene.certified().await;
        scene
    }

    async fn backup(&self) -> Manifest {
        let options = backup_options(&self.world);
        try_backup(&self.world, &self.repository, &options)
            .await
            .unwrap()
            .manifest
    }

    /// What the backup of this state says it lacks.
    async fn drift(&self) -> Drift {
        self.backup().await.drift.unwrap()
    }

    /// One more backup, with a drill's word for it.
    async fn certified(&self) -> Manifest {
        let manifest = self.backup().await;
        self.certify(&manifest.backup_id).await;
        manifest
    }

    async fn certify(&self, backup_id: &BackupId) {
        let drill_id = DrillId::new(jiff::Timestamp::now(), rand::random());
        let body = b"{}".as_slice().into();
        let put = self
            .repository
            .put_certificate(backup_id, &drill_id, CertificateState::Certified, body);
        put.await.unwrap();
    }

    async fn accept(&self, backup_id: &BackupId) {
        let stored = self.repository.read_manifest(backup_id).await.unwrap();
        let (by, reason) = ("a test".to_owned(), "it was meant".to_owned());
        let acceptance = DriftAcceptance::new(&stored, jiff::Timestamp::now(), by, reason);
        assert!(self.repository.accept_drift(&acceptance).await.unwrap());
    }

    async fn is_frozen(&self) -> bool {
        self.repository.frozen("production").await.unwrap().is_some()
    }

    fn sql(&self, statements: &str) {
        self.world.source_sql(statements);
    }
}

/// The findings as people read them.
fn told(drift: &Drift) -> Vec<String> {
    drift.findings.iter().map(ToString::to_string).collect()
}
