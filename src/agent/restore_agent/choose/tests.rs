//! The rules by example, and what must hold whatever lies in the bucket.

use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use super::super::records::is_settled;
use super::*;
use crate::http::status::BackupContents;

use DrillState::{Certified, Failed, Started, Unverified};

const MINUTE: i64 = 60;
const BACKOFF: Backoff = Backoff {
    first: Duration::from_mins(1),
    max: Duration::from_mins(30),
};
const POLICY: Policy<'static> = Policy {
    backoff: BACKOFF,
    reprove: None,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A backup that could be used from `second` on.
fn backup(second: i64, drills: &[(i64, DrillState)]) -> BackupStatus {
    let drill = |(started, state): &(i64, DrillState)| DrillStatus {
        drill_id: format!("{started:012}"),
        started: at(*started),
        state: *state,
    };
    BackupStatus {
        backup_id: format!("b{second}"),
        damage: None,
        contents: Some(contents(at(second))),
        drills: drills.iter().map(drill).collect(),
        drift: None,
    }
}

fn contents(time: Timestamp) -> BackupContents {
    BackupContents {
        cluster: "c".to_owned(),
        oldest_snapshot: time,
        newest_snapshot: time,
        started: time,
        usable_since: time,
        databases: Vec::new(),
        databases_not_included: Vec::new(),
        tables: 0,
        rows: 0,
        raw_bytes: 0,
        stored_bytes: 0,
        new_bytes: 0,
        chunks: 0,
        reused_chunks: 0,
        healed_chunks: 0,
        duration_seconds: 0.0,
        paced_seconds: None,
        phases: Vec::new(),
    }
}

fn bucket(backups: Vec<BackupStatus>) -> RepositoryStatus {
    RepositoryStatus {
        read_at: at(0),
        backups,
        frozen: None,
        newest_certificate: None,
    }
}

fn decide_at(second: i64, backups: Vec<BackupStatus>) -> Decision {
    let memory = Memory::new(at(0));
    choose(&bucket(backups), POLICY, &memory, at(second), |_| 0)
}

fn drill(backup_id: &str, trigger: Trigger) -> Decision {
    Decision::Drill(Choice {
        backup_id: backup_id.to_owned(),
        trigger,
    })
}

fn wait(second: i64, trigger: Trigger) -> Decision {
    Decision::Wait(Some(NextRun {
        at: at(second),
        trigger,
    }))
}

#[test]
fn the_newest_backup_without_a_verdict_comes_first_and_older_ones_after_it() {
    let waiting = vec![backup(1, &[]), backup(2, &[(10, Certified)]), backup(3, &[])];
    assert_eq!(decide_at(20, waiting), drill("b3", Trigger::Poll));
    let newest_done = vec![
        backup(1, &[]),
        backup(2, &[(10, Certified)]),
        backup(3, &[(20, Certified)]),
    ];
    assert_eq!(decide_at(30, newest_done), drill("b1", Trigger::Poll));
    assert_eq!(decide_at(30, vec![]), Decision::Wait(None));
}

#[test]
fn a_failure_is_tried_once_more_at_once_and_then_stands() {
    assert_eq!(
        decide_at(10, vec![backup(1, &[(9, Failed)])]),
        drill("b1", Trigger::Retry)
    );
    assert_eq!(
        decide_at(20, vec![backup(1, &[(9, Failed), (19, Failed)])]),
        Decision::Wait(None)
    );
    // A flake: the second drill certifies.
    assert_eq!(
        decide_at(20, vec![backup(1, &[(9, Failed), (19, Certified)])]),
        Decision::Wait(None)
    );
    // What was certified and fails later is looked at once more.
    assert_eq!(
        decide_at(20, vec![backup(1, &[(9, Certified), (19, Failed)])]),
        drill("b1", Trigger::Retry)
    );
    // The new one is drilled although the old one stands failed.
    let healed = vec![backup(1, &[(9, Failed), (19, Failed)]), backup(30, &[])];
    assert_eq!(decide_at(31, healed), drill("b30", Trigger::Poll));
}

#[test]
fn what_could_not_be_judged_is_tried_again_after_pauses_that_grow() {
    let start = 100 * MINUTE;
    for (drills, minutes) in [
        (vec![Unverified], 1),
        (vec![Unverified, Unverified], 2),
        (vec![Unverified, Unverified, Unverified, Unverified], 8),
        (vec![Started, Unverified], 2),
        (vec![Started, Started], 1),
        (vec![Started, Started, Started], 2),
        (vec![Failed, Unverified], 1),
    ] {
        let last = start + i64::try_from(drills.len()).unwrap() - 1;
        let drills: Vec<(i64, DrillState)> = (start..).zip(drills).collect();
        let due = last + minutes * MINUTE;
        let backups = || vec![backup(1, &[]), backup(2, &drills)];
        assert_eq!(
            decide_at(last + 1, backups()),
            wait(due, Trigger::Retry),
            "{drills:?}: an older one waits with it"
        );
        assert_eq!(decide_at(due, backups()), drill("b2", Trigger::Retry), "{drills:?}");
    }
}

