//! Recovery time and recovery point, beside what the operator wants of them.
//!
//! A recovery point is how much would be lost if production were gone now: everything since the oldest snapshot of the
//! newest backup that can be used. It grows until the next backup is usable; at that moment it is exactly the time
//! from that snapshot to the next usable manifest, which is how recovery points are judged.

use super::sheet::Sheet;
use crate::http::status::Status;

pub(super) fn write(sheet: &Sheet, status: &Status) {
    sheet.gauge("recovery_objective_seconds", status.objectives.rto_seconds);
    sheet.gauge("recovery_point_objective_seconds", status.objectives.rpo_seconds);
    sheet.gauge("recovery_point_seconds", status.recovery_point_seconds());
}
