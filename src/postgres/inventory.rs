//! The inventory: every user object of a database as `pg_identify_object` names it, with owner and effective privileges.
//!
//! One set-based query per catalogue (`classes`), plain SELECTs that run inside the caller's transaction and snapshot as a
//! role with no more than `pg_read_all_data`. Rows come from the snapshot, but `pg_identify_object` reads the *current*
//! catalogue: an object that vanished since names itself NULL and is left out here, and the caller's check for concurrent
//! DDL decides what that means. Left out for good: roles, databases and tablespaces (not of this database), large
//! objects (they have records of their own), subscriptions (never restored), and whatever a faithful dump and restore
//! legitimately renames or implies: members of extensions, inherited constraints, internal triggers, array and row types.

mod classes;

use tokio_postgres::Client;

use self::classes::{CLASSES, Class};
use super::error::{Error, Result};
use super::row::column;
use super::server::read_server;
use crate::content::CatalogueObject;

/// Reads all user objects, sorted and without duplicates.
///
/// Owners and privileges that belong to the server rather than to the database are neutral: the owner of an object that
/// `initdb` or an extension made is not named, and stands as `(owner)` in its privileges, because a restored database has
/// another bootstrap superuser there. Such objects appear only once their privileges differ from the initial ones.
///
/// # Errors
/// `Error::Query` naming the catalogue that could not be read.
pub async fn read_inventory(client: &Client) -> Result<Vec<CatalogueObject>> {
    let version = read_server(client).await?.version_num;
    let mut objects = Vec::new();
    for class in CLASSES.iter().filter(|class| class.since <= version) {
        let doing = format!("read the inventory of {}", class.catalogue);
        for row in client.query(&query(class), &[]).await.map_err(Error::query(doing))? {
            let mut acl: Vec<String> = column(&row, "acl")?;
            acl.sort();
            objects.push(CatalogueObject {
                object_type: column(&row, "type")?,
                identity: column(&row, "identity")?,
                owner: column(&row, "owner")?,
                acl,
            });
        }
    }
    objects.sort();
    objects.dedup();
    Ok(objects)
}

/// As of PostgreSQL 17, so that a drill on a later major finds the same names: before it a transform is one `for type on
/// language name`, whose type may be quoted.
const IDENTITY: &str = r#"CASE i.type WHEN 'transform'
    THEN pg_catalog.regexp_replace(i.identity, '^(for (?:"[^"]*"|[^"])*?) on language ', '\1 language ')
    ELSE i.identity END"#;

/// `(type, identity, owner, acl)` of one class. Its source yields `objid, objsubid, owner, acl, acl_kind, builtin`.
fn query(class: &Class) -> String {
    format!(
        "WITH source AS MATERIALIZED ({source})
         SELECT i.type, {identity} AS identity, {owner} AS owner, {effective} AS acl
         FROM source o
         LEFT JOIN pg_catalog.pg_init_privs p
           ON p.classoid = '{catalogue}'::regclass AND p.objoid = o.objid AND p.objsubid = o.objsubid
         CROSS JOIN LATERAL pg_catalog.pg_identify_object('{catalogue}'::regclass, o.objid, o.objsubid) i
         WHERE i.identity IS NOT NULL
           AND (NOT o.builtin OR ((o.acl IS NOT NULL OR p.initprivs IS NOT NULL) AND {effective} <> {initial}))",
        source = source(class),
        catalogue = class.catalogue,
        identity = IDENTITY,
        owner = "CASE WHEN o.builtin OR (o.is_public AND o.owner = 10) THEN NULL \
                 ELSE pg_catalog.pg_get_userbyid(o.owner)::text END",
        effective = privileges("o.acl"),
        initial = privileges("p.initprivs"),
    )
}

fn source(class: &Class) -> String {
    let mut text = String::new();
    let mut rest = class.source;
    while let Some((before, after)) = rest.split_once("MEMBERS(") {
        let (catalogue, remainder) = after
            .split_once(')')
            .expect("every MEMBERS( of the table below is closed");
        text.push_str(before);
        text.push_str("(SELECT d.objid FROM pg_catalog.pg_depend d WHERE d.deptype = 'e' AND d.classid = '");
        text.push_str(catalogue);
        text.push_str("'::regclass)");
        rest = remainder;
    }
    text.push_str(rest);
    text.replace("NO_ACL", "NULL::aclitem[] AS acl, NULL::\"char\" AS acl_kind")
}

/// Sorted `grantee=PRIVILEGE[*]/grantor` of an ACL, an absent one being the default of its kind.
fn privileges(acl: &str) -> String {
    let role = |column: &str| {
        format!(
            "CASE WHEN e.{column} = 0 THEN 'PUBLIC' \
             WHEN e.{column} = o.owner AND (o.builtin OR o.is_public) THEN '(owner)' \
             ELSE pg_catalog.pg_get_userbyid(e.{column})::text END"
        )
    };
    format!(
        "ARRAY(SELECT DISTINCT {grantee} || '=' || e.privilege_type \
                      || CASE WHEN e.is_grantable THEN '*' ELSE '' END || '/' || {grantor} AS item \
               FROM pg_catalog.aclexplode(coalesce({acl}, pg_catalog.acldefault(o.acl_kind, o.owner))) e \
               ORDER BY item)",
        grantee = role("grantee"),
        grantor = role("grantor"),
    )
}
