//! What came into the books and left them, hour by hour: read from the running totals of the accounts that
//! stand for the world outside, so it costs the same however much moved.

use std::{collections::BTreeMap, marker::PhantomData};

use bursar_shared::{operations::ledger::CurrencyFlow, time::Timestamp};
use diesel::{
    RunQueryDsl,
    sql_types::{BigInt, Text},
};

use crate::{
    db::{Conn, statement},
    error::{Result, broken},
};

/// For each hour from one time to another the totals of each of those accounts at its beginning, and at last what
/// they are now. An account's entries have no index by time, but each is later than the one before: all beginnings
/// are found by halving at once.
macro_rules! totals {
    () => {
        "WITH RECURSIVE hours(at) AS ( \
           SELECT CAST(? AS BIGINT) UNION ALL SELECT at + 3600000000 FROM hours WHERE at + 3600000000 < ? \
         ), search(account_id, currency, at, low, high) AS ( \
           SELECT a.id, a.currency, h.at, CAST(0 AS BIGINT), a.entry_seq FROM accounts AS a, hours AS h WHERE a.system_key = 'world' \
           UNION ALL \
           SELECT s.account_id, s.currency, s.at, \
             CASE WHEN e.created_at < s.at THEN e.seq ELSE s.low END, CASE WHEN e.created_at < s.at THEN s.high ELSE e.seq - 1 END \
           FROM search AS s, entries AS e \
           WHERE s.low < s.high AND e.account_id = s.account_id AND e.seq = s.low + (s.high - s.low + 1) / 2 \
         ) \
         SELECT s.currency, s.at, COALESCE(e.debits_posted, 0), COALESCE(e.credits_posted, 0) \
         FROM search AS s LEFT JOIN entries AS e ON e.account_id = s.account_id AND e.seq = s.low WHERE s.low >= s.high \
         UNION ALL \
         SELECT currency, 9223372036854775807, debits_posted, credits_posted FROM accounts WHERE system_key = 'world' \
         ORDER BY 1, 2"
    };
}

statement! {
    /// Totals at the beginnings of hours.
    sqlite TotalsByHour { from: i64 as BigInt, to: i64 as BigInt } -> (Text, BigInt, BigInt, BigInt),
    totals!()
}
statement! {
    /// The same.
    postgres TotalsByHourToo { from: i64 as BigInt, to: i64 as BigInt } -> (Text, BigInt, BigInt, BigInt),
    totals!()
}

/// What came in and went out in each hour from one time until now, by currency. What is a little later, as another
/// daemon's clock has it, counts to the last.
pub fn hourly(conn: &mut Conn, from: Timestamp, now: Timestamp) -> Result<Vec<CurrencyFlow>> {
    let (from, to) = (from.micros(), now.micros());
    let found: Vec<(String, i64, i64, i64)> = match conn {
        Conn::Pg(pg) => TotalsByHourToo { from, to, _of: PhantomData }.load(pg)?,
        Conn::Sqlite(sqlite) => TotalsByHour { from, to, _of: PhantomData }.load(sqlite)?,
    };
    let mut totals: BTreeMap<String, Vec<(i64, i64)>> = BTreeMap::new();
    for (currency, _, debits, credits) in found {
        totals.entry(currency).or_default().push((debits, credits));
    }
    let flow = |(currency, totals): (String, Vec<(i64, i64)>)| {
        // the world is debited by what comes from it
        let money_in_hourly: Vec<i64> = totals.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        let money_out_hourly: Vec<i64> = totals.windows(2).map(|pair| pair[1].1 - pair[0].1).collect();
        Ok(CurrencyFlow {
            currency: currency.parse().map_err(|why| broken("a currency of the store")(Box::new(why)))?,
            money_in: money_in_hourly.iter().sum(),
            money_out: money_out_hourly.iter().sum(),
            money_in_hourly,
            money_out_hourly,
        })
    };
    totals.into_iter().map(flow).collect()
}
