//! kill -9 of a PostgreSQL server, as a machine that dies does it.

use std::fs;
use std::path::Path;

use kubebackup::demo::Cluster;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::wait;

/// Kills the postmaster and waits until its processes, which find out by themselves, are gone.
pub(crate) fn kill_server(cluster: &Cluster) {
    let postmaster = cluster.postmaster().unwrap();
    let children = fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children")).unwrap();
    kill(Pid::from_raw(postmaster.cast_signed()), Signal::SIGKILL).unwrap();
    for child in children.split_whitespace() {
        let process = format!("/proc/{child}");
        wait::until("a process of the killed server to be gone", || {
            !Path::new(&process).exists()
        });
    }
}

/// Starts a server that was killed; it recovers.
pub(crate) fn start_again(cluster: &mut Cluster) {
    cluster.stop(Signal::SIGKILL).unwrap();
    cluster.start_server().unwrap();
}
