//! Every setting in one table: name, type, default, text. The loader, the variables and `docs/configuration.md` all come
//! from it, so a default or a name stands in one place.

use std::fmt::Write as _;

/// What a setting may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// A connection string, which may hold a password.
    Secret,
    Path,
    Flag,
    /// A whole number from the first to the second.
    Number(i64, i64),
    Duration,
    Size,
    Choice(&'static [&'static str]),
    /// In a variable: separated by commas.
    TextList,
    /// In a variable: `a=b`, separated by commas.
    TextMap,
    /// An IP address and a port.
    Address,
    /// A URL that may hold a token.
    SecretUrl,
    /// When something happens: a cron expression or `every 6h`.
    Schedule,
    /// Text with names in braces.
    Template,
    /// An IANA name.
    TimeZone,
    /// A list of `{name, database, query}`; in the file alone.
    Assertions,
    /// A list of mappings: `name` and settings of the section `repository`; in the file alone.
    Repositories,
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its place in the file, sections separated by dots.
    pub key: &'static str,
    pub kind: Kind,
    /// As it would be written in the file; none: not set.
    pub default: Option<&'static str>,
    pub text: &'static str,
}

impl Setting {
    const fn new(key: &'static str, kind: Kind, default: Option<&'static str>, text: &'static str) -> Self {
        Self {
            key,
            kind,
            default,
            text,
        }
    }

    /// The environment variable that overrides it, where one can.
    #[must_use]
    pub fn variable(&self) -> Option<String> {
        let is_in_the_file_alone = matches!(self.kind, Kind::Assertions | Kind::Repositories);
        (!is_in_the_file_alone).then(|| variable_of(self.key))
    }
}

/// `backup.max_duration` → `KUBEBACKUP_BACKUP_MAX_DURATION`.
pub(super) fn variable_of(key: &str) -> String {
    format!("KUBEBACKUP_{}", key.replace('.', "_").to_uppercase())
}

use Kind::{
    Address, Assertions, Choice, Duration, Flag, Number, Path, Repositories, Schedule, Secret, SecretUrl, Size,
    Template, Text, TextList, TextMap, TimeZone,
};

