//! `s3-server`: the embedded S3 server in a process of its own, for `make bench`. Hidden: no part of the product.
//!
//! It answers each line on stdin with one line of JSON on stdout, how often each operation was asked for so far, and ends
//! with its stdin, so that it never outlives whoever started it.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::exit::Exit;
use crate::demo::{S3Server, S3ServerOptions};

/// Serve a folder as a bucket on loopback, for benchmarks
#[derive(Debug, Args)]
#[command(hide = true)]
pub(super) struct S3ServerArguments {
    /// Folder whose sub-folders are buckets
    #[arg(long, value_name = "DIRECTORY")]
    root: PathBuf,

    /// Bucket to make in it
    #[arg(long, value_name = "NAME")]
    bucket: String,
}

pub(super) async fn run(arguments: &S3ServerArguments, cancel: &CancellationToken) -> anyhow::Result<Exit> {
    let variable = |name: &str| std::env::var(name).with_context(|| format!("the variable {name}"));
    let server = S3Server::start(&S3ServerOptions {
        root: arguments.root.clone(),
        bucket: arguments.bucket.clone(),
        access_key: variable("AWS_ACCESS_KEY_ID")?,
        secret_key: variable("AWS_SECRET_ACCESS_KEY")?,
    })
    .await?;
    say(&json!({ "endpoint": server.endpoint() }))?;
    let controls = server.controls().clone();
    let answering = tokio::task::spawn_blocking(move || {
        std::io::stdin()
            .lines()
            .map_while(Result::ok)
            .try_for_each(|_| say(&json!(controls.totals())))
    });
    if let Some(answered) = cancel.run_until_cancelled(answering).await {
        answered??;
    }
    Ok(Exit::Success)
}

fn say(answer: &serde_json::Value) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{answer}")?;
    out.flush()
}
