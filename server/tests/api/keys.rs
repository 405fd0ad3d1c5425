//! Keys that sign tokens: published before they sign, kept as long as their tokens, revoked at once.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use bursar_server::{
    Location,
    admin::{Rotation, Turned, rotate_keys},
    testing::{TestServer, eventually},
};
use bursar_shared::{
    client::Followed,
    operations::{auth::Tokens, log::StreamEvents},
};
use diesel::{Connection, PgConnection, connection::SimpleConnection};
use futures_util::{StreamExt as _, future::join_all};
use serde_json::{Value, json};

use crate::support::{Answer, count, get, key, post, rows, tokens};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// The keys that others see, the one that signs last first.
async fn published(s: &TestServer) -> Vec<String> {
    let jwks = get("/.well-known/jwks.json").send_unchecked(s).await;
    let keys = jwks.json["keys"].as_array().unwrap_or_else(|| panic!("{jwks:?}")).clone();
    keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// Waits until so many keys are published.
async fn comes_to(s: &TestServer, many: usize) -> Vec<String> {
    eventually(&format!("{many} keys are published"), || async { published(s).await.len() == many }).await;
    published(s).await
}

/// Seconds since a daemon started.
async fn uptime(s: &TestServer) -> u64 {
    let text = String::from_utf8(get("/metrics").send_unchecked(s).await.body).unwrap();
    let line = text.lines().find(|line| line.starts_with("bursar_uptime_seconds ")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Which key signed a token.
fn kid(token: &str) -> String {
    let header = BASE64.decode(token.split('.').next().unwrap()).unwrap();
    serde_json::from_slice::<Value>(&header).unwrap()["kid"].as_str().unwrap().to_owned()
}

async fn me(s: &TestServer, token: &str) -> String {
    get("/v1/me").bearer(token).send(s).await.verdict()
}

async fn refresh(s: &TestServer, pair: &Tokens) -> Answer {
    let refresh = post("/v1/auth/refresh", &json!({"refreshToken": pair.refresh_token}));
    refresh.header("idempotency-key", key()).send(s).await
}

async fn by_hand(s: &TestServer, rotation: Rotation) -> Turned {
    rotate_keys(s.config(), s.clock.clone(), rotation, false).await.unwrap()
}

fn kinds(s: &TestServer) -> Vec<String> {
    rows(s, "SELECT type AS value FROM log WHERE resource_type = 'signing_key' ORDER BY seq")
}

#[tokio::test]
async fn a_key_is_known_a_day_before_it_signs_and_kept_as_long_as_its_tokens() {
    let s = TestServer::start().await;
    let ann = s.person("ann", "support").await;
    let first = published(&s).await;
    assert_eq!(first.len(), 1);
    s.clock.forward(89 * DAY + MINUTE);
    let both = comes_to(&s, 2).await;
    assert_eq!(both[1], first[0]);
    // twenty minutes before its time the old one signs
    s.clock.forward(DAY - 21 * MINUTE);
    let before = tokens(&s, &ann).await;
    assert_eq!((kid(&before.access_token), kid(&before.refresh_token)), (first[0].clone(), first[0].clone()));
    s.clock.forward(10 * MINUTE);
    let later = tokens(&s, &ann).await;
    assert_eq!(kid(&later.access_token), first[0]);
    assert_eq!(me(&s, &later.access_token).await, "200");
    s.clock.forward(11 * MINUTE);
    let after = tokens(&s, &ann).await;
    assert_eq!((kid(&after.access_token), kid(&after.refresh_token)), (both[0].clone(), both[0].clone()));
    // what was signed before is good until its own end, and nothing was asked of anybody
    assert_eq!(me(&s, &later.access_token).await, "200");
    assert_eq!(me(&s, &before.access_token).await, "401 TOKEN_EXPIRED");
    let traded = refresh(&s, &before).await;
    assert_eq!(kid(traded.data()["accessToken"].as_str().unwrap()), both[0]);
    assert_eq!(published(&s).await, both);
    // its last refresh token, shortly before that ends
    s.clock.forward(7 * DAY - 30 * MINUTE);
    assert_eq!(refresh(&s, &later).await.status, 200);
    assert_eq!(published(&s).await, both);
    s.clock.forward(2 * HOUR);
    assert_eq!(comes_to(&s, 1).await, [both[0].clone()]);
    assert_eq!(me(&s, &tokens(&s, &ann).await.access_token).await, "200");
    assert_eq!(kinds(&s), ["signing_key.published", "signing_key.deleted"]);
    let told = rows(&s, "SELECT data AS value FROM log WHERE type = 'signing_key.published'");
    assert!(told[0].contains("\"reason\":\"age\"") && told[0].contains("signsFrom"), "{told:?}");
    let names =
        rows(&s, "SELECT resource_id AS value FROM log WHERE resource_type = 'signing_key' ORDER BY seq");
    assert_eq!(names, both);
    // what the store holds of the secret stands nowhere else
    let secret = rows(&s, "SELECT value FROM secrets WHERE purpose = 'tokens'").remove(0);
    let secret = secret.split_once(':').unwrap().1;
    assert_eq!(count(&s, &format!("log WHERE data LIKE '%{secret}%' OR changes LIKE '%{secret}%'")), 0);
    let metrics = get("/metrics").send_unchecked(&s).await;
    let text = String::from_utf8(metrics.body).unwrap();
    let age = text.lines().find(|line| line.starts_with("bursar_signing_key_age_seconds ")).unwrap();
    let age: u64 = age.rsplit(' ').next().unwrap().parse().unwrap();
    assert!((7 * 86_400..8 * 86_400).contains(&age), "{age}");
}

#[tokio::test]
async fn a_daemon_that_slept_over_all_of_it_publishes_a_day_ahead_all_the_same() {
    let mut s = TestServer::start().await;
    let ann = s.person("ann", "support").await;
    let first = published(&s).await;
    s.pause().await;
    s.clock.forward(300 * DAY);
    s.resume().await;
    let both = comes_to(&s, 2).await;
    assert_eq!(kid(&tokens(&s, &ann).await.access_token), first[0]);
    // and one that sleeps over the switch, and over the end of what was before
    s.pause().await;
    s.clock.forward(30 * DAY);
    s.resume().await;
    assert_eq!(kid(&tokens(&s, &ann).await.access_token), both[0]);
    assert_eq!(comes_to(&s, 1).await, [both[0].clone()]);
}

#[tokio::test]
async fn no_key_is_made_where_that_is_switched_off_but_by_hand() {
    let s = TestServer::start_with(&[("limits", "off"), ("key-rotation", "0")]).await;
    let ann = s.person("ann", "support").await;
    let first = published(&s).await;
    s.clock.forward(400 * DAY);
    let rotated = by_hand(&s, Rotation::Soon).await;
    assert!(rotated.published && rotated.revoked.is_empty() && rotated.sessions_ended == 0);
    let both = comes_to(&s, 2).await;
    assert_eq!(both, [rotated.kid.clone().unwrap(), first[0].clone()]);
    assert_eq!(kid(&tokens(&s, &ann).await.access_token), first[0]);
    // once more makes no further one
    let again = by_hand(&s, Rotation::Soon).await;
    assert_eq!((again.kid.clone(), again.published), (rotated.kid.clone(), false));
    // the same one, in a moment in which all daemons hear of it
    let now = by_hand(&s, Rotation::Now).await;
    assert_eq!((now.kid.clone(), now.published), (rotated.kid, false));
    s.clock.forward(Duration::from_secs(11));
    eventually("the new one signs", || async { kid(&tokens(&s, &ann).await.access_token) == both[0] }).await;
    assert_eq!(kinds(&s), ["signing_key.published", "signing_key.rescheduled"]);
    let changes = rows(&s, "SELECT changes AS value FROM log WHERE type = 'signing_key.rescheduled'");
    assert!(changes[0].starts_with("{\"signsFrom\":[\""), "{changes:?}");
}

#[tokio::test]
async fn of_many_who_rotate_at_once_one_makes_a_key() {
    let s = TestServer::start().await;
    // beside the daemon, each with connections of its own
    let all = join_all((0..6).map(|_| by_hand(&s, Rotation::Soon)));
    let all = match s.location() {
        Location::Sqlite(_) => all.await,
        // all of them have begun before the first may write
        Location::Postgres(url) => {
            let mut other = PgConnection::establish(url).unwrap();
            other.batch_execute("BEGIN; LOCK TABLE secrets IN EXCLUSIVE MODE").unwrap();
            let release = async {
                let waiting = "pg_locks WHERE NOT granted AND relation = 'secrets'::regclass";
                eventually("all wait", || async { count(&s, waiting) == 6 }).await;
                other.batch_execute("COMMIT").unwrap();
            };
            tokio::join!(all, release).0
        }
    };
    assert_eq!(all.iter().filter(|one| one.published).count(), 1);
    assert!(all.iter().all(|one| one.kid == all[0].kid && one.signs_from == all[0].signs_from));
    comes_to(&s, 2).await;
    if !s.is_postgres() {
        return;
    }
    let others = [s.second().await, s.second().await];
    // that of the hand has become the signer, and by age there is another one each time
    s.clock.forward(2 * DAY);
    for round in 2..5 {
        s.clock.forward(90 * DAY + MINUTE);
        let made = || count(&s, "log WHERE type = 'signing_key.published'");
        eventually("another is made", || async { made() == round }).await;
        let newest =
            || rows(&s, "SELECT id AS value FROM secrets WHERE purpose = 'tokens' ORDER BY signs_from DESC");
        for daemon in std::iter::once(&s).chain(&others) {
            eventually("all publish the same", || async { published(daemon).await == newest() }).await;
        }
        assert_eq!(count(&s, "secrets WHERE purpose = 'tokens'"), 2);
        assert_eq!(count(&s, "log WHERE type = 'signing_key.published'"), round);
    }
}

#[tokio::test]
async fn of_daemons_that_start_at_once_on_an_empty_store_one_makes_the_keys() {
    let mut s = TestServer::start().await;
    if !s.is_postgres() {
        return;
    }
    s.pause().await;
    s.sql("DELETE FROM secrets").await.unwrap();
    let all = join_all((0..4).map(|_| s.second())).await;
    let key = rows(&s, "SELECT id AS value FROM secrets WHERE purpose = 'tokens'");
    assert_eq!((key.len(), count(&s, "secrets")), (1, 2));
    for one in &all {
        assert_eq!(published(one).await, key);
    }
    assert_eq!(kinds(&s), Vec::<String>::new());
    // somebody takes the keys away by hand: the daemon that is started anew makes one, and the others hear of it
    s.sql("DELETE FROM secrets WHERE purpose = 'tokens'").await.unwrap();
    let another = s.second().await;
    let key = published(&another).await;
    for one in &all {
        eventually("they hear of it", || async { published(one).await == key }).await;
    }
    assert_eq!(kinds(&s), ["signing_key.published"]);
}

#[tokio::test]
async fn a_rotation_that_fails_is_tried_again_and_the_old_key_signs_meanwhile() {
    let s = TestServer::start().await;
    let ann = s.person("ann", "support").await;
    let (refuse, allow) = if s.is_postgres() {
        (
            "ALTER TABLE secrets ADD CONSTRAINT no_more CHECK (purpose <> 'tokens') NOT VALID",
            "ALTER TABLE secrets DROP CONSTRAINT no_more",
        )
    } else {
        (
            "CREATE TRIGGER no_more BEFORE INSERT ON secrets BEGIN SELECT RAISE(ABORT, 'no_more'); END",
            "DROP TRIGGER no_more",
        )
    };
    s.sql(refuse).await.unwrap();
    s.clock.forward(200 * DAY);
    let begun = uptime(&s).await;
    eventually("it was looked three times", || async { uptime(&s).await >= begun + 4 }).await;
    assert_eq!(published(&s).await.len(), 1);
    assert_eq!(me(&s, &tokens(&s, &ann).await.access_token).await, "200");
    s.sql(allow).await.unwrap();
    s.clock.forward(2 * MINUTE);
    comes_to(&s, 2).await;
    assert_eq!(kinds(&s), ["signing_key.published"]);
}

#[tokio::test]
async fn a_revoked_key_ends_every_token_at_once_here_and_there() {
    let s = TestServer::start().await;
    let ann = s.person("ann", "owner").await;
    let other = if s.is_postgres() { Some(s.second().await) } else { None };
    let daemons: Vec<&TestServer> = std::iter::once(&s).chain(&other).collect();
    // the next one is published already, and whoever read one may have read all
    by_hand(&s, Rotation::Soon).await;
    let before = comes_to(&s, 2).await;
    let (pair, unused) = (tokens(&s, &ann).await, tokens(&s, &ann).await);
    for daemon in &daemons {
        eventually("the token is known", || async { me(daemon, &pair.access_token).await == "200" }).await;
    }
    let client = s.sign_in(&ann).await;
    let mut stream = Box::pin(client.follow(StreamEvents::default()));
    assert!(matches!(stream.next().await, Some(Followed::Live { .. })));
    let dry = rotate_keys(s.config(), s.clock.clone(), Rotation::RevokeOld, true).await.unwrap();
    assert_eq!((dry.kid, dry.revoked.len(), dry.sessions_ended), (None, 2, 3));
    assert_eq!(published(&s).await, before);
    let begun = Instant::now();
    let rotated = by_hand(&s, Rotation::RevokeOld).await;
    assert_eq!((rotated.sessions_ended, rotated.revoked.len()), (3, 2));
    for daemon in &daemons {
        eventually("the token is refused", || async {
            me(daemon, &pair.access_token).await == "401 TOKEN_INVALID"
        })
        .await;
        for spent in [&pair, &unused] {
            assert_eq!(refresh(daemon, spent).await.verdict(), "401 TOKEN_INVALID");
        }
        assert_eq!(published(daemon).await, [rotated.kid.clone().unwrap()]);
    }
    // twice a quarter of a second, and a busy machine
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let ends = async {
        while let Some(Followed::Live { .. } | Followed::Row(_) | Followed::Beat { .. }) = stream.next().await
        {
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ends).await.expect("who follows is told that it is over");
    assert_eq!(count(&s, "sessions WHERE revoked_at IS NULL"), 0);
    // who knows the password comes in again, and is known everywhere
    let again = tokens(&s, &ann).await;
    assert_eq!(kid(&again.access_token), rotated.kid.unwrap());
    for daemon in &daemons {
        assert_eq!(me(daemon, &again.access_token).await, "200");
    }
    let told =
        ["signing_key.published", "signing_key.published", "signing_key.revoked", "signing_key.revoked"];
    assert_eq!(kinds(&s), told);
}

#[tokio::test]
async fn a_token_that_is_traded_in_while_its_key_is_revoked_comes_out_worthless() {
    let s = TestServer::start().await;
    let ann = s.person("ann", "support").await;
    for _ in 0..3 {
        let pairs = join_all((0..8).map(|_| tokens(&s, &ann))).await;
        // some before, some after
        let trades = async {
            let mut got = Vec::new();
            for some in pairs.chunks(2) {
                got.extend(join_all(some.iter().map(|pair| refresh(&s, pair))).await);
            }
            got
        };
        let (traded, rotated) = tokio::join!(trades, by_hand(&s, Rotation::RevokeOld));
        let new = [rotated.kid.unwrap()];
        eventually("the old one is gone", || async { published(&s).await == new }).await;
        for answer in traded.iter().filter(|answer| answer.status == 200) {
            let worth = me(&s, answer.data()["accessToken"].as_str().unwrap()).await;
            assert!(worth == "401 TOKEN_INVALID" || worth == "401 SESSION_REVOKED", "{worth}");
        }
        assert_eq!(count(&s, "sessions WHERE revoked_at IS NULL"), 0);
    }
}

#[tokio::test]
async fn a_key_that_nobody_knows_costs_no_query() {
    let s = TestServer::start().await;
    let ann = s.person("ann", "support").await;
    let good = tokens(&s, &ann).await.access_token;
    assert_eq!(me(&s, &good).await, "200");
    let (_, rest) = good.split_once('.').unwrap();
    let forged = |number: u32| {
        let header = json!({"typ": "at+jwt", "alg": "EdDSA", "kid": format!("{number}")});
        format!("{}.{rest}", BASE64.encode(header.to_string()))
    };
    // what the daemon's own work asks meanwhile is not meant
    let asked = |statements: Vec<String>| -> Vec<String> {
        let meant = |one: &String| ["secrets", "sessions", "users"].iter().any(|table| one.contains(table));
        statements.into_iter().filter(meant).collect()
    };
    let work = async {
        for number in 0..50 {
            let (access, refresh) = (forged(number), forged(number).replace("at+jwt", "rt+jwt"));
            assert_eq!(me(&s, &access).await, "401 TOKEN_INVALID");
            let spent = post("/v1/auth/refresh", &json!({"refreshToken": refresh})).send(&s).await;
            assert_eq!(spent.verdict(), "401 TOKEN_INVALID");
        }
    };
    assert_eq!(asked(s.statements(work).await), Vec::<String>::new());
    // the measure measures: to hear of a key takes one
    let heard = s.statements(async {
        by_hand(&s, Rotation::Soon).await;
        comes_to(&s, 2).await;
    });
    assert!(asked(heard.await).iter().any(|one| one.contains("secrets")));
}

#[tokio::test]
async fn keys_are_rotated_under_their_master_key_and_no_other() {
    let mut s = TestServer::start().await;
    let file = |digit: &str| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), digit.repeat(64)).unwrap();
        file
    };
    let (right, wrong) = (file("1"), file("2"));
    let with = |s: &TestServer, master: Option<&Path>| {
        let mut config = s.config().clone();
        config.master_key_file = master.map(Path::to_path_buf);
        let clock = s.clock.clone();
        async move {
            match rotate_keys(&config, clock, Rotation::RevokeOld, false).await {
                Ok(done) => format!("{} revoked", done.revoked.len()),
                Err(why) => why.to_string(),
            }
        }
    };
    let early = with(&s, Some(right.path())).await;
    assert!(early.contains("not sealed") && early.contains("start the daemon with it first"), "{early}");
    s.set_master_key(right.path());
    s.restart().await;
    assert!(with(&s, None).await.contains("give --master-key-file"));
    assert!(with(&s, Some(wrong.path())).await.contains("does not open"));
    assert_eq!(count(&s, "log WHERE resource_type = 'signing_key'"), 0);
    assert_eq!(with(&s, Some(right.path())).await, "1 revoked");
    s.clock.forward(89 * DAY + MINUTE);
    comes_to(&s, 2).await;
    let values = rows(&s, "SELECT value FROM secrets");
    assert!(values.len() == 3 && values.iter().all(|value| value.starts_with("aes256gcm:")), "{values:?}");
    let ready = get("/readyz").send_unchecked(&s).await;
    assert_eq!(ready.json["checks"]["keys"], "ok");
    // and they open at the next start
    let ann = s.person("ann", "support").await;
    let pair = tokens(&s, &ann).await;
    s.restart().await;
    assert_eq!(me(&s, &pair.access_token).await, "200");
}

#[tokio::test]
async fn a_restored_backup_brings_its_keys_back_until_they_are_revoked_again() {
    let mut s = TestServer::start().await;
    let Location::Sqlite(path) = s.location().clone() else { return };
    let ann = s.person("ann", "support").await;
    let leaked = tokens(&s, &ann).await;
    let backup = path.with_extension("backup");
    s.sql(&format!("VACUUM INTO '{}'", backup.display())).await.unwrap();
    by_hand(&s, Rotation::RevokeOld).await;
    eventually("it is revoked", || async { me(&s, &leaked.access_token).await == "401 TOKEN_INVALID" }).await;
    let lost = tokens(&s, &ann).await;
    s.pause().await;
    // the last connection that is closed takes it away
    eventually("the store is closed", || async { !path.with_extension("db-wal").exists() }).await;
    std::fs::copy(&backup, &path).unwrap();
    s.resume().await;
    // what was signed after the backup is of a key that nobody knows any more
    assert_eq!(me(&s, &lost.access_token).await, "401 TOKEN_INVALID");
    assert_eq!(me(&s, &leaked.access_token).await, "200");
    by_hand(&s, Rotation::RevokeOld).await;
    eventually("it is revoked", || async { me(&s, &leaked.access_token).await == "401 TOKEN_INVALID" }).await;
}

#[tokio::test]
async fn a_clock_that_is_wrong_rotates_nothing_but_revokes() {
    let s = TestServer::start().await;
    if !s.is_postgres() {
        return;
    }
    let wrong = s.clock.another();
    wrong.set_wrong(100 * 86_400);
    let other = s.second_by(wrong.clone()).await;
    for rotation in [Rotation::Soon, Rotation::Now] {
        let why = rotate_keys(s.config(), wrong.clone(), rotation, false).await.unwrap_err().to_string();
        assert!(why.contains("ahead of the database"), "{why}");
    }
    // it looks every second, and by its clock a key is due
    let begun = uptime(&other).await;
    eventually("it looked three times", || async { uptime(&other).await >= begun + 4 }).await;
    assert_eq!(kinds(&s), Vec::<String>::new());
    // a key that leaked does not wait for the clock, and whoever signs in by the right one can be known
    let rotated = rotate_keys(s.config(), wrong, Rotation::RevokeOld, false).await.unwrap();
    let new = [rotated.kid.unwrap()];
    let ann = s.person("ann", "support").await;
    eventually("the old one is gone", || async { published(&s).await == new }).await;
    let pair = tokens(&s, &ann).await;
    assert_eq!(
        (kid(&pair.access_token), me(&s, &pair.access_token).await),
        (new[0].clone(), "200".to_owned())
    );
    // what the wrong clock dated does not stand in the way of its successors for a hundred days
    eventually("it is brought into time", || async {
        kinds(&s).last().unwrap() == "signing_key.rescheduled"
    })
    .await;
    s.clock.forward(91 * DAY);
    comes_to(&s, 2).await;
}
