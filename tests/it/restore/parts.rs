//! One table, or one schema, that comes back into a living database and is stopped on its way: by the server's death, by an
//! administrator, by kill -9, by want of room, or because it is there already. Told what is left and what comes before the next
//! try; what was not chosen is as it was.

use super::dying::{held_up_in, open, pause_in};
use super::{assert_in_part, assert_whole, by_hand, others, with_a_neighbour};
use crate::support::crash::{kill_server, start_again};
use crate::support::oracle;
use crate::support::{Ended, World, WorldOptions, wait};

/// The tables' checks and indexes can be made to wait; what is waited by is no part of what is chosen.
const CONTENTS: &str = "
CREATE FUNCTION pause(phase text, i int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
    IF current_setting('test.pause', true) = phase THEN PERFORM pg_sleep(60); END IF; RETURN true; END $$;
CREATE TABLE t (i int PRIMARY KEY, text text, CHECK (pause('data', i)));
INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 20000) i;
CREATE INDEX t_paused ON t (pause('post-data', i)); CREATE INDEX t_text ON t (text);
CREATE TABLE beside AS SELECT i FROM generate_series(1, 100) i; CREATE SEQUENCE numbers;
CREATE SCHEMA app; CREATE TABLE app.v (i int PRIMARY KEY, text text, CHECK (public.pause('data', i)));
INSERT INTO app.v SELECT i, md5(i::text) FROM generate_series(1, 20000) i;
CREATE INDEX v_paused ON app.v (public.pause('post-data', i)); CREATE INDEX v_text ON app.v (text)";

const NEXT: &str = "drop what was chosen before it is restored again";
const AWAY: &str = "\nhint: the server or the way to it went away: look at its log, and begin again";

/// What is brought back.
struct Part {
    options: [&'static str; 2],
    drop: &'static str,
    /// How a refusal calls it.
    called: &'static str,
}

const PARTS: [Part; 2] = [
    Part {
        options: ["--table", "public.t"],
        drop: "DROP TABLE IF EXISTS t",
        called: "table public t",
    },
    Part {
        options: ["--schema", "app"],
        drop: "DROP SCHEMA IF EXISTS app CASCADE",
        called: "table app v",
    },
];

/// The whole database in its place, with a neighbour.
fn living() -> World {
    let world = World::with(WorldOptions {
        target_settings: &[("synchronous_commit", "on")],
        ..WorldOptions::default()
    });
    world.source_sql(CONTENTS);
    world.back_up();
    with_a_neighbour(&world);
    by_hand(&world, &[]).run().ok();
    assert_complete(&world);
    world
}

/// Rows, and what hangs on them.
#[track_caller]
fn assert_complete(world: &World) {
    assert_whole(world);
    let indexes =
        "SELECT string_agg(schemaname || '.' || indexname, ' ' ORDER BY schemaname, indexname) FROM pg_indexes
                   WHERE schemaname IN ('public', 'app')";
    assert_eq!(world.restored_sql(indexes), world.source_sql(indexes));
}

impl Part {
    /// What there is once it is dropped, there and beside it.
    fn dropped(&self, world: &World) -> (oracle::Contents, (oracle::Contents, String)) {
        world.restored_sql(self.drop);
        (oracle::contents(&world.target, &world.restored()), others(world))
    }

    /// The next one says what is in its way, and once that is gone all is as before; then it comes through.
    #[track_caller]
    fn comes_back_once_it_is_dropped(
        &self,
        world: &World,
        before: &(oracle::Contents, (oracle::Contents, String)),
        what: &str,
    ) {
        let refused = by_hand(world, &self.options).run().expect(6).stderr;
        for words in [self.called, "would be overwritten; drop or rename what is there first"] {
            assert!(refused.contains(words), "{what}: {refused}");
        }
        assert_eq!(&self.dropped(world), before, "{what}");
        by_hand(world, &self.options).run().ok();
        assert_complete(world);
    }
}

/// It has begun, and says what it leaves.
#[track_caller]
fn assert_stopped(ended: &Ended, words: &str, what: &str) {
    assert_in_part(ended, NEXT, what);
    assert!(ended.stderr.contains(words), "{what}: {}", ended.stderr);
}

fn end_sessions_that_wait(world: &World) {
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    world.target.sql("postgres", end).unwrap();
}

#[test]
fn a_part_that_a_dying_server_or_program_stops_says_what_is_left_and_comes_back_once_that_is_dropped() {
    let mut world = living();
    for part in &PARTS {
        for phase in ["data", "post-data"] {
            for death in ["server", "session", "program"] {
                let what = format!("{}: {death} in {phase}", part.called);
                let before = part.dropped(&world);
                pause_in(&world, phase);
                let restoring = held_up_in(&world, phase, &part.options);
                match death {
                    "server" => {
                        kill_server(&world.target);
                        assert_stopped(&restoring.wait().expect(1), AWAY, &what);
                        start_again(&mut world.target);
                    }
                    "session" => {
                        end_sessions_that_wait(&world);
                        assert_stopped(&restoring.wait().expect(1), AWAY, &what);
                    }
                    _ => {
                        assert_eq!(restoring.kill().signal(), Some(9));
                        end_sessions_that_wait(&world);
                        wait::until("the sessions of the dead program to end", || {
                            let left = "SELECT count(*) FROM pg_stat_activity
                                        WHERE application_name LIKE 'kubebackup%' OR application_name = 'pg_restore'";
                            world.target.sql("postgres", left).unwrap() == "0"
                        });
                    }
                }
                open(&world);
                part.comes_back_once_it_is_dropped(&world, &before, &what);
            }
        }
    }
}

#[test]
fn a_part_without_room_for_its_index_says_so_and_comes_back_once_there_is() {
    let world = living();
    let set = |setting: &str| {
        let alter = format!("ALTER ROLE postgres {setting}");
        world.target.sql("postgres", &alter).unwrap();
    };
    set("SET maintenance_work_mem = '1MB'");
    for part in &PARTS {
        let before = part.dropped(&world);
        set("SET temp_file_limit = '64kB'");
        let ended = by_hand(&world, &part.options).run().expect(1);
        assert_stopped(&ended, "temp_file_limit", part.called);
        assert!(
            ended.stderr.contains("\nhint: the server ran out of memory"),
            "{}",
            ended.stderr
        );
        set("RESET temp_file_limit");
        part.comes_back_once_it_is_dropped(&world, &before, part.called);
    }
}

#[test]
fn a_part_that_is_there_already_is_named_and_not_touched() {
    let world = living();
    world.restored_sql("UPDATE t SET text = 'newer' WHERE i = 1; INSERT INTO app.v VALUES (0, 'newer')");
    let before = (oracle::contents(&world.target, &world.restored()), others(&world));
    for part in &PARTS {
        let refused = by_hand(&world, &part.options).run().expect(6);
        let said = &refused.stderr;
        assert_eq!(said.matches("error: ").count(), 1, "{said}");
        assert!(
            said.contains(part.called) && said.contains("\nhint: nothing was touched"),
            "{said}"
        );
        let after = (oracle::contents(&world.target, &world.restored()), others(&world));
        assert_eq!(after, before, "{}", part.called);
    }
}
