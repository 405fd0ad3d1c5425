//! What the client does when answers are lost, refused, or wrong.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use futures_util::{StreamExt as _, future::join_all};
use serde_json::json;

use super::{
    fake::{Asked, Fake, Said, fine, page, refused, tokens, user},
    session::Store,
    *,
};
use crate::{
    error::ErrorCode,
    id::UserId,
    operations::{
        auth::Me,
        users::{SuspendUser, User},
    },
    page::List,
};

fn client(fake: &Fake) -> Client {
    Client::new(&fake.server, Options { timeout: Duration::from_secs(10), ..Options::default() })
        .unwrap()
        .with_session(Store::key(&"brs_test_key".parse().unwrap()))
}

/// Answers the first, the second, ... request with these; the last one again and again.
fn in_turn(answers: Vec<Said>) -> impl Fn(&Asked) -> Said + Send + Sync {
    let at = AtomicU32::new(0);
    move |_| {
        let place = at.fetch_add(1, Ordering::Relaxed) as usize;
        answers[place.min(answers.len() - 1)].clone()
    }
}

fn write() -> SuspendUser {
    SuspendUser { id: UserId::new(), reason: None }
}

#[tokio::test]
async fn repeats_a_lost_change_with_the_same_key() {
    let fake =
        Fake::start(in_turn(vec![None, refused(503, "OVERLOADED", &[("retry-after", "0")]), fine(user())]));
    let reply = client(&fake).send(&write(), &How::default()).await.unwrap();
    assert_eq!(reply.answer.name.as_str(), "Ada");
    let asked = fake.asked();
    assert_eq!(asked.len(), 3);
    for header in ["idempotency-key", "x-request-id"] {
        assert!(asked[0].header(header).len() >= 16);
        assert!(asked.iter().all(|one| one.header(header) == asked[0].header(header)));
    }
    assert_eq!(asked[0].header("authorization"), "Bearer brs_test_key");
}

#[tokio::test]
async fn a_change_whose_answer_stays_lost_is_unknown_and_names_its_key() {
    let fake = Fake::start(|_| None);
    let how = How { key: Some("a-key-of-my-own-1".to_owned()), ..How::default() };
    let lost = client(&fake).send(&write(), &how).await.unwrap_err();
    assert!(matches!(&lost, Error::Unknown { key, .. } if key == "a-key-of-my-own-1"), "{lost:?}");
    assert_eq!((lost.exit(), fake.asked().len()), (11, 3));
    // tried and undone: there is nothing to be unsure about
    let how = How { dry_run: true, ..How::default() };
    let lost = client(&fake).send(&write(), &how).await.unwrap_err();
    assert!(matches!(lost, Error::Unreachable { .. }));
    assert!(fake.asked()[3].target.ends_with("/suspend?dryRun=true"));
}

#[tokio::test]
async fn a_refusal_of_the_second_try_says_nothing_about_the_first() {
    let fake = Fake::start(in_turn(vec![None, refused(401, "SESSION_REVOKED", &[])]));
    assert_eq!(client(&fake).send(&write(), &How::default()).await.unwrap_err().exit(), 11);
    // a verdict under the key is one
    let fake = Fake::start(in_turn(vec![None, refused(409, "ILLEGAL_TRANSITION", &[])]));
    assert_eq!(client(&fake).send(&write(), &How::default()).await.unwrap_err().exit(), 6);
    // a proxy that gave up does not know what happened behind it
    let fake = Fake::start(|_| Some((502, vec![], "<html>bad gateway</html>".to_owned())));
    assert_eq!(client(&fake).send(&write(), &How::default()).await.unwrap_err().exit(), 11);
}

