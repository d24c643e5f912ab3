//! Jobs that lie in a database as rows: a drill restores them and lets nobody run them.
//!
//! The library that would run them is a stand-in: what counts is the name under which the server has loaded it.

use std::fs;
use std::path::Path;

use kubebackup::demo::Ground;

use crate::support::{World, WorldOptions, source_cluster};

/// A library that any server can load, under the name of `pg_cron`.
fn stand_in(directory: &Path) -> String {
    let libraries = "SELECT setting FROM pg_config WHERE name = 'PKGLIBDIR'";
    let libraries = source_cluster().sql("postgres", libraries).unwrap();
    let path = directory.join("pg_cron.so");
    fs::copy(Path::new(&libraries).join("auto_explain.so"), &path).unwrap();
    path.to_string_lossy().into_owned()
}

#[test]
fn a_target_that_would_run_restored_jobs_is_left_as_it_is_until_it_no_longer_would() {
    let ground = Ground::new().unwrap();
    let library = stand_in(ground.path());
    let world = World::with(WorldOptions {
        target_settings: &[
            ("shared_preload_libraries", &library),
            ("cron.database_name", "shop_restored"),
        ],
        ..WorldOptions::default()
    });
    world.source_sql(
        "CREATE SCHEMA cron; CREATE TABLE cron.job (id int PRIMARY KEY, schedule text, command text);
         INSERT INTO cron.job VALUES (1, '* * * * *', 'SELECT charge_all_customers()')",
    );
    world.back_up();
    world.mark_targets();
    world.restored_sql("CREATE TABLE precious AS SELECT 1 AS one");
    let drill = || world.program(&["--output", "json", "drill", "--keep"]).run();
    let certificate = drill().expect(4).json();
    assert_eq!(certificate["cause"], "target_absent", "{certificate}");
    let summary = certificate["summary"].as_str().unwrap();
    assert!(summary.contains("would run jobs that are restored"), "{summary}");
    assert!(summary.contains("pg_cron (cron.database_name)"), "{summary}");
    assert_eq!(world.restored_sql("TABLE precious"), "1");

    for statement in [
        "ALTER SYSTEM SET cron.database_name = 'postgres'",
        "SELECT pg_reload_conf()",
    ] {
        world.target.sql("postgres", statement).unwrap();
    }
    assert_eq!(drill().ok().json()["verdict"], "certified");
    let jobs = "TABLE cron.job";
    assert_eq!(world.restored_sql(jobs), world.source_sql(jobs));
}
