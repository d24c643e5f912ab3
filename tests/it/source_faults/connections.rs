//! The way to the server: refused, cut at any byte, hung, slow, and a byte changed on it.

use super::{Proxied, assert_failed, sessions};
use crate::connect::admit_tls;
use crate::support::tcp_proxy::{Fault, Seed, TcpProxy, Way};
use crate::support::{BACKUP_ROLE, Ended, World, wait};

/// About a megabyte and a half of COPY text.
const ROWS: &str =
    "CREATE TABLE t AS SELECT i, md5(i::text) AS a, repeat('x', 30) AS b FROM generate_series(1, 20000) i";

/// What was cut, by the words of its error.
#[track_caller]
fn struck(ground: &Proxied, purpose: &'static str, number: impl Into<Option<usize>>, fault: Fault) -> Ended {
    let before = ground.proxy.struck();
    ground.proxy.on(purpose, number, fault);
    let ended = ground.backup().run();
    assert!(
        ground.proxy.struck() > before,
        "{purpose} {fault:?} never struck: {}",
        ended.printed()
    );
    ground.proxy.clear();
    ended
}

#[test]
fn a_connection_that_is_cut_at_any_byte_of_its_copy_leaves_no_backup_and_the_next_run_is_whole() {
    let mut seed = Seed::new();
    let ground = Proxied::start(ROWS);
    ground.proxy.record("copy");
    ground.backup().run().ok();
    let stream = ground.proxy.recorded();
    let messages = messages(&stream);
    let rows: Vec<&Message> = messages.iter().filter(|message| message.kind == b'd').collect();
    assert_eq!(rows.len(), 20_000);
    let (first, last) = (rows[0], rows[rows.len() - 1]);
    // Before the first row, within a row's head and its text, between two rows, before the last byte of the last row.
    let mut cuts = vec![
        0,
        1,
        first.from,
        first.from + 2,
        first.from + 7,
        rows[1000].from,
        last.to - 1,
    ];
    cuts.extend((0..4).map(|_| seed.below(last.to)));
    for cut in cuts {
        let ended = struck(&ground, "copy", 0, Fault::Cut(Way::ToClient, cut));
        let words = if cut < first.from {
            "connect"
        } else {
            "copy table \"public\".\"t\""
        };
        assert_failed(&ground.world, &ended, (1, 1), &[]);
        assert!(
            ended.stderr.contains(words) || cut < first.from,
            "{cut}: {}",
            ended.stderr
        );
    }
    // All rows are there, and what follows them says nothing more about them.
    struck(&ground, "copy", 0, Fault::Cut(Way::ToClient, last.to + 5));
    ground.recovers();
}

#[test]
fn each_connection_of_a_backup_may_be_refused_or_cut_and_the_error_says_which_it_was() {
    let ground = Proxied::start("CREATE TABLE t AS SELECT i FROM generate_series(1, 1000) i");
    for (purpose, cut, words) in [
        ("backup", 0, "connect to 127.0.0.1"),
        ("snapshot", 0, "connect to 127.0.0.1"),
        ("snapshot", 4000, "shop"),
        ("client program", 0, "pg_dump"),
        ("client program", 4000, "pg_dump"),
        ("stability", 0, "connect to 127.0.0.1"),
        ("copy", 0, "connect to 127.0.0.1"),
    ] {
        for fault in [Fault::Refuse, Fault::Cut(Way::ToClient, cut)] {
            let ended = struck(&ground, purpose, 0, fault);
            assert_failed(&ground.world, &ended, (1, 0), &[words]);
        }
    }
    // Who looks after production is no part of the backup.
    let before = ground.world.keys("manifests/").len();
    struck(&ground, "watch", None, Fault::Refuse).ok();
    assert_eq!(ground.world.keys("manifests/").len(), before + 1);
    ground.recovers();
}

#[test]
fn the_session_that_holds_the_snapshot_is_named_when_it_is_cut_while_others_copy() {
    let ground = Proxied::start(ROWS);
    ground.proxy.record("snapshot");
    ground.backup().run().ok();
    let all = ground.proxy.recorded().len() as u64;
    ground.proxy.on("copy", 0, Fault::Slow(Way::ToClient, 16 * 1024));
    // Its last answer but one is to what is asked before the rows.
    let ended = struck(&ground, "snapshot", 0, Fault::Cut(Way::ToClient, all - 100));
    assert_failed(&ground.world, &ended, (1, 1), &["shop"]);
    ground.recovers();
}

#[test]
fn a_server_that_takes_connections_and_says_nothing_more_ends_a_backup_and_lets_go_of_its_sessions() {
    let ground = Proxied::start(ROWS);
    let mut backup = {
        ground.proxy.on("copy", 0, Fault::Hang(Way::ToClient, 500_000));
        ground.backup_with(1).spawn()
    };
    wait::until("the rows to hang", || ground.proxy.struck() > 0 || backup.has_ended());
    // From here on nobody is answered.
    ground.proxy.on("", None, Fault::Hang(Way::ToClient, 0));
    let ended = backup.wait();
    assert_failed(&ground.world, &ended, (1, 0), &["has stopped answering"]);
    wait::until("its sessions to be gone", || sessions(&ground.world.source) == "0");
    ground.recovers();
}

#[test]
fn a_connection_that_hangs_while_the_server_answers_ends_with_the_backups_longest_duration() {
    let ground = Proxied::start(ROWS);
    ground.proxy.on("copy", 0, Fault::Hang(Way::ToClient, 500_000));
    let ended = ground.backup().env("KUBEBACKUP_BACKUP_MAX_DURATION", "10s").run();
    assert_failed(&ground.world, &ended, (7, 0), &["backup.max_duration"]);
    assert_eq!(ground.proxy.struck(), 1, "{}", ended.printed());
    ground.recovers();
}

