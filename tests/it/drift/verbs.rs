//! The verbs a person uses: `list` and `show` say it, `diff` names the table, `accept-drift` thaws.

use serde_json::Value;

use crate::support::{BACKUP_ROLE, World, WorldOptions, create_backup_role};

fn json(world: &World, arguments: &[&str]) -> Value {
    let mut all = vec!["--output", "json"];
    all.extend(arguments);
    let ended = world.program(&all).run().ok();
    serde_json::from_str(&ended.stdout).unwrap()
}

fn newest(world: &World) -> Value {
    let listed = json(world, &["list"]);
    listed.as_array().unwrap().last().unwrap().clone()
}

/// A drill finds the backup of an emptied table equal to its source: `certified` is the loss itself from then on.
#[test]
fn the_good_copy_is_found_after_the_backup_of_the_loss_was_certified() {
    let world = World::start();
    world.source_sql("CREATE TABLE orders AS SELECT n AS id, md5(n::text) AS note FROM generate_series(1, 20000) n");
    let good = world.back_up();
    world.mark_targets();
    world.program(&["drill"]).run().ok();
    assert_eq!(json(&world, &["diff"])["from"], good.as_str());
    world.source_sql("DELETE FROM orders");
    let emptied = world.back_up();
    world.program(&["drill"]).run().ok();

    let diff = json(&world, &["diff"]);
    assert_eq!(
        (&diff["from"], &diff["to"]),
        (&good.as_str().into(), &emptied.as_str().into()),
        "{diff}"
    );
    let shown = world.program(&["diff"]).run().ok().stdout;
    assert!(shown.contains("public.orders") && shown.contains("20,000"), "{shown}");
    let chosen = |choice: &str| {
        let shown = world.program(&["--output", "json", "show", choice]).run().ok();
        (
            shown.json()["manifest"]["backup_id"].as_str().unwrap().to_owned(),
            shown.stderr,
        )
    };
    assert_eq!(chosen("trusted"), (good, String::new()));
    let (certified, warned) = chosen("certified");
    assert_eq!(certified, emptied);
    assert!(
        warned.contains("nobody has accepted that")
            && warned.contains("1 finding against")
            && warned.contains("'trusted'"),
        "{warned}"
    );

    world.program(&["accept-drift", "--reason", "meant"]).run().ok();
    assert_eq!(chosen("trusted"), (emptied.clone(), String::new()));
    assert_eq!(chosen("certified"), (emptied, String::new()));
}

/// A clone that was deployed with production's settings holds the same rows. Its backups must not push production's out.
#[test]
fn a_clone_that_backs_up_under_productions_name_freezes_deletion_until_a_person_has_looked() {
    let rows = "CREATE TABLE orders AS SELECT n AS id FROM generate_series(1, 2000) n";
    let world = World::with(WorldOptions {
        settings: "retention: {keep_last: 1, keep_certified: 1}\n",
        ..WorldOptions::default()
    });
    world.source_sql(rows);
    let expired = || json(&world, &["expire"])["expired"].clone();
    let first = world.back_up();
    world.mark_targets();
    world.program(&["drill"]).run().ok();
    world.back_up();
    world.program(&["drill"]).run().ok();

    let clone = &world.target;
    create_backup_role(clone, true);
    clone.sql("postgres", "CREATE DATABASE shop").unwrap();
    clone.sql("shop", rows).unwrap();
    let backup = world.program(&["backup"]);
    let dsn = clone.dsn(BACKUP_ROLE, "shop");
    backup.env("KUBEBACKUP_SOURCE_DSN", &dsn).run().ok();
    assert_eq!(newest(&world)["freezes"], true);
    assert_eq!(expired(), Value::Array(Vec::new()));
    let shown = world.program(&["show", "latest"]).run().ok().stdout;
    assert!(shown.contains("it is another server than the one before"), "{shown}");

    world.program(&["accept-drift", "--reason", "moved"]).run().ok();
    assert_eq!(expired(), serde_json::json!([first]));
}

