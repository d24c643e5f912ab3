//! Where the storm blows: the world, both agents, the load, and what has been seen of it all.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::bank::{self, Clerks};
use super::storm::Mishap;
use crate::backup_agent::Agent;
use crate::model::bucket::{Written, backups, first, pass_hours, references};
use crate::model::servers::{cut_sessions, kill_and_restart, sessions};
use crate::model::step::{Kind, Side};
use crate::support::s3_proxy::S3Proxy;
use crate::support::{Ended, World, WorldOptions, wait};

const ASIDE: &str = "aside";

/// Twice what a debug build of either agent takes with chunks of at most 1 MiB (some 60 MiB): a leak shows.
const MOST_MEMORY_KIB: u64 = 128 * 1024;

/// What must have happened in the shortest storm, by what is counted: its opening strikes whatever the seed.
const MINIMA: &[(&str, u64)] = &[
    ("agents killed", 2),
    ("servers killed", 2),
    ("sessions cut", 1),
    ("outages of the store", 1),
    ("backups", 2),
    ("certified", 1),
    ("restores whose sums are right", 1),
];

/// So many faults of the store at least, and so many transactions of the load.
const LEAST_FAULTS: usize = 3;
const LEAST_TRANSACTIONS: u64 = 1000;

const SETTINGS: &str = "
backup: {chunk_min_bytes: 128KiB, chunk_mean_bytes: 512KiB, chunk_max_bytes: 1MiB, max_duration: 2m}
retention: {keep_last: 4, keep_certified: 1, after_backup: true}
backup_agent: {schedule: every 2s, lease_duration: 2s, retry_first: 1s, retry_max: 3s}
restore_agent: {retry_first: 1s, retry_max: 2s}
agent: {poll_interval: 1s}
";

pub(super) struct Field {
    world: World,
    /// Between the program and the store.
    proxy: S3Proxy,
    agents: BTreeMap<Kind, Agent>,
    clerks: Option<Clerks>,
    clock: PathBuf,
    /// What every backup that was ever seen refers to.
    references: BTreeMap<String, BTreeSet<String>>,
    written: Written,
    flipped: BTreeSet<String>,
    /// Certificates that were judged, each when it was first seen.
    judged: BTreeSet<String>,
    counts: BTreeMap<&'static str, u64>,
    peak_kib: BTreeMap<Kind, u64>,
    asked: u64,
}

