//! What is wrong, in plain words: the same facts that alert rules look at, with the same ages.

use super::words;
use crate::http::status::{BackupStatus, DrillState, Outcome, RepositoryStatus, Status};

/// How bad it is. In this order, so that the worst is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Good,
    /// Nothing can be said yet.
    Unknown,
    Warn,
    Bad,
}

/// One thing that is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) level: Level,
    pub(super) text: String,
}

/// Everything that is wrong, the worst first.
pub(super) fn findings(status: &Status) -> Vec<Finding> {
    let mut found = Vec::new();
    match &status.repository {
        None => say(&mut found, Level::Unknown, "The bucket has not been read yet."),
        Some(repository) => {
            staleness(&mut found, status, repository);
            of_repository(&mut found, status, repository);
        }
    }
    of_process(&mut found, status);
    found.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    found
}

fn say(found: &mut Vec<Finding>, level: Level, text: impl Into<String>) {
    let text = text.into();
    found.push(Finding { level, text });
}

fn drift(found: &mut Vec<Finding>, repository: &RepositoryStatus) {
    let Some(frozen) = &repository.frozen else { return };
    let drift = repository.newest_freezing().map(|(_, drift)| drift);
    let level = match drift {
        Some(drift) if drift.findings == 0 => Level::Warn,
        _ => Level::Bad,
    };
    let mut text = format!("Deletion is frozen: {frozen}.");
    if let Some(drift) = drift {
        for line in &drift.lines {
            text.push_str(&format!(" {line};"));
        }
        let more = drift.findings.saturating_sub(drift.lines.len() as u64);
        if more > 0 {
            text.push_str(&format!(" and {more} more;"));
        }
    }
    text.push_str(" accept-drift thaws it once somebody has looked.");
    say(found, level, text);
}

/// A look that failed is made again with the next, so one that is missing says little; ten minutes leave time for a slow one.
const MISSED_LOOKS: f64 = 3.0;
const STALE_AFTER_SECONDS: f64 = 600.0;

/// What was read long ago may be otherwise by now.
fn staleness(found: &mut Vec<Finding>, status: &Status, repository: &RepositoryStatus) {
    let patience = (MISSED_LOOKS * status.poll_seconds).max(STALE_AFTER_SECONDS);
    if words::since(status.now, repository.read_at) > patience {
        let read = words::ago(status.now, repository.read_at);
        let text = format!("The bucket was last read {read}: what is said of it here may be out of date.");
        say(found, Level::Warn, text);
    }
}

fn of_repository(found: &mut Vec<Finding>, status: &Status, repository: &RepositoryStatus) {
    drift(found, repository);
    let Some((newest, _)) = repository.newest() else {
        say(
            found,
            Level::Unknown,
            "There is no backup in the bucket that can be read.",
        );
        return;
    };
    let ended = newest.drills.iter().rfind(|drill| drill.state != DrillState::Started);
    match newest.verdict() {
        Some(DrillState::Failed) => say(
            found,
            Level::Bad,
            "A drill found the newest backup wrong: do not rely on it. The certificate below says why.",
        ),
        None if ended.is_some() => say(
            found,
            Level::Warn,
            "The newest backup could not be judged: the drill failed for a reason that is not the backup's.",
        ),
        _ => {}
    }
    let is_judged = repository.backups.iter().any(|backup| backup.verdict().is_some());
    if is_judged && repository.newest_certificate.is_none() {
        say(
            found,
            Level::Warn,
            "The newest certificate cannot be read; the agent's log says why.",
        );
    }
    if repository.newest_certified().is_none() {
        say(found, Level::Warn, "No backup has been certified yet.");
    }
    let is_wrong = |backup: &&BackupStatus| backup.verdict() == Some(DrillState::Failed);
    let others = repository.backups.iter().filter(is_wrong);
    match others.filter(|backup| backup.backup_id != newest.backup_id).count() {
        0 => {}
        1 => say(found, Level::Warn, "A drill found an older backup wrong."),
        wrong => say(found, Level::Warn, format!("Drills found {wrong} other backups wrong.")),
    }
    objectives(found, status, repository);
    ages(found, status, repository);
    let damaged = repository
        .backups
        .iter()
        .filter(|backup| backup.damage.is_some())
        .count();
    match damaged {
        0 => {}
        1 => say(found, Level::Warn, "The manifest of one backup cannot be read."),
        _ => say(
            found,
            Level::Warn,
            format!("The manifests of {damaged} backups cannot be read."),
        ),
    }
}

