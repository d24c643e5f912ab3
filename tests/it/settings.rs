//! Settings and arguments that cannot be: every setting of the table wrong in turn, given to the program itself. One line
//! that names the setting and the mend, exit code 2, and nobody is connected to.

mod values;

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;

use kubebackup::config::{Kind, SETTINGS};
use tempfile::TempDir;

use crate::support::{Ended, Program};

/// Where store, source and target would be; nobody may ever call.
struct Ears {
    listeners: [TcpListener; 3],
    directory: TempDir,
}

impl Ears {
    fn open() -> Self {
        let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        for listener in &listeners {
            listener.set_nonblocking(true).unwrap();
        }
        Self {
            listeners,
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// Variables that make all else as it should be.
    fn variables(&self) -> Vec<(&'static str, String)> {
        let port = |number: usize| self.listeners[number].local_addr().unwrap().port();
        vec![
            ("AWS_ACCESS_KEY_ID", "key".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
            ("KUBEBACKUP_CLUSTER", "production".to_owned()),
            ("KUBEBACKUP_REPOSITORY_BUCKET", "backups".to_owned()),
            ("KUBEBACKUP_REPOSITORY_REGION", "us-east-1".to_owned()),
            (
                "KUBEBACKUP_REPOSITORY_ENDPOINT",
                format!("http://127.0.0.1:{}", port(0)),
            ),
            (
                "KUBEBACKUP_SOURCE_DSN",
                format!("host=127.0.0.1 port={} user=u dbname=d", port(1)),
            ),
            (
                "KUBEBACKUP_TARGET_DSN",
                format!("host=127.0.0.1 port={} user=u dbname=d", port(2)),
            ),
        ]
    }

    fn run(&self, arguments: &[&str], own: &[(&str, &str)]) -> Ended {
        let mut program = Program::new(arguments);
        for (name, value) in self.variables() {
            program = program.env(name, &value);
        }
        program.envs(own.iter().copied()).run()
    }

    fn run_with_file(&self, text: &[u8], verb: &str) -> Ended {
        let path = self.directory.path().join("settings.yaml");
        fs::write(&path, text).unwrap();
        self.run(&["--config", path.to_str().unwrap(), verb], &[])
    }

    #[track_caller]
    fn heard_nothing(&self) {
        for listener in &self.listeners {
            let called = listener.accept();
            assert_eq!(called.unwrap_err().kind(), ErrorKind::WouldBlock, "somebody called");
        }
    }
}

/// A value that this kind of setting cannot have, as a variable says it; none where any text will do.
fn wrong(kind: Kind) -> Option<String> {
    Some(match kind {
        Kind::Number(_, most) => (i128::from(most) + 1).to_string(),
        Kind::Flag => "maybe".to_owned(),
        Kind::Duration => "0s".to_owned(),
        Kind::Size => "8 parsecs".to_owned(),
        Kind::Choice(_) => "sideways".to_owned(),
        Kind::TextMap => "no pair".to_owned(),
        Kind::Schedule => "every now and then".to_owned(),
        Kind::Template => "{nonsense}".to_owned(),
        Kind::Address => "localhost".to_owned(),
        Kind::SecretUrl => "ftp://x".to_owned(),
        Kind::TimeZone => "Europe/Atlantis".to_owned(),
        Kind::Text | Kind::Secret | Kind::Path | Kind::TextList | Kind::Assertions | Kind::Repositories => return None,
    })
}

#[track_caller]
fn is_refused(ended: &Ended, name: &str) {
    assert_eq!(ended.code(), Some(2), "{name}: {}", ended.printed());
    let errors: Vec<&str> = ended
        .stderr
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert_eq!(errors.len(), 1, "{name}: {}", ended.stderr);
    assert!(errors[0].contains(name), "{name}: {}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}

#[test]
fn every_setting_wrong_in_turn_is_named_with_its_mend_and_nothing_is_connected_to() {
    let ears = Ears::open();
    for (number, setting) in SETTINGS.iter().enumerate() {
        let verb = ["backup", "drill", "check", "list", "prune"][number % 5];
        // A section where a value belongs, or a value where a list or mapping belongs.
        let value = match setting.kind {
            Kind::TextList | Kind::TextMap | Kind::Assertions | Kind::Repositories => "7",
            _ => "{a: [b]}",
        };
        let text = match setting.key.split_once('.') {
            Some((section, name)) => format!("{section}: {{{name}: {value}}}\n"),
            None => format!("{}: {value}\n", setting.key),
        };
        is_refused(&ears.run_with_file(text.as_bytes(), verb), setting.key);
        if let (Some(variable), Some(value)) = (setting.variable(), wrong(setting.kind)) {
            is_refused(&ears.run(&[verb], &[(&variable, &value)]), &variable);
        }
    }
    ears.heard_nothing();
}

#[test]
fn a_settings_file_that_is_none_is_refused_whatever_it_is() {
    let ears = Ears::open();
    let bomb: String = (1..30).fold(String::new(), |bomb, level| {
        bomb + &format!("a{level}: &a{level} [*a{0}, *a{0}]\n", level - 1)
    });
    let deep = |open: &str| open.repeat(50_000);
    for (what, text) in [
        ("no text", b"\xff\xfe\x00cluster".to_vec()),
        ("a zero byte", b"cluster: a\0b\n".to_vec()),
        ("a list", b"[cluster]\n".to_vec()),
        ("half a line", b"repository: {bucket: 'b\n".to_vec()),
        ("a name twice", b"cluster: a\ncluster: b\n".to_vec()),
        ("an unknown name", b"clutser: a\n".to_vec()),
        ("a tag", b"cluster: !!python/object:os.system [x]\n".to_vec()),
        ("aliases of aliases", format!("a0: &a0 [x]\n{bomb}").into_bytes()),
        ("brackets without an end", deep("[").into_bytes()),
        ("braces without an end", deep("{a: ").into_bytes()),
        ("dashes without an end", deep("- ").into_bytes()),
    ] {
        let ended = ears.run_with_file(&text, "backup");
        assert_eq!(
            ended.code(),
            Some(2),
            "{what}: {:?} {}",
            ended.signal(),
            ended.printed()
        );
        assert!(ended.stderr.starts_with("error: "), "{what}: {}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{what}: {}", ended.stderr);
    }
    ears.heard_nothing();
}

#[test]
fn arguments_that_cannot_be_are_refused_before_anything_is_connected_to() {
    let ears = Ears::open();
    let id = "20261121T055117Z-8f3a2c1d";
    for arguments in [
        &["show", "../../etc/passwd"][..],
        &["show", ""],
        &["show", "20269999T055117Z-8f3a2c1d"],
        &["show", "20261121T055117Z-8F3A2C1D"],
        &["drill", "--backup", "manifests/x"],
        &["verify", "--backup", "*"],
        &["hold", "%00", "--reason", "x"],
        &["diff", id, "/"],
        &["compare", "--backup", "' OR 1=1 --", "--into", "dbname=x"],
        &["restore", "--at", "yesterday", "--into", "dbname=x"],
        &["restore", "--at", "-9999999-01-01T00:00:00Z", "--into", "dbname=x"],
        &["restore", "--at", "2026-02-30T00:00:00Z", "--into", "dbname=x"],
        &["restore", "--into", "postgres://u:secret@h/d"],
        &["restore", "--into", "host='unended dbname=x"],
        &["restore", "--into", "no such thing"],
        &["restore", "--into", "dbname=x", "--schema", ""],
        &["restore", "--into", "dbname=x", "--table", "orders"],
        &["restore", "--into", "dbname=x", "--table", "shop.public.orders"],
        &["restore", "--into", "dbname=x", "--table", "public.\"orders"],
        &["restore", "--into", "dbname=x", "--table", "\"\".orders"],
        &[
            "restore",
            "--into",
            "dbname=x",
            "--table",
            "public.\"orders\"; DROP TABLE orders",
        ],
        &["restore", "--into", "dbname=x", "--table", "a.b", "--wipe"],
        &["restore", "--into", "dbname=x sslkey=/etc/shadow nonsense=1"],
    ] {
        let ended = ears.run(arguments, &[]);
        assert_eq!(ended.code(), Some(2), "{arguments:?}: {}", ended.printed());
        assert!(ended.stderr.contains("error: "), "{arguments:?}: {}", ended.stderr);
        assert!(!ended.printed().contains("secret@"), "{}", ended.printed());
    }
    ears.heard_nothing();
}
