//! Unit tests of the comparison; of what freezes and of the baseline below.

mod baseline;
mod freezing;

use proptest::prelude::*;

use super::compare::{Comparison, Found};
use super::text::relation_of;
use super::{
    Amount, Baseline, Drift, DriftAcceptance, DriftKind, DriftOutcome, DriftRecord, DriftRules, DriftState, frozen,
};
use crate::content::{CatalogueObject, LedgerEntry, LedgerState, QualifiedName, RowTally, TableSource};
use crate::repository::CertificateState;
use crate::repository::layout::{self, Key};
use crate::repository::manifest::{Database, MAX_ROOT_BYTES, Record, Table};
use crate::repository::testing::{Ground, backup_id, draft, head, put_all, rows, time};
use crate::storage::ErrorKind;
use crate::storage::faults::{Effect, Fault, Operation};

const RULES: DriftRules<'static> = DriftRules {
    max_loss_percent: 50,
    min_rows: 1000,
    is_ignored: &|_| false,
};

/// Tables of `public` with so many rows of ten bytes.
fn database(name: &str, tables: &[(&str, u64)]) -> Database {
    let mut head = head(Vec::new());
    head.properties.name = name.to_owned();
    let mut database = Database {
        head,
        tables: Vec::new(),
        sequences: Vec::new(),
        large_objects: Vec::new(),
        materialized_views: Vec::new(),
        ledger: Vec::new(),
        inventory: Vec::new(),
    };
    for (table, rows) in tables {
        add_table(&mut database, QualifiedName::new("public", *table), *rows, rows * 10);
    }
    database
}

fn add_table(database: &mut Database, name: QualifiedName, rows: u64, raw_bytes: u64) {
    let table = serde_json::json!({
        "schema": name.schema, "name": name.name, "source": TableSource::Table, "columns": [],
        "rows": rows, "raw_bytes": raw_bytes, "fingerprint": "0".repeat(32),
    });
    let table: Table = serde_json::from_value(table).unwrap();
    database.tables.push(table);
    add_relation(database, name, "table", LedgerState::Dumped);
}

fn add_relation(database: &mut Database, name: QualifiedName, kind: &str, state: LedgerState) {
    database.ledger.push(LedgerEntry {
        name,
        kind: kind.to_owned(),
        state,
        reason: String::new(),
    });
}

fn add_object(database: &mut Database, object_type: &str, identity: &str) {
    database.inventory.push(CatalogueObject {
        object_type: object_type.to_owned(),
        identity: identity.to_owned(),
        owner: Some("o".to_owned()),
        acl: Vec::new(),
    });
}

fn compared(before: &[Database], after: &[Database], rules: DriftRules<'_>) -> Found {
    let not_included = ["left out".to_owned()];
    let mut comparison = Comparison::new(after, &not_included, rules);
    for database in before.iter().cloned() {
        comparison.take(Record::Database(Box::new(database.head)));
        let tables = database.tables.into_iter().map(Record::Table);
        let ledger = database.ledger.into_iter().map(Record::Ledger);
        let objects = database.inventory.into_iter().map(Record::Object);
        tables
            .chain(ledger)
            .chain(objects)
            .for_each(|record| comparison.take(record));
    }
    comparison.finish()
}

fn told(before: &[Database], after: &[Database]) -> Vec<String> {
    let found = compared(before, after, RULES);
    assert_eq!(found.total, found.findings.len() as u64);
    found.findings.iter().map(ToString::to_string).collect()
}

#[test]
fn a_table_may_lose_half_of_its_rows_and_not_more() {
    let before = [database("shop", &[("orders", 1001)])];
    for (rows, expected) in [(5000, 0), (1001, 0), (501, 0), (500, 1), (0, 1)] {
        let after = [database("shop", &[("orders", rows)])];
        assert_eq!(told(&before, &after).len(), expected, "{rows}");
    }
    let small = [database("shop", &[("orders", 1000)])];
    assert!(told(&small, &[database("shop", &[("orders", 0)])]).is_empty());
    assert_eq!(
        told(&before, &[database("shop", &[("orders", 0)])]),
        ["table public.orders of shop fell from 1,001 rows (9.8 KiB) to 0 rows (0 B)"]
    );
}

#[test]
fn bytes_count_like_rows_from_a_mebibyte_on() {
    let of_bytes = |raw_bytes| {
        let mut database = database("shop", &[]);
        add_table(&mut database, QualifiedName::new("public", "files"), 10, raw_bytes);
        [database]
    };
    assert_eq!(told(&of_bytes(1 << 21), &of_bytes(1 << 19)).len(), 1);
    assert!(told(&of_bytes(1 << 21), &of_bytes(1 << 20)).is_empty());
    assert!(told(&of_bytes(1 << 20), &of_bytes(10)).is_empty());
}

