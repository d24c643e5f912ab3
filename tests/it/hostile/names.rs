//! A source in which everything that has a name is named by somebody hostile: it is backed up, rebuilt, compared, emptied
//! and rebuilt again, and restored by a person in part and as a whole. All is equal and nothing was executed.

use std::fmt::Write as _;
use std::fs;

use super::{WAYS_OUT, assert_no_trace, assert_plain};
use crate::support::{World, oracle};

/// The database's own name, and that of the one that it is rebuilt in.
const DATABASE: &str = "d'; CREATE ROLE pwned; --\"\" host=x $$ %I \\";
const RESTORED: &str = "r'; CREATE ROLE pwned; --\"\" host=x $$ %I \\";

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Objects of every kind named by each way out.
fn definitions() -> String {
    let mut sql = String::from(
        "CREATE FUNCTION public.noop() RETURNS event_trigger LANGUAGE plpgsql AS $f$ BEGIN END $f$;
         CREATE EXTENSION IF NOT EXISTS postgres_fdw;\n",
    );
    for way in WAYS_OUT {
        assert!(way.len() <= 63, "{way}: {} bytes", way.len());
        let (name, text) = (identifier(way), literal(way));
        // Roles and databases share the server; everything else the schema.
        writeln!(
            sql,
            "CREATE ROLE {name};
             COMMENT ON ROLE {name} IS {text};
             CREATE SCHEMA {name} AUTHORIZATION {name};
             COMMENT ON SCHEMA {name} IS {text};
             CREATE TYPE {name}.{name} AS ENUM ({text}, 'other');
             CREATE SEQUENCE {name}.{sequence} START 7;
             SELECT nextval({sequence_text});
             CREATE TABLE {name}.{table} ({name} text DEFAULT {text}, {column} int GENERATED ALWAYS AS (length({name})) STORED,
                                           CONSTRAINT {name} CHECK ({name} <> {text} || 'x'));
             INSERT INTO {name}.{table} VALUES ({text}), (NULL);
             COMMENT ON COLUMN {name}.{table}.{name} IS {text};
             CREATE INDEX {index} ON {name}.{table} ({name}) WHERE {name} <> {text};
             CREATE VIEW {name}.{view} AS SELECT {name} AS {column} FROM {name}.{table} WHERE {name} = {text};
             CREATE MATERIALIZED VIEW {name}.{matview} AS SELECT {name} FROM {name}.{table};
             CREATE FUNCTION {name}.{name}({name} text DEFAULT {text}) RETURNS text LANGUAGE sql AS {body};
             CREATE POLICY {name} ON {name}.{table} TO {name} USING ({name} = {text});
             GRANT SELECT ON {name}.{table} TO {name} WITH GRANT OPTION;
             ALTER DEFAULT PRIVILEGES FOR ROLE {name} IN SCHEMA {name} GRANT SELECT ON TABLES TO {name};
             CREATE EVENT TRIGGER {name} ON ddl_command_end WHEN TAG IN ('CREATE CAST') EXECUTE FUNCTION public.noop();
             CREATE SERVER {name} FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host {text});
             CREATE PUBLICATION {name} FOR TABLE {name}.{table};
             CREATE TEXT SEARCH CONFIGURATION {name}.{name} (COPY = pg_catalog.simple);
             CREATE COLLATION {name}.{name} FROM \"C\";
             CREATE STATISTICS {name}.{statistics} ON {name}, {column} FROM {name}.{table};",
            sequence = identifier(&suffixed(way, "s")),
            sequence_text = literal(&format!("{name}.{}", identifier(&suffixed(way, "s")))),
            table = identifier(&suffixed(way, "t")),
            index = identifier(&suffixed(way, "i")),
            view = identifier(&suffixed(way, "v")),
            matview = identifier(&suffixed(way, "m")),
            column = identifier(&suffixed(way, "c")),
            statistics = identifier(&suffixed(way, "x")),
            body = literal(&format!("SELECT {text}::text")),
        )
        .unwrap();
    }
    // Inside the database's own settings and comment.
    let database = identifier(DATABASE);
    for way in WAYS_OUT {
        writeln!(
            sql,
            "COMMENT ON DATABASE {database} IS {text};
             ALTER DATABASE {database} SET my.hostile = {text};
             ALTER ROLE {name} IN DATABASE {database} SET my.hostile = {text};
             GRANT CONNECT ON DATABASE {database} TO {name} WITH GRANT OPTION;",
            name = identifier(way),
            text = literal(way),
        )
        .unwrap();
    }
    let all: Vec<String> = WAYS_OUT.iter().map(|way| literal(&identifier(way))).collect();
    writeln!(
        sql,
        "DO $do$ BEGIN EXECUTE {head} || array_to_string(ARRAY[{all}], ', '); END $do$;
         SELECT lo_from_bytea(4711, 'x'); COMMENT ON LARGE OBJECT 4711 IS {comment};
         ALTER LARGE OBJECT 4711 OWNER TO {owner};",
        head = literal(&format!("ALTER DATABASE {database} SET search_path = ")),
        all = all.join(", "),
        comment = literal(WAYS_OUT[0]),
        owner = identifier(WAYS_OUT[1]),
    )
    .unwrap();
    sql
}

