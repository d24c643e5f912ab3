//! Death in the midst of a wipe, and of a CREATE DATABASE: of the program, of the target's server, of the session that holds
//! the lock. The next one comes through; no database is gone that was not named, and none of ours is left.

use std::fs;
use std::path::{Path, PathBuf};

use kubebackup::postgres::connect;

use super::{assert_in_part, assert_whole, by_hand, others, with_a_neighbour};
use crate::support::agents::AgentProcess;
use crate::support::crash::{kill_server, start_again};
use crate::support::library::cluster_options;
use crate::support::{Running, World, WorldOptions, wait};

const WIPE: &str = "the next restore with --wipe empties it";
const AWAY: &str = "\nhint: the server or the way to it went away: look at its log, and begin again";

/// A point inside of a wipe.
struct Joint {
    name: &'static str,
    /// The target has another encoding than the backup.
    is_replaced: bool,
    /// Databases of ours that stand there beside the target.
    beside: &'static str,
}

const JOINTS: [Joint; 5] = [
    Joint {
        name: "wipe-after-scratch",
        is_replaced: false,
        beside: "kubebackup_fresh",
    },
    Joint {
        name: "wipe-after-batch",
        is_replaced: false,
        beside: "kubebackup_fresh",
    },
    Joint {
        name: "wipe-emptied",
        is_replaced: false,
        beside: "kubebackup_fresh",
    },
    Joint {
        name: "wipe-before-rename",
        is_replaced: true,
        beside: "kubebackup_fresh",
    },
    Joint {
        name: "wipe-after-rename",
        is_replaced: true,
        beside: "kubebackup_old",
    },
];

/// Who dies.
#[derive(Clone, Copy, Debug)]
enum Death {
    Program,
    Server,
    Lock,
}

const DEATHS: [Death; 3] = [Death::Program, Death::Server, Death::Lock];

/// One backup, a neighbour of its target, and a server whose word that something is done holds.
fn world() -> World {
    let world = World::with(WorldOptions {
        target_settings: &[("synchronous_commit", "on")],
        ..WorldOptions::default()
    });
    world.source_sql("CREATE TABLE t AS SELECT i, md5(i::text) AS text FROM generate_series(1, 500) i");
    world.back_up();
    with_a_neighbour(&world);
    world
}

#[track_caller]
fn on_server(world: &World, statement: &str) -> String {
    world.target.sql("postgres", statement).unwrap()
}

/// The marked target with something of several steps of a wipe in it.
fn make_anew(world: &World, is_replaced: bool) {
    let encoding = if is_replaced {
        " TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'"
    } else {
        ""
    };
    on_server(world, "DROP DATABASE shop_restored");
    on_server(world, &format!("CREATE DATABASE shop_restored{encoding}"));
    world.mark_targets();
    world.restored_sql(
        "CREATE TABLE earlier AS SELECT 1 AS one; CREATE SCHEMA older; SELECT lo_from_bytea(0, 'x');
         CREATE FUNCTION earlier() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    );
}

/// What is called as wipes call their databases, without the numbers.
fn ours(world: &World) -> String {
    let ours = "SELECT coalesce(string_agg(regexp_replace(datname, '(_[0-9a-f]+)+$', ''), ' '), '')
                FROM pg_database WHERE datname ~ '^kubebackup'";
    on_server(world, ours)
}

fn wait_for_sessions_to_end(world: &World) {
    wait::until("the sessions of a dead program to end", || {
        on_server(
            world,
            "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'kubebackup%'",
        ) == "0"
    });
}

/// Ends the sessions of that purpose, and there is one.
#[track_caller]
fn end_session(world: &World, purpose: &str) {
    let end = format!(
        "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE application_name = 'kubebackup {purpose}'"
    );
    assert_ne!(on_server(world, &end), "0", "{purpose}");
}

/// A file that lets go on who waits for it, not there yet.
fn gate(world: &World) -> PathBuf {
    let go = world.directory().join("go");
    let _ = fs::remove_file(&go);
    go
}

fn failpoint(joint: &str, go: &Path) -> String {
    format!("{joint}=go:{}", go.display())
}

/// As a wipe is at that joint.
#[track_caller]
fn assert_in_the_midst(world: &World, joint: &Joint) {
    assert_eq!(ours(world), joint.beside, "{}", joint.name);
    if joint.name == "wipe-after-batch" {
        let left = "SELECT to_regclass('earlier') IS NULL, to_regprocedure('earlier()') IS NOT NULL";
        assert_eq!(world.restored_sql(left), "t|t", "half of it is dropped");
    }
}

