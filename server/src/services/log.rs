//! The log as events and as audit.

use bursar_shared::{
    operations::log::{AuditEntry, AuditReport, Event, GetAuditEntry, Timeline, VerifyAudit},
    page::{List, Page},
    permission::{Permission, Permissions},
};

use crate::{
    cx::Cx,
    db::{Outcome, recorded},
    error::Result,
    log::Draft,
    repositories::{
        log::{self, ChainWalk},
        users,
    },
};

/// Which resource types somebody with these permissions sees changes of.
pub(super) fn visible(held: Permissions) -> Vec<String> {
    [
        ("user", Permission::UsersRead),
        ("session", Permission::SessionsRead),
        ("role", Permission::RolesRead),
        ("account", Permission::AccountsRead),
        ("transfer", Permission::TransfersRead),
        ("signing_key", Permission::SystemRead),
    ]
    .into_iter()
    .filter(|(_, needs)| held.has(*needs))
    .map(|(kind, _)| kind.to_owned())
    .collect()
}

/// One page of changes.
pub async fn events(cx: Cx, list: List<Event>) -> Result<Page<Event>> {
    let (now, app, visible) = (cx.now(), cx.app.clone(), visible(cx.who.permissions));
    cx.read(move |conn| {
        let page = log::events(conn, &list, visible, &app.cursors, now)?;
        let rows = page.rows.iter().map(crate::log::Row::event).collect::<Result<_>>()?;
        Ok(Page { rows, pagination: page.pagination, included: page.included })
    })
    .await
}

/// One page of what happened to a person and what they did.
pub async fn timeline(cx: Cx, op: Timeline) -> Result<Page<Event>> {
    let (now, app, visible) = (cx.now(), cx.app.clone(), visible(cx.who.permissions));
    cx.read(move |conn| {
        users::get(conn, &op.id)?;
        let page = log::timeline(conn, &op, visible, &app.cursors, now)?;
        let rows = page.rows.iter().map(crate::log::Row::event).collect::<Result<_>>()?;
        Ok(Page { rows, pagination: page.pagination, included: page.included })
    })
    .await
}

/// One page of everything.
pub async fn audit(cx: Cx, list: List<AuditEntry>) -> Result<Page<AuditEntry>> {
    let (now, app) = (cx.now(), cx.app.clone());
    cx.read(move |conn| {
        let page = log::audit(conn, &list, &app.cursors, now)?;
        let rows = page.rows.iter().map(|row| row.event().map(AuditEntry)).collect::<Result<_>>()?;
        Ok(Page { rows, pagination: page.pagination, included: page.included })
    })
    .await
}

/// Reads one row.
pub async fn get(cx: Cx, op: GetAuditEntry) -> Result<AuditEntry> {
    cx.read(move |conn| log::get(conn, op.id)?.event().map(AuditEntry)).await
}

/// Recomputes the chain of hashes.
pub async fn verify(cx: Cx, _: VerifyAudit) -> Result<AuditReport> {
    let mut walk = cx.read(ChainWalk::begin).await?;
    let report = loop {
        let step = move |conn: &mut crate::db::Conn| {
            let mut walk = walk.clone();
            walk.step(conn).map(|report| (walk, report))
        };
        let (walked, report) = cx.piece(step).await?;
        walk = walked;
        if let Some(report) = report {
            break report;
        }
    };
    cx.write(recorded("audit.verify"), move |tx| {
        tx.log(Draft::about("audit.verified", "audit").data(&report));
        Ok(Outcome::Done(report))
    })
    .await
}
