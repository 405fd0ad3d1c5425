//! The wire: what the client writes is what the daemon reads, and what the table says is there.

use std::collections::BTreeMap;

use bursar_server::testing::TestServer;
use bursar_shared::{
    decode::Change,
    field::{BulkMode, Metadata, MetadataPatch, Position, TotalMode},
    id::{SessionId, UserId},
    operation::{Method, Operation},
    operations::{
        ALL,
        auth::{ChangePassword, Login, Logout, RevokeSession, RevokeSessions, Session, UpdateMe},
        log::{AuditEntry, Event},
        roles::Role,
        system::GetVerdict,
        users::{
            BulkItem, BulkOp, BulkUsers, CreateUser, GetUser, SetUserRoles, SuspendUser, UpdateUser, User,
        },
    },
    page::{Kind, List, Op, Resource, Sort},
    wire,
};
use proptest::{prelude::*, test_runner::RngSeed};
use serde_json::json;

use crate::support::{UNUSED_KEY, access, fill, get, request, request_of, secret, unknown_id};

/// Writes and reads an operation as client and daemon do.
fn there_and_back<O: Operation + PartialEq + std::fmt::Debug>(op: &O) -> Result<(), TestCaseError> {
    let sent = wire::encode(op).unwrap();
    let (path, query) = sent.target.split_once('?').unwrap_or((&sent.target, ""));
    prop_assert!(path.bytes().all(|byte| byte.is_ascii_graphic()), "{path}");
    prop_assert_eq!(sent.body.is_some(), O::METHOD.has_body());
    let parts: Vec<(&str, &str)> = O::PATH.split('/').zip(path.split('/')).collect();
    prop_assert_eq!(O::PATH.split('/').count(), path.split('/').count());
    let decoded: Vec<(&str, String)> = parts
        .into_iter()
        .filter_map(|(name, value)| Some((name.strip_prefix('{')?.strip_suffix('}')?, unescape(value))))
        .collect();
    let members: Vec<(&str, &str)> = decoded.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let read: O = wire::decode(&members, query, sent.body.as_deref().unwrap_or_default())
        .map_err(|why| TestCaseError::fail(format!("{op:?}: {why} {}", why.details)))?;
    prop_assert_eq!(&read, op);
    Ok(())
}

fn unescape(text: &str) -> String {
    let (_, value) = form_urlencoded(&format!("x={}", text.replace('+', "%2B")));
    value
}

fn form_urlencoded(text: &str) -> (String, String) {
    let map = wire::read_query(text, &mut Vec::new());
    let (name, value) = map.into_iter().next().unwrap();
    (name, value.as_str().unwrap().to_owned())
}

/// One line of text without controls.
fn line(max: usize) -> impl Strategy<Value = String> {
    let letter = any::<char>().prop_map(|letter| if letter.is_control() { 'x' } else { letter });
    prop::collection::vec(letter, 1..=max).prop_map(|letters| letters.into_iter().collect())
}

fn name() -> impl Strategy<Value = String> {
    line(40).prop_map(|text| if text.trim().is_empty() { "blank".to_owned() } else { text })
}

fn facts() -> impl Strategy<Value = BTreeMap<String, String>> {
    let value = prop_oneof![line(60), Just(String::new())];
    prop::collection::btree_map(line(8), value, 0..5)
}

fn roles() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[a-z][a-z0-9_-]{0,20}", 0..4)
}

