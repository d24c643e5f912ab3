//! What keeps a restore from beginning, and what stops it.

use kubebackup::content::QualifiedName;
use kubebackup::restore::preflight::Problem;
use kubebackup::restore::{Error, LoadFault, RestoreOptions};

use super::{creating, try_restore};
use crate::support::World;
use crate::support::library::{backup_once, memory_repository};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_not_empty_is_refused_and_so_are_missing_extensions() {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT 1 AS one");
    let repository = memory_repository().await;
    let mut backup = backup_once(&world, &repository).await;
    world.restored_sql("CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'");
    let extension = |name: &str| kubebackup::content::Extension {
        name: name.to_owned(),
        version: "1.0".to_owned(),
        schema: "public".to_owned(),
    };
    backup.databases[0]
        .head
        .extensions
        .extend([extension("no_such"), extension("nor_this")]);
    let into = world.restored();
    let result = try_restore(&world, &repository, &backup, &into, &RestoreOptions::default()).await;
    let Err(Error::Preflight(problems)) = result else {
        panic!("{result:?}")
    };
    assert_eq!(
        problems,
        [
            Problem::MissingExtensions(vec!["no_such 1.0".to_owned(), "nor_this 1.0".to_owned()]),
            Problem::NotEmpty {
                database: "\"shop_restored\"".to_owned(),
                objects: vec!["function public.mine()".to_owned()],
            },
        ]
    );
    backup.databases[0].head.extensions.clear();
    let result = try_restore(&world, &repository, &backup, &into, &creating()).await;
    assert!(
        matches!(&result, Err(Error::Preflight(problems)) if matches!(problems[..], [Problem::DatabaseExists { .. }]))
    );
    let result = try_restore(&world, &repository, &backup, "nowhere", &RestoreOptions::default()).await;
    assert!(
        matches!(&result, Err(Error::Preflight(problems)) if matches!(problems[..], [Problem::DatabaseAbsent { .. }]))
    );
    backup.manifest.source.server_version_num = 180_000;
    let result = try_restore(&world, &repository, &backup, "nowhere", &creating()).await;
    assert!(
        matches!(&result, Err(Error::Preflight(problems)) if matches!(problems[0], Problem::TargetOlder { .. })),
        "{result:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_that_says_another_number_of_rows_names_its_table() {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT n FROM generate_series(1, 1000) n");
    let repository = memory_repository().await;
    let mut backup = backup_once(&world, &repository).await;
    let table = &mut backup.databases[0].tables[0];
    table.segments[0].rows += 1;
    table.tally.rows += 1;
    let error = try_restore(&world, &repository, &backup, "back", &creating())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Rows { table, stored: 1001, loaded: 1000 } if table.name == "t"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fault_for_tests_drops_one_row_and_nobody_here_notices() {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT n FROM generate_series(1, 1000) n");
    let repository = memory_repository().await;
    let backup = backup_once(&world, &repository).await;
    let options = RestoreOptions {
        fault: Some(LoadFault::DropRow(QualifiedName::new("public", "t"))),
        ..creating()
    };
    try_restore(&world, &repository, &backup, "back", &options)
        .await
        .unwrap();
    assert_eq!(world.target.sql("back", "SELECT count(*) FROM t").unwrap(), "999");
}
