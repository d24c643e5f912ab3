//! Large objects: which there are, whose, how long, and the canonical fingerprint of their contents.

use std::collections::{BTreeMap, BTreeSet};

use super::check::{Check, CheckName, Findings};
use super::error::Result;
use crate::content::{LargeObject, LargeObjectTally, RowTally};
use crate::postgres::Session;
use crate::postgres::copy::{copy_out, rows};
use crate::postgres::large_objects::{copy_statement, parse_row, read_large_objects};
use crate::repository::manifest::Database;

/// Compares every large object with the backup's records.
pub(super) async fn compare_large_objects(session: &Session, database: &Database) -> Result<Vec<Check>> {
    let mut findings = Findings::new(CheckName::LargeObjects);
    let found: BTreeMap<u32, LargeObject> = read_large_objects(&session.client)
        .await?
        .into_iter()
        .map(|object| (object.oid, object))
        .collect();
    for expected in &database.large_objects {
        let object = name(expected.oid);
        let Some(found) = found.get(&expected.oid) else {
            findings.differs(object, "present", "missing", "");
            continue;
        };
        findings.expect(&object, &expected.owner, &found.owner, "owner");
        findings.expect(&object, &privileges(expected), &privileges(found), "privileges");
        let comment = |object: &LargeObject| object.comment.clone().unwrap_or_default();
        findings.expect(&object, &comment(expected), &comment(found), "comment");
        findings.expect(&object, &expected.bytes.to_string(), &found.bytes.to_string(), "bytes");
    }
    let expected: BTreeSet<u32> = database.large_objects.iter().map(|object| object.oid).collect();
    for oid in found.keys().filter(|oid| !expected.contains(oid)) {
        findings.differs(name(*oid), "absent", "present", "");
    }
    let contents = read_contents(session).await?;
    let describe = |tally: crate::content::RowTally| format!("{} blocks, {}", tally.rows, tally.fingerprint);
    findings.expect(
        "contents of all large objects",
        &describe(database.head.large_objects),
        &describe(contents),
        "canonical fingerprint",
    );
    Ok(findings.finish(format!(
        "{} large objects, {}",
        database.large_objects.len(),
        describe(contents)
    )))
}

fn name(oid: u32) -> String {
    format!("large object {oid}")
}

fn privileges(object: &LargeObject) -> String {
    let mut acl = object.acl.clone();
    acl.sort();
    acl.join(" ")
}

async fn read_contents(session: &Session) -> Result<RowTally> {
    let (mut tally, mut pages) = (LargeObjectTally::default(), 0);
    let mut messages = copy_out(session, &copy_statement(), "read the large objects").await?;
    while let Some(message) = messages.next().await? {
        for row in rows(&message) {
            let (oid, offset, data) = parse_row(row)?;
            tally.add_page(oid, offset, &data);
            pages += 1;
        }
    }
    messages.finish(pages).await?;
    Ok(tally.finish())
}
