//! Statements that empty a database in place, listed step by step from its catalogue.
//!
//! Everything of a user has an OID of 16384 or more: what `initdb` made stays. Each statement says about how many entries
//! of the shared lock table it takes, so that the caller can cut batches that fit and commit between them. Nothing
//! here contacts anything outside: a subscription loses its slot and its publisher's address before it is dropped.

use tokio_postgres::Client;

use super::error::{Error, Result};

/// One statement of a wipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WipeStatement {
    pub sql: String,
    /// Estimated entries of the lock table.
    pub locks: u64,
}

/// One step: what it removes and the query that lists its statements.
#[derive(Clone, Copy, Debug)]
pub struct WipeStep {
    pub what: &'static str,
    list: &'static str,
    /// Statements that must each be their own transaction.
    pub one_by_one: bool,
}

/// A user's object that stands for itself: no member of an extension, no inner part of another object (a
/// partitioned table depends on its own key columns).
macro_rules! no_member {
    ($class:literal, $oid:literal) => {
        concat!(
            $oid,
            " >= 16384 AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = 'pg_catalog.",
            $class,
            "'::pg_catalog.regclass AND e.objid = ",
            $oid,
            " AND e.deptype IN ('e', 'i')
               AND NOT (e.refclassid = e.classid AND e.refobjid = e.objid))"
        )
    };
}

macro_rules! named {
    ($what:literal, $keyword:literal, $class:literal, $column:literal) => {
        WipeStep {
            what: $what,
            list: concat!(
                "SELECT format('DROP ",
                $keyword,
                " IF EXISTS %I CASCADE', o.",
                $column,
                "), 100::bigint FROM pg_catalog.",
                $class,
                " o WHERE ",
                no_member!($class, "o.oid"),
                " ORDER BY o.oid"
            ),
            one_by_one: false,
        }
    };
}

/// Objects that `pg_identify_object` names as `DROP` wants to read it.
macro_rules! identified {
    ($what:literal, $class:literal) => {
        WipeStep {
            what: $what,
            list: concat!(
                "SELECT format('DROP %s IF EXISTS %s CASCADE', upper(i.type), i.identity), 6::bigint FROM pg_catalog.",
                $class,
                " o, pg_catalog.pg_identify_object('pg_catalog.",
                $class,
                "'::pg_catalog.regclass, o.oid, 0) i WHERE ",
                no_member!($class, "o.oid"),
                " ORDER BY o.oid"
            ),
            one_by_one: false,
        }
    };
}

