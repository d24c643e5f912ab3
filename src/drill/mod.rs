//! The proof: a database rebuilt from the bucket alone is compared with what the backup says, and a certificate says how.
//!
//! `compare_database` knows no chunk: what it says about rows it has read from the rebuilt server.

mod assertions;
mod certificate;
mod certify;
mod check;
mod clean;
mod compare;
mod coverage;
mod damage;
mod deadline;
mod definitions;
mod dependencies;
mod error;
mod inventory;
mod large_objects;
mod objectives;
mod on_request;
mod properties;
mod render;
mod rows;
mod run;
#[cfg(test)]
mod samples;
mod state;
mod verdict;

pub use certificate::{
    CERTIFICATE_VERSION, Cause, Certificate, DatabaseCertificate, PhaseSeconds, SourceFacts, StartMarker, TargetFacts,
    Verdict, Versions, read_certificate,
};
pub use check::{Check, CheckName, Outcome};
pub use compare::{CompareOptions, Comparison, compare_database};
pub use coverage::not_covered;
pub use error::{Error, Result};
pub use inventory::compare_inventory;
pub use objectives::{ObjectiveFacts, Objectives, RecoveryPoint};
pub use render::render;
pub use rows::TableComparison;
pub use run::{DrillOptions, ROLE_COMMENT, drill};
pub use verdict::cause_of;
