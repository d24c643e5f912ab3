//! What the loop makes of looks and runs as they end, whatever their order.

use super::*;
use crate::config;
use crate::http::sample;
use crate::http::status::AgentKind;

fn work() -> Work {
    let settings = config::load(None, []).unwrap();
    let live = Live::new(AgentKind::BackupAgent, &settings, Timestamp::now());
    Work::new(settings, Environment::default(), live, CancellationToken::new())
}

/// A look at a bucket whose newest backup began then.
fn look_at(newest: Option<Timestamp>, began: Instant) -> Looked {
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
    Looked {
        began,
        view: View::default(),
        newest: Some(Newest(newest)),
        seen: Ok(repository),
    }
}

#[test]
fn what_was_seen_before_a_run_had_ended_makes_no_second_run() {
    let (mut work, began) = (work(), Instant::now());
    let started = Timestamp::now();
    work.attempted(Attempted::Succeeded(started));
    work.looked(look_at(None, began));
    assert_eq!(work.agenda.newest(), Some(started));
    assert_eq!(work.agenda.begin(Timestamp::now()), None);
    assert_eq!(work.live.status(started).repository, None);

    work.looked(look_at(Some(started), Instant::now()));
    assert_eq!(work.agenda.begin(Timestamp::now()), None);
    assert!(work.live.status(started).repository.is_some());
}