/// The steps in order. Event triggers go before anything that could fire them; leaves of a partition tree go before
/// its root, so that no single statement needs the locks of a whole tree.
pub const STEPS: &[WipeStep] = &[
    WipeStep {
        what: "subscriptions",
        list: "SELECT format(s.statement, u.subname), 1::bigint FROM pg_catalog.pg_subscription u, LATERAL (VALUES
                 (1, 'ALTER SUBSCRIPTION %I DISABLE'),
                 (2, 'ALTER SUBSCRIPTION %I SET (slot_name = NONE)'),
                 -- With table synchronisation unfinished, DROP would connect even without a slot.
                 (3, 'ALTER SUBSCRIPTION %I CONNECTION ''host=/nonexistent port=1 password=none'''),
                 (4, 'DROP SUBSCRIPTION %I')) s(place, statement)
               WHERE u.subdbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
               ORDER BY u.oid, s.place",
        one_by_one: true,
    },
    WipeStep {
        what: "logical replication slots",
        list: "SELECT format('SELECT pg_catalog.pg_drop_replication_slot(%L)', slot_name), 1::bigint
               FROM pg_catalog.pg_replication_slots WHERE database = current_database()",
        one_by_one: true,
    },
    WipeStep {
        what: "event triggers",
        list: concat!(
            "SELECT format(CASE WHEN ",
            no_member!("pg_event_trigger", "o.oid"),
            " THEN 'DROP EVENT TRIGGER %I' ELSE 'ALTER EVENT TRIGGER %I DISABLE' END, o.evtname), 1::bigint
             FROM pg_catalog.pg_event_trigger o"
        ),
        one_by_one: false,
    },
    named!("publications", "PUBLICATION", "pg_publication", "pubname"),
    WipeStep {
        what: "relations",
        list: concat!(
            "SELECT format('DROP %s IF EXISTS %I.%I CASCADE',
                           CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'
                                WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END,
                           n.nspname, c.relname),
                    8 + 2 * (SELECT count(*) FROM pg_catalog.pg_depend d
                             WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = c.oid)
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname !~ '^pg_(temp|toast)'
               AND ",
            no_member!("pg_class", "c.oid"),
            " ORDER BY c.relkind = 'p', NOT EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhrelid = c.oid), c.oid"
        ),
        one_by_one: false,
    },
    WipeStep {
        what: "casts",
        list: concat!(
            "SELECT format('DROP CAST IF EXISTS (%s AS %s) CASCADE', pg_catalog.format_type(o.castsource, NULL),
                           pg_catalog.format_type(o.casttarget, NULL)), 4::bigint
             FROM pg_catalog.pg_cast o WHERE ",
            no_member!("pg_cast", "o.oid")
        ),
        one_by_one: false,
    },
    WipeStep {
        what: "transforms",
        list: concat!(
            "SELECT format('DROP TRANSFORM IF EXISTS FOR %s LANGUAGE %I CASCADE', pg_catalog.format_type(o.trftype, NULL),
                           l.lanname), 4::bigint
             FROM pg_catalog.pg_transform o JOIN pg_catalog.pg_language l ON l.oid = o.trflang WHERE ",
            no_member!("pg_transform", "o.oid")
        ),
        one_by_one: false,
    },
    WipeStep {
        what: "routines",
        list: concat!(
            "SELECT format('DROP ROUTINE IF EXISTS %s CASCADE', o.oid::pg_catalog.regprocedure), 6::bigint
             FROM pg_catalog.pg_proc o WHERE ",
            no_member!("pg_proc", "o.oid"),
            " ORDER BY o.oid"
        ),
        one_by_one: false,
    },
    WipeStep {
        what: "types",
        list: concat!(
            "SELECT format('DROP TYPE IF EXISTS %I.%I CASCADE', n.nspname, o.typname), 8::bigint
             FROM pg_catalog.pg_type o JOIN pg_catalog.pg_namespace n ON n.oid = o.typnamespace
             WHERE n.nspname !~ '^pg_(temp|toast)'
               AND ",
            no_member!("pg_type", "o.oid"),
            " ORDER BY o.oid"
        ),
        one_by_one: false,
    },
    identified!("operator classes", "pg_opclass"),
    identified!("operator families", "pg_opfamily"),
    identified!("operators", "pg_operator"),
    identified!("collations", "pg_collation"),
    identified!("conversions", "pg_conversion"),
    identified!("text search configurations", "pg_ts_config"),
    identified!("text search dictionaries", "pg_ts_dict"),
    identified!("text search parsers", "pg_ts_parser"),
    identified!("text search templates", "pg_ts_template"),
    named!("foreign servers", "SERVER", "pg_foreign_server", "srvname"),
    named!(
        "foreign-data wrappers",
        "FOREIGN DATA WRAPPER",
        "pg_foreign_data_wrapper",
        "fdwname"
    ),
    named!("access methods", "ACCESS METHOD", "pg_am", "amname"),
    named!("languages", "LANGUAGE", "pg_language", "lanname"),
    WipeStep {
        what: "extensions",
        list: "SELECT format('DROP EXTENSION IF EXISTS %I CASCADE', extname), 400::bigint
               FROM pg_catalog.pg_extension WHERE oid >= 16384",
        one_by_one: false,
    },
    WipeStep {
        what: "schemas",
        list: "SELECT format('DROP SCHEMA IF EXISTS %I CASCADE', nspname), 100::bigint FROM pg_catalog.pg_namespace
               WHERE oid >= 16384 AND nspname !~ '^pg_(temp|toast)'",
        one_by_one: false,
    },
    WipeStep {
        what: "default privileges",
        list: DEFAULT_PRIVILEGES,
        one_by_one: false,
    },
    WipeStep {
        what: "large objects",
        list: "SELECT format('SELECT pg_catalog.lo_unlink(%s)', oid), 1::bigint FROM pg_catalog.pg_largeobject_metadata",
        one_by_one: false,
    },
    WipeStep {
        what: "settings of the database",
        list: "SELECT CASE WHEN s.setrole <> 0
                           THEN format('ALTER ROLE %I IN DATABASE %I RESET ALL', pg_catalog.pg_get_userbyid(s.setrole),
                                       current_database())
                           ELSE format('ALTER DATABASE %I RESET %I', current_database(), pg_catalog.split_part(c, '=', 1))
                      END, 1::bigint
               FROM pg_catalog.pg_db_role_setting s, pg_catalog.unnest(s.setconfig) c
               WHERE s.setdatabase = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
                 AND NOT (s.setrole = 0 AND pg_catalog.starts_with(c, 'kubebackup.disposable='))",
        one_by_one: false,
    },
    WipeStep {
        what: "owner, privileges and comment of the database",
        list: "SELECT statement, 1::bigint FROM (
                 SELECT 0 AS place, format('ALTER DATABASE %I OWNER TO CURRENT_USER', current_database()) AS statement
                 UNION
                 SELECT 1, format('REVOKE ALL ON DATABASE %I FROM %s CASCADE', d.datname,
                                           CASE a.grantee WHEN 0 THEN 'PUBLIC'
                                                ELSE quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END)
                 FROM pg_catalog.pg_database d, pg_catalog.aclexplode(d.datacl) a WHERE d.datname = current_database()
                 UNION
                 SELECT 2, format('GRANT ALL ON DATABASE %I TO CURRENT_USER', d.datname)
                 FROM pg_catalog.pg_database d WHERE d.datname = current_database() AND d.datacl IS NOT NULL
                 UNION
                 SELECT 3, format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO PUBLIC', d.datname)
                 FROM pg_catalog.pg_database d WHERE d.datname = current_database() AND d.datacl IS NOT NULL
                 UNION
                 SELECT 4, format('COMMENT ON DATABASE %I IS NULL', current_database())) s
               ORDER BY place",
        one_by_one: false,
    },
];

