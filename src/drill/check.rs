//! One thing that was looked at, and how it was.
//!
//! A check that passes is one line with its figures; one that fails is a line for each object that differs. What was not
//! run says why, and is never green.

use serde::{Deserialize, Serialize};

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Passed,
    Failed,
    /// Nothing is known. A required check that was not run keeps a drill from certifying.
    NotRun,
}

/// The nouns that are checked. Their names are stable: dashboards and documents use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckName {
    Database,
    Roles,
    Extensions,
    Inventory,
    Definitions,
    Coverage,
    Rows,
    GeneratedColumns,
    Sequences,
    LargeObjects,
    MaterializedViews,
    Validity,
    Assertions,
    Login,
    Amcheck,
}

impl CheckName {
    /// As it stands in JSON and on the terminal.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Roles => "roles",
            Self::Extensions => "extensions",
            Self::Inventory => "inventory",
            Self::Definitions => "definitions",
            Self::Coverage => "coverage",
            Self::Rows => "rows",
            Self::GeneratedColumns => "generated_columns",
            Self::Sequences => "sequences",
            Self::LargeObjects => "large_objects",
            Self::MaterializedViews => "materialized_views",
            Self::Validity => "validity",
            Self::Assertions => "assertions",
            Self::Login => "login",
            Self::Amcheck => "amcheck",
        }
    }
}

/// One line of evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    pub name: CheckName,
    /// The object it is about; none for a check as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    pub outcome: Outcome,
    /// Whether a drill certifies only if this passes.
    pub required: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub expected: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub found: String,
    /// What was done, or why not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

impl Check {
    /// A check as a whole that went well; `detail` holds its figures.
    pub(crate) fn passed(name: CheckName, detail: impl Into<String>) -> Self {
        Self::whole(name, Outcome::Passed, detail)
    }

    pub(crate) fn failed(name: CheckName, detail: impl Into<String>) -> Self {
        Self::whole(name, Outcome::Failed, detail)
    }

    /// A required check that could not be made.
    pub(crate) fn not_run(name: CheckName, detail: impl Into<String>) -> Self {
        Self::whole(name, Outcome::NotRun, detail)
    }

    /// A check that nobody asked for, or that does not apply here.
    pub(crate) fn skipped(name: CheckName, detail: impl Into<String>) -> Self {
        Self {
            required: false,
            ..Self::not_run(name, detail)
        }
    }

    /// Whether this line keeps a drill from certifying.
    #[must_use]
    pub fn blocks(&self) -> bool {
        self.required && self.outcome != Outcome::Passed
    }

    fn whole(name: CheckName, outcome: Outcome, detail: impl Into<String>) -> Self {
        Self {
            name,
            object: None,
            outcome,
            required: true,
            expected: String::new(),
            found: String::new(),
            detail: detail.into(),
        }
    }
}

/// Differences listed one by one before the rest is only counted.
const MAX_LISTED: usize = 200;

/// Gathers the differences of one check.
#[derive(Debug)]
pub(crate) struct Findings {
    name: CheckName,
    differences: Vec<Check>,
    omitted: usize,
}

impl Findings {
    pub(crate) fn new(name: CheckName) -> Self {
        Self {
            name,
            differences: Vec::new(),
            omitted: 0,
        }
    }

    /// Something about `object` is not as expected.
    pub(crate) fn differs(
        &mut self,
        object: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
        detail: impl Into<String>,
    ) {
        if self.differences.len() >= MAX_LISTED {
            self.omitted += 1;
            return;
        }
        self.differences.push(Check {
            object: Some(object.into()),
            expected: expected.into(),
            found: found.into(),
            ..Check::failed(self.name, detail)
        });
    }

    /// Compares two texts of `object` and notes a difference.
    pub(crate) fn expect(&mut self, object: &str, expected: &str, found: &str, detail: &str) {
        if expected != found {
            self.differs(object, expected, found, detail);
        }
    }

    /// One passed check with `figures`, or all that differs.
    pub(crate) fn finish(mut self, figures: impl Into<String>) -> Vec<Check> {
        if self.differences.is_empty() {
            return vec![Check::passed(self.name, figures)];
        }
        if self.omitted > 0 {
            let rest = format!("{} further differences are not listed", self.omitted);
            self.differences.push(Check::failed(self.name, rest));
        }
        self.differences
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_differences_one_line_passes_with_its_figures() {
        let checks = Findings::new(CheckName::Rows).finish("3 tables");
        assert_eq!(checks, [Check::passed(CheckName::Rows, "3 tables")]);
        assert!(!checks[0].blocks());
    }

    #[test]
    fn a_flood_of_differences_is_counted_rather_than_listed() {
        let mut findings = Findings::new(CheckName::Inventory);
        for number in 0..MAX_LISTED + 7 {
            findings.differs(format!("table t{number}"), "present", "missing", "");
        }
        let checks = findings.finish("");
        assert_eq!(checks.len(), MAX_LISTED + 1);
        assert_eq!(checks.last().unwrap().detail, "7 further differences are not listed");
        assert!(checks.iter().all(Check::blocks));
    }

    #[test]
    fn what_was_not_run_blocks_only_when_it_is_required() {
        assert!(Check::not_run(CheckName::Definitions, "").blocks());
        assert!(!Check::skipped(CheckName::Amcheck, "").blocks());
    }
}
