//! PostgreSQL's own client programs, of the server's own major version.
//!
//! They get the password through their environment, never through arguments, and what they print is kept in memory:
//! nothing touches a disk. A program that is cancelled is killed, with the processes that it has made.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use bytes::Bytes;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use super::connect::ConnectOptions;
use super::error::{Error, Result};
use super::said::{Said, remarks};

/// Among a session's options.
const ENGLISH: &str = " -c lc_messages=C";

/// `pg_dump` and `pg_restore` of one major version.
#[derive(Clone, Debug)]
pub struct ClientPrograms {
    directory: PathBuf,
    /// Major version of both.
    pub major: u32,
    /// What `pg_dump --version` says.
    pub version: String,
    /// Their sessions ask for messages in English.
    is_english: bool,
}

/// What a program printed when it ended well.
pub struct Printed {
    pub stdout: Bytes,
    /// Lines of stderr, warnings for the most part. The caller classifies them; none is ignored silently, and none is shown
    /// as it is.
    pub(super) stderr: Vec<String>,
}

impl Printed {
    /// What may be told of stderr.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        remarks(&self.stderr)
    }
}

impl fmt::Debug for Printed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Printed({} bytes, {:?})", self.stdout.len(), self.remarks())
    }
}

impl ClientPrograms {
    /// Finds the programs of `server_major`: in `directory` if given, else where Debian and Alpine keep each major, else
    /// on `PATH`.
    ///
    /// # Errors
    /// `Error::Settings` when that major is not there, naming what was found.
    pub async fn find(server_major: u32, directory: Option<&Path>) -> Result<Self> {
        let mut found = Vec::new();
        for candidate in candidates(server_major, directory) {
            let Some(version) = version_of(&candidate.join("pg_dump")).await else {
                continue;
            };
            match major_of(&version) {
                Some(major) if major == server_major && candidate.join("pg_restore").exists() => {
                    return Ok(Self {
                        directory: candidate,
                        major,
                        version,
                        is_english: false,
                    });
                }
                _ => found.push(version),
            }
        }
        Err(Error::Settings(format!(
            "no pg_dump and pg_restore of PostgreSQL {server_major} found (found: {}); install \
             postgresql-client-{server_major} or set the bin_directory of source or target",
            if found.is_empty() {
                "none".to_owned()
            } else {
                found.join(", ")
            }
        )))
    }

    /// What the server says to them comes in English, the one language in which it is understood (`Circumstance`), if the
    /// role may choose: a superuser may (`lc_messages`).
    #[must_use]
    pub fn in_english(self, may_choose: bool) -> Self {
        Self {
            is_english: may_choose,
            ..self
        }
    }

    /// Runs one of them against the server of `options` and waits for it; dropped before the end, it is killed.
    ///
    /// # Errors
    /// `Error::Program` with what may be told of the program's words when it cannot start or does not exit 0.
    pub async fn run(
        &self,
        program: &Path,
        arguments: &[OsString],
        options: Option<&ConnectOptions>,
    ) -> Result<Printed> {
        run_program(program, arguments, options, self.language()).await
    }

    /// For a connection string, which leaves out what the environment says.
    pub(super) fn language(&self) -> &'static str {
        if self.is_english { ENGLISH } else { "" }
    }

    #[must_use]
    pub fn pg_dump(&self) -> PathBuf {
        self.directory.join("pg_dump")
    }

    #[must_use]
    pub fn pg_restore(&self) -> PathBuf {
        self.directory.join("pg_restore")
    }
}

async fn run_program(
    program: &Path,
    arguments: &[OsString],
    options: Option<&ConnectOptions>,
    language: &str,
) -> Result<Printed> {
    let name = program
        .file_name()
        .map_or_else(|| "program".into(), |name| name.to_string_lossy().into_owned());
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // `pg_restore -j` works in processes of its own, which would go on without it: they are ended as a group.
        .process_group(0)
        .kill_on_drop(true);
    for variable in ["PGOPTIONS", "PGSERVICE", "PGSERVICEFILE", "PGHOSTADDR", "PGPASSWORD"] {
        command.env_remove(variable);
    }
    command.env("LC_ALL", "C").env("TZ", "UTC");
    if let Some(options) = options {
        command.envs(options.child_environment(language)?);
    }
    let failed = |error: std::io::Error| Error::Program {
        program: name.clone(),
        message: Said::ours(format!("cannot be run: {error}")),
    };
    let child = command.spawn().map_err(failed)?;
    let group = Group::of(&child);
    let output = child.wait_with_output().await.map_err(failed)?;
    group.has_ended();
    let stderr: Vec<String> = String::from_utf8_lossy(&output.stderr)
        .lines()
        .map(str::to_owned)
        .collect();
    if !output.status.success() {
        return Err(Error::Program {
            program: name,
            message: Said::of(&output.status.to_string(), &stderr),
        });
    }
    Ok(Printed {
        stdout: output.stdout.into(),
        stderr,
    })
}

/// A program's processes. Dropped before its end, they are told to end: each then cancels what its session does.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }

    fn has_ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Those that have ended by themselves cannot be told.
            let _ = killpg(group, Signal::SIGTERM);
        }
    }
}

/// Bytes that a program can open by path although they are on no disk (`pg_restore -j` refuses standard input).
#[derive(Debug)]
pub struct MemoryFile {
    file: File,
}

impl MemoryFile {
    /// Holds `contents` under `/proc/<this process>/fd/<n>` until dropped.
    ///
    /// # Errors
    /// `Error::Program` when the kernel gives no memory file.
    pub fn new(contents: &[u8]) -> Result<Self> {
        let failed = |error: std::io::Error| Error::Program {
            program: "memfd_create".to_owned(),
            // As of a program that this machine's limits do not let begin.
            message: Said::ours(format!("cannot be run: {error}")),
        };
        let descriptor = memfd_create(c"kubebackup", MFdFlags::MFD_CLOEXEC).map_err(|errno| failed(errno.into()))?;
        let mut file = File::from(descriptor);
        file.write_all(contents).map_err(failed)?;
        Ok(Self { file })
    }

    #[must_use]
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()).into()
    }
}

fn candidates(major: u32, directory: Option<&Path>) -> Vec<PathBuf> {
    if let Some(directory) = directory {
        return vec![directory.to_owned()];
    }
    let mut candidates = vec![
        PathBuf::from(format!("/usr/lib/postgresql/{major}/bin")),
        PathBuf::from(format!("/usr/libexec/postgresql{major}")),
        PathBuf::from(format!("/usr/pgsql-{major}/bin")),
    ];
    candidates.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    candidates
}

async fn version_of(program: &Path) -> Option<String> {
    let output = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .await
        .ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn major_of(version: &str) -> Option<u32> {
    let number = version
        .split_whitespace()
        .find(|word| word.starts_with(|first: char| first.is_ascii_digit()))?;
    number
        .split(|character: char| !character.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_the_program_says() {
        assert_eq!(
            major_of("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"),
            Some(15)
        );
        assert_eq!(major_of("pg_dump (PostgreSQL) 17beta1"), Some(17));
        assert_eq!(major_of("something else"), None);
    }
}
