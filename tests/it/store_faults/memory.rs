//! A bad bucket holds the work back, and nothing piles up meanwhile.

use super::Ground;
use super::agents::{EAGER, LONG};
use crate::facts_memory::{MIB, peak_until_its_end};
use crate::support::agents::AgentProcess;
use crate::support::s3_proxy::{Fault, Rule, refusals};
use crate::support::wait;

/// Bytes a second of each upload. Two go on at once, so that the bucket takes a third of what a dump here gives at least.
const SLOW: u64 = 2 * MIB;

/// Small chunks, so that every buffer is full early and chance decides nothing.
const SMALL_CHUNKS: [(&str, &str); 4] = [
    ("KUBEBACKUP_BACKUP_CHUNK_MIN_BYTES", "256KiB"),
    ("KUBEBACKUP_BACKUP_CHUNK_MEAN_BYTES", "1MiB"),
    ("KUBEBACKUP_BACKUP_CHUNK_MAX_BYTES", "2MiB"),
    ("KUBEBACKUP_REPOSITORY_READ_TIMEOUT", "30s"),
];

/// What a backup stored, how long it took, and what its process held at most.
fn backed_up(ground: &Ground, database: &str) -> (u64, f64, u64) {
    let arguments = ["--output", "json", "backup", "--jobs", "2", "--database", database];
    let backup = ground.program(&arguments).envs(SMALL_CHUNKS).run().ok().json();
    let number = |value: &serde_json::Value| value.as_u64().unwrap();
    let stored = number(&backup["stats"]["new_bytes"]);
    let seconds = backup["stats"]["duration_seconds"].as_f64().unwrap();
    let peak = number(&backup["peak_memory_bytes"]);
    println!("{} MiB in {seconds:.1} s with {} MiB at most", stored / MIB, peak / MIB);
    (stored, seconds, peak)
}

#[test]
fn a_slow_bucket_throttles_the_dump_and_the_memory_does_not_grow() {
    let ground = Ground::new();
    for database in ["quick", "slow"] {
        let create = format!("CREATE DATABASE {database}");
        ground.world.source.sql("postgres", &create).unwrap();
        // Of other rows, or the second would be the first's.
        let fill = format!(
            "CREATE TABLE a AS SELECT i, (SELECT string_agg(md5('{database}' || i::text || j), '')
                 FROM generate_series(1, 31) j) AS text FROM generate_series(1, 40 * 1024) i"
        );
        ground.world.source.sql(database, &fill).unwrap();
    }
    let (stored, _, peak) = backed_up(&ground, "quick");
    assert!(stored > 15 * MIB, "{stored}");
    ground
        .proxy
        .script(Rule::first("PutObject", "it/chunks", Fault::Slow(SLOW)).always());
    let (stored, seconds, slow_peak) = backed_up(&ground, "slow");
    // Three at once at most: one for each job and one that is being stored while the next is filled.
    let least = f64::from(u32::try_from(stored / (3 * SLOW)).unwrap());
    assert!(
        seconds > least,
        "{seconds} s where the bucket cannot take it in less than {least} s"
    );
    assert!(
        slow_peak < peak + 8 * MIB,
        "{} MiB against {} MiB",
        slow_peak / MIB,
        peak / MIB
    );
    ground.proxy.clear();
    ground.assert_sound();
}

/// COPY text that zstd halves, of other rows for each `seed`.
fn fill(ground: &Ground, seed: &str) {
    ground.world.source_sql(&format!(
        "DROP TABLE IF EXISTS a;
         CREATE TABLE a AS SELECT i, (SELECT string_agg(md5('{seed}' || i::text || j), '')
             FROM generate_series(1, 31) j) AS text FROM generate_series(1, 90 * 1024) i"
    ));
}

/// Every chunk comes slowly; or the first two requests for each kind of chunk meet the fault, which are fewer than a request
/// has attempts. Names begin with two digits.
fn bad_store(ground: &Ground, operation: &'static str, fault: Fault) {
    if matches!(fault, Fault::Slow(_)) {
        return ground.proxy.script(Rule::first(operation, "it/chunks", fault).always());
    }
    for beginning in 0..=u8::MAX {
        let kind = format!("it/chunks/{beginning:02x}");
        ground.proxy.script(Rule::first(operation, kind, fault).times(2));
    }
}

/// The largest of [`SMALL_CHUNKS`].
const CHUNK_MAX: u64 = 2 * MIB;

/// What `ARCHITECTURE.md` gives a backup of two jobs: three raw buffers, the stored bytes on their way, and a chunk a buffer
/// where nothing can be compressed.
const BACKUP_POOL: u64 = (3 + 1 + 3) * CHUNK_MAX;

/// And a restore of two jobs: a chunk in hand and one that is fetched, with a mebibyte of decompressed pieces.
const RESTORE_POOL: u64 = 2 * (2 * CHUNK_MAX + MIB);

/// A bad store adds less to a quiet run's peak than its pool; what piled up would be all that it has to move, over and over.
#[track_caller]
fn assert_bounded(what: &str, quiet: u64, peak: u64, pool: u64) {
    println!("{what}: {} KiB against {} KiB", peak / 1024, quiet / 1024);
    assert!(
        peak < quiet + pool,
        "{what}: {} KiB against {} KiB",
        peak / 1024,
        quiet / 1024
    );
}