/// All settings, in the order of the documentation.
pub const SETTINGS: &[Setting] = &[
    Setting::new(
        "cluster",
        Text,
        None,
        "Name of the cluster that is backed up, in manifests and metrics. One repository may hold several clusters.",
    ),
    Setting::new("repository.bucket", Text, None, "Bucket of the repository."),
    Setting::new(
        "repository.directory",
        Path,
        None,
        "Directory of the repository, on a volume or a network mount, instead of a bucket. It must exist: what is not \
         mounted is never written under.",
    ),
    Setting::new(
        "repository.prefix",
        Text,
        Some(""),
        "Where in the bucket or directory the repository lies, without slashes at its ends. Empty: all of it.",
    ),
    Setting::new(
        "repository.endpoint",
        Text,
        None,
        "URL of an S3-compatible server. Not set: AWS.",
    ),
    Setting::new(
        "repository.region",
        Text,
        None,
        "Region. Not set: as the AWS variables and profile say.",
    ),
    Setting::new(
        "repository.path_style",
        Flag,
        Some("false"),
        "Address the bucket in the path (`endpoint/bucket/key`), which most S3-compatible servers need.",
    ),
    Setting::new(
        "repository.profile",
        Text,
        None,
        "Profile of the AWS files, which alone counts then, whatever the environment holds. Not set: AWS's usual credential \
         chain. Files may be replaced at any time: they are read \
         again every minute, and at once when the store refuses what they held.",
    ),
    Setting::new(
        "repository.ca_file",
        Path,
        None,
        "PEM certificates to trust when talking to the store, for a server with a private authority. Not set: this \
         machine's own. A pod whose image has none needs it for any `https` endpoint.",
    ),
    Setting::new(
        "repository.lock_mode",
        Choice(&["governance", "compliance"]),
        None,
        "Object Lock mode of every chunk, manifest and certificate. In `compliance` nobody, the account's owner included, can \
         delete them before their time. Needs `repository.lock_days` and a bucket with Object Lock.",
    ),
    Setting::new(
        "repository.lock_days",
        Number(1, 36_500),
        None,
        "For how many days after a backup everything that it refers to is locked. Locks are given for a quarter longer.",
    ),
    Setting::new(
        "repository.encryption",
        Choice(&["sse-s3", "sse-kms"]),
        None,
        "Server-side encryption that every upload asks for. Not set: as the bucket does by itself.",
    ),
    Setting::new(
        "repository.kms_key",
        Text,
        None,
        "Id or ARN of the key for `sse-kms`. Not set: the account's own key for S3.",
    ),
    Setting::new(
        "repository.connect_timeout",
        Duration,
        Some("5s"),
        "Longest wait for a connection to the store.",
    ),
    Setting::new(
        "repository.read_timeout",
        Duration,
        Some("30s"),
        "Longest wait for the store's first byte. An upload has the time of its body more, at 128 KiB a second.",
    ),
    Setting::new(
        "repository.attempt_timeout",
        Duration,
        Some("60s"),
        "Longest single attempt of a request, up to the answer's first byte. An upload has the time of its body more, at 128 KiB a second. \
         A directory's volume that gives no answer for so long is unavailable too.",
    ),
    Setting::new(
        "repository.max_attempts",
        Number(1, 20),
        Some("5"),
        "Attempts of a request, the first included, with growing pauses between them.",
    ),
    Setting::new(
        "copies",
        Repositories,
        None,
        "Further repositories that hold copies of this one's backups: a list of mappings with a `name` and the settings \
         of the section `repository`. The backup agent fills each after its backups unless it says `after_backup: false`. \
         It may have sections `retention` and `prune` of its own, which hold there as a whole; without them the outer ones \
         do. Every verb works on one of them with `--repository NAME`. See [copies.md](copies.md).",
    ),
    Setting::new(
        "source.dsn",
        Secret,
        None,
        "Connection string of the server that is backed up; its database is the one connected to first. What it leaves \
         open comes from the `PG*` variables.",
    ),
    Setting::new(
        "source.password_file",
        Path,
        None,
        "File that holds the password and nothing else. It is read again for every connection.",
    ),
    Setting::new(
        "source.databases",
        TextList,
        None,
        "Databases to back up. Not set: all that take connections and are not templates.",
    ),
    Setting::new(
        "source.exclude_tables",
        TextList,
        None,
        "Tables whose rows are left out, as `schema.table` with `*` and `?` as wildcards. They stand in the ledger \
         and in the certificate.",
    ),
    Setting::new(
        "source.include_unlogged",
        Flag,
        Some("false"),
        "Back up the rows of unlogged tables too.",
    ),
    Setting::new(
        "source.bin_directory",
        Path,
        None,
        "Directory of `pg_dump` and `pg_restore` of the server's major version. Not set: looked for.",
    ),
    Setting::new(
        "backup.jobs",
        Number(1, 64),
        Some("2"),
        "Tables that are copied at the same time, each by its own connection.",
    ),
    Setting::new(
        "backup.pace",
        Choice(&["full", "polite"]),
        None,
        "`full`: a backup reads as fast as it can; `polite`: it pauses as soon and as much as the server answers late, down \
         to a quarter of full speed ([pacing.md](pacing.md)). Not set: `polite` for the agent, `full` for the verb `backup`.",
    ),
    Setting::new(
        "backup.compression_level",
        Number(1, 19),
        Some("1"),
        "zstd level of new chunks.",
    ),
    Setting::new(
        "backup.chunk_min_bytes",
        Size,
        Some("2MiB"),
        "A chunk's least raw size; only a table's last one is smaller.",
    ),
    Setting::new(
        "backup.chunk_mean_bytes",
        Size,
        Some("7MiB"),
        "Where a chunk ends on average if there were no largest size; with it somewhat sooner.",
    ),
    Setting::new(
        "backup.chunk_max_bytes",
        Size,
        Some("10MiB"),
        "A chunk's largest raw size; only a larger single row exceeds it. Memory grows with it.",
    ),
    Setting::new(
        "backup.split_table_bytes",
        Size,
        Some("8GiB"),
        "A table at least this large is copied in parts when the jobs could not be balanced otherwise.",
    ),
    Setting::new(
        "backup.part_bytes",
        Size,
        Some("512MiB"),
        "Size of such a part on the server's disk.",
    ),
    Setting::new(
        "backup.lock_timeout",
        Duration,
        Some("10s"),
        "Longest wait for the locks that keep definitions still during the backup.",
    ),
    Setting::new(
        "backup.max_duration",
        Duration,
        Some("6h"),
        "A backup that takes longer is given up: it holds back vacuum on the server.",
    ),
    Setting::new(
        "backup.max_blocking",
        Duration,
        Some("30s"),
        "A backup is given up when other sessions have waited this long for its locks.",
    ),
    Setting::new(
        "backup.attempts",
        Number(1, 20),
        Some("5"),
        "How often to start over when definitions change while the snapshot is taken.",
    ),
    Setting::new(
        "assertions",
        Assertions,
        None,
        "Read-only queries whose results must be equal in the snapshot and after a restore: a list of `name`, \
         `database` and `query`.",
    ),
    Setting::new(
        "drift.max_loss_percent",
        Number(0, 99),
        Some("50"),
        "Largest share of its rows, or of its bytes where it has more than a mebibyte, that a table or a schema may have \
         lost since the backup that a new one is compared with. More freezes deletion, as does a table, a database or \
         an object that is gone.",
    ),
    Setting::new(
        "drift.min_rows",
        Number(0, 1_000_000_000_000),
        Some("1000"),
        "Tables with no more rows than this may lose rows. A schema all of whose tables were emptied is told all the same.",
    ),
    Setting::new(
        "drift.ignore_tables",
        TextList,
        None,
        "Tables that may be emptied and dropped, as `schema.table` with `*` and `?` as wildcards: partitions that are \
         rotated, tables that a batch fills anew.",
    ),
    Setting::new(
        "target.dsn",
        Secret,
        None,
        "Connection string of the throw-away server that drills use. A person's `restore` names its own with `--into`.",
    ),
    Setting::new(
        "target.password_file",
        Path,
        None,
        "File that holds the password and nothing else. It is read again for every connection.",
    ),
    Setting::new(
        "target.maintenance_database",
        Text,
        Some("postgres"),
        "Database to be connected to while another is created or dropped; never restored into.",
    ),
    Setting::new(
        "target.databases",
        TextMap,
        None,
        "Which source database is rebuilt in which target database (`shop: shop_restored`). One that is not named is \
         rebuilt under its own name.",
    ),
    Setting::new(
        "target.bin_directory",
        Path,
        None,
        "Directory of `pg_restore` and `pg_dump` for the target. Not set: looked for.",
    ),
    Setting::new(
        "drill.jobs",
        Number(1, 64),
        Some("2"),
        "Connections that load and compare at the same time, in drills and in restores by hand.",
    ),
    Setting::new(
        "drill.max_duration",
        Duration,
        Some("24h"),
        "A drill that takes longer is ended, and unverified.",
    ),
    Setting::new(
        "drill.keep",
        Flag,
        Some("false"),
        "Leave the rebuilt database in place after a drill instead of wiping it.",
    ),
    Setting::new(
        "drill.login_role",
        Text,
        None,
        "Application role that must be able to log in to the rebuilt database, with a temporary password.",
    ),
    Setting::new(
        "drill.amcheck",
        Flag,
        Some("false"),
        "Check the rebuilt indexes with the extension `amcheck`, which the database must have: without it nothing is certified.",
    ),
    Setting::new(
        "agent.listen",
        Address,
        Some("0.0.0.0:9847"),
        "Address and port of `/livez`, `/readyz`, `/metrics`, `/status`, `/runs` and the page at `/`.",
    ),
    Setting::new(
        "agent.poll_interval",
        Duration,
        Some("1m"),
        "How often an agent looks at what lies in the bucket; at most `10m`.",
    ),
    Setting::new(
        "backup_agent.schedule",
        Schedule,
        Some("every 6h"),
        "When the backup agent backs up: a cron expression of five fields and perhaps a time zone \
         (`30 2 * * * Europe/Berlin`; UTC without one), or `every` and a duration (`every 6h`). A run missed while no \
         agent was there is caught up.",
    ),
    Setting::new(
        "backup_agent.jitter",
        Duration,
        None,
        "Each scheduled backup begins up to this much later, so that many clusters do not begin at once.",
    ),
    Setting::new(
        "backup_agent.run_on",
        Choice(&["primary", "standby", "any"]),
        Some("primary"),
        "Role that the server must have for a backup to be made; asked before each run.",
    ),
    Setting::new(
        "backup_agent.retry_first",
        Duration,
        Some("1m"),
        "How long after a backup that failed the agent tries again; each further pause is twice as long.",
    ),
    Setting::new(
        "backup_agent.retry_max",
        Duration,
        Some("30m"),
        "Longest pause between such attempts.",
    ),
    Setting::new(
        "backup_agent.lease_duration",
        Duration,
        Some("5m"),
        "How long an agent that has died keeps others from backing up the same cluster, at most `1h`.",
    ),
    Setting::new(
        "restore_agent.retry_first",
        Duration,
        Some("1m"),
        "How long after a drill that could not judge the agent tries again; each further pause is twice as long.",
    ),
    Setting::new(
        "restore_agent.retry_max",
        Duration,
        Some("1h"),
        "Longest pause between such attempts.",
    ),
    Setting::new(
        "restore_agent.reprove",
        Schedule,
        None,
        "When to drill one of the older certified backups again, chosen by chance; written like \
         `backup_agent.schedule`.",
    ),
    Setting::new(
        "retention.keep_last",
        Number(0, 100_000),
        Some("0"),
        "Keep the newest so many backups. With 0, here and below, the rule is not set; without any rule nothing is ever \
         expired. See [retention.md](retention.md).",
    ),
    Setting::new(
        "retention.keep_within",
        Duration,
        None,
        "Keep all backups that are at most so much older than the newest.",
    ),
    Setting::new(
        "retention.keep_hourly",
        Number(0, 100_000),
        Some("0"),
        "Keep one backup of each of the newest so many hours that have one.",
    ),
    Setting::new(
        "retention.keep_daily",
        Number(0, 100_000),
        Some("0"),
        "The same by days.",
    ),
    Setting::new(
        "retention.keep_weekly",
        Number(0, 100_000),
        Some("0"),
        "The same by weeks, which begin on Monday.",
    ),
    Setting::new(
        "retention.keep_monthly",
        Number(0, 100_000),
        Some("0"),
        "The same by months.",
    ),
    Setting::new(
        "retention.keep_yearly",
        Number(0, 100_000),
        Some("0"),
        "The same by years.",
    ),
    Setting::new(
        "retention.time_zone",
        TimeZone,
        Some("UTC"),
        "Where hours, days and weeks begin, such as `Europe/Berlin`.",
    ),
    Setting::new(
        "retention.keep_certified",
        Number(1, 100_000),
        Some("2"),
        "The newest so many certified backups are never expired, whatever the rules say.",
    ),
    Setting::new(
        "retention.after_backup",
        Flag,
        Some("false"),
        "The backup agent expires and prunes after each backup that succeeded. It needs a rule, and credentials that may \
         delete; a CronJob with an identity of its own is the other way.",
    ),
    Setting::new(
        "prune.grace",
        Duration,
        Some("24h"),
        "Prune deletes nothing younger, and nothing that a backup referred to which was expired more recently. At least \
         12h longer than `backup.max_duration`, and no shorter than `drill.max_duration`.",
    ),
    Setting::new(
        "objectives.rto",
        Duration,
        None,
        "Longest time a recovery may take. A drill that takes longer says so; its verdict stays what it is.",
    ),
    Setting::new(
        "objectives.rpo",
        Duration,
        None,
        "Longest span of changes that may be lost. A backup that leaves more behind says so.",
    ),
    Setting::new(
        "notify.webhook",
        SecretUrl,
        None,
        "URL that the restore agent tells of failed and recovered drills, and of backups that freeze deletion, by POST.",
    ),
    Setting::new(
        "notify.webhook_file",
        Path,
        None,
        "File that holds that URL and nothing else.",
    ),
    Setting::new(
        "notify.format",
        Choice(&["slack", "generic"]),
        Some("slack"),
        "Shape of the body: `slack` for a text that Slack, Mattermost and Rocket.Chat show, `generic` for all fields.",
    ),
    Setting::new(
        "notify.success",
        Choice(&["never", "each", "daily"]),
        Some("never"),
        "Whether certified drills are told too: each, or as a digest once a day.",
    ),
    Setting::new(
        "notify.unverified_after",
        Duration,
        Some("6h"),
        "Tell when no drill could judge the newest backup for this long.",
    ),
    Setting::new(
        "notify.text",
        Template,
        Some("{event}: backup {backup_id} of {cluster}: {summary}"),
        "Template of the text. Names in braces are replaced: `event`, `cluster`, `backup_id`, `drill_id`, `verdict`, \
         `summary`, `reasons`.",
    ),
    Setting::new(
        "notify.timeout",
        Duration,
        Some("10s"),
        "Longest wait for the receiver. A drill never waits for it.",
    ),
    Setting::new(
        "log.level",
        Choice(&["error", "warn", "info", "debug", "trace"]),
        Some("info"),
        "Least severe messages to log.",
    ),
    Setting::new(
        "log.format",
        Choice(&["text", "json"]),
        Some("text"),
        "Shape of a log line.",
    ),
];

