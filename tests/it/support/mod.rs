//! The ground that tests stand on: clusters copied from templates, an S3 server, the real program, and the oracle.
//!
//! A test's arrange step is one line: `World::start()` gives a source, a target, a bucket and a settings file like a
//! user's. Nothing sleeps: `wait::until` polls a fact up to a deadline.
#![allow(
    dead_code,
    unused_imports,
    reason = "a fixture may be ahead of the tests that use it"
)]

pub(crate) mod agents;
pub(crate) mod browser;
pub(crate) mod certificates;
pub(crate) mod crash;
pub(crate) mod doctor;
pub(crate) mod http;
pub(crate) mod interrupt;
pub(crate) mod library;
pub(crate) mod moto;
pub(crate) mod oracle;
pub(crate) mod privilege;
pub(crate) mod program;
pub(crate) mod prometheus;
pub(crate) mod s3;
pub(crate) mod s3_proxy;
pub(crate) mod small_disk;
pub(crate) mod tcp_proxy;
pub(crate) mod template;
pub(crate) mod tls_front;
pub(crate) mod wait;
pub(crate) mod world;

pub(crate) use program::{Ended, Program, Running};
pub(crate) use s3::S3;
pub(crate) use template::{source_cluster, source_cluster_with, target_cluster, target_cluster_with};
pub(crate) use world::{BACKUP_PASSWORD, BACKUP_ROLE, World, WorldOptions, create_backup_role};

#[test]
fn a_world_starts_with_two_different_clusters_and_a_bucket_and_the_program_runs_in_it() {
    let world = World::start();
    let identifier = "SELECT system_identifier FROM pg_control_system()";
    assert_ne!(
        world.source.sql("postgres", identifier).unwrap(),
        world.target.sql("postgres", identifier).unwrap()
    );
    world.source_sql("CREATE TABLE t AS SELECT 1 AS one");
    let as_backup_role = world
        .source
        .sql_as(BACKUP_ROLE, BACKUP_PASSWORD, world.database(), "TABLE t")
        .unwrap();
    assert_eq!(as_backup_role, "1");
    assert!(
        world
            .source
            .sql_as(BACKUP_ROLE, "wrong", world.database(), "TABLE t")
            .is_err()
    );
    assert!(world.settings_file.exists());
}
