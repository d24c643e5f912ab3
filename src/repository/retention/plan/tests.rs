//! The plan's promises, for any backups, policies and clocks; and the examples of `docs/retention.md`.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;

/// 2026-11-21 12:00 UTC, a Saturday.
const NOW: i64 = 1_795_262_400;
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn candidate(hours_ago: i64, suffix: u32, proof: Proof) -> Candidate {
    let snapshot_time = at(NOW - hours_ago * HOUR);
    Candidate {
        backup_id: BackupId::new(snapshot_time, suffix),
        snapshot_time,
        started: snapshot_time,
        finished: snapshot_time,
        took: SignedDuration::ZERO,
        stored: snapshot_time,
        proof,
        is_proof_from_elsewhere: false,
        hold: None,
    }
}

/// A large database behind a polite pace: what its run counted itself is believed where clocks agree with it.
#[test]
fn a_run_of_ten_days_is_no_wrong_clock_and_one_that_was_short_is() {
    let ten_days = SignedDuration::from_hours(240);
    let long = |took: SignedDuration| {
        let mut candidate = candidate(300, 1, Proof::Certified);
        candidate.finished = candidate.snapshot_time + ten_days;
        candidate.stored = candidate.finished;
        Candidate { took, ..candidate }
    };
    assert!(!long(ten_days).is_misdated());
    assert!(long(SignedDuration::from_mins(10)).is_misdated());
}

fn proof() -> impl Strategy<Value = Proof> {
    prop_oneof![
        4 => Just(Proof::Certified),
        3 => Just(Proof::Unproven),
        2 => Just(Proof::Failed),
        1 => Just(Proof::Unreadable),
    ]
}

/// Up to sixty backups over two months, several within an hour among them.
fn backups() -> impl Strategy<Value = Vec<Candidate>> {
    let one = (0..1500i64, proof(), prop::bool::weighted(0.05));
    prop::collection::vec(one, 0..60).prop_map(|all| {
        let numbered = (0u32..).zip(all);
        numbered
            .map(|(suffix, (hours_ago, proof, is_held))| Candidate {
                hold: is_held.then(|| "audit".to_owned()),
                ..candidate(hours_ago, suffix, proof)
            })
            .collect()
    })
}

/// Made within the last week, with the server's and the agent's clock off by hours that somebody could see: by one another, or
/// by the store's clock.
fn misdated() -> impl Strategy<Value = Candidate> {
    let off = || -2000..2000i64;
    let clocks = prop_oneof![off().prop_map(|both| (both, both)), (off(), off())];
    let seen = clocks.prop_filter("a clock is off", |(server, agent)| {
        agent.abs() > 1 || (server - agent).abs() > 1
    });
    (0..168i64, seen, proof(), 1_000_000..2_000_000u32).prop_map(|(hours_ago, (server, agent), proof, suffix)| {
        let run = at(NOW - (hours_ago - agent) * HOUR);
        Candidate {
            started: run,
            finished: run,
            stored: at(NOW - hours_ago * HOUR),
            ..candidate(hours_ago - server, suffix, proof)
        }
    })
}

fn policy() -> impl Strategy<Value = Policy> {
    let zones = ["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns"];
    let counts = prop::array::uniform6(0..6u32);
    let within = prop::option::of(1..30u64);
    (counts, within, 1..4u32, prop::sample::select(zones.to_vec())).prop_map(
        |([last, hourly, daily, weekly, monthly, yearly], within, certified, zone)| Policy {
            keep_last: last,
            keep_within: within.map(|days| Duration::from_hours(24 * days)),
            keep_hourly: hourly,
            keep_daily: daily,
            keep_weekly: weekly,
            keep_monthly: monthly,
            keep_yearly: yearly,
            time_zone: TimeZone::get(zone).unwrap(),
            keep_certified: certified,
        },
    )
}

fn set_policy() -> impl Strategy<Value = Policy> {
    policy().prop_filter("a rule is set", Policy::is_set)
}

fn dropped(plan: &Plan) -> BTreeSet<BackupId> {
    plan.drops().cloned().collect()
}

fn drops_of(backups: &[Candidate], policy: &Policy, now: i64) -> BTreeSet<BackupId> {
    dropped(&plan(backups, policy, None, at(now)))
}

