//! `kubebackup demo`: the whole path told as a story, with throw-away servers and the same binary a user runs.
//!
//! Every step is checked: the story ends well only when each call ended as told, the drill certified, and the damaged
//! chunk was refused by name. Must run on the thread that lives longest: the servers die with the one that starts them.

mod agents;
mod losses;
mod stage;
mod teller;

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use tokio_util::sync::CancellationToken;

use self::agents::Agents;
use self::losses::{LOST, bring_back_a_table, forget_a_where};
use self::stage::{Call, DATABASE, Ending, RESTORED, Stage, flip_a_bit};
use self::teller::Teller;
use super::shop;
use crate::repository::manifest::{Backup, Table};

/// How to tell it.
#[derive(Clone, Debug)]
pub struct StoryOptions {
    /// The program to run: this very one, from `std::env::current_exe`.
    pub program: PathBuf,
    /// Leave everything running at the end, until cancelled.
    pub keep: bool,
    /// A drill's exit code for the verdict `failed`.
    pub failed_code: i32,
}

/// The table whose rows get damaged in the bucket.
const DAMAGED: &str = "order_items";

/// Tells the story to `out`. Dropped or cancelled half-way, it cleans up as well.
///
/// # Errors
/// The first step that did not end as told, with what the program printed.
pub async fn tell(options: &StoryOptions, out: &mut (dyn Write + Send), cancel: &CancellationToken) -> Result<()> {
    let mut teller = Teller::new(out);
    cancel
        .run_until_cancelled(Box::pin(play(options, &mut teller, cancel)))
        .await
        .unwrap_or(Ok(()))
}

async fn play(options: &StoryOptions, teller: &mut Teller<'_>, cancel: &CancellationToken) -> Result<()> {
    teller.say("A backup has value only when its restoration has been proven. This is how KubeBackup proves it.")?;
    let stage = set_the_stage(options, teller).await?;
    first_backup(&stage, teller).await?;
    second_backup(&stage, teller).await?;
    drill(&stage, teller).await?;
    damage(&stage, teller, options.failed_code).await?;
    heal(&stage, teller).await?;
    bring_back_a_table(&stage, teller).await?;
    forget_a_where(&stage, teller).await?;
    let agents = without_a_person(&stage, teller).await?;
    teller.chapter("What you have seen")?;
    teller.say(&format!(
        "In {} seconds: a backup by a role that is no superuser, reuse, a certified drill, damage refused and healed,\n\
         a table brought back twice, a loss that froze deletion before any good copy could age out, and two agents\n\
         that go on alone. Nothing was taken on trust: each step was checked.",
        teller.elapsed().as_secs()
    ))?;
    if options.keep {
        keep(&stage, &agents, teller, cancel).await?;
    }
    agents.stop().await
}

async fn set_the_stage(options: &StoryOptions, teller: &mut Teller<'_>) -> Result<Stage> {
    teller.chapter("A production database, a bucket, and a server to throw away")?;
    let stage = Stage::set(options.program.clone()).await?;
    let size = stage.production.sql(
        DATABASE,
        "SELECT count(*) || ' tables and ' || sum(greatest(reltuples, 0))::bigint || ' rows'
         FROM pg_class WHERE relkind = 'r' AND oid >= 16384",
    )?;
    teller.say(&format!(
        "production      PostgreSQL on port {}: database {DATABASE} with {size}\n\
         bucket          an S3 server in this process\n\
         throw-away      PostgreSQL on port {}: empty database {RESTORED}\n\n\
         Backups are taken by a role that is no superuser:",
        stage.production.port(),
        stage.target.port()
    ))?;
    teller.typed("psql -d postgres -f manifests/backup-role.sql")?;
    teller.say("The settings file, as a user would write it:")?;
    teller.answered(&stage.settings()?)?;
    Ok(stage)
}

async fn first_backup(stage: &Stage, teller: &mut Teller<'_>) -> Result<()> {
    teller.chapter("The first backup")?;
    stage.kubebackup(teller, Call::of(&["backup"])).await?;
    stage.kubebackup(teller, Call::of(&["list"])).await?;
    Ok(())
}

async fn second_backup(stage: &Stage, teller: &mut Teller<'_>) -> Result<()> {
    teller.chapter("A day's business, and a second backup that stores only what changed")?;
    shop::change(&stage.production, DATABASE)?;
    stage.kubebackup(teller, Call::of(&["backup"])).await?;
    let stats = stage.newest_backup().await?.manifest.stats;
    ensure!(
        stats.reused_chunks > 0 && stats.new_bytes < stats.stored_bytes,
        "the second backup should have reused chunks of the first: {stats:?}"
    );
    Ok(())
}

async fn drill(stage: &Stage, teller: &mut Teller<'_>) -> Result<()> {
    teller.chapter("The drill: destroy, rebuild from the bucket alone, compare")?;
    let repository_id = stage.repository().await?.id().to_string();
    let marker = format!("ALTER DATABASE {RESTORED} SET kubebackup.disposable = '{repository_id}'");
    teller.say("A drill destroys its target, so the target's owner has to say once that it may:")?;
    teller.typed(&format!("psql -c \"{marker}\""))?;
    stage.target.sql("postgres", &marker)?;
    stage
        .kubebackup(teller, Call::of(&["drill", "--backup", "latest"]))
        .await?;
    Ok(())
}

