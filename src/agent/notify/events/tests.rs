//! Who is told what, by example.

use super::*;
use crate::http::status::BackupStatus;

use DrillState::{Certified, Failed, Started, Unverified};

const HOUR: i64 = 3600;
const WANTED: Wanted = Wanted {
    unverified_after: Duration::from_hours(6),
    success: NotifySuccess::Never,
    has_told_unverified: false,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn id(second: i64) -> String {
    format!("{second:012}")
}

/// Backups in order, each with its drills so far.
fn bucket(backups: &[(&str, &[(i64, DrillState)])]) -> RepositoryStatus {
    let drill = |(second, state): &(i64, DrillState)| DrillStatus {
        drill_id: id(*second),
        started: at(*second),
        state: *state,
    };
    let backup = |(backup_id, drills): &(&str, &[(i64, DrillState)])| BackupStatus {
        // Where it is one, it tells since when it waits.
        backup_id: (*backup_id).to_owned(),
        damage: None,
        contents: None,
        drills: drills.iter().map(drill).collect(),
        drift: None,
    };
    RepositoryStatus {
        read_at: at(0),
        backups: backups.iter().map(backup).collect(),
        frozen: None,
        newest_certificate: None,
    }
}

fn told_as(wanted: Wanted, repository: &RepositoryStatus, backup_id: &str, drill: (i64, DrillState)) -> Vec<Event> {
    let drilled = Drilled {
        backup_id,
        drill_id: &id(drill.0),
        started: at(drill.0),
        state: drill.1,
    };
    events(repository, drilled, wanted)
}

fn told(repository: &RepositoryStatus, backup_id: &str, drill: (i64, DrillState)) -> Vec<Event> {
    told_as(WANTED, repository, backup_id, drill)
}

#[test]
fn each_failure_is_told() {
    let first = bucket(&[("a", &[])]);
    assert_eq!(told(&first, "a", (10, Failed)), [Event::Failed]);
    let second = bucket(&[("a", &[(10, Failed)])]);
    assert_eq!(told(&second, "a", (20, Failed)), [Event::Failed]);
}

#[test]
fn the_first_certified_one_after_a_failure_is_a_recovery_and_later_ones_are_not() {
    let healed = bucket(&[("a", &[(10, Failed), (20, Failed)]), ("b", &[])]);
    assert_eq!(told(&healed, "b", (30, Certified)), [Event::Recovered]);
    let flake = bucket(&[("a", &[(10, Failed)])]);
    assert_eq!(told(&flake, "a", (20, Certified)), [Event::Recovered]);
    let later = bucket(&[
        ("a", &[(10, Failed), (20, Failed)]),
        ("b", &[(30, Certified)]),
        ("c", &[]),
    ]);
    assert_eq!(told(&later, "c", (40, Certified)), []);
    // The drill's own marker is not another drill.
    let begun = bucket(&[("a", &[(10, Failed), (20, Started)])]);
    assert_eq!(told(&begun, "a", (20, Certified)), [Event::Recovered]);
}

#[test]
fn an_older_backup_makes_up_for_no_newer_one_that_failed() {
    let failed = bucket(&[("a", &[]), ("b", &[(10, Failed), (20, Failed)])]);
    assert_eq!(told(&failed, "a", (30, Certified)), []);
    let then = bucket(&[
        ("a", &[(30, Certified)]),
        ("b", &[(10, Failed), (20, Failed)]),
        ("c", &[]),
    ]);
    assert_eq!(told(&then, "c", (40, Certified)), [Event::Recovered]);
}

const FIRST: &str = "19700101T000000Z-00000001";
const SECOND: &str = "19700101T060000Z-00000002";
const THIRD: &str = "19700101T120000Z-00000003";

fn overdue_at(repository: &RepositoryStatus, second: i64) -> Option<(String, i64)> {
    let overdue = overdue(repository, WANTED.unverified_after, at(second))?;
    Some((overdue.backup_id, overdue.since.as_second()))
}

#[test]
fn a_backup_that_nobody_judges_is_overdue_with_or_without_records() {
    for drills in [
        &[][..],
        &[(HOUR, Started)],
        &[(HOUR, Unverified), (5 * HOUR, Unverified)],
    ] {
        let waiting = bucket(&[(FIRST, drills)]);
        assert_eq!(overdue_at(&waiting, 6 * HOUR - 1), None, "{drills:?}");
        assert_eq!(
            overdue_at(&waiting, 6 * HOUR),
            Some((FIRST.to_owned(), 0)),
            "{drills:?}"
        );
    }
    assert_eq!(overdue_at(&bucket(&[]), 9 * HOUR), None);
}

/// With a backup every six hours, none is the newest for longer.
#[test]
fn the_time_without_a_verdict_goes_on_over_new_backups_and_counts_from_the_last_verdict() {
    let waiting = bucket(&[(FIRST, &[]), (SECOND, &[(7 * HOUR, Unverified)]), (THIRD, &[])]);
    assert_eq!(overdue_at(&waiting, 13 * HOUR), Some((THIRD.to_owned(), 0)));
    let judged = bucket(&[(FIRST, &[(8 * HOUR, Certified)]), (SECOND, &[]), (THIRD, &[])]);
    assert_eq!(overdue_at(&judged, 13 * HOUR), None);
    assert_eq!(overdue_at(&judged, 14 * HOUR), Some((THIRD.to_owned(), 8 * HOUR)));
    // An older one without a verdict is not what is waited for.
    let settled = bucket(&[(FIRST, &[]), (SECOND, &[(7 * HOUR, Certified)])]);
    assert_eq!(overdue_at(&settled, 99 * HOUR), None);
    // A quiet time is no time without a verdict: the new backup has just come.
    let quiet = bucket(&[(FIRST, &[(HOUR, Certified)]), (THIRD, &[])]);
    assert_eq!(overdue_at(&quiet, 17 * HOUR), None);
    assert_eq!(overdue_at(&quiet, 18 * HOUR), Some((THIRD.to_owned(), 12 * HOUR)));
}

#[test]
fn a_drill_that_cannot_judge_tells_nothing_by_itself() {
    let waiting = bucket(&[(FIRST, &[(HOUR, Unverified)])]);
    assert_eq!(told(&waiting, FIRST, (9 * HOUR, Unverified)), []);
}

#[test]
fn what_may_have_been_told_is_followed_by_its_recovery() {
    let in_vain = bucket(&[(FIRST, &[(HOUR, Unverified)])]);
    assert_eq!(told(&in_vain, FIRST, (6 * HOUR, Certified)), [Event::Recovered]);
    // Nobody can have been told yet.
    assert_eq!(told(&in_vain, FIRST, (5 * HOUR, Certified)), []);
    // Nobody has tried.
    assert_eq!(told(&bucket(&[(FIRST, &[])]), FIRST, (9 * HOUR, Certified)), []);
    // This process has told it, of drills that left no record.
    let has_told = Wanted {
        has_told_unverified: true,
        ..WANTED
    };
    let untried = bucket(&[(FIRST, &[])]);
    assert_eq!(
        told_as(has_told, &untried, FIRST, (9 * HOUR, Certified)),
        [Event::Recovered]
    );
}

#[test]
fn a_new_process_tells_the_last_verdict_again_if_it_matters() {
    let again_of = |backups: &[(&str, &[(i64, DrillState)])]| {
        let repository = bucket(backups);
        again(&repository, WANTED).map(|(event, backup_id, drill)| (event, backup_id.to_owned(), drill.started))
    };
    let failed: &[(i64, DrillState)] = &[(10, Failed), (20, Failed)];
    assert_eq!(
        again_of(&[("a", failed), ("b", &[(30, Started)])]),
        Some((Event::Failed, "a".to_owned(), at(20)))
    );
    assert_eq!(
        again_of(&[("a", failed), ("b", &[(30, Certified)])]),
        Some((Event::Recovered, "b".to_owned(), at(30)))
    );
    // Everybody knows by now.
    assert_eq!(
        again_of(&[("a", failed), ("b", &[(30, Certified), (40, Certified)])]),
        None
    );
    assert_eq!(again_of(&[("a", &[(10, Certified)])]), None);
    assert_eq!(again_of(&[("a", &[(10, Unverified)])]), None);
}

#[test]
fn success_is_told_to_who_wants_it() {
    let each = Wanted {
        success: NotifySuccess::Each,
        ..WANTED
    };
    let certified = bucket(&[("a", &[(10, Certified)]), ("b", &[])]);
    assert_eq!(told_as(each, &certified, "b", (20, Certified)), [Event::Certified]);
    let failed = bucket(&[("a", &[(10, Failed)])]);
    assert_eq!(told_as(each, &failed, "a", (20, Certified)), [Event::Recovered]);
}

#[test]
fn the_first_certified_drill_of_a_day_brings_the_digest() {
    let daily = Wanted {
        success: NotifySuccess::Daily,
        ..WANTED
    };
    let digest = |drills, since| Event::Digest {
        drills,
        since: at(since),
    };
    let empty = bucket(&[("a", &[])]);
    assert_eq!(told_as(daily, &empty, "a", (HOUR, Certified)), [digest(1, HOUR)]);
    let same_day = bucket(&[("a", &[(HOUR, Certified)]), ("b", &[])]);
    assert_eq!(told_as(daily, &same_day, "b", (7 * HOUR, Certified)), []);
    let days = bucket(&[
        ("a", &[(HOUR, Certified)]),
        ("b", &[(26 * HOUR, Certified)]),
        ("c", &[(30 * HOUR, Certified)]),
        ("d", &[]),
    ]);
    // The one before it and its own.
    assert_eq!(
        told_as(daily, &days, "d", (50 * HOUR, Certified)),
        [digest(2, 26 * HOUR)]
    );
}