/// The tables of `docs/configuration.md`, one a section.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::new();
    let mut section = None;
    for setting in SETTINGS {
        let this = setting.key.split_once('.').map(|(section, _)| section);
        if section != Some(this) {
            section = Some(this);
            let title = match this {
                Some(section) => format!("`{section}`"),
                None if setting.key == "cluster" => "General".to_owned(),
                None => format!("`{}`", setting.key),
            };
            let _ = write!(
                text,
                "\n### {title}\n\n| setting | type | default | meaning |\n|---|---|---|---|\n"
            );
        }
        let default = match setting.default {
            None => "not set".to_owned(),
            Some("") => "empty".to_owned(),
            Some(default) => format!("`{default}`"),
        };
        let _ = writeln!(
            text,
            "| `{}` | {} | {default} | {} |",
            setting.key,
            type_text(setting.kind),
            setting.text
        );
    }
    text
}

fn type_text(kind: Kind) -> String {
    match kind {
        Text => "text".to_owned(),
        Secret => "connection string".to_owned(),
        Path => "path".to_owned(),
        Flag => "`true` or `false`".to_owned(),
        Number(least, most) => format!("number, {least} to {most}"),
        Duration => "duration".to_owned(),
        Address => "address and port".to_owned(),
        SecretUrl => "URL".to_owned(),
        Schedule => "schedule".to_owned(),
        Template => "template".to_owned(),
        TimeZone => "time zone".to_owned(),
        Size => "size".to_owned(),
        Choice(words) => words
            .iter()
            .map(|word| format!("`{word}`"))
            .collect::<Vec<_>>()
            .join(", "),
        TextList => "list".to_owned(),
        TextMap => "mapping".to_owned(),
        Assertions | Repositories => "list, in the file alone".to_owned(),
    }
}
