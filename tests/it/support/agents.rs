//! Both agents as processes in one world, and what their ports show.

use std::net::{SocketAddr, TcpListener};

use nix::sys::signal::Signal;

use crate::facts_memory::peak_so_far;

use super::{Running, World, http, wait};

/// An agent's process.
pub(crate) struct AgentProcess {
    pub(crate) address: SocketAddr,
    running: Running,
}

impl AgentProcess {
    /// `backup-agent` or `restore-agent`, quick enough for a test; nothing begins by itself unless it is overdue.
    pub(crate) fn start(world: &World, verb: &str, variables: &[(&str, &str)]) -> Self {
        Self::started_by(&[], world, verb, variables)
    }

    /// Started by another program, whose arguments come first; by none, directly.
    pub(crate) fn started_by(starter: &[&str], world: &World, verb: &str, variables: &[(&str, &str)]) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let program = world
            .program(&[verb])
            .env("KUBEBACKUP_AGENT_LISTEN", &address.to_string())
            .env("KUBEBACKUP_AGENT_POLL_INTERVAL", "200ms")
            .env("KUBEBACKUP_BACKUP_AGENT_SCHEDULE", "every 24h")
            .envs(variables.iter().copied());
        let program = if starter.is_empty() {
            program
        } else {
            program.within(starter)
        };
        Self {
            address,
            running: program.spawn(),
        }
    }

    /// What `/metrics` says once it says `wanted`.
    #[track_caller]
    pub(crate) fn scrape_until(&mut self, wanted: &str) -> String {
        let mut ended = false;
        wait::for_some(&format!("'{wanted}' in the metrics"), || {
            let scrape = http::get(self.address, "/metrics").map(|answer| answer.body);
            let scrape = scrape.filter(|body| body.contains(wanted));
            assert!(!ended || scrape.is_some(), "{}", self.running.printed());
            ended = self.running.has_ended();
            scrape
        })
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.running.signal(signal);
    }

    /// Waits until it has printed `text`.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) {
        self.running.wait_for(text);
    }

    /// The most memory that it has held so far.
    #[track_caller]
    pub(crate) fn peak(&self) -> u64 {
        peak_so_far(&self.running).unwrap()
    }

    /// kill -9.
    pub(crate) fn kill(self) {
        self.running.kill();
    }

    /// SIGTERM, and its end.
    #[track_caller]
    pub(crate) fn stop(self) {
        self.running.signal(Signal::SIGTERM);
        self.running.wait().ok();
    }
}

/// A world with one backup that the backup agent made and the restore agent certified; both know it.
pub(crate) struct Agents {
    pub(crate) backup: AgentProcess,
    pub(crate) restore: AgentProcess,
    pub(crate) world: World,
}

impl Agents {
    #[track_caller]
    pub(crate) fn certified() -> Self {
        let world = World::start();
        world.source_sql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS n; ALTER TABLE t ADD PRIMARY KEY (n)");
        let objectives = [
            ("KUBEBACKUP_OBJECTIVES_RTO", "15m"),
            ("KUBEBACKUP_OBJECTIVES_RPO", "8h"),
        ];
        let mut backup = AgentProcess::start(&world, "backup-agent", &objectives);
        backup.scrape_until("kubebackup_last_success_timestamp_seconds");
        world.mark_targets();
        let mut restore = AgentProcess::start(&world, "restore-agent", &objectives);
        for agent in [&mut restore, &mut backup] {
            agent.scrape_until("kubebackup_certified_backups 1\n");
        }
        Self { backup, restore, world }
    }
}