fn certified(backups: &[Candidate]) -> Vec<&Candidate> {
    let mut certified: Vec<&Candidate> = backups
        .iter()
        .filter(|backup| backup.proof == Proof::Certified)
        .collect();
    certified.sort_by_key(|backup| std::cmp::Reverse((backup.snapshot_time, &backup.backup_id)));
    certified
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn never_fewer_certified_than_the_floor_and_the_newest_of_them(backups in backups(), policy in policy()) {
        let drops = drops_of(&backups, &policy, NOW);
        for backup in certified(&backups).into_iter().take(policy.floor()) {
            prop_assert!(!drops.contains(&backup.backup_id));
        }
    }

    #[test]
    fn nothing_goes_while_nothing_is_certified_or_deletion_is_frozen_or_no_rule_is_set(
        backups in backups(), policy in policy(),
    ) {
        let unproven: Vec<Candidate> = backups
            .iter()
            .filter(|backup| backup.proof != Proof::Certified)
            .cloned()
            .collect();
        prop_assert!(drops_of(&unproven, &policy, NOW).is_empty());
        prop_assert!(dropped(&plan(&backups, &policy, Some("rows are gone"), at(NOW))).is_empty());
        prop_assert!(drops_of(&backups, &Policy::none(), NOW).is_empty());
    }

    #[test]
    fn a_policy_that_keeps_more_drops_no_more(
        backups in backups(), policy in set_policy(), more in prop::array::uniform7(0..3u32), days in 0..10u64,
    ) {
        let [last, hourly, daily, weekly, monthly, yearly, certified] = more;
        let longer = Duration::from_hours(24 * days);
        let larger = Policy {
            keep_last: policy.keep_last + last,
            keep_within: policy.keep_within.map(|span| span + longer).or((days > 5).then_some(longer)),
            keep_hourly: policy.keep_hourly + hourly,
            keep_daily: policy.keep_daily + daily,
            keep_weekly: policy.keep_weekly + weekly,
            keep_monthly: policy.keep_monthly + monthly,
            keep_yearly: policy.keep_yearly + yearly,
            keep_certified: policy.keep_certified + certified,
            time_zone: policy.time_zone.clone(),
        };
        prop_assert!(drops_of(&backups, &larger, NOW).is_subset(&drops_of(&backups, &policy, NOW)));
    }

    #[test]
    fn the_order_of_the_listing_makes_no_difference(
        (backups, shuffled) in backups().prop_flat_map(|backups| (Just(backups.clone()), Just(backups).prop_shuffle())),
        policy in policy(),
    ) {
        prop_assert_eq!(plan(&backups, &policy, None, at(NOW)), plan(&shuffled, &policy, None, at(NOW)));
    }

    #[test]
    fn a_clock_in_the_future_or_the_past_drops_no_more(
        backups in backups(), policy in policy(), hours in -3000..300_000i64,
    ) {
        let right = drops_of(&backups, &policy, NOW);
        prop_assert!(drops_of(&backups, &policy, NOW + hours * HOUR).is_subset(&right));
    }

    #[test]
    fn a_backup_with_a_time_in_the_future_pushes_nothing_out(
        backups in backups(), policy in policy(), ahead in 2..100_000i64, proof in proof(),
    ) {
        let right = drops_of(&backups, &policy, NOW);
        let mut more = backups;
        more.push(candidate(-ahead, 1_000_000, proof));
        prop_assert!(drops_of(&more, &policy, NOW).is_subset(&right));
    }

    #[test]
    fn a_backup_whose_clocks_were_wrong_stays_for_a_week_at_least_and_pushes_nothing_out(
        backups in backups(), policy in policy(), wrong in prop::collection::vec(misdated(), 1..4),
    ) {
        let right = drops_of(&backups, &policy, NOW);
        let all: Vec<Candidate> = backups.into_iter().chain(wrong).collect();
        prop_assert!(drops_of(&all, &policy, NOW).is_subset(&right));
    }

    /// Whatever failed or was not drilled: what is certified stays as if it were alone.
    #[test]
    fn what_is_not_certified_never_pushes_out_what_is(backups in backups(), policy in set_policy()) {
        let alone: Vec<Candidate> = certified(&backups).into_iter().cloned().collect();
        // With nothing but certified ones the newest is kept for being the newest; the floor keeps it in any case.
        let with_others = drops_of(&backups, &policy, NOW);
        let by_itself = drops_of(&alone, &policy, NOW);
        let certified_drops: BTreeSet<BackupId> = alone
            .iter()
            .map(|backup| backup.backup_id.clone())
            .filter(|backup_id| with_others.contains(backup_id))
            .collect();
        prop_assert!(certified_drops.is_subset(&by_itself));
    }

    #[test]
    fn held_and_unreadable_backups_stay_and_every_line_has_a_reason(backups in backups(), policy in policy()) {
        let planned = plan(&backups, &policy, None, at(NOW));
        prop_assert_eq!(planned.lines.len(), backups.len());
        prop_assert!(planned.lines.iter().all(|line| !line.reasons.is_empty()));
        let drops = dropped(&planned);
        for backup in &backups {
            let must_stay = backup.hold.is_some() || backup.proof == Proof::Unreadable;
            prop_assert!(!must_stay || !drops.contains(&backup.backup_id));
        }
    }
}

