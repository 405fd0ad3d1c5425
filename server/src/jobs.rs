//! Work in the background: hearing what others change, rotating keys, and throwing away what is old.

use std::time::Duration;

use bursar_shared::error::ErrorCode;
use tokio::{sync::watch, time::MissedTickBehavior};

use crate::{
    app::Shared,
    db::{How, Order, Outcome, Plain, compare_clocks, purge_verdicts, urgent},
    error::{Error, later},
    keys,
    ledger::What,
    log::Stamp,
    repositories::{log, secrets, sessions, transfers},
};

/// How often the daemon looks whether somebody else wrote: `admin create` beside it on SQLite, other
/// daemons on PostgreSQL. Well below the second within which a withdrawal must hold (docs/adr/0005).
const LISTEN: Duration = Duration::from_millis(250);
/// After how many looks the clocks are compared again.
const COMPARE: u32 = 8;
/// A log that does not answer within this counts as not heard: well below the second, too.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often holds that ran out are looked for. A capture that comes after the end is refused all the
/// same, so this is only about when the money is free again.
const EXPIRE: Duration = Duration::from_secs(5);
/// Holds let go at once, at most.
const SOME: i64 = 256;
/// How often room is looked for on a disk that was full; while it is not, one look at a file.
const ROOM: Duration = Duration::from_secs(2);
/// How often the age of the keys is looked at, which asks nobody.
const ROTATE: Duration = Duration::from_secs(1);
/// After the keys were rotated, or could not be, they rest for so long.
const REST: Duration = Duration::from_secs(60);
/// How often old rows are looked for.
const PURGE: Duration = Duration::from_secs(600);
/// How long a session that ended is kept.
const DEAD_SESSIONS: Duration = Duration::from_secs(30 * 86_400);
/// More rows than this at once are not looked at one by one.
const MANY: i64 = 1_000;

/// Hears of rows that others wrote, until told to stop. While it cannot, nothing is taken from the
/// caches that decide who may do what.
pub async fn listen(app: Shared, mut stop: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(LISTEN);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen: Option<i64> = None;
    let mut deaf = false;
    let mut looks = 0_u32;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stop.changed() => return,
        }
        let from = seen;
        looks = looks.wrapping_add(1);
        let clock = looks.is_multiple_of(COMPARE).then(|| app.clock.clone());
        let look = app.db.look_up(move |conn| {
            if let Some(clock) = clock {
                compare_clocks(conn, &clock)?;
            }
            let (head, _) = log::head(conn)?;
            let rows = match from {
                Some(from) if head == from => Some(Vec::new()),
                Some(from) if (0..=MANY).contains(&(head - from)) => Some(log::after(conn, from, MANY)?),
                // what was kept before the first look may be stale already, and so is everything when a backup
                // took the place of the store
                _ => None,
            };
            let keys = match &rows {
                Some(rows) if !rows.iter().any(keys::tells_of_keys) => None,
                _ => Some(secrets::all(conn)?),
            };
            Ok((head, rows, keys))
        });
        let slow = || later(ErrorCode::DatabaseUnavailable, "the log did not answer in time", LISTEN);
        let heard = tokio::time::timeout(PATIENCE, look).await.unwrap_or_else(|_| Err(slow()));
        match heard {
            Ok(((head, rows, keys), _)) => {
                if let Some(stored) = keys {
                    app.keys.take(&stored);
                    for row in rows.iter().flatten().filter(|row| keys::tells_of_keys(row)) {
                        tracing::info!(
                            event = row.kind,
                            kid = row.resource_id,
                            "the keys that sign tokens changed"
                        );
                    }
                }
                match rows {
                    Some(rows) => {
                        app.caches.forget(&rows);
                        app.streams.hear(&rows);
                    }
                    None => app.caches.forget_all(),
                }
                app.bus.wake(head);
                seen = Some(head);
                if std::mem::take(&mut deaf) {
                    app.caches.forget_all();
                    app.caches.bypass(false);
                    tracing::info!("the log can be heard again; caches are used");
                }
            }
            Err(why) if !deaf => {
                deaf = true;
                app.caches.bypass(true);
                tracing::warn!(why = %why, "the log cannot be heard; caches are bypassed");
            }
            Err(_) => {}
        }
    }
}

/// Lets go of holds that ran out, until told to stop.
pub async fn expire(app: Shared, mut stop: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(EXPIRE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stop.changed() => return,
        }
        // no money moves on a full disk
        while app.clock.distrust().is_none() && !app.db.room().is_short() {
            let now = app.clock.now();
            let due = match app.db.look_up(move |conn| transfers::expired(conn, now, SOME)).await {
                Ok((due, _)) => due,
                Err(why) => {
                    tracing::warn!(why = %why, "holds that ran out could not be looked for");
                    break;
                }
            };
            let found = due.len();
            let all = due.into_iter().map(|id| {
                let how = How { stamp: Stamp::system("expiry"), key: None, dry_run: false };
                app.db.post(how, Order { what: What::Expire(id), issues: true, asker: None })
            });
            let mut failed = false;
            for done in futures_util::future::join_all(all).await {
                let Err(why) = done.map(drop) else { continue };
                // somebody was quicker: then there is nothing to do
                let resolved = matches!(&why, Error::Refused(refusal) if refusal.error.code == ErrorCode::HoldNotPending);
                if !resolved {
                    tracing::warn!(why = %why, "a hold that ran out could not be let go");
                    failed = true;
                }
            }
            if failed || found < usize::try_from(SOME).unwrap_or(usize::MAX) {
                break;
            }
        }
    }
}

/// Keeps room back for a full disk, and lets everybody write again when there is some, until told to stop.
pub async fn keep_room(app: Shared, mut stop: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(ROOM);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => app.db.keep_room().await,
            _ = stop.changed() => return,
        }
    }
}

/// Rotates the keys that sign tokens when they are old enough, until told to stop.
pub async fn rotate(app: Shared, mut stop: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(ROTATE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut rested = Duration::ZERO;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stop.changed() => return,
        }
        // what is old by a wrong clock signs and checks tokens
        if app.clock.distrust().is_some()
            || app.clock.monotonic() < rested
            || !app.keys.is_due(app.clock.now())
        {
            continue;
        }
        rested = app.clock.monotonic() + REST;
        // what came of it is heard of in the log, whoever did it
        if let Err(why) = app.keys.rotate(&app.db).await {
            tracing::warn!(why = %why, "the keys could not be rotated");
        }
    }
}

/// Throws away what is old, a little at a time, until told to stop.
pub async fn purge(app: Shared, mut stop: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(PURGE);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stop.changed() => return,
        }
        // what is old by a wrong clock is somebody's session and key
        while app.clock.distrust().is_none() {
            let how = How { stamp: Stamp::system("purge"), key: None, dry_run: false };
            let now = app.clock.now();
            let gone = app
                .db
                .write(urgent("purge"), how, move |tx| {
                    let gone = purge_verdicts(tx, now)?
                        + sessions::purge(tx, now - DEAD_SESSIONS)?
                        + sessions::purge_resets(tx, now)?;
                    Ok(Outcome::Done(Plain(gone)))
                })
                .await;
            match gone {
                Ok(crate::db::Written::Done(Plain(gone))) if gone > 0 => tokio::task::yield_now().await,
                Ok(_) => break,
                Err(why) => {
                    tracing::warn!(why = %why, "old rows could not be thrown away");
                    break;
                }
            }
        }
    }
}
