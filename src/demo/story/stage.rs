//! Where the story plays: production, a throw-away server, a bucket, and the settings file a user would write.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use tokio::process::Command;

use super::teller::Teller;
use crate::demo::{Cluster, ClusterOptions, Ground, S3Server, S3ServerOptions, shop};
use crate::repository::Repository;
use crate::repository::manifest::Backup;
use crate::storage::{S3Credentials, S3Options, S3Store};

const SETTINGS: &str = "kubebackup";
const CLUSTER: &str = "production";
const BUCKET: &str = "backups";
const PREFIX: &str = "demo";
const ACCESS_KEY: &str = "kubebackup-demo";
const SECRET_KEY: &str = "secret-of-the-demo";

pub(super) const DATABASE: &str = "shop";
pub(super) const RESTORED: &str = "shop_restored";

/// What users are told to run: it makes the role that takes backups.
const BACKUP_ROLE: &str = include_str!("../../../manifests/backup-role.sql");
const BACKUP_PASSWORD: &str = "of the backup role";

/// Everything that is thrown away afterwards.
pub(super) struct Stage {
    pub(super) production: Cluster,
    pub(super) target: Cluster,
    s3: S3Server,
    ground: Ground,
    program: PathBuf,
}

/// A call of the program, how it has to end, and how much of its answer is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a> {
    arguments: &'a [&'a str],
    ending: Ending,
    shown_lines: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Success,
    /// With this exit code.
    Code(i32),
    /// With any exit code but success.
    Refusal,
}

impl<'a> Call<'a> {
    /// One that has to succeed.
    pub(super) fn of(arguments: &'a [&'a str]) -> Self {
        Self {
            arguments,
            ending: Ending::Success,
            shown_lines: usize::MAX,
        }
    }

    pub(super) fn ending(self, ending: Ending) -> Self {
        Self { ending, ..self }
    }

    /// For an answer whose rest the reader has seen before.
    pub(super) fn shown_lines(self, shown_lines: usize) -> Self {
        Self { shown_lines, ..self }
    }
}

impl Stage {
    /// Starts both servers and the bucket, and fills the shop.
    ///
    /// Servers die with the thread that starts them, so this must run on the thread that lives longest.
    pub(super) async fn set(program: PathBuf) -> Result<Self> {
        let ground = Ground::new()?;
        let s3 = S3Server::start(&S3ServerOptions {
            root: ground.path().join("s3"),
            bucket: BUCKET.to_owned(),
            access_key: ACCESS_KEY.to_owned(),
            secret_key: SECRET_KEY.to_owned(),
        })
        .await?;
        let stage = Self {
            production: Cluster::start(&ClusterOptions::default()).context("start production")?,
            target: Cluster::start(&ClusterOptions::default()).context("start the throw-away server")?,
            s3,
            ground,
            program,
        };
        shop::create(&stage.production, DATABASE).context("fill the shop")?;
        stage.production.sql("postgres", BACKUP_ROLE)?;
        let password = format!("ALTER ROLE kubebackup PASSWORD '{BACKUP_PASSWORD}'");
        stage.production.sql("postgres", &password)?;
        stage.target.sql("postgres", &format!("CREATE DATABASE {RESTORED}"))?;
        stage.write_settings()?;
        Ok(stage)
    }

    pub(super) fn settings_file(&self) -> PathBuf {
        self.ground.path().join(SETTINGS).with_extension("yaml")
    }

