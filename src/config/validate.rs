//! What a value may be by itself, and which values fit together.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use config::{Value, ValueKind};

use super::copies;
use super::error::{Error, Result};
use super::schedule::Schedule;
use super::settings::{Encryption, PruneSettings, RepositorySettings, RetentionSettings, Settings};
use super::table::Kind;
use super::template::Template;
use super::value::{ByteSize, Span, ZoneName};

/// What is added to a time must lead to a time.
const LONGEST_SPAN: Duration = Duration::from_hours(10 * 366 * 24);

/// Checks one value; `key` is how its writer called it.
pub(super) fn check_kind(key: &str, kind: Kind, value: &Value) -> Result<()> {
    if matches!(value.kind, ValueKind::Nil) {
        return Err(Error::invalid(key, "has no value; give one or leave the line out"));
    }
    match kind {
        Kind::Text | Kind::Secret | Kind::Path => scalar(key, value).map(|_| ()),
        Kind::Flag => match scalar(key, value)?.as_str() {
            "true" | "false" => Ok(()),
            _ => Err(Error::invalid(key, "must be true or false")),
        },
        Kind::Number(least, most) => match scalar(key, value)?.parse::<i64>() {
            Ok(number) if (least..=most).contains(&number) => Ok(()),
            _ => Err(Error::invalid(
                key,
                format!("must be a whole number from {least} to {most}"),
            )),
        },
        Kind::Duration => match scalar(key, value)?.parse::<Span>() {
            Ok(Span(Duration::ZERO)) => Err(Error::invalid(key, "must be longer than nothing")),
            Ok(Span(length)) if length > LONGEST_SPAN => Err(Error::invalid(key, "must not be longer than ten years")),
            Ok(_) => Ok(()),
            Err(expected) => Err(Error::invalid(key, expected)),
        },
        Kind::Address => match scalar(key, value)?.parse::<SocketAddr>() {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::invalid(
                key,
                "must be an IP address and a port, such as 0.0.0.0:9847",
            )),
        },
        Kind::SecretUrl => {
            let url = scalar(key, value)?;
            if url.starts_with("https://") || url.starts_with("http://") {
                return Ok(());
            }
            Err(Error::invalid(
                key,
                "must be a URL that begins with https:// or http://",
            ))
        }
        Kind::Schedule => match scalar(key, value)?.parse::<Schedule>() {
            Ok(_) => Ok(()),
            Err(expected) => Err(Error::invalid(key, expected)),
        },
        Kind::Template => match scalar(key, value)?.parse::<Template>() {
            Ok(_) => Ok(()),
            Err(problem) => Err(Error::invalid(key, problem)),
        },
        Kind::TimeZone => match scalar(key, value)?.parse::<ZoneName>() {
            Ok(_) => Ok(()),
            Err(expected) => Err(Error::invalid(key, expected)),
        },
        Kind::Size => match scalar(key, value)?.parse::<ByteSize>() {
            Ok(_) => Ok(()),
            Err(expected) => Err(Error::invalid(key, expected)),
        },
        Kind::Choice(words) => {
            let text = scalar(key, value)?;
            if words.contains(&text.as_str()) {
                return Ok(());
            }
            Err(Error::invalid(key, format!("must be one of {}", words.join(", "))))
        }
        Kind::TextList => match &value.kind {
            ValueKind::Array(items) => items.iter().try_for_each(|item| scalar(key, item).map(|_| ())),
            _ => Err(Error::invalid(key, "must be a list")),
        },
        Kind::TextMap => match &value.kind {
            ValueKind::Table(entries) => entries.values().try_for_each(|entry| scalar(key, entry).map(|_| ())),
            _ => Err(Error::invalid(key, "must be a mapping of names to names")),
        },
        Kind::Assertions => check_assertions(key, value),
        Kind::Repositories => copies::check(value),
    }
}

/// The value's text; never part of an error, since it may be a secret.
fn scalar(key: &str, value: &Value) -> Result<String> {
    match value.kind {
        ValueKind::Array(_) | ValueKind::Table(_) | ValueKind::Nil => {
            Err(Error::invalid(key, "must be a single value"))
        }
        _ => match value.to_string() {
            text if text.contains('\0') => Err(Error::invalid(key, "must not hold a zero byte")),
            text => Ok(text),
        },
    }
}

