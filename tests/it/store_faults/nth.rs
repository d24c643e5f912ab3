//! What begins well and fails from some call on, for ever: the third chunk, the second page of a listing. What was done until
//! then makes nothing that looks whole, and the next run does all of it.

use std::fs;
use std::time::Duration;

use super::matrix::outlasted_by;
use super::*;
use crate::support::interrupt::age;
use crate::support::s3_proxy::{Fault, Rule, refusals};

/// Chunks enough for a third one, and for more behind it.
const SMALL_CHUNKS: [(&str, &str); 3] = [
    ("KUBEBACKUP_BACKUP_CHUNK_MIN_BYTES", "64KiB"),
    ("KUBEBACKUP_BACKUP_CHUNK_MEAN_BYTES", "128KiB"),
    ("KUBEBACKUP_BACKUP_CHUNK_MAX_BYTES", "256KiB"),
];

const LASTING: [Fault; 4] = [
    refusals::UNAVAILABLE,
    refusals::EXPIRED_TOKEN,
    Fault::LoseAnswer,
    Fault::Hang,
];

/// A listing has a thousand names a page.
const MORE_THAN_A_PAGE: usize = 1001;

fn third_chunk(operation: &'static str, fault: Fault) -> Rule {
    Rule::first(operation, "it/chunks", fault).after(2).always()
}

fn second_page(below: &str, fault: Fault) -> Rule {
    Rule::first("ListObjectsV2", below, fault).after(1).always()
}

/// Rows that no earlier backup has.
fn fill(ground: &Ground, seed: &str) {
    ground.world.source_sql(&format!(
        "DROP TABLE IF EXISTS large;
         CREATE TABLE large AS SELECT i, md5('{seed}' || i) || md5(i || '{seed}') AS text FROM generate_series(1, 20000) i"
    ));
}

/// Drills of a backup that were begun and never ended, as agents that are killed leave them.
fn with_a_second_page_of_certificates(ground: &Ground, backup_id: &str) {
    let directory = ground.world.s3.bucket().join(format!("it/certificates/{backup_id}"));
    fs::create_dir_all(&directory).unwrap();
    for number in 0..MORE_THAN_A_PAGE {
        let name = format!("20200101T000000Z-{number:08x}.started.json");
        fs::write(directory.join(name), "{}").unwrap();
    }
}

#[test]
fn a_backup_whose_third_chunk_or_second_page_never_comes_leaves_no_manifest_and_the_next_one_does() {
    let ground = Ground::new();
    with_a_second_page_of_certificates(&ground, &ground.first);
    for (number, fault) in LASTING.into_iter().enumerate() {
        for rule in [third_chunk("PutObject", fault), second_page("it/certificates", fault)] {
            fill(&ground, &format!("{number} {}", rule.key_prefix));
            let before = ground.manifests();
            let program = ground.program(&["backup"]).envs(SMALL_CHUNKS);
            let (what, ended) = outlasted_by(&ground, rule, program);
            let ended = ended.expect(1);
            assert_clear(&ended, &what);
            assert_eq!(ground.manifests(), before, "{what}");
        }
    }
    ground.proxy.clear();
    ground.program(&["backup"]).envs(SMALL_CHUNKS).run().ok();
    ground.assert_sound();
    ground.assert_restorable();
}

#[test]
fn a_restore_whose_third_chunk_or_second_page_never_comes_is_not_taken_for_whole() {
    let ground = Ground::new();
    fill(&ground, "restored");
    let backup = ground.program(&["--output", "json", "backup"]).envs(SMALL_CHUNKS);
    let newest = backup.run().ok().json()["backup_id"].as_str().unwrap().to_owned();
    with_a_second_page_of_certificates(&ground, &newest);
    let cluster = &ground.world.target;
    let into = cluster.dsn(cluster.superuser(), "emergency");
    let restore = ["restore", "--into", &into, "--create-database"];
    let person = |program: Program| program.env("PGPASSWORD", cluster.password());
    let compare = || person(ground.world.program(&["compare", "--into", &into])).run();
    for fault in LASTING {
        for rule in [third_chunk("GetObject", fault), second_page("it/certificates", fault)] {
            let (what, ended) = outlasted_by(&ground, rule, person(ground.program(&restore)));
            let ended = ended.expect(1);
            assert_clear(&ended, &what);
            assert_ne!(compare().code(), Some(0), "{what}");
            let drop_it = "DROP DATABASE IF EXISTS emergency";
            cluster.sql("postgres", drop_it).unwrap();
        }
    }
    ground.proxy.clear();
    person(ground.program(&restore)).run().ok();
    compare().ok();
}

