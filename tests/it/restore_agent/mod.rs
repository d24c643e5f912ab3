//! The restore agent as a process on real servers: what it drills and when, how it stops, and whom it tells.

mod drifting;
mod frozen;
mod notifications;
mod outages;
mod patience;
pub(crate) mod receiver;
mod signals;
mod verdicts;
mod work;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Ended, Program, Running, World, WorldOptions, wait};

/// Quick enough for a test.
const SETTINGS: &str = "agent: {listen: '127.0.0.1:0', poll_interval: 200ms}\n\
                        restore_agent: {retry_first: 1s, retry_max: 4s}\n";

/// Within which a process has to end that is told to.
const END: Duration = Duration::from_secs(5);

/// A world with a marked target and one backup of its little database.
fn backed_up() -> (World, String) {
    backed_up_with("")
}

fn backed_up_with(settings: &str) -> (World, String) {
    let world = world(settings);
    let backup_id = world.back_up();
    world.mark_targets();
    (world, backup_id)
}

/// A world whose settings end with these lines.
fn world(settings: &str) -> World {
    let settings = format!("{SETTINGS}{settings}");
    let world = World::with(WorldOptions {
        settings: &settings,
        ..WorldOptions::default()
    });
    world.source_sql("CREATE TABLE t AS SELECT generate_series(1, 100) AS n; ALTER TABLE t ADD PRIMARY KEY (n)");
    world
}

fn agent(world: &World) -> Program {
    world.program(&["restore-agent"])
}

/// How each drill of a backup ended, in order; `started` of one that runs or was interrupted.
fn drills(world: &World, backup_id: &str) -> Vec<String> {
    let mut drills: Vec<(String, String)> = Vec::new();
    for key in world.keys(&format!("certificates/{backup_id}/")) {
        let name = key.rsplit('/').next().unwrap();
        let mut parts = name.split('.');
        let (drill_id, state) = (parts.next().unwrap().to_owned(), parts.next().unwrap().to_owned());
        match drills.iter_mut().find(|(known, _)| *known == drill_id) {
            Some((_, known)) if known == "started" => *known = state,
            Some(_) => {}
            None => drills.push((drill_id, state)),
        }
    }
    drills.sort();
    drills.into_iter().map(|(_, state)| state).collect()
}

/// Waits until the drills of a backup ended like this.
#[track_caller]
fn wait_for_drills(world: &World, running: &mut Running, backup_id: &str, expected: &[&str]) {
    let what = format!("the drills of {backup_id} to be {expected:?}");
    wait::for_some_within(Duration::from_mins(2), &what, || {
        assert!(!running.has_ended(), "the agent has ended:\n{}", running.printed());
        (drills(world, backup_id) == expected).then_some(())
    });
}

/// Waits until the last drill of the backup ended so, however many there were.
#[track_caller]
fn wait_for_last(world: &World, backup_id: &str, state: &str) {
    wait::for_some_within(Duration::from_mins(2), &format!("a drill that is {state}"), || {
        let last = drills(world, backup_id).pop();
        last.is_some_and(|last| last == state).then_some(())
    });
}

/// Backups that are made from now on have an index that takes a minute on the target.
pub(crate) fn slow_down(world: &World) {
    world.source_sql(
        "CREATE FUNCTION slow(n int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
             IF current_setting('test.slow', true) = 'yes' THEN PERFORM pg_sleep(60); END IF; RETURN n; END $$;
         CREATE INDEX ON t (slow(n));",
    );
    let slow = "ALTER ROLE postgres SET test.slow = 'yes'";
    world.target.sql("postgres", slow).unwrap();
}

/// Whether the target works on that index.
pub(crate) fn is_creating(world: &World) -> bool {
    let find = "SELECT count(*) FROM pg_stat_activity WHERE query ~ '^CREATE INDEX' AND state = 'active'";
    world.target.sql("postgres", find).unwrap() == "1"
}

/// The next drill does not take that time.
fn speed_up(world: &World) {
    let reset = "ALTER ROLE postgres RESET test.slow";
    world.target.sql("postgres", reset).unwrap();
}

/// The newest certificate of a backup that ended so.
fn certificate(world: &World, backup_id: &str, state: &str) -> Value {
    certificates(world, backup_id, state).pop().unwrap()
}

/// All of them, in order of time.
fn certificates(world: &World, backup_id: &str, state: &str) -> Vec<Value> {
    let ending = format!(".{state}.json");
    world
        .keys(&format!("certificates/{backup_id}/"))
        .iter()
        .filter(|key| key.ends_with(&ending))
        .map(|key| serde_json::from_slice(&world.s3.read(&World::object(key))).unwrap())
        .collect()
}

/// What its port shows.
#[track_caller]
fn status_of(running: &mut Running) -> Value {
    running.wait_for("listening");
    let printed = running.printed();
    let (_, after) = printed.split_once("listening address=").unwrap();
    let address = after.split_whitespace().next().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET /status HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap_or_else(|error| panic!("no JSON ({error}): {answer}"))
}

/// Tells the agent to end, and it does, in time and with 0.
#[track_caller]
fn stop(running: Running) -> Ended {
    let since = Instant::now();
    running.signal(Signal::SIGTERM);
    let ended = running.wait().expect(0);
    let took = since.elapsed();
    assert!(took < END, "it took {took:?}:\n{}", ended.printed());
    ended
}
