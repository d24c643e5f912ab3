//! Values of the right shape that cannot be: each in turn, given to verbs and to both agents. One line that names the setting,
//! no panic, nobody is connected to, and the exit code of settings; the backup agent waits for better ones (ADR 0012).

use nix::sys::signal::Signal;

use super::{Ears, is_refused};
use crate::support::{Program, Running};

/// Who reads the setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    /// Whoever reads settings at all.
    All,
    /// Whoever opens a store, and agents whenever they look at it.
    Store,
    Source,
    Target,
}

/// A value, as variables and the file say it, and what is said of it.
struct Wrong {
    reader: Reader,
    said: &'static str,
    variables: &'static [(&'static str, &'static str)],
    file: &'static str,
}

const fn variable(reader: Reader, said: &'static str, variables: &'static [(&'static str, &'static str)]) -> Wrong {
    Wrong {
        reader,
        said,
        variables,
        file: "",
    }
}

const fn file(said: &'static str, file: &'static str) -> Wrong {
    Wrong {
        reader: Reader::All,
        said,
        variables: &[],
        file,
    }
}

const WRONG: &[Wrong] = &[
    variable(Reader::All, "cluster is empty", &[("CLUSTER", "  ")]),
    variable(Reader::Store, "'' is no bucket name", &[("REPOSITORY_BUCKET", "")]),
    variable(
        Reader::Store,
        "'a/b' is no bucket name",
        &[("REPOSITORY_BUCKET", "a/b")],
    ),
    variable(
        Reader::All,
        "repository.prefix must have no part that is . or ..",
        &[("REPOSITORY_PREFIX", "a/../b")],
    ),
    variable(
        Reader::All,
        "repository.prefix must not begin or end with a slash",
        &[("REPOSITORY_PREFIX", "/a")],
    ),
    variable(
        Reader::All,
        "repository.prefix must not begin",
        &[("REPOSITORY_PREFIX", "a//b")],
    ),
    variable(
        Reader::All,
        "repository.prefix must have no part",
        &[("REPOSITORY_PREFIX", "a\u{7}b")],
    ),
    variable(
        Reader::All,
        "repository.endpoint must begin with https://",
        &[("REPOSITORY_ENDPOINT", "localhost:9000")],
    ),
    variable(
        Reader::All,
        "repository.endpoint must begin with https://",
        &[("REPOSITORY_ENDPOINT", "s3://backups")],
    ),
    variable(
        Reader::Store,
        "an endpoint holds no user or password",
        &[("REPOSITORY_ENDPOINT", "http://me:secret@h")],
    ),
    variable(
        Reader::All,
        "repository.lock_days and lock_mode go together",
        &[("REPOSITORY_LOCK_DAYS", "30")],
    ),
    variable(
        Reader::All,
        "repository.lock_days and lock_mode go together",
        &[("REPOSITORY_LOCK_MODE", "governance")],
    ),
    variable(
        Reader::All,
        "repository.kms_key is for sse-kms",
        &[("REPOSITORY_KMS_KEY", "alias/x")],
    ),
    variable(
        Reader::All,
        "repository.kms_key is for sse-kms",
        &[("REPOSITORY_KMS_KEY", "alias/x"), ("REPOSITORY_ENCRYPTION", "sse-s3")],
    ),
    variable(
        Reader::All,
        "repository.directory is set and the bucket is too",
        &[("REPOSITORY_DIRECTORY", "/backups")],
    ),
    variable(
        Reader::Store,
        "ca_file /nonexistent/ca.crt: No such file",
        &[("REPOSITORY_CA_FILE", "/nonexistent/ca.crt")],
    ),
    variable(
        Reader::Store,
        "ca_file /dev/null: no certificate in it",
        &[("REPOSITORY_CA_FILE", "/dev/null")],
    ),
    variable(
        Reader::Source,
        "source.dsn: the connection string needs the form",
        &[("SOURCE_DSN", "no such thing")],
    ),
    variable(
        Reader::Source,
        "source.dsn: the connection string's value of 'host' lacks",
        &[("SOURCE_DSN", "host='db")],
    ),
    variable(
        Reader::Source,
        "source.dsn: the connection string holds a broken",
        &[("SOURCE_DSN", "postgres://a%2")],
    ),
    variable(
        Reader::Source,
        "source.dsn: the connection string's parameter 'sslkey'",
        &[("SOURCE_DSN", "sslkey=secret")],
    ),
    variable(
        Reader::Source,
        "source.dsn: several hosts",
        &[("SOURCE_DSN", "host=a,b")],
    ),
    variable(
        Reader::Source,
        "source.dsn: port must be a number",
        &[("SOURCE_DSN", "host=a port=x")],
    ),
    variable(
        Reader::Source,
        "source.dsn: port must be a number",
        &[("SOURCE_DSN", "host=a port=99999")],
    ),
    variable(
        Reader::Source,
        "source.dsn: sslmode=sideways is not supported",
        &[("SOURCE_DSN", "host=a sslmode=sideways")],
    ),
    variable(
        Reader::Source,
        "source.password_file /dev/null: is empty",
        &[("SOURCE_PASSWORD_FILE", "/dev/null")],
    ),
    variable(
        Reader::Source,
        "source.password_file /dev: Is a directory",
        &[("SOURCE_PASSWORD_FILE", "/dev")],
    ),
    variable(
        Reader::Target,
        "target.dsn: the connection string needs the form",
        &[("TARGET_DSN", "no such thing")],
    ),
    variable(
        Reader::Target,
        "target.dsn: the connection string's parameter 'sslkey'",
        &[("TARGET_DSN", "sslkey=secret")],
    ),
    variable(
        Reader::Target,
        "target.dsn: connect_timeout must be a number",
        &[("TARGET_DSN", "connect_timeout=soon")],
    ),
    variable(
        Reader::Target,
        "target.password_file /dev/null: is empty",
        &[("TARGET_PASSWORD_FILE", "/dev/null")],
    ),
    variable(
        Reader::All,
        "target.databases rebuilds two databases in 'x'",
        &[("TARGET_DATABASES", "a=x,b=x")],
    ),
    variable(
        Reader::All,
        "target.databases rebuilds in 'postgres'",
        &[("TARGET_DATABASES", "a=postgres")],
    ),
    variable(
        Reader::All,
        "source.exclude_tables has 'orders', which must be",
        &[("SOURCE_EXCLUDE_TABLES", "a.b,orders")],
    ),
    variable(
        Reader::All,
        "source.exclude_tables has '.orders'",
        &[("SOURCE_EXCLUDE_TABLES", ".orders")],
    ),
    variable(
        Reader::All,
        "drift.ignore_tables has 'shop.'",
        &[("DRIFT_IGNORE_TABLES", "shop.")],
    ),
    variable(
        Reader::All,
        "backup.chunk_mean_bytes must not be less",
        &[("BACKUP_CHUNK_MEAN_BYTES", "1KiB")],
    ),
    variable(
        Reader::All,
        "backup.chunk_max_bytes must be at most 256MiB",
        &[("BACKUP_CHUNK_MAX_BYTES", "1GiB")],
    ),
    variable(Reader::All, "backup.part_bytes must be", &[("BACKUP_PART_BYTES", "1B")]),
    variable(
        Reader::All,
        "prune.grace must be at least 12h longer",
        &[("PRUNE_GRACE", "1h")],
    ),
    variable(
        Reader::All,
        "retention.after_backup needs a rule",
        &[("RETENTION_AFTER_BACKUP", "true")],
    ),
    variable(
        Reader::All,
        "agent.poll_interval must not be longer",
        &[("AGENT_POLL_INTERVAL", "1h")],
    ),
    variable(
        Reader::All,
        "backup_agent.lease_duration must not",
        &[("BACKUP_AGENT_LEASE_DURATION", "2h")],
    ),
    variable(
        Reader::All,
        "notify.webhook_file says the same as notify.webhook",
        &[("NOTIFY_WEBHOOK", "https://x"), ("NOTIFY_WEBHOOK_FILE", "/x")],
    ),
    file(
        "assertions has an entry whose name",
        "assertions: [{name: '', database: d, query: SELECT 1}]",
    ),
    file(
        "assertions names 'a' twice",
        "assertions: [{name: a, database: d, query: SELECT 1}, {name: a, database: d, query: SELECT 2}]",
    ),
    file(
        "copies ('far') has neither a bucket nor a directory",
        "copies: [{name: far}]",
    ),
    file(
        "copies ('far').prefix must have no part",
        "copies: [{name: far, bucket: b, prefix: ../x}]",
    ),
    file(
        "copies ('far').endpoint must begin with",
        "copies: [{name: far, bucket: b, endpoint: h}]",
    ),
    file(
        "copies ('far').directory must be an absolute path",
        "copies: [{name: far, directory: backups}]",
    ),
    file(
        "copies ('far').lock_days and lock_mode",
        "copies: [{name: far, bucket: b, lock_days: 3}]",
    ),
    file(
        "copies ('far').directory has neither locks nor encryption",
        "copies: [{name: far, directory: /b, lock_mode: governance, lock_days: 3}]",
    ),
    file(
        "copies ('far').prefix must have no part that begins",
        "copies: [{name: far, directory: /b, prefix: .x}]",
    ),
    file(
        "copies ('far').prune.grace must be at least",
        "copies: [{name: far, directory: /b, prune: {grace: 1h}}]",
    ),
];