fn check_assertions(key: &str, value: &Value) -> Result<()> {
    const FIELDS: [&str; 3] = ["name", "database", "query"];
    let problem = || {
        Error::invalid(
            key,
            "must be a list of entries with name, database and query, all texts",
        )
    };
    let ValueKind::Array(entries) = &value.kind else {
        return Err(problem());
    };
    for entry in entries {
        let ValueKind::Table(fields) = &entry.kind else {
            return Err(problem());
        };
        if let Some(unknown) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
            return Err(Error::invalid(
                key,
                format!("has an entry with the unknown field '{unknown}'"),
            ));
        }
        let is_text = |name: &str| fields.get(name).is_some_and(|field| scalar(key, field).is_ok());
        if !FIELDS.iter().all(|name| is_text(name)) {
            return Err(problem());
        }
    }
    Ok(())
}

/// Checks what one value alone cannot tell.
pub(super) fn validate(settings: &Settings) -> Result<()> {
    validate_names(settings)?;
    validate_sizes(settings)?;
    validate_agents(settings)?;
    validate_tables_and_assertions(settings)?;
    validate_notify(settings)?;
    validate_retention(settings)?;
    validate_target(settings)
}

/// A backup refers to chunks that it found by their names alone while they are younger than this.
const FOUND_AT_MOST: Duration = Duration::from_hours(12);

/// What a backup or a drill relies upon must not be pruned while it runs.
fn validate_retention(settings: &Settings) -> Result<()> {
    validate_rules("", &settings.retention, &settings.prune, settings)?;
    for copy in &settings.copies {
        let place = format!("copies ('{}').", copy.name);
        validate_rules(&place, copy.retention(settings), copy.prune(settings), settings)?;
    }
    Ok(())
}

/// `place` is where they stand, as the beginning of their names.
fn validate_rules(
    place: &str,
    retention: &RetentionSettings,
    prune: &PruneSettings,
    settings: &Settings,
) -> Result<()> {
    let refused = |key: &str, problem: &str| Err(Error::invalid(&format!("{place}{key}"), problem));
    let Span(grace) = prune.grace;
    if grace < settings.backup.max_duration.0.saturating_add(FOUND_AT_MOST) {
        return refused(
            "prune.grace",
            "must be at least 12h longer than backup.max_duration: a backup under way must not lose what it refers to",
        );
    }
    if grace < settings.drill.max_duration.0 {
        return refused(
            "prune.grace",
            "must not be shorter than drill.max_duration: a drill under way must not lose what it reads",
        );
    }
    if retention.after_backup && !retention.has_rule() {
        return refused(
            "retention.after_backup",
            "needs a rule, such as retention.keep_daily: without one nothing is ever expired",
        );
    }
    Ok(())
}

fn validate_notify(settings: &Settings) -> Result<()> {
    if settings.notify.webhook.is_some() && settings.notify.webhook_file.is_some() {
        return Err(Error::invalid(
            "notify.webhook_file",
            "says the same as notify.webhook; set one of them",
        ));
    }
    Ok(())
}

fn validate_names(settings: &Settings) -> Result<()> {
    if settings
        .cluster
        .as_deref()
        .is_some_and(|cluster| cluster.trim().is_empty())
    {
        return Err(Error::invalid("cluster", "is empty; name the cluster"));
    }
    validate_repository("repository", &settings.repository)?;
    for copy in &settings.copies {
        let place = format!("copies ('{}')", copy.name);
        validate_repository(&place, &copy.repository)?;
        if copy.repository.bucket.is_none() && copy.repository.directory.is_none() {
            return Err(Error::invalid(
                &place,
                "has neither a bucket nor a directory; set one of them",
            ));
        }
        let others = settings.copies.iter().filter(|other| other.name != copy.name);
        if others
            .map(|other| &other.repository)
            .chain([&settings.repository])
            .any(|other| other.is_at(&copy.repository))
        {
            return Err(Error::invalid(
                &place,
                "lies where another repository lies; a copy is one in another place",
            ));
        }
    }
    Ok(())
}

fn validate_repository(place: &str, repository: &RepositorySettings) -> Result<()> {
    let refused = |setting: &str, problem: &str| Err(Error::invalid(&format!("{place}.{setting}"), problem));
    let prefix = &repository.prefix;
    if prefix.starts_with('/') || prefix.ends_with('/') || prefix.contains("//") {
        return refused("prefix", "must not begin or end with a slash nor hold two in a row");
    }
    if prefix.split('/').any(|part| matches!(part, "." | "..")) || prefix.chars().any(char::is_control) {
        return refused("prefix", "must have no part that is . or .. and no control character");
    }
    let endpoint = repository.endpoint.as_deref();
    if endpoint.is_some_and(|endpoint| !endpoint.starts_with("http://") && !endpoint.starts_with("https://")) {
        return refused("endpoint", "must begin with https:// or http://");
    }
    if repository.lock_mode.is_some() != repository.lock_days.is_some() {
        return refused("lock_days", "and lock_mode go together; set both, or neither");
    }
    if repository.kms_key.is_some() && repository.encryption != Some(Encryption::SseKms) {
        return refused("kms_key", "is for sse-kms; set encryption to it");
    }
    let Some(directory) = &repository.directory else {
        return Ok(());
    };
    if repository.lock_days.is_some() || repository.encryption.is_some() {
        return refused(
            "directory",
            "has neither locks nor encryption of its own; leave lock_mode, lock_days and encryption out",
        );
    }
    if repository.bucket.is_some() {
        return refused(
            "directory",
            "is set and the bucket is too; a repository lies in one of them",
        );
    }
    if !directory.is_absolute() {
        return refused("directory", "must be an absolute path");
    }
    if prefix.split('/').any(|part| part.starts_with('.')) {
        return refused("prefix", "must have no part that begins with a dot in a directory");
    }
    Ok(())
}

