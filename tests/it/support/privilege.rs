//! What can be set up only by who may mount.

use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::geteuid;

/// Tells that something is not shown here. A pipeline that cannot show it must say that it knows.
pub(crate) fn not_shown(what: &str, why: &str) {
    eprintln!("{what} is not shown: {why}");
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    assert!(
        !is_set("CI") || is_set("KUBEBACKUP_TEST_MAY_SKIP"),
        "{why}; run as one who may, or set KUBEBACKUP_TEST_MAY_SKIP=1"
    );
}

/// An `/etc/hosts` of its own for a program, empty at first.
pub(crate) struct OwnHosts {
    file: PathBuf,
}

/// Mounts its first argument as the hosts file and becomes the program that follows.
const MOUNT: &str = r#"mount --bind "$0" /etc/hosts && exec "$@""#;

impl OwnHosts {
    /// None where a program cannot be given one; says so.
    pub(crate) fn new(directory: &Path) -> Option<Self> {
        let file = directory.join("hosts");
        std::fs::write(&file, "").unwrap();
        let hosts = Self { file };
        let (unshare, arguments) = ("unshare", &hosts.starter()[1..]);
        let tried = Command::new(unshare).args(arguments).arg("true").output();
        let why = match tried {
            Ok(output) if output.status.success() => return Some(hosts),
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        not_shown("a name that resolves late", &why);
        None
    }

    /// What starts a program with it.
    pub(crate) fn starter(&self) -> Vec<String> {
        let mut starter = vec!["unshare", "--mount"];
        if !geteuid().is_root() {
            starter.push("--map-root-user");
        }
        let file = self.file.to_string_lossy();
        starter.extend(["sh", "-c", MOUNT, &file]);
        starter.into_iter().map(str::to_owned).collect()
    }

    /// From now on `name` is this machine's.
    pub(crate) fn add(&self, name: &str) {
        std::fs::write(&self.file, format!("127.0.0.1 {name}\n")).unwrap();
    }
}
