//! A copy in a bucket of another region, on a server of its own with credentials of its own: brought there, and drilled from
//! there alone while the first is away.

use kubebackup::demo::Identity;
use kubebackup::http::status::Outcome;

use super::*;
use crate::backup_agent::Agent;
use crate::support::s3::{BUCKET, S3};

#[test]
fn a_bucket_in_another_region_is_copied_to_and_drilled_from_alone() {
    let mut world = World::with(WorldOptions::default());
    world.source_sql("CREATE TABLE orders AS SELECT i AS id, md5(i::text) AS text FROM generate_series(1, 20000) i");
    let elsewhere = S3::start();
    let place = "offsite/".to_owned();
    elsewhere.controls.admit(Identity {
        may_write: vec![place.clone()],
        may_delete: vec![place],
        ..Identity::full("ELSEWHERE", "secret of elsewhere")
    });
    let more = format!(
        "{SMALL_CHUNKS}copies:\n  - {{name: offsite, bucket: {BUCKET}, prefix: offsite, endpoint: {}, region: eu-central-1, \
         path_style: true, profile: elsewhere}}\n",
        elsewhere.endpoint
    );
    world.settings_file = world.write_settings("settings.yaml", &more);
    let file = world.directory().join("aws-credentials");
    let profile = "[elsewhere]\naws_access_key_id = ELSEWHERE\naws_secret_access_key = secret of elsewhere\n";
    fs::write(&file, profile).unwrap();
    let program = |arguments: &[&str]| {
        let program = world.program(arguments);
        program.env("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap())
    };
    let backup_id = world.back_up();
    world.mark_targets();
    program(&["copy"]).run().ok();
    for request in world.s3.controls.requests() {
        assert_eq!(
            (request.region.as_str(), request.access_key.as_str()),
            ("us-east-1", crate::support::s3::ACCESS_KEY)
        );
    }
    let asked_first = world.s3.controls.requests().len();
    let mut agent = Agent::of_program(program(&["--repository", "offsite", "restore-agent"]), &[]);
    let status = agent.wait_until("a certificate", |status| {
        status.counts.runs.contains_key(&Outcome::Certified)
    });
    assert_eq!(status.runs[0].backup_id.as_deref(), Some(backup_id.as_str()));
    agent.stop();
    assert_eq!(
        world.s3.controls.requests().len(),
        asked_first,
        "the first place was not asked"
    );
    let of_elsewhere = elsewhere.controls.requests();
    for request in &of_elsewhere {
        assert_eq!(
            (request.region.as_str(), request.access_key.as_str()),
            ("eu-central-1", "ELSEWHERE")
        );
    }
    assert!(of_elsewhere.len() > 20, "{}", of_elsewhere.len());
    let proven = elsewhere.keys(&format!("offsite/certificates/{backup_id}/"));
    assert!(proven.iter().any(|key| key.ends_with(".certified.json")), "{proven:?}");
    assert!(world.keys("certificates/").is_empty(), "it is the copy that was proven");
}
