//! The program before a store whose certificate is of a private authority: `ca_file` of the repository and of a copy reach
//! every verb and both agents, and whatever is wrong with it is said once, by its name.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use crate::support::agents::AgentProcess;
use crate::support::s3::BUCKET;
use crate::support::tls_front::TlsFront;
use crate::support::{Ended, Program, World, certificates, wait};

const VARIABLE: &str = "KUBEBACKUP_REPOSITORY_CA_FILE";

/// A world whose bucket is behind TLS too.
struct Ground {
    world: World,
    front: TlsFront,
}

impl Ground {
    fn new() -> Self {
        let world = World::start();
        world.source_sql("CREATE TABLE t AS SELECT i, md5(i::text) AS text FROM generate_series(1, 500) i");
        certificates::make(world.directory());
        let front = TlsFront::before(&world.s3.endpoint, world.directory());
        Self { world, front }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.world.directory().join(name)
    }

    /// Through TLS, and by the variable where there is a file.
    fn program(&self, arguments: &[&str], ca_file: Option<&Path>) -> Program {
        let program = self
            .world
            .program(arguments)
            .env("KUBEBACKUP_REPOSITORY_ENDPOINT", &self.front.endpoint)
            .env("KUBEBACKUP_REPOSITORY_MAX_ATTEMPTS", "1");
        match ca_file {
            Some(path) => program.env(VARIABLE, path.to_str().unwrap()),
            None => program,
        }
    }

