//! Names and documents that try to become SQL: from a real source through a whole round trip, and from a manifest that
//! somebody forged. Whatever is injected would leave a trace that nothing else does.

mod bombs;
mod forged;
mod keys;
mod names;

use kubebackup::demo::Cluster;
use kubebackup::telemetry::plain;

/// What injected SQL tries to make.
const TRACE: &str = "pwned";

/// Ways out of a quoted name, a literal, a dollar quote, a comment, a format string, a connection string, a shell, a line.
const WAYS_OUT: [&str; 12] = [
    "q\"; CREATE ROLE pwned; --",
    "l'; CREATE ROLE pwned; --",
    "e\\'; CREATE ROLE pwned; --",
    "$$; CREATE ROLE pwned; --",
    "$q$; CREATE ROLE pwned; --",
    "c*/ CREATE ROLE pwned; /*",
    "p) TO PROGRAM 'touch pwned' --",
    "%I %s %1$L {0} ${x} `touch pwned`",
    "n\n; CREATE ROLE pwned;\r\n\\! touch pwned\n--",
    "host=pwned.invalid dbname=x",
    "ünï \u{202e}\u{200b}‘\u{ff02}; CREATE ROLE pwned; --",
    "63 bytes, to the last: \"\"'';;$$\\\\ ---- CREATE ROLE pwned; -- xx",
];

/// Fit for a terminal, and no line of it was begun by what a name holds behind a line break.
#[track_caller]
fn assert_plain(stdout: &str) {
    let moves = stdout
        .chars()
        .find(|character| *character != '\n' && plain::moves(*character));
    assert_eq!(moves, None, "{stdout:?}");
    let forged = stdout.lines().find(|line| line.starts_with([';', '\\', '-']));
    assert_eq!(forged, None, "{stdout}");
}

/// Nothing that was injected has been done on this server.
#[track_caller]
fn assert_no_trace(cluster: &Cluster) {
    let found = cluster
        .sql(
            "postgres",
            &format!(
                "SELECT 'role' FROM pg_roles WHERE rolname = '{TRACE}'
                 UNION ALL SELECT 'database' FROM pg_database WHERE datname = '{TRACE}'
                 UNION ALL SELECT 'file' FROM pg_ls_dir('.') f WHERE f ~ '{TRACE}'"
            ),
        )
        .unwrap();
    assert_eq!(found, "");
}
