//! A certificate as text for people: the verdict first, then what was checked, then table by table. It quotes a source and a
//! bucket, whose words stay within their lines.

use std::fmt::Write as _;

use super::certificate::{Certificate, DatabaseCertificate, Verdict};
use super::check::{Check, Outcome};
use super::objectives::{ObjectiveFacts, RecoveryPoint};
use super::rows::TableComparison;
use crate::telemetry::{figures, plain};

/// The whole certificate; of more than `max_tables` tables of a database only those that differ and the largest.
#[must_use]
pub fn render(certificate: &Certificate, max_tables: usize) -> String {
    let mut text = String::new();
    line(&mut text, format_args!("{}", certificate.summary));
    text.push('\n');
    for reason in &certificate.reasons {
        line(&mut text, format_args!("  because: {reason}"));
    }
    for key in &certificate.damaged_objects {
        line(&mut text, format_args!("  damaged: {key}"));
    }
    for key in &certificate.older_versions {
        line(&mut text, format_args!("  from an older version: {key}"));
    }
    let [damaged, older] = [&certificate.damaged_objects, &certificate.older_versions].map(Vec::is_empty);
    if !(certificate.reasons.is_empty() && damaged && older) {
        text.push('\n');
    }
    heads(&mut text, certificate);
    for database in &certificate.databases {
        render_database(&mut text, database, max_tables);
    }
    if !certificate.not_tested.is_empty() {
        text.push_str("\nNot tested\n");
        for what in &certificate.not_tested {
            line(&mut text, format_args!("  {what}"));
        }
    }
    text
}

fn heads(text: &mut String, certificate: &Certificate) {
    let mut head = |name: &str, value: String| line(text, format_args!("{name:<12} {value}"));
    let verdict = match certificate.verdict {
        Verdict::Certified => "certified".to_owned(),
        Verdict::Failed => "failed".to_owned(),
        Verdict::Unverified(cause) => format!("unverified ({})", cause.as_str()),
    };
    head("verdict", verdict);
    head("backup", certificate.backup_id.to_string());
    head(
        "drill",
        format!("{}, ended {:.0}", certificate.drill_id, certificate.finished),
    );
    if let Some(digest) = &certificate.manifest_sha256 {
        head("manifest", format!("sha256 {digest}"));
    }
    if let Some(source) = &certificate.source {
        head(
            "source",
            format!(
                "cluster {}, PostgreSQL {}",
                source.cluster, certificate.versions.source_server
            ),
        );
        head(
            "snapshot",
            format!("{:.0}; usable since {:.0}", source.oldest_snapshot, source.usable_since),
        );
    }
    if let Some(target) = &certificate.target {
        let machine = &target.machine;
        let cpus = machine.cpus.map_or_else(String::new, |cpus| format!(", {cpus} CPUs"));
        let memory = machine
            .memory_bytes
            .map_or_else(String::new, |bytes| format!(", {} of memory", figures::bytes(bytes)));
        let fsync = if machine.fsync { "on" } else { "OFF" };
        head(
            "target",
            format!(
                "{}, PostgreSQL {}, fsync {fsync}{cpus}{memory}",
                target.server, certificate.versions.target_server
            ),
        );
    }
    if let Some(seconds) = certificate.recovery_seconds {
        head(
            "recovery",
            format!("{seconds:.1} s from finding the backup to ready for login"),
        );
    }
    if let Some(point) = &certificate.recovery_point {
        head("data loss", data_loss(point));
    }
    if let Some(objectives) = &certificate.objectives {
        head("objectives", held(objectives));
    }
}

fn data_loss(point: &RecoveryPoint) -> String {
    let until = if point.is_final {
        "until the next backup could be used"
    } else {
        "until this drill"
    };
    let gap = point.gap_before_seconds.map_or_else(String::new, |gap| {
        format!("; {} while this backup was waited for", figures::seconds(gap))
    });
    format!("{} of changes {until}{gap}", figures::seconds(point.seconds))
}

