//! `docs/format.md` held against the code: its examples are computed, and it names every field that is written.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::drift::{Drift, DriftAcceptance};
use super::id::Sha256Digest;
use super::manifest::{Assertion, DatabaseHead, Predecessor, Record, Table};
use super::testing::{Ground, backup_id, draft, put_all, two_tables};
use super::{Acquisition, LeaseOptions, document, layout};
use crate::content::{LargeObjectTally, RoleSetting, RowTally, row_hash};
use crate::storage::list_all;

const PAGE: &str = include_str!("../../docs/format.md");

fn assert_named(text: &str) {
    assert!(PAGE.contains(text), "docs/format.md lacks {text}");
}

fn tally(rows: &[&[u8]]) -> RowTally {
    let mut tally = RowTally::default();
    for row in rows {
        tally.add_row(row);
    }
    tally
}

#[test]
fn the_examples_of_the_format_page_hold() {
    assert_named(&format!("{:032x}", row_hash(b"")));
    let different = tally(&[b"1\tAda\n", b"2\t\\N\n"]);
    assert_named(&format!(
        "rows 2, raw_bytes {}, fingerprint `{}`",
        different.raw_bytes, different.fingerprint
    ));
    let twice = tally(&[b"1\tAda\n", b"1\tAda\n"]);
    assert_named(&format!(
        "rows 2, raw_bytes {}, fingerprint `{}`",
        twice.raw_bytes, twice.fingerprint
    ));
    let mut large = LargeObjectTally::default();
    large.add_page(5, 2050, b"abc");
    let large = large.finish();
    assert_named(&format!(
        "raw_bytes {}, fingerprint `{}`",
        large.raw_bytes, large.fingerprint
    ));

    let example = document::encode(&json!({"format_version": 1, "example": "a document"})).unwrap();
    assert_named(std::str::from_utf8(&example).unwrap());
    assert_named(&format!("the {} bytes", example.len()));
}

#[tokio::test]
async fn the_format_page_names_every_field_that_is_written() {
    let ground = Ground::new().await;
    let lease = LeaseOptions {
        cluster: "shop".to_owned(),
        holder: "agent".to_owned(),
        duration: Duration::from_mins(5),
    };
    let Acquisition::Held(lease) = ground.repository.acquire_lease(lease).await.unwrap() else {
        panic!("nobody else is there")
    };
    let writer = ground.writer().await.under(Some(lease));
    let mut records = put_all(&writer, &two_tables()).await.unwrap();
    records.extend(records_with_every_field());
    if let Some(Record::Database(head)) = records.first_mut() {
        fill_in(head);
    }
    records.splice(0..0, roles());
    let mut draft = draft(0, &two_tables());
    draft.predecessor = Some(Predecessor {
        backup_id: backup_id(9),
        manifest_sha256: Sha256Digest::of(b""),
    });
    draft.drift = Some(drift_with_every_field());
    let stored = writer.commit(draft, records.clone()).await.unwrap();
    let (by, reason) = ("me".to_owned(), "meant".to_owned());
    let acceptance = DriftAcceptance::new(&stored, jiff::Timestamp::UNIX_EPOCH, by, reason);
    let mut names = BTreeSet::new();
    collect_names(&serde_json::to_value(&stored.manifest).unwrap(), &mut names);
    collect_names(&serde_json::to_value(&acceptance).unwrap(), &mut names);
    for record in &records {
        collect_names(&serde_json::to_value(record).unwrap(), &mut names);
    }
    for object in list_all(ground.store.as_ref(), layout::LEASES, None).await.unwrap() {
        collect_names(
            &serde_json::from_slice(&ground.object(&object.key).await).unwrap(),
            &mut names,
        );
    }
    assert!(
        names.contains("holder") && names.contains("predecessor") && names.contains("load_through"),
        "{names:?}"
    );
    names.retain(|name| !is_named(name));
    assert!(names.is_empty(), "docs/format.md lacks {names:?}");
}

fn roles() -> Vec<Record> {
    let roles = json!([
        {"record": "role", "name": "r", "superuser": false, "inherit": true, "create_role": false, "create_db": false,
         "can_login": true, "replication": false, "bypass_rls": false, "connection_limit": -1, "valid_until": "infinity",
         "settings": ["a=b"], "comment": "c"},
        {"record": "membership", "role": "r", "member": "m", "admin_option": false},
    ]);
    serde_json::from_value(roles).unwrap()
}

fn fill_in(head: &mut DatabaseHead) {
    let some = || Some("text".to_owned());
    head.properties.icu_locale = some();
    head.properties.collation_version = some();
    head.properties.comment = some();
    head.properties.settings = vec![RoleSetting {
        role: some(),
        setting: "a=b".to_owned(),
    }];
    head.extensions = serde_json::from_value(json!([{"name": "e", "version": "1", "schema": "s"}])).unwrap();
    head.subscriptions_left_out = vec!["s".to_owned()];
    head.mappings_redacted = vec!["m".to_owned()];
    head.dump_warnings = vec!["w".to_owned()];
    head.assertions = vec![Assertion {
        name: "a".to_owned(),
        query: "SELECT 1".to_owned(),
        result: RowTally::default(),
    }];
}

fn drift_with_every_field() -> Drift {
    let amount = json!({"rows": 1, "raw_bytes": 1, "stored_bytes": 1, "objects": 1});
    let drift = json!({
        "outcome": "compared", "passed_over": [backup_id(8)], "reason": "r", "total": 1,
        "baseline": {"backup_id": backup_id(9), "manifest_sha256": Sha256Digest::of(b""), "certified": true},
        "findings": [{"kind": "table_lost", "database": "d", "name": "s.t", "before": amount, "after": amount,
                      "now": "excluded", "examples": ["e"]}],
    });
    serde_json::from_value(drift).unwrap()
}

/// Sequences to inventory, and a table with all that tables may have.
fn records_with_every_field() -> Vec<Record> {
    let table = json!({
        "schema": "s", "name": "t", "columns": [], "generated_columns": ["g"],
        "source": {"extension_configuration": {"extension": "e", "condition": ""}},
        "load_through": {"schema": "s", "name": "root"}, "rows": 0, "raw_bytes": 0,
        "fingerprint": "0".repeat(32), "generated": {"fingerprint": "0".repeat(32)},
        "stored_bytes": 0,
    });
    let table: Table = serde_json::from_value(table).unwrap();
    let others = json!([
        {"record": "sequence", "schema": "s", "name": "q", "last_value": 1, "is_called": true},
        {"record": "large_object", "oid": 1, "owner": "o", "acl": ["a"], "comment": "c", "bytes": 1},
        {"record": "materialized_view", "schema": "s", "name": "m", "populated": true, "reads_foreign": false, "refresh_order": 0},
        {"record": "ledger", "schema": "s", "name": "t", "kind": "table", "state": "dumped", "reason": "r"},
        {"record": "object", "type": "table", "identity": "s.t", "owner": "o", "acl": ["a"]},
    ]);
    let others: Vec<Record> = serde_json::from_value(others).unwrap();
    std::iter::once(Record::Table(table)).chain(others).collect()
}

fn collect_names(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                names.insert(name.clone());
                collect_names(value, names);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect_names(value, names)),
        _ => {}
    }
}

/// As a word within code: alone, or in a shape such as `{a, b?}`.
fn is_named(name: &str) -> bool {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    PAGE.split('`')
        .skip(1)
        .step_by(2)
        .flat_map(|code| code.split(|character| !is_word(character)))
        .any(|word| word == name)
}
