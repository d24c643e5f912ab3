//! Which process is the agent: by its name and arguments in `/proc`.

use std::fs;

use anyhow::bail;
use nix::unistd::Pid;

/// The program's name as the kernel keeps it.
const NAME: &str = "kubebackup";
const VERBS: [&[u8]; 2] = [b"backup-agent", b"restore-agent"];

/// The process asked for, else process 1, else the only agent there is.
pub(super) fn find(asked: Option<i32>) -> anyhow::Result<Pid> {
    if let Some(pid) = asked {
        if !is_agent(pid) {
            bail!("process {pid} is no agent");
        }
        return Ok(Pid::from_raw(pid));
    }
    if is_agent(1) {
        return Ok(Pid::from_raw(1));
    }
    match running()?.as_slice() {
        [] => bail!("no agent runs here"),
        [pid] => Ok(Pid::from_raw(*pid)),
        several => bail!("several agents run here (processes {several:?}); choose one with --pid"),
    }
}

fn running() -> anyhow::Result<Vec<i32>> {
    let mut running = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        if let Some(pid) = name.to_str().and_then(|name| name.parse().ok())
            && is_agent(pid)
        {
            running.push(pid);
        }
    }
    running.sort_unstable();
    Ok(running)
}

/// A process that has ended meanwhile, or that may not be looked at, is none.
pub(super) fn is_agent(pid: i32) -> bool {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim_end() == NAME && is_agents_command(&fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default())
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

    #[test]
    fn a_process_that_is_no_agent_is_refused() {
        let own = std::process::id().cast_signed();
        assert_eq!(
            find(Some(own)).unwrap_err().to_string(),
            format!("process {own} is no agent")
        );
    }
}
