//! The consistent lie: a backup that is not its source although every size and digest is right. A verification finds it
//! sound, and only the comparison with a rebuilt database can tell.

use kubebackup::content::LedgerState;
use serde_json::Value;

use crate::support::World;
use crate::support::doctor::Forgery;

/// A world whose newest backup tells lies that every digest confirms.
fn liar(definitions: &str) -> (World, String) {
    let world = World::start();
    world.source_sql(definitions);
    let honest = world.back_up();
    world.mark_targets();
    (world, honest)
}

const ROWS: &str = "CREATE TABLE truth AS SELECT i, md5(i::text) AS text FROM generate_series(100, 199) i;
                    CREATE TABLE other AS SELECT i FROM generate_series(1, 100) i";

/// What is done to a backup's rows, or to anything in it.
type Tell = fn(&mut Vec<String>);
type Lie<'a> = &'a dyn Fn(&mut Forgery);

/// The names of what a certificate says is wrong: `rows table "public"."t"`.
fn failures(certificate: &Value) -> Vec<String> {
    let checks = certificate["databases"][0]["checks"].as_array().unwrap();
    let failed = checks.iter().filter(|check| check["outcome"] == "failed");
    failed
        .map(|check| {
            format!(
                "{} {}",
                check["name"].as_str().unwrap(),
                check["object"].as_str().unwrap_or_default()
            )
        })
        .collect()
}

#[test]
fn a_consistent_lie_about_rows_is_sound_to_a_verification_and_fails_the_drill_naming_the_table() {
    let (world, honest) = liar(ROWS);
    let lies: [(&str, Tell); 4] = [
        ("a row less", |rows| drop(rows.remove(50))),
        ("a row more", |rows| rows.push("7\tseven\n".to_owned())),
        ("a row twice in the place of another", |rows| {
            rows[50] = rows[51].clone();
        }),
        ("a value changed", |rows| rows[50] = rows[50].replacen("15", "16", 1)),
    ];
    for (lie, tell) in lies {
        let backup_id = world.forge(&honest, |forgery| forgery.change_rows("truth", tell));
        let verified = world
            .program(&["--output", "json", "verify", "--backup", &backup_id])
            .run()
            .ok()
            .json();
        assert_eq!(verified["outcome"], "sound", "{lie}");
        let certificate = world
            .program(&["--output", "json", "drill", "--backup", &backup_id])
            .run()
            .expect(3)
            .json();
        assert_eq!(certificate["verdict"], "failed", "{lie}");
        assert_eq!(
            failures(&certificate),
            [r#"rows table "public"."truth""#],
            "{lie}: {certificate}"
        );
        assert!(
            certificate["summary"]
                .as_str()
                .unwrap()
                .contains(r#"rows failed: table "public"."truth""#),
            "{lie}: {certificate}"
        );
    }
    let retold = world.forge(&honest, |_| {});
    world.program(&["drill", "--backup", &retold]).run().ok();
}

/// The count in the manifest is the source's own, so that loading notices by itself.
#[test]
fn a_lie_that_the_loaded_rows_contradict_fails_and_names_the_table() {
    let (world, honest) = liar(ROWS);
    let backup_id = world.forge(&honest, |forgery| {
        // Two rows become one of the same length: bytes and segments fit.
        forgery.change_rows("truth", |rows| {
            let joined = format!("{}\\n{}", rows[0].trim_end(), &rows[1][1..]);
            rows.splice(0..2, [joined]);
        });
        let table = forgery.table("truth");
        table.tally.rows += 1;
        table.segments[0].rows += 1;
    });
    world.program(&["verify", "--backup", &backup_id]).run().ok();
    let drilled = world.program(&["drill", "--backup", &backup_id]).run().expect(3);
    assert!(drilled.stdout.contains(r#""public"."truth""#), "{}", drilled.stdout);
    assert!(drilled.stdout.starts_with("FAILED"), "{}", drilled.stdout);
}

/// The comparison of definitions takes the same archive for the truth; the inventory is the source's own word.
#[test]
fn a_consistent_lie_about_definitions_fails_the_drill_and_names_the_object() {
    let (world, poor) = liar(ROWS);
    world.source_sql("CREATE INDEX truth_text ON truth (text); CREATE FUNCTION f() RETURNS int RETURN 1");
    let mut archive = Vec::new();
    world.forge(&poor, |forgery| archive = forgery.schema_archive());
    let backup_id = world.forge(&world.back_up(), |forgery| forgery.replace_schema_archive(archive));
    world.program(&["verify", "--backup", &backup_id]).run().ok();
    let certificate = world
        .program(&["--output", "json", "drill", "--backup", &backup_id])
        .run()
        .expect(3)
        .json();
    let failures = failures(&certificate).join("\n");
    assert!(
        failures.contains("truth_text") && failures.contains("f()"),
        "{failures}"
    );
}

#[test]
fn a_table_that_was_denied_or_whose_rows_are_not_there_or_other_large_objects_never_certify() {
    let (world, honest) = liar(
        "CREATE TABLE t AS SELECT 1 AS a; CREATE TABLE u AS SELECT 2 AS b;
                                SELECT lo_from_bytea(4711, 'large object')",
    );
    let lies: [(Lie<'_>, &str); 3] = [
        (
            &|forgery| {
                let ledger = &mut forgery.database().ledger;
                let denied = ledger.iter_mut().find(|entry| entry.name.name == "u").unwrap();
                denied.state = LedgerState::Denied;
            },
            r#"coverage table "public"."u""#,
        ),
        (
            &|forgery| {
                let ledger = &mut forgery.database().ledger;
                ledger.retain(|entry| entry.name.name != "u");
            },
            r#"coverage table "public"."u""#,
        ),
        (
            &|forgery| forgery.database().head.large_objects.fingerprint = forgery.table("t").tally.fingerprint,
            "large_objects",
        ),
    ];
    for (tell, object) in lies {
        let backup_id = world.forge(&honest, tell);
        world.program(&["verify", "--backup", &backup_id]).run().ok();
        let arguments = ["--output", "json", "drill", "--backup", &backup_id];
        let certificate = world.program(&arguments).run().expect(3).json();
        let failures = failures(&certificate);
        assert!(
            failures.iter().any(|failure| failure.starts_with(object)),
            "{object}: {certificate}"
        );
    }
}