    /// What names no certificate, and the words that say so; a path that leads nowhere among them.
    fn none_at_all(&self) -> [(PathBuf, &'static str); 4] {
        let files = [
            ("empty.crt", "", "no certificate in it"),
            ("half.crt", "-----BEGIN CERTIFICATE-----\nMIIB\n", "no PEM certificates"),
            (
                "nonsense.crt",
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "invalid peer certificate",
            ),
        ];
        let [empty, half, nonsense] = files.map(|(name, text, problem)| {
            fs::write(self.path(name), text).unwrap();
            (self.path(name), problem)
        });
        let absent = (self.path("absent.crt"), "No such file or directory");
        [empty, half, nonsense, absent]
    }
}

/// One error with all of these words.
#[track_caller]
fn assert_told(ended: &Ended, words: &[&str]) {
    let said = &ended.stderr;
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{}", ended.printed());
    for word in words {
        assert!(errors[0].contains(word), "no '{word}' in\n{}", ended.printed());
    }
    assert_eq!(said.matches("\nhint: ").count(), 1, "{}", ended.printed());
    assert!(!said.contains("panicked"), "{said}");
}

const VERBS: [&[&str]; 5] = [&["backup"], &["list"], &["verify", "--all"], &["drill"], &["prune"]];

#[test]
fn every_verb_trusts_the_authority_that_the_settings_name() {
    let ground = Ground::new();
    let ca = ground.path("ca.crt");
    ground.program(&["backup"], Some(&ca)).run().ok();
    ground.world.mark_targets();
    let cluster = &ground.world.target;
    let into = cluster.dsn(cluster.superuser(), "again");
    let restore = ["restore", "--into", &into, "--create-database"];
    for arguments in VERBS.into_iter().chain([&restore[..], &["check"]]) {
        let before = ground.front.handshakes();
        let program = ground
            .program(arguments, Some(&ca))
            .env("PGPASSWORD", cluster.password());
        program.run().ok();
        assert!(ground.front.handshakes() > before, "{arguments:?} went another way");
    }
    // The same in the settings file, where `KUBEBACKUP_REPOSITORY_CA_FILE` says nothing.
    let settings = fs::read_to_string(&ground.world.settings_file).unwrap();
    let path_style = "  path_style: true\n";
    let with_ca = settings.replacen(path_style, &format!("{path_style}  ca_file: {}\n", ca.display()), 1);
    assert_ne!(settings, with_ca);
    fs::write(&ground.world.settings_file, with_ca).unwrap();
    ground.program(&["list"], None).run().ok();
}

#[test]
fn an_authority_that_nobody_named_is_not_trusted_and_the_setting_is_named() {
    let ground = Ground::new();
    ground.world.back_up();
    ground.world.mark_targets();
    let before = ground.world.keys("");
    for ca_file in [None, Some(ground.path("other.crt"))] {
        for arguments in VERBS {
            let ended = ground.program(arguments, ca_file.as_deref()).run().expect(1);
            assert_told(
                &ended,
                &[
                    "UnknownIssuer",
                    "the setting ca_file names the authority",
                    &ground.front.endpoint,
                ],
            );
        }
        let checked = ground.program(&["check"], ca_file.as_deref()).run().expect(1).printed();
        assert!(checked.contains("the setting ca_file names the authority"), "{checked}");
    }
    assert_eq!(ground.front.handshakes(), 0);
    assert_eq!(ground.world.keys(""), before);
}

#[test]
fn a_file_without_a_certificate_is_named_with_its_setting_before_anything_is_asked_for() {
    let ground = Ground::new();
    for (path, problem) in ground.none_at_all() {
        let file = format!("ca_file {}: ", path.display());
        for arguments in VERBS {
            let ended = ground.program(arguments, Some(&path)).run().expect(2);
            assert_told(&ended, &[&file, problem]);
        }
        let checked = ground.program(&["check"], Some(&path)).run().expect(1).printed();
        assert!(checked.contains(&file), "{checked}");
    }
    assert_eq!(ground.front.handshakes(), 0);
    assert!(ground.world.keys("").is_empty());
}

#[test]
fn a_copy_has_an_authority_of_its_own() {
    let mut ground = Ground::new();
    ground.world.back_up();
    let ca = |name: &str| format!(", ca_file: {}", ground.path(name).display());
    let [(empty, _), ..] = ground.none_at_all();
    let empty = format!(", ca_file: {}", empty.display());
    let settings = [
        (String::new(), "UnknownIssuer"),
        (empty, "no certificate in it"),
        (ca("ca.crt"), ""),
    ];
    for (setting, problem) in settings {
        let copies = format!(
            "copies:\n  - {{name: far, bucket: {BUCKET}, prefix: far, endpoint: {}, region: us-east-1, path_style: true, \
             max_attempts: 1{setting}}}\n",
            ground.front.endpoint
        );
        ground.world.settings_file = ground.world.write_settings("settings.yaml", &copies);
        let ended = ground.world.program(&["copy"]).run();
        if problem.is_empty() {
            ended.ok();
        } else {
            assert_told(&ended.expect(1), &["copy 'far': ", "ca_file", problem]);
            assert!(ground.world.s3.keys("far/").is_empty());
        }
    }
    assert!(ground.front.handshakes() > 0);
    let verify = ["--repository", "far", "verify", "--all"];
    ground.world.program(&verify).run().ok();
    // A copy's file is nobody else's, and nobody else's is a copy's.
    let repository = ground.program(&["list"], None).run().expect(1);
    assert_told(&repository, &["UnknownIssuer"]);
}

/// A `ConfigMap` that comes after the pod: both agents say what is missing and go on once it is there.
#[test]
fn agents_say_what_is_wrong_with_the_file_and_work_once_it_holds_the_authority() {
    let ground = Ground::new();
    ground.world.back_up();
    ground.world.source_sql("INSERT INTO t VALUES (0, 'one more')");
    ground.world.mark_targets();
    let later = ground.path("later.crt");
    let variables = [
        ("KUBEBACKUP_REPOSITORY_ENDPOINT", ground.front.endpoint.as_str()),
        ("KUBEBACKUP_REPOSITORY_MAX_ATTEMPTS", "1"),
        ("KUBEBACKUP_BACKUP_AGENT_SCHEDULE", "every 1s"),
        (VARIABLE, later.to_str().unwrap()),
    ];
    let start = |verb: &str| AgentProcess::start(&ground.world, verb, &variables);
    let mut agents = [start("backup-agent"), start("restore-agent")];
    let told = |problem: &str| format!("ca_file {}: {problem}", later.display());
    for agent in &mut agents {
        agent.wait_for(&told("No such file or directory"));
    }
    fs::write(&later, "").unwrap();
    for agent in &mut agents {
        agent.wait_for(&told("no certificate in it"));
        agent.scrape_until("kubebackup_waiting 1\n");
    }
    // Of somebody else: those are never trusted.
    fs::copy(ground.path("other.crt"), &later).unwrap();
    for agent in &mut agents {
        agent.wait_for("the setting ca_file names the authority to trust");
    }
    assert_eq!(ground.front.handshakes(), 0);
    assert_eq!(ground.world.keys("manifests/").len(), 1);
    fs::copy(ground.path("ca.crt"), &later).unwrap();
    for agent in &agents {
        agent.signal(Signal::SIGHUP);
    }
    wait::until("a backup through TLS", || ground.world.keys("manifests/").len() > 1);
    wait::until("a certificate through TLS", || {
        let certificates = ground.world.keys("certificates/");
        certificates.iter().any(|key| key.ends_with(".certified.json"))
    });
    for agent in agents {
        agent.stop();
    }
}
