//! What people do to production: a table is dropped, a `DELETE` lacks its `WHERE`. Both times the table comes back.

use anyhow::{Context as _, Result, ensure};

use super::stage::{Call, DATABASE, Stage};
use super::teller::Teller;

/// The table that is lost.
pub(super) const LOST: &str = "public.reviews";

pub(super) async fn bring_back_a_table(stage: &Stage, teller: &mut Teller<'_>) -> Result<()> {
    teller.chapter("Somebody drops a table in production")?;
    let before = contents(stage)?;
    drop_the_table(stage, teller)?;
    restore_the_table(stage, teller, "latest").await?;
    ensure_it_came_back(stage, teller, &before)
}

/// A backup of a bad state is a good backup of it. What keeps the good ones is that it is noticed in time.
pub(super) async fn forget_a_where(stage: &Stage, teller: &mut Teller<'_>) -> Result<()> {
    teller.chapter("Somebody forgets a WHERE, and the next backup is published")?;
    let before = contents(stage)?;
    psql(stage, teller, &format!("DELETE FROM {LOST}"))?;
    stage.kubebackup(teller, Call::of(&["backup"]).shown_lines(3)).await?;
    teller.say("It is a sound backup: a drill would find it equal to production. But it holds less than one before it,\nso nothing may be deleted until a person has looked:")?;
    let listed = stage.kubebackup(teller, Call::of(&["list", "--newest", "2"])).await?;
    ensure!(
        listed.contains("freezes deletion"),
        "the new backup should freeze deletion"
    );
    let diff = stage
        .kubebackup(teller, Call::of(&["diff", "trusted", "latest"]))
        .await?;
    ensure!(diff.contains(LOST), "diff should have named {LOST}");
    teller.say("The good copy is there. The emptied table makes way for it:")?;
    drop_the_table(stage, teller)?;
    restore_the_table(stage, teller, "trusted").await?;
    ensure_it_came_back(stage, teller, &before)?;
    let accept = ["accept-drift", "--reason", "the reviews were brought back"];
    stage.kubebackup(teller, Call::of(&accept)).await?;
    let listed = stage.kubebackup(teller, Call::of(&["list", "--newest", "2"])).await?;
    ensure!(!listed.contains("freezes deletion"), "deletion should have thawed");
    Ok(())
}

fn psql(stage: &Stage, teller: &mut Teller<'_>, statement: &str) -> Result<()> {
    teller.typed(&format!("psql -c \"{statement}\""))?;
    stage.production.sql(DATABASE, statement)?;
    Ok(())
}

fn drop_the_table(stage: &Stage, teller: &mut Teller<'_>) -> Result<()> {
    psql(stage, teller, &format!("DROP TABLE {LOST}"))
}

async fn restore_the_table(stage: &Stage, teller: &mut Teller<'_>, backup: &str) -> Result<()> {
    let into = stage.production.dsn(stage.production.superuser(), DATABASE);
    let restore = [
        "restore",
        "--backup",
        backup,
        "--into",
        &into,
        "--database",
        DATABASE,
        "--table",
        LOST,
    ];
    stage.kubebackup(teller, Call::of(&restore)).await?;
    Ok(())
}

/// Number of rows and a digest of all of them, as PostgreSQL itself says.
fn contents(stage: &Stage) -> Result<String> {
    let digest = format!("SELECT count(*), md5(string_agg(md5(r::text), '' ORDER BY r.id)) FROM {LOST} r");
    stage.production.sql(DATABASE, &digest)
}

fn ensure_it_came_back(stage: &Stage, teller: &mut Teller<'_>, before: &str) -> Result<()> {
    let after = contents(stage)?;
    ensure!(before == after, "{LOST} came back as {after}, but was {before}");
    let (rows, digest) = after.split_once('|').context("count the rows")?;
    teller.say(&format!(
        "PostgreSQL itself says: {rows} rows, MD5 {digest}, before and after."
    ))?;
    Ok(())
}
