//! One drill by the settings.

use tokio_util::sync::CancellationToken;

use super::choose::{BackupChoice, choose_backup};
use super::error::{Error, Result};
use super::open::{check_drill_target, drill_target, open_repository};
use crate::config::Settings;
use crate::drill::{self, Certificate, DrillOptions, Objectives};
use crate::postgres::Environment;
use crate::repository::StoredManifest;
use crate::telemetry::progress::Progress;

/// What arguments say over the settings.
#[derive(Clone, Debug, Default)]
pub struct DrillOverrides {
    /// Empty: every database of the backup.
    pub databases: Vec<String>,
    pub jobs: Option<usize>,
    pub keep: bool,
    pub amcheck: bool,
}

/// Drills the chosen backup and stores its certificate.
///
/// # Errors
/// When no certificate could be stored; what is wrong with the backup stands in the certificate.
pub async fn drill(
    settings: &Settings,
    environment: &Environment,
    choice: &BackupChoice,
    overrides: &DrillOverrides,
    progress: &dyn Progress,
    cancel: &CancellationToken,
) -> Result<Certificate> {
    check_drill_target(settings, environment)?;
    let repository = open_repository(settings).await?;
    // Only the root is read here: what the index has to say belongs into the certificate.
    let (backup_id, options) = match choose_backup(&repository, choice, settings.cluster.as_deref()).await {
        Ok(stored) => {
            let options = drill_options(settings, environment, &stored, overrides)?;
            (stored.manifest.backup_id, options)
        }
        // So does that the root is damaged. Nothing is rebuilt then.
        Err(error) => (error.damaged_root().ok_or(error)?, DrillOptions::default()),
    };
    Ok(Box::pin(drill::drill(&repository, &backup_id, &options, progress, cancel)).await?)
}

/// The room's options from the settings and what overrides them.
pub(super) fn drill_options(
    settings: &Settings,
    environment: &Environment,
    stored: &StoredManifest,
    overrides: &DrillOverrides,
) -> Result<DrillOptions> {
    let manifest = &stored.manifest;
    let present: Vec<String> = manifest
        .databases
        .iter()
        .map(|database| database.name.clone())
        .collect();
    if let Some(missing) = overrides.databases.iter().find(|name| !present.contains(name)) {
        return Err(Error::NoSuchDatabase {
            backup_id: manifest.backup_id.clone(),
            name: missing.clone(),
            present,
        });
    }
    let mut options = DrillOptions {
        maintenance_database: settings.target.maintenance_database.clone(),
        jobs: overrides.jobs.unwrap_or(settings.drill.jobs),
        bin_directory: settings.target.bin_directory.clone(),
        max_duration: settings.drill.max_duration.0,
        keep: overrides.keep || settings.drill.keep,
        amcheck: overrides.amcheck || settings.drill.amcheck,
        login_role: settings.drill.login_role.clone(),
        objectives: Objectives {
            rto: settings.objectives.rto.map(|span| span.0),
            rpo: settings.objectives.rpo.map(|span| span.0),
        },
        ..DrillOptions::default()
    };
    for name in present {
        if overrides.databases.is_empty() || overrides.databases.contains(&name) {
            let target = drill_target(settings, environment, &name)?;
            options.targets.insert(name, target.database);
        }
    }
    Ok(options)
}
