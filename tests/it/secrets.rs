//! Secrets stay where they are: in no output at any log level, in no object of the bucket, in no argument of a child
//! program. Looked for in what every verb leaves behind, when it works and when it does not.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use kubebackup::http::status::{Outcome, Status};

use crate::backup_agent::Agent;
use crate::support::s3::SECRET_KEY;
use crate::support::{BACKUP_PASSWORD, BACKUP_ROLE, Ended, Program, World};

/// Quoted in whatever a wrong one leads to; unlike the right ones, these are in nothing else that is stored.
const WRONG_SOURCE: &str = "wrong-source-8f2e";
const WRONG_TARGET: &str = "wrong-target-77aa";
const WRONG_SECRET: &str = "wrong-aws-secret-0c1d";
const WRONG_DSN: &str = "wrong-dsn-%4x-51ce";
/// Of connections that the database itself knows.
const MAPPING: &str = "mapping-secret-31b4";
/// In the URL that people are told through.
const WEBHOOK: &str = "hook-token-5d21";
const SUBSCRIPTION: &str = "subscription-secret-9b1f";
const TARGET_PASSWORD: &str = "the target's own-password 44";

/// The source's password as a URI quotes it.
const ENCODED: &str = "p%C3%A4ssword%20of%20the%20backup%20role";

const SECRETS: &[&str] = &[
    BACKUP_PASSWORD,
    ENCODED,
    TARGET_PASSWORD,
    SECRET_KEY,
    WRONG_SOURCE,
    WRONG_TARGET,
    WRONG_SECRET,
    WRONG_DSN,
    MAPPING,
    SUBSCRIPTION,
    WEBHOOK,
    "SCRAM-SHA-256$",
];

/// A world that says everything it can, and keeps the arguments of every program that it starts.
struct Ground {
    world: World,
    settings: String,
    arguments: PathBuf,
    printed: String,
}

impl Ground {
    fn new() -> Self {
        let world = World::start();
        world.source_sql(&format!(
            "CREATE TABLE t AS SELECT generate_series(1, 100) AS n;
             CREATE EXTENSION postgres_fdw; CREATE ROLE app LOGIN PASSWORD '{MAPPING}'; ALTER TABLE t OWNER TO app;
             CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'far');
             CREATE USER MAPPING FOR app SERVER far OPTIONS (user 'me', password '{MAPPING}');
             CREATE SUBSCRIPTION s CONNECTION 'host=far password={SUBSCRIPTION}' PUBLICATION p
                 WITH (connect = false, enabled = false, slot_name = NONE);"
        ));
        let quoted = TARGET_PASSWORD.replace('\'', "''");
        let role = format!("CREATE ROLE rebuilder SUPERUSER LOGIN PASSWORD '{quoted}'");
        world.target.sql("postgres", &role).unwrap();
        let arguments = world.directory().join("arguments");
        let bin = watched_programs(&world, &arguments);
        let password = file(&world, "rebuilder", TARGET_PASSWORD);
        // The passwords stand in files and in the variables of the calls.
        let settings = world.write_settings("loud.yaml", "log: {level: trace}\ndrill: {login_role: app}\n");
        let text = fs::read_to_string(&settings).unwrap();
        let target = world.target.dsn(world.target.superuser(), "postgres");
        let text = text
            .replace(&target, &world.target.dsn("rebuilder", "postgres"))
            .replace(
                &world.directory().join("target-password").display().to_string(),
                &password,
            )
            .replace("source:\n", &format!("source:\n  bin_directory: {bin}\n"))
            .replace("target:\n", &format!("target:\n  bin_directory: {bin}\n"));
        fs::write(&settings, text).unwrap();
        Self {
            settings: settings.display().to_string(),
            world,
            arguments,
            printed: String::new(),
        }
    }

    fn run(&mut self, code: i32, arguments: &[&str], variables: &[(&str, &str)]) {
        let all = [&["--config", self.settings.as_str()], arguments].concat();
        let credentials = crate::support::S3::credentials();
        let program = Program::new(&all).envs(credentials).env("RUST_LOG", "trace");
        let ended: Ended = program.envs(variables.iter().copied()).run().expect(code);
        self.printed
            .push_str(&format!("{arguments:?} {}\n{}\n", ended.status, ended.printed()));
    }

    fn agent(&self, verb: &str, variables: &[(&str, &str)]) -> Agent {
        let program = Program::new(&["--config", &self.settings, verb]).envs(crate::support::S3::credentials());
        Agent::of_program(program.env("RUST_LOG", "trace"), variables)
    }

    /// What an agent shows and what it printed, to its end.
    fn take_down(&mut self, agent: Agent) {
        for path in ["/", "/status", "/metrics", "/livez"] {
            let mut stream = TcpStream::connect(("127.0.0.1", agent.port)).unwrap();
            write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.0 200"), "{path}: {answer}");
            self.printed.push_str(&answer);
        }
        self.printed.push_str(&agent.stop().printed());
    }

    /// Everything that is stored, chunks as they are and decompressed.
    fn stored(&self) -> Vec<(String, Vec<u8>)> {
        let mut stored = Vec::new();
        for key in self.world.keys("") {
            let bytes = self.world.s3.read(&World::object(&key));
            if key.starts_with("chunks/") {
                stored.push((
                    format!("{key} decompressed"),
                    zstd::decode_all(bytes.as_slice()).unwrap(),
                ));
            }
            stored.push((key, bytes));
        }
        stored
    }

    #[track_caller]
    fn assert_no_secret(&self) {
        let arguments = fs::read(&self.arguments).unwrap();
        let mut places = vec![("output".to_owned(), self.printed.clone().into_bytes())];
        places.push(("arguments".to_owned(), arguments));
        places.extend(self.stored());
        for (place, bytes) in &places {
            for secret in SECRETS {
                let found = memchr::memmem::find(bytes, secret.as_bytes());
                let around = found.map(|at| &bytes[at.saturating_sub(200)..(at + 200).min(bytes.len())]);
                assert!(
                    found.is_none(),
                    "{secret} in {place}: {}",
                    String::from_utf8_lossy(around.unwrap())
                );
            }
        }
    }
}

