//! The proof that a database equals a fresh copy of `template0`: every row of every system catalogue, compared.
//!
//! OIDs below 16384 come from `initdb` and are the same in every database of a cluster, so rows are compared as they
//! stand: with owners, privileges, comments and dependencies, whoever changed them and however. Left out are statistics,
//! where a relation's pages lie, and the schemas of temporary tables.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Client;

use super::error::{Error, Result};

/// Columns that say where and how old pages are, not what the database contains.
const PHYSICAL_COLUMNS: &[&str] = &[
    "relfilenode",
    "relpages",
    "reltuples",
    "relallvisible",
    "relallfrozen",
    "relfrozenxid",
    "relminmxid",
    "indcheckxmin",
];

/// Names of what differs that one message lists at most.
const MAX_NAMED: usize = 20;

/// Begins the name of what has no identity of its own, such as a column.
const PART: &str = "rows of ";

/// What the connected database holds or lacks compared with `fresh`, a new database of the same server; empty when equal.
///
/// # Errors
/// When a catalogue cannot be read.
pub async fn differences(target: &Client, fresh: &Client) -> Result<Vec<String>> {
    let mut found = shared_residue(target).await?;
    let (have, want) = (digests(target).await?, digests(fresh).await?);
    let mut named = BTreeSet::new();
    for (catalogue, digest) in &want {
        if have.get(catalogue) == Some(digest) {
            continue;
        }
        let (have, want) = (rows(target, catalogue).await?, rows(fresh, catalogue).await?);
        let more = have.difference(&want).map(|(_, name)| format!("not fresh: {name}"));
        let less = want.difference(&have).map(|(_, name)| format!("missing: {name}"));
        named.extend(more.chain(less));
    }
    // Objects say more than rows that merely belong to one, which sort by their catalogue's name.
    let (objects, parts): (Vec<_>, Vec<_>) = named.into_iter().partition(|name| !name.contains(PART));
    found.extend(objects.into_iter().chain(parts).take(MAX_NAMED));
    Ok(found)
}

/// What the cluster-wide catalogues hold about this database.
async fn shared_residue(client: &Client) -> Result<Vec<String>> {
    let rows = client
        .query(
            "WITH d AS (SELECT * FROM pg_catalog.pg_database WHERE datname = current_database())
             SELECT format('subscription %s', s.subname) FROM pg_catalog.pg_subscription s, d WHERE s.subdbid = d.oid
             UNION ALL
             SELECT format('replication slot %s', slot_name) FROM pg_catalog.pg_replication_slots
             WHERE database = current_database()
             UNION ALL
             SELECT format('setting %s', pg_catalog.split_part(c, '=', 1))
             FROM pg_catalog.pg_db_role_setting s, d, pg_catalog.unnest(s.setconfig) c
             WHERE s.setdatabase = d.oid
               AND NOT (s.setrole = 0 AND pg_catalog.starts_with(c, 'kubebackup.disposable='))
             UNION ALL
             SELECT 'comment on the database' FROM pg_catalog.pg_shdescription c, d
             WHERE c.classoid = 'pg_catalog.pg_database'::pg_catalog.regclass AND c.objoid = d.oid
             UNION ALL
             SELECT 'security label on the database' FROM pg_catalog.pg_shseclabel c, d
             WHERE c.classoid = 'pg_catalog.pg_database'::pg_catalog.regclass AND c.objoid = d.oid
             UNION ALL
             SELECT format('dependency on role %s', pg_catalog.pg_get_userbyid(c.refobjid))
             FROM pg_catalog.pg_shdepend c, d
             WHERE c.dbid = d.oid AND c.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
             UNION ALL
             SELECT 'privileges on the database' FROM d
             WHERE EXISTS (SELECT * FROM pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba)))
                           EXCEPT SELECT * FROM pg_catalog.aclexplode(pg_catalog.acldefault('d', d.datdba)))
                OR EXISTS (SELECT * FROM pg_catalog.aclexplode(pg_catalog.acldefault('d', d.datdba))
                           EXCEPT SELECT * FROM pg_catalog.aclexplode(coalesce(d.datacl,
                                                                        pg_catalog.acldefault('d', d.datdba))))",
            &[],
        )
        .await
        .map_err(Error::query("look for what the cluster keeps about the database"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Number of rows and digest of every catalogue of the connected database.
async fn digests(client: &Client) -> Result<BTreeMap<String, (i64, String)>> {
    let mut digests = BTreeMap::new();
    for (catalogue, expression) in row_expressions(client).await? {
        let query = format!(
            "SELECT count(*), md5(coalesce(string_agg(r, E'\\n' ORDER BY r COLLATE \"C\"), ''))
             FROM (SELECT {expression} AS r FROM pg_catalog.{catalogue} o{}) s",
            filter(&catalogue)
        );
        let row = client
            .query_one(&query, &[])
            .await
            .map_err(Error::query(format!("digest {catalogue}")))?;
        digests.insert(catalogue, (row.get(0), row.get(1)));
    }
    Ok(digests)
}

/// Every row of one catalogue as text, with a name for people.
async fn rows(client: &Client, catalogue: &str) -> Result<BTreeSet<(String, String)>> {
    let expressions = row_expressions(client).await?;
    let Some(expression) = expressions.get(catalogue) else {
        return Ok(BTreeSet::new());
    };
    let has_oid = client
        .query_opt(
            "SELECT 1 FROM pg_catalog.pg_attribute WHERE attname = 'oid'
             AND attrelid = pg_catalog.to_regclass('pg_catalog.' || $1)",
            &[&catalogue],
        )
        .await
        .map_err(Error::query(format!("read {catalogue}")))?
        .is_some();
    let name = if has_oid {
        format!("coalesce(pg_catalog.pg_describe_object('pg_catalog.{catalogue}'::pg_catalog.regclass, o.oid, 0), '?')")
    } else {
        format!("'{PART}{catalogue}'")
    };
    let query = format!(
        "SELECT {expression}, {name} FROM pg_catalog.{catalogue} o{}",
        filter(catalogue)
    );
    let rows = client
        .query(&query, &[])
        .await
        .map_err(Error::query(format!("read {catalogue}")))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Per catalogue that a database has to itself, an SQL expression of its row `o` as text.
async fn row_expressions(client: &Client) -> Result<BTreeMap<String, String>> {
    let physical: Vec<&str> = PHYSICAL_COLUMNS.to_vec();
    let rows = client
        .query(
            "SELECT c.relname::text,
                    'ROW(' || string_agg(
                        CASE WHEN a.atttypid = 'pg_catalog.aclitem[]'::pg_catalog.regtype
                             THEN format('(SELECT pg_catalog.array_agg(i::text ORDER BY i::text COLLATE \"C\")
                                          FROM pg_catalog.unnest(o.%I) i)', a.attname)
                             ELSE format('o.%I::text', a.attname) END, ', ' ORDER BY a.attnum) || ')::text'
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
             WHERE c.relnamespace = 'pg_catalog'::pg_catalog.regnamespace AND c.relkind = 'r' AND NOT c.relisshared
               AND c.oid < 16384 AND c.relname NOT IN ('pg_statistic', 'pg_statistic_ext_data')
               AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> ALL ($1)
             GROUP BY c.relname",
            &[&physical],
        )
        .await
        .map_err(Error::query("list the system catalogues"))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Schemas of temporary tables are made when a session first wants one, and stay.
fn filter(catalogue: &str) -> &'static str {
    if catalogue == "pg_namespace" {
        " WHERE o.nspname !~ '^pg_(toast_)?temp_'"
    } else {
        ""
    }
}
