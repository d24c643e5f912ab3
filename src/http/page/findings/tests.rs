//! What is wrong is said, and what is merely old is not called well.

use std::sync::Arc;

use jiff::SignedDuration;

use super::*;
use crate::http::sample;
use crate::http::status::AgentKind;

fn newest(status: &mut Status) -> &mut BackupStatus {
    sample::repository_of(status).backups.last_mut().unwrap()
}

#[test]
fn a_certified_newest_backup_within_its_objectives_leaves_nothing_to_say() {
    assert_eq!(findings(&good()), []);
}

/// Nothing is to be said of it.
fn good() -> Status {
    let mut status = sample::restore_agent();
    let backups = &mut sample::repository_of(&mut status).backups;
    backups.remove(16);
    backups.remove(4);
    newest(&mut status).drills[0].state = DrillState::Certified;
    status
}

/// So long after a moment at which all was well.
fn texts_after(hours: i64, change: impl Fn(&mut Status)) -> Vec<String> {
    let mut status = good();
    let passed = SignedDuration::from_hours(hours);
    status.now += passed;
    sample::repository_of(&mut status).read_at += passed;
    change(&mut status);
    findings(&status).into_iter().map(|finding| finding.text).collect()
}

#[test]
fn a_newest_backup_that_is_old_is_not_called_well_whoever_certified_it() {
    let no_objective = |status: &mut Status| status.objectives.rpo_seconds = None;
    assert_eq!(texts_after(25, no_objective), [""; 0]);
    assert_eq!(
        texts_after(27, no_objective),
        ["The newest usable backup was made 28 h ago."]
    );
    let found = texts_after(40 * 24, no_objective);
    assert!(
        found[0].starts_with("The newest usable backup was made 40 days ago"),
        "{found:?}"
    );
    assert!(
        found[1].starts_with("The newest certified backup was made 40 days ago"),
        "{found:?}"
    );
    // Who makes one a week has said so.
    let weekly = |status: &mut Status| status.objectives.rpo_seconds = Some(8.0 * 86_400.0);
    assert_eq!(texts_after(7 * 24, weekly), [""; 0]);
}

#[test]
fn a_newest_backup_that_nothing_has_judged_is_not_called_well() {
    let undrilled = |status: &mut Status| newest(status).drills.clear();
    assert_eq!(texts_after(1, undrilled), [""; 0]);
    let begun = |status: &mut Status| newest(status).drills[0].state = DrillState::Started;
    let told = "The newest backup has no verdict, and no drill could judge any for ";
    for found in [texts_after(3, undrilled), texts_after(3, begun)] {
        assert!(found.iter().any(|text| text.starts_with(told)), "{found:?}");
    }
    // Newer backups come and go, and none is ever judged.
    let never = |status: &mut Status| {
        for backup in &mut sample::repository_of(status).backups[10..] {
            backup.drills.clear();
        }
    };
    let found = texts_after(0, never);
    assert!(found.iter().any(|text| text.starts_with(told)), "{found:?}");
}

#[test]
fn an_agent_whose_drills_all_end_without_a_record_is_not_called_well() {
    let refused = |status: &mut Status| {
        status.runs[0].outcome = Outcome::Unverified;
        status.runs[0].message = Some("no certificate was stored: access denied".to_owned());
    };
    let found = texts_after(0, refused);
    assert!(
        found[0].contains("no certificate was stored: access denied"),
        "{found:?}"
    );
}

#[test]
fn a_failed_drill_and_a_missed_recovery_point_are_bad_and_come_first() {
    let mut status = sample::restore_agent();
    newest(&mut status).drills[0].state = DrillState::Failed;
    status.objectives.rpo_seconds = Some(3600.0);
    status.waiting_for = Some("the store".to_owned());
    let found = findings(&status);
    assert_eq!(found.iter().filter(|finding| finding.level == Level::Bad).count(), 2);
    assert!(
        found[0].text.contains("wrong") && found[1].text.contains("7 h would be lost"),
        "{found:?}"
    );
    assert!(found[2..].iter().any(|finding| finding.text == "Waiting: the store."));
}

#[test]
fn a_frozen_deletion_comes_first_and_names_the_tables() {
    let mut status = sample::restore_agent();
    let repository = sample::repository_of(&mut status);
    repository.frozen = Some("backup b holds less than before".to_owned());
    newest(&mut status).drift = Some(sample::drift());
    let found = findings(&status);
    assert_eq!(found[0].level, Level::Bad);
    let beginning = "Deletion is frozen: backup b holds less than before. table public.<b>notes</b> of shop is gone";
    assert!(found[0].text.starts_with(beginning), "{found:?}");
    let page = crate::http::page::page(&status);
    assert!(page.contains("&lt;b&gt;notes") && !page.contains("<b>notes"));
    newest(&mut status).drift.as_mut().unwrap().findings = 0;
    let found = findings(&status);
    let frozen = found
        .iter()
        .find(|finding| finding.text.starts_with("Deletion is frozen"));
    assert_eq!(frozen.unwrap().level, Level::Warn);
}

