//! More than one repository: a directory as a repository, copies in other places, and drills and restores from them.

mod agent;
mod durable;
mod interrupted;
mod kept;
mod regions;

use std::fs;
use std::path::Path;

use crate::support::{World, WorldOptions, wait};

/// Small chunks, so that a small database has several.
pub(crate) const SMALL_CHUNKS: &str =
    "backup: {chunk_min_bytes: 64KiB, chunk_mean_bytes: 128KiB, chunk_max_bytes: 256KiB}\n";

/// A world whose settings name a volume as a copy, which is there.
fn with_volume() -> World {
    with_volume_and("")
}

/// The same with more settings of the copy.
fn with_volume_and(settings: &str) -> World {
    let mut world = World::with(WorldOptions::default());
    let volume = world.directory().join("volume");
    fs::create_dir(&volume).unwrap();
    let more = format!(
        "{SMALL_CHUNKS}copies:\n  - {{name: volume, directory: {}, prefix: shop{settings}}}\n",
        volume.display()
    );
    world.settings_file = world.write_settings("settings.yaml", &more);
    world.source_sql(
        "CREATE TABLE orders AS SELECT i AS id, md5(i::text) AS text FROM generate_series(1, 20000) i;
         CREATE TABLE small AS SELECT 1 AS one",
    );
    world
}

fn volume(world: &World) -> std::path::PathBuf {
    world.directory().join("volume/shop")
}

/// Paths of the files below `directory`, sorted, relative to it; the store's own names left out.
pub(crate) fn files(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let relative = path.strip_prefix(directory).unwrap().to_string_lossy().into_owned();
            match path.is_dir() {
                _ if relative.starts_with('.') => {}
                true => open.push(path),
                false => found.push(relative),
            }
        }
    }
    found.sort();
    found
}

fn next_second() {
    let begun = jiff::Timestamp::now().as_second();
    wait::until("the next second", || jiff::Timestamp::now().as_second() > begun);
}

#[test]
fn a_copy_holds_the_same_objects_and_a_drill_certifies_from_it_alone() {
    let world = with_volume();
    world.back_up();
    next_second();
    world.source_sql("INSERT INTO small VALUES (2)");
    let newest = world.back_up();
    let copied = world.program(&["--output", "json", "copy"]).run().ok().json();
    assert_eq!(copied[0]["name"], "volume");
    assert_eq!(copied[0]["outcome"], "complete");
    assert_eq!(copied[0]["copied"].as_array().unwrap().len(), 2);
    assert!(copied[0]["reused_chunks"].as_u64().unwrap() > 0, "{copied}");
    let mut keys = world.keys("");
    keys.retain(|key| !key.starts_with("leases/"));
    keys.sort();
    assert_eq!(files(&volume(&world)), keys);
    for key in keys {
        let there = fs::read(volume(&world).join(&key)).unwrap();
        assert_eq!(there, world.s3.read(&World::object(&key)), "{key}");
    }

    let again = world
        .program(&["--output", "json", "copy", "--to", "volume"])
        .run()
        .ok()
        .json();
    assert_eq!(
        (again[0]["present"].as_u64(), again[0]["copied_chunks"].as_u64()),
        (Some(2), Some(0))
    );

    // The bucket is gone: everything comes from the volume.
    for key in world.keys("") {
        world.s3.remove(&World::object(&key));
    }
    world.program(&["list"]).run().expect(1);
    let listed = world
        .program(&["--repository", "volume", "--output", "json", "list"])
        .run()
        .ok()
        .json();
    assert_eq!(listed[1]["backup_id"], newest.as_str());
    world.program(&["--repository", "volume", "verify", "--all"]).run().ok();
    let into = world.target.dsn(world.target.superuser(), "again");
    world
        .program(&[
            "--repository",
            "volume",
            "restore",
            "--into",
            &into,
            "--create-database",
        ])
        .env("PGPASSWORD", world.target.password())
        .run()
        .ok();
    let sum = "SELECT count(*), sum(hashtext(o::text)) FROM orders o";
    let again = world.target.sql("again", sum).unwrap();
    assert_eq!(again, world.source_sql(sum));
    assert_eq!(
        world.target.sql("again", "SELECT count(*) FROM small").unwrap().trim(),
        "2"
    );
    let id: serde_json::Value =
        serde_json::from_slice(&fs::read(volume(&world).join("repository.json")).unwrap()).unwrap();
    crate::support::world::mark_disposable(&world.target, &world.restored(), id["repository_id"].as_str().unwrap());
    let drilled = world
        .program(&["--repository", "volume", "--output", "json", "drill"])
        .run()
        .ok()
        .json();
    assert_eq!(drilled["verdict"], "certified", "{drilled}");
    assert!(
        files(&volume(&world))
            .iter()
            .any(|file| file.ends_with(".certified.json"))
    );
}

