//! A small file system, so that a server's disk is full when a test says so.

use std::path::Path;
use std::process::Command;

use kubebackup::demo::give_to_server_user;

use super::privilege::not_shown;

/// A file system of so many mebibytes; dropped, it is gone.
pub(crate) struct SmallDisk {
    directory: tempfile::TempDir,
}

impl SmallDisk {
    /// None where this process may not mount; says that `shown` is not shown then.
    pub(crate) fn mount(mebibytes: u32, shown: &str) -> Option<Self> {
        let directory = tempfile::Builder::new()
            .prefix("small-disk-")
            .tempdir_in("/var/tmp")
            .unwrap();
        let options = format!("size={mebibytes}m,mode=0700");
        let mount = ["-t", "tmpfs", "-o", &options, "kubebackup-test"];
        let mounted = Command::new("mount").args(mount).arg(directory.path()).output();
        let Ok(said) = mounted.map(|output| (output.status.success(), output.stderr)) else {
            not_shown(shown, "there is no program 'mount'");
            return None;
        };
        if !said.0 {
            let why = String::from_utf8_lossy(&said.1).into_owned();
            not_shown(shown, &format!("no file system may be mounted here: {why}"));
            return None;
        }
        let disk = Self { directory };
        give_to_server_user(disk.path()).unwrap();
        Some(disk)
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn resize(&self, mebibytes: u32) {
        let options = format!("remount,size={mebibytes}m");
        let resized = Command::new("mount").args(["-o", &options]).arg(self.path()).status();
        assert!(resized.unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the server that used it may be going down right now.
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}
