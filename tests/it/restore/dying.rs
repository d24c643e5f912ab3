//! kill -9 of the target's server under the hands of a person who restores: told what is left, and how to go on.

use kubebackup::postgres::{Session, connect};

use super::{assert_in_part, assert_whole, by_hand, others, with_a_neighbour};
use crate::support::crash::{kill_server, start_again};
use crate::support::library::cluster_options;
use crate::support::{Ended, Running, World, WorldOptions, wait};

/// Something for every phase, and something that waits in each of those that evaluate expressions. The schema comes before
/// the first function: what stops there has made something.
const CONTENTS: &str = "
CREATE ROLE app_owner; CREATE SCHEMA first;
CREATE FUNCTION pause(phase text, i int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
    IF current_setting('test.pause', true) = phase THEN PERFORM pg_sleep(60); END IF; RETURN true; END $$;
CREATE TABLE t (i int PRIMARY KEY, text text, CHECK (pause('data', i))); ALTER TABLE t OWNER TO app_owner;
INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 2000) i;
CREATE INDEX ON t (pause('post-data', i)); CREATE STATISTICS st ON pause('analyze', i), text FROM t;
CREATE MATERIALIZED VIEW m AS SELECT count(*) AS n FROM t WHERE pause('refresh', i);
CREATE SEQUENCE s; SELECT nextval('s'), lo_from_bytea(0, 'a large object');
CREATE FUNCTION nothing() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN END $$;
CREATE EVENT TRIGGER nothing ON ddl_command_start EXECUTE FUNCTION nothing();
ALTER DATABASE shop SET work_mem = '5MB'";

const AWAY: &str = "\nhint: the server or the way to it went away: look at its log, and begin again";

