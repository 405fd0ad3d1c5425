//! Following the log: nothing left out, nothing twice, and only for whom it is meant.

use std::time::Duration;

use bursar_server::testing::TestServer;
use bursar_shared::{
    client::{Client, Error, Followed},
    error::ErrorCode,
    operations::{
        log::{Event, StreamEvents},
        users::{SuspendUser, User},
    },
    page::{List, Op},
};
use futures_util::{Stream, StreamExt as _, future::join_all};

use crate::support::{Random, access, but, get, new, request, secret, seed};

type Followers = std::pin::Pin<Box<dyn Stream<Item = Followed> + Send>>;

/// A stream that is live already.
async fn live(client: &Client, op: StreamEvents) -> (Followers, i64) {
    let mut stream: Followers = Box::pin(client.follow(op));
    match next(&mut stream).await {
        Followed::Live { seq } => (stream, seq),
        other => panic!("{other:?}"),
    }
}

/// What comes next; a stream that says nothing fails the test.
async fn next(stream: &mut Followers) -> Followed {
    let next = tokio::time::timeout(Duration::from_secs(20), stream.next());
    next.await.expect("something comes within 20 s").expect("it has not ended")
}

/// The next row.
async fn row(stream: &mut Followers) -> Event {
    loop {
        match next(stream).await {
            Followed::Row(event) => return *event,
            Followed::Ended(why) => panic!("{why}"),
            _ => {}
        }
    }
}

/// Why it was lost.
async fn lost(stream: &mut Followers) -> String {
    loop {
        match next(stream).await {
            Followed::Lost { why, .. } | Followed::Ended(why) => return why.to_string(),
            _ => {}
        }
    }
}

fn only(field: &str, op: Op, value: &str) -> StreamEvents {
    let list = List::<Event>::new().with(field, op, value).unwrap();
    StreamEvents { after: None, filter: list.filter }
}

async fn create(client: &Client, name: &str) -> User {
    client.call(&new(name)).await.unwrap().0
}

#[tokio::test]
async fn a_change_comes_as_the_list_shows_it() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let (mut stream, seq) = live(&owner, StreamEvents::default()).await;
    let bob = create(&owner, "bob").await;
    let event = row(&mut stream).await;
    assert_eq!((event.seq, event.kind.as_str()), (seq + 1, "user.created"));
    assert_eq!(event.data["email"], bob.email.as_str());
    let listed = but(List::<Event>::new(), |list| list.after = Some(seq));
    assert_eq!(owner.call(&listed).await.unwrap().rows, [event]);
}

