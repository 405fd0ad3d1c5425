//! About the daemon itself.

use std::time::Duration;

use bursar_shared::{
    error::ErrorCode,
    operations::system::{
        GetStats, GetVerdict, GetVersion, Stats, UserStats, Verdict, VerdictState, Version,
    },
    permission::OWNER,
};

use crate::{
    app::App,
    cx::{Actors, Cx},
    db::{Stored, find_verdict},
    error::{Result, later},
    repositories::{log, sessions, users},
};

const HOURS: usize = 24;
const HOUR: i64 = 3_600_000_000;

/// How long readiness is answered from memory: strangers may ask, as often as they like.
const READY: Duration = Duration::from_secs(1);

/// Whether somebody active is owner, as far as was asked within a second.
#[derive(Debug, Default)]
pub struct KeptOwner(tokio::sync::Mutex<Option<(Duration, Option<bool>)>>);

/// Whether somebody active is owner; nothing when the database does not answer.
pub async fn has_owner(app: &App) -> Option<bool> {
    let mut kept = app.owner.0.lock().await;
    let now = app.clock.monotonic();
    if let Some((until, found)) = *kept
        && now < until
    {
        return found;
    }
    let asked = app.db.look_up(|conn| users::anyone_with_role(conn, OWNER)).await;
    let found = asked.ok().map(|(found, _)| found);
    *kept = Some((app.clock.monotonic() + READY, found));
    found
}

/// Figures are given again for so many times what they cost: with few people they are never old, with
/// a million the question costs a tenth of a core at most, however many dashboards ask.
const WORTH: u32 = 10;
/// What costs less than this is asked again at once.
const CHEAP: Duration = Duration::from_millis(20);
/// How old they may be at most.
const OLDEST: Duration = Duration::from_secs(30);

/// How long somebody waits for figures that another is asking for: when they cannot be had, all are told,
/// and not one after the other.
const PATIENCE: Duration = Duration::from_secs(5);

/// Figures that were asked for already, and until when they are good. Who holds the lock asks; the others
/// wait for the answer.
#[derive(Debug, Default)]
pub struct KeptStats(tokio::sync::Mutex<Option<(Duration, Stats)>>);

/// Figures for a first look.
pub async fn stats(cx: Cx, _: GetStats) -> Result<Stats> {
    let uptime_seconds = cx.app.started.elapsed().as_secs();
    let waiting = tokio::time::timeout(PATIENCE, cx.app.stats.0.lock()).await;
    let mut kept = waiting.map_err(|_| {
        later(ErrorCode::Overloaded, "The figures are being counted.", Duration::from_secs(2))
    })?;
    let begun = cx.app.clock.monotonic();
    if let Some((until, stats)) = &*kept
        && begun < *until
    {
        return Ok(Stats { uptime_seconds, ..stats.clone() });
    }
    let stats = count(&cx, uptime_seconds).await?;
    let ended = cx.app.clock.monotonic();
    let cost = ended.saturating_sub(begun);
    *kept = (cost > CHEAP).then(|| (ended + (cost * WORTH).min(OLDEST), stats.clone()));
    Ok(stats)
}

async fn count(cx: &Cx, uptime_seconds: u64) -> Result<Stats> {
    let now = cx.now();
    let engine = cx.app.db.engine().as_str().to_owned();
    cx.read(move |conn| {
        let by_status = users::count_by_status(conn)?;
        let count =
            |status: &str| by_status.get(status).copied().and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
        let week = now - Duration::from_secs(7 * 86_400);
        let created_last_week = u64::try_from(users::count_since(conn, week)?).unwrap_or(0);
        let since = now - Duration::from_secs(HOURS as u64 * 3_600);
        let counts = log::counts_since(conn, since, now, HOUR)?;
        let hourly = |wanted: &dyn Fn(&str) -> bool| hourly(&counts, wanted);
        Ok(Stats {
            users: UserStats {
                active: count("active"),
                suspended: count("suspended"),
                deleted: count("deleted"),
                created_last_week,
            },
            sessions_active: u64::try_from(sessions::count_live(conn, now)?).unwrap_or(0),
            log_head: log::head(conn)?.0,
            sign_ins_hourly: hourly(&|kind| kind == "session.created"),
            failed_sign_ins_hourly: hourly(&|kind| kind == "session.login_failed"),
            changes_hourly: hourly(&log::is_change),
            uptime_seconds,
            engine,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        })
    })
    .await
}

/// How many of them lie in each of the last hours, oldest first; counted as hours ago, kind and rows.
fn hourly(counted: &[(i64, String, i64)], wanted: &dyn Fn(&str) -> bool) -> Vec<u64> {
    let mut counts = vec![0; HOURS];
    for (ago, _, rows) in counted.iter().filter(|(_, kind, _)| wanted(kind)) {
        // a clock that was set back leaves rows of the future
        let ago = usize::try_from(*ago).unwrap_or(0);
        if let Some(count) = (HOURS - 1).checked_sub(ago).and_then(|place| counts.get_mut(place)) {
            *count += u64::try_from(*rows).unwrap_or(0);
        }
    }
    counts
}

/// Which version this is.
pub async fn version(_: Cx, _: GetVersion) -> Result<Version> {
    Ok(Version { version: env!("CARGO_PKG_VERSION").to_owned(), api_versions: vec!["v1".to_owned()] })
}

/// What became of a request with this idempotency key, of the same caller.
pub async fn verdict(cx: Cx, op: GetVerdict) -> Result<Verdict> {
    let (principal, now) = (cx.who.principal().unwrap_or_default(), cx.now());
    let found = cx.look_up(move |conn| find_verdict(conn, &principal, &op.key, now)).await?;
    Ok(match found {
        None => Verdict { state: VerdictState::Unknown, status: None, data: None, error: None },
        Some((status, stored)) => {
            let (data, error) = match stored {
                Stored::Data(data) => (Some(data), None),
                Stored::Error(error) => (None, Some(error)),
            };
            Verdict { state: VerdictState::Done, status: Some(status), data, error }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_the_hour_oldest_first() {
        let counted = [(0, 2), (-1, 1), (23, 4), (24, 8)].map(|(ago, rows)| (ago, "a".to_owned(), rows));
        let counts = hourly(&counted, &|_| true);
        assert_eq!((counts[23], counts[0], counts.iter().sum::<u64>()), (3, 4, 7));
        assert_eq!(hourly(&counted, &|kind| kind == "b"), [0; HOURS]);
    }
}
