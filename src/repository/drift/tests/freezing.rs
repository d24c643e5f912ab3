//! What freezes deletion and what thaws it: a pure function of the roots and of what people have accepted.

use super::*;

fn record(minute: i64, state: DriftState, is_accepted: bool) -> DriftRecord {
    DriftRecord {
        backup_id: backup_id(minute),
        finished: time(minute),
        state,
        is_accepted,
    }
}

fn frozen_by(records: &[DriftRecord]) -> Vec<i64> {
    let frozen = frozen(records).unwrap_or_default();
    let minute = |minute: &i64| frozen.backups().any(|id| *id == backup_id(*minute));
    (0..20).filter(minute).collect()
}

#[test]
fn only_acceptance_thaws_what_was_found() {
    use DriftState::{Compared, Unjudged};
    let records = |is_accepted| {
        [
            record(0, Unjudged, false),
            record(1, Compared(3), is_accepted),
            record(2, Compared(0), false),
        ]
    };
    assert_eq!(frozen_by(&records(false)), [1]);
    assert_eq!(frozen_by(&records(true)), [0; 0]);
    assert_eq!(frozen(&[]), None);
    let frozen = frozen(&records(false)).unwrap().to_string();
    assert_eq!(frozen, format!("backup {} holds less than before", backup_id(1)));
}

#[test]
fn a_backup_that_was_not_compared_freezes_until_a_later_one_was() {
    use DriftState::{Compared, NotCompared, Unjudged};
    let open = record(1, NotCompared, false);
    assert_eq!(frozen_by(std::slice::from_ref(&open)), [1]);
    assert_eq!(frozen_by(&[record(0, Compared(0), false), open.clone()]), [1]);
    assert_eq!(frozen_by(&[open.clone(), record(2, Unjudged, false)]), [1]);
    assert_eq!(frozen_by(&[open.clone(), record(2, Compared(0), false)]), [0; 0]);
    assert_eq!(frozen_by(&[open, record(2, Compared(1), false)]), [2]);
    assert_eq!(frozen_by(&[record(1, NotCompared, true)]), [0; 0]);
}

#[test]
fn a_compared_backup_from_the_future_thaws_no_comparison_that_was_missed_after_it() {
    use DriftState::{Compared, NotCompared};
    let from_the_future = DriftRecord {
        finished: time(1),
        ..record(15, Compared(0), false)
    };
    let missed = record(2, NotCompared, false);
    assert_eq!(frozen_by(&[from_the_future.clone(), missed.clone()]), [2]);
    assert_eq!(
        frozen_by(&[record(0, NotCompared, false), from_the_future.clone()]),
        [0; 0]
    );
    assert_eq!(
        frozen_by(&[from_the_future, missed, record(3, Compared(0), false)]),
        [0; 0]
    );
}

fn states() -> impl Strategy<Value = Vec<(DriftState, bool)>> {
    let state = prop_oneof![
        Just(DriftState::Unjudged),
        Just(DriftState::NotCompared),
        Just(DriftState::Compared(0)),
        Just(DriftState::Compared(2)),
    ];
    prop::collection::vec((state, any::<bool>()), 0..12)
}

fn records(states: &[(DriftState, bool)]) -> Vec<DriftRecord> {
    let minutes = (0..).zip(states);
    minutes
        .map(|(minute, (state, accepted))| record(minute, *state, *accepted))
        .collect()
}

proptest! {
    #[test]
    fn the_order_of_the_listing_does_not_matter(states in states(), seed in any::<prop::sample::Index>()) {
        let records = records(&states);
        let mut turned = records.clone();
        if !turned.is_empty() {
            let by = seed.index(turned.len());
            turned.rotate_left(by);
            turned.reverse();
        }
        prop_assert_eq!(frozen(&records), frozen(&turned));
    }

    #[test]
    fn a_finding_that_nobody_accepted_freezes_whatever_else_there_is(states in states()) {
        let records = records(&states);
        let open = |record: &DriftRecord| record.state == DriftState::Compared(2) && !record.is_accepted;
        if records.iter().any(open) {
            prop_assert!(frozen(&records).is_some());
        }
    }
}