/// `pg_dump` and `pg_restore` that write down their own and their parent's arguments before they become the real ones.
fn watched_programs(world: &World, arguments: &std::path::Path) -> String {
    let bin = world.directory().join("bin");
    fs::create_dir(&bin).unwrap();
    for program in ["pg_dump", "pg_restore"] {
        let script = format!(
            "#!/bin/sh\n{{ tr '\\0' ' ' </proc/$$/cmdline; tr '\\0' ' ' </proc/$PPID/cmdline; echo; }} >>'{}'\n\
             exec '{}' \"$@\"\n",
            arguments.display(),
            world.source.bin_directory().join(program).display()
        );
        fs::write(bin.join(program), script).unwrap();
        fs::set_permissions(bin.join(program), fs::Permissions::from_mode(0o755)).unwrap();
    }
    bin.display().to_string()
}

fn file(world: &World, name: &str, contents: &str) -> String {
    let path = world.directory().join(name);
    fs::write(&path, contents).unwrap();
    path.display().to_string()
}

#[test]
fn no_secret_comes_out_of_any_verb_that_works() {
    let mut ground = Ground::new();
    ground.run(0, &["backup"], &[]);
    ground.world.mark_targets();
    ground.run(0, &["check"], &[]);
    ground.run(0, &["drill", "--keep"], &[]);
    ground.run(0, &["compare"], &[]);
    let into = ground.world.target.dsn("rebuilder", "again");
    ground.run(
        0,
        &["restore", "--into", &into, "--create-database"],
        &[("PGPASSWORD", TARGET_PASSWORD)],
    );
    // Passwords inside connection strings are allowed in variables.
    let port = ground.world.source.port();
    let with_password = format!("postgres://{BACKUP_ROLE}:{ENCODED}@127.0.0.1:{port}/shop");
    let variables = [
        ("KUBEBACKUP_SOURCE_DSN", with_password.as_str()),
        ("KUBEBACKUP_LOG_FORMAT", "json"),
    ];
    ground.run(0, &["--output", "json", "backup"], &variables);
    for arguments in [
        &["verify", "--all"][..],
        &["list"],
        &["show"],
        &["--output", "json", "show"],
    ] {
        ground.run(0, arguments, &[]);
    }
    let arguments = fs::read_to_string(&ground.arguments).unwrap();
    for program in ["/bin/pg_dump ", "/bin/pg_restore ", " backup ", " drill "] {
        assert!(arguments.contains(program), "{program} was watched: {arguments}");
    }
    assert!(
        ground.printed.contains("DEBUG") && ground.printed.contains("\"level\":\"DEBUG\""),
        "{}",
        ground.printed
    );
    ground.assert_no_secret();
}

