//! kill -9 of a PostgreSQL server, as a machine that dies does it, and SIGSTOP, as a disk that stands still does it.

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

/// Every process of a server, stopped as a stuck disk would stop them; dropped, they go on.
pub(crate) struct Frozen(Vec<Pid>);

impl Frozen {
    /// The postmaster first, so that no process comes after the list was made.
    pub(crate) fn new(cluster: &Cluster) -> Self {
        let postmaster = cluster.postmaster().unwrap();
        let mut frozen = Self(Vec::new());
        frozen.stop(postmaster);
        let children = fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children")).unwrap();
        for child in children.split_whitespace() {
            frozen.stop(child.parse().unwrap());
        }
        frozen
    }

    /// One that has ended meanwhile needs no stopping.
    fn stop(&mut self, process: u32) {
        let process = Pid::from_raw(process.cast_signed());
        if kill(process, Signal::SIGSTOP).is_ok() {
            self.0.push(process);
        }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for process in &self.0 {
            let _ = kill(*process, Signal::SIGCONT);
        }
    }
}
