//! Drift in words, and names as catalogues write them.

use std::fmt;

use super::{Amount, Drift, DriftFinding, DriftKind, DriftOutcome};
use crate::content::QualifiedName;
use crate::telemetry::figures;

/// Characters of a name or a reason that a root takes.
const LONGEST: usize = 200;

/// `public.orders`; in quotes only what needs them.
pub(super) fn plain(name: &QualifiedName) -> String {
    let is_plain = |part: &str| {
        let begins = part.starts_with(|first: char| first.is_ascii_lowercase() || first == '_');
        begins
            && part
                .chars()
                .all(|other| other.is_ascii_lowercase() || other.is_ascii_digit() || other == '_')
    };
    if is_plain(&name.schema) && is_plain(&name.name) {
        format!("{}.{}", name.schema, name.name)
    } else {
        name.to_string()
    }
}

/// At most so many characters.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// The relation that an object hangs on, by its identity: `s.t.column`, `name on s.t`, `s.t in publication p`.
pub(super) fn relation_of(identity: &str) -> Option<QualifiedName> {
    let text = match (identity.rsplit_once(" on "), identity.split_once(" in publication ")) {
        (Some((_, relation)), _) | (None, Some((relation, _))) => relation,
        (None, None) => identity,
    };
    let (schema, rest) = identifier(text)?;
    let (name, rest) = identifier(rest.strip_prefix('.')?)?;
    // What has two parts alone is itself no part of a relation, unless it was named as the place of something.
    let is_place = text.len() < identity.len() && rest.is_empty();
    (is_place || rest.starts_with('.')).then(|| QualifiedName::new(schema, name))
}

/// An identifier at the beginning of `text`, and what follows it.
fn identifier(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text
            .find(|character: char| !(character.is_alphanumeric() || matches!(character, '_' | '$')))
            .unwrap_or(text.len());
        return (end > 0).then(|| (text[..end].to_owned(), &text[end..]));
    };
    let mut name = String::new();
    loop {
        let end = rest.find('"')?;
        name.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(after) => {
                name.push('"');
                rest = after;
            }
            None => return Some((name, rest)),
        }
    }
}

impl fmt::Display for DriftFinding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let database = &self.database;
        let name = self.name.as_deref().unwrap_or_default();
        let now = self
            .now
            .as_ref()
            .map(|now| format!(" (now: {now})"))
            .unwrap_or_default();
        match self.kind {
            DriftKind::ServerChanged => write!(
                formatter,
                "it is another server than the one before: its system identifier was {name}{now}"
            ),
            DriftKind::DatabaseLost => {
                write!(
                    formatter,
                    "database {database} is gone{now}, with {}",
                    amount(self.before)
                )
            }
            DriftKind::TableLost => {
                let before = amount(self.before);
                write!(formatter, "table {name} of {database} is gone{now}, with {before}")
            }
            DriftKind::TableFell => write!(formatter, "table {name} of {database} fell {}", fall(self)),
            DriftKind::SchemaFell => write!(
                formatter,
                "the tables of schema {name} of {database} fell {}",
                fall(self)
            ),
            DriftKind::LargeObjectsFell => write!(
                formatter,
                "the large objects of {database} fell from {} to {}",
                figures::bytes(self.before.raw_bytes),
                figures::bytes(self.after.raw_bytes)
            ),
            DriftKind::CompressionFell => write!(
                formatter,
                "the rows of table {name} of {database} no longer compress, as if encrypted: {}, before {}",
                compressed(self.after),
                compressed(self.before)
            ),
            DriftKind::ObjectsLost => {
                let more = if self.examples.len() as u64 == self.before.objects {
                    ""
                } else {
                    ", ..."
                };
                let examples = self.examples.join(", ");
                let count = figures::count(self.before.objects);
                write!(
                    formatter,
                    "{count} of type '{name}' of {database} gone: {examples}{more}"
                )
            }
            DriftKind::Unknown => write!(formatter, "a finding of a newer version in {database}: {name}"),
        }
    }
}

fn amount(amount: Amount) -> String {
    format!(
        "{} rows ({})",
        figures::count(amount.rows),
        figures::bytes(amount.raw_bytes)
    )
}

fn compressed(amount: Amount) -> String {
    let (raw, stored) = (figures::bytes(amount.raw_bytes), figures::bytes(amount.stored_bytes));
    format!("{raw} to {stored}")
}

fn fall(finding: &DriftFinding) -> String {
    format!("from {} to {}", amount(finding.before), amount(finding.after))
}

/// One line.
impl fmt::Display for Drift {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let baseline = self.baseline.as_ref().map(|baseline| baseline.backup_id.to_string());
        let against = baseline.map(|id| format!(" against {id}")).unwrap_or_default();
        match (self.outcome, self.total) {
            (DriftOutcome::NoBaseline, _) => formatter.write_str("nothing to compare with"),
            (DriftOutcome::Compared, 0) => write!(formatter, "none{against}"),
            (DriftOutcome::Compared, 1) => write!(formatter, "1 finding{against}"),
            (DriftOutcome::Compared, total) => write!(formatter, "{} findings{against}", figures::count(total)),
            (DriftOutcome::NotCompared | DriftOutcome::Unknown, _) => {
                let reason = self.reason.as_deref().unwrap_or("a newer version wrote it");
                write!(formatter, "not compared{against}: {reason}")
            }
        }
    }
}
