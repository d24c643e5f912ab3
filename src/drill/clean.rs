//! What a drill takes away again: rebuilt data, and the roles that it made so that the data could be rebuilt.
//!
//! A role that stays behind would hide, from the next drill, that nobody else creates it.

use tokio_util::sync::CancellationToken;

use super::error::Result;
use super::run::{Held, ROLE_COMMENT};
use crate::postgres::role_apply::drop_roles_with_comment;
use crate::postgres::{ConnectOptions, connect};
use crate::restore::wipe;

/// Wipes every target again, then drops the drill's roles. The verdict stands already: what cannot be cleaned up now is
/// said, and left to the next drill.
pub(super) async fn clean_up(guards: &[Held<'_>], cancel: &CancellationToken) {
    for (guarded, database) in guards {
        if let Err(error) = wipe(guarded, &database.head.properties, cancel).await {
            tracing::warn!(database = guarded.target().database, %error, "the target was not wiped after the drill");
        }
    }
    for (guarded, _) in guards {
        if let Err(error) = drop_leftover_roles(guarded.target()).await {
            tracing::warn!(database = guarded.target().database, %error, "the drill's roles were not dropped");
        }
    }
}

/// Drops the roles of this or of a killed drill that nothing belongs to any more.
pub(super) async fn drop_leftover_roles(target: &ConnectOptions) -> Result<()> {
    let session = connect(target, "drill").await?;
    let (dropped, left) = drop_roles_with_comment(&session.client, ROLE_COMMENT).await?;
    tracing::debug!(dropped = dropped.len(), left = left.len(), "dropped roles of a drill");
    Ok(())
}
