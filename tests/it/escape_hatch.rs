//! A database comes back without this program: the documented script with stock tools alone.

use std::process::{Command, Output};

use kubebackup::demo::shop;

use crate::support::{S3, World, oracle};

/// Runs `scripts/escape-hatch.sh` as a person would who has no kubebackup any more.
fn escape_hatch(world: &World, repository: &str, backup_id: &str, into: &str) -> Output {
    let port = world.target.port().to_string();
    Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/escape-hatch.sh"))
        .args([repository, backup_id, "shop", into])
        .envs(S3::credentials())
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("S3_ENDPOINT", &world.s3.endpoint)
        .envs([("PGHOST", "127.0.0.1"), ("PGPORT", &port)])
        .envs([
            ("PGUSER", world.target.superuser()),
            ("PGPASSWORD", world.target.password()),
        ])
        .output()
        .unwrap()
}

fn backed_up_shop() -> (World, String) {
    let world = World::start();
    shop::fill(&world.source, "shop").unwrap();
    let backup = world.program(&["--output", "json", "backup"]).run().expect(0);
    let backup: serde_json::Value = serde_json::from_str(&backup.stdout).unwrap();
    let backup_id = backup["backup_id"].as_str().unwrap().to_owned();
    (world, backup_id)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_escape_hatch_restores_the_shop_with_stock_tools_alone() {
    let (world, backup_id) = backed_up_shop();
    let restored = escape_hatch(&world, "s3://backups/it", &backup_id, "escaped");
    assert!(restored.status.success(), "{}", said(&restored));
    oracle::assert_same(
        &oracle::contents(&world.source, "shop"),
        &oracle::contents(&world.target, "escaped"),
    );

    // The program agrees, down to privileges and definitions.
    let into = world.target.dsn(world.target.superuser(), "escaped");
    world
        .program(&["compare", "--into", &into])
        .env("PGPASSWORD", world.target.password())
        .run()
        .expect(0);
}

#[test]
fn the_escape_hatch_refuses_a_damaged_object_and_what_is_not_there() {
    let (world, backup_id) = backed_up_shop();
    // A copy of the bucket, made by whatever client, is as good.
    let copy = world.s3.bucket().join("it").display().to_string();
    let unknown = escape_hatch(&world, &copy, "20200101T000000Z-00000000", "nothing");
    assert!(!unknown.status.success());

    let largest = world
        .keys("chunks/")
        .into_iter()
        .max_by_key(|key| world.s3.read(&World::object(key)).len());
    let path = world.s3.bucket().join("it").join(largest.unwrap());
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let damaged = escape_hatch(&world, &copy, &backup_id, "damaged");
    assert!(!damaged.status.success());
    assert!(said(&damaged).contains("is damaged"), "{}", said(&damaged));
}
