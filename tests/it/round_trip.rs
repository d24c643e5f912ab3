//! Random schemas and rows survive a backup and its restoration, with PostgreSQL as the oracle.

use std::process::{Command, Stdio};

use kubebackup::demo::Cluster;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;

use crate::generator::{self, Encoding, coverage};
use crate::support::{oracle, source_cluster, target_cluster};

/// The generator and the oracle themselves: stock tools bring back what the generator makes, and the oracle agrees.
fn stock_tools_bring_back(encoding: Encoding) {
    let (source, target) = (source_cluster(), target_cluster());
    for cluster in [&source, &target] {
        cluster.sql("postgres", &encoding.create_database("random")).unwrap();
    }
    let case = generator::case(encoding)
        .new_tree(&mut TestRunner::new(proptest::test_runner::Config::default()))
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
