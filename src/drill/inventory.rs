//! Identity, owner and privileges of every object, both ways.

use std::collections::BTreeMap;

use super::check::{Check, CheckName, Findings};
use crate::content::CatalogueObject;

/// Compares the inventory of a rebuilt database with the stored one.
///
/// Privileges are sets: the order in which they were granted is not kept by a dump.
#[must_use]
pub fn compare_inventory(expected: &[CatalogueObject], found: &[CatalogueObject]) -> Vec<Check> {
    let found_by_name = by_name(found);
    let expected_by_name = by_name(expected);
    let mut findings = Findings::new(CheckName::Inventory);
    for (name, expected) in &expected_by_name {
        let object = format!("{} {}", name.0, name.1);
        match found_by_name.get(name) {
            None => findings.differs(object, "present", "missing", ""),
            Some(found) => {
                findings.expect(&object, owner(expected), owner(found), "owner");
                findings.expect(&object, &expected.acl.join(" "), &found.acl.join(" "), "privileges");
            }
        }
    }
    for name in found_by_name
        .keys()
        .filter(|name| !expected_by_name.contains_key(*name))
    {
        findings.differs(format!("{} {}", name.0, name.1), "absent", "present", "");
    }
    findings.finish(format!("{} objects with owners and privileges", expected_by_name.len()))
}

type ByName<'objects> = BTreeMap<(&'objects str, &'objects str), &'objects CatalogueObject>;

fn by_name(objects: &[CatalogueObject]) -> ByName<'_> {
    objects
        .iter()
        .map(|object| ((object.object_type.as_str(), object.identity.as_str()), object))
        .collect()
}

fn owner(object: &CatalogueObject) -> &str {
    object.owner.as_deref().unwrap_or("(none)")
}
