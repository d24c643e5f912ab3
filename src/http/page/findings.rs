//! What is wrong, in plain words: the same facts that alert rules look at, with the same ages.

use super::words;
use crate::http::status::{BackupStatus, DrillState, Outcome, RepositoryStatus, RetentionStatus, Status};

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
    copies(&mut found, status);
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
    let certificate = repository.newest_certificate.as_ref();
    if let Some(objects @ 1..) = certificate.map(|certificate| certificate.older_versions) {
        let text = format!(
            "Somebody has overwritten or hidden what backups consist of: the last drill read {objects} from older versions that \
             the bucket keeps."
        );
        say(found, Level::Bad, text);
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

/// The age of the alert rule.
const COPY_BEHIND_SECONDS: f64 = 6.0 * 3600.0;

fn copies(found: &mut Vec<Finding>, status: &Status) {
    for copy in &status.copies {
        let name = &copy.name;
        let lag = copy.behind_since.map(|since| words::since(status.now, since));
        let is_late = lag.is_some_and(|lag| lag > COPY_BEHIND_SECONDS);
        let lacks = match copy.missing {
            None => "it is not known what it holds".to_owned(),
            Some(0) => "nothing of this cluster is missing there".to_owned(),
            Some(1) => "one backup is not there".to_owned(),
            Some(missing) => format!("{missing} backups are not there"),
        };
        let since = lag.map_or_else(String::new, |lag| format!(", for {}", words::span(lag)));
        match &copy.trouble {
            Some(trouble) => {
                let text = format!("The copy '{name}' could not be filled: {trouble}. Now {lacks}{since}.");
                say(found, Level::Warn, text);
            }
            None if is_late => say(
                found,
                Level::Warn,
                format!("The copy '{name}' is behind: {lacks}{since}."),
            ),
            None => {}
        }
        if let Some(failed) = copy.retention.failing() {
            let when = words::ago(status.now, failed.finished);
            let text = format!("Retention of the copy '{name}' failed {when}: {}.", failed.message);
            say(found, Level::Warn, text);
        }
        retained(found, &copy.retention, &format!("The store of the copy '{name}'"));
    }
}

/// A store that keeps for longer what should go, by a lock of some hours, is tried again after the next backup.
fn retention(found: &mut Vec<Finding>, status: &Status) {
    if let Some(failed) = status.retention.failing() {
        let when = words::ago(status.now, failed.finished);
        let text = format!(
            "Retention failed {when}: {}. The backups stand, and old ones stay.",
            failed.message
        );
        say(found, Level::Warn, text);
    }
    retained(found, &status.retention, "The store");
}

fn retained(found: &mut Vec<Finding>, retention: &RetentionStatus, store: &str) {
    let Some(last) = &retention.last_succeeded else {
        return;
    };
    let why = last
        .message
        .as_deref()
        .map(|why| format!(": {why}"))
        .unwrap_or_default();
    let text = match last.retained_objects {
        0 => return,
        1 => format!("{store} kept one object that should have gone{why}."),
        objects => format!("{store} kept {objects} objects that should have gone{why}."),
    };
    say(found, Level::Warn, text);
}

fn of_process(found: &mut Vec<Finding>, status: &Status) {
    if let Some(what) = &status.waiting_for {
        say(found, Level::Warn, format!("Waiting: {what}."));
    }
    retention(found, status);
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
mod tests;