fn held(facts: &ObjectiveFacts) -> String {
    let one = |name: &str, seconds: Option<f64>, exceeded: Option<bool>| {
        let said = match exceeded {
            Some(true) => "EXCEEDED",
            Some(false) => "held",
            None => "not measured",
        };
        Some(format!("{name} {}: {said}", figures::seconds(seconds?)))
    };
    let both = [
        one("recovery time", facts.rto_seconds, facts.rto_exceeded),
        one("recovery point", facts.rpo_seconds, facts.rpo_exceeded),
    ];
    both.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn render_database(text: &mut String, database: &DatabaseCertificate, max_tables: usize) {
    text.push('\n');
    line(
        text,
        format_args!("Database {} rebuilt as {}", database.database, database.target_database),
    );
    let phases: Vec<String> = database
        .phases
        .iter()
        .map(|phase| format!("{} {:.1} s", phase.name, phase.seconds))
        .collect();
    if !phases.is_empty() {
        line(text, format_args!("  {}", phases.join(", ")));
    }
    text.push('\n');
    for check in &database.checks {
        render_check(text, check);
    }
    if !database.tables.is_empty() {
        render_tables(text, &database.tables, max_tables);
    }
    for remark in &database.remarks {
        line(text, format_args!("  note: {remark}"));
    }
}

fn render_check(text: &mut String, check: &Check) {
    let mark = match check.outcome {
        Outcome::Passed => "ok",
        Outcome::Failed => "FAILED",
        Outcome::NotRun if check.required => "NOT RUN",
        Outcome::NotRun => "-",
    };
    let mut what = String::new();
    if let Some(object) = &check.object {
        let _ = write!(what, "{object}: ");
    }
    what.push_str(&check.detail);
    if !(check.expected.is_empty() && check.found.is_empty()) {
        let separator = if check.detail.is_empty() { "" } else { ": " };
        let _ = write!(what, "{separator}expected {}, found {}", check.expected, check.found);
    }
    line(text, format_args!("  {mark:<8} {:<18} {what}", check.name.as_str()));
}

fn render_tables(text: &mut String, tables: &[TableComparison], max_tables: usize) {
    let shown = choose(tables, max_tables);
    let names: Vec<String> = shown.iter().map(|table| table_name(table)).collect();
    let width = names
        .iter()
        .map(|name| name.chars().count())
        .max()
        .unwrap_or(0)
        .clamp(5, 60);
    text.push('\n');
    line(
        text,
        format_args!("  {:<width$} {:>14} {:>12}  fingerprint", "table", "rows", "bytes"),
    );
    for (table, name) in shown.iter().zip(&names) {
        let tally = table.found.unwrap_or_default();
        let verdict = match (&table.found, table.equal) {
            (_, true) => format!("{} equal", tally.fingerprint),
            (None, false) => "UNREADABLE".to_owned(),
            (Some(_), false) => format!(
                "{} DIFFERS: expected {} rows, {}",
                tally.fingerprint, table.expected.rows, table.expected.fingerprint
            ),
        };
        let (rows, bytes) = (figures::count(tally.rows), figures::bytes(tally.raw_bytes));
        line(text, format_args!("  {name:<width$} {rows:>14} {bytes:>12}  {verdict}"));
    }
    if shown.len() < tables.len() {
        let more = tables.len() - shown.len();
        line(text, format_args!("  and {more} more tables, each equal"));
    }
}

/// All that differ, then the largest; in the order of names.
fn choose(tables: &[TableComparison], max_tables: usize) -> Vec<&TableComparison> {
    let mut shown: Vec<&TableComparison> = tables.iter().collect();
    if shown.len() > max_tables {
        shown.sort_by_key(|table| (table.equal, std::cmp::Reverse(table.expected.raw_bytes)));
        let differing = shown.iter().filter(|table| !table.equal).count();
        shown.truncate(max_tables.max(differing));
        shown.sort_by(|a, b| a.name.cmp(&b.name));
    }
    shown
}

fn table_name(table: &TableComparison) -> String {
    let leaves = match table.leaves {
        0 => String::new(),
        leaves => format!(" ({leaves} partitions)"),
    };
    // As it is shown, so that columns stand under each other.
    plain::line(&format!("{}.{}{leaves}", table.name.schema, table.name.name))
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    let _ = writeln!(text, "{}", plain::line(line.to_string().trim_end()));
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn a_certified_drill_reads_like_this() {
        insta::assert_snapshot!(render(&samples::certified(), 100));
    }

    #[test]
    fn a_failed_drill_names_what_differs_and_what_is_damaged() {
        insta::assert_snapshot!(render(&samples::failed(), 1));
    }

    #[test]
    fn the_json_keeps_its_shape() {
        insta::assert_json_snapshot!(samples::failed());
    }
}
