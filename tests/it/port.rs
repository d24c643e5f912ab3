//! The agents' port as anybody finds it who can reach the pod: nothing can be changed through it, and nobody can keep
//! probes out. Against the processes themselves.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::support::agents::{AgentProcess, Agents};
use crate::support::prometheus::series;
use crate::support::{World, http, wait};

const VERBS: [&str; 2] = ["backup-agent", "restore-agent"];

const PATHS: [&str; 12] = [
    "/",
    "/status",
    "/runs",
    "/metrics",
    "/livez",
    "/readyz",
    "/backup",
    "/trigger",
    "/runs/1",
    "//status",
    "/../status",
    "/%2e%2e/metrics?run=now",
];

const METHODS: [&str; 10] = [
    "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "BACKUP", "get",
];

/// What comes back, if anything does; sent by whatever client.
fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // A server that refuses early may hang up while we still write.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn code(answer: &str) -> Option<u16> {
    answer.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

/// All that would change if something had been done.
fn state(agent: &AgentProcess) -> String {
    http::get(agent.address, "/runs").unwrap().body
}

/// Without what is told by the clock.
fn runs_of(agent: &AgentProcess) -> serde_json::Value {
    let status: serde_json::Value = serde_json::from_str(&state(agent)).unwrap();
    serde_json::json!([status["runs"], status["current"]])
}

/// Every counter of the process; to answer costs nothing that is counted but the time of a processor.
fn counters_of(agent: &AgentProcess) -> BTreeMap<String, f64> {
    let scrape = http::get(agent.address, "/metrics").unwrap().body;
    let types = scrape.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let names: Vec<&str> = types.filter_map(|line| line.strip_suffix(" counter")).collect();
    let mut counters = series(&scrape);
    counters.retain(|series, _| names.contains(&series.split('{').next().unwrap()));
    counters.remove("kubebackup_process_cpu_seconds_total");
    counters
}

#[test]
fn no_method_on_any_path_changes_anything_or_begins_a_run() {
    let agents = Agents::certified();
    agents.backup.stop();
    agents.restore.stop();
    let world = agents.world;
    for verb in VERBS {
        // By itself it looks at the bucket once, and not again for as long as this takes.
        let mut agent = AgentProcess::start(&world, verb, &[("KUBEBACKUP_AGENT_POLL_INTERVAL", "10m")]);
        agent.scrape_until("kubebackup_certified_backups 1\n");
        wait::until("it to have nothing to do", || runs_of(&agent)[1].is_null());
        let before = (runs_of(&agent), counters_of(&agent));
        assert!(before.1.len() > 10, "{:?}", before.1);
        let keys = world.keys("");
        for path in PATHS {
            for method in METHODS {
                let request = format!(
                    "{method} {path} HTTP/1.1\r\nHost: agent\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\
                     X-HTTP-Method-Override: PUT\r\n\r\n{{\"backup\": \"now\"}}"
                );
                let answer = exchange(agent.address, request.as_bytes());
                assert!(
                    matches!(code(&answer), Some(400 | 404 | 405)),
                    "{method} {path}: {answer:?}"
                );
            }
        }
        assert_eq!((runs_of(&agent), counters_of(&agent)), before);
        assert_eq!(world.keys(""), keys);
        agent.stop();
    }
}

/// A world in which neither agent has anything to do.
fn proven() -> World {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT 1 AS one");
    world.program(&["backup"]).run().ok();
    world.mark_targets();
    world.program(&["drill"]).run().ok();
    world
}

/// An agent that shows so.
fn idle(world: &World, verb: &str) -> AgentProcess {
    let mut agent = AgentProcess::start(world, verb, &[]);
    agent.scrape_until("kubebackup_certified_backups 1\n");
    agent
}

/// Half of what a connection may live: whoever is answered later has waited for others' connections to end.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Each probe is answered well, and at once.
#[track_caller]
fn assert_probes(agent: &AgentProcess, what: &str) {
    for path in ["/livez", "/readyz", "/metrics"] {
        let begun = Instant::now();
        let answer = http::get(agent.address, path);
        let took = begun.elapsed();
        assert_eq!(answer.map(|answer| answer.code), Some(200), "{path}: {what}");
        assert!(took < AT_ONCE, "{path} took {took:?}: {what}");
    }
}

#[test]
fn heads_that_are_huge_or_no_http_are_refused_and_cost_nothing() {
    let world = proven();
    for verb in VERBS {
        let agent = idle(&world, verb);
        refuses_heads(&agent, verb);
        agent.stop();
    }
}

fn refuses_heads(agent: &AgentProcess, verb: &str) {
    let long = "x".repeat(4 << 20);
    let many: String = (0..20_000).fold(String::new(), |headers, number| headers + &format!("X-{number}: y\r\n"));
    let before = memory_of(agent);
    for (what, request) in [
        ("a long path", format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n")),
        (
            "a long header",
            format!("GET /livez HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"),
        ),
        ("many headers", format!("GET /livez HTTP/1.1\r\nHost: a\r\n{many}\r\n")),
        ("another protocol", "\u{16}\u{3}\u{1}\0\u{5}\u{1}\0\r\n\r\n".to_owned()),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        (
            "two lengths",
            "POST /livez HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab".to_owned(),
        ),
    ] {
        let answer = exchange(agent.address, request.as_bytes());
        assert!(!answer.starts_with("HTTP/1.1 2"), "{verb}: {what}: {answer}");
        assert_probes(agent, &format!("{verb} after {what}"));
    }
    let grown = memory_of(agent) - before;
    assert!(grown < 16.0 * 1024.0 * 1024.0, "{verb}: {grown} bytes");
}

fn memory_of(agent: &AgentProcess) -> f64 {
    let metrics = http::get(agent.address, "/metrics").unwrap().body;
    let line = metrics
        .lines()
        .find(|line| line.starts_with("kubebackup_process_resident_memory_bytes "));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap()
}

/// Far more clients than there are places begin a request and never end it, a byte now and then; more come all the time.
#[test]
fn slow_clients_keep_no_probe_out_and_are_hung_up_on() {
    let world = proven();
    for verb in VERBS {
        let agent = idle(&world, verb);
        bears_slow_clients(&agent, verb);
        agent.stop();
    }
}

fn bears_slow_clients(agent: &AgentProcess, verb: &str) {
    let mut slow: Vec<TcpStream> = Vec::new();
    for round in 0..20 {
        for _ in 0..20 {
            let mut client = TcpStream::connect(agent.address).unwrap();
            client.write_all(b"GET /livez HTTP/1.1\r\nHost: ag").unwrap();
            slow.push(client);
        }
        for client in &mut slow {
            // Those whose place was taken are gone.
            let _ = client.write_all(b"e");
        }
        assert_probes(agent, &format!("{verb} in round {round}"));
    }
    // Those that came first lost their places to those that came later.
    for client in &mut slow[..300] {
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut rest = Vec::new();
        match client.read_to_end(&mut rest) {
            Ok(_) => assert!(!rest.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&rest)),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
}
