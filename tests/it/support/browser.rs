//! A real browser without a window.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::wait;

/// The names that distributions give it.
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// The document as the browser has it once `url` is loaded in a window of that width.
#[track_caller]
pub(crate) fn dump_dom(url: &str, width: u32) -> String {
    // A profile of its own, so that neither another test's nor the user's browser is asked.
    let profile = tempfile::tempdir().unwrap();
    let output = profile.path().join("dom.html");
    let mut command = Command::new(find());
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
    command.args([
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
    ]);
    command.arg(format!("--user-data-dir={}", profile.path().join("profile").display()));
    command.arg(format!("--window-size={width},900"));
    command.args(["--dump-dom", url]);
    command.stdin(Stdio::null()).stderr(Stdio::null());
    command.stdout(std::fs::File::create(&output).unwrap());
    let mut child = command.spawn().unwrap();
    let status = wait::for_some_within(Duration::from_mins(2), "the browser to end", || {
        child.try_wait().unwrap()
    });
    assert!(status.success(), "the browser ended with {status}");
    std::fs::read_to_string(output).unwrap()
}

fn find() -> &'static str {
    let runs = |name: &&&str| {
        let version = Command::new(**name).arg("--version").output();
        version.is_ok_and(|output| output.status.success())
    };
    NAMES
        .iter()
        .find(runs)
        .expect("chromium is there; `make setup` installs it")
}
