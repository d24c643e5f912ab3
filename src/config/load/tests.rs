//! What a settings file and variables make, and how slips are refused.

use std::io::Write as _;
use std::time::Duration;

use super::super::{AssertionSettings, ByteSize, Location, LogFormat, Span};
use super::*;

fn load_text(text: &str, variables: &[(&str, &str)]) -> Result<Settings> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    load(Some(file.path()), variables)
}

fn refusal(text: &str, variables: &[(&str, &str)]) -> String {
    load_text(text, variables).unwrap_err().to_string()
}

#[test]
fn without_file_and_variables_the_defaults_hold() {
    let settings = load(None, []).unwrap();
    assert_eq!(settings.backup.jobs, 2);
    assert_eq!(settings.backup.chunk_mean_bytes, ByteSize(7 << 20));
    assert_eq!(settings.repository.connect_timeout, Span(Duration::from_secs(5)));
    assert_eq!(settings.log.format, LogFormat::Text);
    assert_eq!(settings.target.maintenance_database, "postgres");
    let missing = settings.repository.require_location().unwrap_err().to_string();
    assert!(
        missing.contains("repository.bucket") && missing.contains("KUBEBACKUP_REPOSITORY_BUCKET"),
        "{missing}"
    );
}

#[test]
fn a_file_overrides_defaults_and_variables_override_the_file() {
    let text = "
cluster: production
repository: {bucket: b, prefix: a/b, endpoint: 'http://127.0.0.1:9000', path_style: true}
source: {dsn: 'host=db', databases: [Shop, \"123\"], exclude_tables: ['audit.*']}
backup: {jobs: 4, lock_timeout: 1m, chunk_max_bytes: 32MiB}
target:
  databases: {Shop: Shop_restored, a.b: c, ümlaut: x}
assertions:
  - {name: orders, database: Shop, query: 'SELECT count(*) FROM orders'}
";
    let variables = [
        ("KUBEBACKUP_BACKUP_JOBS", "8"),
        ("KUBEBACKUP_SOURCE_DATABASES", "one, Two"),
        ("KUBEBACKUP_LOG_FORMAT", "json"),
        ("HOME", "/root"),
    ];
    let settings = load_text(text, &variables).unwrap();
    assert_eq!(settings.backup.jobs, 8);
    assert_eq!(settings.backup.lock_timeout, Span(Duration::from_mins(1)));
    assert_eq!(settings.source.databases, ["one", "Two"]);
    assert_eq!(settings.target.database_for("Shop"), "Shop_restored");
    assert_eq!(settings.target.database_for("a.b"), "c");
    assert_eq!(settings.target.database_for("ümlaut"), "x");
    assert_eq!(settings.target.database_for("other"), "other");
    assert!(settings.repository.path_style);
    let assertion = AssertionSettings {
        name: "orders".to_owned(),
        database: "Shop".to_owned(),
        query: "SELECT count(*) FROM orders".to_owned(),
    };
    assert_eq!(settings.assertions, [assertion]);
    assert_eq!(settings.log.format, LogFormat::Json);
}

/// What a setting cannot be without.
fn beside(key: &str) -> Vec<(String, String)> {
    let needed = match key {
        "retention.after_backup" => vec![("KUBEBACKUP_RETENTION_KEEP_LAST", "1")],
        "repository.lock_mode" => vec![("KUBEBACKUP_REPOSITORY_LOCK_DAYS", "30")],
        "repository.lock_days" => vec![("KUBEBACKUP_REPOSITORY_LOCK_MODE", "governance")],
        "repository.kms_key" => vec![("KUBEBACKUP_REPOSITORY_ENCRYPTION", "sse-kms")],
        _ => Vec::new(),
    };
    needed
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn every_setting_of_the_table_has_a_place_in_the_structs() {
    for setting in SETTINGS {
        let text = match setting.kind {
            Kind::Number(_, most) => most.to_string(),
            Kind::Flag => "true".to_owned(),
            Kind::Duration if setting.key == "prune.grace" => "7d".to_owned(),
            Kind::TimeZone => "Europe/Berlin".to_owned(),
            Kind::Duration => "7s".to_owned(),
            Kind::Size => (setting.default.unwrap().parse::<ByteSize>().unwrap().0 + 1).to_string(),
            Kind::Choice(words) => words[words.len() - 1].to_owned(),
            Kind::TextMap => "a=b".to_owned(),
            Kind::Assertions | Kind::Repositories => continue,
            Kind::TextList => "a.b".to_owned(),
            Kind::Path if setting.key == "repository.directory" => "/volume".to_owned(),
            Kind::Text if setting.key == "repository.endpoint" => "http://store".to_owned(),
            Kind::Schedule => "5 4 * * *".to_owned(),
            Kind::Template => "{event}".to_owned(),
            Kind::Address => "127.0.0.1:1".to_owned(),
            Kind::SecretUrl => "https://hooks.example/secret".to_owned(),
            Kind::Text | Kind::Secret | Kind::Path => "value".to_owned(),
        };
        let with = |own: Option<(String, String)>| load(None, beside(setting.key).into_iter().chain(own));
        let default = format!("{:?}", with(None).or_else(|_| load(None, [])).unwrap());
        let set = with(Some((setting.variable().unwrap(), text)));
        let changed = format!("{:?}", set.unwrap_or_else(|error| panic!("{}: {error}", setting.key)));
        assert_ne!(changed, default, "{} changes nothing", setting.key);
    }
}

#[test]
fn a_grace_period_that_a_backup_or_a_drill_could_outlast_is_refused() {
    for (more, problem) in [
        (
            "prune: {grace: 17h}",
            "prune.grace must be at least 12h longer than backup.max_duration",
        ),
        (
            "backup: {max_duration: 13h}",
            "prune.grace must be at least 12h longer than backup.max_duration",
        ),
        (
            "drill: {max_duration: 2d}",
            "prune.grace must not be shorter than drill.max_duration",
        ),
        ("retention: {after_backup: true}", "retention.after_backup needs a rule"),
        (
            "retention: {time_zone: Berlin}",
            "retention.time_zone must be the IANA name of a time zone",
        ),
        (
            "retention: {keep_certified: 0}",
            "retention.keep_certified must be a whole number from 1",
        ),
    ] {
        let refused = refusal(more, &[]);
        assert!(refused.contains(problem), "{more}: {refused}");
    }
}

/// An alert calls a bucket unread after half an hour.
#[test]
fn an_agent_that_would_look_too_seldom_is_refused() {
    let refused = refusal("agent: {poll_interval: 11m}", &[]);
    assert!(
        refused.contains("agent.poll_interval must not be longer than 10m"),
        "{refused}"
    );
    assert!(load(None, [("KUBEBACKUP_AGENT_POLL_INTERVAL".to_owned(), "10m".to_owned())]).is_ok());
}

#[test]
fn an_unknown_name_is_refused_with_the_nearest_known_one() {
    assert_eq!(
        refusal("repository: {bukcet: x}", &[]),
        "unknown setting 'repository.bukcet'; did you mean 'repository.bucket'?"
    );
    assert_eq!(refusal("colour: red", &[]), "unknown setting 'colour'");
    assert_eq!(
        refusal("", &[("KUBEBACKUP_BACKUP_JOB", "1")]),
        "unknown environment variable 'KUBEBACKUP_BACKUP_JOB'; did you mean 'KUBEBACKUP_BACKUP_JOBS'?"
    );
}

#[test]
fn a_value_that_cannot_work_is_refused_with_the_mend() {
    for (text, expected) in [
        (
            "backup: {jobs: many}",
            "backup.jobs must be a whole number from 1 to 64",
        ),
        ("backup: {jobs: 0}", "backup.jobs must be a whole number from 1 to 64"),
        (
            "backup: {lock_timeout: 5}",
            "backup.lock_timeout must be a duration such as 30s, 5m, 2h or 7d",
        ),
        (
            "backup_agent: {jitter: 90000h}",
            "backup_agent.jitter must not be longer than ten years",
        ),
        (
            "backup_agent: {lease_duration: 61m}",
            "backup_agent.lease_duration must not be longer than 1h",
        ),
        (
            "backup: {lock_timeout: 0s}",
            "backup.lock_timeout must be longer than nothing",
        ),
        (
            "backup: {part_bytes: 8MB}",
            "backup.part_bytes must be a size such as 8MiB, 512KiB or a number of bytes",
        ),
        (
            "backup: {chunk_max_bytes: 4MiB}",
            "backup.chunk_max_bytes must not be less than backup.chunk_mean_bytes",
        ),
        (
            "repository: {path_style: perhaps}",
            "repository.path_style must be true or false",
        ),
        (
            "repository: {endpoint: localhost}",
            "repository.endpoint must begin with https:// or http://",
        ),
        (
            "repository: {prefix: a/../b}",
            "repository.prefix must have no part that is . or .. and no control character",
        ),
        (
            "repository: {prefix: a/}",
            "repository.prefix must not begin or end with a slash nor hold two in a row",
        ),
        (
            "repository: {region: }",
            "repository.region has no value; give one or leave the line out",
        ),
        (
            "repository: x",
            "repository is a section; give its settings below it, or leave it out",
        ),
        (
            "log: {level: loud}",
            "log.level must be one of error, warn, info, debug, trace",
        ),
        ("source: {databases: shop}", "source.databases must be a list"),
        (
            "source: {exclude_tables: [log]}",
            "source.exclude_tables has 'log', which must be schema.table",
        ),
        (
            "target: {databases: {a: x, b: x}}",
            "target.databases rebuilds two databases in 'x'; give each its own",
        ),
        (
            "target: {databases: {a: postgres}}",
            "target.databases rebuilds in 'postgres', which is the maintenance database; name another",
        ),
        (
            "assertions: [{name: a, database: b}]",
            "assertions must be a list of entries with name, database and query, all texts",
        ),
        ("cluster: ''", "cluster is empty; name the cluster"),
    ] {
        assert_eq!(refusal(text, &[]), expected, "{text}");
    }
}

#[test]
fn what_is_not_yaml_is_refused_with_its_place() {
    let refused = refusal("a: [b", &[]);
    assert!(refused.contains("line"), "{refused}");
    assert!(load(Some(Path::new("/nonexistent.yaml")), []).is_err());
}

#[test]
fn no_secret_is_shown() {
    let settings = load_text("source: {dsn: 'postgres://u:hunter2@h/d'}", &[]).unwrap();
    assert!(!format!("{settings:?}").contains("hunter2"));
    assert_eq!(settings.source.dsn.unwrap().expose(), "postgres://u:hunter2@h/d");
}

#[test]
fn copies_hold_the_settings_of_a_repository_and_its_defaults() {
    let text = "
repository: {bucket: b}
copies:
  - {name: volume, directory: /backups, prefix: a}
  - {name: offsite, bucket: c, path_style: true, max_attempts: 3, read_timeout: 9s}
";
    let settings = load_text(text, &[]).unwrap();
    let volume = settings.clone().on_copy("volume").unwrap().repository;
    assert_eq!(
        volume.require_location().unwrap(),
        Location::Directory(Path::new("/backups"))
    );
    assert_eq!(
        (volume.prefix.as_str(), volume.connect_timeout),
        ("a", Span(Duration::from_secs(5)))
    );
    let offsite = settings.clone().on_copy("offsite").unwrap().repository;
    assert_eq!(offsite.require_location().unwrap(), Location::Bucket("c"));
    assert!(offsite.path_style);
    assert_eq!(
        (offsite.max_attempts, offsite.read_timeout),
        (3, Span(Duration::from_secs(9)))
    );
    let unknown = settings.on_copy("ofsite").unwrap_err().to_string();
    assert_eq!(unknown, "unknown copy 'ofsite'; did you mean 'offsite'?");
}

#[test]
fn a_copy_is_kept_by_its_own_rules_as_a_whole_or_else_by_those_of_the_section() {
    let text = "
repository: {bucket: b}
retention: {keep_last: 7, keep_daily: 3, time_zone: Europe/Berlin}
prune: {grace: 30h}
copies:
  - {name: same, bucket: c}
  - {name: own, bucket: d, after_backup: false, retention: {keep_monthly: 24, after_backup: true}, prune: {grace: 72h}}
";
    let settings = load_text(text, &[]).unwrap();
    let [same, own] = ["same", "own"].map(|name| {
        (
            settings.copy(name).unwrap().after_backup,
            settings.clone().on_copy(name).unwrap(),
        )
    });
    assert_eq!(
        (same.0, same.1.retention.keep_last, same.1.prune.grace.0),
        (true, 7, Duration::from_hours(30))
    );
    let rules = &own.1.retention;
    assert_eq!(
        (own.0, rules.keep_last, rules.keep_daily, rules.keep_monthly),
        (false, 0, 0, 24)
    );
    assert_eq!((rules.keep_certified, rules.after_backup), (2, true));
    assert_eq!(rules.time_zone.0, jiff::tz::TimeZone::UTC);
    assert_eq!(own.1.prune.grace.0, Duration::from_hours(72));
    assert_eq!(own.1.copies.len(), 1, "none of itself");
}

#[test]
fn copies_that_cannot_work_are_refused_with_the_mend() {
    for (text, expected) in [
        (
            "copies: [{name: a, bucket: c, retention: {keep_dayly: 1}}]",
            "unknown setting 'copies[0].retention.keep_dayly'; did you mean 'keep_daily'?",
        ),
        (
            "copies: [{name: a, bucket: c, retention: 3}]",
            "copies[0].retention is a section; give its settings below it, or leave it out",
        ),
        (
            "copies: [{name: a, bucket: c, retention: {after_backup: true}}]",
            "copies ('a').retention.after_backup needs a rule, such as retention.keep_daily: without one nothing is ever expired",
        ),
        (
            "copies: [{name: a, bucket: c, prune: {grace: 2h}}]",
            "copies ('a').prune.grace must be at least 12h longer than backup.max_duration: a backup under way must not lose what it refers to",
        ),
        (
            "copies: [{name: a, bucket: c, after_backup: sometimes}]",
            "copies[0].after_backup must be true or false",
        ),
        ("copies: volume", "copies must be a list of mappings, each with a name"),
        (
            "copies: [volume]",
            "copies[0] must be a mapping with a name and a bucket or directory",
        ),
        (
            "copies: [{bucket: c}]",
            "copies[0] has no name; every copy needs one, a text",
        ),
        (
            "copies: [{name: 'a b', bucket: c}]",
            "copies[0].name must be letters, digits, dots, hyphens and underscores",
        ),
        (
            "copies: [{name: a, bucket: c}, {name: a, bucket: d}]",
            "copies[1] has the name 'a' of an earlier entry",
        ),
        (
            "copies: [{name: a, bukcet: c}]",
            "unknown setting 'copies[0].bukcet'; did you mean 'bucket'?",
        ),
        (
            "copies: [{name: a, bucket: c, max_attempts: 0}]",
            "copies[0].max_attempts must be a whole number from 1 to 20",
        ),
        (
            "copies: [{name: a}]",
            "copies ('a') has neither a bucket nor a directory; set one of them",
        ),
        (
            "copies: [{name: a, bucket: c, directory: /d}]",
            "copies ('a').directory is set and the bucket is too; a repository lies in one of them",
        ),
        (
            "copies: [{name: a, directory: d}]",
            "copies ('a').directory must be an absolute path",
        ),
        (
            "repository: {directory: /d, prefix: a/.b}",
            "repository.prefix must have no part that begins with a dot in a directory",
        ),
        (
            "repository: {bucket: c}\ncopies: [{name: a, bucket: c}]",
            "copies ('a') lies where another repository lies; a copy is one in another place",
        ),
    ] {
        assert_eq!(refusal(text, &[]), expected);
    }
}
