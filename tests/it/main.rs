//! The one integration binary: real PostgreSQL, a real S3 server, and the real program.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::missing_panics_doc,
    reason = "tests and their fixtures panic on purpose and may say something"
)]

mod alerts;
mod backup;
mod backup_agent;
mod check;
mod cli;
mod clocks;
mod compare;
mod connect;
mod consistency;
mod copies;
mod counts;
mod credentials;
mod damage;
mod demo;
mod documents;
mod drift;
mod drill;
mod escape_hatch;
mod extremes;
mod facts_memory;
mod facts_source;
mod facts_target;
mod failpoints;
mod generator;
mod growth;
mod guard;
mod hostile;
mod huge;
mod jobs;
mod kill;
mod layering;
mod leases;
mod lies;
mod manifests;
mod metrics;
mod model;
mod newer_format;
mod object_lock;
mod overlap;
mod pacing;
mod page;
mod pipeline;
mod policies;
mod politeness;
mod port;
mod private_authority;
mod requests;
mod restore;
mod restore_agent;
mod retention;
mod round_trip;
mod row_values;
mod secrets;
mod settings;
mod shop;
mod soak;
mod source_faults;
mod storage;
mod store_faults;
mod support;
mod three_nodes;
mod together;
mod verdicts;
mod wipe;
mod zoo;
