//! What Prometheus' own tool says of a scrape, and a scrape's series for whoever looks at single ones.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// # Panics
/// With what `promtool check metrics` finds wrong.
#[track_caller]
pub(crate) fn check_metrics(exposition: &str) {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]);
    promtool
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = promtool.spawn().expect("promtool is there; `make setup` installs it");
    child.stdin.take().unwrap().write_all(exposition.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success() && said.is_empty(), "{said}\n{exposition}");
}

/// Series as they are written, with their values.
pub(crate) fn series(exposition: &str) -> BTreeMap<String, f64> {
    let lines = exposition.lines().filter(|line| !line.starts_with('#'));
    let series = lines.filter_map(|line| line.rsplit_once(' '));
    series
        .map(|(series, value)| (series.to_owned(), value.parse().unwrap()))
        .collect()
}

/// The metrics' names.
pub(crate) fn names(exposition: &str) -> std::collections::BTreeSet<String> {
    let name = |series: &String| series.split('{').next().unwrap().to_owned();
    series(exposition).keys().map(name).collect()
}
