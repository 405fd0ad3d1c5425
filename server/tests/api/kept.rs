//! Rows that somebody keeps in an open transaction: who needs one is told so, and hardly anybody else waits.

use std::time::{Duration, Instant};

use bursar_server::{
    Location,
    testing::{TestServer, eventually},
};
use bursar_shared::{
    client::{Client, Error, How},
    error::ErrorCode,
    field::TransferStatus,
    operations::{
        accounts::Account,
        transfers::{CaptureTransfer, GetTransfer, Transfer, VoidTransfer},
    },
};
use diesel::{Connection, PgConnection, connection::SimpleConnection};
use futures_util::future::join_all;

use crate::{
    money::{between, fund, hold, now, open, sound, system, transfer},
    support::{get, in_flight, key, refusal},
};

/// A bank with rows that somebody keeps.
struct Bank {
    /// Accounts of a chain of payments.
    free: Vec<Account>,
    /// Accounts that are kept.
    kept: Vec<Account>,
    /// Holds of the first of them.
    holds: Vec<Transfer>,
    /// A hold between free accounts, which is kept itself.
    hold: Transfer,
}

impl Bank {
    async fn open(client: &Client) -> Self {
        let (mut free, mut kept) = (Vec::new(), Vec::new());
        for place in 0..8 {
            free.push(open(client, &format!("free{place}"), "EUR").await);
        }
        for place in 0..2 {
            kept.push(open(client, &format!("kept{place}"), "EUR").await);
        }
        for account in free.iter().chain(&kept) {
            fund(client, account, 10_000).await;
        }
        let mut holds = Vec::new();
        for one in &free {
            holds.push(client.call(&hold(&kept[0], one, 1)).await.unwrap().0);
        }
        let hold = client.call(&hold(&free[0], &free[1], 1)).await.unwrap().0;
        Self { free, kept, holds, hold }
    }

    /// Something that needs a row that is kept, each time by another name.
    async fn needs_one(&self, client: &Client, place: usize, how: &How) -> Result<(), Error> {
        let free = &self.free[place % self.free.len()];
        match place % 5 {
            0 => client.send(&transfer(free, &self.kept[0], 1), how).await.map(drop),
            1 => client.send(&transfer(&self.kept[1], free, 1), how).await.map(drop),
            2 => client
                .send(&transfer(free, &self.kept[1], 1), &How { dry_run: true, ..how.clone() })
                .await
                .map(drop),
            3 => {
                let id = self.holds[place % self.holds.len()].id;
                client.send(&CaptureTransfer { id, amount: None }, how).await.map(drop)
            }
            _ => client.send(&VoidTransfer { id: self.hold.id, reason: None }, how).await.map(drop),
        }
    }

    /// Something that does not: a link of the chain, or money through an account that all use.
    async fn needs_none(&self, client: &Client, place: usize, how: &How) -> Result<(), Error> {
        let (from, to) = (&self.free[place % self.free.len()], &self.free[(place + 1) % self.free.len()]);
        let op = match place % 4 {
            0 => between(system("world:EUR"), to.id.into(), 1, "EUR"),
            _ => transfer(from, to, 1),
        };
        client.send(&op, how).await.map(drop)
    }
}

