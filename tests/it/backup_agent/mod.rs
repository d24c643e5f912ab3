//! The backup agent as a process, beside a real server and a real bucket. Tests wait on what it prints, shows and stores.

mod absences;
mod first_settings;
mod loops;
mod outcomes;
mod reloading;
mod stopping;
mod triggering;
mod turns;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use kubebackup::http::status::Status;
use nix::sys::signal::Signal;

use crate::support::{Ended, Program, Running, World, wait};

/// A running agent, and where it shows its status.
pub(crate) struct Agent {
    pub(crate) running: Running,
    pub(crate) port: u16,
}

/// Nothing begins by itself within a test, unless it is overdue.
pub(crate) const SELDOM: (&str, &str) = ("KUBEBACKUP_BACKUP_AGENT_SCHEDULE", "every 24h");

/// What it says before the number of its port.
const LISTENING: &str = "listening address=127.0.0.1:";

impl Agent {
    pub(crate) fn start(world: &World, variables: &[(&str, &str)]) -> Self {
        Self::of_program(world.program(&["backup-agent"]), variables)
    }

    pub(crate) fn of_program(program: Program, variables: &[(&str, &str)]) -> Self {
        let mut running = program
            .env("KUBEBACKUP_AGENT_LISTEN", "127.0.0.1:0")
            .env("KUBEBACKUP_AGENT_POLL_INTERVAL", "1s")
            .envs(variables.iter().copied())
            .spawn();
        running.wait_for(LISTENING);
        let mut agent = Self { running, port: 0 };
        agent.wait_for_port(1);
        agent
    }

    /// Waits until it has opened its port so often, and takes the last one.
    #[track_caller]
    pub(crate) fn wait_for_port(&mut self, times: usize) {
        wait::until("the port to be opened", || {
            self.running.printed().matches(LISTENING).count() >= times
        });
        let printed = self.running.printed();
        let (_, port) = printed.rsplit_once(LISTENING).unwrap();
        self.port = port.split_whitespace().next().unwrap().parse().unwrap();
    }

    /// SIGUSR1.
    pub(crate) fn trigger(&self) {
        self.running.signal(Signal::SIGUSR1);
    }

    /// What it shows at `/status`; none while nobody answers there.
    pub(crate) fn status(&self) -> Option<Status> {
        let body = self.ask("/status")?;
        Some(serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}")))
    }

    /// What it answers at `path`.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> String {
        self.ask(path).expect("it answers")
    }

    fn ask(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        let request = format!("GET {path} HTTP/1.0\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        Some(body.to_owned())
    }

    /// Waits until the status is as wanted, and returns it.
    #[track_caller]
    pub(crate) fn wait_until(&mut self, what: &str, is_so: impl Fn(&Status) -> bool) -> Status {
        let mut ended = false;
        wait::for_some(what, || {
            let status = self.status().filter(&is_so);
            assert!(
                !ended || status.is_some(),
                "ended before {what}:\n{}",
                self.running.printed()
            );
            ended = self.running.has_ended();
            status
        })
    }

    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) {
        self.running.wait_for(text);
    }

    /// SIGTERM, which must end it with 0 within five seconds.
    #[track_caller]
    pub(crate) fn stop(self) -> Ended {
        let asked = std::time::Instant::now();
        self.running.signal(Signal::SIGTERM);
        let ended = self.running.wait().ok();
        let seconds = asked.elapsed().as_secs_f64();
        assert!(seconds < 5.0, "it took {seconds} seconds:\n{}", ended.printed());
        ended
    }
}

/// Waits until the bucket holds so many backups, and returns their keys.
#[track_caller]
pub(crate) fn wait_for_backups(world: &World, agent: &mut Agent, wanted: usize) -> Vec<String> {
    let mut ended = false;
    wait::for_some(&format!("{wanted} backups"), || {
        let keys = world.keys("manifests/");
        assert!(!ended || keys.len() >= wanted, "{}", agent.running.printed());
        ended = agent.running.has_ended();
        (keys.len() >= wanted).then_some(keys)
    })
}
