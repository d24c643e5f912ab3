//! `show`: one backup's contents and the evidence of its drills.

use clap::Args;
use serde::Serialize;

use super::drill::SHOWN_TABLES;
use super::exit::Exit;
use super::table::Table;
use super::target::WHICH;
use super::{Context, output};
use crate::agent::{self, BackupChoice};
use crate::drill::{self, Certificate};
use crate::repository::drift::{Drift, DriftAcceptance};
use crate::repository::id::{DrillId, Sha256Digest};
use crate::repository::manifest::Manifest;
use crate::repository::{CertificateRef, CertificateState, Hold, Repository, StoredManifest};
use crate::telemetry::{figures, plain};

/// Show what a backup holds and its newest certificate
#[derive(Debug, Args)]
pub(super) struct ShowArguments {
    #[arg(default_value = "latest", value_name = "BACKUP", help = WHICH)]
    backup: BackupChoice,
}

/// What `--output json` prints.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    manifest: &'a Manifest,
    manifest_sha256: Sha256Digest,
    /// Why and since when a person keeps it from expiring.
    hold: Option<Hold>,
    /// Who has accepted what the backup lacks.
    drift_acceptance: Option<DriftAcceptance>,
    drills: Vec<DrillLine>,
    /// The newest certificate as it is stored.
    certificate: Option<Certificate>,
}

#[derive(Debug, Serialize)]
struct DrillLine {
    drill_id: DrillId,
    state: CertificateState,
}

pub(super) async fn run(arguments: &ShowArguments, context: &Context) -> anyhow::Result<Exit> {
    let repository = agent::open_repository(&context.settings).await?;
    let cluster = context.settings.cluster.as_deref();
    let stored = agent::choose_backup(&repository, &arguments.backup, cluster).await?;
    let certificates = of_backup(&repository, &stored).await?;
    let newest = certificates
        .iter()
        .rfind(|certificate| certificate.state != CertificateState::Started);
    let certificate = match newest {
        Some(newest) => Some(read_certificate(&repository, &stored, newest).await?),
        None => None,
    };
    let hold = repository.hold_of(&stored.manifest.backup_id).await;
    let acceptance = acceptance_of(&repository, &stored).await?;
    let shown = Shown {
        manifest: &stored.manifest,
        manifest_sha256: stored.sha256,
        hold: hold.map_err(agent::Error::from)?,
        drift_acceptance: acceptance,
        drills: certificates.iter().map(DrillLine::from).collect(),
        certificate,
    };
    output::print(context.output, &shown, || text(&shown))?;
    Ok(Exit::Success)
}

impl From<&CertificateRef> for DrillLine {
    fn from(certificate: &CertificateRef) -> Self {
        Self {
            drill_id: certificate.drill_id.clone(),
            state: certificate.state,
        }
    }
}

async fn of_backup(repository: &Repository, stored: &StoredManifest) -> agent::Result<Vec<CertificateRef>> {
    Ok(repository.certificates_of(&stored.manifest.backup_id).await?)
}

async fn acceptance_of(repository: &Repository, stored: &StoredManifest) -> agent::Result<Option<DriftAcceptance>> {
    Ok(repository.drift_acceptance(&stored.manifest.backup_id).await?)
}

async fn read_certificate(
    repository: &Repository,
    stored: &StoredManifest,
    certificate: &CertificateRef,
) -> agent::Result<Certificate> {
    let backup_id = &stored.manifest.backup_id;
    let read = repository.read_certificate(backup_id, certificate, drill::read_certificate);
    Ok(read.await?)
}

fn text(shown: &Shown<'_>) -> String {
    let manifest = shown.manifest;
    let source = &manifest.source;
    let mut table = Table::new(&["database", "as of", ">tables", ">rows", ">raw", "lsn"]);
    for database in &manifest.databases {
        table.row([
            database.name.clone(),
            figures::time(database.snapshot_time),
            figures::count(database.tables),
            figures::count(database.rows),
            figures::bytes(database.raw_bytes),
            database.lsn.clone(),
        ]);
    }
    let mut text = format!(
        "backup     {}\ncluster    {} (system identifier {}, PostgreSQL {})\nmanifest   sha256 {}\n\
         stored     {} in {} chunks, {} of them reused\nwritten    {} by kubebackup {}\n\n{}\n",
        manifest.backup_id,
        plain::line(&source.cluster),
        plain::line(&source.system_identifier),
        plain::line(&source.server_version),
        shown.manifest_sha256,
        figures::bytes(manifest.stats.stored_bytes),
        figures::count(manifest.stats.chunks),
        figures::count(manifest.stats.reused_chunks),
        figures::time(manifest.finished),
        plain::line(&manifest.tool_version),
        table.render(),
    );
    if let Some(hold) = &shown.hold {
        let since = figures::time(hold.since);
        text.push_str(&format!(
            "held since {since}, so that it does not expire: {}\n\n",
            plain::line(&hold.reason)
        ));
    }
    text.push_str(&drift(shown));
    if shown.drills.is_empty() {
        text.push_str("not drilled: nothing proves yet that this backup can be restored\n");
        return text;
    }
    let mut drills = Table::new(&["drill", "state"]);
    for drill in &shown.drills {
        drills.row([drill.drill_id.to_string(), drill.state.to_string()]);
    }
    text.push_str(&drills.render());
    if let Some(certificate) = &shown.certificate {
        text.push('\n');
        text.push_str(&drill::render(certificate, SHOWN_TABLES));
    }
    text
}

/// What it lacks of an earlier one; nothing is said of a backup that lacks nothing.
fn drift(shown: &Shown<'_>) -> String {
    let Some(drift) = shown.manifest.drift.as_ref().filter(|drift| Drift::is_alarm(drift)) else {
        return String::new();
    };
    let mut text = format!("drift      {}\n", plain::line(&drift.to_string()));
    for finding in &drift.findings {
        text.push_str(&format!("           {}\n", plain::line(&finding.to_string())));
    }
    let more = drift.total.saturating_sub(drift.findings.len() as u64);
    if more > 0 {
        text.push_str(&format!("           and {} more\n", figures::count(more)));
    }
    text.push_str(&match &shown.drift_acceptance {
        Some(by) => format!(
            "accepted   {} by {}: {}\n\n",
            figures::time(by.accepted),
            plain::line(&by.by),
            plain::line(&by.reason)
        ),
        None => "           nobody has accepted it: deletion is frozen\n\n".to_owned(),
    });
    text
}