#[tokio::test]
async fn a_refusal_that_is_told_again_is_the_verdict_of_the_lost_one() {
    let again = refused(403, "SELF_ACTION", &[("idempotency-replayed", "true")]);
    let fake = Fake::start(in_turn(vec![None, again]));
    match client(&fake).send(&write(), &How::default()).await.unwrap_err() {
        Error::Api { error, replayed, .. } => {
            assert_eq!((error.code, replayed), (ErrorCode::SelfAction, true));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn reads_are_repeated_and_then_given_up() {
    let fake = Fake::start(in_turn(vec![None, fine(user())]));
    client(&fake).call(&Me {}).await.unwrap();
    assert_eq!(fake.asked()[0].header("idempotency-key"), "");
    let fake = Fake::start(|_| refused(503, "DATABASE_UNAVAILABLE", &[]));
    let down = client(&fake).call(&Me {}).await.unwrap_err();
    assert_eq!((down.exit(), fake.asked().len()), (13, 3));
}

#[tokio::test]
async fn what_cannot_work_is_not_repeated() {
    for (answer, exit) in [
        (refused(422, "VALIDATION_FAILED", &[]), 7),
        (refused(404, "NOT_FOUND", &[]), 3),
        (refused(429, "RATE_LIMITED", &[("retry-after", "3600")]), 8),
        (refused(418, "TEAPOT", &[]), 7),
        (Some((302, vec![("location", "http://127.0.0.1:1/".to_owned())], String::new())), 13),
        (Some((200, vec![], "<html>hello</html>".to_owned())), 1),
    ] {
        let fake = Fake::start(move |_| answer.clone());
        let wrong = client(&fake).call(&Me {}).await.unwrap_err();
        assert_eq!((wrong.exit(), fake.asked().len()), (exit, 1), "{wrong}");
    }
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_leaves_a_change_unknown() {
    let html = || Some((200, vec![], "<html>sign in to the hotel</html>".to_owned()));
    let odd = || Some((200, vec![], r#"{"data":{"id":7},"meta":{}}"#.to_owned()));
    let long = || Some((200, vec![], " ".repeat((32 << 20) + 1)));
    for answer in [html(), odd(), long()] {
        let fake = Fake::start(move |_| answer.clone());
        let wrong = client(&fake).send(&write(), &How::default()).await.unwrap_err();
        assert_eq!((wrong.exit(), fake.asked().len()), (11, 1), "{wrong:?}");
    }
    let fake = Fake::start(move |_| html());
    let raw = client(&fake).send_raw("POST", "/v1/users", None, &[], &How::default()).await;
    assert_eq!(raw.unwrap_err().exit(), 11);
}

#[test]
fn what_stops_a_second_sending_says_nothing_about_the_first() {
    let refused = |status, replayed| Error::Api {
        status,
        error: crate::error::ApiError::new(ErrorCode::Unknown, "no"),
        request_id: None,
        retry_after: None,
        replayed,
    };
    for (status, replayed, open) in [
        (401, false, true),
        (403, false, true),
        (429, false, true),
        (503, false, true),
        (403, true, false),
        (409, false, false),
    ] {
        assert_eq!(refused(status, replayed).leaves_open(true), open, "{status}");
        assert!(!refused(status, replayed).leaves_open(false), "the first sending was refused");
    }
    assert!(Error::Protocol(String::new()).leaves_open(false));
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let fake = Fake::start(|_| Some((200, vec![], " ".repeat((32 << 20) + 1))));
    assert!(matches!(client(&fake).call(&Me {}).await, Err(Error::Protocol(_))));
}

#[tokio::test]
async fn nobody_there_means_that_nothing_was_changed() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client =
        Client::new(&server, Options::default()).unwrap().with_session(Store::key(&"brs_x".parse().unwrap()));
    assert_eq!(client.send(&write(), &How::default()).await.unwrap_err().exit(), 9);
    let nobody = Client::new(&server, Options::default()).unwrap();
    assert!(matches!(nobody.call(&Me {}).await, Err(Error::NotSignedIn)));
}

#[tokio::test]
async fn pages_follow_the_cursors_and_refuse_to_go_in_a_circle() {
    let fake = Fake::start(|asked| match asked.target.as_str() {
        "/v1/users?sort=name&position=start" => page(json!([user(), user()]), Some("c1")),
        "/v1/users?sort=name&cursor=c1" => page(json!([user()]), Some("c2")),
        "/v1/users?sort=name&cursor=c2" => page(json!([]), None),
        other => panic!("{other}"),
    });
    let list = List::<User>::new().sorted(crate::page::Sort { key: "name", descending: false });
    let pages: Vec<_> = client(&fake).pages(list).collect().await;
    let rows: Vec<usize> = pages.into_iter().map(|page| page.unwrap().rows.len()).collect();
    assert_eq!(rows, [2, 1, 0]);

    let fake = Fake::start(|_| page(json!([user()]), Some("again")));
    let pages: Vec<_> = client(&fake).pages(List::<User>::new()).collect().await;
    assert_eq!(pages.len(), 2);
    assert!(matches!(&pages[1], Err(Error::Protocol(what)) if what.contains("circle")));
}

#[tokio::test]
async fn nothing_is_fetched_that_would_not_be_looked_at() {
    let fake = Fake::start(|_| page(json!([user(), user()]), Some("more")));
    let mut pages = client(&fake).raw_pages("/v1/users").limit(2);
    assert_eq!(pages.next().await.unwrap().unwrap().len(), 2);
    pages.read_ahead().await;
    assert!(pages.next().await.unwrap().is_none());
    assert_eq!(fake.asked().len(), 1);
}

#[tokio::test]
async fn many_calls_wait_for_one_refresh() {
    let fake = Fake::start(|asked| match asked.target.as_str() {
        "/v1/auth/login" => fine(tokens("a1", "r1", 3_600_000)),
        "/v1/auth/refresh" => fine(tokens("a2", "r2", 3_600_000)),
        _ if asked.header("authorization") == "Bearer a1" => refused(401, "TOKEN_EXPIRED", &[]),
        _ => fine(user()),
    });
    let client = Client::new(&fake.server, Options::default()).unwrap().with_session(Store::memory());
    client.sign_in("ada@example.com".parse().unwrap(), "x".parse().unwrap()).await.unwrap();
    let calls: Vec<Client> = (0..20).map(|_| client.clone()).collect();
    for answer in join_all(calls.iter().map(|client| client.call(&Me {}))).await {
        answer.unwrap();
    }
    let refreshes: Vec<Asked> =
        fake.asked().into_iter().filter(|asked| asked.target == "/v1/auth/refresh").collect();
    assert_eq!(refreshes.len(), 1);
    assert_eq!(refreshes[0].method, "POST");
    assert_eq!(refreshes[0].member("refreshToken"), "r1");
    assert!(refreshes[0].header("idempotency-key").len() >= 16);
    // the expired token is not tried again
    assert_eq!(client.access_token().await.unwrap(), "a2");
}

#[tokio::test]
async fn a_session_that_was_ended_is_forgotten_once() {
    let fake = Fake::start(|asked| match asked.target.as_str() {
        "/v1/auth/login" => fine(tokens("a1", "r1", 0)),
        _ => refused(401, "SESSION_REVOKED", &[]),
    });
    let client = Client::new(&fake.server, Options::default()).unwrap().with_session(Store::memory());
    client.sign_in("ada@example.com".parse().unwrap(), "x".parse().unwrap()).await.unwrap();
    let ended = client.call(&Me {}).await.unwrap_err();
    assert_eq!(ended.code(), Some(ErrorCode::SessionRevoked));
    assert!(client.session().credentials().unwrap().is_none());
    assert!(matches!(client.call(&Me {}).await, Err(Error::NotSignedIn)));
}

#[tokio::test]
async fn a_refresh_that_cannot_be_made_is_no_harm_while_the_token_lives() {
    let fake = Fake::start(|asked| match asked.target.as_str() {
        "/v1/auth/login" => fine(tokens("a1", "r1", 400)),
        "/v1/auth/refresh" => None,
        _ => fine(user()),
    });
    let client = Client::new(&fake.server, Options::default()).unwrap().with_session(Store::memory());
    client.sign_in("ada@example.com".parse().unwrap(), "x".parse().unwrap()).await.unwrap();
    client.call(&Me {}).await.unwrap();
    // wait until it is over, by the same clock that decides
    while !client.session().credentials().unwrap().unwrap().left().is_zero() {
        tokio::task::yield_now().await;
    }
    let gone = client.call(&Me {}).await.unwrap_err();
    assert_eq!(gone.exit(), 9);
    // the key stays: the next refresh is the same one
    let now = client.session().credentials().unwrap().unwrap();
    assert!(now.refresh_key.is_some());
    assert_eq!(now.refresh_token, "r1");
}
