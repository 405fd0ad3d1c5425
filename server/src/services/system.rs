//! About the daemon itself.

use std::time::Duration;

use bursar_shared::{
    operations::system::{
        GetStats, GetVerdict, GetVersion, Stats, UserStats, Verdict, VerdictState, Version,
    },
    permission::OWNER,
    time::Timestamp,
};

use crate::{
    app::App,
    cx::{Actors, Cx},
    db::{Stored, find_verdict},
    error::Result,
    repositories::{log, sessions, users},
};

const HOURS: usize = 24;
const HOUR: i64 = 3_600_000_000;

/// Whether somebody active is owner; an error when the database does not answer.
pub async fn has_owner(app: &App) -> Result<bool> {
    app.db.read(|conn| users::anyone_with_role(conn, OWNER)).await.map(|(found, _)| found)
}

/// Figures are given again for so many times what they cost: with few people they are never old, with
/// a million the question costs a tenth of a core at most, however many dashboards ask.
const WORTH: u32 = 10;
/// What costs less than this is asked again at once.
const CHEAP: Duration = Duration::from_millis(20);
/// How old they may be at most.
const OLDEST: Duration = Duration::from_secs(30);

/// Figures that were asked for already, and until when they are good. Who holds the lock asks; the others
/// wait for the answer.
#[derive(Debug, Default)]
pub struct KeptStats(tokio::sync::Mutex<Option<(Duration, Stats)>>);

/// Figures for a first look.
pub async fn stats(cx: Cx, _: GetStats) -> Result<Stats> {
    let uptime_seconds = cx.app.started.elapsed().as_secs();
    let mut kept = cx.app.stats.0.lock().await;
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
        let times = log::times_since(conn, since)?;
        let hourly = |wanted: &dyn Fn(&str) -> bool| hourly(&times, now, wanted);
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

/// How many of them lie in each of the last hours, oldest first.
fn hourly(times: &[(i64, String)], now: Timestamp, wanted: &dyn Fn(&str) -> bool) -> Vec<u64> {
    let mut counts = vec![0; HOURS];
    for (at, _) in times.iter().filter(|(_, kind)| wanted(kind)) {
        let ago = usize::try_from((now.micros() - at).max(0) / HOUR).unwrap_or(HOURS);
        if let Some(count) = (HOURS - 1).checked_sub(ago).and_then(|place| counts.get_mut(place)) {
            *count += 1;
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
    let found = cx.read(move |conn| find_verdict(conn, &principal, &op.key, now)).await?;
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
        let now = Timestamp::from_micros(100 * HOUR);
        let times =
            [(100 * HOUR - 1, "a".to_owned()), (77 * HOUR, "a".to_owned()), (76 * HOUR - 1, "a".to_owned())];
        let counts = hourly(&times, now, &|_| true);
        assert_eq!((counts[23], counts[0], counts.iter().sum::<u64>()), (1, 1, 2));
    }
}