impl Field {
    pub(super) fn open() -> Self {
        let mut world = World::with(WorldOptions {
            source_settings: &[("synchronous_commit", "on")],
            ..WorldOptions::default()
        });
        world.settings_file = world.write_settings("soak.yaml", SETTINGS);
        bank::open(&world.source, world.database());
        let clock = world.directory().join("clock");
        fs::write(&clock, "0").unwrap();
        let mut field = Self {
            agents: BTreeMap::new(),
            clerks: None,
            clock,
            references: BTreeMap::new(),
            written: Written::default(),
            flipped: BTreeSet::new(),
            judged: BTreeSet::new(),
            counts: BTreeMap::new(),
            peak_kib: BTreeMap::new(),
            asked: 0,
            proxy: S3Proxy::before(&world.s3),
            world,
        };
        field.verb(&["backup"]).ok();
        field.world.mark_targets();
        field.clerks = Some(Clerks::start(&field.world.source, field.world.database()));
        field.launch(Kind::Backup);
        field.launch(Kind::Restore);
        field
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn variables(&self) -> [(&str, &str); 4] {
        let [endpoint] = self.proxy.variables();
        [
            endpoint,
            ("KUBEBACKUP_CLOCK_FILE", self.clock.to_str().unwrap()),
            ("KUBEBACKUP_REPOSITORY_READ_TIMEOUT", "3s"),
            ("KUBEBACKUP_REPOSITORY_ATTEMPT_TIMEOUT", "5s"),
        ]
    }

    fn launch(&mut self, kind: Kind) {
        let verb = match kind {
            Kind::Backup => "backup-agent",
            Kind::Restore => "restore-agent",
        };
        let agent = Agent::of_program(self.world.program(&[verb]), &self.variables());
        self.agents.insert(kind, agent);
    }

    fn verb(&self, arguments: &[&str]) -> Ended {
        let arguments = [&["--output", "json"], arguments].concat();
        let program = self.world.program(&arguments).envs(self.variables());
        program.env("PGPASSWORD", self.world.target.password()).run()
    }

    fn end(&mut self, kind: Kind, is_killed: bool) {
        let Some(agent) = self.agents.remove(&kind) else { return };
        self.measure_one(kind, &agent);
        self.add_up(&agent);
        let ended = if is_killed { agent.running.kill() } else { agent.stop() };
        assert!(!ended.printed().contains("panicked at"), "{}", ended.printed());
    }

    /// What its process has counted.
    fn add_up(&mut self, agent: &Agent) {
        let Some(status) = agent.status() else { return };
        let runs: u64 = status.counts.runs.values().sum();
        *self.counts.entry("runs").or_default() += runs;
        *self.counts.entry("retries").or_default() += status.counts.store.retries;
        *self.counts.entry("expired backups").or_default() += status.counts.retention.expired_backups;
        *self.counts.entry("pruned objects").or_default() += status.counts.retention.deleted_objects;
    }

    /// Peaks, as the kernel knows them.
    fn measure(&mut self) {
        let agents = std::mem::take(&mut self.agents);
        for (kind, agent) in &agents {
            self.measure_one(*kind, agent);
        }
        self.agents = agents;
    }

    fn measure_one(&mut self, kind: Kind, agent: &Agent) {
        let status = fs::read_to_string(format!("/proc/{}/status", agent.running.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        let peak = self.peak_kib.entry(kind).or_default();
        *peak = (*peak).max(kib.unwrap_or(0));
    }

    /// Until so many more were made, or it is late.
    pub(super) fn wait_for_requests(&mut self, number: u64, late: Option<Instant>) {
        let wanted = self.asked + number;
        wait::for_some_within(Duration::from_mins(3), "requests to the store", || {
            let is_late = late.is_some_and(|late| Instant::now() >= late);
            (self.world.s3.controls.asked() >= wanted || is_late).then_some(())
        });
        self.asked = self.world.s3.controls.asked();
    }

    pub(super) fn strike(&mut self, mishap: &Mishap) {
        match mishap {
            Mishap::Faults(faults) => {
                for fault in faults {
                    fault.inject(&self.world, &self.proxy);
                }
            }
            Mishap::Calm => self.calm(),
            Mishap::StoreAway => {
                self.world.s3.stop_server();
                self.world.s3.start_server();
                self.count("outages of the store");
            }
            Mishap::KillServer(side) => {
                kill_and_restart(match side {
                    Side::Source => &mut self.world.source,
                    Side::Target => &mut self.world.target,
                });
                self.count("servers killed");
            }
            Mishap::CutSessions(side) => {
                cut_sessions(match side {
                    Side::Source => &self.world.source,
                    Side::Target => &self.world.target,
                });
                self.count("sessions cut");
            }
            Mishap::KillAgent(kind) => {
                self.end(*kind, true);
                self.launch(*kind);
                self.count("agents killed");
            }
            Mishap::Trigger(kind) => self.agents[kind].trigger(),
            Mishap::Flip(number) => self.flip(*number),
            Mishap::DayPasses => self.absent(|field| pass_hours(&first(&field.world), 30)),
            Mishap::Clock(seconds) => fs::write(&self.clock, seconds.to_string()).unwrap(),
            Mishap::Sample(number) => self.sample(*number),
        }
    }

    fn calm(&self) {
        self.world.s3.controls.calm();
        self.proxy.clear();
    }

    /// Something happens while neither agent is there.
    fn absent(&mut self, happens: impl FnOnce(&mut Self)) {
        self.end(Kind::Backup, true);
        self.end(Kind::Restore, true);
        self.look();
        happens(self);
        self.launch(Kind::Backup);
        self.launch(Kind::Restore);
    }

    fn flip(&mut self, number: u64) {
        self.absent(|field| {
            let present = backups(&first(&field.world));
            let sound = present.iter().rev().find(|backup_id| !field.is_damaged(backup_id));
            let Some(keys) = sound.and_then(|backup_id| field.references.get(backup_id)) else {
                return;
            };
            let key = keys
                .iter()
                .nth(usize::try_from(number % keys.len() as u64).unwrap())
                .unwrap()
                .clone();
            field.world.s3.flip_a_bit(&World::object(&key));
            field.flipped.insert(key);
            field.count("objects damaged");
        });
    }

    fn is_damaged(&self, backup_id: &str) -> bool {
        let keys = self.references.get(backup_id);
        keys.is_some_and(|keys| keys.iter().any(|key| self.flipped.contains(key)))
    }

    /// Restores some backup; under faults it may fail, but what it brings is right.
    fn sample(&mut self, number: u64) {
        let present: Vec<String> = backups(&first(&self.world)).into_iter().collect();
        let Some(backup_id) = present.get(usize::try_from(number % present.len().max(1) as u64).unwrap()) else {
            return;
        };
        self.restore_and_check(backup_id, false);
    }

    fn restore_and_check(&mut self, backup_id: &str, must_work: bool) {
        let into = self.world.target.dsn(self.world.target.superuser(), ASIDE);
        let ended = self.verb(&["restore", "--backup", backup_id, "--into", &into, "--create-database"]);
        assert!(!ended.printed().contains("panicked at"), "{}", ended.printed());
        if ended.code() == Some(0) {
            assert_eq!(bank::errors(&self.world.target, ASIDE), "", "{backup_id}");
            self.count("restores whose sums are right");
        } else {
            assert!(!must_work, "{backup_id}: {}", ended.printed());
        }
        if must_work {
            // The fingerprints once more, by a process of their own.
            let compared = self.verb(&["compare", "--backup", backup_id, "--into", &into]);
            assert_eq!(compared.code(), Some(0), "{}", compared.printed());
        }
        let drop = format!("DROP DATABASE IF EXISTS {ASIDE} WITH (FORCE)");
        self.world.target.sql("postgres", &drop).unwrap();
    }

    /// What must hold at any time.
    #[track_caller]
    pub(super) fn look(&mut self) {
        for backup_id in backups(&first(&self.world)) {
            if self.references.contains_key(&backup_id) {
                continue;
            }
            if let Some(keys) = references(&first(&self.world), &backup_id) {
                self.references.insert(backup_id, keys);
                self.count("backups");
            }
        }
        let missing = |field: &Self| -> Vec<String> {
            let present = backups(&first(&field.world));
            let all = present
                .iter()
                .filter_map(|backup_id| field.references.get(backup_id))
                .flatten();
            let bucket = field.world.s3.bucket();
            all.filter(|key| !bucket.join(World::object(key)).exists())
                .cloned()
                .collect()
        };
        assert_eq!(missing(self), Vec::<String>::new(), "referred to and not there");
        let changed = self.written.changed(&self.world);
        assert_eq!(changed, Vec::<String>::new(), "written anew");
        self.judge();
        self.measure();
    }

    #[track_caller]
    fn judge(&mut self) {
        for key in self.world.keys("certificates/") {
            let backup_id = key.split('/').nth(1).unwrap_or_default().to_owned();
            let state = key.rsplit('.').nth(1).unwrap_or_default();
            if !self.judged.insert(key.clone()) {
                continue;
            }
            let is_damaged = self.is_damaged(&backup_id);
            match state {
                "certified" => {
                    assert!(!is_damaged, "{key} stands for a damaged backup");
                    self.count("certified");
                }
                "failed" => {
                    let body = || String::from_utf8_lossy(&self.world.s3.read(&World::object(&key))).into_owned();
                    assert!(is_damaged, "a sound backup is called failed: {}", body());
                    self.count("failed (damaged on purpose)");
                }
                "unverified" => self.count("unverified"),
                _ => self.count("drills begun"),
            }
        }
    }

    /// The storm is over: the newest backup is proven, without anybody doing anything about it.
    pub(super) fn calm_down(&mut self) {
        self.calm();
        fs::write(&self.clock, "0").unwrap();
        self.clerks.as_ref().unwrap().assert_busy();
        let newest = backups(&first(&self.world)).pop_last().unwrap();
        let is_proven = |key: &String| {
            key.split('/')
                .nth(1)
                .is_some_and(|backup_id| backup_id >= newest.as_str())
                && key.ends_with(".certified.json")
        };
        wait::for_some_within(
            Duration::from_mins(3),
            "the newest backup, or one after it, to be proven",
            || self.world.keys("certificates/").iter().any(is_proven).then_some(()),
        );
    }

    /// Ends everything, looks at everything, and tells the figures.
    pub(super) fn close(mut self) -> Value {
        let clerks = self.clerks.take().unwrap();
        let transactions = clerks.transactions();
        drop(clerks);
        self.end(Kind::Backup, false);
        self.end(Kind::Restore, false);
        self.look();
        let sound: Vec<String> = backups(&first(&self.world))
            .into_iter()
            .filter(|id| !self.is_damaged(id))
            .collect();
        for backup_id in sound.iter().rev().take(4) {
            self.restore_and_check(backup_id, true);
        }
        assert_eq!(
            bank::errors(&self.world.source, self.world.database()),
            "",
            "the source"
        );
        let verified = self.verb(&["verify", "--all"]);
        let defects = verified.json()["defects"].clone();
        let found: BTreeSet<&str> = defects
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["key"].as_str().unwrap())
            .collect();
        let present = backups(&first(&self.world));
        let is_needed = |key: &&String| {
            present
                .iter()
                .any(|backup_id| self.references.get(backup_id).is_some_and(|keys| keys.contains(*key)))
        };
        let expected: BTreeSet<&str> = self.flipped.iter().filter(is_needed).map(String::as_str).collect();
        assert_eq!(found, expected, "{}", verified.stdout);
        wait::until("no session to be left", || {
            sessions(&self.world.source).is_empty() && sessions(&self.world.target).is_empty()
        });
        for (kind, peak) in &self.peak_kib {
            assert!(*peak < MOST_MEMORY_KIB, "{kind:?}: {peak} KiB");
        }
        self.assert_enough(transactions);
        json!({
            "counts": self.counts,
            "transactions": transactions,
            "store_requests": self.world.s3.controls.asked(),
            "store_faults": self.proxy.struck().len(),
            "backup_agent_peak_kib": self.peak_kib.get(&Kind::Backup),
            "restore_agent_peak_kib": self.peak_kib.get(&Kind::Restore),
            "violations": 0,
        })
    }

    /// A storm that did not strike shows nothing.
    fn assert_enough(&self, transactions: u64) {
        for (what, least) in MINIMA {
            let count = self.counts.get(what).copied().unwrap_or(0);
            assert!(
                count >= *least,
                "{what}: {count}, and {least} at least were to be: {:?}",
                self.counts
            );
        }
        let faults = self.proxy.struck().len();
        assert!(
            faults >= LEAST_FAULTS,
            "{faults} faults of the store, and {LEAST_FAULTS} at least were to be"
        );
        assert!(
            transactions >= LEAST_TRANSACTIONS,
            "{transactions} transactions of the load, and {LEAST_TRANSACTIONS} at least were to be"
        );
    }
}
