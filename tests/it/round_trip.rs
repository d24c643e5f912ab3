//! Random schemas and rows survive a backup and its restoration, with PostgreSQL as the oracle.

use std::process::{Command, Stdio};

use kubebackup::demo::{Cluster, shop};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

use crate::generator::{self, Case, Encoding, coverage};
use crate::support::library::{backup_once, blocking_checks, memory_repository, restore_and_compare};
use crate::support::{World, oracle, source_cluster, target_cluster};

/// Random databases of one encoding come back equal, by our own comparison and by the oracle's.
fn random_databases_come_back(encoding: Encoding, cases: u32) {
    let world = World::start();
    let config = Config {
        cases: if std::env::var_os("PROPTEST_CASES").is_some() {
            Config::default().cases
        } else {
            cases
        },
        max_shrink_iters: 60,
        failure_persistence: None,
        ..Config::default()
    };
    let ended = TestRunner::new(config).run(&generator::case(encoding), |case| {
        comes_back(&world, &case).map_err(TestCaseError::fail)
    });
    match ended {
        Ok(()) => {}
        Err(TestError::Fail(reason, case)) => {
            let path = format!("{}/round-trip-{}.sql", env!("CARGO_TARGET_TMPDIR"), encoding.name());
            std::fs::write(&path, case.sql()).unwrap();
            panic!("a database did not come back equal (made by {path}):\n{reason}");
        }
        Err(aborted) => panic!("{aborted}"),
    }
}

fn comes_back(world: &World, case: &Case) -> Result<(), String> {
    recreate(&world.source, world.database(), Some(case.encoding));
    recreate(&world.target, "again", None);
    world.source_sql(&case.sql());
    if case.is_whole() {
        coverage::assert_complete(&world.source, world.database());
    }
    same_after_a_round_trip(world)
}

/// Backs the world's database up, restores it into `again` on the target, and asks the oracle.
fn same_after_a_round_trip(world: &World) -> Result<(), String> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let comparison = runtime.block_on(async {
        let repository = memory_repository().await;
        let backup = backup_once(world, &repository).await;
        restore_and_compare(world, &repository, &backup, "again").await
    });
    let comparison = comparison.map_err(|error| format!("{error:#}"))?;
    let (source, again) = (
        oracle::contents(&world.source, world.database()),
        oracle::contents(&world.target, "again"),
    );
    let mut problems = blocking_checks(&comparison);
    problems.extend(oracle::differences(&source, &again));
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems.join("\n"))
    }
}

/// Leaves an empty database of `encoding`, or none.
fn recreate(cluster: &Cluster, database: &str, encoding: Option<Encoding>) {
    cluster
        .sql(
            "postgres",
            &format!("DROP DATABASE IF EXISTS \"{database}\" WITH (FORCE)"),
        )
        .unwrap();
    if let Some(encoding) = encoding {
        cluster.sql("postgres", &encoding.create_database(database)).unwrap();
    }
}

#[test]
fn random_databases_in_utf8_come_back_equal() {
    random_databases_come_back(Encoding::Utf8, 3);
}

#[test]
fn random_databases_in_latin1_come_back_equal() {
    random_databases_come_back(Encoding::Latin1, 2);
}

#[test]
fn random_databases_in_sql_ascii_come_back_equal() {
    random_databases_come_back(Encoding::SqlAscii, 2);
}

#[test]
fn the_shop_comes_back_equal() {
    let world = World::start();
    shop::fill(&world.source, world.database()).unwrap();
    same_after_a_round_trip(&world).unwrap();
}

/// The generator and the oracle themselves: stock tools bring back what the generator makes, and the oracle agrees.
fn stock_tools_bring_back(encoding: Encoding) {
    let (source, target) = (source_cluster(), target_cluster());
    for cluster in [&source, &target] {
        cluster.sql("postgres", &encoding.create_database("random")).unwrap();
    }
    let case = generator::case(encoding)
        .new_tree(&mut TestRunner::deterministic())
        .unwrap()
        .current();
    source.sql("random", &case.sql()).unwrap();
    coverage::assert_complete(&source, "random");
    dump_and_restore(&source, &target, "random");
    oracle::assert_same(
        &oracle::contents(&source, "random"),
        &oracle::contents(&target, "random"),
    );
}

fn dump_and_restore(source: &Cluster, target: &Cluster, database: &str) {
    let mut dump = Command::new(source.bin_directory().join("pg_dump"))
        .args(["-Fc", "-Z0", "-d", &source.dsn(source.superuser(), database)])
        .env("PGPASSWORD", source.password())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let restore = Command::new(target.bin_directory().join("pg_restore"))
        .args(["--exit-on-error", "-d", &target.dsn(target.superuser(), database)])
        .env("PGPASSWORD", target.password())
        .stdin(dump.stdout.take().unwrap())
        .output()
        .unwrap();
    assert!(dump.wait().unwrap().success());
    assert!(restore.status.success(), "{}", String::from_utf8_lossy(&restore.stderr));
}

#[test]
fn stock_tools_bring_back_what_the_generator_makes_in_utf8() {
    stock_tools_bring_back(Encoding::Utf8);
}

#[test]
fn stock_tools_bring_back_what_the_generator_makes_in_latin1() {
    stock_tools_bring_back(Encoding::Latin1);
}

#[test]
fn stock_tools_bring_back_what_the_generator_makes_in_sql_ascii() {
    stock_tools_bring_back(Encoding::SqlAscii);
}