#[test]
fn an_interrupted_drill_is_repeated_at_once() {
    assert_eq!(
        decide_at(10, vec![backup(1, &[(9, Started)])]),
        drill("b1", Trigger::Retry)
    );
    assert_eq!(
        decide_at(20, vec![backup(1, &[(9, Failed), (15, Started)])]),
        drill("b1", Trigger::Retry)
    );
}

#[test]
fn a_new_backup_does_not_wait_for_the_pause_of_another() {
    let backups = vec![backup(1, &[(8, Unverified), (9, Unverified)]), backup(10, &[])];
    assert_eq!(decide_at(11, backups), drill("b10", Trigger::Poll));
}

#[test]
fn a_damaged_root_is_drilled_too() {
    let damaged = BackupStatus {
        damage: Some("torn".to_owned()),
        contents: None,
        ..backup(2, &[])
    };
    assert_eq!(decide_at(10, vec![backup(1, &[]), damaged]), drill("b2", Trigger::Poll));
}

#[test]
fn a_drill_that_could_leave_no_record_is_remembered() {
    let mut memory = Memory::new(at(0));
    let choice = Choice {
        backup_id: "b1".to_owned(),
        trigger: Trigger::Poll,
    };
    let backups = bucket(vec![backup(1, &[])]);
    for (attempt, minutes) in [(1, 1), (2, 2), (3, 4)] {
        let ended = at(attempt * 1000);
        memory.note(&choice, false, ended);
        let due = attempt * 1000 + minutes * MINUTE;
        assert_eq!(
            choose(&backups, POLICY, &memory, ended, |_| 0),
            wait(due, Trigger::Retry)
        );
    }
    // Another backup does not wait for that.
    let backups = bucket(vec![backup(1, &[]), backup(3000, &[])]);
    let decided = choose(&backups, POLICY, &memory, at(3001), |_| 0);
    assert_eq!(decided, drill("b3000", Trigger::Poll));
}

/// Only the beginning of a drill stands in the bucket.
#[test]
fn a_pause_counts_from_the_end_of_a_drill_that_this_process_made() {
    let mut memory = Memory::new(at(0));
    let choice = Choice {
        backup_id: "b1".to_owned(),
        trigger: Trigger::Poll,
    };
    memory.note(&choice, true, at(7200));
    let backups = bucket(vec![backup(1, &[(2, Unverified)])]);
    assert_eq!(
        choose(&backups, POLICY, &memory, at(7201), |_| 0),
        wait(7200 + MINUTE, Trigger::Retry)
    );
}

#[test]
fn a_clock_that_was_set_back_stops_nothing_and_hurries_nothing() {
    let backups = vec![backup(1, &[(9_000_000, Unverified)])];
    let choice = Choice {
        backup_id: "b1".to_owned(),
        trigger: Trigger::Retry,
    };
    assert_eq!(decide_at(10, backups.clone()), Decision::Drill(choice.clone()));
    let mut memory = Memory::new(at(0));
    memory.note(&choice, true, at(20));
    let decided = choose(&bucket(backups), POLICY, &memory, at(21), |_| 0);
    assert_eq!(decided, wait(20 + MINUTE, Trigger::Retry));
}

#[test]
fn a_signal_means_the_newest_whatever_its_verdict() {
    let backups = bucket(vec![backup(1, &[]), backup(2, &[(10, Failed), (11, Failed)])]);
    assert_eq!(newest(&backups).unwrap().backup_id, "b2");
    assert_eq!(newest(&bucket(vec![])), None);
}

mod one_that_cannot_be_judged {
    use super::*;

    const DAY: i64 = 86_400;

    /// Backups that no drill can judge, then one a day, each certified; the drills of `days`, by backup.
    fn live_through(days: i64, hopeless: Vec<BackupStatus>, reprove: Option<&Schedule>) -> Vec<(String, Trigger)> {
        let policy = Policy { reprove, ..POLICY };
        let names: Vec<String> = hopeless.iter().map(|backup| backup.backup_id.clone()).collect();
        let (mut backups, mut drilled) = (hopeless, Vec::new());
        let mut memory = Memory::new(at(DAY));
        let mut now = DAY;
        let mut next_backup = DAY;
        while now < (days + 1) * DAY {
            if now >= next_backup {
                backups.push(backup(next_backup, &[]));
                next_backup += DAY;
            }
            match choose(&bucket(backups.clone()), policy, &memory, at(now), |count| count - 1) {
                Decision::Drill(choice) => {
                    let chosen = backups.iter_mut().find(|backup| backup.backup_id == choice.backup_id);
                    let state = if names.contains(&choice.backup_id) {
                        Unverified
                    } else {
                        Certified
                    };
                    chosen.unwrap().drills.push(DrillStatus {
                        drill_id: format!("{now:012}"),
                        started: at(now),
                        state,
                    });
                    now += MINUTE;
                    memory.note(&choice, true, at(now));
                    drilled.push((choice.backup_id, choice.trigger));
                }
                Decision::Wait(next) => {
                    let next = next.map_or(next_backup, |next| next.at.as_second());
                    now = next.min(next_backup).max(now + 1);
                }
            }
        }
        drilled
    }