/// The repository takes no lease for longer either.
const LONGEST_LEASE: Duration = Duration::from_hours(1);

/// An agent that died must not keep others away for long, whatever was typed.
/// An alert calls a bucket that was read more than half an hour ago unread.
const LONGEST_POLL: Duration = Duration::from_mins(10);

fn validate_agents(settings: &Settings) -> Result<()> {
    if settings.agent.poll_interval.0 > LONGEST_POLL {
        return Err(Error::invalid(
            "agent.poll_interval",
            "must not be longer than 10m: the alerts take a bucket that is looked at more seldom for one that cannot be read",
        ));
    }
    match settings.backup_agent.lease_duration {
        Span(duration) if duration > LONGEST_LEASE => Err(Error::invalid(
            "backup_agent.lease_duration",
            "must not be longer than 1h",
        )),
        _ => Ok(()),
    }
}

fn validate_sizes(settings: &Settings) -> Result<()> {
    let backup = &settings.backup;
    if backup.chunk_min_bytes < ByteSize(1 << 10) {
        return Err(Error::invalid("backup.chunk_min_bytes", "must be at least 1KiB"));
    }
    if backup.chunk_mean_bytes < backup.chunk_min_bytes {
        return Err(Error::invalid(
            "backup.chunk_mean_bytes",
            "must not be less than backup.chunk_min_bytes",
        ));
    }
    if backup.chunk_max_bytes < backup.chunk_mean_bytes {
        return Err(Error::invalid(
            "backup.chunk_max_bytes",
            "must not be less than backup.chunk_mean_bytes",
        ));
    }
    if backup.chunk_max_bytes > ByteSize(256 << 20) {
        return Err(Error::invalid(
            "backup.chunk_max_bytes",
            "must be at most 256MiB: every job holds chunks of that size in memory",
        ));
    }
    if backup.part_bytes < ByteSize(1 << 20) || backup.part_bytes > backup.split_table_bytes {
        return Err(Error::invalid(
            "backup.part_bytes",
            "must be at least 1MiB and at most backup.split_table_bytes",
        ));
    }
    Ok(())
}

fn validate_tables_and_assertions(settings: &Settings) -> Result<()> {
    let is_pattern = |pattern: &String| {
        let parts = pattern.split_once('.');
        parts.is_some_and(|(schema, table)| !schema.is_empty() && !table.is_empty())
    };
    let lists = [
        ("source.exclude_tables", &settings.source.exclude_tables),
        ("drift.ignore_tables", &settings.drift.ignore_tables),
    ];
    for (key, patterns) in lists {
        if let Some(wrong) = patterns.iter().find(|pattern| !is_pattern(pattern)) {
            let problem = format!("has '{wrong}', which must be schema.table");
            return Err(Error::invalid(key, problem));
        }
    }
    let mut names = BTreeSet::new();
    for assertion in &settings.assertions {
        if assertion.name.is_empty() || assertion.database.is_empty() || assertion.query.trim().is_empty() {
            return Err(Error::invalid(
                "assertions",
                "has an entry whose name, database or query is empty",
            ));
        }
        if !names.insert((&assertion.database, &assertion.name)) {
            return Err(Error::invalid(
                "assertions",
                format!("names '{}' twice; give each its own name", assertion.name),
            ));
        }
    }
    Ok(())
}

fn validate_target(settings: &Settings) -> Result<()> {
    let target = &settings.target;
    let mut seen = BTreeSet::new();
    for name in target.databases.values() {
        if !seen.insert(name) {
            return Err(Error::invalid(
                "target.databases",
                format!("rebuilds two databases in '{name}'; give each its own"),
            ));
        }
        if *name == target.maintenance_database {
            return Err(Error::invalid(
                "target.databases",
                format!("rebuilds in '{name}', which is the maintenance database; name another"),
            ));
        }
    }
    Ok(())
}
