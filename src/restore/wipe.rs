//! Makes the guarded target equal to a fresh copy of `template0`, and proves it.
//!
//! A scratch database is created first, from `template0` with the backup's encoding and locale: what the target must
//! equal, and the proof that the server can make such a database before anything is dropped. The target is emptied in
//! place, in batches that fit the lock table. Where that does not end equal (or the locale differs), the scratch
//! database takes the target's place: it carries the marker, both are renamed in one transaction, and only then is the
//! old one dropped. So there is a marked target at every moment.
//!
//! What a killed wipe left is known by its name and by this repository's marker, and dropped by the next; nothing without it is.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tokio_util::sync::CancellationToken;

use super::error::{Error, Result};
use super::guard::Guarded;
use super::preflight::Problem;
use crate::content::DatabaseProperties;
use crate::postgres::fresh::differences;
use crate::postgres::target::{
    DatabaseFacts, create_database, drop_database, is_missing_locale, list_marked, mark_database, read_database,
    replace_database,
};
use crate::postgres::wipe::{STEPS, batches, prepare, public_schema_statements};
use crate::postgres::{self, Circumstance, connect};
use crate::telemetry::failpoint;

/// What a wipe did.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct WipeReport {
    /// Statements by what they removed, in order; empty when the database was replaced at once.
    pub dropped: Vec<(String, u64)>,
    /// Why the database was dropped and created again, when it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recreated: Option<String>,
}

/// Wipes the guarded target so that it equals a fresh database with the encoding and locale of `properties`.
///
/// # Errors
/// `Error::MissingLocale` and `Problem::NoScratchDatabase` before anything was touched; `Error::Residue` when even a new database does not equal another;
/// `Refusal::LockLost` and `Error::Interrupted` at any time; whatever the server refused.
pub async fn wipe(
    guarded: &Guarded,
    properties: &DatabaseProperties,
    cancel: &CancellationToken,
) -> Result<WipeReport> {
    let wipe = Wipe {
        guarded,
        properties,
        cancel,
        scratch: format!("{}{:08x}", scratch_beginning(guarded), rand::random::<u32>()),
        old: format!("kubebackup_old_{}", suffix(&guarded.target().database)),
    };
    let result = Box::pin(wipe.run()).await;
    if result.is_err() && !guarded.lost().is_cancelled() {
        // Nobody else has a database of that name; the error that is being returned matters more than one from here.
        if let Err(error) = drop_database(guarded.maintenance(), &wipe.scratch).await {
            tracing::warn!(%error, database = %wipe.scratch, "a scratch database is left behind");
        }
    }
    result
}

struct Wipe<'a> {
    guarded: &'a Guarded,
    properties: &'a DatabaseProperties,
    cancel: &'a CancellationToken,
    /// A name of its own each time: one that is killed before it has marked its database stands in nobody's way.
    scratch: String,
    /// What a target that was replaced is called until it is dropped.
    old: String,
}