#[test]
fn retention_that_failed_is_told_until_one_comes_to_its_end_and_so_is_what_the_store_kept() {
    let mut status = sample::backup_agent();
    status.retention.current = None;
    let told = |status: &Status| -> Vec<String> {
        let texts = findings(status).into_iter().map(|finding| finding.text);
        texts
            .filter(|text| text.starts_with("Retention") || text.starts_with("The store kept"))
            .collect()
    };
    assert_eq!(told(&status), [""; 0]);
    let succeeded = status.retention.last_succeeded.take();
    assert_eq!(
        told(&status),
        ["Retention failed 11 h ago: the store answered 503. The backups stand, and old ones stay."]
    );
    status.retention.last_succeeded = succeeded;
    let last = status.retention.last_succeeded.as_mut().unwrap();
    last.retained_objects = 7;
    last.message = Some("access denied".to_owned());
    assert_eq!(
        told(&status),
        ["The store kept 7 objects that should have gone: access denied."]
    );
}

#[test]
fn objects_that_had_to_be_read_from_older_versions_are_an_alarm() {
    let mut status = good();
    let certificate = sample::repository_of(&mut status).newest_certificate.as_mut();
    certificate.unwrap().older_versions = 3;
    let found = findings(&status);
    assert_eq!(found[0].level, Level::Bad);
    assert!(found[0].text.contains("read 3 from older versions"), "{found:?}");
}

#[test]
fn what_was_read_long_ago_is_not_called_well() {
    let mut status = sample::restore_agent();
    let is_stale = |status: &Status| {
        findings(status)
            .iter()
            .any(|finding| finding.text.starts_with("The bucket was last read 11 min ago"))
    };
    sample::repository_of(&mut status).read_at = status.now - SignedDuration::from_mins(11);
    assert!(is_stale(&status));
    // It is looked at so seldom.
    status.poll_seconds = 240.0;
    assert!(!is_stale(&status));
    sample::repository_of(&mut status).read_at = status.now - SignedDuration::from_mins(10);
    status.poll_seconds = 60.0;
    assert!(!is_stale(&status));
}

#[test]
fn a_verdict_without_a_certificate_that_can_be_read_is_told() {
    let mut status = sample::restore_agent();
    sample::repository_of(&mut status).newest_certificate = None;
    let found = findings(&status);
    assert!(
        found
            .iter()
            .any(|finding| finding.text.contains("certificate cannot be read")),
        "{found:?}"
    );
}

#[test]
fn an_unread_and_an_empty_bucket_are_unknown_and_never_good() {
    let mut status = sample::empty(AgentKind::RestoreAgent);
    assert_eq!(findings(&status)[0].level, Level::Unknown);
    let mut repository = sample::repository();
    repository.backups.clear();
    repository.newest_certificate = None;
    status.repository = Some(Arc::new(repository));
    assert_eq!(findings(&status)[0].level, Level::Unknown);
}

#[test]
fn a_copy_that_could_not_be_filled_or_is_late_is_named_with_what_it_lacks() {
    let told = |change: &dyn Fn(&mut Vec<crate::http::status::CopyStatus>)| {
        let mut status = good();
        status.copies = sample::copies();
        change(&mut status.copies);
        let texts = findings(&status).into_iter().map(|finding| finding.text);
        texts.collect::<Vec<_>>()
    };
    assert_eq!(
        told(&|_| {}),
        [
            "The copy 'offsite' could not be filled: put 'probes/5f': connection refused. Now 2 backups are not there, for \
             6 h 20 min."
        ]
    );
    let unknown = told(&|copies| {
        copies[1].trouble = None;
        copies[1].missing = None;
    });
    assert_eq!(
        unknown,
        ["The copy 'offsite' is behind: it is not known what it holds, for 6 h 20 min."]
    );
    let in_time = told(&|copies| {
        copies[1].trouble = None;
        copies[1].behind_since = Some(sample::NOW - SignedDuration::from_hours(5));
    });
    assert_eq!(in_time, [""; 0]);
    let retention_failed = told(&|copies| {
        copies.truncate(1);
        copies[0].retention.last_failed = Some(crate::http::status::FailedRetention {
            started: sample::NOW - SignedDuration::from_mins(2),
            finished: sample::NOW - SignedDuration::from_mins(1),
            message: "the store answered 503".to_owned(),
        });
    });
    assert_eq!(
        retention_failed,
        ["Retention of the copy 'nas' failed 1 min ago: the store answered 503."]
    );
}

#[test]
fn what_the_store_of_a_copy_kept_is_told_with_the_name_of_the_copy() {
    let mut status = good();
    status.copies = sample::copies();
    status.copies.truncate(1);
    let kept = |objects| crate::http::status::SucceededRetention {
        started: sample::NOW,
        finished: sample::NOW,
        expired_backups: 0,
        deleted_objects: 0,
        retained_objects: objects,
        message: Some("access denied".to_owned()),
    };
    let mut told = |objects| {
        status.copies[0].retention.last_succeeded = Some(kept(objects));
        let texts = findings(&status).into_iter().map(|finding| finding.text);
        texts.collect::<Vec<_>>()
    };
    assert_eq!(told(0), [""; 0]);
    assert_eq!(
        told(1),
        ["The store of the copy 'nas' kept one object that should have gone: access denied."]
    );
    assert_eq!(
        told(7),
        ["The store of the copy 'nas' kept 7 objects that should have gone: access denied."]
    );
}