/// Nothing of ours beside the target, which is still its owner's to have destroyed, and all else as before.
#[track_caller]
fn assert_clean(world: &World, before: &(crate::support::oracle::Contents, String), what: &str) {
    assert_eq!(ours(world), "", "{what}");
    assert_eq!(&others(world), before, "{what}");
    let marked = "SELECT count(*) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = setdatabase
                  WHERE datname = 'shop_restored' AND setconfig::text ~ 'kubebackup.disposable'";
    assert_eq!(on_server(world, marked), "1", "{what}");
}

#[test]
fn whoever_dies_in_the_midst_of_a_wipe_by_hand_the_next_one_comes_through_and_nothing_else_is_gone() {
    let mut world = world();
    world.mark_targets();
    for joint in &JOINTS {
        for death in DEATHS {
            let what = format!("{death:?} at {}", joint.name);
            make_anew(&world, joint.is_replaced);
            let before = others(&world);
            let go = gate(&world);
            let point = failpoint(joint.name, &go);
            let mut wiping = by_hand(&world, &["--wipe"]).env("KUBEBACKUP_FAILPOINT", &point).spawn();
            wiping.wait_for(&format!("failpoint {}", joint.name));
            assert_in_the_midst(&world, joint);
            match death {
                Death::Program => {}
                Death::Server => kill_server(&world.target),
                Death::Lock => end_session(&world, "guard"),
            }
            if matches!(death, Death::Program) {
                assert_eq!(wiping.kill().signal(), Some(9));
                wait_for_sessions_to_end(&world);
            } else {
                fs::write(&go, "").unwrap();
                let ended = wiping.wait().expect(1);
                assert_in_part(&ended, WIPE, &what);
                assert!(ended.stderr.contains(AWAY), "{what}: {}", ended.stderr);
            }
            if matches!(death, Death::Server) {
                start_again(&mut world.target);
            }
            by_hand(&world, &["--wipe"]).run().ok();
            assert_whole(&world);
            assert_clean(&world, &before, &what);
        }
    }
}

/// The session that drops is not the one that holds the lock: without it there is still a way to an empty database.
#[test]
fn a_wipe_whose_dropping_session_is_ended_replaces_the_database_instead() {
    let world = world();
    world.mark_targets();
    make_anew(&world, false);
    let before = others(&world);
    let go = gate(&world);
    let point = failpoint("wipe-after-batch", &go);
    let restoring = by_hand(&world, &["--wipe", "--output", "json"]);
    let mut restoring = restoring.env("KUBEBACKUP_FAILPOINT", &point).spawn();
    restoring.wait_for("failpoint wipe-after-batch");
    end_session(&world, "wipe");
    fs::write(&go, "").unwrap();
    let restored = restoring.wait().ok().json();
    let reason = restored["wiped"]["recreated"].as_str().unwrap();
    assert!(reason.starts_with("a statement was refused: "), "{reason}");
    assert_whole(&world);
    assert_clean(&world, &before, "the dropping session");
}