#[test]
fn rows_that_no_longer_compress_are_told_where_both_backups_say_what_they_take() {
    const MIB: u64 = 1 << 20;
    let letters = |raw_bytes: u64, stored_bytes: Option<u64>| {
        let mut database = database("shop", &[]);
        add_table(
            &mut database,
            QualifiedName::new("public", "letters"),
            10_000,
            raw_bytes,
        );
        database.tables[0].stored_bytes = stored_bytes;
        [database]
    };
    let before = letters(10 * MIB, Some(3 * MIB));
    for (what, raw_bytes, stored_bytes, is_told) in [
        ("as bytes: two digits each", 20 * MIB, Some(10 * MIB), true),
        ("in base64", 14 * MIB, Some(10 * MIB + MIB / 2), true),
        ("half of the rows, as bytes", 15 * MIB, Some(6 * MIB + MIB / 2), true),
        ("a third of the rows", 13 * MIB, Some(5 * MIB + MIB / 2), false),
        (
            "a column of random tokens more",
            15 * MIB,
            Some(5 * MIB + MIB / 2),
            false,
        ),
        ("a lower level", 10 * MIB, Some(4 * MIB), false),
        ("longer rows that compress", 30 * MIB, Some(10 * MIB), false),
        ("by a version that did not count", 20 * MIB, None, false),
    ] {
        let found = told(&before, &letters(raw_bytes, stored_bytes));
        assert_eq!(found.len(), usize::from(is_told), "{what}: {found:?}");
    }
    assert_eq!(
        told(&before, &letters(20 * MIB, Some(10 * MIB))),
        [
            "the rows of table public.letters of shop no longer compress, as if encrypted: 20 MiB to 10 MiB, before 10 MiB to 3.0 MiB"
        ]
    );
    let pictures = letters(20 * MIB, Some(10 * MIB));
    for grown in [letters(20 * MIB, Some(10 * MIB)), letters(60 * MIB, Some(30 * MIB))] {
        assert!(told(&pictures, &grown).is_empty(), "they did not compress before");
    }
    assert!(told(&letters(10 * MIB, None), &letters(20 * MIB, Some(10 * MIB))).is_empty());
    assert!(
        told(&letters(MIB, Some(MIB / 3)), &letters(2 * MIB, Some(MIB))).is_empty(),
        "too small to tell"
    );
}

#[test]
fn a_table_that_is_gone_is_told_once_however_small_and_with_what_hangs_on_it() {
    let mut before = database("shop", &[("orders", 0), ("kept", 5)]);
    for (object_type, identity) in [
        ("table", "public.orders"),
        ("table column", "public.orders.id"),
        ("table constraint", "orders_pkey on public.orders"),
        ("trigger", "\"on us\" on public.orders"),
        ("publication relation", "public.orders in publication p"),
        ("index", "public.orders_pkey"),
        ("table column", "public.kept.gone"),
        ("function", "public.f(orders)"),
    ] {
        add_object(&mut before, object_type, identity);
    }
    let after = database("shop", &[("kept", 5)]);
    assert_eq!(
        told(&[before], &[after]),
        [
            "table public.orders of shop is gone, with 0 rows (0 B)",
            "1 of type 'function' of shop gone: public.f(orders)",
            "1 of type 'table column' of shop gone: public.kept.gone",
        ]
    );
}

#[test]
fn a_table_whose_rows_are_left_out_by_a_new_rule_is_lost_and_says_why() {
    let before = [database("shop", &[("log", 7)])];
    let mut after = database("shop", &[]);
    add_relation(
        &mut after,
        QualifiedName::new("public", "log"),
        "table",
        LedgerState::Excluded,
    );
    assert_eq!(
        told(&before, &[after]),
        ["table public.log of shop is gone (now: excluded), with 7 rows (70 B)"]
    );
}

#[test]
fn a_table_that_was_renamed_or_partitioned_reads_as_lost() {
    let before = [database("shop", &[("orders", 7)])];
    let renamed = [database("shop", &[("old_orders", 7)])];
    assert_eq!(told(&before, &renamed).len(), 1);
    let mut partitioned = database("shop", &[("orders_1", 7)]);
    let name = QualifiedName::new("public", "orders");
    add_relation(&mut partitioned, name, "partitioned table", LedgerState::Structure);
    let told = told(&before, &[partitioned]);
    assert_eq!(
        told,
        ["table public.orders of shop is gone (now: structure), with 7 rows (70 B)"]
    );
}

#[test]
fn a_truncated_schema_is_told_though_each_of_its_tables_is_small() {
    let schema = |rows: [u64; 3]| {
        let mut database = database("shop", &[("elsewhere", 10)]);
        for (number, rows) in rows.into_iter().enumerate() {
            let name = QualifiedName::new("billing", format!("t{number}"));
            add_table(&mut database, name, rows, rows * 10);
        }
        [database]
    };
    assert_eq!(
        told(&schema([10, 20, 0]), &schema([0, 0, 0])),
        ["the tables of schema billing of shop fell from 30 rows (300 B) to 0 rows (0 B)"]
    );
    assert!(told(&schema([10, 20, 0]), &schema([0, 1, 0])).is_empty());
    // One table alone may be a queue.
    assert!(told(&schema([10, 0, 0]), &schema([0, 0, 0])).is_empty());
    // Together they are many.
    assert_eq!(told(&schema([900, 900, 900]), &schema([400, 400, 400])).len(), 1);
}

