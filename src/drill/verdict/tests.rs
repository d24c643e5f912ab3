//! The closed list of causes, one by one, and that nothing else is unverified.

use super::super::check::CheckName;
use super::super::samples;
use super::*;
use crate::storage;

fn preflight(problems: Vec<Problem>) -> Error {
    restore::Error::Preflight(problems).into()
}

fn too_old() -> Problem {
    Problem::TargetOlder { origin: 16, target: 15 }
}

fn not_empty() -> Problem {
    Problem::NotEmpty {
        database: "d".to_owned(),
        objects: Vec::new(),
    }
}

fn refused(kind: storage::ErrorKind) -> Error {
    repository::Error::Storage(storage::Error::new(kind, "get", "k")).into()
}

#[test]
fn each_known_circumstance_is_unverified_with_its_cause() {
    let settings = || postgres::Error::Settings("no such locale".to_owned());
    let locale = restore::Error::MissingLocale {
        encoding: "UTF8".to_owned(),
        locale: "xx_XX".to_owned(),
        source: settings(),
    };
    let absent = Problem::DatabaseAbsent {
        database: "d".to_owned(),
    };
    let locked = Refusal::Locked {
        database: "d".to_owned(),
    };
    let lost = Refusal::LockLost {
        database: "d".to_owned(),
    };
    let no_scratch = |is_denied| Problem::NoScratchDatabase {
        user: "u".to_owned(),
        reason: String::new(),
        is_denied,
    };
    let runs_jobs = Problem::RunsJobs {
        database: "d".to_owned(),
        runners: Vec::new(),
    };
    let jobs_unknown = Problem::JobsUnknown {
        user: "u".to_owned(),
        extensions: vec!["pg_cron".to_owned()],
    };
    let newer = repository::Error::UnknownFormat {
        key: "k".to_owned(),
        found: 7,
        known: 1,
    };
    let full = postgres::Error::Program {
        program: "pg_restore".to_owned(),
        message: postgres::Said::ours("ERROR:  could not extend file \"base/5/16397\": No space left on device"),
    };
    let library = postgres::Error::Program {
        program: "pg_restore".to_owned(),
        message: postgres::Said::ours(
            "could not execute query: ERROR:  could not access file \"$libdir/x\": No such file",
        ),
    };
    let settings = postgres::Error::Settings("the target's sslrootcert cannot be read".to_owned());
    let no_memory_file = postgres::Error::Program {
        program: "memfd_create".to_owned(),
        message: postgres::Said::ours("cannot be run: Too many open files (os error 24)"),
    };
    let no_count = postgres::Error::NoCount {
        doing: "read table t".to_owned(),
    };
    let silent = postgres::Error::Silent {
        server: "target".to_owned(),
        looks: 5,
        seconds: 10,
    };
    let programs = Problem::Programs("no pg_dump and pg_restore".to_owned());
    let lock_space = Problem::LockSpace {
        needed: 10_000,
        available: 6400,
    };
    let limit = std::time::Duration::from_secs(1);
    for (error, cause) in [
        (preflight(vec![no_scratch(true)]), Cause::Credentials),
        (preflight(vec![no_scratch(false)]), Cause::TargetAbsent),
        (preflight(vec![jobs_unknown]), Cause::Credentials),
        (preflight(vec![runs_jobs]), Cause::TargetAbsent),
        (Error::TooLong { limit }, Cause::Interrupted),
        (preflight(vec![absent]), Cause::TargetAbsent),
        (preflight(vec![programs]), Cause::TargetAbsent),
        (preflight(vec![lock_space]), Cause::TargetAbsent),
        (preflight(vec![Problem::Standby]), Cause::TargetAbsent),
        (restore::Error::Guard(locked).into(), Cause::TargetAbsent),
        (refused(storage::ErrorKind::Credentials), Cause::Credentials),
        (refused(storage::ErrorKind::Denied), Cause::Credentials),
        (
            preflight(vec![Problem::MissingExtensions(Vec::new())]),
            Cause::MissingExtension,
        ),
        (locale.into(), Cause::MissingLocale),
        (refused(storage::ErrorKind::Unavailable), Cause::Interrupted),
        (refused(storage::ErrorKind::Other), Cause::Interrupted),
        (refused(storage::ErrorKind::Unsupported), Cause::Interrupted),
        (newer.into(), Cause::Interrupted),
        (preflight(vec![too_old()]), Cause::SourceMajorAboveTarget),
        (restore::Error::Guard(lost).into(), Cause::Interrupted),
        (Error::Interrupted, Cause::Interrupted),
        (full.into(), Cause::Interrupted),
        (library.into(), Cause::MissingExtension),
        (no_count.into(), Cause::Interrupted),
        (settings.into(), Cause::TargetAbsent),
        (no_memory_file.into(), Cause::Interrupted),
        (preflight(vec![not_empty()]), Cause::TargetAbsent),
        (restore::Error::Residue(Vec::new()).into(), Cause::TargetAbsent),
        (silent.into(), Cause::TargetAbsent),
    ] {
        assert_eq!(cause_of(&error), Some(cause), "{error}");
    }
}

