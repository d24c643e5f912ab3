//! What the bucket is set to: what keeps history from a thief, and what would take it away by itself.

use super::super::{Finding, Level};
use super::AREA;
use crate::repository::layout;
use crate::storage::{BucketReport, BucketRule, ObjectStore};

/// What backups consist of, and what says which of them must stay. A rule may take leases and probes.
const NEEDED: [&str; 10] = [
    layout::CHUNKS,
    layout::MANIFESTS,
    layout::CERTIFICATES,
    layout::REPOSITORY,
    layout::HOLDS,
    layout::TOMBSTONES,
    layout::DAMAGE,
    layout::DRIFT,
    layout::INCOMING,
    layout::ELSEWHERE,
];

pub(super) async fn check(store: &dyn ObjectStore, findings: &mut Vec<Finding>) {
    match store.bucket_report().await {
        Ok(Some(report)) => {
            findings.extend(describe(&report));
            findings.extend(report.rules.iter().flatten().filter_map(describe_rule));
        }
        Ok(None) => {}
        Err(error) => findings.push(Finding::fail(AREA, &error)),
    }
}

fn describe(report: &BucketReport) -> Vec<Finding> {
    let versions = match report.versioned {
        Some(true) => Finding::ok(AREA, "keeps versions: what is overwritten or deleted can be had back"),
        Some(false) => Finding::warn(AREA, "keeps no versions: what is overwritten or deleted is gone"),
        None => Finding::warn(AREA, "does not tell whether it keeps versions"),
    };
    let encryption = match report.encryption.as_deref() {
        Some("none") => Finding::warn(AREA, "does not encrypt what it stores by itself"),
        Some(algorithm) => Finding::ok(AREA, format!("encrypts what it stores ({algorithm})")),
        None => Finding::warn(AREA, "does not tell whether it encrypts what it stores"),
    };
    let locks = match report.lockable {
        Some(true) => Finding::ok(AREA, "takes locks (Object Lock)"),
        Some(false) => Finding::warn(AREA, "takes no locks (Object Lock)"),
        None => Finding::warn(AREA, "does not tell whether it takes locks (Object Lock)"),
    };
    let mut findings = vec![versions, locks, encryption];
    if report.rules.is_none() {
        findings.push(Finding::warn(
            AREA,
            "does not tell its lifecycle rules: let none of them delete or move backups",
        ));
    }
    findings
}

/// A chunk may be referred to for years after it was written: whatever goes by age loses backups.
fn describe_rule(rule: &BucketRule) -> Option<Finding> {
    let touched = NEEDED
        .into_iter()
        .find(|needed| needed.starts_with(&rule.beginning) || rule.beginning.starts_with(needed))?;
    let name = &rule.name;
    let what = match rule {
        BucketRule { expires: true, .. } => {
            format!("the lifecycle rule '{name}' deletes '{touched}' by age: remove it")
        }
        BucketRule { moves: true, .. } => {
            format!(
                "the lifecycle rule '{name}' moves '{touched}' to another storage class by age, where it may not be read at once: remove it"
            )
        }
        BucketRule {
            expires_versions: true, ..
        } => {
            return Some(Finding::ok(
                AREA,
                format!("the lifecycle rule '{name}' deletes versions of '{touched}' that were overwritten or deleted"),
            ));
        }
        _ => return None,
    };
    Some(Finding::new(AREA, Level::Fail, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(beginning: &str) -> BucketRule {
        BucketRule {
            name: "tidy".to_owned(),
            beginning: beginning.to_owned(),
            expires: false,
            moves: false,
            expires_versions: false,
        }
    }

    #[test]
    fn it_says_whether_versions_are_kept_locks_taken_and_bodies_encrypted_and_what_it_does_not_know() {
        let told = |versioned, lockable, encryption: Option<&str>| {
            let report = BucketReport {
                versioned,
                encryption: encryption.map(str::to_owned),
                lockable,
                rules: Some(Vec::new()),
            };
            let findings = describe(&report).into_iter();
            findings
                .map(|finding| (finding.level, finding.what))
                .collect::<Vec<_>>()
        };
        let level_and_word = [
            (
                told(Some(true), Some(true), Some("aws:kms")),
                [
                    (Level::Ok, "keeps versions"),
                    (Level::Ok, "takes locks"),
                    (Level::Ok, "(aws:kms)"),
                ],
            ),
            (
                told(Some(false), Some(false), Some("none")),
                [
                    (Level::Warn, "no versions"),
                    (Level::Warn, "no locks"),
                    (Level::Warn, "does not encrypt"),
                ],
            ),
            (told(None, None, None), [(Level::Warn, "does not tell"); 3]),
        ];
        for (told, expected) in level_and_word {
            assert_eq!(told.len(), 3, "{told:?}");
            for ((level, text), (expected_level, word)) in told.into_iter().zip(expected) {
                assert_eq!(level, expected_level, "{text}");
                assert!(text.contains(word), "no '{word}' in '{text}'");
            }
        }
    }

    #[test]
    fn only_rules_that_take_what_a_backup_needs_are_refused() {
        for (beginning, is_refused) in [
            ("", true),
            ("chunks/", true),
            ("chunks/ab", true),
            ("man", true),
            ("certificates/2026", true),
            ("holds/", true),
            ("tombstones/", true),
            ("damage/", true),
            ("drift/", true),
            ("incoming/", true),
            ("elsewhere/", true),
            ("probes/", false),
            ("leases/", false),
            ("chunk-of-others/", false),
        ] {
            for (expires, moves) in [(true, false), (false, true)] {
                let found = describe_rule(&BucketRule {
                    expires,
                    moves,
                    ..rule(beginning)
                });
                let refused = found.is_some_and(|finding| finding.level == Level::Fail);
                assert_eq!(refused, is_refused, "{beginning}");
            }
            assert_eq!(describe_rule(&rule(beginning)), None);
            let versions = BucketRule {
                expires_versions: true,
                ..rule(beginning)
            };
            assert!(describe_rule(&versions).is_none_or(|finding| finding.level == Level::Ok));
        }
    }
}
