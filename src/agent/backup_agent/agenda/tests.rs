//! The agent's decisions, over hours that pass in no time.

use super::*;
use crate::config;

/// A moment of the day on which the agent began at noon.
fn at(time: &str) -> Timestamp {
    format!("2026-11-21T{time}Z").parse().unwrap()
}

fn rules(schedule: &str, jitter: Option<&str>) -> Rules {
    let mut variables = vec![("KUBEBACKUP_BACKUP_AGENT_SCHEDULE", schedule)];
    variables.extend(jitter.map(|jitter| ("KUBEBACKUP_BACKUP_AGENT_JITTER", jitter)));
    let variables = variables
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let settings = config::load(None, variables).unwrap();
    Rules::new(&settings.backup_agent, settings.agent.poll_interval.0)
}

/// At noon, with the bucket seen.
fn agenda(schedule: &str, newest: Option<&str>) -> Agenda {
    let mut agenda = Agenda::new(rules(schedule, None), 1, at("12:00:00"));
    agenda.saw(newest.map(at), at("12:00:00"));
    agenda
}

/// Looks when that is due, and says what begins.
fn begins(agenda: &mut Agenda, time: &str) -> Option<Trigger> {
    if agenda.is_look_due(at(time)) {
        let newest = agenda.seen.and_then(|(_, newest)| newest);
        agenda.saw(newest, at(time));
    }
    agenda.begin(at(time))
}

fn due(agenda: &Agenda) -> (Timestamp, Trigger) {
    let due = agenda.due().unwrap();
    (due.at, due.trigger)
}

#[test]
fn a_missed_run_is_caught_up_and_one_that_was_not_missed_is_not_repeated() {
    let mut missed = agenda("0 */6 * * *", Some("05:59:00"));
    assert_eq!(begins(&mut missed, "12:00:01"), Some(Trigger::CatchUp));
    let mut made = agenda("0 */6 * * *", Some("12:00:00"));
    assert_eq!(begins(&mut made, "12:00:01"), None);
    assert_eq!(due(&made), (at("18:00:00"), Trigger::Schedule));
    assert_eq!(begins(&mut made, "17:59:59"), None);
    assert_eq!(begins(&mut made, "18:00:00"), Some(Trigger::Schedule));
}

#[test]
fn the_first_backup_of_all_begins_at_once() {
    assert_eq!(
        begins(&mut agenda("30 2 * * *", None), "12:00:00"),
        Some(Trigger::CatchUp)
    );
}

#[test]
fn nothing_begins_by_itself_before_the_bucket_was_seen_but_a_signal_does() {
    let mut agenda = Agenda::new(rules("every 6h", None), 1, at("12:00:00"));
    assert!(agenda.is_look_due(at("12:00:00")));
    agenda.saw_nothing(at("12:00:00"));
    assert!(!agenda.is_look_due(at("12:00:00")));
    assert!(agenda.is_look_due(at("12:00:01")));
    assert_eq!(agenda.begin(at("12:30:00")), None);
    assert_eq!(agenda.want(1), 0);
    assert_eq!(agenda.begin(at("12:30:00")), Some(Trigger::Signal));
}

#[test]
fn signals_during_a_run_ask_for_exactly_one_more() {
    let mut agenda = agenda("every 6h", Some("11:00:00"));
    assert_eq!(agenda.want(3), 2);
    assert_eq!(agenda.begin(at("12:00:00")), Some(Trigger::Signal));
    agenda.begun();
    assert_eq!((agenda.want(1), agenda.want(1), agenda.want(2)), (0, 1, 2));
    agenda.succeeded(at("12:00:00"), at("12:10:00"));
    assert_eq!(agenda.begin(at("12:10:00")), Some(Trigger::Signal));
    agenda.begun();
    agenda.succeeded(at("12:10:00"), at("12:20:00"));
    assert_eq!(begins(&mut agenda, "12:20:00"), None);
    assert_eq!(due(&agenda), (at("18:10:00"), Trigger::Schedule));
}

