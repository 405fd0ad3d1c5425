//! `bursar ledger`: the books as a whole.

use bursar_shared::{
    client::Client,
    operation::Operation,
    operations::ledger::{GetFlows, GetTrialBalance, VerifyLedger},
};
use clap::Subcommand;
use serde::Serialize;

use crate::{
    context::{Cx, block_on},
    curl,
    error::{Failure, Result},
    output::{self, Sink, View},
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
            Ledger::TrialBalance => {
                by_currency(cx, &client, &GetTrialBalance {}, &views::TRIAL_BALANCE, |all| all.currencies)
                    .await
            }
            Ledger::Flows => {
                by_currency(cx, &client, &GetFlows {}, &views::FLOWS, |all| all.currencies).await
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

/// A row a currency.
async fn by_currency<O: Operation, R: Serialize>(
    cx: &Cx,
    client: &Client,
    op: &O,
    view: &'static View,
    rows: impl FnOnce(O::Answer) -> Vec<R>,
) -> Result<()> {
    if cx.globals.as_curl {
        return curl::print(cx, client, op, &Default::default());
    }
    let mut sink = Sink::new(cx.style()?, view, true);
    for row in rows(client.call(op).await?) {
        sink.row(&serde_json::to_vec(&row)?)?;
    }
    sink.end()
}
