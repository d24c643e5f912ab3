//! Creating roles. Roles that exist are never altered.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use tokio_postgres::Client;

use super::error::{Error, Result};
use super::setting::set_statement;
use crate::content::{Membership, Role, quote_identifier, quote_literal};

/// Names of all roles of the server.
///
/// # Errors
/// `Error::Query`.
pub async fn role_names(client: &Client) -> Result<BTreeSet<String>> {
    let rows = client
        .query("SELECT rolname::text FROM pg_catalog.pg_roles", &[])
        .await
        .map_err(Error::query("list the roles"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// What a drill says of the roles it makes, and by which the next one knows what to drop.
pub const MADE_BY_A_DRILL: &str = "created by a kubebackup drill, which drops it again";

/// Creates a role that owns and is granted things, and nothing more; `superuser` where only one may own them.
///
/// # Errors
/// The server's.
pub async fn create_nologin_role(client: &Client, name: &str, superuser: bool, comment: &str) -> Result<()> {
    let superuser = if superuser { " SUPERUSER" } else { "" };
    let statements = [
        format!("CREATE ROLE {} NOLOGIN{superuser}", quote_identifier(name)),
        comment_statement(name, comment),
    ];
    run(client, name, &statements).await
}

/// Creates a role with the attributes and settings it had, without a password.
///
/// # Errors
/// The server's.
pub async fn create_role(client: &Client, role: &Role, comment: &str) -> Result<()> {
    let quoted = quote_identifier(&role.name);
    let mut create = format!("CREATE ROLE {quoted} WITH");
    for (has, attribute) in [
        (role.superuser, "SUPERUSER"),
        (role.inherit, "INHERIT"),
        (role.create_role, "CREATEROLE"),
        (role.create_db, "CREATEDB"),
        (role.can_login, "LOGIN"),
        (role.replication, "REPLICATION"),
        (role.bypass_rls, "BYPASSRLS"),
    ] {
        create.push_str(if has { " " } else { " NO" });
        create.push_str(attribute);
    }
    let _ = write!(create, " CONNECTION LIMIT {}", role.connection_limit);
    if let Some(until) = &role.valid_until {
        let _ = write!(create, " VALID UNTIL {}", quote_literal(until));
    }
    let mut statements = vec![
        create,
        comment_statement(&role.name, own_comment(role).unwrap_or(comment)),
    ];
    let head = format!("ALTER ROLE {quoted}");
    statements.extend(role.settings.iter().filter_map(|setting| set_statement(&head, setting)));
    run(client, &role.name, &statements).await
}

/// What the backup says of it, unless that is what drills say of theirs: the next drill would drop it.
fn own_comment(role: &Role) -> Option<&str> {
    role.comment.as_deref().filter(|comment| *comment != MADE_BY_A_DRILL)
}

/// # Errors
/// The server's.
pub async fn grant_membership(client: &Client, membership: &Membership) -> Result<()> {
    let option = if membership.admin_option {
        " WITH ADMIN OPTION"
    } else {
        ""
    };
    let statement = format!(
        "GRANT {} TO {}{option}",
        quote_identifier(&membership.role),
        quote_identifier(&membership.member)
    );
    run(client, &membership.member, &[statement]).await
}

/// Says, for the life of the connected session, that roles which drills made may be in use: waits while one drops some.
/// All drills of a server must be connected to the same database.
///
/// # Errors
/// `Error::Query`.
pub async fn use_drill_roles(client: &Client) -> Result<()> {
    lock_call(client, "pg_advisory_lock_shared", "say that roles are in use").await
}

/// Takes that back.
///
/// # Errors
/// `Error::Query`.
pub async fn release_drill_roles(client: &Client) -> Result<()> {
    lock_call(client, "pg_advisory_unlock_shared", "say that roles are not in use").await
}

/// Drops the roles of drills that nothing belongs to, unless another session says that it uses such roles: then nothing happens.
///
/// # Errors
/// `Error::Query`.
pub async fn drop_unused_drill_roles(client: &Client, comment: &str) -> Result<Option<(Vec<String>, Vec<String>)>> {
    let locked = client
        .query_one(&format!("SELECT pg_catalog.pg_try_advisory_lock({DRILL_ROLES})"), &[])
        .await
        .map_err(Error::query("ask whether roles are in use"))?;
    if !locked.get::<_, bool>(0) {
        return Ok(None);
    }
    let dropped = drop_roles_with_comment(client, comment).await;
    lock_call(client, "pg_advisory_unlock", "let others make roles again").await?;
    dropped.map(Some)
}

const DRILL_ROLES: &str = "pg_catalog.hashtextextended('kubebackup drill roles', 0)";

async fn lock_call(client: &Client, function: &str, doing: &str) -> Result<()> {
    client
        .batch_execute(&format!("SELECT pg_catalog.{function}({DRILL_ROLES})"))
        .await
        .map_err(Error::query(doing.to_owned()))
}

/// Drops the roles that carry exactly this comment and own nothing any more; returns those dropped and, with the
/// server's reason, those that could not be.
///
/// # Errors
/// When the roles cannot be listed.
async fn drop_roles_with_comment(client: &Client, comment: &str) -> Result<(Vec<String>, Vec<String>)> {
    let rows = client
        .query(
            "SELECT rolname::text FROM pg_catalog.pg_roles
             WHERE pg_catalog.shobj_description(oid, 'pg_authid') = $1 AND rolname <> current_user ORDER BY 1",
            &[&comment],
        )
        .await
        .map_err(Error::query("list the roles of an earlier restore"))?;
    let (mut dropped, mut left) = (Vec::new(), Vec::new());
    for row in rows {
        let name: String = row.get(0);
        match run(client, &name, &[format!("DROP ROLE {}", quote_identifier(&name))]).await {
            Ok(()) => dropped.push(name),
            Err(error) => {
                tracing::debug!(role = %name, %error, "not dropped");
                left.push(name);
            }
        }
    }
    Ok((dropped, left))
}

fn comment_statement(name: &str, comment: &str) -> String {
    format!(
        "COMMENT ON ROLE {} IS {}",
        quote_identifier(name),
        quote_literal(comment)
    )
}

/// All statements in one transaction.
async fn run(client: &Client, name: &str, statements: &[String]) -> Result<()> {
    client
        .batch_execute(&statements.join(";\n"))
        .await
        .map_err(Error::query(format!("make role {}", quote_identifier(name))))
}