#[test]
fn a_database_is_lost_as_one_and_so_is_one_that_settings_leave_out() {
    let before = [
        database("shop", &[("a", 5)]),
        database("left out", &[("b", 5), ("c", 6)]),
    ];
    assert_eq!(
        told(&before, &[]),
        [
            "database left out is gone (now: not included), with 11 rows (110 B)",
            "database shop is gone, with 5 rows (50 B)",
        ]
    );
}

#[test]
fn objects_are_counted_by_type_and_what_belongs_to_extensions_and_the_server_comes_and_goes() {
    let mut before = database("shop", &[]);
    for name in ["a", "b", "c", "d", "e"] {
        add_object(&mut before, "function", &format!("public.{name}()"));
        let name = QualifiedName::new("public", name);
        add_relation(&mut before, name, "table", LedgerState::Extension);
    }
    add_relation(
        &mut before,
        QualifiedName::new("public", "v"),
        "view",
        LedgerState::Structure,
    );
    add_object(&mut before, "view", "public.v");
    before.inventory.push(CatalogueObject {
        object_type: "function".to_owned(),
        identity: "pg_catalog.pg_reload_conf()".to_owned(),
        owner: None,
        acl: vec!["a=X/(owner)".to_owned()],
    });
    assert_eq!(
        told(&[before], &[database("shop", &[])]),
        [
            "5 of type 'function' of shop gone: public.a(), public.b(), public.c(), ...",
            "1 of type 'view' of shop gone: public.v",
        ]
    );
}

#[test]
fn large_objects_fall_like_a_table() {
    let with = |rows, raw_bytes| {
        let mut database = database("shop", &[]);
        database.head.large_objects = RowTally {
            rows,
            raw_bytes,
            ..RowTally::default()
        };
        [database]
    };
    assert_eq!(
        told(&with(2000, 4 << 20), &with(0, 0)),
        ["the large objects of shop fell from 4.0 MiB to 0 B"]
    );
    assert!(told(&with(900, 1 << 20), &with(0, 0)).is_empty());
}

#[test]
fn ignored_tables_may_go_with_all_that_hangs_on_them() {
    let mut before = database("shop", &[("events_1", 5000), ("events_2", 5000)]);
    add_object(&mut before, "table constraint", "events_1_pkey on public.events_1");
    let rules = DriftRules {
        is_ignored: &|name| name.name.starts_with("events_"),
        ..RULES
    };
    let found = compared(&[before], &[database("shop", &[("events_2", 0)])], rules);
    assert_eq!(found.findings, []);
}

#[test]
fn the_gravest_findings_are_listed_and_all_are_counted() {
    let names: Vec<String> = (0..2000).map(|number| format!("t{number}")).collect();
    let tables: Vec<(&str, u64)> = names
        .iter()
        .zip(1..)
        .map(|(name, rows)| (name.as_str(), rows))
        .collect();
    let found = compared(&[database("shop", &tables)], &[database("shop", &[])], RULES);
    assert_eq!((found.total, found.findings.len()), (2000, super::MAX_FINDINGS));
    let rows: Vec<u64> = found.findings.iter().map(|finding| finding.before.rows).collect();
    assert_eq!(
        rows,
        (0..super::MAX_FINDINGS as u64).map(|at| 2000 - at).collect::<Vec<_>>()
    );
}

#[test]
fn the_relation_that_an_object_hangs_on_is_read_off_its_name() {
    let cases = [
        ("public.t.id", Some(("public", "t"))),
        ("\"a.b\".\"c\"\"d\".id", Some(("a.b", "c\"d"))),
        ("fk on public.t", Some(("public", "t"))),
        ("\"x on y\" on public.\"T\"", Some(("public", "T"))),
        ("public.t in publication p", Some(("public", "t"))),
        ("public.t", None),
        ("public.f(a.b.c)", None),
        ("public", None),
        ("\"open", None),
    ];
    for (identity, expected) in cases {
        let expected = expected.map(|(schema, name)| QualifiedName::new(schema, name));
        assert_eq!(relation_of(identity), expected, "{identity}");
    }
}

#[test]
fn what_a_newer_version_may_say_is_read_and_never_taken_for_harmless() {
    let text = r#"{"outcome":"guessed","total":0,"findings":[{"kind":"stale","database":"d","before":{},"after":{}}]}"#;
    let drift: Drift = serde_json::from_str(text).unwrap();
    assert_eq!(drift.findings[0].kind, DriftKind::Unknown);
    assert_eq!(drift.findings[0].before, Amount::default());
    assert!(drift.is_alarm());
    assert_eq!(DriftState::of(Some(&drift)), DriftState::NotCompared);
}
