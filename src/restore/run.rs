//! The phases of a restore, in their order.

use std::collections::BTreeSet;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::error::{Error, Result};
use super::guard::Guarded;
use super::large_objects::restore_large_objects;
use super::load::Load;
use super::options::{RestoreOptions, RolesMode};
use super::plan::plan_load;
use super::post_data::PostDataSteps;
use super::preflight::{Jobs, Place, Ready, preflight};
use super::report::{Phase, RestoreReport};
use super::roles::make_roles;
use super::selection::{Chosen, choose};
use crate::content::{CatalogueObject, Extension};
use crate::postgres::analyze::analyze;
use crate::postgres::archive::{Archive, ArchiveOptions, Section, TocEntry};
use crate::postgres::extension::create_extension;
use crate::postgres::load::{connect_for_loading, name_who_locks, refresh, remove_defaults, set_sequences};
use crate::postgres::present::Present;
use crate::postgres::setting::apply_database_properties;
use crate::postgres::target::{create_database, is_missing_locale};
use crate::postgres::{ConnectOptions, Session, connect};
use crate::repository::Repository;
use crate::repository::manifest::{Backup, Database, Table};
use crate::telemetry::failpoint;
use crate::telemetry::progress::{Progress, Silent};

/// The first phase that writes into the target database; those before it create it at most.
pub const FIRST_WRITING_PHASE: &str = "pre-data";

/// Restores `database` of `backup` into the database that `target` names, which must be empty or, when the options say
/// so, absent. On an error the target is left incomplete, for people to look at.
///
/// # Errors
/// `Error::Preflight` before anything was touched; afterwards the first thing that went wrong.
pub async fn restore_database(
    repository: &Repository,
    backup: &Backup,
    database: &Database,
    target: &ConnectOptions,
    options: &RestoreOptions,
    progress: &dyn Progress,
    cancel: &CancellationToken,
) -> Result<RestoreReport> {
    let restore = Restore {
        repository,
        backup,
        database,
        target,
        options,
        progress,
    };
    let restored = Box::pin(async {
        match restore.run().await {
            Err(Error::Postgres(error)) => Err(name_who_locks(target, error).await.into()),
            restored => restored,
        }
    });
    cancel
        .run_until_cancelled(restored)
        .await
        .unwrap_or(Err(Error::Interrupted))
}

/// Looks for every reason why `database` could not be restored into the guarded target, with its definitions read and
/// checked: the target is worth more than a restore that cannot begin, so this comes before its wipe.
///
/// # Errors
/// `Error::Preflight`; `Error::Repository` when the definitions are damaged; `Error::Selection`.
pub async fn check_before_wipe(
    repository: &Repository,
    backup: &Backup,
    database: &Database,
    guarded: &Guarded,
    options: &RestoreOptions,
) -> Result<Jobs> {
    let restore = Restore {
        repository,
        backup,
        database,
        target: guarded.target(),
        options,
        progress: &Silent,
    };
    let ready = preflight(backup, database, guarded.target(), options, Place::ToBeWiped).await?;
    let archive = restore.archive(&ready).await?;
    restore
        .chosen(&archive, &mut RestoreReport::default(), Place::ToBeWiped)
        .await?;
    Ok(ready.jobs)
}

pub(super) struct Restore<'a> {
    pub(super) repository: &'a Repository,
    pub(super) backup: &'a Backup,
    pub(super) database: &'a Database,
    pub(super) target: &'a ConnectOptions,
    pub(super) options: &'a RestoreOptions,
    pub(super) progress: &'a dyn Progress,
}

