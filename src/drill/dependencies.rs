//! What the database needs and does not hold itself: roles of the cluster, extensions of the machine.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Client;

use super::check::{Check, CheckName, Findings};
use super::error::Result;
use crate::postgres::databases::read_extensions;
use crate::postgres::role::read_roles;
use crate::repository::manifest::Database;

/// Every role that objects refer to exists. Attributes belong to the cluster and are not a database's.
pub(super) async fn compare_roles(client: &Client, expected: &[String]) -> Result<Vec<Check>> {
    let found: BTreeSet<String> = read_roles(client).await?.into_iter().map(|role| role.name).collect();
    let mut findings = Findings::new(CheckName::Roles);
    for role in expected.iter().filter(|role| !found.contains(*role)) {
        findings.differs(format!("role {role}"), "present", "missing", "");
    }
    Ok(findings.finish(format!("{} roles that objects refer to exist", expected.len())))
}

/// Extensions with schema and version. Under another major its own versions are what stock tools install, so a
/// difference is then told and does not fail.
pub(super) async fn compare_extensions(client: &Client, database: &Database, same_major: bool) -> Result<Vec<Check>> {
    let found: BTreeMap<String, (String, String)> = read_extensions(client)
        .await?
        .into_iter()
        .map(|extension| (extension.name, (extension.schema, extension.version)))
        .collect();
    let mut findings = Findings::new(CheckName::Extensions);
    let mut told = Vec::new();
    for expected in &database.head.extensions {
        let object = format!("extension {}", expected.name);
        let Some((schema, version)) = found.get(&expected.name) else {
            findings.differs(object, "installed", "missing", "");
            continue;
        };
        findings.expect(&object, &expected.schema, schema, "schema");
        if same_major {
            findings.expect(&object, &expected.version, version, "version");
        } else if expected.version != *version {
            told.push(format!("{} {} instead of {}", expected.name, version, expected.version));
        }
    }
    let mut figures = format!("{} extensions", database.head.extensions.len());
    if !told.is_empty() {
        figures = format!("{figures}; by the target's major: {}", told.join(", "));
    }
    Ok(findings.finish(figures))
}
