//! Roles that a database's objects belong to or are granted to: which are missing, and making them.

use std::collections::BTreeSet;

use super::error::{Error, Result};
use super::options::{RolesMode, Selection};
use super::preflight::Problem;
use super::report::RestoreReport;
use super::run::Restore;
use super::selection::Chosen;
use crate::content::Role;
use crate::postgres::Session;
use crate::postgres::privileges::parse_privilege;
use crate::postgres::role_apply::{create_nologin_role, create_role, grant_membership, role_names};
use crate::repository::manifest::{Backup, Database};

/// Kinds of objects that only a superuser may own.
const OWNED_BY_SUPERUSERS: &[&str] = &["event trigger", "foreign-data wrapper"];

/// Every role that restoring `database` names: owners, grantees, grantors, and whatever else the server tracked.
pub(super) fn needed_roles(database: &Database) -> BTreeSet<&str> {
    let head = &database.head;
    let mut names: BTreeSet<&str> = head.referenced_roles.iter().map(String::as_str).collect();
    names.insert(&head.properties.owner);
    names.extend(database.inventory.iter().filter_map(|object| object.owner.as_deref()));
    names.extend(database.large_objects.iter().map(|object| object.owner.as_str()));
    let acls = [&head.properties.acl]
        .into_iter()
        .chain(database.inventory.iter().map(|object| &object.acl))
        .chain(database.large_objects.iter().map(|object| &object.acl));
    for privilege in acls.flatten().filter_map(|text| parse_privilege(text)) {
        names.extend([privilege.grantee, privilege.grantor]);
    }
    names.retain(|name| !["", "PUBLIC", "(owner)"].contains(name) && !name.starts_with("pg_"));
    names
}

/// Of those, the ones that a part of the database names: as owner of an entry, or in privileges of what lies in it.
fn needed_for_part<'a>(database: &'a Database, chosen: &Chosen, selection: &Selection) -> BTreeSet<&'a str> {
    let mut needed = needed_roles(database);
    if chosen.entries.iter().any(|entry| entry.description == "POLICY") {
        // Only the archive knows to whom a policy applies.
        return needed;
    }
    let beginnings: Vec<String> = chosen
        .relations()
        .map(|name| format!("{}.{}", name.schema, name.name))
        .chain(selection.schemas.iter().cloned())
        .collect();
    let mut in_privileges = BTreeSet::new();
    for object in &database.inventory {
        let identity = object.identity.replace('"', "");
        if beginnings
            .iter()
            .any(|beginning| identity.starts_with(beginning.as_str()))
        {
            for privilege in object.acl.iter().filter_map(|text| parse_privilege(text)) {
                in_privileges.extend([privilege.grantee, privilege.grantor]);
            }
        }
    }
    needed.retain(|role| {
        let owner = format!(" {role}");
        in_privileges.contains(role) || chosen.entries.iter().any(|entry| entry.label.ends_with(&owner))
    });
    needed
}

/// Creates what is missing as the options say; returns the names of all roles that exist now.
pub(super) async fn make_roles(
    session: &Session,
    restore: &Restore<'_>,
    chosen: &Chosen,
    report: &mut RestoreReport,
) -> Result<BTreeSet<String>> {
    let (backup, database, options) = (restore.backup, restore.database, restore.options);
    let mut existing = role_names(&session.client).await?;
    let needed = if chosen.is_everything {
        needed_roles(database)
    } else {
        needed_for_part(database, chosen, &options.selection)
    };
    let missing: Vec<&str> = needed
        .iter()
        .copied()
        .filter(|name| !existing.contains(*name))
        .collect();
    match options.roles {
        RolesMode::None if !missing.is_empty() => {
            let missing = missing.into_iter().map(str::to_owned).collect();
            return Err(Error::Preflight(vec![Problem::MissingRoles(missing)]));
        }
        RolesMode::None => {}
        RolesMode::MissingNoLogin => {
            for name in missing {
                let superuser = is_superuser(backup, name) && owns_what_superusers_own(database, name);
                create_nologin_role(&session.client, name, superuser, &options.role_comment).await?;
                created(name, &mut existing, report);
            }
        }
        RolesMode::Full => make_all(session, restore, &missing, &mut existing, report).await?,
    }
    Ok(existing)
}

async fn make_all(
    session: &Session,
    restore: &Restore<'_>,
    missing: &[&str],
    existing: &mut BTreeSet<String>,
    report: &mut RestoreReport,
) -> Result<()> {
    for role in &restore.backup.roles {
        if existing.contains(&role.name) {
            report
                .skipped
                .push(format!("role {}: exists already, left as it is", role.name));
            continue;
        }
        create_role(&session.client, role, &restore.options.role_comment).await?;
        created(&role.name, existing, report);
        if role.can_login {
            report.roles_without_password.push(role.name.clone());
        }
    }
    for name in missing {
        if !existing.contains(*name) {
            create_nologin_role(&session.client, name, false, &restore.options.role_comment).await?;
            created(name, existing, report);
        }
    }
    for membership in &restore.backup.memberships {
        let is_ours = report.roles_created.contains(&membership.member);
        if is_ours && existing.contains(&membership.role) {
            grant_membership(&session.client, membership).await?;
        } else {
            let text = format!(
                "membership of {} in {}: left as it is",
                membership.member, membership.role
            );
            report.skipped.push(text);
        }
    }
    Ok(())
}

fn created(name: &str, existing: &mut BTreeSet<String>, report: &mut RestoreReport) {
    existing.insert(name.to_owned());
    report.roles_created.push(name.to_owned());
}

fn is_superuser(backup: &Backup, name: &str) -> bool {
    backup
        .roles
        .iter()
        .any(|role: &Role| role.name == name && role.superuser)
}

fn owns_what_superusers_own(database: &Database, name: &str) -> bool {
    database.inventory.iter().any(|object| {
        object.owner.as_deref() == Some(name) && OWNED_BY_SUPERUSERS.contains(&object.object_type.as_str())
    })
}