fn daily(number: u32) -> Policy {
    Policy {
        keep_daily: number,
        keep_certified: 1,
        ..Policy::none()
    }
}

fn kept_hours(backups: &[Candidate], policy: &Policy) -> Vec<i64> {
    let planned = plan(backups, policy, None, at(NOW));
    let kept = planned.lines.iter().filter(|line| line.decision == Decision::Keep);
    kept.map(|line| (NOW - line.snapshot_time.as_second()) / HOUR).collect()
}

#[test]
fn the_certified_one_stands_for_its_day_and_not_the_newer_failed_one() {
    use Proof::{Certified, Failed};
    let backups = [
        candidate(1, 1, Certified),
        candidate(24, 2, Failed),
        candidate(30, 3, Certified),
        candidate(34, 4, Certified),
        candidate(48, 5, Failed),
    ];
    // The day before yesterday has nothing better than its failed one.
    assert_eq!(kept_hours(&backups, &daily(3)), [48, 30, 1]);
}

#[test]
fn days_without_proof_take_no_day_from_those_with_it() {
    use Proof::{Certified, Unproven};
    let mut backups: Vec<Candidate> = (0..10i64).map(|day| candidate(day * 24, 1, Certified)).collect();
    for backup in &mut backups[3..6] {
        backup.proof = Unproven;
    }
    // The newest four days, of which one is unproven, and the newest four certified ones.
    assert_eq!(kept_hours(&backups, &daily(4)), [144, 72, 48, 24, 0]);
}

#[test]
fn what_no_drill_has_judged_stays_while_it_is_newer_than_all_proof() {
    use Proof::{Certified, Failed, Unproven};
    let backups = [
        candidate(1, 1, Failed),
        candidate(2, 2, Unproven),
        candidate(3, 3, Failed),
        candidate(4, 4, Certified),
        candidate(5, 5, Unproven),
    ];
    let policy = Policy {
        keep_yearly: 1,
        keep_certified: 1,
        ..Policy::none()
    };
    assert_eq!(kept_hours(&backups, &policy), [4, 2, 1]);
}

#[test]
fn the_example_of_the_documentation_gives_seven_days_four_weeks_twelve_months() {
    let policy = Policy {
        keep_within: Some(Duration::from_hours(7 * 24)),
        keep_weekly: 4,
        keep_monthly: 12,
        ..Policy::none()
    };
    // Four a day for two years.
    let backups: Vec<Candidate> = (0..2920u32)
        .map(|number| candidate(i64::from(number) * 6, number, Proof::Certified))
        .collect();
    let planned = plan(&backups, &policy, None, at(NOW));
    let kept: Vec<&PlanLine> = planned
        .lines
        .iter()
        .filter(|line| line.decision == Decision::Keep)
        .collect();
    let within = at(NOW - 7 * DAY);
    let (recent, old): (Vec<&PlanLine>, Vec<&PlanLine>) =
        kept.into_iter().partition(|line| line.snapshot_time >= within);
    assert_eq!(recent.len(), 29, "every backup of seven days");
    let weekly = |line: &&&PlanLine| {
        line.reasons
            .iter()
            .any(|reason| reason.to_string().starts_with("keep_weekly"))
    };
    let monthly = |line: &&&PlanLine| {
        line.reasons
            .iter()
            .any(|reason| reason.to_string().starts_with("keep_monthly"))
    };
    // Of this week and the last the newest, too, lie within seven days; so does that of this month.
    assert_eq!(old.iter().filter(weekly).count(), 2);
    assert_eq!(old.iter().filter(monthly).count(), 11);
    assert_eq!(old.len(), 13);
}