impl Restore<'_> {
    async fn run(&self) -> Result<RestoreReport> {
        let mut report = RestoreReport::default();
        let clock = self.begin("preflight", None);
        let ready = preflight(self.backup, self.database, self.target, self.options, Place::AsItIs).await?;
        report.warnings.extend(ready.warnings.iter().cloned());
        let archive = self.archive(&ready).await?;
        self.name_tablespaces(&archive, &mut report).await?;
        let mut chosen = self.chosen(&archive, &mut report, Place::AsItIs).await?;
        self.end(clock, &mut report);

        let clock = self.begin("roles", None);
        let roles = self.database_and_roles(&ready, &chosen, &mut report).await?;
        self.end(clock, &mut report);

        let clock = self.begin(FIRST_WRITING_PHASE, None);
        if chosen.is_everything {
            self.remove_what_the_source_lacked().await?;
            self.extensions_of_other_versions(&archive, &ready, &mut chosen, &mut report)
                .await?;
        }
        self.definitions(&archive, (Section::PreData, 1), &chosen.entries, &mut report)
            .await?;
        self.end(clock, &mut report);

        self.data(&ready, &chosen, &mut report).await?;
        failpoint::reach("after-data").await;

        let clock = self.begin("post-data", None);
        let jobs = self.options.jobs;
        let steps = PostDataSteps::of(&chosen.entries);
        for (entries, jobs) in [(&steps.indexes, jobs), (&steps.attachments, 1), (&steps.after, jobs)] {
            self.definitions(&archive, (Section::PostData, jobs), entries, &mut report)
                .await?;
        }
        self.end(clock, &mut report);

        let clock = self.begin("refresh", None);
        let session = self.session(ready.server.is_superuser).await?;
        self.refresh(&session, &chosen, &mut report).await?;
        self.end(clock, &mut report);

        let clock = self.begin("event triggers", None);
        self.definitions(&archive, (Section::PostData, 1), &chosen.event_triggers, &mut report)
            .await?;
        self.end(clock, &mut report);

        if self.options.analyze {
            let clock = self.begin("analyze", None);
            let tables: Vec<_> = chosen.tables(self.database).map(Table::name).collect();
            analyze(&session.client, if chosen.is_everything { &[] } else { &tables }).await?;
            self.end(clock, &mut report);
        }

        // Last: a setting such as `default_transaction_read_only` holds for every session from here on.
        if chosen.is_everything {
            let clock = self.begin("properties", None);
            self.properties(&session, &roles, &mut report).await?;
            self.end(clock, &mut report);
        }
        Ok(report)
    }

    /// One that loads.
    async fn session(&self, superuser: bool) -> Result<Session> {
        Ok(connect_for_loading(self.target, superuser, self.options.lock_timeout).await?)
    }

    fn begin(&self, name: &'static str, total_bytes: Option<u64>) -> (&'static str, Instant) {
        tracing::info!(database = %self.target.database, phase = name, "restoring");
        self.progress.begin(name, total_bytes);
        (name, Instant::now())
    }

    fn end(&self, (name, since): (&'static str, Instant), report: &mut RestoreReport) {
        self.progress.end();
        report.phases.push(Phase {
            name: name.to_owned(),
            seconds: since.elapsed().as_secs_f64(),
        });
    }

    async fn archive(&self, ready: &Ready) -> Result<Archive> {
        let segments = &self.database.head.schema_archive;
        let contents = self.repository.read_segments(self.backup, segments).await?;
        Ok(Archive::new(&contents, ready.programs.clone(), ready.watches_clients)?)
    }

    async fn name_tablespaces(&self, archive: &Archive, report: &mut RestoreReport) -> Result<()> {
        if self.options.tablespaces {
            return Ok(());
        }
        for name in archive.tablespaces().await? {
            report
                .skipped
                .push(format!("tablespace {name}: its objects are in the database's own"));
            report.tablespaces_left_out.push(name);
        }
        Ok(())
    }

    async fn chosen(&self, archive: &Archive, report: &mut RestoreReport, place: Place) -> Result<Chosen> {
        let entries = archive.list().await?;
        for name in &self.database.head.subscriptions_left_out {
            let text =
                format!("subscription {name}: a restore contacts nothing outside; create it again where it is wanted");
            report.skipped.push(text);
        }
        for name in &self.database.head.mappings_redacted {
            report
                .skipped
                .push(format!("options of user mapping {name}: not in the backup"));
        }
        if self.options.selection.is_everything() {
            return Ok(Chosen::everything(entries));
        }
        let present = if self.options.create_database || place == Place::ToBeWiped {
            Present::fresh()
        } else {
            Present::read(&connect(self.target, "preflight").await?.client).await?
        };
        let (ledger, selection) = (&self.database.ledger, &self.options.selection);
        choose(&entries, ledger, &present, selection, &mut report.skipped)
    }

    /// Creates the database when asked to (the first thing that is touched), then the roles.
    async fn database_and_roles(
        &self,
        ready: &Ready,
        chosen: &Chosen,
        report: &mut RestoreReport,
    ) -> Result<BTreeSet<String>> {
        let maintenance = self.target.with_database(&self.options.maintenance_database);
        let session = connect(&maintenance, "restore").await?;
        // Where roles are only looked at, a missing one is known before anything is made.
        let only_looks = self.options.roles == RolesMode::None;
        let looked_at = if only_looks {
            Some(make_roles(&session, self, chosen, report).await?)
        } else {
            None
        };
        if self.options.create_database {
            let properties = &self.database.head.properties;
            create_database(&session.client, &self.target.database, properties, ready.server.major())
                .await
                .map_err(|source| {
                    if is_missing_locale(&source) {
                        Error::missing_locale(properties, source)
                    } else {
                        source.into()
                    }
                })?;
            failpoint::reach("after-create").await;
        }
        match looked_at {
            Some(roles) => Ok(roles),
            None => make_roles(&session, self, chosen, report).await,
        }
    }

    /// A fresh database has a schema `public` and `plpgsql`; an archive says nothing of their absence.
    async fn remove_what_the_source_lacked(&self) -> Result<()> {
        let inventory = &self.database.inventory;
        let is_public = |object: &CatalogueObject| object.object_type == "schema" && object.identity == "public";
        let is_plpgsql = |extension: &Extension| extension.name == "plpgsql";
        let has_public = inventory.iter().any(is_public);
        let has_plpgsql = self.database.head.extensions.iter().any(is_plpgsql);
        let session = connect(self.target, "restore").await?;
        Ok(remove_defaults(&session.client, !has_public, !has_plpgsql).await?)
    }

    /// An archive's `CREATE EXTENSION` names no version and installs the server's default. Where the source had another,
    /// as after an upgrade of its server, all are created here first, and the schemas that they live in before them.
    async fn extensions_of_other_versions(
        &self,
        archive: &Archive,
        ready: &Ready,
        chosen: &mut Chosen,
        report: &mut RestoreReport,
    ) -> Result<()> {
        let wanted = &self.database.head.extensions;
        let has_version = |extension: &Extension| {
            let available = ready.extensions.get(&extension.name);
            available.is_some_and(|available| available.versions.contains(&extension.version))
        };
        let is_other = |extension: &Extension| {
            let available = ready.extensions.get(&extension.name);
            has_version(extension) && available.is_some_and(|it| it.default_version != extension.version)
        };
        if !wanted.iter().any(is_other) {
            return Ok(());
        }
        let schemas = chosen.take_schemas();
        self.definitions(archive, (Section::PreData, 1), &schemas, report)
            .await?;
        let session = connect(self.target, "restore").await?;
        // In the archive's order each comes after those that it requires.
        for entry in chosen.entries.iter().filter(|entry| entry.description == "EXTENSION") {
            if let Some(extension) = wanted.iter().find(|extension| entry.is("-", &extension.name)) {
                create_extension(&session.client, extension, has_version(extension)).await?;
            }
        }
        Ok(())
    }

    async fn definitions(
        &self,
        archive: &Archive,
        (section, jobs): (Section, usize),
        entries: &[TocEntry],
        report: &mut RestoreReport,
    ) -> Result<()> {
        let options = ArchiveOptions {
            jobs,
            tablespaces: self.options.tablespaces,
        };
        let entries: Vec<&TocEntry> = entries.iter().collect();
        let remarks = archive.restore(section, &entries, self.target, options).await?;
        report.warnings.extend(remarks);
        Ok(())
    }

    async fn data(&self, ready: &Ready, chosen: &Chosen, report: &mut RestoreReport) -> Result<()> {
        let plan = plan_load(self.backup, self.database, |table| chosen.has(table.name()))?;
        let clock = self.begin("data", Some(plan.raw_bytes));
        report.tables = chosen.tables(self.database).count() as u64;
        report.raw_bytes = plan.raw_bytes;
        let superuser = ready.server.is_superuser;
        let load = Load {
            repository: self.repository,
            backup: self.backup,
            database: self.database,
            target: self.target,
            options: self.options,
            superuser,
            progress: self.progress,
        };
        let stats = load.run(plan).await?;
        report.rows = stats.rows;
        report.stored_bytes = stats.stored_bytes;
        let session = self.session(superuser).await?;
        let sequences: Vec<_> = self
            .database
            .sequences
            .iter()
            .filter(|sequence| chosen.has(&sequence.name))
            .collect();
        set_sequences(&session.client, &sequences).await?;
        self.end(clock, report);
        let objects = &self.database.large_objects;
        if objects.is_empty() {
            return Ok(());
        }
        if !chosen.is_everything {
            let text = format!("{} large objects: they belong to no table or schema", objects.len());
            report.skipped.push(text);
            return Ok(());
        }
        let clock = self.begin("large objects", None);
        restore_large_objects(self, &session, report).await?;
        self.end(clock, report);
        Ok(())
    }

    async fn refresh(&self, session: &Session, chosen: &Chosen, report: &mut RestoreReport) -> Result<()> {
        let mut views: Vec<_> = self
            .database
            .materialized_views
            .iter()
            .filter(|view| view.populated && chosen.has(&view.name))
            .collect();
        views.sort_by_key(|view| view.refresh_order);
        for view in views {
            if view.reads_foreign {
                let text = format!("materialized view {}: reads a foreign table, not refreshed", view.name);
                report.skipped.push(text);
            } else {
                refresh(&session.client, &view.name).await?;
            }
        }
        Ok(())
    }

    async fn properties(&self, session: &Session, roles: &BTreeSet<String>, report: &mut RestoreReport) -> Result<()> {
        let properties = &self.database.head.properties;
        let name = &self.target.database;
        let not_set = apply_database_properties(&session.client, name, properties, |role| roles.contains(role)).await?;
        for setting in not_set {
            let role = setting.role.unwrap_or_default();
            report
                .skipped
                .push(format!("a setting of role {role} in the database: no such role"));
        }
        Ok(())
    }
}
