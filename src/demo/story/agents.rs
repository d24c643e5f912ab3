//! The two agents as processes of their own, with settings like the shipped `ConfigMaps`.
//!
//! They die with the thread that starts them, as the servers do. What they do is read where anybody reads it: at their port.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::stage::Stage;
use crate::demo::cluster::free_port;

/// Longer than any machine that can tell the story needs for one backup and its drill.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long an agent may take to leave.
const LEAVES_WITHIN: Duration = Duration::from_secs(5);

/// Both, at work.
pub(super) struct Agents {
    pub(super) backup: Agent,
    pub(super) restore: Agent,
}

/// One process; dropped, it is killed.
pub(super) struct Agent {
    verb: &'static str,
    process: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Agents {
    /// Starts both and waits until they answer.
    pub(super) async fn start(stage: &Stage) -> Result<Self> {
        Ok(Self {
            backup: Agent::start(stage, "backup-agent", &stage.backup_agent_settings()?).await?,
            restore: Agent::start(stage, "restore-agent", &stage.restore_agent_settings()?).await?,
        })
    }

    /// Waits until the newest backup is another one than `before` and certified; its id.
    pub(super) async fn next_certified(&mut self, before: &str) -> Result<String> {
        self.restore
            .wait_for("a certificate of the next backup", |status| {
                let newest = status["repository"]["backups"].as_array()?.last()?;
                let id = newest["backup_id"].as_str().filter(|id| *id != before)?;
                let mut drills = newest["drills"].as_array()?.iter();
                drills.any(|drill| drill["state"] == "certified").then(|| id.to_owned())
            })
            .await
    }

    /// Tells both to leave, as Kubernetes does, and waits until they have.
    pub(super) async fn stop(self) -> Result<()> {
        for mut agent in [self.backup, self.restore] {
            agent.signal(Signal::SIGTERM)?;
            let ended = tokio::time::timeout(LEAVES_WITHIN, agent.process.wait()).await;
            let status = ended.with_context(|| format!("the {} did not leave", agent.verb))??;
            ensure!(
                status.success(),
                "the {} ended with {status}:\n{}",
                agent.verb,
                agent.log()
            );
        }
        Ok(())
    }
}

impl Agent {
    async fn start(stage: &Stage, verb: &'static str, settings: &str) -> Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let (settings, log) = (stage.write(verb, "yaml", settings)?, stage.write(verb, "log", "")?);
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(stage.program())
            .arg("--config")
            .arg(&settings)
            .arg(verb)
            .envs(Stage::credentials())
            .env("KUBEBACKUP_AGENT_LISTEN", address.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log)?)
            .kill_on_drop(true);
        let process = command.spawn().with_context(|| format!("start the {verb}"))?;
        let mut agent = Self {
            verb,
            process,
            address,
            log,
        };
        agent
            .wait_for("its status", |status| status["agent"].as_str().map(drop))
            .await?;
        Ok(agent)
    }

    /// The process id.
    pub(super) fn id(&self) -> Result<u32> {
        self.process.id().with_context(|| format!("the {} is gone", self.verb))
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(self.id()?.cast_signed()), signal)?)
    }

    /// Where the port shows `path`.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What the port shows at `path`.
    pub(super) async fn get(&self, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect(self.address).await?;
        stream
            .write_all(format!("GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.address).as_bytes())
            .await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no answer in HTTP")?;
        ensure!(head.contains(" 200 "), "{path} was answered with {head}");
        Ok(body.to_owned())
    }

    /// Asks for the status until `fact` finds in it what is waited for.
    async fn wait_for<T>(&mut self, what: &str, fact: impl Fn(&Value) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        let mut ticks = interval(Duration::from_millis(50));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while Instant::now() < deadline {
            ticks.tick().await;
            if let Some(status) = self.process.try_wait()? {
                bail!("the {} ended with {status}:\n{}", self.verb, self.log());
            }
            let Ok(status) = self.get("/status").await else {
                continue;
            };
            if let Some(found) = fact(&serde_json::from_str(&status)?) {
                return Ok(found);
            }
        }
        bail!("waited in vain for {what} of the {}:\n{}", self.verb, self.log())
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}
