//! Which process is the agent: by its name and arguments in `/proc`.

use std::fs;
use std::path::Path;

use anyhow::bail;
use nix::unistd::Pid;

/// The program's name as the kernel keeps it.
const NAME: &str = "kubebackup";
const VERBS: [&[u8]; 2] = [b"backup-agent", b"restore-agent"];

/// Where the kernel shows its processes.
const PROC: &str = "/proc";

/// The process asked for, else process 1, else the only agent there is.
pub(super) fn find(asked: Option<i32>) -> anyhow::Result<Pid> {
    find_in(Path::new(PROC), asked)
}

fn find_in(proc: &Path, asked: Option<i32>) -> anyhow::Result<Pid> {
    if let Some(pid) = asked {
        if !is_agent_in(proc, pid) {
            bail!("process {pid} is no agent");
        }
        return Ok(Pid::from_raw(pid));
    }
    if is_agent_in(proc, 1) {
        return Ok(Pid::from_raw(1));
    }
    match running(proc)?.as_slice() {
        [] => bail!("no agent runs here"),
        [pid] => Ok(Pid::from_raw(*pid)),
        several => bail!("several agents run here (processes {several:?}); choose one with --pid"),
    }
}

fn running(proc: &Path) -> anyhow::Result<Vec<i32>> {
    let mut running = Vec::new();
    for entry in fs::read_dir(proc)? {
        let name = entry?.file_name();
        if let Some(pid) = name.to_str().and_then(|name| name.parse().ok())
            && is_agent_in(proc, pid)
        {
            running.push(pid);
        }
    }
    running.sort_unstable();
    Ok(running)
}

/// A process that has ended meanwhile, or that may not be looked at, is none.
pub(super) fn is_agent(pid: i32) -> bool {
    is_agent_in(Path::new(PROC), pid)
}

fn is_agent_in(proc: &Path, pid: i32) -> bool {
    let process = proc.join(pid.to_string());
    let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
    name.trim_end() == NAME && is_agents_command(&fs::read(process.join("cmdline")).unwrap_or_default())
}

/// Arguments end with a zero each. An option's value could be called like a verb; nobody calls a file so.
fn is_agents_command(command: &[u8]) -> bool {
    let mut arguments = command.split(|byte| *byte == 0).skip(1);
    arguments.any(|argument| VERBS.contains(&argument))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_known_by_its_verb() {
        assert!(is_agents_command(b"/kubebackup\0--config\0f.yaml\0backup-agent\0"));
        assert!(is_agents_command(b"kubebackup\0restore-agent\0"));
        assert!(!is_agents_command(b"kubebackup\0trigger\0--wait\0"));
        assert!(!is_agents_command(b"backup-agent\0"));
        assert!(!is_agents_command(b""));
    }

    /// As the kernel would show these processes.
    fn proc_of(processes: &[(i32, &str, &str)]) -> tempfile::TempDir {
        let proc = tempfile::tempdir().unwrap();
        for (pid, name, command) in processes {
            let process = proc.path().join(pid.to_string());
            fs::create_dir(&process).unwrap();
            fs::write(process.join("comm"), format!("{name}\n")).unwrap();
            fs::write(process.join("cmdline"), command).unwrap();
        }
        fs::create_dir(proc.path().join("self")).unwrap();
        proc
    }

    #[test]
    fn process_1_comes_first_then_the_only_agent_and_among_several_nobody() {
        let agent = |pid| (pid, "kubebackup", "/usr/bin/kubebackup\0backup-agent\0");
        let postgres = (1, "postgres", "postgres\0-D\0/data\0");
        let found = |processes: &[_]| {
            let proc = proc_of(processes);
            find_in(proc.path(), None).map(Pid::as_raw)
        };
        assert_eq!(found(&[agent(1), agent(7)]).unwrap(), 1);
        assert_eq!(found(&[postgres, agent(7)]).unwrap(), 7);
        let several = found(&[postgres, agent(7), agent(8)]).unwrap_err().to_string();
        assert!(
            several.contains("(processes [7, 8]); choose one with --pid"),
            "{several}"
        );
        let none = found(&[postgres, (9, "kubebackup", "kubebackup\0trigger\0")]);
        assert_eq!(none.unwrap_err().to_string(), "no agent runs here");
    }

    #[test]
    fn a_process_that_is_no_agent_is_refused() {
        let own = std::process::id().cast_signed();
        assert_eq!(
            find(Some(own)).unwrap_err().to_string(),
            format!("process {own} is no agent")
        );
    }
}
