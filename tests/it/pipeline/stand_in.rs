//! A cluster for the pipeline's scripts: a `kubectl` on this machine whose pods are the real program as processes here.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use kubebackup::demo::Ground;

pub(super) const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Dropped, it is gone; processes that play pods belong to the test.
pub(super) struct StandIn {
    ground: Ground,
}

/// A script's end, and what it printed.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl StandIn {
    pub(super) fn new() -> Self {
        let ground = Ground::new().unwrap();
        fs::write(ground.path().join("calls"), "").unwrap();
        Self { ground }
    }

    /// `pid` and `port` are those of the agent that runs there.
    pub(super) fn add_pod(&self, namespace: &str, config: &str, pid: i32, port: u16) {
        let pod = self.ground.path().join(namespace);
        fs::create_dir_all(&pod).unwrap();
        for (name, value) in [
            ("config", config),
            ("pid", &pid.to_string()),
            ("port", &port.to_string()),
        ] {
            fs::write(pod.join(name), value).unwrap();
        }
    }

    /// `scripts/ci/<name>` with the variables of a CI job and those given.
    pub(super) fn script(&self, name: &str, variables: &[(&str, &str)]) -> Command {
        self.prepare(&format!("{ROOT}/scripts/ci/{name}"), variables)
    }

    /// A piece of shell as a page or a CI job gives it, in `directory`, where `kubectl` is the stand-in.
    pub(super) fn shell(&self, script: &str, directory: &Path) -> Ended {
        let path = format!("{ROOT}/tests/it/pipeline:{}", std::env::var("PATH").unwrap());
        let mut command = self.prepare("bash", &[("PATH", &path)]);
        command.args(["-eo", "pipefail", "-c", script]).current_dir(directory);
        Ended::of(&command.output().unwrap())
    }

    fn prepare(&self, program: &str, variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new(program);
        command
            .env("KUBECTL", format!("{ROOT}/tests/it/pipeline/kubectl"))
            .env("CLUSTER", self.ground.path())
            .env("PROGRAM", env!("CARGO_BIN_EXE_kubebackup"))
            .env("KUSTOMIZE", format!("{ROOT}/target/tools/bin/kustomize"))
            .env("POLL_SECONDS", "0.1")
            .envs(crate::support::S3::credentials())
            .envs(variables.iter().copied())
            .stdin(Stdio::null());
        command
    }

    pub(super) fn run(&self, name: &str, variables: &[(&str, &str)]) -> Ended {
        Ended::of(&self.script(name, variables).output().unwrap())
    }

    /// An executable file that a script calls instead of a program of that name.
    pub(super) fn program(&self, name: &str, script: &str) -> PathBuf {
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = self.ground.path().join(name);
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(&path)
            .unwrap();
        file.write_all(script.as_bytes()).unwrap();
        path
    }

    /// The arguments of every call of kubectl, one line each.
    pub(super) fn calls(&self) -> String {
        fs::read_to_string(self.ground.path().join("calls")).unwrap()
    }

    /// What was applied, in order.
    pub(super) fn applied(&self) -> Vec<String> {
        let directory = self.ground.path().join("applied");
        (0..)
            .map_while(|number| fs::read_to_string(directory.join(number.to_string())).ok())
            .collect()
    }
}

impl Ended {
    pub(super) fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// # Panics
    /// With everything that was printed, unless it ended with `code`.
    #[track_caller]
    pub(super) fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "--- stdout\n{}\n--- stderr\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    pub(super) fn printed(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}