/// What holds a restore up in the midst of a phase.
enum Gate {
    /// The phase writes into this catalogue.
    Catalogue(&'static str),
    /// The phase evaluates an expression of the database.
    Expression,
}

/// How it goes on when the server is back.
enum Again {
    /// Nothing has been made yet.
    AtOnce,
    Dropped,
    Wiped,
}

const PHASES: [(&str, Gate, Again); 9] = [
    ("roles", Gate::Catalogue("pg_authid"), Again::AtOnce),
    ("pre-data", Gate::Catalogue("pg_proc"), Again::Dropped),
    ("data", Gate::Expression, Again::Wiped),
    (
        "large objects",
        Gate::Catalogue("pg_largeobject_metadata"),
        Again::Dropped,
    ),
    ("post-data", Gate::Expression, Again::Wiped),
    ("refresh", Gate::Expression, Again::Dropped),
    ("event triggers", Gate::Catalogue("pg_event_trigger"), Again::Wiped),
    ("analyze", Gate::Expression, Again::Dropped),
    ("properties", Gate::Catalogue("pg_db_role_setting"), Again::Wiped),
];

impl Gate {
    /// Closed until the server is gone.
    async fn close(&self, world: &World, phase: &str) -> Option<Session> {
        match self {
            Self::Catalogue(name) => {
                let target = cluster_options(&world.target, &world.restored());
                let held = connect(&target, "test").await.unwrap();
                let lock = format!("BEGIN; LOCK TABLE pg_catalog.{name} IN SHARE MODE");
                held.client.batch_execute(&lock).await.unwrap();
                Some(held)
            }
            Self::Expression => {
                pause_in(world, phase);
                None
            }
        }
    }
}

/// What evaluates expressions waits in that phase.
pub(super) fn pause_in(world: &World, phase: &str) {
    let pause = format!("ALTER ROLE postgres SET test.pause = '{phase}'");
    world.target.sql("postgres", &pause).unwrap();
}

fn is_held_up(world: &World) -> bool {
    let held_up = "SELECT count(*) > 0 FROM pg_stat_activity
                   WHERE backend_type = 'client backend' AND (wait_event_type = 'Lock' OR wait_event = 'PgSleep')";
    world.target.sql("postgres", held_up).unwrap() == "t"
}

/// Restores until the midst of `phase`.
#[track_caller]
pub(super) fn held_up_in(world: &World, phase: &str, more: &[&str]) -> Running {
    let mut restoring = by_hand(world, more).spawn();
    restoring.wait_for(&format!("phase begins phase=\"{phase}\""));
    wait::until("the restore to be held up", || is_held_up(world));
    let printed = restoring.printed();
    assert!(
        !printed.contains(&format!("phase ended phase=\"{phase}\"")),
        "held up elsewhere than in {phase}: {printed}"
    );
    restoring
}

/// Restores until the midst of `phase`, where the server dies.
async fn killed_in(world: &mut World, phase: &str, gate: &Gate) -> Ended {
    let held = gate.close(world, phase).await;
    // ANALYZE visits the catalogues too, and would be held up first.
    let more: &[&str] = if held.is_some() { &["--no-analyze"] } else { &[] };
    let restoring = held_up_in(world, phase, more);
    kill_server(&world.target);
    let ended = restoring.wait();
    drop(held);
    start_again(&mut world.target);
    open(world);
    ended
}

/// What evaluates expressions goes on.
pub(super) fn open(world: &World) {
    let reset = "ALTER ROLE postgres RESET test.pause";
    world.target.sql("postgres", reset).unwrap();
}

/// An empty database for it, once more.
fn make_anew(world: &World) {
    for statement in ["DROP DATABASE shop_restored", "CREATE DATABASE shop_restored"] {
        world.target.sql("postgres", statement).unwrap();
    }
    world.mark_targets();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_server_killed_in_any_phase_ends_a_restore_that_says_how_to_go_on_and_then_is_whole() {
    let mut world = World::with(WorldOptions {
        // What the server has said is done stays done.
        target_settings: &[("synchronous_commit", "on")],
        ..WorldOptions::default()
    });
    world.source_sql(CONTENTS);
    world.back_up();
    with_a_neighbour(&world);
    for (phase, gate, again) in &PHASES {
        make_anew(&world);
        let before = others(&world);
        let ended = killed_in(&mut world, phase, gate).await.expect(1);
        assert_eq!(others(&world), before, "{phase}");
        let next = match again {
            Again::AtOnce => {
                let said = &ended.stderr;
                assert!(said.contains("error: make role ") && said.contains(AWAY), "{said}");
                by_hand(&world, &[]).run()
            }
            Again::Dropped => {
                assert_refused(&world, &ended, phase);
                let drop = "DROP DATABASE shop_restored";
                world.target.sql("postgres", drop).unwrap();
                by_hand(&world, &["--create-database"]).run()
            }
            Again::Wiped => {
                assert_refused(&world, &ended, phase);
                by_hand(&world, &["--wipe"]).run()
            }
        };
        next.ok();
        assert_whole(&world);
        assert_eq!(others(&world), before, "{phase}");
    }
}

/// It has said what to do, and until that is done the next one says it too.
#[track_caller]
fn assert_refused(world: &World, ended: &Ended, phase: &str) {
    assert_in_part(ended, "drop it before it is restored again", phase);
    assert!(ended.stderr.contains(AWAY), "{phase}: {}", ended.stderr);
    let refused = by_hand(world, &[]).run().expect(6).stderr;
    for words in [
        "is not empty",
        "drop this one where it is what a restore that stopped has left",
    ] {
        assert!(refused.contains(words), "{phase}: {refused}");
    }
}

/// To a backup that would be the server's wish to be left alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_whose_session_an_administrator_ends_has_failed_and_not_given_way() {
    let world = World::start();
    world.source_sql(CONTENTS);
    world.back_up();
    for phase in ["data", "post-data", "refresh"] {
        make_anew(&world);
        Gate::Expression.close(&world, phase).await;
        let restoring = held_up_in(&world, phase, &[]);
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        world.target.sql("postgres", end).unwrap();
        let ended = restoring.wait().expect(1);
        assert_in_part(&ended, "drop it before it is restored again", phase);
        let said = &ended.stderr;
        assert!(said.contains(AWAY) && said.contains("administrator"), "{phase}: {said}");
        open(&world);
    }
    by_hand(&world, &["--wipe"]).run().ok();
    assert_whole(&world);
}