#[test]
fn a_due_backup_looks_first_whether_another_agent_has_made_it() {
    let mut agenda = agenda("0 */6 * * *", Some("12:00:00"));
    agenda.saw(Some(at("12:00:00")), at("17:59:59"));
    assert_eq!(
        agenda.begin(at("18:00:00")),
        None,
        "the bucket was seen before it was due"
    );
    assert!(agenda.is_look_due(at("18:00:00")));
    agenda.saw(Some(at("18:00:00")), at("18:00:01"));
    assert_eq!(agenda.begin(at("18:00:01")), None);
    assert_eq!(due(&agenda).0, "2026-11-22T00:00:00Z".parse().unwrap());
}

#[test]
fn failures_that_pass_are_retried_ever_later_while_the_next_time_stands() {
    let mut agenda = agenda("0 */6 * * *", Some("06:00:00"));
    assert_eq!(begins(&mut agenda, "12:00:00"), Some(Trigger::CatchUp));
    agenda.begun();
    agenda.failed(Class::Unavailable, at("12:00:00"), at("12:05:00"));
    assert_eq!(due(&agenda), (at("12:06:00"), Trigger::Retry));
    assert_eq!(begins(&mut agenda, "12:05:59"), None);
    assert_eq!(begins(&mut agenda, "12:06:00"), Some(Trigger::Retry));
    agenda.begun();
    agenda.failed(Class::GaveWay, at("12:06:00"), at("12:10:00"));
    assert_eq!(due(&agenda), (at("12:12:00"), Trigger::Retry));
    agenda.failed(Class::Unavailable, at("12:12:00"), at("17:57:00"));
    assert_eq!(due(&agenda), (at("18:00:00"), Trigger::Schedule));
    agenda.succeeded(at("18:00:00"), at("18:01:00"));
    agenda.failed(Class::Unavailable, at("19:00:00"), at("19:00:00"));
    assert_eq!(due(&agenda), (at("19:01:00"), Trigger::Retry), "the pauses begin anew");
}

#[test]
fn what_a_person_must_mend_is_tried_after_the_longest_pause() {
    let mut agenda = agenda("every 6h", Some("05:00:00"));
    assert_eq!(begins(&mut agenda, "12:00:00"), Some(Trigger::CatchUp));
    agenda.begun();
    agenda.failed(Class::Operator, at("12:00:00"), at("12:01:00"));
    assert_eq!(due(&agenda), (at("12:31:00"), Trigger::Retry));
    assert_eq!(begins(&mut agenda, "12:30:59"), None);
    assert_eq!(begins(&mut agenda, "12:31:00"), Some(Trigger::Retry));
}

#[test]
fn what_no_time_mends_waits_for_the_schedule_a_signal_or_new_settings() {
    let mut agenda = agenda("every 6h", Some("05:00:00"));
    assert_eq!(begins(&mut agenda, "12:00:00"), Some(Trigger::CatchUp));
    agenda.begun();
    agenda.failed(Class::Refused, at("12:00:00"), at("12:01:00"));
    assert_eq!(due(&agenda), (at("18:00:00"), Trigger::Schedule));
    assert_eq!(agenda.want(1), 0);
    assert_eq!(begins(&mut agenda, "12:02:00"), Some(Trigger::Signal));
    agenda.begun();
    agenda.failed(Class::Refused, at("12:02:00"), at("12:03:00"));
    assert_eq!(begins(&mut agenda, "12:04:00"), None);
    agenda.change(rules("every 6h", None), at("12:05:00"));
    agenda.saw(Some(at("05:00:00")), at("12:05:00"));
    assert_eq!(begins(&mut agenda, "12:05:00"), Some(Trigger::CatchUp));
}

#[test]
fn a_clock_that_is_set_back_keeps_no_look_and_no_retry_waiting() {
    let mut agenda = agenda("every 6h", Some("05:00:00"));
    agenda.saw(Some(at("12:00:00")), at("12:00:30"));
    assert!(agenda.is_look_due(at("09:00:00")), "it was to be at 12:01:30");
    agenda.failed(Class::Unavailable, at("12:02:00"), at("12:03:00"));
    assert_eq!(due(&agenda), (at("12:04:00"), Trigger::Retry));
    assert_eq!(begins(&mut agenda, "09:00:00"), Some(Trigger::Retry));
}