impl Wipe<'_> {
    async fn run(&self) -> Result<WipeReport> {
        self.drop_old().await?;
        self.drop_leftovers().await?;
        self.create_scratch().await.map_err(|error| self.no_scratch(error))?;
        failpoint::reach("wipe-after-scratch").await;
        let mut report = WipeReport::default();
        let facts = self.target_facts().await?;
        let reason = if facts.has_locale_of(self.properties) {
            self.empty_in_place(&mut report).await?
        } else {
            Some("it has another encoding or locale than the backup".to_owned())
        };
        match reason {
            None => {
                failpoint::reach("wipe-emptied").await;
                drop_database(self.guarded.maintenance(), &self.scratch).await?;
            }
            Some(reason) => {
                self.replace().await?;
                report.recreated = Some(reason);
            }
        }
        Ok(report)
    }

    /// `None` when the target equals the scratch database afterwards; else why it does not.
    async fn empty_in_place(&self, report: &mut WipeReport) -> Result<Option<String>> {
        match self.drop_everything(report).await {
            Ok(()) => {}
            Err(Error::Postgres(error)) if !self.guarded.lost().is_cancelled() => {
                tracing::info!(%error, "emptying in place was refused");
                return Ok(Some(format!("a statement was refused: {}", error_chain(&error))));
            }
            Err(error) => return Err(error),
        }
        let residue = self.compare_with_scratch().await?;
        Ok((!residue.is_empty()).then(|| residue.join("; ")))
    }

    async fn drop_everything(&self, report: &mut WipeReport) -> Result<()> {
        let session = connect(self.guarded.target(), "wipe").await?;
        self.guarded.check_same_server(&session.client).await?;
        prepare(&session.client).await?;
        let scratch = connect(&self.guarded.target().with_database(&self.scratch), "wipe").await?;
        // Half of a quarter: batches must fit beside whatever else the server does.
        let budget = (self.guarded.server().lock_slots / 8).max(20);
        for step in STEPS {
            let statements = step.statements(&session.client).await?;
            if statements.is_empty() {
                continue;
            }
            report.dropped.push((step.what.to_owned(), statements.len() as u64));
            let batches = batches(statements, if step.one_by_one { 0 } else { budget });
            for batch in batches {
                self.execute(&session.client, &batch, &format!("drop {}", step.what))
                    .await?;
                failpoint::reach("wipe-after-batch").await;
            }
        }
        for statement in public_schema_statements(&session.client, &scratch.client).await? {
            self.execute(&session.client, &statement, "reset schema public").await?;
        }
        Ok(())
    }

    async fn execute(&self, client: &Client, statements: &str, doing: &str) -> Result<()> {
        self.guarded.check()?;
        if self.cancel.is_cancelled() {
            return Err(Error::Interrupted);
        }
        let run = client.batch_execute(statements);
        tokio::select! {
            () = self.guarded.lost().cancelled() => Err(self.guarded.lock_lost()),
            // The session is dropped with the error, and the server ends a statement whose client is gone.
            () = self.cancel.cancelled() => Err(Error::Interrupted),
            result = run => result.map_err(|source| {
                Error::Postgres(postgres::Error::Query { doing: doing.to_owned(), source: source.into() })
            }),
        }
    }

    async fn compare_with_scratch(&self) -> Result<Vec<String>> {
        let target = connect(self.guarded.target(), "wipe").await?;
        let scratch = connect(&self.guarded.target().with_database(&self.scratch), "wipe").await?;
        Ok(differences(&target.client, &scratch.client).await?)
    }

    /// The marked scratch database takes the target's name; then another scratch database proves it.
    async fn replace(&self) -> Result<()> {
        let client = self.guarded.maintenance();
        let name = &self.guarded.target().database;
        self.guarded.check()?;
        failpoint::reach("wipe-before-rename").await;
        replace_database(client, name, &self.scratch, &self.old).await?;
        failpoint::reach("wipe-after-rename").await;
        self.drop_old().await?;
        self.create_scratch().await?;
        let residue = self.compare_with_scratch().await?;
        drop_database(client, &self.scratch).await?;
        if residue.is_empty() {
            Ok(())
        } else {
            Err(Error::Residue(residue))
        }
    }

    /// The target that this or a killed wipe replaced. It still carries its marker: nothing else of that name is dropped.
    async fn drop_old(&self) -> Result<()> {
        let client = self.guarded.maintenance();
        self.guarded.check()?;
        let Some(facts) = read_database(client, &self.old).await? else {
            return Ok(());
        };
        if facts.marker.as_deref() == Some(self.guarded.repository_id().as_str()) {
            drop_database(client, &self.old).await?;
        }
        Ok(())
    }

    /// Scratch databases of wipes of this target that were killed: the guard's lock says that none goes on.
    async fn drop_leftovers(&self) -> Result<()> {
        let client = self.guarded.maintenance();
        let beginning = scratch_beginning(self.guarded);
        let repository_id = self.guarded.repository_id().as_str();
        for name in list_marked(client, &beginning, repository_id).await? {
            self.guarded.check()?;
            drop_database(client, &name).await?;
        }
        Ok(())
    }

    async fn create_scratch(&self) -> Result<()> {
        let client = self.guarded.maintenance();
        self.guarded.check()?;
        let major = self.guarded.server().major();
        create_database(client, &self.scratch, self.properties, major)
            .await
            .map_err(|source| {
                if is_missing_locale(&source) {
                    Error::missing_locale(self.properties, source)
                } else {
                    source.into()
                }
            })?;
        Ok(mark_database(client, &self.scratch, self.guarded.repository_id().as_str()).await?)
    }

    /// Nothing was touched yet, and the backup has no part in it.
    fn no_scratch(&self, error: Error) -> Error {
        use Circumstance::{Broken, Crashed, Ended, NotReady};
        let Error::Postgres(cause) = &error else { return error };
        // The server goes away, or this session of it: that says nothing of what it lets us make.
        if matches!(Circumstance::of(cause), Some(Broken | Crashed | Ended | NotReady)) {
            return error;
        }
        let Some(reason) = cause.server_message() else {
            return error;
        };
        Error::Preflight(vec![Problem::NoScratchDatabase {
            user: self.guarded.target().user.clone(),
            reason,
            is_denied: cause.sqlstate() == Some(&SqlState::INSUFFICIENT_PRIVILEGE),
        }])
    }

    async fn target_facts(&self) -> Result<DatabaseFacts> {
        let name = &self.guarded.target().database;
        let facts = read_database(self.guarded.maintenance(), name).await?;
        // It was there a moment ago.
        facts.ok_or_else(|| Error::Preflight(vec![Problem::DatabaseAbsent { database: name.clone() }]))
    }
}

impl Error {
    pub(super) fn missing_locale(properties: &DatabaseProperties, source: postgres::Error) -> Self {
        Self::MissingLocale {
            encoding: properties.encoding.clone(),
            locale: properties
                .icu_locale
                .clone()
                .unwrap_or_else(|| properties.collate.clone()),
            source,
        }
    }
}

/// Of the names of scratch databases of wipes of this target.
fn scratch_beginning(guarded: &Guarded) -> String {
    format!("kubebackup_fresh_{}_", suffix(&guarded.target().database))
}

/// Eight hexadecimal digits of the target's name: database names end at 63 bytes.
fn suffix(database: &str) -> String {
    hex::encode(&blake3::hash(database.as_bytes()).as_bytes()[..4])
}

fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