#[test]
fn a_drill_whose_third_chunk_or_second_page_never_comes_judges_nothing_and_the_next_one_certifies() {
    let ground = Ground::new();
    fill(&ground, "drilled");
    let backup = ground.program(&["--output", "json", "backup"]).envs(SMALL_CHUNKS);
    let newest = backup.run().ok().json()["backup_id"].as_str().unwrap().to_owned();
    with_a_second_page_of_certificates(&ground, &newest);
    for fault in LASTING {
        for rule in [third_chunk("GetObject", fault), second_page("it/certificates", fault)] {
            let before = ground.certificates();
            let (what, ended) = outlasted_by(&ground, rule, ground.program(&["drill"]));
            let new: Vec<String> = ground.certificates().difference(&before).cloned().collect();
            match ended.code() {
                // It has begun, and says in the bucket too why it knows nothing.
                Some(4) => {
                    assert!(
                        new.iter().all(|key| key.ends_with(".unverified.json")),
                        "{what}: {new:?}"
                    );
                    assert_no_secret(&ended, &what);
                }
                code => {
                    assert_eq!(code, Some(1), "{what}: {}", ended.printed());
                    assert_clear(&ended, &what);
                    assert!(new.is_empty(), "{what}: {new:?}");
                }
            }
        }
    }
    ground.proxy.clear();
    ground.run(&["drill"]).ok();
    assert!(ground.certificates().iter().any(|key| key.ends_with(".certified.json")));
}

/// Chunks that nobody needs, old enough to go, on two pages.
fn with_litter(ground: &Ground) -> usize {
    let bucket = ground.world.s3.bucket();
    for number in 0..MORE_THAN_A_PAGE {
        let name = format!("{number:064x}");
        let directory = bucket.join(format!("it/chunks/{}", &name[..2]));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(name), "litter").unwrap();
    }
    let keys = ground.world.keys("chunks/");
    age(
        keys.iter().map(|key| bucket.join(World::object(key))),
        Duration::from_hours(30 * 24),
    );
    keys.len()
}

#[test]
fn a_prune_whose_second_page_never_comes_takes_nothing_that_is_needed_and_the_next_one_the_rest() {
    let ground = Ground::new();
    fill(&ground, "pruned");
    ground.program(&["backup"]).envs(SMALL_CHUNKS).run().ok();
    ground.world.program(&["drill"]).run().ok();
    let needed: BTreeSet<String> = ground.world.keys("chunks/").into_iter().collect();
    for fault in LASTING {
        let all = with_litter(&ground);
        assert!(all > MORE_THAN_A_PAGE, "{all}");
        let (what, ended) = outlasted_by(&ground, second_page("it/chunks", fault), ground.program(&["prune"]));
        assert_clear(&ended.expect(1), &what);
        let left: BTreeSet<String> = ground.world.keys("chunks/").into_iter().collect();
        assert!(needed.is_subset(&left), "{what}");
        assert!(
            left.len() > needed.len() && left.len() < all,
            "{what}: {} of {all} are left",
            left.len()
        );
        ground.assert_sound();
        ground.proxy.clear();
        ground.run(&["prune"]).ok();
        let left: BTreeSet<String> = ground.world.keys("chunks/").into_iter().collect();
        assert_eq!(left, needed, "{what}");
    }
    ground.assert_sound();
}