    #[test]
    fn it_is_tried_ever_more_seldom_and_proofs_go_on() {
        let daily: Schedule = "every 24h".parse().unwrap();
        let drilled = live_through(30, vec![backup(1, &[])], Some(&daily));
        let tries = drilled.iter().filter(|(backup_id, _)| backup_id == "b1").count();
        // 1 + 2 + 4 + ... minutes in 30 days.
        assert!((14..=16).contains(&tries), "{tries}");
        let proofs = drilled
            .iter()
            .filter(|(_, trigger)| *trigger == Trigger::Reprove)
            .count();
        assert!((28..=30).contains(&proofs), "{proofs}");
        let first = drilled.iter().filter(|(_, trigger)| *trigger == Trigger::Poll).count();
        assert_eq!(first, 1 + 30, "each new one at once");
    }

    #[test]
    fn several_of_them_take_turns() {
        let hopeless = vec![backup(1, &[]), backup(2, &[]), backup(3, &[])];
        let drilled = live_through(30, hopeless, None);
        for backup_id in ["b1", "b2", "b3"] {
            let tries = drilled.iter().filter(|(drilled, _)| drilled == backup_id).count();
            assert!((12..=16).contains(&tries), "{backup_id}: {tries}");
        }
    }

    /// What kept it from being judged then was the target's, and is over.
    #[test]
    fn what_happened_while_it_was_the_newest_does_not_put_it_off() {
        let outage: Vec<(i64, DrillState)> = (0..40).map(|drill| (1 + drill * 60, Unverified)).collect();
        let backups = vec![backup(1, &outage), backup(5000, &[(5001, Certified)])];
        assert_eq!(decide_at(5100, backups), drill("b1", Trigger::Retry));
    }

    #[test]
    fn drills_without_a_record_make_all_older_ones_wait() {
        let backups = bucket(vec![backup(1, &[]), backup(2, &[]), backup(3, &[(10, Certified)])]);
        let mut memory = Memory::new(at(0));
        let mut now = 100;
        for pause in [60, 120, 240] {
            let Decision::Drill(choice) = choose(&backups, POLICY, &memory, at(now), |_| 0) else {
                panic!("it waits")
            };
            memory.note(&choice, false, at(now));
            let decided = choose(&backups, POLICY, &memory, at(now), |_| 0);
            assert_eq!(decided, wait(now + pause, Trigger::Retry), "{memory:?}");
            now += pause;
        }
    }
}

mod reproof {
    use super::*;

    fn decide_at(second: i64, backups: Vec<BackupStatus>, memory: &Memory) -> Decision {
        let hourly: Schedule = "every 1h".parse().unwrap();
        let policy = Policy {
            reprove: Some(&hourly),
            ..POLICY
        };
        choose(&bucket(backups), policy, memory, at(second), |count| count - 1)
    }

    fn settled() -> Vec<BackupStatus> {
        vec![
            backup(1, &[(10, Certified)]),
            backup(2, &[(20, Certified)]),
            backup(3, &[(30, Failed), (40, Failed)]),
            backup(4, &[(50, Certified)]),
        ]
    }

    #[test]
    fn it_is_an_older_certified_one_a_period_after_the_first_certificate() {
        let memory = Memory::new(at(1000));
        assert_eq!(decide_at(3609, settled(), &memory), wait(3610, Trigger::Reprove));
        assert_eq!(decide_at(3610, settled(), &memory), drill("b2", Trigger::Reprove));
    }

    #[test]
    fn the_next_one_counts_from_the_last_that_judged() {
        let memory = Memory::new(at(1000));
        let mut backups = settled();
        backups[0].drills.push(DrillStatus {
            drill_id: "x".to_owned(),
            started: at(4000),
            state: Certified,
        });
        assert_eq!(decide_at(4001, backups.clone(), &memory), wait(7600, Trigger::Reprove));
        // One that could not judge is repeated after a pause.
        backups[1].drills.push(DrillStatus {
            drill_id: "y".to_owned(),
            started: at(7600),
            state: Unverified,
        });
        assert_eq!(decide_at(7601, backups.clone(), &memory), wait(7660, Trigger::Reprove));
        assert_eq!(decide_at(7660, backups, &memory), drill("b2", Trigger::Reprove));
    }

