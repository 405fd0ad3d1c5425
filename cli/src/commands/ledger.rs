//! `bursar ledger`: the books as a whole.

use bursar_shared::operations::ledger::{GetFlows, GetTrialBalance, VerifyLedger};
use clap::Subcommand;

use crate::{
    context::{Cx, block_on},
    curl,
    error::{Failure, Result},
    output::{self, Sink},
    views,
};

/// Commands on the books.
#[derive(Debug, Subcommand)]
pub(crate) enum Ledger {
    /// All money in and out, by currency
    TrialBalance,
    /// What came in and went out in the last 24 hours, by currency (-o json: hour by hour)
    Flows,
    /// Recompute every account, transfer and entry; exit 15 when something does not fit
    Verify,
}

/// Runs one of them.
pub(crate) fn run(cx: &Cx, command: Ledger) -> Result<()> {
    let client = cx.client()?;
    block_on(async {
        match command {
            Ledger::TrialBalance if cx.globals.as_curl => {
                curl::print(cx, &client, &GetTrialBalance {}, &Default::default())
            }
            Ledger::TrialBalance => {
                let sums = client.call(&GetTrialBalance {}).await?;
                let mut sink = Sink::new(cx.style()?, &views::TRIAL_BALANCE, true);
                for sum in &sums.currencies {
                    sink.row(&serde_json::to_vec(sum)?)?;
                }
                sink.end()
            }
            Ledger::Flows if cx.globals.as_curl => {
                curl::print(cx, &client, &GetFlows {}, &Default::default())
            }
            Ledger::Flows => {
                let flows = client.call(&GetFlows {}).await?;
                let mut sink = Sink::new(cx.style()?, &views::FLOWS, true);
                for flow in &flows.currencies {
                    sink.row(&serde_json::to_vec(flow)?)?;
                }
                sink.end()
            }
            Ledger::Verify if cx.globals.as_curl => {
                curl::print(cx, &client, &VerifyLedger {}, &Default::default())
            }
            Ledger::Verify => {
                let report = client.call(&VerifyLedger {}).await?;
                output::one(cx.style()?, &views::LEDGER_REPORT, &report)?;
                for problem in &report.problems {
                    cx.say(&format!(
                        "{} {}: should be {}, is {}",
                        problem.kind,
                        bursar_shared::text::clean(&problem.id),
                        bursar_shared::text::clean(&problem.expected),
                        bursar_shared::text::clean(&problem.actual)
                    ));
                }
                if report.ok { Ok(()) } else { Err(Failure::silent(15)) }
            }
        }
    })
}