#[test]
fn a_person_sees_what_is_missing_and_accepts_it() {
    let world = World::start();
    world.source_sql(
        "CREATE TABLE orders AS SELECT n AS id, md5(n::text) AS note FROM generate_series(1, 200000) n;
         CREATE TABLE kept AS SELECT 1 AS id; CREATE VIEW latest AS SELECT max(id) FROM orders; CREATE TABLE gone ();
         GRANT SELECT ON kept TO PUBLIC",
    );
    world.program(&["backup"]).run().ok();
    let refused = world.program(&["accept-drift", "--reason", "too early"]).run();
    assert!(
        refused.stderr.contains("no drift is to be accepted"),
        "{}",
        refused.stderr
    );
    assert_ne!(refused.code(), Some(0));
    let first = newest(&world);
    assert_eq!(first["freezes"], false);
    let none = world.program(&["diff"]).run();
    assert!(none.stderr.contains("no backup is certified"), "{}", none.stderr);

    world.source_sql(
        "DELETE FROM orders WHERE id > 90000; DROP VIEW latest; DROP TABLE gone; CREATE TABLE fresh AS SELECT 1 AS id;
         REVOKE SELECT ON kept FROM PUBLIC; ALTER TABLE kept ADD COLUMN more int",
    );
    world.program(&["backup"]).run().ok();
    let second = newest(&world);
    assert_eq!(second["freezes"], true);
    let listed = world.program(&["list"]).run().ok().stdout;
    assert!(
        listed.contains("not drilled, freezes deletion") && listed.contains("deletion is frozen"),
        "{listed}"
    );
    let shown = world.program(&["show"]).run().ok().stdout;
    for expected in [
        "drift      3 findings against ",
        "table public.gone of shop is gone, with 0 rows (0 B)",
        "table public.orders of shop fell from 200,000 rows",
        "1 of type 'view' of shop gone: public.latest",
        "nobody has accepted it: deletion is frozen",
    ] {
        assert!(shown.contains(expected), "'{expected}' is not in:\n{shown}");
    }

    let ids: Vec<&str> = [&first, &second].map(|line| line["backup_id"].as_str().unwrap()).into();
    let diff = json(&world, &["diff", ids[0], "latest"]);
    let tables = diff["databases"][0]["tables"].as_array().unwrap();
    let of = |name: &str| tables.iter().find(|table| table["name"] == name).unwrap();
    assert_eq!(of("orders")["from"]["rows"], 200_000);
    assert_eq!(of("orders")["to"]["rows"], 90_000);
    assert_eq!(of("orders")["is_equal"], false);
    assert_eq!(of("gone")["presence"], "only_from");
    assert_eq!(of("fresh")["presence"], "only_to");
    assert_eq!(
        (&of("kept")["columns_changed"], &of("kept")["from"]["rows"]),
        (&true.into(), &1.into())
    );
    let objects = &diff["databases"][0]["objects"];
    let names = |list: &str| objects[list]["names"].to_string();
    assert!(names("vanished").contains("view public.latest"), "{objects}");
    assert!(names("added").contains("table public.fresh"), "{objects}");
    assert!(names("changed").contains("table public.kept"), "{objects}");
    let told = world.program(&["diff", ids[0], ids[1]]).run().ok().stdout;
    let line = told.lines().find(|line| line.starts_with("public.orders")).unwrap();
    assert!(line.contains("200,000") && line.contains("90,000"), "{told}");

    let accepted = world
        .program(&["accept-drift", "--reason", "the archive has them", "--by", "Ada"])
        .run()
        .ok();
    assert!(accepted.stdout.contains(ids[1]), "{}", accepted.stdout);
    assert_eq!(newest(&world)["freezes"], false);
    assert_eq!(world.keys("drift/"), [format!("drift/{}.json", ids[1])]);
    let shown = world.program(&["show"]).run().ok().stdout;
    assert!(shown.contains("by Ada: the archive has them"), "{shown}");
}

#[test]
fn equal_backups_have_no_difference_and_all_chunks_in_common() {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT n AS id, md5(n::text) FROM generate_series(1, 300000) n");
    world.program(&["backup"]).run().ok();
    world.program(&["backup"]).run().ok();
    let listed = json(&world, &["list"]);
    let ids: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["backup_id"].as_str().unwrap())
        .collect();
    let same = json(&world, &["diff", ids[0], ids[1]]);
    let table = &same["databases"][0]["tables"][0];
    assert_eq!(
        (&table["is_equal"], &table["common_share"]),
        (&true.into(), &1.0.into())
    );
    world.source_sql("UPDATE t SET md5 = 'x' WHERE id = 1");
    world.program(&["backup"]).run().ok();
    let changed = json(&world, &["diff", ids[0], "latest"]);
    let table = &changed["databases"][0]["tables"][0];
    let share = table["common_share"].as_f64().unwrap();
    assert!(table["is_equal"] == false && share > 0.0 && share < 1.0, "{table}");
}
