//! What a step takes of memory, by the kernel's count of a process that does nothing else: a test runs itself once more for
//! that, alone.

use std::process::Command;

use crate::telemetry::memory::{peak_resident_bytes, resident_bytes};

const MIB: u64 = 1024 * 1024;

/// Set for the process of its own.
const ALONE: &str = "KUBEBACKUP_TEST_ALONE";

/// Runs `work` in a process of its own, which begins as the test `name` of the module `module` did.
#[track_caller]
pub(super) fn alone(module: &str, name: &str, work: impl Future<Output = ()>) {
    if std::env::var_os(ALONE).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        return runtime.unwrap().block_on(work);
    }
    let (_crate, module) = module.split_once("::").unwrap();
    let alone = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{module}::{name}"), "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let (said, complaint) = (
        String::from_utf8_lossy(&alone.stdout),
        String::from_utf8_lossy(&alone.stderr),
    );
    println!("{said}");
    assert!(alone.status.success() && said.contains("1 passed"), "{said}{complaint}");
}

/// What a step took beyond what was there before it.
pub(super) async fn measure<T>(step: &str, most_mib: u64, work: impl Future<Output = T>) -> T {
    // The kernel forgets the peak so far.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = resident_bytes().unwrap();
    let done = work.await;
    let took = peak_resident_bytes().unwrap().saturating_sub(before) / MIB;
    println!("{step}: {took} MiB over {} MiB", before / MIB);
    assert!(took <= most_mib, "{step} took {took} MiB");
    done
}