fn objectives(found: &mut Vec<Finding>, status: &Status, repository: &RepositoryStatus) {
    if let Some((point, objective)) = Option::zip(status.recovery_point_seconds(), status.objectives.rpo_seconds)
        && point > objective
    {
        let text = format!(
            "If production were gone now, {} would be lost; the objective is {}.",
            words::span(point),
            words::span(objective)
        );
        say(found, Level::Bad, text);
    }
    let certificate = repository.newest_certificate.as_ref();
    let measured = certificate.and_then(|certificate| certificate.recovery_seconds);
    if let Some((seconds, objective)) = Option::zip(measured, status.objectives.rto_seconds)
        && seconds > objective
    {
        let text = format!(
            "The last recovery took {}; the objective is {}.",
            words::span(seconds),
            words::span(objective)
        );
        say(found, Level::Warn, text);
    }
}

/// The ages of the alert rules. Who makes backups more seldom says so by the objective.
const NEWEST_SECONDS: f64 = 26.0 * 3600.0;
const CERTIFIED_SECONDS: f64 = 30.0 * 3600.0;
const UNJUDGED_SECONDS: f64 = 3.0 * 3600.0;

/// What is merely old was good once: nothing else here would tell it.
fn ages(found: &mut Vec<Finding>, status: &Status, repository: &RepositoryStatus) {
    let age = |time| words::since(status.now, time);
    let objective = status.objectives.rpo_seconds;
    let newest = repository.newest_usable().map(|(_, contents)| contents.oldest_snapshot);
    // With an objective its own finding says it.
    if let Some(newest) = newest.filter(|newest| objective.is_none() && age(*newest) > NEWEST_SECONDS) {
        let made = words::ago(status.now, newest);
        say(found, Level::Bad, format!("The newest usable backup was made {made}."));
    }
    let drilling = CERTIFIED_SECONDS - NEWEST_SECONDS;
    let patience = objective.map_or(CERTIFIED_SECONDS, |seconds| CERTIFIED_SECONDS.max(seconds + drilling));
    let certified = repository
        .newest_certified()
        .map(|(_, contents)| contents.oldest_snapshot);
    if let Some(certified) = certified.filter(|certified| age(*certified) > patience) {
        let made = words::ago(status.now, certified);
        let text = format!("The newest certified backup was made {made}: nothing newer is proven.");
        say(found, Level::Warn, text);
    }
    if let Some(since) = repository
        .unjudged_since()
        .filter(|since| age(*since) > UNJUDGED_SECONDS)
    {
        let waited = words::span(age(since));
        let text = format!("The newest backup has no verdict, and no drill could judge any for {waited}.");
        say(found, Level::Warn, text);
    }
}

fn of_process(found: &mut Vec<Finding>, status: &Status) {
    if let Some(what) = &status.waiting_for {
        say(found, Level::Warn, format!("Waiting: {what}."));
    }
    let last = status.runs.iter().find(|run| run.outcome != Outcome::Skipped);
    let is_bad = |outcome| matches!(outcome, Outcome::Failed | Outcome::Yielded | Outcome::Unverified);
    if let Some(run) = last.filter(|run| is_bad(run.outcome)) {
        let (_, outcome) = words::outcome(run.outcome);
        let why = run
            .message
            .as_deref()
            .map(|message| format!(": {message}"))
            .unwrap_or_default();
        let when = words::ago(status.now, run.finished);
        say(found, Level::Warn, format!("The last run, {when}, {outcome}{why}."));
    }
    let blocked = status.current.as_ref().and_then(|run| run.blocked_sessions);
    if let Some(sessions @ 1..) = blocked {
        let who = if sessions == 1 {
            "One session waits"
        } else {
            "Sessions wait"
        };
        say(
            found,
            Level::Warn,
            format!("{who} for the locks of the backup that goes on ({sessions})."),
        );
    }
    if status.lease.as_ref().is_some_and(|lease| lease.is_degraded) {
        let text = "The store cannot refuse a second holder of the lease: two agents may back up at once, which costs time \
                    and space but harms nothing.";
        say(found, Level::Warn, text);
    }
}

#[cfg(test)]
mod tests {
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
        let beginning =
            "Deletion is frozen: backup b holds less than before. table public.<b>notes</b> of shop is gone";
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
}
