//! The doctor: everything that a backup or a drill will need, looked at without changing anything but a probe object.
//!
//! Each finding stands alone, so that one trouble does not hide the next.

mod servers;
mod store;

use serde::Serialize;

use crate::config::Settings;
use crate::postgres::Environment;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Ok,
    /// It will work, with less than could be had.
    Warn,
    /// It will not work.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `store`, `repository`, `source`, `target`, ...
    pub area: &'static str,
    pub level: Level,
    pub what: String,
}

impl Finding {
    fn ok(area: &'static str, what: impl Into<String>) -> Self {
        Self::new(area, Level::Ok, what)
    }

    fn warn(area: &'static str, what: impl Into<String>) -> Self {
        Self::new(area, Level::Warn, what)
    }

    /// An error with its causes.
    fn fail(area: &'static str, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut what = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !what.ends_with(&text) {
                what = format!("{what}: {}", text.lines().next().unwrap_or_default());
            }
            cause = error.source();
        }
        Self::new(area, Level::Fail, what)
    }

    fn new(area: &'static str, level: Level, what: impl Into<String>) -> Self {
        Self {
            area,
            level,
            what: what.into(),
        }
    }
}

/// Looks at everything that the settings name. Nothing here is an error: what is wrong is a finding.
pub async fn check(settings: &Settings, environment: &Environment) -> Vec<Finding> {
    let mut findings = Vec::new();
    if settings.cluster.is_none() {
        findings.push(Finding::warn(
            "settings",
            "cluster is not set: backups need it, drills do not",
        ));
    }
    let repository = store::check(&settings.repository, &mut findings).await;
    for copy in &settings.copies {
        let mut of_copy = Vec::new();
        store::check(&copy.repository, &mut of_copy).await;
        findings.extend(of_copy.into_iter().map(|finding| Finding {
            area: "copy",
            what: format!("{}: {}", copy.name, finding.what),
            ..finding
        }));
    }
    if settings.source.dsn.is_some() || settings.cluster.is_some() {
        servers::check_source(settings, environment, &mut findings).await;
    } else {
        findings.push(Finding::ok("source", "not set: nothing is backed up from here"));
    }
    if settings.target.dsn.is_some() {
        servers::check_target(settings, environment, repository.as_ref(), &mut findings).await;
    } else {
        findings.push(Finding::ok("target", "not set: no drills from here"));
    }
    findings
}
