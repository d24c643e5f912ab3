//! A PostgreSQL server that lives as long as a value.
//!
//! It listens on a free loopback port, asks for a scram password, and is killed when the thread that started it dies,
//! so that no server outlives its test. PostgreSQL refuses to run as root: then it runs as `postgres` or `nobody`.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, chown, geteuid};

use super::place::Ground;

/// How to make a cluster.
#[derive(Clone, Debug, Default)]
pub struct ClusterOptions {
    /// `postgresql.conf` lines beyond the defaults for a throw-away server.
    pub settings: Vec<(String, String)>,
    /// A stopped cluster's data directory to copy instead of running `initdb` (saves a second; same system identifier).
    pub template: Option<PathBuf>,
    /// Directory of `initdb` and `postgres`; found by itself when none.
    pub bin_directory: Option<PathBuf>,
}

/// A running throw-away server; dropped, it is gone.
#[derive(Debug)]
pub struct Cluster {
    directory: Ground,
    bin_directory: PathBuf,
    port: u16,
    server: Option<Child>,
}

/// The superuser of every throw-away cluster.
const SUPERUSER: &str = "postgres";

/// Its password: no secret, the server listens on loopback for the length of a demo or a test.
const PASSWORD: &str = "throw-away";

const READY_WITHIN: Duration = Duration::from_mins(1);

impl Cluster {
    /// Makes and starts a cluster, and waits until it takes connections.
    ///
    /// # Errors
    /// When no PostgreSQL is installed or the server does not come up; its log is part of the message.
    pub fn start(options: &ClusterOptions) -> Result<Self> {
        let bin_directory = match &options.bin_directory {
            Some(directory) => directory.clone(),
            None => find_bin_directory()?,
        };
        let mut cluster = Self {
            directory: Ground::new()?,
            bin_directory,
            port: free_port()?,
            server: None,
        };
        match &options.template {
            Some(template) => run(Command::new("cp")
                .args(["-a", "--reflink=auto"])
                .arg(template)
                .arg(cluster.data()))?,
            None => initialize(&cluster.bin_directory, &cluster.data())?,
        }
        cluster.configure(&options.settings)?;
        cluster.start_on_a_free_port()?;
        Ok(cluster)
    }

