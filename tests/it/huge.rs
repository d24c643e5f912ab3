//! Objects that are far larger than they may be: refused by the size that the store announces. Those of ten gigabytes stand in
//! `storage::wire`; the server of these tests reads what it serves before it says how much it is.

use std::fs::File;

use crate::support::World;

const LARGE: u64 = 300 << 20;

/// A file of that size that takes no place.
fn enlarge(world: &World, key: &str) {
    let path = world.s3.bucket().join(World::object(key));
    File::options().write(true).open(path).unwrap().set_len(LARGE).unwrap();
}

#[test]
fn a_root_or_a_chunk_of_hundreds_of_megabytes_is_refused_in_little_memory() {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS n");
    let backup_id = world.back_up();
    let root = format!("manifests/{backup_id}.json");
    let sound = world.s3.read(&World::object(&root));

    enlarge(&world, &root);
    let refused = world.program(&["show", &backup_id]).run().expect(5);
    let size = format!("it has {LARGE} bytes or more, at most 65536 are read");
    assert!(refused.stderr.contains(&size), "{}", refused.stderr);
    // Nor does it keep the next backup from being made.
    let made = world.program(&["--output", "json", "backup"]).run().ok().json();
    let peak = made["peak_memory_bytes"].as_u64().unwrap();
    assert!(peak < 150 << 20, "{peak} bytes");

    world.s3.overwrite(&World::object(&root), &sound);
    for chunk in world.keys("chunks/") {
        enlarge(&world, &chunk);
    }
    world.mark_targets();
    for arguments in [
        &["verify", "--backup", &backup_id][..],
        &["drill", "--backup", &backup_id],
    ] {
        let ended = world.program(arguments).run();
        assert!(matches!(ended.code(), Some(3 | 5)), "{}", ended.printed());
        assert!(ended.printed().contains("larger than it may be"), "{}", ended.printed());
    }
}