/// Revoking every grantee empties a schema's entry, which removes it; a global entry goes once it equals the built-in
/// default again.
const DEFAULT_PRIVILEGES: &str = "
    WITH entry AS (
        SELECT d.defaclnamespace = 0 AS global, d.defaclobjtype AS kind, d.defaclacl AS acl,
               pg_catalog.pg_get_userbyid(d.defaclrole) AS owner,
               format('ALTER DEFAULT PRIVILEGES FOR ROLE %I', pg_catalog.pg_get_userbyid(d.defaclrole))
                   || coalesce(' IN SCHEMA ' || quote_ident(n.nspname), '') AS head,
               CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'ROUTINES'
                    WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS' ELSE 'LARGE OBJECTS' END AS objects
        FROM pg_catalog.pg_default_acl d LEFT JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace
    )
    SELECT statement, 2::bigint FROM (
        SELECT DISTINCT 1 AS place, head || format(' REVOKE ALL ON %s FROM ', objects)
               || CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END
               AS statement
        FROM entry, pg_catalog.aclexplode(acl) a
        UNION ALL
        SELECT 2, head || format(' GRANT ALL ON %s TO %I', objects, owner) FROM entry WHERE global
        UNION ALL
        SELECT 3, head || format(' GRANT ALL ON %s TO PUBLIC', objects) FROM entry WHERE global AND kind IN ('f', 'T')
    ) s ORDER BY place";