#[tokio::test]
async fn rows_come_once_and_in_order_while_many_write() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let (_, begin) = live(&owner, StreamEvents::default()).await;
    let mut random = Random(seed());
    // some follow from before, some come later and read on from the table
    let from = || StreamEvents { after: Some(begin), filter: Vec::new() };
    let followers = (0..4).map(|late| {
        let (owner, after) = (owner.clone(), late * random.below(30));
        async move {
            // late is who begins when so many rows are there already
            let (mut before, _) = live(&owner, from()).await;
            for _ in 0..after {
                row(&mut before).await;
            }
            let (mut stream, _) = live(&owner, from()).await;
            let mut seqs = Vec::new();
            while seqs.len() < 120 {
                seqs.push(row(&mut stream).await.seq);
            }
            seqs
        }
    });
    let writers = (0..4).map(|writer| {
        let owner = owner.clone();
        async move {
            for n in 0..30 {
                create(&owner, &format!("w{writer}n{n}")).await;
            }
        }
    });
    let (seen, _) = tokio::join!(join_all(followers), join_all(writers));
    for seqs in seen {
        assert_eq!(seqs, (begin + 1..=begin + 120).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_restart_costs_no_row() {
    let mut s = TestServer::start_with(&[("limits", "off"), ("listen", "127.0.0.1:0")]).await;
    let owner = s.signed_in("owner", "owner").await;
    let (mut stream, seq) = live(&owner, StreamEvents::default()).await;
    create(&owner, "before").await;
    assert_eq!(row(&mut stream).await.seq, seq + 1);
    s.restart().await;
    // the port is another one: a client that comes back asks for what is after the last row
    let back = s.signed_in("other", "owner").await;
    create(&back, "after").await;
    let (mut stream, _) = live(&back, StreamEvents { after: Some(seq + 1), filter: Vec::new() }).await;
    let mut names = Vec::new();
    while names.len() < 3 {
        let event = row(&mut stream).await;
        names.push(format!("{} {}", event.seq - seq, event.kind));
    }
    assert_eq!(names, ["2 user.created", "3 session.created", "4 user.created"]);
}

#[tokio::test]
async fn who_follows_goes_on_by_itself_after_a_restart() {
    let mut s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let (mut stream, seq) = live(&owner, StreamEvents::default()).await;
    create(&owner, "before").await;
    assert_eq!(row(&mut stream).await.seq, seq + 1);
    s.restart_in_place().await;
    create(&s.signed_in("other", "owner").await, "after").await;
    let (mut rows, mut lost) = (Vec::new(), 0);
    while rows.len() < 3 {
        match next(&mut stream).await {
            Followed::Row(event) => rows.push(format!("{} {}", event.seq - seq, event.kind)),
            Followed::Lost { .. } => lost += 1,
            Followed::Live { .. } | Followed::Beat { .. } => {}
            Followed::Ended(why) => panic!("{why}"),
        }
    }
    assert!(lost > 0, "it was connected all the time");
    assert_eq!(rows, ["2 user.created", "3 session.created", "4 user.created"]);
}

#[tokio::test]
async fn a_browser_resumes_by_the_id_of_its_last_row() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let (_, seq) = live(&owner, StreamEvents::default()).await;
    create(&owner, "bob").await;
    let token = access(&owner).await;
    let stream = raw(&s, &token, &[("last-event-id", &seq.to_string())]).await;
    assert!(stream.contains(&format!("id: {seq}\nevent: hello\n")), "{stream}");
    assert!(stream.contains(&format!("id: {}\nevent: user.created\ndata: {{\"id\"", seq + 1)), "{stream}");
    for bad in ["x", "-1", "1.5"] {
        let answer = get("/v1/events/stream").bearer(&token).header("last-event-id", bad).send(&s).await;
        assert_eq!(answer.verdict(), "400 MALFORMED_REQUEST");
    }
}

/// The first bytes of a stream, up to its first row.
async fn raw(s: &TestServer, token: &str, headers: &[(&str, &str)]) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let address = s.url().trim_start_matches("http://").to_owned();
    let mut socket = tokio::net::TcpStream::connect(&address).await.unwrap();
    let mut head =
        format!("GET /v1/events/stream HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    socket.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    let (mut text, mut bytes) = (String::new(), [0; 4096]);
    while !text.contains("event: user.created") || !text.ends_with("\r\n") {
        let read = tokio::time::timeout(Duration::from_secs(10), socket.read(&mut bytes)).await;
        let count = read.expect("it goes on").unwrap();
        assert_ne!(count, 0, "it ended: {text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    text
}

#[tokio::test]
async fn a_reader_gets_what_they_may_see_and_asked_for() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let finance = s.signed_in("fin", "finance").await;
    let bob = create(&owner, "bob").await;
    let (mut of_bob, _) = live(&owner, only("resourceId", Op::Eq, &bob.id.to_string())).await;
    let (mut of_sessions, _) = live(&owner, only("type", Op::Prefix, "session.")).await;
    // finance reads people, not sessions
    let (mut of_finance, _) = live(&finance, StreamEvents::default()).await;
    s.signed_in("eve", "support").await;
    owner.call(&SuspendUser { id: bob.id, reason: None }).await.unwrap();
    assert_eq!(row(&mut of_bob).await.kind, "user.suspended");
    assert_eq!(row(&mut of_sessions).await.kind, "session.created");
    assert_eq!(row(&mut of_finance).await.kind, "user.created");
    assert_eq!(row(&mut of_finance).await.kind, "user.suspended");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_the_envelope() {
    let s = TestServer::start().await;
    let token = access(&s.signed_in("owner", "owner").await).await;
    for (query, pointer, rule) in [
        ("after=-1", "?after", "range"),
        ("after=x", "?after", "type"),
        ("after=999999", "?after", "range"),
        ("page=1", "?page", "unknown_parameter"),
        ("sort=seq", "?sort", "unknown_parameter"),
        ("filter[timestamp][gt]=-1d", "?filter[timestamp][gt]", "unknown_parameter"),
        ("filter[nothing]=1", "?filter[nothing]", "invalid_filter"),
    ] {
        let answer = get(format!("/v1/events/stream?{query}")).bearer(&token).send(&s).await;
        let violation = &answer.json["error"]["details"]["violations"][0];
        assert_eq!(
            (answer.status, &violation["pointer"], &violation["rule"]),
            (422, &pointer.into(), &rule.into()),
            "{query}"
        );
    }
    assert_eq!(get("/v1/events/stream").send(&s).await.verdict(), "401 UNAUTHENTICATED");
    let nobody = access(&s.signed_in("nobody", "customer").await).await;
    assert_eq!(get("/v1/events/stream").bearer(&nobody).send(&s).await.verdict(), "403 FORBIDDEN");
    let answer = request("POST", "/v1/events/stream").bearer(&token).send(&s).await;
    assert_eq!(answer.verdict(), "405 METHOD_NOT_ALLOWED");
}

#[tokio::test]
async fn a_stream_ends_with_the_right_to_it() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let eve = s.person("eve", "auditor").await;
    let of_eve = s.sign_in(&eve).await;
    let (mut stream, _) = live(&of_eve, StreamEvents::default()).await;
    owner.call(&SuspendUser { id: eve.id, reason: None }).await.unwrap();
    let why = lost(&mut stream).await;
    assert!(why.contains("session_revoked"), "{why}");
    // and there is no way back
    assert!(matches!(next(&mut stream).await, Followed::Ended(Error::Api { status: 401, .. })));
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn an_expired_token_is_renewed_on_the_way() {
    let s = TestServer::start_with(&[("limits", "off"), ("stream-beat", "1")]).await;
    let owner = s.signed_in("owner", "owner").await;
    let (mut stream, _) = live(&owner, StreamEvents::default()).await;
    s.clock.forward(Duration::from_secs(16 * 60));
    loop {
        match next(&mut stream).await {
            Followed::Beat { .. } | Followed::Row(_) => {}
            Followed::Live { .. } => break,
            other => panic!("{other:?}"),
        }
    }
    create(&owner, "bob").await;
    while row(&mut stream).await.kind != "user.created" {}
}

#[tokio::test]
async fn a_stream_lasts_as_long_as_its_token_is_accepted() {
    let s = TestServer::start_with(&[("limits", "off"), ("stream-beat", "1")]).await;
    let owner = s.signed_in("owner", "owner").await;
    let fixed = bursar_shared::client::session::Store::key(&secret(&access(&owner).await));
    let with_token = s.anonymous().with_session(fixed);
    let (mut stream, _) = live(&with_token, StreamEvents::default()).await;
    // over, but clocks may differ by five seconds: whoever ended it now would be asked again at once
    s.clock.forward(Duration::from_secs(15 * 60));
    for _ in 0..2 {
        match next(&mut stream).await {
            Followed::Beat { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    s.clock.forward(Duration::from_secs(10));
    loop {
        match next(&mut stream).await {
            // one that was due already
            Followed::Beat { .. } => {}
            Followed::Ended(Error::Api { error, .. }) => {
                break assert_eq!(error.code, ErrorCode::TokenExpired);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_daemon_that_stops_says_so_and_does_not_wait() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let (mut stream, _) = live(&owner, StreamEvents::default()).await;
    tokio::time::timeout(Duration::from_secs(5), s.stop()).await.expect("streams hold nobody up");
    let why = lost(&mut stream).await;
    assert!(why.contains("shutting_down"), "{why}");
}

#[tokio::test]
async fn streams_are_bounded_and_give_their_place_back() {
    let s = TestServer::start_with(&[("limits", "off"), ("max-streams", "2")]).await;
    let owner = s.signed_in("owner", "owner").await;
    let (first, _) = live(&owner, StreamEvents::default()).await;
    let (_second, _) = live(&owner, StreamEvents::default()).await;
    match next(&mut Box::pin(owner.follow(StreamEvents::default())).boxed()).await {
        Followed::Lost { why: Error::Api { status: 503, error, retry_after: Some(_), .. }, .. } => {
            assert_eq!(error.code, ErrorCode::Overloaded);
        }
        other => panic!("{other:?}"),
    }
    drop(first);
    bursar_server::testing::eventually("a place is free", || async {
        matches!(Box::pin(owner.follow(StreamEvents::default())).next().await, Some(Followed::Live { .. }))
    })
    .await;
}

#[tokio::test]
async fn one_session_cannot_take_all_streams() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let mut open = Vec::new();
    for _ in 0..16 {
        open.push(live(&owner, StreamEvents::default()).await);
    }
    match Box::pin(owner.follow(StreamEvents::default())).next().await {
        Some(Followed::Lost { why: Error::Api { error, .. }, .. }) => {
            assert_eq!(error.code, ErrorCode::RateLimited);
        }
        other => panic!("{other:?}"),
    }
    let other = s.signed_in("other", "owner").await;
    let _another = live(&other, StreamEvents::default()).await;
}

#[tokio::test]
async fn silence_is_broken_by_beats_that_carry_the_place() {
    let s = TestServer::start_with(&[("limits", "off"), ("stream-beat", "1")]).await;
    let owner = s.signed_in("owner", "owner").await;
    let (mut stream, seq) = live(&owner, only("type", Op::Eq, "user.deleted")).await;
    create(&owner, "bob").await;
    // the row is not for this reader, but the place moves past it
    loop {
        match next(&mut stream).await {
            Followed::Beat { seq: beat } if beat > seq => break,
            Followed::Beat { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_row_of_another_daemon_comes_too() {
    let s = TestServer::start().await;
    if !s.is_postgres() {
        // one daemon owns a SQLite file; who writes beside it is `bursar admin create`
        let owner = s.signed_in("owner", "owner").await;
        let (mut stream, _) = live(&owner, StreamEvents::default()).await;
        let config = s.config();
        let made = bursar_server::admin::create(
            config,
            "beside@example.com".parse().unwrap(),
            "Beside".parse().unwrap(),
            "support".parse().unwrap(),
            "plenty of words to guess".parse().unwrap(),
        );
        made.await.unwrap();
        assert_eq!(row(&mut stream).await.data["email"], "beside@example.com");
        return;
    }
    let other = s.second().await;
    let (here, there) = (s.signed_in("here", "owner").await, other.signed_in("there", "owner").await);
    let (mut stream, _) = live(&here, only("type", Op::Eq, "user.created")).await;
    let bob = create(&there, "bob").await;
    assert_eq!(row(&mut stream).await.resource.id, Some(bob.id.to_string()));
    other.stop().await;
}
