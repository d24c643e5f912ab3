//! Where a plan is carried out: the world, the agents that run in it, and what has been seen so far.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::rc::Rc;

use kubebackup::http::status::Status;

use super::bucket::Written;
use super::secrets::{APP_PASSWORD, TARGET_PASSWORD, TARGET_ROLE, assert_no_secret_in};
use super::servers::{cut_sessions, kill_and_restart};
use super::step::{Blow, Kind, Side, Strike, When};
use super::truth::{State, Truth};
use super::wire::Wire;
use crate::backup_agent::Agent;
use crate::support::s3_proxy::S3Proxy;
use crate::support::tcp_proxy::TcpProxy;
use crate::support::{BACKUP_ROLE, Ended, Program, World, WorldOptions, wait};

/// Named by nobody: its contents must be what they were.
pub(super) const BYSTANDER: &str = "bystander";
const SETTINGS: &str = "
backup: {chunk_min_bytes: 64KiB, chunk_mean_bytes: 128KiB, chunk_max_bytes: 256KiB}
retention: {keep_last: 3, keep_certified: 1}
backup_agent: {lease_duration: 2s, retry_first: 30m, retry_max: 1h}
restore_agent: {retry_first: 1s, retry_max: 4s}
log: {level: debug}
";

/// What the store is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Storm {
    Calm,
    /// Whoever asks again gets past everything: a run must do what it is for.
    Passing,
    /// A run may fail.
    Lasting,
}

/// The world and what is known of it.
pub(super) struct Ground {
    pub(super) world: World,
    /// Between the program and the store.
    pub(super) proxy: S3Proxy,
    /// Between the program and the source.
    pub(super) way: TcpProxy,
    source_dsn: String,
    target_dsn: String,
    target_password_file: String,
    pub(super) truth: Truth,
    pub(super) written: Written,
    pub(super) agents: BTreeMap<Kind, Agent>,
    pub(super) storm: Storm,
    pub(super) wire: Option<Wire>,
    /// An agent was killed that may have held the lease.
    pub(super) is_lease_left: bool,
    /// What a backup that is seen next may hold.
    pub(super) window: Vec<Rc<State>>,
    /// The source as it is; none when it was written to since it was looked at.
    state: Option<Rc<State>>,
    /// Everything that was ever printed.
    pub(super) printed: String,
    pub(super) counts: BTreeMap<String, u64>,
    /// Certificates that were seen, each judged when it came.
    pub(super) judged: BTreeSet<String>,
    clock: PathBuf,
    bystander: Rc<State>,
}

impl Ground {
    pub(super) fn new() -> Self {
        let mut world = World::with(WorldOptions {
            // What was committed is there after a kill -9.
            source_settings: &[("synchronous_commit", "on"), ("max_connections", "40")],
            ..WorldOptions::default()
        });
        let second = world.directory().join("second");
        fs::create_dir(&second).unwrap();
        let timeouts = format!(
            "{SETTINGS}copies:\n  - {{name: second, directory: \"{}\", prefix: \"\", retention: {{keep_last: 2, keep_certified: 1}}}}\n",
            second.display()
        );
        world.settings_file = world.write_settings("model.yaml", &timeouts);
        world.source_sql(&format!("CREATE ROLE app LOGIN PASSWORD '{APP_PASSWORD}'"));
        let role = format!("CREATE ROLE {TARGET_ROLE} SUPERUSER LOGIN PASSWORD '{TARGET_PASSWORD}'");
        world.target.sql("postgres", &role).unwrap();
        let target_password_file = world.directory().join("password-of-drills");
        fs::write(&target_password_file, TARGET_PASSWORD).unwrap();
        world
            .target
            .sql("postgres", &format!("CREATE DATABASE {BYSTANDER}"))
            .unwrap();
        let fill = "CREATE TABLE precious AS SELECT i, md5(i::text) FROM generate_series(1, 500) i";
        world.target.sql(BYSTANDER, fill).unwrap();
        let clock = world.directory().join("clock");
        fs::write(&clock, "0").unwrap();
        let way = TcpProxy::start(world.source.port());
        let source_dsn = format!(
            "host=127.0.0.1 port={} user={BACKUP_ROLE} dbname='{}' connect_timeout=2",
            way.port(),
            world.database()
        );
        Self {
            bystander: State::of(&world.target, BYSTANDER),
            proxy: S3Proxy::before(&world.s3),
            way,
            source_dsn,
            target_dsn: world.target.dsn(TARGET_ROLE, "postgres"),
            target_password_file: target_password_file.to_str().unwrap().to_owned(),
            world,
            truth: Truth::default(),
            written: Written::default(),
            agents: BTreeMap::new(),
            storm: Storm::Calm,
            wire: None,
            is_lease_left: false,
            window: Vec::new(),
            state: None,
            printed: String::new(),
            counts: BTreeMap::new(),
            judged: BTreeSet::new(),
            clock,
        }
    }