const HELD: &str = "20261121T055117Z-8f3a2c1d";

/// Verbs that open a store, whatever else they need.
const OF_A_STORE: [&[&str]; 8] = [
    &["backup"],
    &["list"],
    &["drill"],
    &["verify", "--all"],
    &["prune"],
    &["expire"],
    &["hold", HELD, "--reason", "x"],
    &["accept-drift", "--reason", "x"],
];

impl Wrong {
    /// Those of its verbs that this turn is for.
    fn verbs(&self, turn: usize) -> Vec<&'static [&'static str]> {
        match self.reader {
            Reader::Source => vec![&["backup"]],
            Reader::Target => vec![&["drill"], &["compare"]],
            Reader::All | Reader::Store => (0..2)
                .map(|more| OF_A_STORE[(2 * turn + more) % OF_A_STORE.len()])
                .collect(),
        }
    }

    fn program(&self, ears: &Ears, arguments: &[&str]) -> Program {
        let path = ears.directory.path().join("settings.yaml");
        std::fs::write(&path, self.file).unwrap();
        let arguments = [&["--config", path.to_str().unwrap()][..], arguments].concat();
        let mut program = Program::new(&arguments).env("KUBEBACKUP_AGENT_LISTEN", "127.0.0.1:0");
        for (name, value) in ears.variables() {
            program = program.env(name, &value);
        }
        for (name, value) in self.variables {
            program = program.env(&format!("KUBEBACKUP_{name}"), value);
        }
        program
    }
}