#[test]
fn reasons_read_like_this() {
    use Proof::{Certified, Failed, Unproven};
    let backups = [
        candidate(1, 1, Unproven),
        candidate(24, 2, Certified),
        candidate(30, 3, Certified),
        candidate(60, 4, Failed),
        Candidate {
            hold: Some("audit".to_owned()),
            ..candidate(24 * 40, 5, Certified)
        },
        candidate(24 * 41, 6, Certified),
        candidate(-48, 7, Certified),
        candidate(3, 8, Proof::Unreadable),
    ];
    let policy = Policy {
        keep_last: 1,
        keep_within: Some(Duration::from_hours(36)),
        keep_daily: 1,
        keep_certified: 1,
        ..Policy::none()
    };
    let planned = plan(&backups, &policy, None, at(NOW));
    let text: Vec<String> = planned
        .lines
        .iter()
        .map(|line| {
            let reasons: Vec<String> = line.reasons.iter().map(ToString::to_string).collect();
            format!(
                "{:?} {} {}: {}",
                line.decision,
                line.proof,
                line.snapshot_time,
                reasons.join("; ")
            )
        })
        .collect();
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn a_backup_of_a_server_whose_clock_was_set_back_stays_and_takes_no_place() {
    let policy = Policy {
        keep_last: 1,
        keep_certified: 1,
        ..Policy::none()
    };
    let misdated = Candidate {
        started: at(NOW),
        finished: at(NOW),
        stored: at(NOW),
        ..candidate(24 * 2000, 1, Proof::Certified)
    };
    let backups = [
        misdated,
        candidate(2, 2, Proof::Certified),
        candidate(1, 3, Proof::Certified),
    ];
    let plan = plan(&backups, &policy, None, at(NOW));
    let decisions: Vec<Decision> = plan.lines.iter().map(|line| line.decision).collect();
    assert_eq!(decisions, [Decision::Keep, Decision::Drop, Decision::Keep]);
    assert_eq!(plan.lines[0].reasons, [Reason::Misdated]);
}

#[test]
fn a_new_backup_of_a_server_that_is_days_behind_does_not_go_at_once() {
    let policy = Policy {
        keep_last: 1,
        keep_certified: 1,
        ..Policy::none()
    };
    let behind = Candidate {
        started: at(NOW),
        finished: at(NOW),
        stored: at(NOW),
        ..candidate(24 * 3, 1, Proof::Unproven)
    };
    let before = candidate(24, 2, Proof::Certified);
    let lines = plan(&[behind, before], &policy, None, at(NOW)).lines;
    assert!(lines.iter().all(PlanLine::is_kept), "{lines:?}");
    assert_eq!(lines[0].reasons, [Reason::Misdated]);
}

#[test]
fn what_a_server_a_month_ahead_has_left_is_never_taken_for_the_newest() {
    let policy = Policy {
        keep_last: 1,
        keep_certified: 1,
        ..Policy::none()
    };
    let month_ago = at(NOW - 30 * DAY);
    for (run, what) in [(month_ago, "the server alone"), (at(NOW), "the agent with it")] {
        let ahead = Candidate {
            started: run,
            finished: run,
            stored: month_ago,
            ..candidate(0, 1, Proof::Certified)
        };
        let genuine = candidate(1, 2, Proof::Certified);
        let lines = plan(&[ahead, genuine], &policy, None, at(NOW)).lines;
        assert!(lines[0].is_kept(), "{what}: {lines:?}");
        assert_eq!(lines[1].reasons, [Reason::Misdated], "{what}");
    }
}

#[test]
fn what_was_certified_elsewhere_may_come_late() {
    let policy = Policy {
        keep_last: 1,
        keep_certified: 1,
        ..Policy::none()
    };
    let late = |is_proof_from_elsewhere| Candidate {
        stored: at(NOW),
        is_proof_from_elsewhere,
        ..candidate(24 * 30, 1, Proof::Certified)
    };
    let newest = candidate(1, 2, Proof::Certified);
    let decisions = |late: Candidate| plan(&[late, newest.clone()], &policy, None, at(NOW)).drops().count();
    assert_eq!((decisions(late(true)), decisions(late(false))), (1, 0));
}
