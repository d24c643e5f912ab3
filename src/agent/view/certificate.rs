//! A certificate in the words of the status: what people look at, and no more of it than they look through.

use crate::content::QualifiedName;
use crate::drill::{Certificate, TableComparison};
use crate::http::status::{CertificateStatus, DrillState, KEPT_LINES, KEPT_TABLES, PhaseStatus, TableStatus};

pub(super) fn describe(certificate: Certificate, state: DrillState) -> CertificateStatus {
    let mut phases: Vec<PhaseStatus> = Vec::new();
    let mut tables = Vec::new();
    for database in certificate.databases {
        for phase in database.phases {
            match phases.iter_mut().find(|known| known.name == phase.name) {
                Some(known) => known.seconds += phase.seconds,
                None => phases.push(PhaseStatus {
                    name: phase.name,
                    seconds: phase.seconds,
                }),
            }
        }
        for table in database.tables {
            tables.push(table_status(&database.database, &table));
        }
    }
    let (total_tables, differing_tables) = cut(&mut tables);
    let total_not_tested = certificate.not_tested.len() as u64;
    let mut not_tested = certificate.not_tested;
    not_tested.truncate(KEPT_LINES);
    CertificateStatus {
        backup_id: certificate.backup_id.to_string(),
        drill_id: certificate.drill_id.to_string(),
        state,
        summary: certificate.summary,
        reasons: kept_reasons(certificate.reasons),
        started: certificate.started,
        finished: certificate.finished,
        oldest_snapshot: certificate.source.map(|source| source.oldest_snapshot),
        recovery_seconds: certificate.recovery_seconds,
        phases,
        tables,
        total_tables,
        differing_tables,
        not_tested,
        total_not_tested,
        older_versions: certificate.older_versions.len() as u64,
    }
}

/// Leaves as many as are kept, and returns how many there were and how many of these differ.
fn cut(tables: &mut Vec<TableStatus>) -> (u64, u64) {
    let differing = tables.iter().filter(|table| !table.is_equal).count();
    let total = tables.len();
    // In a stable order: what differs first, else as the certificate has it.
    tables.sort_by_key(|table| table.is_equal);
    tables.truncate(KEPT_TABLES);
    tables.shrink_to_fit();
    (total as u64, differing as u64)
}

fn kept_reasons(mut reasons: Vec<String>) -> Vec<String> {
    let more = reasons.len().saturating_sub(KEPT_LINES);
    if more > 0 {
        reasons.truncate(KEPT_LINES);
        reasons.push(format!("{more} more reasons: the certificate has them all"));
    }
    reasons
}

fn table_status(database: &str, table: &TableComparison) -> TableStatus {
    TableStatus {
        database: database.to_owned(),
        table: plain(&table.name),
        rows: table.expected.rows,
        raw_bytes: table.expected.raw_bytes,
        fingerprint: table.expected.fingerprint.to_string(),
        is_equal: table.equal,
        remark: table_remark(table),
    }
}

/// `public.orders`; in quotes only what needs them.
fn plain(name: &QualifiedName) -> String {
    let is_plain = |part: &str| {
        let mut characters = part.chars();
        let begins = characters
            .next()
            .is_some_and(|first| first.is_ascii_lowercase() || first == '_');
        begins && characters.all(|other| other.is_ascii_lowercase() || other.is_ascii_digit() || other == '_')
    };
    if is_plain(&name.schema) && is_plain(&name.name) {
        format!("{}.{}", name.schema, name.name)
    } else {
        name.to_string()
    }
}

fn table_remark(table: &TableComparison) -> Option<String> {
    match table.found {
        _ if table.equal => None,
        None => Some("could not be read".to_owned()),
        Some(found) if found.rows != table.expected.rows => Some(format!("{} rows were rebuilt", found.rows)),
        Some(_) => Some("the rows' contents differ".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::sample;

    #[test]
    fn of_fifty_thousand_tables_those_that_differ_are_kept_first_and_all_are_counted() {
        let table = sample::certificate().tables.remove(0);
        let mut tables = vec![table; 50_000];
        for number in [49_999, 700] {
            tables[number].is_equal = false;
            tables[number].table = format!("public.t{number}");
        }
        assert_eq!(cut(&mut tables), (50_000, 2));
        assert_eq!(tables.len(), KEPT_TABLES);
        let first = [&tables[0].table, &tables[1].table];
        assert_eq!(first, ["public.t700", "public.t49999"]);
        assert!(tables[2..].iter().all(|table| table.is_equal));
    }

    #[test]
    fn reasons_beyond_what_is_kept_are_counted() {
        let reasons = |number: usize| vec!["a chunk is missing".to_owned(); number];
        assert_eq!(kept_reasons(reasons(KEPT_LINES)).len(), KEPT_LINES);
        let kept = kept_reasons(reasons(KEPT_LINES + 7));
        assert_eq!(kept.len(), KEPT_LINES + 1);
        assert!(kept[KEPT_LINES].starts_with("7 more reasons"), "{kept:?}");
    }
}
