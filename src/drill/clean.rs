//! What a drill takes away again: rebuilt data, and the roles that it made so that the data could be rebuilt.
//!
//! A role that stays behind would hide, from the next drill, that nobody else creates it. But roles belong to the whole
//! server, where another drill may rely on one that this one made: the last drill drops them.

use tokio_util::sync::CancellationToken;

use super::error::Result;
use super::run::{Held, ROLE_COMMENT};
use crate::postgres::role_apply::{drop_unused_drill_roles, release_drill_roles, use_drill_roles};
use crate::postgres::{ConnectOptions, Session, connect};
use crate::restore::wipe;

/// Wipes every target again, then drops the drills' roles. The verdict stands already: what cannot be cleaned up now is
/// said, and left to the next drill.
pub(super) async fn clean_up(held: Held<'_>, cancel: &CancellationToken) {
    for (guarded, database) in &held.targets {
        if let Err(error) = wipe(guarded, &database.head.properties, cancel).await {
            tracing::warn!(database = guarded.target().database, %error, "the target was not wiped after the drill");
        }
    }
    if let Some(roles) = held.roles
        && let Err(error) = roles.end().await
    {
        tracing::warn!(%error, "the drill's roles were not dropped");
    }
}

/// That a drill relies on roles which drills made, from before it looks for them until its targets are wiped.
pub(super) struct RolesInUse {
    session: Session,
}

impl RolesInUse {
    pub(super) async fn begin(maintenance: &ConnectOptions) -> Result<Self> {
        let session = connect(maintenance, "drill roles").await?;
        use_drill_roles(&session.client).await?;
        Ok(Self { session })
    }

    /// Drops the roles of a killed drill that nothing belongs to any more, unless another drill relies on them.
    pub(super) async fn drop_leftovers(&self) -> Result<()> {
        let dropped = drop_unused_drill_roles(&self.session.client, ROLE_COMMENT).await?;
        if let Some((dropped, left)) = dropped {
            tracing::debug!(dropped = dropped.len(), left = left.len(), "dropped roles of a drill");
        } else {
            tracing::info!("another drill runs on this server; the last one drops the roles of both");
        }
        Ok(())
    }

    async fn end(self) -> Result<()> {
        release_drill_roles(&self.session.client).await?;
        self.drop_leftovers().await
    }
}
