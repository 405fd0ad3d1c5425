//! Clocks that are wrong: no money of tomorrow is written, and what somebody wrote of it does not spread.

use std::time::Duration;

use bursar_server::testing::{TestServer, eventually};
use bursar_shared::{
    client::{Client, How},
    error::{ApiError, ErrorCode},
    operations::transfers::{CaptureTransfer, CreateTransfer, Seconds, Transfer},
};
use serde_json::json;

use crate::{
    attack::{Books, LATER},
    money::{fund, hold, now, open, pay, sound, transfer},
    support::{access, get, key, post, refusal},
};

const DAY: i64 = 86_400;

/// Whether a daemon says that it can be used.
async fn ready(s: &TestServer) -> (u16, String) {
    let answer = get("/readyz").send_unchecked(s).await;
    (answer.status, answer.json["checks"]["clock"].as_str().unwrap().to_owned())
}

/// What a transfer under a key comes to.
async fn send(client: &Client, op: &CreateTransfer, key: &str) -> Result<Transfer, ApiError> {
    let how = How { key: Some(key.to_owned()), once: true, ..How::default() };
    match client.send(op, &how).await {
        Ok(sent) => Ok(sent.answer.0),
        Err(why) => Err(refusal::<()>(Err(why))),
    }
}

#[tokio::test]
async fn a_daemon_whose_clock_is_not_that_of_the_database_moves_no_money() {
    let s = TestServer::start().await;
    if !s.is_postgres() {
        return;
    }
    let owner = s.signed_in("owner", "owner").await;
    let (a, b) = (open(&owner, "a", "EUR").await, open(&owner, "b", "EUR").await);
    fund(&owner, &a, 100).await;
    for wrong in [DAY, -DAY, 6, -6] {
        let clock = s.clock.another();
        clock.set_wrong(wrong);
        let other = s.second_by(clock.clone()).await;
        // a session of its own: by the other clock ours may be over
        let there = other.signed_in(&format!("owner{}", wrong + DAY), "owner").await;
        let (op, under) = (transfer(&a, &b, 1), key());
        let refused = send(&there, &op, &under).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::DatabaseUnavailable);
        let word = if wrong > 0 { "ahead of the database" } else { "behind the database" };
        assert!(refused.message.contains(word), "{}", refused.message);
        let token = access(&there).await;
        for (path, body) in [
            (
                "/v1/transfers/batch".to_owned(),
                json!({ "mode": "atomic", "items": [{ "fromAccountId": a.id, "toAccountId": b.id, "amount": 1, "currency": "EUR" }] }),
            ),
            (format!("/v1/accounts/{}/close", a.id), json!({ "sweepToAccountId": b.id })),
        ] {
            let post = post(&path, &body).bearer(&token).header("idempotency-key", key());
            assert_eq!(post.send_unchecked(&other).await.verdict(), "503 DATABASE_UNAVAILABLE", "{path}");
        }
        let (status, why) = ready(&other).await;
        assert!(status == 503 && why.contains(word), "{status} {why}");
        let text = String::from_utf8(get("/metrics").send_unchecked(&other).await.body).unwrap();
        let line = text.lines().find(|line| line.starts_with("bursar_clock_ahead_seconds ")).unwrap();
        let ahead: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
        assert!((ahead - wrong as f64).abs() < 2.0, "{line}");
        // it hears by itself that it is set right, and the same key does it
        clock.set_wrong(0);
        eventually("the clocks agree", || async { ready(&other).await.0 == 200 }).await;
        let there = other.signed_in(&format!("again{}", wrong + DAY), "owner").await;
        send(&there, &op, &key()).await.unwrap();
        // and that it goes wrong while it runs
        clock.set_wrong(wrong);
        eventually("the clocks differ", || async { ready(&other).await.0 == 503 }).await;
        other.stop().await;
    }
    pay(&owner, &a, &b, 1).await;
    assert!(now(&owner, &a).await.balances.posted > 0);
    sound(&owner).await;
}

#[tokio::test]
async fn money_of_the_future_is_not_continued() {
    let books = Books::open().await;
    let (s, owner) = (&books.s, &books.owner);
    let held = CreateTransfer { expires_in_seconds: Some(Seconds(600)), ..hold(&books.a, &books.b, 20) };
    let held = owner.call(&held).await.unwrap().0;
    let (c, d) = (open(owner, "c", "EUR").await, open(owner, "d", "EUR").await);
    fund(owner, &c, 50).await;
    let future = s.clock.now().micros() + 3_600_000_000;
    let forged = books.honest(&books.a, &books.b, 10).into_values();
    books.attempt(forged.map(|sql| sql.replace(&LATER.to_string(), &future.to_string()))).await.unwrap();
    let (op, under) = (transfer(&books.a, &c, 5), key());
    let refused = send(owner, &op, &under).await.unwrap_err();
    assert_eq!(
        (refused.code, &refused.details["accountId"]),
        (ErrorCode::DatabaseUnavailable, &json!(books.a.id))
    );
    // a hold that runs is not said to be over
    let capture = CaptureTransfer { id: held.id, amount: None };
    assert_eq!(refusal(owner.call(&capture).await).code, ErrorCode::DatabaseUnavailable);
    // others are of today
    let paid = pay(owner, &c, &d, 5).await;
    assert!(paid.created_at.micros() < future);
    // until it is that late; the refusal was no verdict
    s.clock.forward(Duration::from_secs(3_597));
    let owner = s.signed_in("later", "owner").await;
    let done = send(&owner, &op, &key()).await.unwrap();
    assert!(done.created_at.micros() > future);
}

#[tokio::test]
async fn a_clock_that_went_back_while_nothing_ran_moves_no_money() {
    let mut s = TestServer::start().await;
    if s.is_postgres() {
        return;
    }
    let owner = s.signed_in("owner", "owner").await;
    let (a, b) = (open(&owner, "a", "EUR").await, open(&owner, "b", "EUR").await);
    fund(&owner, &a, 100).await;
    s.clock.set_wrong(-3_600);
    s.restart().await;
    let there = s.signed_in("other", "owner").await;
    let refused = send(&there, &transfer(&a, &b, 1), &key()).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::DatabaseUnavailable);
    assert!(refused.message.contains("behind the newest row of the log"), "{}", refused.message);
    assert_eq!(ready(&s).await.0, 503);
    s.clock.set_wrong(-3);
    assert_eq!(ready(&s).await, (200, "ok".to_owned()));
    let owner = s.signed_in("again", "owner").await;
    pay(&owner, &a, &b, 1).await;
    sound(&owner).await;
}