    /// The folder of the second repository.
    pub(super) fn second(&self) -> PathBuf {
        self.world.directory().join("second")
    }

    pub(super) fn count(&mut self, what: &str) {
        *self.counts.entry(what.to_owned()).or_default() += 1;
    }

    /// The source as it is.
    pub(super) fn state(&mut self) -> Rc<State> {
        let state = self.state.take();
        let state = state.unwrap_or_else(|| State::of(&self.world.source, self.world.database()));
        self.state = Some(Rc::clone(&state));
        state
    }

    /// From now on a backup may begin that holds what the source is now.
    pub(super) fn open_window(&mut self) {
        let state = self.state();
        if self.window.last().is_none_or(|last| !Rc::ptr_eq(last, &state)) {
            self.window.push(state);
        }
    }

    pub(super) fn write(&mut self, statements: &str) {
        self.change(|ground| {
            ground.world.source_sql(&format!("BEGIN; {statements} COMMIT;"));
        });
    }

    /// What the source holds is another from here on. A crash changes it too: a sequence goes on where the log had reserved
    /// numbers ahead.
    fn change(&mut self, change: impl FnOnce(&mut Self)) {
        if self.agents.contains_key(&Kind::Backup) {
            self.open_window();
        }
        change(self);
        self.state = None;
        if self.agents.contains_key(&Kind::Backup) {
            self.open_window();
        }
    }

    /// The source and the bystander are what they were; nobody but the plan writes to either.
    #[track_caller]
    pub(super) fn assert_untouched(&mut self) {
        let bystander = State::of(&self.world.target, BYSTANDER);
        assert_eq!(
            self.bystander.differences(&bystander),
            Vec::<String>::new(),
            "the bystander"
        );
        if let Some(state) = &self.state {
            let found = State::of(&self.world.source, self.world.database());
            assert_eq!(state.differences(&found), Vec::<String>::new(), "the source");
        }
    }

    /// A verb, with patience for no more than a few seconds.
    pub(super) fn program(&self, arguments: &[&str]) -> Program {
        self.world.program(arguments).envs(self.variables())
    }

    fn variables(&self) -> [(&str, &str); 7] {
        let [endpoint] = self.proxy.variables();
        [
            endpoint,
            ("KUBEBACKUP_CLOCK_FILE", self.clock.to_str().unwrap()),
            ("KUBEBACKUP_REPOSITORY_READ_TIMEOUT", "3s"),
            ("KUBEBACKUP_REPOSITORY_ATTEMPT_TIMEOUT", "5s"),
            ("KUBEBACKUP_SOURCE_DSN", &self.source_dsn),
            ("KUBEBACKUP_TARGET_DSN", &self.target_dsn),
            ("KUBEBACKUP_TARGET_PASSWORD_FILE", &self.target_password_file),
        ]
    }

    /// A database of the target, for a restore by a person.
    pub(super) fn target_database(&self, database: &str) -> String {
        self.world.target.dsn(TARGET_ROLE, database)
    }

    pub(super) fn is_stormy(&self) -> bool {
        self.storm == Storm::Lasting
    }

    /// By how many seconds the program's clock is wrong.
    pub(super) fn set_clock(&self, seconds: i64) {
        fs::write(&self.clock, seconds.to_string()).unwrap();
    }

    /// Runs a verb to its end, however it ends, and notes how it ended where the store has failed it. With a strike: whether it hit.
    pub(super) fn run(&mut self, arguments: &[&str], strike: Option<&Strike>) -> (Ended, bool) {
        let before = self.proxy.struck().len();
        let (ended, is_hit) = self.run_through(arguments, strike);
        if self.proxy.struck().len() > before && strike.is_none() {
            let of_copy = usize::from(arguments[0] == "--repository") * 2;
            let end = ended.code().map_or("by a signal".to_owned(), |code| code.to_string());
            self.count(&format!(
                "{} through {:?} faults: {end}",
                arguments[of_copy], self.storm
            ));
        }
        (ended, is_hit)
    }

