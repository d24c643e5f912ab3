//! Checks that are made only when somebody asks for them: a login as the application's role, and amcheck.

use std::collections::BTreeSet;

use tokio_postgres::Client;

use super::check::{Check, CheckName, Findings};
use super::compare::CompareOptions;
use super::error::Result;
use crate::content::CatalogueObject;
use crate::postgres::ConnectOptions;
use crate::postgres::login::{LoginOutcome, try_login};
use crate::postgres::privileges::parse_privilege;
use crate::postgres::validity::amcheck_indexes;

/// Logs in as the application's role with a temporary password, if that role is the drill's own, and looks whether it
/// can read what `inventory`, the backup's, grants it.
pub(super) async fn check_login(
    client: &Client,
    target: &ConnectOptions,
    inventory: &[CatalogueObject],
    options: &CompareOptions,
) -> Result<Vec<Check>> {
    let Some(role) = &options.login_role else {
        return Ok(vec![Check::skipped(CheckName::Login, "not asked for")]);
    };
    let object = Some(format!("role {role}"));
    let check = match try_login(client, target, role, &options.role_comment).await? {
        LoginOutcome::LoggedIn { readable, tables } => {
            let granted = granted_tables(role, inventory);
            let missing: Vec<&str> = granted
                .iter()
                .copied()
                .filter(|table| !readable.contains(*table))
                .collect();
            let figures = format!(
                "logged in; may read {} of {tables} tables, where the backup grants it {}",
                readable.len(),
                granted.len()
            );
            match missing.as_slice() {
                [] => Check::passed(CheckName::Login, figures),
                [first, ..] => Check::failed(
                    CheckName::Login,
                    format!("{figures}; {} cannot be read, {first} among them", missing.len()),
                ),
            }
        }
        LoginOutcome::Refused(message) => Check::failed(CheckName::Login, message),
        LoginOutcome::Absent => Check::failed(CheckName::Login, "there is no such role"),
        LoginOutcome::NotOurs => Check::not_run(
            CheckName::Login,
            "the role was there before the drill, and existing roles are never altered",
        ),
    };
    Ok(vec![Check { object, ..check }])
}

/// Tables that the backup lets `role` read: SELECT on the table or a column of it and USAGE of its schema, by a grant to
/// the role or to everybody. What comes to it through other roles is not counted: a drill restores no memberships.
fn granted_tables<'a>(role: &str, inventory: &'a [CatalogueObject]) -> BTreeSet<&'a str> {
    let is_granted = |object: &CatalogueObject, wanted: &str| {
        let mut privileges = object.acl.iter().filter_map(|text| parse_privilege(text));
        privileges.any(|one| one.privilege == wanted && (one.grantee == role || one.grantee == "PUBLIC"))
    };
    let (mut tables, mut selectable, mut usable) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for object in inventory {
        let identity = object.identity.as_str();
        match object.object_type.as_str() {
            "schema" if is_granted(object, "USAGE") => drop(usable.insert(identity)),
            // Without an owner it is the server's or an extension's own.
            "table" if object.owner.is_some() => {
                tables.insert(identity);
                if is_granted(object, "SELECT") {
                    selectable.insert(identity);
                }
            }
            "table column" if is_granted(object, "SELECT") => drop(selectable.insert(container(identity))),
            _ => {}
        }
    }
    // Columns of views and foreign tables have the same type of their own.
    selectable.retain(|table| tables.contains(table) && usable.contains(container(table)));
    selectable
}

/// What holds the object of this identity: the text before the last dot that is not quoted.
fn container(identity: &str) -> &str {
    let mut is_quoted = false;
    let dots = identity.char_indices().filter(|(_, character)| {
        is_quoted ^= *character == '"';
        *character == '.' && !is_quoted
    });
    dots.last().map_or("", |(dot, _)| &identity[..dot])
}

/// Every B-tree index against its table, where the extension is installed in the rebuilt database.
pub(super) async fn check_amcheck(client: &Client, options: &CompareOptions) -> Result<Vec<Check>> {
    if !options.amcheck {
        return Ok(vec![Check::skipped(CheckName::Amcheck, "not asked for")]);
    }
    let Some((indexes, broken)) = amcheck_indexes(client).await? else {
        return Ok(vec![Check::not_run(
            CheckName::Amcheck,
            "asked for, but the extension amcheck is not part of the database",
        )]);
    };
    let mut findings = Findings::new(CheckName::Amcheck);
    for (name, message) in broken {
        findings.differs(format!("index {name}"), "", "", message);
    }
    Ok(findings.finish(format!("{indexes} B-tree indexes against their tables")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(object_type: &str, identity: &str, acl: &[&str]) -> CatalogueObject {
        CatalogueObject {
            object_type: object_type.to_owned(),
            identity: identity.to_owned(),
            owner: (!identity.starts_with("information_schema")).then(|| "owner".to_owned()),
            acl: acl.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn a_table_is_granted_by_itself_or_a_column_to_the_role_or_everybody_in_a_schema_that_may_be_used() {
        let mut inventory = vec![
            object("schema", "public", &["PUBLIC=USAGE/(owner)", "PUBLIC=CREATE/(owner)"]),
            object("schema", "\"o.dd\"", &["app=USAGE/owner"]),
            object("schema", "closed", &["owner=USAGE/owner"]),
            object("table", "public.own", &["app=SELECT*/app"]),
            object("table", "public.open", &["PUBLIC=SELECT/owner"]),
            object("table", "public.other", &["somebody=SELECT/owner", "app=INSERT/owner"]),
            object("table", "\"o.dd\".\"a.\"\"b\"", &[]),
            object("table column", "\"o.dd\".\"a.\"\"b\".\"c.d\"", &["app=SELECT/owner"]),
            object("table", "closed.t", &["app=SELECT/owner"]),
            object("table", "information_schema.sql_features", &["PUBLIC=SELECT/(owner)"]),
            object("schema", "information_schema", &["PUBLIC=USAGE/(owner)"]),
            object("view", "public.v", &["app=SELECT/owner"]),
        ];
        let granted = granted_tables("app", &inventory);
        assert_eq!(
            Vec::from_iter(granted),
            ["\"o.dd\".\"a.\"\"b\"", "public.open", "public.own"]
        );
        inventory.clear();
        assert!(granted_tables("app", &inventory).is_empty());
    }
}