#[test]
fn every_verb_names_a_value_that_cannot_be_and_connects_to_nobody() {
    let ears = Ears::open();
    for (turn, wrong) in WRONG.iter().enumerate() {
        for arguments in wrong.verbs(turn) {
            let ended = wrong.program(&ears, arguments).run();
            is_refused(&ended, wrong.said);
            assert!(!ended.printed().contains("secret"), "{}", ended.printed());
            assert!(ended.stdout.is_empty(), "{}", ended.stdout);
            ears.heard_nothing();
        }
    }
}

/// It has said so, lives, and ends when it is told to.
#[track_caller]
fn waits(mut agent: Running, said: &str) {
    agent.wait_for(said);
    agent.signal(Signal::SIGTERM);
    let ended = agent.wait().ok();
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    assert!(!ended.printed().contains("secret"), "{}", ended.printed());
}

#[test]
fn the_backup_agent_waits_for_better_values_and_the_restore_agent_ends_or_waits_for_files() {
    let ears = Ears::open();
    for wrong in WRONG {
        let said = wrong.said;
        if wrong.reader != Reader::Target {
            waits(wrong.program(&ears, &["backup-agent"]).spawn(), said);
        }
        match wrong.reader {
            Reader::Store => waits(wrong.program(&ears, &["restore-agent"]).spawn(), said),
            Reader::All | Reader::Target => is_refused(&wrong.program(&ears, &["restore-agent"]).run(), wrong.said),
            Reader::Source => {}
        }
        ears.heard_nothing();
    }
}

/// A program that is not there shows once the server has said which major it needs.
#[test]
fn a_wrong_directory_of_programs_is_named_and_nothing_is_read_or_stored() {
    let world = crate::support::World::start();
    world.source_sql("CREATE TABLE t AS SELECT 1 AS one");
    let backup = world
        .program(&["backup"])
        .env("KUBEBACKUP_SOURCE_BIN_DIRECTORY", "/nonexistent");
    let ended = backup.run();
    is_refused(&ended, "bin_directory");
    assert!(world.keys("manifests/").is_empty() && world.keys("chunks/").is_empty());
    world.back_up();
    world.mark_targets();
    world.restored_sql("CREATE TABLE of_the_owner AS SELECT 1 AS one");
    let drill = world
        .program(&["drill"])
        .env("KUBEBACKUP_TARGET_BIN_DIRECTORY", "/nonexistent");
    let ended = drill.run().expect(4);
    assert!(ended.printed().contains("bin_directory"), "{}", ended.printed());
    assert_eq!(world.restored_sql("TABLE of_the_owner"), "1", "nothing was wiped");
}
