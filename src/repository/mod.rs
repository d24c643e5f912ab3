//! The repository: where backups live, in what shape, and how they are written and read back.
//!
//! Objects are created once and never overwritten. A backup exists if and only if its manifest does, and the manifest
//! is written last. Only `layout` builds keys. `docs/format.md` describes it all for a second implementation.

#[cfg(test)]
pub(crate) mod adversary;
#[cfg(test)]
mod alone;
mod certificates;
mod codec;
mod commit;
mod copy;
mod damage;
pub mod diff;
pub mod document;
pub mod drift;
mod elsewhere;
mod error;
#[cfg(test)]
mod format_page;
mod history;
mod holds;
#[cfg(test)]
mod hundred_thousand;
pub mod id;
mod index;
pub mod layout;
mod lease;
mod limits;
mod listing;
mod locks;
pub mod manifest;
mod neighbours;
mod older_versions;
mod placement;
mod presence;
mod reader;
mod records;
mod references;
mod retention;
mod reuse;
#[cfg(test)]
mod testing;
mod upload_room;
mod verify;
mod writer;

pub use certificates::{CertificateRef, last_verdict};
pub use codec::{ChunkBytes, FrameReader};
pub use commit::{ManifestDraft, Unpublished};
pub use copy::{CopyOptions, CopyReport, Left, copy, open_copy};
pub use error::{Error, Result};
pub use holds::{Hold, HoldChange};
pub use layout::CertificateState;
pub use lease::{Acquisition, Lease, LeaseOptions, Occupant};
pub use listing::{ListedCertificates, ObjectVersion};
pub use locks::KnownLocks;
pub use neighbours::Neighbours;
pub use reader::{Repository, StoredManifest};
pub use retention::{
    Candidate, ClusterPlan, Counted, Decision, ExpireOptions, ExpireReport, Leftovers, Plan, PlanLine, Policy, Proof,
    PruneOptions, PruneOutcome, PruneReport, Reason, Retained, accept_hidden, expire, plan, prune,
};
pub use reuse::ReuseIndex;
pub use verify::{DamageRecord, Defect, Touched, TouchedContent, VerifyOptions, VerifyOutcome, VerifyReport, verify};
pub use writer::{BackupWriter, WriterOptions, WriterStats};