async fn damage(stage: &Stage, teller: &mut Teller<'_>, failed_code: i32) -> Result<()> {
    teller.chapter("One bit flips in the bucket")?;
    let backup = stage.newest_backup().await?;
    let place = place_of(&backup, DAMAGED)?;
    flip_a_bit(&stage.object(&place.key), place.offset)?;
    teller.say(&format!(
        "The object {}\nholds rows of {}.\n",
        place.key,
        place.tables.join(", ")
    ))?;

    let names_both = |answer: &str| {
        let names_table = place.tables.iter().any(|table| answer.contains(table.as_str()));
        answer.contains(&place.key) && names_table
    };
    let drilled = stage
        .kubebackup(
            teller,
            Call::of(&["drill", "--backup", "latest"]).ending(Ending::Code(failed_code)),
        )
        .await?;
    ensure!(
        names_both(&drilled),
        "the drill should have named the chunk and a table in it"
    );
    let id = backup.manifest.backup_id.to_string();
    let verified = stage
        .kubebackup(teller, Call::of(&["verify", "--backup", &id]).ending(Ending::Refusal))
        .await?;
    ensure!(verified.contains(&place.key), "verify should have named the chunk");
    Ok(())
}

async fn heal(stage: &Stage, teller: &mut Teller<'_>) -> Result<()> {
    teller.chapter("The next backup heals: what was found damaged is never reused")?;
    stage.kubebackup(teller, Call::of(&["backup"])).await?;
    let stats = stage.newest_backup().await?.manifest.stats;
    ensure!(
        stats.healed_chunks > 0,
        "the damaged chunk should have been stored again: {stats:?}"
    );
    stage
        .kubebackup(teller, Call::of(&["drill", "--backup", "latest"]).shown_lines(1))
        .await?;
    stage.kubebackup(teller, Call::of(&["list"])).await?;
    Ok(())
}

/// The agents, settled; they go on until they are stopped.
async fn without_a_person(stage: &Stage, teller: &mut Teller<'_>) -> Result<Agents> {
    teller.chapter("From now on without a person: the two agents")?;
    let before = stage.newest_backup().await?.manifest.backup_id.to_string();
    let mut agents = Agents::start(stage).await?;
    teller
        .say("They run as they do in their pods, each with its own settings and port. One backs up every six hours:")?;
    teller.answered(&stage.backup_agent_settings()?)?;
    teller.say("The other looks into the bucket and proves what is new. Something changes, and a signal asks for a backup now:")?;
    let change = format!("DELETE FROM {LOST} WHERE id % 7 = 0");
    teller.typed(&format!("psql -c \"{change}\""))?;
    stage.production.sql(DATABASE, &change)?;
    let agent = agents.backup.id()?;
    teller.typed(&format!("kill -USR1 {agent}"))?;
    agents.backup.signal(Signal::SIGUSR1)?;
    let certified = agents.next_certified(&before).await?;
    let page = agents.restore.get("/").await?;
    ensure!(page.contains(&certified), "the page should show backup {certified}");
    let metrics = agents.backup.get("/metrics").await?;
    ensure!(
        metrics.contains("kubebackup_newest_certified_snapshot_timestamp_seconds"),
        "the backup agent should tell the age of the newest certified backup:\n{metrics}"
    );
    teller.say(&format!(
        "Backup {certified} was taken, found by the restore agent, rebuilt from the bucket\n\
         and certified. Its page at / shows that to people, /metrics to Prometheus.\n"
    ))?;
    stage.kubebackup(teller, Call::of(&["list"])).await?;
    Ok(agents)
}

async fn keep(stage: &Stage, agents: &Agents, teller: &mut Teller<'_>, cancel: &CancellationToken) -> Result<()> {
    teller.chapter("Go on by hand")?;
    teller.say("For people and for Prometheus, from the backup agent and from the restore agent:")?;
    teller.answered(&format!(
        "{}\n{}\n{}\n{}",
        agents.backup.url("/"),
        agents.backup.url("/metrics"),
        agents.restore.url("/"),
        agents.restore.url("/metrics"),
    ))?;
    let production = stage.production.dsn(stage.production.superuser(), DATABASE);
    let restored = stage.target.dsn(stage.target.superuser(), RESTORED);
    teller.say("Everything keeps running until Ctrl-C. In another terminal:")?;
    teller.answered(&format!(
        "{}\npsql \"{production}\"\npsql \"{restored}\"\nkubebackup list\nkubebackup backup\nkill -USR1 {}",
        stage.exports(),
        agents.backup.id()?
    ))?;
    cancel.cancelled().await;
    Ok(())
}

/// A byte in the bucket: in the middle of the first frame of some table's rows.
struct Place {
    key: String,
    offset: usize,
    /// Every table with rows in that object.
    tables: Vec<String>,
}

fn place_of(backup: &Backup, table: &str) -> Result<Place> {
    let tables: Vec<&Table> = backup.databases.iter().flat_map(|database| &database.tables).collect();
    let damaged = tables
        .iter()
        .find(|candidate| candidate.name().name == table)
        .context("the backup lacks the table")?;
    let segment = damaged.segments.first().context("the table is empty")?;
    let chunk = backup
        .chunks
        .get(segment.chunk as usize)
        .context("the chunk is unknown")?;
    let before: u64 = chunk
        .frames
        .iter()
        .take(segment.frame as usize)
        .map(|frame| frame.stored_bytes)
        .sum();
    let frame = chunk
        .frames
        .get(segment.frame as usize)
        .context("the frame is unknown")?;
    Ok(Place {
        key: chunk.key.clone(),
        offset: usize::try_from(before + frame.stored_bytes / 2)?,
        tables: tables
            .iter()
            .filter(|table| table.segments.iter().any(|other| other.chunk == segment.chunk))
            .map(|table| table.name().name.clone())
            .collect(),
    })
}
