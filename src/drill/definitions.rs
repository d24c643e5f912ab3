//! Definitions against those of a scratch database that stock `pg_restore` makes of the same archive.

use super::check::{Check, CheckName, Findings};
use crate::postgres::definitions::{DifferenceKind, compare_definitions};

/// Compares two dumps of definitions; each entry that differs is named, its text never shown.
pub(super) fn check_definitions(target: &str, scratch: &str) -> Vec<Check> {
    let comparison = compare_definitions(target, scratch);
    let mut findings = Findings::new(CheckName::Definitions);
    for difference in comparison.differences {
        let (expected, found) = match difference.kind {
            DifferenceKind::Missing => ("present", "missing"),
            DifferenceKind::Extra => ("absent", "present"),
            DifferenceKind::Changed => ("as in the archive", "changed"),
        };
        findings.differs(difference.entry, expected, found, "");
    }
    findings.finish(format!("{} entries of the schema archive", comparison.entries))
}