#[test]
fn a_directory_is_a_repository_from_the_first_backup_to_the_certificate() {
    let mut world = with_volume();
    let settings = fs::read_to_string(&world.settings_file).unwrap();
    let (before, rest) = settings.split_once("repository:").unwrap();
    let (_, after) = rest.split_once("source:").unwrap();
    let (after, _) = after.split_once("copies:").unwrap();
    let directory = world.directory().join("volume");
    let text = format!(
        "{before}repository: {{directory: {}}}\nsource:{after}",
        directory.display()
    );
    world.settings_file = world.directory().join("directory.yaml");
    fs::write(&world.settings_file, text).unwrap();

    let checked = world.program(&["check"]).run().ok().printed();
    assert!(checked.contains("a directory"), "{checked}");
    world.program(&["backup"]).run().ok();
    next_second();
    world.source_sql("INSERT INTO small VALUES (2)");
    let second = world.program(&["--output", "json", "backup"]).run().ok().json();
    assert!(second["stats"]["reused_chunks"].as_u64().unwrap() > 0, "{second}");
    let id: serde_json::Value = serde_json::from_slice(&fs::read(directory.join("repository.json")).unwrap()).unwrap();
    crate::support::world::mark_disposable(&world.target, &world.restored(), id["repository_id"].as_str().unwrap());
    let drilled = world.program(&["--output", "json", "drill"]).run().ok().json();
    assert_eq!(drilled["verdict"], "certified", "{drilled}");

    // A byte flipped by hand is found, named, and never certified.
    let chunk = files(&directory)
        .into_iter()
        .find(|file| file.starts_with("chunks/"))
        .unwrap();
    let mut body = fs::read(directory.join(&chunk)).unwrap();
    body[10] ^= 1;
    fs::write(directory.join(&chunk), body).unwrap();
    let verified = world.program(&["verify", "--all"]).run().expect(5).printed();
    assert!(verified.contains(&chunk), "{verified}");
}

#[test]
fn a_place_that_is_away_keeps_no_other_from_its_backups_and_is_named() {
    let mut world = with_volume();
    let away = world.directory().join("away");
    let more = format!(
        "copies:\n  - {{name: away, directory: {}}}\n  - {{name: volume, directory: {}, prefix: shop}}\n",
        away.display(),
        world.directory().join("volume").display()
    );
    world.settings_file = world.write_settings("settings.yaml", &more);
    let backup_id = world.back_up();
    let ended = world.program(&["copy"]).run().expect(1);
    assert!(
        ended.stderr.contains("error: copy 'away': ") && ended.stderr.contains("is the volume mounted?"),
        "{}",
        ended.printed()
    );
    assert!(!away.exists(), "what is not mounted is not written under");
    let root = format!("manifests/{backup_id}.json");
    assert!(files(&volume(&world)).contains(&root));

    fs::create_dir(&away).unwrap();
    let copied = world.program(&["--output", "json", "copy"]).run().ok().json();
    assert_eq!(copied[0]["copied"], serde_json::json!([backup_id]));
    assert_eq!(copied[1]["present"], 1);
}

#[test]
fn names_of_copies_are_checked() {
    let world = with_volume();
    let ended = world.program(&["copy", "--to", "volumes"]).run().expect(2);
    assert!(
        ended.stderr.contains("unknown copy 'volumes'; did you mean 'volume'?"),
        "{}",
        ended.stderr
    );
    let ended = world.program(&["--repository", "nowhere", "list"]).run().expect(2);
    assert!(ended.stderr.contains("unknown copy 'nowhere'"), "{}", ended.stderr);
    let plain = World::start();
    let ended = plain.program(&["copy"]).run().expect(2);
    assert!(
        ended.stderr.contains("copies names no place to copy to"),
        "{}",
        ended.stderr
    );
}