/// Waits until the server is at a CREATE DATABASE, which somebody keeps from going on.
fn wait_for_create(world: &World, running: &mut Running) {
    let held_up = "SELECT count(*) FROM pg_stat_activity WHERE query ~ '^CREATE DATABASE' AND wait_event_type = 'Lock'";
    wait::until("CREATE DATABASE to be held up", || {
        assert!(!running.has_ended(), "{}", running.printed());
        on_server(world, held_up) == "1"
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_dies_while_a_database_is_created_leaves_none_behind_and_the_next_restore_makes_it() {
    let mut world = world();
    world.mark_targets();
    for (option, death) in ["--wipe", "--create-database"]
        .into_iter()
        .flat_map(|option| DEATHS.map(|death| (option, death)))
    {
        let what = format!("{death:?} with {option}");
        let is_wipe = option == "--wipe";
        make_anew(&world, false);
        if !is_wipe {
            on_server(&world, "DROP DATABASE shop_restored");
        }
        let before = others(&world);
        let template = connect(&cluster_options(&world.target, "postgres"), "test")
            .await
            .unwrap();
        // CREATE DATABASE locks its template.
        let hold = "BEGIN; COMMENT ON DATABASE template0 IS 'held'";
        template.client.batch_execute(hold).await.unwrap();
        let mut creating = by_hand(&world, &[option]).spawn();
        wait_for_create(&world, &mut creating);
        let ended = match death {
            Death::Program => {
                assert_eq!(creating.kill().signal(), Some(9));
                // Also the one that waits: it looks for its client every second.
                wait::until("the sessions of the dead program to end", || {
                    let left = "SELECT count(*) FROM pg_stat_activity
                                WHERE application_name LIKE 'kubebackup%' AND application_name <> 'kubebackup test'";
                    on_server(&world, left) == "0"
                });
                None
            }
            Death::Server => {
                kill_server(&world.target);
                Some(creating.wait())
            }
            Death::Lock => {
                end_session(&world, if is_wipe { "guard" } else { "restore" });
                Some(creating.wait())
            }
        };
        drop(template);
        if matches!(death, Death::Server) {
            start_again(&mut world.target);
        }
        if let Some(ended) = ended {
            let ended = ended.expect(1);
            let said = &ended.stderr;
            assert!(said.contains(AWAY), "{what}: {said}");
            if is_wipe {
                assert_in_part(&ended, WIPE, &what);
            } else {
                assert!(
                    said.contains("error: create database \"shop_restored\": "),
                    "{what}: {said}"
                );
            }
        }
        if is_wipe {
            assert_eq!(
                world.restored_sql("TABLE earlier"),
                "1",
                "{what}: nothing was dropped yet"
            );
        } else {
            let there = "SELECT count(*) FROM pg_database WHERE datname = 'shop_restored'";
            assert_eq!(on_server(&world, there), "0", "{what}");
        }
        wait_for_sessions_to_end(&world);
        by_hand(&world, &[option]).run().ok();
        assert_whole(&world);
        assert_eq!((ours(&world).as_str(), others(&world)), ("", before), "{what}");
    }
}

#[test]
fn a_restore_killed_once_its_database_is_made_leaves_an_empty_one_that_the_next_is_told_to_use() {
    let world = world();
    on_server(&world, "DROP DATABASE shop_restored");
    let before = others(&world);
    let restoring = by_hand(&world, &["--create-database"]);
    let mut restoring = restoring.env("KUBEBACKUP_FAILPOINT", "after-create").spawn();
    restoring.wait_for("failpoint after-create");
    assert_eq!(restoring.kill().signal(), Some(9));
    wait_for_sessions_to_end(&world);
    let refused = by_hand(&world, &["--create-database"]).run().expect(6).stderr;
    assert!(
        refused.contains("database \"shop_restored\" exists already; choose another name, drop it, or restore without"),
        "{refused}"
    );
    by_hand(&world, &[]).run().ok();
    assert_whole(&world);
    assert_eq!(others(&world), before);
}

#[test]
fn whoever_dies_in_the_midst_of_a_drills_wipe_the_agents_next_one_certifies_and_nothing_else_is_gone() {
    let mut world = world();
    for joint in &JOINTS {
        for death in DEATHS {
            let what = format!("{death:?} at {}", joint.name);
            make_anew(&world, joint.is_replaced);
            let before = others(&world);
            let backup_id = world.back_up();
            let go = gate(&world);
            let point = failpoint(joint.name, &go);
            let soon = [
                ("KUBEBACKUP_RESTORE_AGENT_RETRY_FIRST", "1s"),
                ("KUBEBACKUP_RESTORE_AGENT_RETRY_MAX", "1s"),
            ];
            let variables = [&soon[..], &[("KUBEBACKUP_FAILPOINT", point.as_str())]].concat();
            let mut agent = AgentProcess::start(&world, "restore-agent", &variables);
            agent.wait_for(&format!("failpoint {}", joint.name));
            assert_in_the_midst(&world, joint);
            match death {
                Death::Program => {
                    agent.kill();
                    wait_for_sessions_to_end(&world);
                    agent = AgentProcess::start(&world, "restore-agent", &soon);
                }
                Death::Server => {
                    kill_server(&world.target);
                    fs::write(&go, "").unwrap();
                    agent.wait_for("drill ended");
                    start_again(&mut world.target);
                }
                Death::Lock => {
                    end_session(&world, "guard");
                    fs::write(&go, "").unwrap();
                }
            }
            wait::until("a certificate", || world.drills_ended(&backup_id, "certified") == 1);
            agent.stop();
            assert_eq!(world.drills_ended(&backup_id, "failed"), 0, "{what}");
            let interrupted = usize::from(!matches!(death, Death::Program));
            assert!(world.drills_ended(&backup_id, "unverified") >= interrupted, "{what}");
            assert_clean(&world, &before, &what);
        }
    }
}
