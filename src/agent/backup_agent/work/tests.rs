//! What the loop makes of looks and runs as they end, whatever their order.

use jiff::SignedDuration;

use super::*;
use crate::config;
use crate::http::sample;
use crate::http::status::AgentKind;

fn work() -> Work {
    let settings = config::load(None, []).unwrap();
    let live = Live::new(AgentKind::BackupAgent, &settings, Timestamp::now());
    Work::new(settings, Environment::default(), live, CancellationToken::new())
}

/// A bucket whose newest backup began then.
fn bucket(newest: Option<Timestamp>) -> RepositoryStatus {
    let mut repository = sample::repository();
    repository.backups.retain(|backup| backup.contents.is_some());
    repository.backups.truncate(usize::from(newest.is_some()));
    for contents in repository
        .backups
        .iter_mut()
        .filter_map(|backup| backup.contents.as_mut())
    {
        contents.started = newest.unwrap_or_default();
    }
    repository
}

#[test]
fn what_was_seen_before_a_run_had_ended_makes_no_second_run() {
    let (mut work, began) = (work(), Instant::now());
    let started = Timestamp::now();
    work.attempted(Attempted::Succeeded(started));
    work.looked((began, View::default(), Ok(bucket(None))));
    assert_eq!(work.agenda.newest(), Some(started));
    assert_eq!(work.agenda.begin(Timestamp::now()), None);
    assert_eq!(work.live.status(started).repository, None);

    work.looked((Instant::now(), View::default(), Ok(bucket(Some(started)))));
    assert_eq!(work.agenda.begin(Timestamp::now()), None);
    assert!(work.live.status(started).repository.is_some());
}

#[test]
fn a_backup_that_began_in_the_future_counts_for_nothing() {
    let now = Timestamp::now();
    let hours = |hours| now + SignedDuration::from_hours(hours);
    assert_eq!(newest(&bucket(Some(hours(-7))), now), Some(hours(-7)));
    assert_eq!(newest(&bucket(Some(hours(80_000))), now), None);
}
