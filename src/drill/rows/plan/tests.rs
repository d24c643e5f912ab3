//! Which tables are read in parts, in which order, and that their parts are the whole.

use proptest::prelude::*;

use super::*;

fn unit(name: &str, raw_bytes: u64) -> Unit {
    let description = TableDescription {
        name: QualifiedName::new("public", name),
        source: TableSource::Table,
        columns: vec!["a".to_owned()],
        generated_columns: Vec::new(),
        load_through: None,
    };
    Unit {
        name: description.name.clone(),
        leaves: 0,
        statement: String::new(),
        refusal: None,
        expected: RowTally {
            raw_bytes,
            ..RowTally::default()
        },
        generated: None,
        in_parts: Some(description),
    }
}

/// Names in the order of their turns, and of those that are read together.
fn arranged(units: Vec<Unit>, jobs: usize) -> (String, String) {
    let plan = arrange(units, jobs, "UTF8".to_owned());
    let names = |numbers: &[usize]| {
        let names: Vec<&str> = numbers
            .iter()
            .map(|number| plan.units[*number].name.name.as_str())
            .collect();
        names.join(" ")
    };
    (names(&plan.turns), names(&plan.read_together()))
}

#[test]
fn a_table_beyond_its_fair_share_has_a_turn_for_each_session_where_a_part_of_it_would_stand() {
    let units = || vec![unit("a", 60), unit("b", 30), unit("c", 10)];
    assert_eq!(arranged(units(), 2), ("b a a c".to_owned(), "a".to_owned()));
    assert_eq!(
        arranged(units(), 1),
        ("a b c".to_owned(), String::new()),
        "nobody to share with"
    );
    let dominating = vec![unit("a", 97), unit("b", 2), unit("c", 1)];
    assert_eq!(arranged(dominating, 3), ("a a a b c".to_owned(), "a".to_owned()));
    let even = vec![unit("a", 50), unit("b", 50)];
    assert_eq!(arranged(even, 2), ("a b".to_owned(), String::new()));
    let empty = vec![unit("a", 0), unit("b", 0)];
    assert_eq!(arranged(empty, 2), ("a b".to_owned(), String::new()));
}

#[test]
fn what_is_not_one_whole_table_is_never_read_in_parts() {
    let root = Unit {
        in_parts: None,
        ..unit("root", 90)
    };
    assert_eq!(
        arranged(vec![root, unit("b", 10)], 2),
        ("root b".to_owned(), String::new())
    );
    let mut table: Table = serde_json::from_value(serde_json::json!({
        "schema": "public", "name": "t", "source": "table", "columns": ["a"],
        "rows": 1, "raw_bytes": 2, "fingerprint": "0".repeat(32),
    }))
    .unwrap();
    assert!(single(&table, &BTreeMap::new(), "UTF8").in_parts.is_some());
    table.description.source = TableSource::ExtensionConfiguration {
        extension: "e".to_owned(),
        condition: "WHERE a > 1".to_owned(),
    };
    assert!(single(&table, &BTreeMap::new(), "UTF8").in_parts.is_none());
    let root = QualifiedName::new("public", "root");
    assert!(
        tree(&root, &["a".to_owned()], &[&table], "UTF8").in_parts.is_none(),
        "its rows lie in many heaps"
    );
}

#[test]
fn parts_are_large_and_no_more_than_the_sessions_need() {
    const MIB: u64 = 1024 * 1024;
    let count = |heap_blocks, bytes, jobs| ranges(heap_blocks, bytes, 64 * MIB, jobs).len();
    assert_eq!(count(16_000, 127 * MIB, 2), 1);
    assert_eq!(count(16_400, 129 * MIB, 2), 2);
    assert_eq!(count(1_000_000, 8_000 * MIB, 2), 4);
    assert_eq!(count(1_000_000, 8_000 * MIB, 5), 10);
    assert_eq!(count(3, 8_000 * MIB, 5), 3, "long values lie beside a short heap");
    assert_eq!(count(0, 0, 2), 1);
}

proptest! {
    /// Every block belongs to exactly one part, however many there are when they are read.
    #[test]
    fn parts_are_the_whole_table_without_a_gap_or_an_overlap(
        heap_blocks in prop_oneof![0_u64..100, 0_u64..u64::from(u32::MAX)],
        table_bytes in 0_u64..1 << 45,
        part_bytes in 0_u64..1 << 30,
        jobs in 1_usize..64,
    ) {
        let ranges = ranges(heap_blocks, table_bytes, part_bytes, jobs);
        prop_assert!(ranges.len() <= jobs * PARTS_A_JOB);
        let mut next = Some(0);
        for range in ranges {
            let CopyRange::Blocks { first, end } = range else {
                return Err(TestCaseError::fail("not a range"));
            };
            prop_assert_eq!(Some(first), next);
            prop_assert!(end.is_none_or(|end| end > first && u64::from(end) < heap_blocks));
            next = end;
        }
        prop_assert_eq!(next, None, "the last has no upper bound");
    }
}