    /// This very program.
    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// The bucket's, for the environment of whoever asks it.
    pub(super) fn credentials() -> [(&'static str, &'static str); 2] {
        [("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)]
    }

    pub(super) fn settings(&self) -> Result<String> {
        Ok(fs::read_to_string(self.settings_file())?)
    }

    /// Object `key` of the repository, as the file in which the S3 server keeps it.
    pub(super) fn object(&self, key: &str) -> PathBuf {
        self.s3.root().join(BUCKET).join(PREFIX).join(key)
    }

    /// What a shell needs before the commands of the story work in it.
    pub(super) fn exports(&self) -> String {
        format!(
            "export AWS_ACCESS_KEY_ID={ACCESS_KEY} AWS_SECRET_ACCESS_KEY={SECRET_KEY}\n\
             export KUBEBACKUP_CONFIG={}\n\
             export PGPASSWORD={}   # of both servers' superuser\n\
             alias kubebackup={}",
            self.settings_file().display(),
            self.production.password(),
            self.program.display()
        )
    }

    /// Runs `kubebackup <arguments>` as a user would, tells what it answered, and checks how it ended.
    pub(super) async fn kubebackup(&self, teller: &mut Teller<'_>, call: Call<'_>) -> Result<String> {
        let typed = format!("kubebackup {}", shown(call.arguments));
        teller.typed(&typed)?;
        let on_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        let child = Command::new(&self.program)
            .arg("--config")
            .arg(self.settings_file())
            .args(call.arguments)
            .envs(Self::credentials())
            .env("PGPASSWORD", self.production.password())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // On a terminal the reader sees the bars; elsewhere log lines would only interrupt the story.
            .stderr(if on_terminal { Stdio::inherit() } else { Stdio::piped() })
            .kill_on_drop(true)
            .spawn()
            .context("run this program again")?;
        let output = child.wait_with_output().await?;
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        teller.answered(&beginning(&answer, call.shown_lines))?;
        let is_as_told = match call.ending {
            Ending::Success => output.status.success(),
            Ending::Code(code) => output.status.code() == Some(code),
            Ending::Refusal => output.status.code().is_some_and(|code| code != 0),
        };
        if !is_as_told {
            teller.answered(&String::from_utf8_lossy(&output.stderr))?;
            bail!("'{typed}' ended with {}, not with {:?}", output.status, call.ending);
        }
        Ok(answer)
    }

    /// The repository, seen by the story itself.
    pub(super) async fn repository(&self) -> Result<Repository> {
        let store = S3Store::open(S3Options {
            prefix: PREFIX.to_owned(),
            endpoint: Some(self.s3.endpoint()),
            path_style: true,
            credentials: Some(S3Credentials {
                access_key_id: ACCESS_KEY.to_owned(),
                secret_access_key: SECRET_KEY.to_owned(),
                session_token: None,
            }),
            ..S3Options::new(BUCKET)
        })
        .await?;
        Ok(Repository::open(Arc::new(store)).await?)
    }

    pub(super) async fn newest_backup(&self) -> Result<Backup> {
        let repository = self.repository().await?;
        let ids = repository.backup_ids().await?;
        let newest = ids.last().context("there is no backup")?;
        Ok(repository.read_backup(newest).await?)
    }

    /// One file for every verb that is typed in the story.
    fn write_settings(&self) -> Result<()> {
        let settings = format!(
            "cluster: {CLUSTER}\n{}{}{}",
            self.repository_settings(),
            self.source_settings()?,
            self.target_settings()?
        );
        self.write(SETTINGS, "yaml", &settings)?;
        Ok(())
    }

    /// What the `ConfigMap` beside production holds.
    pub(super) fn backup_agent_settings(&self) -> Result<String> {
        Ok(format!(
            "cluster: {CLUSTER}\n{}{}backup_agent:\n  schedule: every 6h\n",
            self.repository_settings(),
            self.source_settings()?
        ))
    }

    /// What the `ConfigMap` of the restore agent holds; it looks more often, so that the story need not wait.
    pub(super) fn restore_agent_settings(&self) -> Result<String> {
        Ok(format!(
            "{}{}agent:\n  poll_interval: 1s\n",
            self.repository_settings(),
            self.target_settings()?
        ))
    }

    fn repository_settings(&self) -> String {
        format!(
            "repository:
  bucket: {BUCKET}
  prefix: {PREFIX}
  endpoint: {endpoint}
  region: us-east-1
  path_style: true
",
            endpoint = self.s3.endpoint()
        )
    }

    fn source_settings(&self) -> Result<String> {
        let password = self.write_secret("production-password", BACKUP_PASSWORD)?;
        Ok(format!(
            "source:
  dsn: \"{source}\"
  password_file: {password}
  databases: [{DATABASE}]
",
            source = self.production.dsn("kubebackup", DATABASE),
            password = password.display(),
        ))
    }

    fn target_settings(&self) -> Result<String> {
        let password = self.write_secret("target-password", self.target.password())?;
        Ok(format!(
            "target:
  dsn: \"{target}\"
  password_file: {password}
  databases:
    {DATABASE}: {RESTORED}
",
            target = self.target.dsn(self.target.superuser(), RESTORED),
            password = password.display(),
        ))
    }

    /// A file of the stage.
    pub(super) fn write(&self, name: &str, extension: &str, contents: &str) -> Result<PathBuf> {
        let path = self.ground.path().join(name).with_extension(extension);
        fs::write(&path, contents)?;
        Ok(path)
    }

    fn write_secret(&self, name: &str, secret: &str) -> Result<PathBuf> {
        let path = self.ground.path().join(name);
        fs::write(&path, secret)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(path)
    }
}

/// Flips one bit of the file at `offset`.
pub(super) fn flip_a_bit(path: &Path, offset: usize) -> Result<()> {
    let mut contents = fs::read(path)?;
    let byte = contents
        .get_mut(offset)
        .context("the object is shorter than its entry says")?;
    *byte ^= 1;
    Ok(fs::write(path, contents)?)
}

fn beginning(answer: &str, lines: usize) -> String {
    let mut told: Vec<&str> = answer.lines().take(lines).collect();
    if answer.lines().count() > lines {
        told.push("...");
    }
    told.join("\n")
}

fn shown(arguments: &[&str]) -> String {
    arguments
        .iter()
        .map(|argument| {
            if argument.contains([' ', '\'']) {
                format!("\"{argument}\"")
            } else {
                (*argument).to_owned()
            }
        })
        .collect::<Vec<_>>()
        .join(" ")
}