    fn run_through(&mut self, arguments: &[&str], strike: Option<&Strike>) -> (Ended, bool) {
        let arguments = [&["--output", "json"], arguments].concat();
        let mut program = self.program(&arguments).env("PGPASSWORD", TARGET_PASSWORD);
        if self.wire.is_some_and(|wire| wire.hangs()) {
            program = program.env("KUBEBACKUP_BACKUP_MAX_DURATION", "10s");
        }
        let Some(strike) = strike else {
            let ended = program.run();
            self.note(&arguments, &ended);
            return (ended, false);
        };
        let signs = tempfile::tempdir_in(self.world.directory()).unwrap();
        let go = signs.path().join("go");
        let asked = self.world.s3.controls.asked();
        let mut running = match strike.when {
            When::At(point) => program
                .env("KUBEBACKUP_FAILPOINT", &format!("{point}=go:{}", go.display()))
                .spawn(),
            When::Requests(_) => program.spawn(),
        };
        let mut is_hit = false;
        wait::until("the moment to strike, or the end", || {
            let has_ended = running.has_ended();
            is_hit = match strike.when {
                When::At(point) => running.printed().contains(&format!("failpoint {point}")),
                When::Requests(number) => self.world.s3.controls.asked() >= asked + number,
            };
            is_hit || has_ended
        });
        is_hit &= !running.has_ended();
        if is_hit && matches!(strike.what, Blow::Kill) {
            let ended = running.kill();
            if ended.signal() == Some(9) {
                self.count(&format!("kills of {}", arguments[2]));
            }
            self.note(&arguments, &ended);
            return (ended, true);
        }
        if is_hit {
            self.strike(&strike.what);
        }
        fs::write(&go, "").unwrap();
        let ended = running.wait();
        self.note(&arguments, &ended);
        (ended, is_hit)
    }

    fn strike(&mut self, blow: &Blow) {
        let name = format!("{blow:?}");
        self.count(&format!(
            "blows {}",
            name.split_once('(').map_or(&*name, |(kind, _)| kind)
        ));
        match blow {
            Blow::Kill => {}
            Blow::Write(statements) => self.write(statements),
            Blow::KillServer(side) => self.kill_server(*side),
            Blow::CutSessions(Side::Source) => cut_sessions(&self.world.source),
            Blow::CutSessions(Side::Target) => cut_sessions(&self.world.target),
            Blow::LetGo => self.let_go_beside(),
            Blow::StoreAway => {
                self.world.s3.stop_server();
                self.world.s3.start_server();
            }
        }
    }

    pub(super) fn kill_server(&mut self, side: Side) {
        match side {
            Side::Source => self.change(|ground| kill_and_restart(&mut ground.world.source)),
            Side::Target => kill_and_restart(&mut self.world.target),
        }
    }

    fn note(&mut self, arguments: &[&str], ended: &Ended) {
        let printed = ended.printed();
        assert!(!printed.contains("panicked at"), "{arguments:?}:\n{printed}");
        assert_no_secret_in(&format!("the output of {arguments:?}"), printed.as_bytes());
        self.printed
            .push_str(&format!("{arguments:?} {}\n{printed}\n", ended.status));
    }

    /// An agent that is just starting, with further variables.
    pub(super) fn launch(&self, kind: Kind, variables: &[(&str, &str)]) -> Agent {
        let verb = match kind {
            Kind::Backup => "backup-agent",
            Kind::Restore => "restore-agent",
        };
        let program = self
            .program(&[verb])
            .env("KUBEBACKUP_BACKUP_AGENT_SCHEDULE", "every 48h");
        Agent::of_program(program, variables)
    }

    /// kill -9, if there is one.
    pub(super) fn kill_agent(&mut self, kind: Kind) {
        if let Some(agent) = self.agents.remove(&kind) {
            self.is_lease_left |= kind == Kind::Backup;
            self.count(&format!("kills of the agent {kind:?}"));
            let ended = agent.running.kill();
            self.note(&["agent"], &ended);
        }
    }

    /// SIGTERM, if there is one.
    pub(super) fn stop_agent(&mut self, kind: Kind) {
        if let Some(agent) = self.agents.remove(&kind) {
            let ended = agent.stop();
            self.note(&["agent"], &ended);
        }
    }

    /// SIGUSR1, and how the run that follows it ended.
    #[track_caller]
    pub(super) fn trigger(&mut self, kind: Kind) -> Status {
        if !self.agents.contains_key(&kind) {
            let agent = self.launch(kind, &[]);
            self.agents.insert(kind, agent);
        }
        let agent = self.agents.get_mut(&kind).unwrap();
        let before = agent.wait_until("a status", |_| true).last_begun();
        agent.trigger();
        agent.wait_until("the run that was asked for to end", |status| {
            let last = status.runs.first().map_or(0, |run| run.number);
            status.current.is_none() && !status.is_queued && last > before
        })
    }

    /// Whether a backup goes on that the agent makes.
    pub(super) fn is_backing_up(&mut self) -> bool {
        let Some(agent) = self.agents.get(&Kind::Backup) else {
            return false;
        };
        agent.status().is_none_or(|status| status.current.is_some())
    }
}