#[test]
fn a_slow_connection_makes_a_slow_backup_and_a_whole_one() {
    let ground = Proxied::start(ROWS);
    for purpose in ["copy", "client program", "snapshot"] {
        ground.proxy.on(purpose, None, Fault::Slow(Way::ToClient, 8 * 1024));
    }
    ground.backup().run().ok();
    ground.world.mark_targets();
    ground.world.program(&["drill"]).run().ok();
}

/// One message of the server.
struct Message {
    kind: u8,
    /// Of its first byte, in the stream.
    from: u64,
    to: u64,
}

/// The stream is that of a session that began without encryption.
fn messages(stream: &[u8]) -> Vec<Message> {
    let (mut messages, mut rest, mut from) = (Vec::new(), stream, 0);
    while let [kind, a, b, c, d, ..] = *rest {
        let length = u64::from(u32::from_be_bytes([a, b, c, d])) + 1;
        messages.push(Message {
            kind,
            from,
            to: from + length,
        });
        from += length;
        rest = rest.get(usize::try_from(length).unwrap()..).unwrap_or_default();
    }
    messages
}

/// The rows of a backup's table as they come, each where it lies in the stream.
fn rows_on_their_way(ground: &Proxied) -> Vec<Message> {
    ground.proxy.record("copy");
    ground.backup().run().ok();
    let mut messages = messages(&ground.proxy.recorded());
    messages.retain(|message| message.kind == b'd');
    messages
}

/// What the protocol or the text's own shape gives away.
#[test]
fn a_byte_changed_on_an_unencrypted_way_is_noticed_where_the_protocol_can_notice_it() {
    let ground = Proxied::start(ROWS);
    let row = &rows_on_their_way(&ground)[5000];
    for (at, mask) in [
        // The message's kind, its length by one and by 256, and the line break that ends the row.
        (row.from, 0x20),
        (row.from + 4, 0x01),
        (row.from + 3, 0x01),
        (row.to - 1, 0x01),
    ] {
        let ended = struck(&ground, "copy", 0, Fault::Corrupt(Way::ToClient, at, mask));
        assert_failed(&ground.world, &ended, (1, 1), &["copy table \"public\".\"t\""]);
    }
    ground.recovers();
}

/// The client waits for what does not come, and the server for the client: nothing but the limit on the whole run ends it.
#[test]
fn a_message_whose_length_grew_on_its_way_is_waited_for_as_long_as_a_backup_may_take_and_leaves_none() {
    let ground = Proxied::start(ROWS);
    let last = rows_on_their_way(&ground).pop().unwrap();
    let grown = |mask| Fault::Corrupt(Way::ToClient, last.from + 1, mask);
    let before = ground.proxy.struck();
    ground.proxy.on("copy", 0, grown(0x01));
    let ended = ground.backup().env("KUBEBACKUP_BACKUP_MAX_DURATION", "10s").run();
    assert_failed(&ground.world, &ended, (7, 1), &["backup.max_duration"]);
    assert_eq!(ground.proxy.struck(), before + 1, "{}", ended.printed());
    ground.proxy.clear();
    // No server sends so much: known at once.
    let ended = struck(&ground, "copy", 0, grown(0x40));
    assert_failed(&ground.world, &ended, (1, 1), &["copy table \"public\".\"t\""]);
    ground.recovers();
}

/// The limit of all of this, and why docs/reliability/source.md asks for a socket, loopback or TLS: the fingerprint is that of
/// what arrived.
#[test]
fn a_byte_changed_within_a_row_on_an_unencrypted_way_is_stored_as_it_came_and_nobody_can_know() {
    let ground = Proxied::start("CREATE TABLE t AS SELECT 'a value that is known' AS v");
    ground.proxy.record("copy");
    ground.backup().run().ok();
    let stream = ground.proxy.recorded();
    let at = stream.windows(7).position(|text| text == b"a value").unwrap() as u64;
    struck(&ground, "copy", 0, Fault::Corrupt(Way::ToClient, at, 0x03)).ok();
    ground.world.mark_targets();
    ground.world.program(&["drill", "--keep"]).run().ok();
    assert_eq!(ground.world.restored_sql("TABLE t"), "b value that is known");
}

#[test]
fn a_byte_changed_on_an_encrypted_way_is_always_noticed() {
    let world = World::start();
    world.source_sql(ROWS);
    admit_tls(&world.source, world.directory());
    let proxy = TcpProxy::start_for_tls(world.source.port());
    let backup = || {
        let dsn = format!(
            "host=127.0.0.1 port={} user={BACKUP_ROLE} dbname=shop sslmode=require",
            proxy.port()
        );
        world
            .program(&["backup", "--jobs", "1"])
            .env("KUBEBACKUP_SOURCE_DSN", &dsn)
    };
    let mut seed = Seed::new();
    // So far only two connections get: that of `pg_dump` and that of the rows.
    for at in [500_000, 1_400_000, 400_000 + seed.below(1_000_000)] {
        let before = proxy.struck();
        proxy.on("encrypted", None, Fault::Corrupt(Way::ToClient, at, 0x01));
        let ended = backup().run();
        assert!(proxy.struck() > before, "{at}: {}", ended.printed());
        assert_failed(&world, &ended, (1, 0), &[]);
        let names = ["pg_dump", "copy table \"public\".\"t\""];
        assert!(
            names.iter().any(|name| ended.stderr.contains(name)),
            "{at}: {}",
            ended.stderr
        );
        proxy.clear();
    }
    backup().run().ok();
}