/// A session that keeps rows of a table.
fn keep(s: &TestServer, rows: &[(&str, String)]) -> PgConnection {
    let Location::Postgres(url) = s.location() else { panic!("SQLite has one writer") };
    let mut session = PgConnection::establish(url).unwrap();
    session.batch_execute("BEGIN").unwrap();
    for (table, id) in rows {
        session.batch_execute(&format!("SELECT 1 FROM {table} WHERE id = '{id}' FOR UPDATE")).unwrap();
    }
    session
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_somebody_keeps_hold_up_those_alone_who_need_them() {
    let s = TestServer::start().await;
    if !s.is_postgres() {
        println!("SQLite has one writer");
        return;
    }
    let user = s.person("owner", "owner").await;
    let beside = s.second().await;
    let clients = [s.sign_in(&user).await, beside.sign_in(&user).await];
    let bank = Bank::open(&clients[0]).await;
    let done = How { key: Some(key()), once: true, ..How::default() };
    bank.needs_one(&clients[0], 0, &done).await.unwrap();
    let before = [now(&clients[0], &bank.kept[0]).await, now(&clients[0], &bank.kept[1]).await];
    // nobody tries again behind the test's back
    let once = How { once: true, ..How::default() };
    let accounts = bank.kept.iter().map(|one| ("accounts", one.id.to_string()));
    let rows: Vec<_> = accounts.chain([("transfers", bank.hold.id.to_string())]).collect();
    let session = keep(&s, &rows);
    // first nobody knows of it, then everybody does
    for (wave, bound) in [(0, 10), (1, 5)] {
        let begun = Instant::now();
        let all = (0..160).map(|place| {
            let (bank, once, client) = (&bank, &once, &clients[place / 2 % 2]);
            async move {
                let needs_one = place % 4 == 0;
                let answer = match needs_one {
                    true => bank.needs_one(client, place / 4, once).await,
                    false => bank.needs_none(client, place, once).await,
                };
                (needs_one, answer, begun.elapsed())
            }
        });
        let (mut longest, mut refused) = (Duration::ZERO, 0);
        for (needs_one, answer, took) in join_all(all).await {
            if needs_one {
                let why = refusal(answer);
                assert_eq!(why.code, ErrorCode::DatabaseUnavailable, "{why:?}");
                assert!(why.message.contains("holds what this needs"), "{why:?}");
                refused += 1;
            } else {
                answer.unwrap();
                longest = longest.max(took);
            }
        }
        println!("wave {wave}: others waited {longest:?}, those who needed a row {:?}", begun.elapsed());
        assert_eq!(refused, 40);
        assert!(longest < Duration::from_secs(bound), "{longest:?}");
    }
    for (kept, before) in bank.kept.iter().zip(before) {
        assert_eq!(now(&clients[0], kept).await.balances, before.balances);
    }
    assert_eq!(
        clients[0].call(&GetTransfer { id: bank.hold.id }).await.unwrap().status,
        TransferStatus::Pending
    );
    // what was done before has a verdict, which needs no row
    bank.needs_one(&clients[1], 0, &done).await.unwrap();
    drop(session);
    // who still waits when it is let go goes on
    let mut session = keep(&s, &rows[..1]);
    let waiting = join_all([0, 3, 5, 8].map(|place| bank.needs_one(&clients[0], place, &once)));
    let let_go = async {
        eventually("all wait apart", || async {
            let metrics = get("/metrics").send_unchecked(&s).await;
            String::from_utf8_lossy(&metrics.body).contains("bursar_writer_queue 4\n")
        })
        .await;
        session.batch_execute("ROLLBACK").unwrap();
    };
    let (answers, ()) = tokio::join!(waiting, let_go);
    answers.into_iter().for_each(|answer| answer.unwrap());
    bank.needs_one(&clients[1], 4, &once).await.unwrap();
    sound(&clients[0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_what_is_no_account_is_found_by_halves() {
    let s = TestServer::start().await;
    if !s.is_postgres() {
        println!("SQLite has one writer");
        return;
    }
    let owner = s.signed_in("owner", "owner").await;
    let mut free = Vec::new();
    for place in 0..4 {
        free.push(open(&owner, &format!("free{place}"), "EUR").await);
    }
    for one in &free {
        fund(&owner, one, 100).await;
    }
    // whoever is the first to pay fees opens their account, and waits for its number
    let mut session = keep(&s, &[]);
    session.batch_execute("SELECT 1 FROM counters WHERE name = 'accounts' FOR UPDATE").unwrap();
    let fee = between(free[1].id.into(), system("revenue:EUR"), 1, "EUR");
    let once = How { once: true, ..How::default() };
    // all are to come together in one group: nobody gets on before all are there
    let rows: Vec<_> = free.iter().map(|one| ("accounts", one.id.to_string())).collect();
    let mut before = keep(&s, &rows);
    let begun = Instant::now();
    let all = (0..40).map(|place| {
        let guilty = place == 20 || place == 30;
        let (from, to) = (&free[place % 4], &free[(place + 1) % 4]);
        let op = if guilty { fee.clone() } else { transfer(from, to, 1) };
        let (owner, once) = (&owner, &once);
        async move { (guilty, owner.send(&op, once).await, begun.elapsed()) }
    });
    let gather = async {
        in_flight(&s, 40).await;
        before.batch_execute("ROLLBACK").unwrap();
    };
    let (answers, ()) = tokio::join!(join_all(all), gather);
    let mut innocent = Duration::ZERO;
    for (guilty, answer, took) in answers {
        if guilty {
            assert!(refusal(answer).message.contains("holds what this needs"));
        } else {
            answer.unwrap();
            innocent = innocent.max(took);
        }
    }
    println!("others waited {innocent:?}, those who needed it {:?}", begun.elapsed());
    assert!(innocent < Duration::from_secs(20), "{innocent:?}");
    session.batch_execute("ROLLBACK").unwrap();
    owner.send(&fee, &once).await.unwrap();
    sound(&owner).await;
}