/// What an agent that starts now has held at most when it has made its first backup; before that, `until` is so.
fn peak_of_agent(ground: &Ground, mut until: impl FnMut() -> bool) -> u64 {
    let before = ground.manifests().len();
    let [endpoint] = ground.proxy.variables();
    let jobs = ("KUBEBACKUP_BACKUP_JOBS", "2");
    let variables = [&SMALL_CHUNKS[..], &EAGER, &[endpoint, jobs]].concat();
    let agent = AgentProcess::start(&ground.world, "backup-agent", &variables);
    wait::until("the store to have been bad enough", &mut until);
    wait::for_some_within(LONG, "a backup", || (ground.manifests().len() > before).then_some(()));
    let peak = agent.peak();
    agent.stop();
    peak
}

#[test]
fn the_peak_of_a_backup_agent_stays_within_its_pool_however_the_bucket_behaves() {
    let ground = Ground::new();
    let struck = |times: usize| ground.proxy.struck().len() > times;
    fill(&ground, "quiet");
    let quiet = peak_of_agent(&ground, || true);
    for (what, fault) in [
        ("slow", Fault::Slow(SLOW)),
        ("busy", refusals::SLOW_DOWN),
        ("cut", Fault::CutRequest(300_000)),
    ] {
        fill(&ground, what);
        bad_store(&ground, "PutObject", fault);
        let before = ground.proxy.struck().len();
        let peak = peak_of_agent(&ground, || true);
        assert!(struck(before + 40), "{what}");
        ground.proxy.clear();
        assert_bounded(what, quiet, peak, BACKUP_POOL);
    }
    // Several runs fail, each after all its attempts, before one comes to its end.
    fill(&ground, "away");
    ground
        .proxy
        .script(Rule::first("PutObject", "it/chunks", refusals::UNAVAILABLE).always());
    let before = ground.proxy.struck().len();
    let peak = peak_of_agent(&ground, || {
        let is_enough = struck(before + 50);
        if is_enough {
            ground.proxy.clear();
        }
        is_enough
    });
    assert_bounded("away", quiet, peak, BACKUP_POOL);
    ground.assert_sound();
}

#[test]
fn the_peak_of_a_drill_stays_within_its_pool_however_the_bucket_behaves() {
    let ground = Ground::new();
    fill(&ground, "drilled");
    ground.program(&["backup"]).envs(SMALL_CHUNKS).run().ok();
    let peak_of_drill = || {
        let (ended, peak) = peak_until_its_end(ground.program(&["drill", "--jobs", "2"]).spawn());
        ended.ok();
        peak
    };
    let quiet = peak_of_drill();
    for (what, fault) in BAD_TO_READ {
        bad_store(&ground, "GetObject", fault);
        let before = ground.proxy.struck().len();
        let peak = peak_of_drill();
        assert!(ground.proxy.struck().len() > before + 40, "{what}");
        ground.proxy.clear();
        assert_bounded(what, quiet, peak, RESTORE_POOL);
    }
}

/// What bad stores do to whoever reads chunks, with what that is called.
const BAD_TO_READ: [(&str, Fault); 3] = [
    ("slow", Fault::Slow(SLOW)),
    ("busy", refusals::SLOW_DOWN),
    ("cut", Fault::CutAnswer(300_000)),
];

#[test]
fn the_peak_of_a_restore_agent_stays_within_its_pool_however_the_bucket_behaves() {
    let ground = Ground::new();
    let peak_of_agent = |rows: &str, make_bad: &dyn Fn()| {
        fill(&ground, rows);
        ground.program(&["backup"]).envs(SMALL_CHUNKS).run().ok();
        make_bad();
        let before = ground.certificates().len();
        let [endpoint] = ground.proxy.variables();
        let jobs = ("KUBEBACKUP_DRILL_JOBS", "2");
        let variables = [&SMALL_CHUNKS[..], &EAGER, &[endpoint, jobs]].concat();
        let agent = AgentProcess::start(&ground.world, "restore-agent", &variables);
        wait::for_some_within(LONG, "a verdict", || {
            (ground.certificates().len() > before).then_some(())
        });
        let peak = agent.peak();
        agent.stop();
        peak
    };
    let quiet = peak_of_agent("quiet", &|| {});
    for (what, fault) in BAD_TO_READ {
        let before = ground.proxy.struck().len();
        let peak = peak_of_agent(what, &|| bad_store(&ground, "GetObject", fault));
        assert!(ground.proxy.struck().len() > before + 40, "{what}");
        ground.proxy.clear();
        assert_bounded(what, quiet, peak, RESTORE_POOL);
    }
    assert!(ground.certificates().iter().all(|key| key.ends_with(".certified.json")));
}

#[test]
fn the_peak_of_a_restore_by_hand_stays_within_its_pool_however_the_bucket_behaves() {
    let ground = Ground::new();
    fill(&ground, "restored");
    ground.program(&["backup"]).envs(SMALL_CHUNKS).run().ok();
    let cluster = &ground.world.target;
    let into = cluster.dsn(cluster.superuser(), "emergency");
    let peak_of_restore = || {
        let restore = ["restore", "--jobs", "2", "--into", &into, "--create-database"];
        let program = ground.program(&restore).env("PGPASSWORD", cluster.password());
        let (ended, peak) = peak_until_its_end(program.spawn());
        ended.ok();
        cluster.sql("postgres", "DROP DATABASE emergency").unwrap();
        peak
    };
    let quiet = peak_of_restore();
    for (what, fault) in BAD_TO_READ {
        bad_store(&ground, "GetObject", fault);
        let before = ground.proxy.struck().len();
        let peak = peak_of_restore();
        assert!(ground.proxy.struck().len() > before + 40, "{what}");
        ground.proxy.clear();
        assert_bounded(what, quiet, peak, RESTORE_POOL);
    }
}
