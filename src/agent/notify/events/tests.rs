//! Who is told what, by example.

use super::*;
use crate::http::status::BackupStatus;

use DrillState::{Certified, Failed, Started, Unverified};

const HOUR: i64 = 3600;
const WANTED: Wanted = Wanted {
    unverified_after: Duration::from_hours(6),
    success: NotifySuccess::Never,
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

#[test]
fn what_nobody_could_judge_for_too_long_is_told_once() {
    let mut drills = vec![(0, Unverified), (HOUR, Started), (5 * HOUR, Unverified)];
    assert_eq!(told(&bucket(&[("a", &drills)]), "a", (6 * HOUR - 1, Unverified)), []);
    assert_eq!(
        told(&bucket(&[("a", &drills)]), "a", (6 * HOUR, Unverified)),
        [Event::Unverified]
    );
    drills.push((6 * HOUR, Unverified));
    assert_eq!(told(&bucket(&[("a", &drills)]), "a", (7 * HOUR, Unverified)), []);
    assert_eq!(
        told(&bucket(&[("a", &drills)]), "a", (8 * HOUR, Certified)),
        [Event::Recovered]
    );
    // Nobody had been told.
    assert_eq!(told(&bucket(&[("a", &[(0, Unverified)])]), "a", (HOUR, Certified)), []);
}

/// With a backup every six hours, none is the newest for longer.
#[test]
fn the_time_without_a_verdict_goes_on_over_new_backups() {
    let drills: &[(i64, DrillState)] = &[(10, Certified), (HOUR, Unverified)];
    let passed = bucket(&[("a", drills), ("b", &[(5 * HOUR, Unverified)]), ("c", &[])]);
    assert_eq!(told(&passed, "c", (7 * HOUR, Unverified)), [Event::Unverified]);
    // A verdict in between begins it anew.
    let judged = bucket(&[("a", drills), ("b", &[(5 * HOUR, Certified)]), ("c", &[])]);
    assert_eq!(told(&judged, "c", (7 * HOUR, Unverified)), []);
}

#[test]
fn a_reproof_that_cannot_judge_takes_nothing_back_and_is_not_told() {
    let certified = bucket(&[("a", &[(0, Certified), (HOUR, Unverified)]), ("b", &[(10, Certified)])]);
    assert_eq!(told(&certified, "a", (9 * HOUR, Unverified)), []);
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
