//! The status as Prometheus reads it: written afresh for each scrape, so that nothing is frozen, reset or made up.
//!
//! What the status does not know has no line at all; a 0 would be a lie that alert rules believe. `table` names every
//! metric there is; `docs/metrics.md` is made from it.

mod bucket;
mod copies;
mod objectives;
mod process;
mod sheet;
mod table;

pub use sheet::ProcessMemory;
pub use table::{Agents, Kind, METRICS, Metric, Origin, markdown};

use super::status::Status;
use sheet::Sheet;

/// The text format of Prometheus, families and lines in order of their names.
#[must_use]
pub fn exposition(status: &Status, memory: ProcessMemory) -> String {
    let sheet = Sheet::new(status.agent);
    process::write(&sheet, status, memory);
    if let Some(repository) = &status.repository {
        bucket::write(&sheet, repository);
    }
    copies::write(&sheet, status);
    objectives::write(&sheet, status);
    sheet.text()
}

#[cfg(test)]
mod tests;
