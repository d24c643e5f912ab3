//! When a place is filled again, and what is said of it meanwhile.

use std::io::Write as _;

use super::*;
use crate::config;
use crate::http::sample;
use crate::http::status::AgentKind;
use crate::repository::Left;
use crate::repository::id::BackupId;

const FILE: &str = "
repository: {bucket: b}
backup_agent: {retry_first: 1m, retry_max: 4m}
copies: [{name: nas, directory: /backups}, {name: cold, bucket: c, after_backup: false}]
";

fn now() -> Timestamp {
    "2026-11-28T12:00:00Z".parse().unwrap()
}

fn minutes(minutes: i64) -> Timestamp {
    now() + jiff::SignedDuration::from_mins(minutes)
}

fn settings() -> Settings {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(FILE.as_bytes()).unwrap();
    config::load(Some(file.path()), []).unwrap()
}

fn lane() -> (Lane, Live) {
    let settings = settings();
    let live = Live::new(AgentKind::BackupAgent, &settings, now());
    (Lane::new(settings.copy("nas").unwrap(), &settings, now()), live)
}

fn failed() -> Filled {
    let error = crate::storage::Error::new(crate::storage::ErrorKind::Unavailable, "put", "chunks/x");
    Filled {
        copied: Err(error.into()),
        let_go: None,
    }
}

fn of(report: CopyReport) -> Filled {
    Filled {
        copied: Ok(report),
        let_go: None,
    }
}

/// A bucket whose backups have names like real ones.
fn bucket() -> RepositoryStatus {
    let mut repository = sample::repository();
    for (number, backup) in (0..).zip(&mut repository.backups) {
        backup.backup_id = BackupId::new(minutes(number), 1).to_string();
    }
    repository
}

fn ids(repository: &RepositoryStatus) -> BTreeSet<BackupId> {
    let ids = repository
        .backups
        .iter()
        .filter_map(|backup| backup.backup_id.parse().ok());
    ids.collect()
}

#[test]
fn copies_that_are_to_be_filled_by_others_have_no_lane() {
    let copies = super::super::copies::Copies::new(&settings(), now());
    let live = lane().1;
    copies.tell(&live);
    let names: Vec<String> = live.status(now()).copies.into_iter().map(|copy| copy.name).collect();
    assert_eq!(names, ["nas"]);
}

#[test]
fn a_place_that_is_away_is_tried_again_after_growing_pauses_that_have_an_end() {
    let (mut lane, live) = lane();
    assert_eq!(lane.due, Some(now()), "what an outage left behind is caught up at once");
    for pause in [1, 2, 4, 4, 4] {
        lane.filled(failed(), &live, now());
        assert_eq!(lane.due, Some(minutes(pause)));
    }
    lane.want(minutes(3));
    assert_eq!(lane.due, Some(minutes(3)), "a new backup is brought at once");
    lane.filled(failed(), &live, now());
    assert_eq!(lane.due, Some(minutes(1)));
    let counts = &live.status(now()).counts.copies["nas"];
    assert_eq!((counts.failed, counts.complete), (6, 0));
}

#[test]
fn what_is_not_known_is_not_said_and_a_place_never_seen_is_behind() {
    let (mut lane, live) = lane();
    let repository = sample::repository();
    let status = lane.status(None);
    assert_eq!((status.missing, status.behind_since), (None, None));
    lane.filled(failed(), &live, now());
    let status = lane.status(Some(&repository));
    assert_eq!(
        (status.missing, status.behind_since, status.last_success),
        (None, Some(now()), None)
    );
    assert!(status.trouble.unwrap().contains("chunks/x"));
}

#[test]
fn a_place_is_behind_since_its_oldest_missing_backup_could_be_used() {
    let (mut lane, live) = lane();
    let repository = bucket();
    let mut settled = ids(&repository);
    assert_eq!(settled.len(), repository.backups.len());
    let complete = CopyReport {
        settled: settled.clone(),
        ..CopyReport::default()
    };
    lane.filled(of(complete), &live, now());
    let status = lane.status(Some(&repository));
    assert_eq!(
        (status.missing, status.behind_since, status.trouble),
        (Some(0), None, None)
    );
    assert_eq!((status.last_success, lane.due), (Some(now()), None));
    lane.saw(&repository, now());
    assert_eq!(lane.due, None);

    // The two newest are another agent's, which brings them itself; if it does not, this one does.
    let newest: Vec<BackupId> = [settled.pop_last(), settled.pop_last()].into_iter().flatten().collect();
    let left = CopyReport {
        left: vec![Left {
            backup_id: newest[0].clone(),
            reason: "damaged".to_owned(),
        }],
        settled,
        ..CopyReport::default()
    };
    lane.settled = Some(left.settled.iter().map(ToString::to_string).collect());
    lane.saw(&repository, now());
    assert_eq!(lane.due, Some(minutes(4)));
    lane.filled(of(left), &live, now());
    let status = lane.status(Some(&repository));
    let oldest = repository.backups[repository.backups.len() - 2]
        .contents
        .as_ref()
        .unwrap();
    assert_eq!(
        (status.missing, status.behind_since),
        (Some(2), Some(oldest.usable_since))
    );
    assert!(status.trouble.unwrap().ends_with("damaged"));
    let counts = &live.status(now()).counts.copies["nas"];
    assert_eq!((counts.complete, counts.incomplete), (1, 1));
}
