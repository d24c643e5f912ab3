//! The throw-away server of the restore pod, started for real by the script that the `ConfigMap` brings.
//!
//! Everything is as in the pod but the image and the paths: not root, a Unix socket, a fresh server at each start.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use kubebackup::demo::{Ground, find_bin_directory, give_to_server_user, unprivileged};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::render::root;
use crate::support::{Ended, World, wait};

/// The container's volumes, and the server in it while it runs.
struct ThrowAway {
    ground: Ground,
    server: Option<Child>,
}

impl ThrowAway {
    fn new() -> Self {
        let ground = Ground::new().unwrap();
        for volume in ["scratch", "socket"] {
            let directory = ground.path().join(volume);
            fs::create_dir(&directory).unwrap();
            give_to_server_user(&directory).unwrap();
        }
        Self { ground, server: None }
    }

    /// Runs the container's command until the server takes connections.
    fn start(&mut self, databases: &str, repository_id: &str) {
        self.spawn(databases, repository_id);
        wait::until("the throw-away server to take connections", || {
            let ended = self.server.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "{}", self.log());
            self.try_sql("postgres", "postgres", "SELECT").is_ok()
        });
    }

    fn spawn(&mut self, databases: &str, repository_id: &str) {
        let log = fs::File::create(self.log_file()).unwrap();
        let mut command = self.command(databases, repository_id);
        self.server = Some(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
    }

    fn command(&self, databases: &str, repository_id: &str) -> Command {
        let bin = find_bin_directory().unwrap();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let mut command = unprivileged(Path::new("/bin/sh"));
        command
            .arg(throw_away("start.sh"))
            .env_clear()
            .env("PATH", path)
            .env("SCRATCH", self.ground.path().join("scratch"))
            .env("SOCKET_DIRECTORY", self.socket())
            .env("HBA_FILE", throw_away("pg_hba.conf"))
            .env("DATABASES", databases)
            .env("REPOSITORY_ID", repository_id)
            .current_dir("/")
            .stdin(Stdio::null());
        command
    }

    /// As when the node loses power.
    fn crash(&mut self) {
        let mut server = self.server.take().unwrap();
        kill(Pid::from_raw(server.id().cast_signed()), Signal::SIGKILL).unwrap();
        server.wait().unwrap();
        // Its children leave when they notice; in a container they end together with it.
        let data = self.ground.path().join("scratch/throw-away");
        wait::until("the server's processes to end", || !is_somebodys_directory(&data));
    }

    fn socket(&self) -> PathBuf {
        self.ground.path().join("socket")
    }

    fn log_file(&self) -> PathBuf {
        self.ground.path().join("log")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap()
    }

    fn sql(&self, query: &str) -> String {
        self.try_sql("postgres", "postgres", query).unwrap()
    }

    fn try_sql(&self, user: &str, database: &str, query: &str) -> Result<String, String> {
        let output = Command::new(find_bin_directory().unwrap().join("psql"))
            .args(["-X", "-A", "-t", "-w", "-U", user, "-d", database, "-c", query, "-h"])
            .arg(self.socket())
            .output()
            .unwrap();
        if output.status.success() {
            Ok(String::from_utf8(output.stdout).unwrap().trim().to_owned())
        } else {
            Err(String::from_utf8(output.stderr).unwrap())
        }
    }

    fn marker(&self, database: &str) -> String {
        self.sql(&format!(
            "SELECT setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = setdatabase
             WHERE datname = '{database}'"
        ))
    }

    /// Drills what is in the bucket on this server, by the target's settings of the overlays.
    fn drill(&self, world: &World) -> Ended {
        let dsn = format!("host={} user=postgres dbname=postgres", self.socket().display());
        world
            .program(&["drill"])
            .env("KUBEBACKUP_TARGET_DSN", &dsn)
            .env("KUBEBACKUP_TARGET_DATABASES", "shop=shop")
            .run()
    }
}

impl Drop for ThrowAway {
    fn drop(&mut self) {
        if self.server.is_some() {
            self.crash();
        }
    }
}

/// Whether a process works in `directory`.
fn is_somebodys_directory(directory: &Path) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut directories = processes.filter_map(|process| fs::read_link(process.path().join("cwd")).ok());
    directories.any(|theirs| theirs == directory)
}

fn throw_away(file: &str) -> PathBuf {
    root().join("manifests/base/throw-away").join(file)
}

fn backed_up() -> World {
    let world = World::start();
    world.source_sql("CREATE TABLE orders AS SELECT g AS id, 'order ' || g AS name FROM generate_series(1, 500) g");
    world.program(&["backup"]).run().ok();
    world
}

#[test]
fn a_drill_certifies_on_the_throw_away_server_and_again_after_a_crash() {
    let world = backed_up();
    let mut server = ThrowAway::new();
    server.start("shop other", &world.repository_id());
    assert_eq!(
        server.marker("shop"),
        format!("{{kubebackup.disposable={}}}", world.repository_id())
    );
    assert_eq!(server.marker("other"), server.marker("shop"));
    let first = server.sql("SELECT system_identifier FROM pg_control_system()");
    server.drill(&world).ok();

    server.crash();
    server.start("shop", &world.repository_id());
    assert_ne!(server.sql("SELECT system_identifier FROM pg_control_system()"), first);
    server.drill(&world).ok();
}

/// The marker is a person's decision: without the repository's id there is none, and what to do is said.
#[test]
fn without_the_repository_s_id_nothing_is_marked_and_the_drill_names_it() {
    let world = backed_up();
    let mut server = ThrowAway::new();
    server.start("shop", "");
    assert_eq!(server.marker("shop"), "");
    assert!(server.log().contains("REPOSITORY_ID is empty"), "{}", server.log());
    let refused = server.drill(&world);
    assert_ne!(refused.code(), Some(0));
    assert!(
        refused.printed().contains(&world.repository_id()),
        "{}",
        refused.printed()
    );
}

#[test]
fn the_server_opens_no_port_and_lets_only_its_superuser_in_without_a_password() {
    let mut server = ThrowAway::new();
    server.start("shop", "an-id");
    assert_eq!(server.sql("SHOW listen_addresses"), "");
    assert_eq!(server.sql("SHOW fsync"), "off");
    server.sql("CREATE ROLE app LOGIN PASSWORD 'of the app'");
    let refused = server.try_sql("app", "shop", "SELECT").unwrap_err();
    assert!(refused.contains("no password supplied"), "{refused}");
    // The agent is another user in another container.
    let mode = fs::metadata(server.socket().join(".s.PGSQL.5432"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o777);
}

/// A misspelled name must not end in a server that lacks a database.
#[test]
fn a_database_that_cannot_be_made_ends_the_start() {
    let mut server = ThrowAway::new();
    server.spawn("shop shop", "an-id");
    let status = wait::for_some("the start to end", || {
        server.server.as_mut().unwrap().try_wait().unwrap()
    });
    server.server = None;
    assert!(!status.success());
    assert!(server.log().contains("already exists"), "{}", server.log());
    assert!(server.try_sql("postgres", "postgres", "SELECT").is_err());
}