#[test]
fn no_secret_comes_out_of_any_verb_that_fails() {
    let mut ground = Ground::new();
    ground.run(0, &["backup"], &[]);
    ground.world.mark_targets();
    let wrong_source = file(&ground.world, "wrong-source", WRONG_SOURCE);
    let wrong_target = file(&ground.world, "wrong-target", WRONG_TARGET);
    let source = [("KUBEBACKUP_SOURCE_PASSWORD_FILE", wrong_source.as_str())];
    let target = [("KUBEBACKUP_TARGET_PASSWORD_FILE", wrong_target.as_str())];
    let secret = [("AWS_SECRET_ACCESS_KEY", WRONG_SECRET)];
    ground.run(1, &["backup"], &source);
    ground.run(1, &["check"], &source);
    ground.run(1, &["check"], &target);
    ground.run(4, &["drill"], &target);
    ground.run(1, &["compare"], &target);
    for (code, verb) in [
        (1, "backup"),
        (1, "check"),
        (4, "drill"),
        (1, "verify"),
        (1, "list"),
        (1, "show"),
    ] {
        ground.run(code, &[verb], &secret);
    }
    let into = ground.world.target.dsn("rebuilder", "again");
    let restore = ["restore", "--into", &into, "--create-database"];
    ground.run(1, &restore, &[("PGPASSWORD", WRONG_TARGET)]);
    // An argument with a password is refused and not repeated. Connection strings that cannot be read hold one too.
    let port = ground.world.target.port();
    let with_password = format!("postgres://rebuilder:{WRONG_TARGET}@127.0.0.1:{port}/again");
    let refused = Program::new(&["--config", &ground.settings, "restore", "--into", &with_password]);
    let refused = refused.envs(crate::support::S3::credentials()).run().expect(2);
    ground.printed.push_str(&refused.printed());
    for dsn in [
        format!("postgres://me:{WRONG_DSN}@localhost/shop"),
        format!("postgres://me:{WRONG_SOURCE}@localhost:port/shop"),
        format!("host=localhost pasword={WRONG_SOURCE}"),
        format!("host=localhost password='{WRONG_SOURCE}"),
        WRONG_SOURCE.to_owned(),
    ] {
        ground.run(2, &["backup"], &[("KUBEBACKUP_SOURCE_DSN", &dsn)]);
    }
    // A settings file that is no YAML, with the password on the line at fault, and one that is of the wrong shape.
    let text = fs::read_to_string(&ground.settings).unwrap();
    for wrong in [
        text.replace(
            "source:\n",
            &format!("source:\n  dsn: \"host=a password={WRONG_SOURCE}\n"),
        ),
        text.replace("source:\n", &format!("source:\n  password: {WRONG_SOURCE}\n")),
        format!("source: \"password={WRONG_SOURCE}\"\n"),
        format!("source: {{dsn: [\"password={WRONG_SOURCE}\"]}}\n"),
    ] {
        let settings = file(&ground.world, "wrong.yaml", &wrong);
        let refused = Program::new(&["--config", &settings, "backup"]).run().expect(2);
        ground.printed.push_str(&refused.printed());
    }
    ground.assert_no_secret();
}

#[test]
fn no_secret_comes_out_of_the_agents_nor_of_their_ports() {
    let mut ground = Ground::new();
    let mut backup = ground.agent("backup-agent", &[]);
    let is_made = |outcome: Outcome| move |status: &Status| status.runs.iter().any(|run| run.outcome == outcome);
    backup.wait_until("a backup", is_made(Outcome::Succeeded));
    ground.take_down(backup);
    let wrong_source = file(&ground.world, "wrong-source", WRONG_SOURCE);
    let mut refused = ground.agent("backup-agent", &[("KUBEBACKUP_SOURCE_PASSWORD_FILE", &wrong_source)]);
    refused.trigger();
    refused.wait_until("a failure", is_made(Outcome::Failed));
    ground.take_down(refused);
    ground.world.mark_targets();
    // Nobody listens there: what is said about that must not name the place.
    let webhook = format!("http://127.0.0.1:1/services/{WEBHOOK}");
    let telling = [
        ("KUBEBACKUP_NOTIFY_WEBHOOK", webhook.as_str()),
        ("KUBEBACKUP_NOTIFY_SUCCESS", "each"),
    ];
    let mut restore = ground.agent("restore-agent", &telling);
    restore.wait_until("a certificate that nobody could be told of", |status| {
        is_made(Outcome::Certified)(status) && status.counts.failed_notifications > 0
    });
    ground.take_down(restore);
    let wrong_target = file(&ground.world, "wrong-target", WRONG_TARGET);
    let mut unverified = ground.agent("restore-agent", &[("KUBEBACKUP_TARGET_PASSWORD_FILE", &wrong_target)]);
    unverified.trigger();
    unverified.wait_until("a drill that could not judge", is_made(Outcome::Unverified));
    ground.take_down(unverified);
    let mut denied = ground.agent("backup-agent", &[("AWS_SECRET_ACCESS_KEY", WRONG_SECRET)]);
    denied.wait_until("the store's refusal", |status| status.counts.failed_polls > 0);
    ground.take_down(denied);
    ground.assert_no_secret();
}
