//! Transfers: one at a time through the batching writers, or up to a thousand in one request.

use bursar_shared::{
    decode::{Decode, Decoder},
    error::ApiError,
    field::BulkMode,
    operation::Created,
    operations::transfers::{
        BatchOutcome, BatchResult, BatchTransfers, CaptureTransfer, CreateTransfer, GetTransfer,
        ReverseTransfer, Transfer, VoidTransfer,
    },
    page::{List, Page},
    permission::Permission,
};
use serde_json::json;

use super::bulk::aborted;
use crate::{
    cx::Cx,
    db::Outcome,
    error::{Refusal, Result},
    ledger::What,
    log::Draft,
    repositories::transfers,
};

/// One page of transfers.
pub async fn list(cx: Cx, list: List<Transfer>) -> Result<Page<Transfer>> {
    let (now, app) = (cx.now(), cx.app.clone());
    cx.read(move |conn| {
        let page = transfers::page(conn, &list, &app.cursors, now)?;
        let rows = page.rows.iter().map(transfers::Row::transfer).collect::<Result<_>>()?;
        Ok(Page { rows, pagination: page.pagination, included: page.included })
    })
    .await
}

/// Reads a transfer.
pub async fn get(cx: Cx, op: GetTransfer) -> Result<Transfer> {
    cx.read(move |conn| transfers::get(conn, op.id)?.transfer()).await
}

fn check(op: &CreateTransfer) -> std::result::Result<(), ApiError> {
    if op.from_account_id == op.to_account_id {
        return Err(ApiError::violation(
            "/toAccountId",
            "same_account",
            "is the account that the money comes from",
        ));
    }
    let holds = op.mode == Some(bursar_shared::field::TransferMode::Hold);
    if op.expires_in_seconds.is_some() && !holds {
        return Err(ApiError::violation(
            "/expiresInSeconds",
            "unknown_field",
            "is for holds: add \"mode\": \"hold\"",
        ));
    }
    Ok(())
}

/// Moves money, or holds it.
pub async fn create(cx: Cx, op: CreateTransfer) -> Result<Created<Transfer>> {
    check(&op)?;
    cx.post(What::Create(Box::new(op))).await
}

/// Moves money that was held.
pub async fn capture(cx: Cx, op: CaptureTransfer) -> Result<Created<Transfer>> {
    cx.post(What::Capture(op)).await
}

/// Lets go of money that was held.
pub async fn void(cx: Cx, op: VoidTransfer) -> Result<Created<Transfer>> {
    cx.post(What::Void(op.id, op.reason)).await
}

/// Moves the money of a transfer back.
pub async fn reverse(cx: Cx, op: ReverseTransfer) -> Result<Created<Transfer>> {
    cx.post(What::Reverse(op)).await
}

/// Up to a thousand transfers: one write, whose keys and commit are its own.
pub async fn batch(cx: Cx, op: BatchTransfers) -> Result<BatchResult> {
    let read: Vec<std::result::Result<CreateTransfer, ApiError>> = op
        .items
        .iter()
        .enumerate()
        .map(|(index, item)| {
            let mut violations = Vec::new();
            let read = CreateTransfer::decode(item, &mut Decoder::new(&mut violations, false));
            let read = match read {
                Some(read) if violations.is_empty() => check(&read).map(|()| read),
                _ => Err(ApiError::invalid(violations)),
            };
            read.map_err(|why| why.inside(&format!("/items/{index}")))
        })
        .collect();
    let (atomic, issues) = (op.mode == BulkMode::Atomic, cx.who.permissions.has(Permission::LedgerIssue));
    cx.write("transfer.batch", move |tx| {
        let what = |op: &CreateTransfer| What::Create(Box::new(op.clone()));
        let good = read.iter().filter_map(|item| item.as_ref().ok().map(what)).collect();
        if atomic && let Some(index) = read.iter().position(|item| item.is_err()) {
            let error = read.get(index).and_then(|item| item.clone().err());
            return Err(refused(index, error, read.len()));
        }
        let mut moved = tx.money(good, issues)?.into_iter();
        let mut items = Vec::with_capacity(read.len());
        for (index, item) in (0u32..).zip(&read) {
            let verdict = match item {
                Ok(_) => moved.next().unwrap_or_else(|| Err(ApiError::new(bursar_shared::error::ErrorCode::Internal, "It was not done."))),
                Err(error) => Err(error.clone()),
            };
            items.push(match verdict {
                Ok(transfer) => BatchOutcome { index, status: 201, data: Some(transfer), error: None },
                Err(error) if atomic => return Err(refused(index as usize, Some(error), read.len())),
                Err(error) => {
                    if error.code.status() == 403 {
                        let facts = json!({
                            "operation": "BatchTransfers", "item": index, "code": error.code, "details": error.details,
                        });
                        tx.log(Draft::about("access.denied", "access").data(&facts));
                    }
                    BatchOutcome { index, status: error.code.status(), data: None, error: Some(error) }
                }
            });
        }
        Ok(Outcome::Done(BatchResult { items }))
    })
    .await
}

fn refused(index: usize, error: Option<ApiError>, count: usize) -> crate::error::Error {
    let error = error.unwrap_or_else(|| ApiError::invalid(Vec::new()));
    aborted(u32::try_from(index).unwrap_or(u32::MAX), Refusal { error, retry_after: None }, count)
}