#[test]
fn a_failed_run_is_forgotten_when_another_agent_has_made_the_backup() {
    let mut agenda = agenda("every 6h", Some("05:00:00"));
    agenda.failed(Class::Unavailable, at("12:00:00"), at("12:00:30"));
    agenda.saw(Some(at("12:01:00")), at("12:01:20"));
    assert_eq!(due(&agenda), (at("18:01:00"), Trigger::Schedule));
}

#[test]
fn a_backup_that_another_agent_made_in_the_last_moment_is_looked_at_before_anything_begins() {
    let mut agenda = agenda("every 6h", Some("05:00:00"));
    agenda.failed(Class::Unavailable, at("12:00:00"), at("12:00:30"));
    assert_eq!(begins(&mut agenda, "12:01:30"), Some(Trigger::Retry));
    agenda.superseded(at("12:01:31"));
    assert_eq!(agenda.begin(at("12:01:31")), None);
    assert!(agenda.is_look_due(at("12:01:31")));
    agenda.saw(Some(at("12:01:29")), at("12:01:32"));
    assert_eq!(due(&agenda), (at("18:01:29"), Trigger::Schedule));
}

#[test]
fn what_superseded_a_backup_and_is_not_seen_is_asked_for_again_only_after_a_pause() {
    let mut agenda = agenda("every 6h", Some("05:00:00"));
    assert_eq!(begins(&mut agenda, "12:00:00"), Some(Trigger::CatchUp));
    for (superseded, looked, early, late) in [
        ("12:00:01", "12:00:02", "12:01:00", "12:01:01"),
        ("12:01:02", "12:01:03", "12:02:01", "12:02:02"),
    ] {
        agenda.superseded(at(superseded));
        assert!(agenda.is_look_due(at(superseded)));
        agenda.saw(Some(at("05:00:00")), at(looked));
        assert_eq!(begins(&mut agenda, looked), None);
        assert_eq!(begins(&mut agenda, early), None);
        assert_eq!(begins(&mut agenda, late), Some(Trigger::CatchUp));
    }
    // Whoever asks by a signal does not wait.
    agenda.superseded(at("12:02:03"));
    agenda.want(1);
    assert_eq!(agenda.begin(at("12:02:03")), Some(Trigger::Signal));
}

#[test]
fn a_due_backup_waits_for_its_server_and_for_its_turn() {
    let mut agenda = agenda("every 6h", Some("05:00:00"));
    assert_eq!(begins(&mut agenda, "12:00:00"), Some(Trigger::CatchUp));
    for (now, next) in [("12:00:00", "12:00:01"), ("12:00:01", "12:00:03")] {
        assert!(!agenda.not_yet(Obstacle::Absent, at(now)));
        assert_eq!(begins(&mut agenda, now), None);
        assert_eq!(begins(&mut agenda, next), Some(Trigger::CatchUp));
    }
    assert!(agenda.not_yet(Obstacle::Turn, at("12:00:10")));
    assert_eq!(begins(&mut agenda, "12:01:00"), None);
    assert_eq!(begins(&mut agenda, "12:01:10"), Some(Trigger::CatchUp));
    assert!(
        !agenda.not_yet(Obstacle::Turn, at("12:01:10")),
        "said once for each due time"
    );
    agenda.saw(Some(at("12:01:00")), at("12:02:00"));
    assert!(
        !agenda.not_yet(Obstacle::Turn, at("12:02:00")),
        "it asked before it saw that backup"
    );
    assert_eq!(begins(&mut agenda, "12:30:00"), None, "the other agent made it");
}

#[test]
fn jitter_makes_scheduled_backups_later_by_less_than_it_says_and_always_the_same() {
    let mut agenda = Agenda::new(rules("0 */6 * * *", Some("10m")), 7, at("12:00:00"));
    agenda.saw(Some(at("12:00:00")), at("12:00:00"));
    let (first, _) = due(&agenda);
    assert!(first >= at("18:00:00") && first < at("18:10:00"), "{first}");
    assert_eq!(due(&agenda).0, first);
    agenda.saw(Some(at("03:00:00")), at("12:00:01"));
    assert_eq!(
        due(&agenda),
        (at("06:00:00"), Trigger::CatchUp),
        "a missed run does not wait"
    );
}