#[test]
fn anything_else_is_failed() {
    let damaged = repository::Error::Damaged {
        key: "k".to_owned(),
        reason: "flipped".to_owned(),
    };
    let program = postgres::Error::Program {
        program: "pg_restore".to_owned(),
        message: postgres::Said::ours("exit status: 1"),
    };
    for error in [
        preflight(vec![Problem::MissingRoles(Vec::new())]),
        preflight(vec![too_old(), Problem::MissingRoles(Vec::new())]),
        restore::Error::Contradiction(String::new()).into(),
        damaged.into(),
        program.into(),
        refused(storage::ErrorKind::NotFound),
    ] {
        assert_eq!(cause_of(&error), None, "{error}");
        let outcomes = [DatabaseOutcome::Stopped(samples::database("shop"), error)];
        assert_eq!(judge(&outcomes), Verdict::Failed);
    }
}

#[test]
fn one_failed_database_outweighs_one_that_could_not_be_judged_and_both_outweigh_equality() {
    let equal = || DatabaseOutcome::Compared(samples::database("equal"));
    let no_target = || DatabaseOutcome::NoTarget("none".to_owned());
    let differs = || {
        let mut database = samples::database("differs");
        database.equal = false;
        DatabaseOutcome::Compared(database)
    };
    assert_eq!(judge(&[equal(), equal()]), Verdict::Certified);
    assert_eq!(judge(&[equal(), no_target()]), Verdict::Unverified(Cause::TargetAbsent));
    assert_eq!(judge(&[no_target(), equal(), differs()]), Verdict::Failed);
    assert_eq!(judge(&[]), Verdict::Failed, "a backup of nothing proves nothing");
}

#[test]
fn the_first_line_counts_what_it_does_not_name() {
    let not_tested: Vec<String> = (1..=7).map(|number| format!("t{number}")).collect();
    let outcomes = [DatabaseOutcome::Compared(samples::database("shop"))];
    let line = summary(Verdict::Certified, &outcomes, &[], &[], &not_tested);
    assert!(
        line.starts_with("CERTIFIED: shop") && line.ends_with("not tested: t1, t2, t3, t4, t5 and 2 more"),
        "{line}"
    );
    assert_eq!(line.lines().count(), 1);
}

#[test]
fn reasons_name_the_check_and_the_object() {
    let mut database = samples::database("shop");
    database.checks.push(Check {
        object: Some("table t".to_owned()),
        ..Check::failed(CheckName::Rows, "")
    });
    assert_eq!(
        reasons(&[DatabaseOutcome::Compared(database)]),
        ["database shop: rows failed: table t"]
    );
}