    #[test]
    fn the_newest_is_not_proven_again_and_what_is_not_settled_comes_first() {
        let memory = Memory::new(at(0));
        let one = vec![backup(1, &[(10, Certified)])];
        assert_eq!(decide_at(100_000, one, &memory), Decision::Wait(None));
        let mut waiting = settled();
        waiting.push(backup(5, &[(60, Unverified)]));
        assert_eq!(decide_at(61, waiting.clone(), &memory), wait(120, Trigger::Retry));
        assert_eq!(decide_at(100_000, waiting, &memory), drill("b5", Trigger::Retry));
    }

    /// Asked for by a signal: no part of the schedule.
    #[test]
    fn another_drill_of_the_newest_is_no_reproof() {
        let memory = Memory::new(at(1000));
        let mut backups = settled();
        backups[3].drills.push(DrillStatus {
            drill_id: "x".to_owned(),
            started: at(3000),
            state: Certified,
        });
        assert_eq!(decide_at(3610, backups, &memory), drill("b2", Trigger::Reprove));
    }

    /// Its certificate went with its backup.
    #[test]
    fn a_reproof_that_has_expired_is_remembered() {
        let mut memory = Memory::new(at(1000));
        let choice = Choice {
            backup_id: "gone".to_owned(),
            trigger: Trigger::Reprove,
        };
        memory.note(&choice, true, at(5000));
        assert_eq!(decide_at(5001, settled(), &memory), wait(8600, Trigger::Reprove));
    }
}

fn states() -> impl Strategy<Value = Vec<DrillState>> {
    prop::collection::vec(prop::sample::select(DrillState::ALL), 0..6)
}

/// Backups a thousand seconds apart, their drills in the second half of each thousand.
fn buckets() -> impl Strategy<Value = Vec<BackupStatus>> {
    prop::collection::vec(states(), 0..6).prop_map(|all| {
        let with_drills = |(place, states): (i64, Vec<DrillState>)| {
            let begin = place * 1000;
            let drills: Vec<(i64, DrillState)> = (begin + 500..).step_by(50).zip(states).collect();
            backup(begin, &drills)
        };
        (1..).zip(all).map(with_drills).collect()
    })
}

proptest! {
    #[test]
    fn whatever_is_drilled_is_not_settled_and_comes_after_the_newest(backups in buckets(), now in 0i64..20_000) {
        if let Decision::Drill(choice) = decide_at(now, backups.clone()) {
            let (newest, older) = backups.split_last().unwrap();
            let chosen = backups.iter().find(|backup| backup.backup_id == choice.backup_id).unwrap();
            prop_assert!(!is_settled(chosen));
            prop_assert!(is_settled(newest) || choice.backup_id == newest.backup_id);
            // Of those that nobody has tried the newest comes first.
            let untried = older.iter().rfind(|backup| backup.drills.is_empty());
            if chosen.drills.is_empty() && is_settled(newest) {
                prop_assert_eq!(Some(&choice.backup_id), untried.map(|backup| &backup.backup_id));
            }
        }
    }

    #[test]
    fn a_wait_ends_with_the_drill_that_was_waited_for_and_for_the_newest_within_the_longest_pause(
        backups in buckets(), now in 0i64..20_000
    ) {
        if let Decision::Wait(Some(next)) = decide_at(now, backups.clone()) {
            prop_assert!(next.at > at(now));
            let longest = jiff::SignedDuration::try_from(BACKOFF.max).unwrap();
            prop_assert!(next.at.duration_since(at(now)) <= longest || backups.last().is_none_or(is_settled));
            prop_assert!(matches!(decide_at(next.at.as_second(), backups), Decision::Drill(_)));
        }
    }

    #[test]
    fn nothing_is_done_only_when_all_is_settled(backups in buckets(), now in 0i64..20_000) {
        let idle = decide_at(now, backups.clone()) == Decision::Wait(None);
        prop_assert_eq!(idle, backups.iter().all(is_settled));
    }

    /// However often it fails, drills of it end.
    #[test]
    fn every_backup_is_settled_after_finitely_many_verdicts(backups in buckets()) {
        let mut backups = backups;
        let mut now = 1_000_000;
        for _ in 0..2 * backups.len() {
            let Decision::Drill(choice) = decide_at(now, backups.clone()) else { break };
            let chosen = backups.iter_mut().find(|backup| backup.backup_id == choice.backup_id).unwrap();
            now += 10_000;
            chosen.drills.push(DrillStatus { drill_id: format!("{now:012}"), started: at(now), state: Failed });
        }
        prop_assert_eq!(decide_at(now + 10_000, backups), Decision::Wait(None));
    }
}
