//! Large objects: created, filled page by page at byte offsets, then given length, owner, privileges and comment.



use super::error::{Error, Result};
use super::load::send_frame;
use super::report::RestoreReport;
use super::run::Restore;
use crate::postgres::Session;
use crate::postgres::load::{COPY_PAGES, CopyIn, create_large_objects, finish_large_objects, put_pages};

/// Restores every large object of the database on one session.
///
/// Each segment's pages are copied into a temporary table and written from there, so that a page costs no round trip.
pub(super) async fn restore_large_objects(
    restore: &Restore<'_>,
    session: &Session,
    report: &mut RestoreReport,
) -> Result<()> {
    let objects = &restore.database.large_objects;
    let client = &session.client;
    create_large_objects(client, objects).await?;
    let mut chunk = None;
    for segment in &restore.database.head.large_object_segments {
        let number = segment.chunk as usize;
        if chunk.as_ref().is_none_or(|(held, _)| *held != number) {
            let entry = restore
                .backup
                .chunks
                .get(number)
                .ok_or_else(|| Error::Contradiction(format!("large objects refer to chunk {number}, which does not exist")))?;
            report.stored_bytes += entry.stored_bytes;
            chunk = Some((number, restore.repository.read_chunk(entry).await?));
        }
        let Some((_, bytes)) = &chunk else { continue };
        let frame = segment.frame as usize;
        let reader = bytes.frame(frame)?;
        let raw_bytes = bytes.frames()[frame].raw_bytes;
        let mut copy = CopyIn::begin(client, COPY_PAGES, "load large objects".to_owned()).await?;
        send_frame(&mut copy, reader, raw_bytes).await?;
        let pages = copy.finish().await?;
        if pages != segment.rows {
            return Err(Error::Contradiction(format!(
                "a segment of large objects holds {} pages and {pages} were loaded",
                segment.rows
            )));
        }
        put_pages(client).await?;
        restore.progress.advance(raw_bytes);
        report.raw_bytes += raw_bytes;
    }
    finish_large_objects(client, objects).await?;
    report.large_objects = objects.len() as u64;
    Ok(())
}