impl WipeStep {
    /// What this step would run now.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub async fn statements(&self, client: &Client) -> Result<Vec<WipeStatement>> {
        let rows = client
            .query(self.list, &[])
            .await
            .map_err(Error::query(format!("list the {} to drop", self.what)))?;
        Ok(rows
            .iter()
            .map(|row| WipeStatement {
                sql: row.get(0),
                locks: row.get::<_, i64>(1).max(1).cast_unsigned(),
            })
            .collect())
    }
}

/// Nobody else is on a guarded target: who waits this long for a lock waits for something that will not end by itself.
/// An autovacuum worker gives way within a second.
const LOCK_TIMEOUT: &str = "30s";

/// Frees a session from settings of the database or role that would stand in the way of a wipe.
///
/// # Errors
/// The server's.
pub async fn prepare(client: &Client) -> Result<()> {
    client
        .batch_execute(&format!(
            "SET default_transaction_read_only = off; SET ROLE NONE; SET lock_timeout = '{LOCK_TIMEOUT}';
             SET client_min_messages = warning"
        ))
        .await
        .map_err(Error::query("prepare a session for the wipe"))
}

/// Cuts statements into batches of at most `budget` lock entries (a larger one stands alone).
#[must_use]
pub fn batches(statements: Vec<WipeStatement>, budget: u64) -> Vec<String> {
    let mut batches = Vec::new();
    let mut current = String::new();
    let mut locks = 0;
    for statement in statements {
        if !current.is_empty() && locks + statement.locks > budget {
            batches.push(std::mem::take(&mut current));
            locks = 0;
        }
        current.push_str(&statement.sql);
        current.push_str(";\n");
        locks += statement.locks;
    }
    if !current.is_empty() {
        batches.push(current);
    }
    batches
}

/// Schema `public` as `template0` has it: statements for another database of the same server.
///
/// # Errors
/// When the catalogue cannot be read.
pub async fn public_schema_statements(target: &Client, template: &Client) -> Result<Vec<String>> {
    let mut statements: Vec<String> = query_texts(
        template,
        "SELECT format('ALTER SCHEMA public OWNER TO %I', pg_catalog.pg_get_userbyid(nspowner))
         FROM pg_catalog.pg_namespace WHERE nspname = 'public'",
    )
    .await?;
    statements.extend(
        query_texts(
            target,
            "SELECT DISTINCT format('REVOKE ALL ON SCHEMA public FROM %s CASCADE', CASE a.grantee WHEN 0 THEN 'PUBLIC'
                                    ELSE quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END)
             FROM pg_catalog.pg_namespace n, pg_catalog.aclexplode(n.nspacl) a WHERE n.nspname = 'public'",
        )
        .await?,
    );
    statements.extend(
        query_texts(
            template,
            "SELECT format('GRANT %s ON SCHEMA public TO %s', a.privilege_type, CASE a.grantee WHEN 0 THEN 'PUBLIC'
                           ELSE quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END)
             FROM pg_catalog.pg_namespace n, pg_catalog.aclexplode(n.nspacl) a WHERE n.nspname = 'public'
             UNION ALL
             SELECT format('COMMENT ON SCHEMA public IS %L', pg_catalog.obj_description(oid, 'pg_namespace'))
             FROM pg_catalog.pg_namespace WHERE nspname = 'public'",
        )
        .await?,
    );
    Ok(statements)
}

async fn query_texts(client: &Client, query: &str) -> Result<Vec<String>> {
    let rows = client
        .query(query, &[])
        .await
        .map_err(Error::query("read schema public"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_stays_within_its_budget_and_a_large_statement_stands_alone() {
        let statement = |sql: &str, locks| WipeStatement {
            sql: sql.to_owned(),
            locks,
        };
        let cut = batches(
            vec![
                statement("a", 4),
                statement("b", 4),
                statement("c", 50),
                statement("d", 1),
            ],
            10,
        );
        assert_eq!(cut, ["a;\nb;\n", "c;\n", "d;\n"]);
    }
}
