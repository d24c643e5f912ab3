//! A fixed cluster with one of everything that a table may hold, through the real program from backup to certificate.

use kubebackup::demo::Cluster;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;

use crate::generator::{self, Encoding, coverage};
use crate::support::{World, WorldOptions, oracle};

const DATABASES: &[(&str, Encoding)] = &[
    ("zoo", Encoding::Utf8),
    ("zoo_latin1", Encoding::Latin1),
    ("zoo_ascii", Encoding::SqlAscii),
];

/// What no generator makes.
const ODD_ONES: &str = "
CREATE TABLE wide (id integer);
DO $$ BEGIN EXECUTE 'ALTER TABLE wide ' || (SELECT string_agg(format('ADD c%s smallint DEFAULT %s', i, i % 7), ', ') FROM generate_series(1, 1500) i); END $$;
INSERT INTO wide SELECT FROM generate_series(1, 3);
CREATE EXTENSION postgres_fdw;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'nowhere.invalid');
CREATE FOREIGN TABLE far_away (id integer) SERVER elsewhere;
CREATE TYPE heavy AS ENUM ('a', 'b', 'c');
CREATE TABLE by_enum (k heavy, v integer) PARTITION BY HASH (k);
CREATE TABLE by_enum_0 PARTITION OF by_enum FOR VALUES WITH (MODULUS 2, REMAINDER 0) PARTITION BY LIST (k);
CREATE TABLE by_enum_0_rest PARTITION OF by_enum_0 DEFAULT;
CREATE TABLE by_enum_1 PARTITION OF by_enum FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO by_enum SELECT (enum_range(NULL::heavy))[1 + i % 3], i FROM generate_series(1, 3000) i;";

#[test]
fn the_zoo_in_three_encodings_is_certified_and_comes_back_equal() {
    let names: Vec<&str> = DATABASES.iter().map(|(name, _)| *name).collect();
    let world = World::with(WorldOptions {
        databases: &names,
        ..WorldOptions::default()
    });
    fill(&world.source);
    world.program(&["backup"]).run().ok();
    world.mark_targets();
    let drilled = world.program(&["drill", "--keep"]).run().ok();
    assert!(drilled.stdout.starts_with("CERTIFIED"), "{}", drilled.stdout);
    for not_tested in ["far_away", "(foreign)", "(unlogged)"] {
        assert!(drilled.stdout.contains(not_tested), "{not_tested}: {}", drilled.stdout);
    }
    for name in names {
        let restored = format!("{name}_restored");
        let encoding = "SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()";
        assert_eq!(
            world.source.sql(name, encoding).unwrap(),
            world.target.sql(&restored, encoding).unwrap()
        );
        oracle::assert_same(
            &oracle::contents(&world.source, name),
            &oracle::contents(&world.target, &restored),
        );
    }
}

fn fill(source: &Cluster) {
    for (name, encoding) in DATABASES {
        source.sql("postgres", &format!("DROP DATABASE \"{name}\"")).unwrap();
        source.sql("postgres", &encoding.create_database(name)).unwrap();
        let case = generator::case(*encoding)
            .new_tree(&mut TestRunner::deterministic())
            .unwrap()
            .current();
        source.sql(name, &case.sql()).unwrap();
        coverage::assert_complete(source, name);
    }
    source.sql(DATABASES[0].0, ODD_ONES).unwrap();
}
