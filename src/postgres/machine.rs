//! What a server runs on, as far as it tells: durability settings, CPUs, memory.
//!
//! A recovery time was measured on something; a server that never waits for its disk flatters it. CPUs and memory are
//! read from files of the server's machine, which only some roles may: without the right they stay unknown.

use serde::{Deserialize, Serialize};
use tokio_postgres::Client;

use super::error::{Error, Result};
use super::row::column;

/// Settings and resources of a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub fsync: bool,
    pub full_page_writes: bool,
    pub synchronous_commit: String,
    pub shared_buffers: String,
    /// CPUs that the server may use: the smaller of what the machine has and what its control group allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    /// The same for memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

/// Asks the server.
///
/// # Errors
/// `Error::Query` for its settings; what it may not tell of its machine is none.
pub async fn read_machine(client: &Client) -> Result<Machine> {
    let row = client
        .query_one(
            "SELECT pg_catalog.current_setting('fsync')::bool AS fsync,
                    pg_catalog.current_setting('full_page_writes')::bool AS full_page_writes,
                    pg_catalog.current_setting('synchronous_commit') AS synchronous_commit,
                    pg_catalog.current_setting('shared_buffers') AS shared_buffers",
            &[],
        )
        .await
        .map_err(Error::query("read the server's durability settings"))?;
    let cpu_info = read_file(client, "/proc/cpuinfo").await;
    let memory_info = read_file(client, "/proc/meminfo").await;
    Ok(Machine {
        fsync: column(&row, "fsync")?,
        full_page_writes: column(&row, "full_page_writes")?,
        synchronous_commit: column(&row, "synchronous_commit")?,
        shared_buffers: column(&row, "shared_buffers")?,
        cpus: smaller(
            cpu_info.and_then(|text| count_cpus(&text)),
            read_file(client, "/sys/fs/cgroup/cpu.max")
                .await
                .and_then(|text| cpu_quota(&text)),
        ),
        memory_bytes: smaller(
            memory_info.and_then(|text| total_memory(&text)),
            read_file(client, "/sys/fs/cgroup/memory.max")
                .await
                .and_then(|text| text.trim().parse().ok()),
        ),
    })
}

/// A small file of the server's machine, where there is one and the role may read it.
async fn read_file(client: &Client, path: &str) -> Option<String> {
    let row = client
        .query_one(
            "SELECT pg_catalog.pg_read_file($1, 0, 1000000, true) AS contents",
            &[&path],
        )
        .await
        .ok()?;
    column(&row, "contents").ok()?
}

fn count_cpus(cpu_info: &str) -> Option<f64> {
    let count = cpu_info.lines().filter(|line| line.starts_with("processor")).count();
    (count > 0).then(|| f64::from(u32::try_from(count).unwrap_or(u32::MAX)))
}

/// `cpu.max` of control groups: `<quota> <period>` in microseconds, or `max`.
fn cpu_quota(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
    (period > 0.0).then(|| quota / period)
}

fn total_memory(memory_info: &str) -> Option<u64> {
    let line = memory_info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

fn smaller<T: PartialOrd>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if other < one { other } else { one }),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_groups_limit_counts_when_it_is_smaller() {
        assert_eq!(
            smaller(
                count_cpus("processor : 0\nprocessor : 1\n"),
                cpu_quota("50000 100000\n")
            ),
            Some(0.5)
        );
        assert_eq!(
            smaller(count_cpus("processor : 0\n"), cpu_quota("max 100000\n")),
            Some(1.0)
        );
        assert_eq!(
            total_memory("MemTotal:       24689764 kB\nMemFree: 1 kB\n"),
            Some(24_689_764 * 1024)
        );
        assert_eq!(count_cpus(""), None);
    }
}
