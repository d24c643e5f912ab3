//! Roles read by SQL: no `pg_dumpall`, no passwords, no superuser needed.

use tokio_postgres::Client;

use super::error::{Error, Result};
use super::row::column;
use crate::content::{Membership, Role};

/// Every role of the cluster except the predefined `pg_*` ones, by name.
///
/// # Errors
/// `Error::Query`.
pub async fn read_roles(client: &Client) -> Result<Vec<Role>> {
    client
        .query(
            "SELECT r.rolname::text AS name, r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin,
                    r.rolreplication, r.rolbypassrls, r.rolconnlimit, r.rolvaliduntil::text AS valid_until,
                    coalesce((SELECT s.setconfig FROM pg_catalog.pg_db_role_setting s
                              WHERE s.setrole = r.oid AND s.setdatabase = 0), '{}') AS settings,
                    pg_catalog.shobj_description(r.oid, 'pg_authid') AS comment
             FROM pg_catalog.pg_roles r WHERE r.rolname !~ '^pg_' ORDER BY r.rolname COLLATE \"C\"",
            &[],
        )
        .await
        .map_err(Error::query("read the roles"))?
        .iter()
        .map(|row| {
            Ok(Role {
                name: column(row, "name")?,
                superuser: column(row, "rolsuper")?,
                inherit: column(row, "rolinherit")?,
                create_role: column(row, "rolcreaterole")?,
                create_db: column(row, "rolcreatedb")?,
                can_login: column(row, "rolcanlogin")?,
                replication: column(row, "rolreplication")?,
                bypass_rls: column(row, "rolbypassrls")?,
                connection_limit: column(row, "rolconnlimit")?,
                valid_until: column(row, "valid_until")?,
                settings: column(row, "settings")?,
                comment: column(row, "comment")?,
            })
        })
        .collect()
}

/// Who has been granted which role; grants of several grantors are one, and the admin option of any counts.
///
/// # Errors
/// `Error::Query`.
pub async fn read_memberships(client: &Client) -> Result<Vec<Membership>> {
    client
        .query(
            "SELECT g.rolname::text AS role, m.rolname::text AS member, pg_catalog.bool_or(a.admin_option) AS admin_option
             FROM pg_catalog.pg_auth_members a
             JOIN pg_catalog.pg_roles g ON g.oid = a.roleid JOIN pg_catalog.pg_roles m ON m.oid = a.member
             WHERE m.rolname !~ '^pg_'
             GROUP BY 1, 2 ORDER BY g.rolname::text COLLATE \"C\", m.rolname::text COLLATE \"C\"",
            &[],
        )
        .await
        .map_err(Error::query("read the memberships of roles"))?
        .iter()
        .map(|row| {
            Ok(Membership {
                role: column(row, "role")?,
                member: column(row, "member")?,
                admin_option: column(row, "admin_option")?,
            })
        })
        .collect()
}

/// Roles that the current database refers to in any way the server tracks: owner, grantee, policy, default privilege.
/// The bootstrap superuser is not tracked (it is pinned); owners in the inventory name it.
///
/// # Errors
/// `Error::Query`.
pub async fn read_referenced_roles(client: &Client) -> Result<Vec<String>> {
    let rows = client
        .query(
            "SELECT DISTINCT r.rolname::text AS name
             FROM pg_catalog.pg_shdepend d JOIN pg_catalog.pg_roles r ON r.oid = d.refobjid
             WHERE d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND r.rolname !~ '^pg_'
               AND (d.dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
                    OR (d.classid = 'pg_catalog.pg_database'::pg_catalog.regclass AND d.objid =
                        (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())))
             UNION
             SELECT pg_catalog.pg_get_userbyid(datdba)::text FROM pg_catalog.pg_database
             WHERE datname = pg_catalog.current_database()
             UNION
             SELECT DISTINCT pg_catalog.pg_get_userbyid(relowner)::text FROM pg_catalog.pg_class WHERE oid >= 16384
             UNION
             SELECT DISTINCT pg_catalog.pg_get_userbyid(proowner)::text FROM pg_catalog.pg_proc WHERE oid >= 16384
             UNION
             SELECT DISTINCT pg_catalog.pg_get_userbyid(typowner)::text FROM pg_catalog.pg_type WHERE oid >= 16384
             UNION
             SELECT DISTINCT pg_catalog.pg_get_userbyid(nspowner)::text FROM pg_catalog.pg_namespace WHERE oid >= 16384
             UNION
             SELECT DISTINCT pg_catalog.pg_get_userbyid(lomowner)::text FROM pg_catalog.pg_largeobject_metadata
             ",
            &[],
        )
        .await
        .map_err(Error::query("read the roles that the database refers to"))?;
    let mut names = rows
        .iter()
        .map(|row| column(row, "name"))
        .collect::<Result<Vec<String>>>()?;
    names.retain(|name| !name.starts_with("pg_"));
    names.sort();
    Ok(names)
}