fn schemas() -> Vec<String> {
    WAYS_OUT
        .iter()
        .flat_map(|way| ["--schema".to_owned(), (*way).to_owned()])
        .collect()
}

fn tables() -> Vec<String> {
    let name = |way: &&str| format!("{}.{}", identifier(way), identifier(&suffixed(way, "t")));
    WAYS_OUT
        .iter()
        .flat_map(|way| ["--table".to_owned(), name(way)])
        .collect()
}

/// Names that begin alike are told apart by their last byte.
fn suffixed(way: &str, suffix: &str) -> String {
    let mut name = way.to_owned();
    while name.len() + suffix.len() > 63 {
        name.pop();
    }
    name + suffix
}

/// Inside the quotes of a libpq connection string.
fn in_dsn(name: &str) -> String {
    name.replace('\\', "\\\\").replace('\'', "\\'")
}

/// A world whose one database has that name, at the source and in the settings.
fn world() -> (World, String) {
    let world = World::start();
    for (cluster, name) in [(&world.source, DATABASE), (&world.target, RESTORED)] {
        cluster
            .sql("postgres", &format!("CREATE DATABASE {}", identifier(name)))
            .unwrap();
    }
    // YAML reads a JSON text in double quotes as it is.
    let quoted = |name: &str| serde_json::to_string(name).unwrap();
    let settings = fs::read_to_string(&world.settings_file).unwrap();
    let settings = settings
        .replace("databases: [shop]", &format!("databases: [{}]", quoted(DATABASE)))
        .replace(
            "shop: shop_restored",
            &format!("{}: {}", quoted(DATABASE), quoted(RESTORED)),
        );
    fs::write(&world.settings_file, settings).unwrap();
    world.source.sql(&in_dsn(DATABASE), &definitions()).unwrap();
    let backup_id = world.back_up();
    let mark = format!(
        "ALTER DATABASE {} SET kubebackup.disposable = '{}'",
        identifier(RESTORED),
        world.repository_id()
    );
    world.target.sql("postgres", &mark).unwrap();
    (world, backup_id)
}

#[test]
fn hostile_names_make_a_round_trip_and_nothing_of_them_is_executed() {
    let (world, backup_id) = world();
    // Twice: the second one empties what the first one has made.
    for _ in 0..2 {
        let certificate = world.program(&["--output", "json", "drill"]).run().ok().json();
        assert_eq!(certificate["verdict"], "certified", "{certificate}");
    }
    world.program(&["verify", "--backup", &backup_id]).run().ok();
    // A name is one line of what a person reads, and moves no terminal.
    let drilled = world.program(&["drill"]).run().ok().stdout;
    let shown = world.program(&["show"]).run().ok().stdout;
    for stdout in [&drilled, &shown] {
        assert_plain(stdout);
        let equal = stdout.lines().filter(|line| line.ends_with(" equal"));
        assert_eq!(equal.count(), WAYS_OUT.len(), "one line a table: {stdout}");
    }
    let listed = world.program(&["list"]).run().ok().stdout;
    assert_plain(&listed);
    assert_eq!(listed.lines().count(), 2, "{listed}");
    for cluster in [&world.source, &world.target] {
        assert_no_trace(cluster);
    }

    // By a person: the whole database, and its roles with all they had.
    let into = |database: &str| world.target.dsn(world.target.superuser(), database);
    let person = |arguments: &[&str]| {
        world
            .program(arguments)
            .env("PGPASSWORD", world.target.password())
            .run()
    };
    let whole = into(&in_dsn("whole' \\ host=x"));
    person(&["restore", "--into", &whole, "--create-database", "--roles", "full"]).ok();
    person(&["compare", "--into", &whole]).ok();

    // In part: every schema by its name, every table by its name, and names that are none.
    let all = oracle::contents(&world.source, &in_dsn(DATABASE));
    for (database, arguments) in [("schemas", schemas()), ("tables", tables())] {
        world
            .target
            .sql("postgres", &format!("CREATE DATABASE {database}"))
            .unwrap();
        let target = into(database);
        let mut restore = vec!["restore", "--into", &target, "--roles", "full"];
        restore.extend(arguments.iter().map(String::as_str));
        person(&restore).ok();
        let found = oracle::contents(&world.target, database);
        let of_tables: Vec<_> = all.iter().filter(|(name, _)| name.starts_with("table ")).collect();
        // The oracle cannot say names with line breaks.
        let said = WAYS_OUT.iter().filter(|way| !way.contains('\n'));
        assert_eq!(of_tables.len(), said.count());
        for (name, digest) in of_tables {
            assert_eq!(found.get(name), Some(digest), "{database}: {name}");
        }
        let text = "public'; CREATE ROLE pwned; --";
        for (option, name) in [("--schema", text.to_owned()), ("--table", format!("{text}.{text}"))] {
            let refused = person(&["restore", "--into", &target, option, &name]);
            assert_eq!(refused.code(), Some(2), "{}", refused.printed());
            assert!(refused.stderr.contains(text), "{}", refused.stderr);
        }
        assert_eq!(oracle::contents(&world.target, database), found);
    }
    for cluster in [&world.source, &world.target] {
        assert_no_trace(cluster);
    }
}
