//! The word of drills: what one here has said of a backup's contents goes with it.
//!
//! A drill that found objects damaged has spoken of the bytes of its own place, and of nobody else's; that is not brought.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::repository::certificates::CertificateRef;
use crate::repository::elsewhere::key_of;
use crate::repository::error::{Error, Result};
use crate::repository::id::BackupId;
use crate::repository::layout::CertificateState;
use crate::repository::limits::MAX_REPORT_BYTES;
use crate::repository::presence::CONCURRENCY;
use crate::repository::reader::Repository;

/// Brings the verdict that counts of each of `backups`, where it is not there yet, and tells how many.
pub(super) async fn copy_words(from: &Repository, to: &Repository, backups: &BTreeSet<BackupId>) -> Result<u64> {
    let there = to.words_from_elsewhere().await?;
    let mut words = Vec::new();
    let own = from.certificates().await?;
    // Where this place is a copy itself, the first one's word is handed on.
    let handed_on = from.words_from_elsewhere().await?;
    for backup_id in backups {
        let newest_first = |list: Option<&Vec<CertificateRef>>, is_own: bool| -> Vec<(CertificateRef, bool)> {
            let judged = list.into_iter().flatten().rev();
            let judged =
                judged.filter(|word| matches!(word.state, CertificateState::Certified | CertificateState::Failed));
            judged.map(|word| (word.clone(), is_own)).collect()
        };
        let mut of_backup = newest_first(own.get(backup_id), true);
        of_backup.extend(newest_first(handed_on.get(backup_id), false));
        words.push((backup_id.clone(), of_backup));
    }
    let there = &there;
    let copied: Vec<bool> = stream::iter(words)
        .map(|(backup_id, words)| async move {
            let known = there.get(&backup_id).map_or(&[][..], Vec::as_slice);
            copy_word(from, to, &backup_id, words, known).await
        })
        .buffer_unordered(CONCURRENCY)
        .try_collect()
        .await?;
    Ok(copied.into_iter().filter(|is_copied| *is_copied).count() as u64)
}

/// Brings the first of `words` that speaks of the contents.
async fn copy_word(
    from: &Repository,
    to: &Repository,
    backup_id: &BackupId,
    words: Vec<(CertificateRef, bool)>,
    known: &[CertificateRef],
) -> Result<bool> {
    for (word, is_own) in words {
        if known.contains(&word) {
            return Ok(false);
        }
        let there = key_of(backup_id, &word).to_string();
        let here = if is_own { word.key(backup_id) } else { there.clone() };
        if word.state == CertificateState::Failed && from.damage_named_in(&here).await? != Some(Vec::new()) {
            continue;
        }
        let body = match from.store().get_at_most(&here, MAX_REPORT_BYTES).await {
            Ok(body) => body,
            // Expired and pruned meanwhile.
            Err(error) if error.is_not_found() => return Ok(false),
            Err(error) => return Err(Error::of_get(error)),
        };
        to.store().put_new(&there, body).await?;
        return Ok(true);
    }
    Ok(false)
}
