//! `check`: the doctor.

use clap::Args;

use super::exit::Exit;
use super::table::Table;
use super::{Context, output};
use crate::agent::{self, Finding, Level};

/// Look whether backups and drills will work: settings, store, servers, privileges, programs, clocks
///
/// Changes nothing but a probe object in the bucket, which it removes.
#[derive(Debug, Args)]
pub(super) struct CheckArguments {}

pub(super) async fn run(_arguments: &CheckArguments, context: &Context) -> anyhow::Result<Exit> {
    let findings = agent::check(&context.settings, &context.environment).await;
    output::print(context.output, &findings, || table(&findings))?;
    let fails = findings.iter().any(|finding| finding.level == Level::Fail);
    Ok(if fails { Exit::Failure } else { Exit::Success })
}

fn table(findings: &[Finding]) -> String {
    let mut table = Table::new(&["", "area", "finding"]);
    for finding in findings {
        let level = match finding.level {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "FAIL",
        };
        table.row([level.to_owned(), finding.area.to_owned(), finding.what.clone()]);
    }
    table.render()
}