    /// A standby that streams from this server, made by `pg_basebackup`; it takes read-only connections.
    ///
    /// # Errors
    /// When the copy cannot be made or the server does not come up.
    pub fn start_standby(&self) -> Result<Self> {
        let mut standby = Self {
            directory: Ground::new()?,
            bin_directory: self.bin_directory.clone(),
            port: free_port()?,
            server: None,
        };
        fs::DirBuilder::new().mode(0o700).create(standby.data())?;
        give_to_server_user(&standby.data())?;
        run(unprivileged(&self.bin_directory.join("pg_basebackup"))
            .args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "--dbname"])
            .arg(self.dsn(SUPERUSER, "postgres"))
            .arg("--pgdata")
            .arg(standby.data())
            .env("PGPASSWORD", PASSWORD))?;
        standby.configure(&[])?;
        standby.start_on_a_free_port()?;
        Ok(standby)
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    #[must_use]
    pub fn superuser(&self) -> &'static str {
        SUPERUSER
    }

    #[must_use]
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// A DSN without password, for settings and arguments.
    #[must_use]
    pub fn dsn(&self, user: &str, database: &str) -> String {
        format!("host=127.0.0.1 port={} user={user} dbname='{database}'", self.port)
    }

    #[must_use]
    pub fn bin_directory(&self) -> &Path {
        &self.bin_directory
    }

    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The server's log so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("server.log")).unwrap_or_default()
    }

    /// The postmaster's process id while it runs.
    #[must_use]
    pub fn postmaster(&self) -> Option<u32> {
        self.server.as_ref().map(Child::id)
    }

    /// Stops the server: `SIGTERM` smart, `SIGINT` fast, `SIGQUIT` immediate. Waits until it is gone unless smart.
    ///
    /// # Errors
    /// When the server cannot be signalled.
    pub fn stop(&mut self, signal: Signal) -> Result<()> {
        let Some(server) = &mut self.server else { return Ok(()) };
        kill(Pid::from_raw(server.id().cast_signed()), signal).context("signal the postmaster")?;
        if signal != Signal::SIGTERM {
            server.wait()?;
            self.server = None;
        }
        Ok(())
    }

    /// Starts the server again on the same port and data.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start_server(&mut self) -> Result<()> {
        let log = fs::File::create(self.directory.path().join("server.log"))?;
        let _ = fs::remove_file(self.data().join("postmaster.pid"));
        let child = unprivileged(&self.bin_directory.join("postgres"))
            .arg("-D")
            .arg(self.data())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start postgres")?;
        self.server = Some(child);
        self.wait_until_ready()
    }

    /// Runs SQL as superuser through `psql`, stopping at the first error; returns unaligned, tuples-only output.
    ///
    /// # Errors
    /// `psql`'s own message.
    pub fn sql(&self, database: &str, statements: &str) -> Result<String> {
        self.sql_as(SUPERUSER, PASSWORD, database, statements)
    }

    /// The same as another role, which has to log in with its password like anybody.
    ///
    /// # Errors
    /// `psql`'s own message.
    pub fn sql_as(&self, user: &str, password: &str, database: &str, statements: &str) -> Result<String> {
        use std::io::Write as _;
        let mut psql = Command::new(self.bin_directory.join("psql"))
            .args([
                "-X",
                "-q",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-d",
                &self.dsn(user, database),
            ])
            .env("PGPASSWORD", password)
            .env("PGCLIENTENCODING", "UTF8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut input = psql.stdin.take().context("psql has no stdin")?;
        let statements = statements.to_owned();
        let writer = std::thread::spawn(move || input.write_all(statements.as_bytes()));
        let output = psql.wait_with_output()?;
        let _ = writer.join();
        if !output.status.success() {
            bail!("psql: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    /// Between finding a free port and listening on it another process can take it: then another one is found.
    fn start_on_a_free_port(&mut self) -> Result<()> {
        for _ in 0..5 {
            match self.start_server() {
                Err(error) if self.log().contains("could not bind") => {
                    tracing::debug!(%error, port = self.port, "the port was taken meanwhile");
                    self.port = free_port()?;
                    self.configure(&[("port".to_owned(), self.port.to_string())])?;
                }
                outcome => return outcome,
            }
        }
        self.start_server()
    }

    fn configure(&self, settings: &[(String, String)]) -> Result<()> {
        use std::fmt::Write as _;
        let mut text = format!(
            "\nlisten_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = ''\nfsync = off\n\
             synchronous_commit = off\nfull_page_writes = off\nshared_buffers = 32MB\nmax_wal_size = 4GB\n\
             autovacuum_naptime = 1h\nlog_min_messages = warning\ndynamic_shared_memory_type = mmap\n",
            self.port
        );
        for (name, value) in settings {
            writeln!(text, "{name} = '{value}'")?;
        }
        let path = self.data().join("postgresql.conf");
        let mut existing = fs::read_to_string(&path)?;
        existing.push_str(&text);
        fs::write(path, existing)?;
        Ok(())
    }

    /// `postmaster.pid` says `ready` in its last line once connections are taken; `pg_ctl` waits for the same.
    #[allow(
        clippy::disallowed_methods,
        reason = "started before any runtime depends on it; the server offers no other sign"
    )]
    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        let pid_file = self.data().join("postmaster.pid");
        while Instant::now() < deadline {
            if fs::read_to_string(&pid_file)
                .is_ok_and(|text| text.lines().last().is_some_and(|line| line.trim() == "ready"))
            {
                return Ok(());
            }
            let server = self.server.as_mut().context("no server")?;
            if let Some(status) = server.try_wait()? {
                self.server = None;
                bail!("postgres ended with {status}: {}", self.log());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!(
            "postgres did not become ready within {} seconds: {}",
            READY_WITHIN.as_secs(),
            self.log()
        )
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.stop(Signal::SIGQUIT);
    }
}

/// Runs `initdb` into `data`, with C.UTF-8 and scram everywhere.
///
/// # Errors
/// `initdb`'s own message.
pub fn initialize(bin_directory: &Path, data: &Path) -> Result<()> {
    fs::create_dir(data)?;
    give_to_server_user(data)?;
    let password_file = tempfile::NamedTempFile::new()?;
    fs::write(password_file.path(), PASSWORD)?;
    give_to_server_user(password_file.path())?;
    run(unprivileged(&bin_directory.join("initdb"))
        .args([
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--auth=scram-sha-256",
            "--username",
            SUPERUSER,
        ])
        .arg("--pwfile")
        .arg(password_file.path())
        .arg(data))
}

/// The newest-but-preferably-15 directory of PostgreSQL server programs.
///
/// # Errors
/// When none is installed.
pub fn find_bin_directory() -> Result<PathBuf> {
    if let Some(directory) = std::env::var_os("KUBEBACKUP_PG_BINDIR") {
        return Ok(directory.into());
    }
    let has_server = |directory: &Path| directory.join("initdb").exists() && directory.join("postgres").exists();
    let debian = ["15", "16", "17", "18", "14"].map(|major| PathBuf::from(format!("/usr/lib/postgresql/{major}/bin")));
    let on_path = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect::<Vec<_>>();
    debian
        .into_iter()
        .chain(on_path)
        .find(|directory| has_server(directory))
        .context(
            "no PostgreSQL server programs found (initdb, postgres); install postgresql-15 or set KUBEBACKUP_PG_BINDIR",
        )
}

fn server_user() -> Option<User> {
    geteuid().is_root().then(|| {
        ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| User::from_name(name).ok().flatten())
    })?
}

/// Lets the user that servers run as write there; nothing where that is this process's own.
///
/// # Errors
/// When the owner cannot be changed.
pub fn give_to_server_user(path: &Path) -> Result<()> {
    if let Some(user) = server_user() {
        chown(path, Some(user.uid), Some(user.gid))?;
    }
    Ok(())
}

/// A command that is killed with the thread that starts it, and that does not run as root.
#[must_use]
pub fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if let Some(user) = server_user() {
        command.args([
            format!("--reuid={}", user.uid),
            format!("--regid={}", user.gid),
            "--clear-groups".to_owned(),
        ]);
    }
    command.arg("--").arg(program).env_remove("PGDATA");
    command
}

fn run(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("start {}", command.get_program().display()))?;
    if !output.status.success() {
        bail!(
            "{} failed: {}",
            command.get_program().display(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// A port that nobody listens on now.
pub(super) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
