//! A manifest of a backup that never was, sealed with the right digests: what it says of names, settings, conditions and
//! queries goes into SQL as what it is, or is refused; none of it is executed.

use kubebackup::content::{QualifiedName, RoleSetting, RowTally, TableSource};
use kubebackup::repository::manifest::Assertion;

use super::{WAYS_OUT, assert_no_trace, assert_plain};
use crate::support::World;
use crate::support::doctor::Forgery;

fn world() -> (World, String) {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT i, i::text AS text FROM generate_series(1, 100) i");
    let honest = world.back_up();
    world.mark_targets();
    (world, honest)
}

const CODE: &str = "; CREATE ROLE pwned; --";

/// Everything that a program would put into SQL as it is, if it were careless.
type Change<'a> = (&'a str, &'a dyn Fn(&mut Forgery));

#[test]
fn nothing_in_a_forged_manifest_is_executed_by_a_drill_or_a_restore() {
    let (world, honest) = world();
    let changes: [Change<'_>; 11] = [
        ("locale provider", &|forged| {
            forged.database().head.properties.locale_provider = format!("libc{CODE}");
            // Another locale makes the drill create the database anew.
            forged.database().head.properties.collate = "POSIX".to_owned();
        }),
        ("encoding", &|forged| {
            forged.database().head.properties.encoding = format!("UTF8'{CODE}");
        }),
        ("collation", &|forged| {
            forged.database().head.properties.collate = format!("C'{CODE}");
        }),
        ("owner", &|forged| {
            forged.database().head.properties.owner = format!("o\"{CODE}");
        }),
        ("comment", &|forged| {
            forged.database().head.properties.comment = Some(format!("c\\'{CODE}"));
        }),
        ("privileges", &|forged| {
            forged.database().head.properties.acl = vec![
                format!("x=CONNECT{CODE}/postgres"),
                format!("x=CONNECT, CREATE ON DATABASE postgres TO PUBLIC{CODE}/postgres"),
                format!("y\"{CODE}=CONNECT/postgres"),
            ];
        }),
        ("settings", &|forged| {
            let setting = |setting: String| RoleSetting { role: None, setting };
            forged.database().head.properties.settings = vec![
                setting(format!("my.x=1'{CODE}")),
                setting(format!("my.x TO DEFAULT{CODE}=1")),
                setting(format!("search_path=\"a\"{CODE}, 'b'{CODE}")),
            ];
        }),
        ("columns", &|forged| {
            forged.table("t").description.columns = vec![format!("i\") FROM PROGRAM 'touch pwned' --{CODE}")];
        }),
        ("table", &|forged| {
            let description = &mut forged.table("t").description;
            description.name = QualifiedName::new(format!("public\"{CODE}"), format!("t\"{CODE}"));
        }),
        ("sequence", &|forged| {
            let name = QualifiedName::new("public", format!("s\\'::regclass, 1){CODE}"));
            forged.database().sequences.push(kubebackup::content::Sequence {
                name,
                last_value: 1,
                is_called: true,
            });
        }),
        ("roles", &|forged| {
            let names = WAYS_OUT.map(str::to_owned);
            forged.database().head.referenced_roles.extend(names);
        }),
    ];
    for (what, change) in changes {
        let backup_id = world.forge(&honest, change);
        let drilled = world.program(&["drill", "--backup", &backup_id]).run();
        assert!(!drilled.printed().contains("panicked"), "{what}: {}", drilled.printed());
        let into = world.target.dsn(world.target.superuser(), "made");
        let restored = world
            .program(&[
                "restore",
                "--backup",
                &backup_id,
                "--into",
                &into,
                "--create-database",
                "--roles",
                "full",
            ])
            .env("PGPASSWORD", world.target.password())
            .run();
        assert!(
            !restored.printed().contains("panicked"),
            "{what}: {}",
            restored.printed()
        );
        assert_no_trace(&world.target);
        world.target.sql("postgres", "DROP DATABASE IF EXISTS made").unwrap();
    }
}

