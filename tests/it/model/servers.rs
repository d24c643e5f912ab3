//! kill -9 of a whole PostgreSQL, as a node that loses its power does it, and its recovery.

use std::fs;
use std::path::Path;

use kubebackup::demo::Cluster;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::wait;

/// Kills every process of the server, starts it again, and returns when it takes connections.
pub(crate) fn kill_and_restart(cluster: &mut Cluster) {
    let postmaster = cluster.postmaster().unwrap();
    let children = children_of(postmaster);
    // The postmaster first: it would clean up after the others.
    cluster.stop(Signal::SIGKILL).unwrap();
    for child in &children {
        // Many end by themselves as soon as their postmaster is gone.
        let _ = kill(Pid::from_raw(*child), Signal::SIGKILL);
    }
    wait::until("the server's processes to be gone", || {
        children.iter().all(|child| !is_alive(*child))
    });
    cluster.start_server().unwrap();
}

/// Ends every session of the program.
pub(crate) fn cut_sessions(cluster: &Cluster) {
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE application_name LIKE 'kubebackup%' OR application_name IN ('pg_dump', 'pg_restore')";
    cluster.sql("postgres", cut).unwrap();
}

/// Sessions of the program.
pub(crate) fn sessions(cluster: &Cluster) -> String {
    let list = "SELECT pid, datname, application_name, state, query FROM pg_stat_activity
                WHERE application_name LIKE 'kubebackup%' OR application_name IN ('pg_dump', 'pg_restore')";
    cluster.sql("postgres", list).unwrap()
}

fn children_of(process: u32) -> Vec<i32> {
    let list = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap();
    list.split_whitespace().map(|child| child.parse().unwrap()).collect()
}

/// A zombie is none.
fn is_alive(process: i32) -> bool {
    let stat = Path::new("/proc").join(process.to_string()).join("stat");
    let Ok(stat) = fs::read_to_string(stat) else {
        return false;
    };
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state != Some('Z')
}
