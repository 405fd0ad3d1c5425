//! The books as a whole.

use std::time::Duration;

use bursar_shared::operations::ledger::{
    Flows, GetFlows, GetTrialBalance, LedgerReport, TrialBalance, VerifyLedger,
};

use crate::{
    app::App,
    cx::Cx,
    db::{Outcome, recorded},
    error::Result,
    log::Draft,
    repositories::{
        flows,
        ledger::{Walk, trial_balance as sums},
    },
};

/// All money in and out, by currency.
pub async fn trial_balance(cx: Cx, _: GetTrialBalance) -> Result<TrialBalance> {
    cx.read(sums).await.map(|currencies| TrialBalance { currencies })
}

/// How far back flows go.
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// What came into the books and left them.
pub async fn flows(cx: Cx, _: GetFlows) -> Result<Flows> {
    let to = cx.now();
    let from = to - DAY;
    let currencies = cx.read(move |conn| flows::hourly(conn, from, to)).await?;
    Ok(Flows { from, to, currencies })
}

/// Computes everything again and compares; repairs nothing.
pub async fn verify(cx: Cx, _: VerifyLedger) -> Result<LedgerReport> {
    let mut walk = Walk::begin();
    let report = loop {
        match cx.piece(move |conn| walk.clone().step(conn)).await? {
            Ok(report) => break report,
            Err(further) => walk = further,
        }
    };
    cx.write(recorded("ledger.verify"), move |tx| {
        tx.log(Draft::about("ledger.verified", "ledger").data(&report));
        Ok(Outcome::Done(report.clone()))
    })
    .await
}

/// Until when the figure of the metric is good. Who holds the lock asks; the others wait.
#[derive(Debug, Default)]
pub struct KeptImbalances(tokio::sync::Mutex<Option<Duration>>);

/// Shows `bursar_ledger_imbalance`. With many accounts the question costs something, so it is asked at
/// most for a tenth of the time.
pub async fn show_imbalances(app: &App) {
    let mut until = app.imbalances.0.lock().await;
    let begun = app.clock.monotonic();
    if until.is_some_and(|until| begun < until) {
        return;
    }
    match app.db.read(sums).await {
        Ok((sums, _)) => {
            let of = |sum: &bursar_shared::operations::ledger::CurrencyBalance| {
                (sum.currency.code().to_owned(), sum.imbalance)
            };
            app.metrics.set_imbalances(sums.iter().map(of).collect());
        }
        Err(why) => {
            // a figure that may be old is worse than none
            app.metrics.set_imbalances(Vec::new());
            tracing::warn!(why = %why, "the ledger could not be added up for the metrics");
        }
    }
    let ended = app.clock.monotonic();
    *until = Some(ended + (ended.saturating_sub(begun)) * 10);
}