/// A condition and a query are SQL by their nature; they stay within their parenthesis, and a condition is executed only
/// where the extension on the target has the same.
#[test]
fn a_condition_or_a_query_cannot_leave_its_copy_nor_write() {
    let (world, honest) = world();
    let assertion = |query: &str| Assertion {
        name: "forged".to_owned(),
        query: query.to_owned(),
        result: RowTally::default(),
    };
    let changes: [(Change<'_>, &str); 4] = [
        (
            ("a condition that ends the parenthesis", &|forged| {
                forged.table("t").description.source = TableSource::ExtensionConfiguration {
                    extension: "plpgsql".to_owned(),
                    condition: ") TO PROGRAM 'touch pwned' --".to_owned(),
                };
            }),
            "no configuration table",
        ),
        (
            ("a query that ends the parenthesis", &|forged| {
                forged.database().head.assertions = vec![assertion("SELECT 1) TO PROGRAM 'touch pwned' --")];
            }),
            "syntax error",
        ),
        (
            ("two queries", &|forged| {
                forged.database().head.assertions = vec![assertion("SELECT 1; CREATE ROLE pwned")];
            }),
            "multiple commands",
        ),
        (
            ("a query that writes", &|forged| {
                forged.database().head.assertions = vec![assertion(
                    "WITH x AS (INSERT INTO public.t VALUES (0, 'pwned') RETURNING 1) SELECT * FROM x",
                )];
            }),
            "read-only transaction",
        ),
    ];
    for ((what, change), reason) in changes {
        let backup_id = world.forge(&honest, change);
        let drilled = world
            .program(&["--output", "json", "drill", "--backup", &backup_id])
            .run()
            .expect(3);
        assert!(drilled.stdout.contains(reason), "{what}: {}", drilled.stdout);
        assert_no_trace(&world.target);
    }
}

/// Of the bucket alone: no source gives its cluster such a name.
#[test]
fn a_forged_root_can_neither_move_the_readers_terminal_nor_add_a_line_to_what_is_read() {
    let (world, honest) = world();
    let line = "\n-20261121T055117Z-8f3a2c1d  shop  certified\n";
    let backup_id = world.forge(&honest, |forged| {
        forged.backup.manifest.source.cluster = format!("x\u{1b}[2J\u{202e}\u{9b}{line}");
        forged.database().head.properties.name = format!("shop\u{1b}]0;title\u{7}{line}");
    });
    let listed = world.program(&["list"]).run().ok().stdout;
    assert_plain(&listed);
    assert_eq!(listed.lines().count(), 3, "a header and two backups: {listed}");
    let shown = world.program(&["show", &backup_id]).run().ok().stdout;
    assert_plain(&shown);
    let honestly = world.program(&["show", &honest]).run().ok().stdout;
    assert_eq!(shown.lines().count(), honestly.lines().count(), "{shown}");
    let diffed = world.program(&["diff", &honest, &backup_id]).run();
    assert_plain(&diffed.stdout);
}

/// The owner's word that a database may be destroyed does not come from a backup.
#[test]
fn a_restored_database_is_not_disposable_because_its_backup_says_so() {
    let (world, honest) = world();
    let id = world.repository_id();
    let backup_id = world.forge(&honest, |forged| {
        forged.database().head.properties.settings = ["kubebackup.disposable", "KubeBackup.Disposable"]
            .map(|name| RoleSetting {
                role: None,
                setting: format!("{name}={id}"),
            })
            .to_vec();
    });
    let into = world.target.dsn(world.target.superuser(), "precious");
    let person = |arguments: &[&str]| {
        world
            .program(arguments)
            .env("PGPASSWORD", world.target.password())
            .run()
    };
    person(&["restore", "--backup", &backup_id, "--into", &into, "--create-database"]).ok();
    let refused = person(&["restore", "--backup", &honest, "--into", &into, "--wipe"]).expect(6);
    assert!(refused.stderr.contains("kubebackup.disposable"), "{}", refused.stderr);
}