/// A list with any parameters that go together.
fn list<R: Resource>() -> impl Strategy<Value = List<R>> {
    let sort = prop::option::of((prop::sample::select(R::SORTS), any::<bool>()));
    let condition = (prop::sample::select(R::FIELDS), any::<prop::sample::Index>(), line(20), any::<u32>());
    let place = prop_oneof![
        prop::option::of(1..=u32::MAX).prop_map(|page| (page, None, None, None)),
        line(60).prop_map(|cursor| (None, Some(cursor), None, None)),
        prop::sample::select(vec![Position::Start, Position::End]).prop_map(|end| (
            None,
            None,
            Some(end),
            None
        )),
        line(40).prop_map(|id| (None, None, None, Some(id))),
    ];
    let total =
        prop::option::of(prop::sample::select(vec![TotalMode::Bounded, TotalMode::Exact, TotalMode::None]));
    (
        place,
        prop::option::of(1..=1_000u32),
        sort,
        prop::collection::vec(condition, 0..4),
        prop::option::of(line(30)),
        total,
        any::<bool>(),
    )
        .prop_map(|(place, size, sort, conditions, q, total, include)| {
            let mut list = List::<R>::new();
            (list.page, list.cursor, list.position, list.around) = place;
            (list.page_size, list.total) = (size, total);
            list.sort = sort.map(|(key, descending)| Sort { key, descending });
            if R::SEARCH {
                list.q = q;
            }
            if include && !R::INCLUDES.is_empty() {
                list.include = R::INCLUDES.iter().map(|one| one.name).collect();
                list.include_limit = size.map(|size| size % 100 + 1);
            }
            for (field, op, text, number) in conditions {
                let op = *op.get(field.ops);
                if list.filter.iter().any(|one| (one.field, one.op) == (field.name, op)) {
                    continue;
                }
                let one = |text: String| match field.kind {
                    Kind::Text => text,
                    Kind::Id(prefix) => format!("{prefix}_01h455vb4pex5vsknk084sn02q"),
                    Kind::Word(words) => words[number as usize % words.len()].to_owned(),
                    Kind::Time => {
                        [format!("-{number}s"), "today".to_owned(), "2026-01-15T09:30:00.123456Z".to_owned()]
                            [number as usize % 3]
                            .clone()
                    }
                    Kind::Integer | Kind::Money => number.to_string(),
                };
                let value = match op {
                    Op::IsNull => (number % 2 == 0).to_string(),
                    Op::In => [one(text.replace(',', "")), one("b".to_owned())].join(","),
                    // a comma means several where several can be
                    _ => one(text.replace(',', ";")),
                };
                if let Ok(more) = list.clone().with(field.name, op, &value) {
                    list = more;
                }
            }
            list
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: crate::support::rounds(64, 5_000), rng_seed: RngSeed::Fixed(crate::support::seed()), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lists_are_read_as_they_were_written(
        users in list::<User>(), roles in list::<Role>(), sessions in list::<Session>(), events in list::<Event>(), audit in list::<AuditEntry>(), after in 0..i64::MAX,
    ) {
        there_and_back(&users)?;
        there_and_back(&roles)?;
        there_and_back(&sessions)?;
        there_and_back(&events)?;
        there_and_back(&audit)?;
        let mut log = List::<Event>::new();
        log.after = Some(after);
        there_and_back(&log)?;
    }

    #[test]
    fn writes_are_read_as_they_were_written(
        text in name(), secret_text in line(100), metadata in facts(), names in roles(), which in any::<[bool; 6]>(), version in any::<i64>(),
    ) {
        let id: UserId = "usr_01h455vb4pex5vsknk084sn02q".parse().unwrap();
        let names: Vec<_> = names.iter().map(|name| name.parse().unwrap()).collect();
        let external = which[0].then(|| "x-1".parse().unwrap());
        there_and_back(&Login { email: "ann@example.com".parse().unwrap(), password: secret(&secret_text) })?;
        there_and_back(&Logout { refresh_token: which[1].then(|| secret(&secret_text)) })?;
        there_and_back(&ChangePassword { current_password: secret(&secret_text), new_password: "long enough to be".parse().unwrap() })?;
        there_and_back(&CreateUser {
            email: "ann@example.com".parse().unwrap(),
            name: text.parse().unwrap(),
            password: which[2].then(|| "long enough to be".parse().unwrap()),
            password_hash: None,
            roles: which[3].then(|| names.clone()),
            kind: which[4].then(|| "service".parse().unwrap()),
            external_id: external.clone(),
            metadata: which[5].then(|| Metadata(metadata.clone())).filter(|facts| !facts.0.is_empty()),
        })?;
        let patch = metadata.iter().map(|(key, value)| (key.clone(), which[1].then(|| value.clone()))).collect();
        there_and_back(&UpdateUser {
            id,
            email: Change::from_option(which[0].then(|| "bob@example.com".parse().unwrap())),
            name: Change::from_option(which[1].then(|| text.parse().unwrap())),
            external_id: Change::from_option(which[2].then(|| external.clone())),
            metadata: Change::from_option(which[3].then_some(MetadataPatch(patch))),
        })?;
        there_and_back(&UpdateMe { name: Change::from_option(which[4].then(|| text.parse().unwrap())) })?;
        there_and_back(&SuspendUser { id, reason: which[5].then(|| text.parse().unwrap()) })?;
        there_and_back(&SetUserRoles { id, roles: names })?;
        there_and_back(&GetUser { id, include: None })?;
        there_and_back(&RevokeSession { id: SessionId::new() })?;
        there_and_back(&RevokeSessions { user_id: id })?;
        there_and_back(&GetVerdict { key: text.clone() })?;
        let item = BulkItem { op: BulkOp::Update, id: Some(id), if_match: Some(version), data: Some(json!({"name": text, "metadata": metadata})) };
        there_and_back(&BulkUsers { mode: BulkMode::Atomic, items: vec![item] })?;
    }
}

#[tokio::test]
async fn every_operation_of_the_table_is_mounted_and_nothing_else() {
    let s = TestServer::start().await;
    let token = access(&s.signed_in("owner", "owner").await).await;
    let methods = [Method::Get, Method::Post, Method::Put, Method::Patch, Method::Delete];
    // the tokens of logout and of what signs in are not looked at here
    for row in ALL.iter().filter(|row| row.name != "Logout") {
        let target = fill(row.path, unknown_id(row.path), UNUSED_KEY);
        let answer = request_of(row.method, &target).bearer(&token).send(&s).await;
        assert_ne!(answer.status, 405, "{} {}", row.method.as_str(), row.path);
        assert!(
            answer.json["error"]["details"]["path"].is_null(),
            "{} {} is not there",
            row.method.as_str(),
            row.path
        );
        for method in methods {
            if ALL.iter().any(|other| other.path == row.path && other.method == method) {
                continue;
            }
            let answer = request(method.as_str(), &target).bearer(&token).send(&s).await;
            // a fixed word may also be read as an id by a neighbour's path
            let shadowed = ALL.iter().any(|other| {
                other.method == method
                    && other.path.split('/').count() == row.path.split('/').count()
                    && other.path.contains('{')
                    && other.path != row.path
            });
            assert!(
                answer.status == 405 || (shadowed && answer.status == 422),
                "{} {target}: {answer:?}",
                method.as_str()
            );
        }
    }
    for path in [
        "/v1/orders",
        "/v1/users/bulk/x",
        "/v1/auth",
        "/v1/admin",
        "/v1/debug",
        "/v1/metrics",
        "/v1/healthz",
        "/v1/me/",
        "/v1/openapi.json",
    ] {
        assert_eq!(get(path).bearer(&token).send(&s).await.verdict(), "404 NOT_FOUND", "{path}");
    }
}

#[test]
fn money_is_read_as_it_is_written() {
    use bursar_shared::{
        field::TransferMode,
        money::{Amount, Limit, MAX_MINOR},
        operations::{
            accounts::{CloseAccount, CreateAccount, Entry, GetStatement, ListEntries, UpdateAccount},
            transfers::{CreateTransfer, ReverseTransfer, Seconds},
        },
        time::TimeExpr,
    };
    let wallet = "acc_01h455vb4pex5vsknk084sn02q".parse().unwrap();
    let world = "world:JPY".parse().unwrap();
    there_and_back(&CreateTransfer {
        from_account_id: world,
        to_account_id: wallet,
        amount: Amount::new(MAX_MINOR).unwrap(),
        currency: "JPY".parse().unwrap(),
        mode: Some(TransferMode::Hold),
        expires_in_seconds: Some(Seconds(60)),
        reason: Some("rent".parse().unwrap()),
        description: Some("two\nlines\tand a tab".parse().unwrap()),
        external_id: Some("inv-7".parse().unwrap()),
        metadata: None,
    })
    .unwrap();
    let id = "trf_01h455vb4pex5vsknk084sn02q".parse().unwrap();
    there_and_back(&ReverseTransfer { id, amount: Amount::new(1), reason: "x".parse().unwrap() }).unwrap();
    for limit in [Change::Keep, Change::Set(None), Change::Set(Limit::new(0))] {
        there_and_back(&CreateAccount {
            name: "a".parse().unwrap(),
            currency: "EUR".parse().unwrap(),
            owner_id: None,
            overdraft_limit: limit.clone(),
            max_balance: Limit::new(5),
            external_id: None,
            metadata: None,
        })
        .unwrap();
        there_and_back(&UpdateAccount {
            id: world,
            name: Change::Keep,
            overdraft_limit: Change::Keep,
            max_balance: limit,
            external_id: Change::Set(None),
            metadata: Change::Keep,
        })
        .unwrap();
    }
    there_and_back(&CloseAccount {
        id: wallet,
        sweep_to_account_id: Some(world),
        expected_balance: None,
        reason: None,
    })
    .unwrap();
    let list = List::<Entry>::new().size(7).with("side", Op::Eq, "debit").unwrap();
    there_and_back(&ListEntries { id: world, list }).unwrap();
    there_and_back(&GetStatement { id: wallet, from: TimeExpr::Ago(86_400), to: TimeExpr::Today }).unwrap();
}

#[tokio::test]
async fn what_is_no_operation_answers_without_the_envelope() {
    let s = TestServer::start().await;
    s.person("owner", "owner").await;
    let health = get("/healthz").send_unchecked(&s).await;
    assert_eq!((health.status, health.body.as_slice()), (200, &b"ok"[..]));
    let ready = get("/readyz").send_unchecked(&s).await;
    assert_eq!(
        (ready.status, &ready.json["status"], &ready.json["checks"]["database"]),
        (200, &json!("ok"), &json!("ok"))
    );
    let jwks = get("/.well-known/jwks.json").send_unchecked(&s).await;
    assert_eq!((&jwks.json["keys"][0]["crv"], jwks.json["keys"][0].get("d")), (&json!("Ed25519"), None));
}

#[tokio::test]
async fn a_created_person_is_where_the_location_says() {
    let s = TestServer::start().await;
    let token = access(&s.signed_in("ann", "support").await).await;
    let made = request("POST", "/v1/users")
        .json(&json!({"email": "a@b.io", "name": "a"}))
        .bearer(&token)
        .send(&s)
        .await;
    assert_eq!(made.status, 201);
    let found = get(made.header("location").unwrap()).bearer(&token).send(&s).await;
    assert_eq!(found.data(), made.data());
}
