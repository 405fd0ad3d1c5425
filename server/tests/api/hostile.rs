//! What a client should never send: refused with an envelope that says why, and never a 5xx.

use bursar_server::testing::TestServer;
use bursar_shared::{
    operation::{Method, Operation},
    operations::{ALL, Visitor, users::GetUser, visit},
};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Value, json};

use crate::support::{
    Answer, Request, UNUSED_KEY, access, exchange, fill, get, key, new, post, request, request_of, rounds,
    rows, seed, tokens, unknown_id,
};

/// A daemon and an owner's token.
async fn start() -> (TestServer, String) {
    let s = TestServer::start().await;
    let token = access(&s.signed_in("owner", "owner").await).await;
    (s, token)
}

async fn create(s: &TestServer, token: &str, body: &Value) -> Answer {
    post("/v1/users", body).bearer(token).send(s).await
}

#[tokio::test]
async fn what_is_not_json_is_malformed() {
    let (s, token) = start().await;
    let nested =
        |levels: usize| format!("{{\"metadata\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
    let bodies: Vec<Vec<u8>> = vec![
        b"{".to_vec(),
        b"{\"email\":}".to_vec(),
        b"{} {}".to_vec(),
        b"{\"email\":\"a@b.io\",}".to_vec(),
        b"{'email':1}".to_vec(),
        b"NaN".to_vec(),
        b"{\"email\":1e999}".to_vec(),
        b"{\"email\":\"\\ud800\"}".to_vec(),
        b"{\"email\":\"\xff\"}".to_vec(),
        b"\xef\xbb\xbf{}".to_vec(),
        b"{\"email\":\"a@b.io\",\"email\":\"c@d.io\"}".to_vec(),
        b"{\"metadata\":{\"a\":\"1\",\"a\":\"2\"}}".to_vec(),
        nested(33).into_bytes(),
        nested(100_000).into_bytes(),
        format!("{}1{}", "{\"a\":".repeat(33), "}".repeat(33)).into_bytes(),
    ];
    for body in bodies {
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        let answer = request("POST", "/v1/users")
            .header("content-type", "application/json")
            .bytes(body)
            .bearer(&token)
            .send(&s)
            .await;
        assert_eq!(answer.verdict(), "400 MALFORMED_REQUEST", "{shown}");
    }
    // thirty-two levels are read, and found wrong for what they are
    let answer = request("POST", "/v1/users")
        .header("content-type", "application/json")
        .bytes(nested(32))
        .bearer(&token)
        .send(&s)
        .await;
    assert_eq!(answer.verdict(), "422 VALIDATION_FAILED");
    for body in [json!([]), json!("text"), json!(1), json!(true), Value::Null] {
        assert_eq!(create(&s, &token, &body).await.rules(), ["/ type"], "{body}");
    }
}

#[tokio::test]
async fn all_faults_are_told_at_once_and_valid_members_are_listed() {
    let (s, token) = start().await;
    let body = json!({
        "email": "no email", "name": "", "roles": ["Not A Role", 7], "kind": "robot", "externalId": "a b",
        "metadata": {"ok": 1}, "password": "short", "status": "active", "nope": true, "a/b~c": 1,
    });
    let answer = create(&s, &token, &body).await;
    assert_eq!(answer.verdict(), "422 VALIDATION_FAILED");
    assert_eq!(
        answer.rules(),
        [
            "/a~1b~0c unknown_field",
            "/email format",
            "/externalId pattern",
            "/kind enum",
            "/metadata/ok type",
            "/name length",
            "/nope unknown_field",
            "/password length",
            "/roles/0 pattern",
            "/roles/1 type",
            "/status read_only",
        ]
    );
    let told = answer.json["error"]["details"]["violations"].to_string();
    assert!(
        told.contains("valid: email, name, password, passwordHash, roles, kind, externalId, metadata"),
        "{told}"
    );
    assert!(!told.contains("short"), "a secret is echoed: {told}");
    assert_eq!(create(&s, &token, &json!({})).await.rules(), ["/email required", "/name required"]);
}

#[tokio::test]
async fn what_the_daemon_makes_cannot_be_sent() {
    let (s, token) = start().await;
    let made = ["id", "status", "lastLoginAt", "version", "createdAt", "updatedAt"];
    for name in made {
        let answer = create(&s, &token, &json!({"email": "a@b.io", "name": "a", name: "x"})).await;
        assert_eq!(answer.rules(), [format!("/{name} read_only")]);
    }
    let bob = create(&s, &token, &json!({"email": "bob@b.io", "name": "bob"})).await.data()["id"].clone();
    let path = format!("/v1/users/{}", bob.as_str().unwrap());
    for name in ["status", "kind", "roles", "lastLoginAt", "version", "createdAt", "updatedAt"] {
        let answer = request("PATCH", &path).json(&json!({name: "x"})).bearer(&token).send(&s).await;
        assert_eq!(answer.rules(), [format!("/{name} read_only")]);
    }
    for name in ["password", "passwordHash", "sessions"] {
        let answer = request("PATCH", &path).json(&json!({name: "x"})).bearer(&token).send(&s).await;
        assert_eq!(answer.rules(), [format!("/{name} unknown_field")]);
    }
    let answer = request("PATCH", &path).json(&json!({"id": bob})).bearer(&token).send(&s).await;
    assert_eq!(answer.rules(), ["/id unknown_field"]);
    let mine = request("PATCH", "/v1/me")
        .json(&json!({"email": "x@y.io", "roles": []}))
        .bearer(&token)
        .send(&s)
        .await;
    assert_eq!(mine.rules(), ["/email read_only", "/roles read_only"]);
}

#[tokio::test]
async fn control_characters_are_refused_in_every_text() {
    let (s, token) = start().await;
    let id = s.person("bob", "customer").await.id;
    let places: Vec<(&str, String, Value, &str)> = vec![
        ("POST", "/v1/users".into(), json!({"email": "X@b.io", "name": "a"}), "/email"),
        ("POST", "/v1/users".into(), json!({"email": "a@b.io", "name": "X"}), "/name"),
        (
            "POST",
            "/v1/users".into(),
            json!({"email": "a@b.io", "name": "a", "password": "long enough to be X"}),
            "/password",
        ),
        (
            "POST",
            "/v1/users".into(),
            json!({"email": "a@b.io", "name": "a", "externalId": "X"}),
            "/externalId",
        ),
        ("POST", "/v1/users".into(), json!({"email": "a@b.io", "name": "a", "roles": ["X"]}), "/roles/0"),
        (
            "POST",
            "/v1/users".into(),
            json!({"email": "a@b.io", "name": "a", "metadata": {"k": "X"}}),
            "/metadata/k",
        ),
        ("PATCH", format!("/v1/users/{id}"), json!({"name": "X"}), "/name"),
        ("PATCH", format!("/v1/users/{id}"), json!({"metadata": {"k": "X"}}), "/metadata/k"),
        ("POST", format!("/v1/users/{id}/suspend"), json!({"reason": "X"}), "/reason"),
        ("POST", format!("/v1/users/{id}/activate"), json!({"reason": "X"}), "/reason"),
        ("PUT", format!("/v1/users/{id}/roles"), json!({"roles": ["X"]}), "/roles/0"),
        ("PATCH", "/v1/me".into(), json!({"name": "X"}), "/name"),
        (
            "POST",
            "/v1/me/password".into(),
            json!({"currentPassword": "X", "newPassword": "long enough to be"}),
            "/currentPassword",
        ),
        ("POST", "/v1/auth/login".into(), json!({"email": "a@b.io", "password": "X"}), "/password"),
        ("POST", "/v1/auth/refresh".into(), json!({"refreshToken": "X"}), "/refreshToken"),
        ("POST", "/v1/auth/logout".into(), json!({"refreshToken": "X"}), "/refreshToken"),
        (
            "POST",
            "/v1/auth/password".into(),
            json!({"resetToken": "X", "newPassword": "long enough to be"}),
            "/resetToken",
        ),
        ("POST", "/v1/sessions/revoke".into(), json!({"userId": "X"}), "/userId"),
    ];
    for control in ['\0', '\u{7}', '\t', '\n', '\u{1b}', '\u{7f}', '\u{85}', '\u{9b}'] {
        for (method, path, body, pointer) in &places {
            let body: Value = replaced(body, &format!("a{control}b"));
            let answer = request(method, path).json(&body).bearer(&token).send(&s).await;
            assert_eq!(answer.status, 422, "{path} {body}: {answer:?}");
            let rules = answer.rules();
            let rule = rules[0].split(' ').next().unwrap();
            assert_eq!((rules.len(), rule), (1, *pointer), "{path} {control:?}: {rules:?}");
        }
    }
    // as the name of a member
    let answer =
        create(&s, &token, &json!({"email": "a@b.io", "name": "a", "metadata": {"a\0b": "1"}})).await;
    assert_eq!(answer.verdict(), "422 VALIDATION_FAILED");
    let answer = create(&s, &token, &json!({"email": "a@b.io", "name": "a", "a\u{1b}[31m": "1"})).await;
    assert_eq!(answer.verdict(), "422 VALIDATION_FAILED");
    assert!(!String::from_utf8_lossy(&answer.body).contains("\\u001b"), "a control character is echoed");
    // in parameters
    for parameter in [
        "q=a%00b",
        "around=%00",
        "cursor=%00",
        "filter[name]=%00",
        "filter[email][prefix]=a%1b",
        "filter[role]=%0a",
        "sort=%00",
        "%00=1",
    ] {
        let answer = get(format!("/v1/users?{parameter}")).bearer(&token).send(&s).await;
        assert_eq!(answer.verdict(), "422 VALIDATION_FAILED", "{parameter}");
    }
    assert_eq!(get("/v1/idempotency/%00").bearer(&token).send(&s).await.status, 422);
}

/// `body` with `text` for every X in it.
fn replaced(body: &Value, text: &str) -> Value {
    match body {
        Value::String(old) => json!(old.replace('X', text)),
        Value::Array(items) => items.iter().map(|item| replaced(item, text)).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), replaced(value, text))).collect()
        }
        other => other.clone(),
    }
}

#[tokio::test]
async fn bidi_and_invisible_characters_are_kept_as_sent() {
    let (s, token) = start().await;
    for (index, name) in [
        "\u{202e}evil\u{202c}",
        "a\u{200b}b\u{2066}c\u{2069}",
        "שלום",
        "e\u{301}\u{1f469}\u{200d}\u{1f680}",
        "\u{feff}x",
        "\u{e0041}x",
    ]
    .into_iter()
    .enumerate()
    {
        let body = json!({"email": format!("p{index}@b.io"), "name": name, "metadata": {"k": name}});
        let made = create(&s, &token, &body).await;
        assert_eq!(made.status, 201, "{name:?}");
        let id = made.data()["id"].as_str().unwrap();
        let read = get(format!("/v1/users/{id}")).bearer(&token).send(&s).await;
        assert_eq!((&read.data()["name"], &read.data()["metadata"]["k"]), (&json!(name), &json!(name)));
        let listed = get(format!("/v1/users?filter[email]=p{index}@b.io")).bearer(&token).send(&s).await;
        assert_eq!(listed.data()[0]["name"], name);
    }
}

#[tokio::test]
async fn bodies_that_are_too_big_are_refused_however_they_come() {
    let (s, token) = start().await;
    let filled = |size: usize| {
        let frame = r#"{"email":"a@b.io","name":""}"#.len();
        format!(r#"{{"email":"a@b.io","name":"{}"}}"#, "x".repeat(size - frame)).into_bytes()
    };
    let to = |path: &str, body: Vec<u8>| {
        request("POST", path).header("content-type", "application/json").bytes(body).bearer(&token)
    };
    let fits = to("/v1/users", filled(1 << 20)).send(&s).await;
    assert_eq!(fits.rules(), ["/name length"]);
    for answer in [
        to("/v1/users", filled((1 << 20) + 1)).send(&s).await,
        to("/v1/users", filled((1 << 20) + 1)).send_chunked(&s).await,
        to("/v1/users/bulk", filled((8 << 20) + 1)).send(&s).await,
        to("/v1/auth/login", filled(2 << 20)).send(&s).await,
    ] {
        assert_eq!(answer.verdict(), "413 BODY_TOO_LARGE");
        assert!(answer.json["error"]["details"]["limit"].as_u64().unwrap() >= 1 << 20);
    }
    assert_eq!(to("/v1/users/bulk", filled(2 << 20)).send(&s).await.status, 422);
    let announced = get("/v1/me").header("content-length", "99999999").bearer(&token).send(&s).await;
    assert_eq!(announced.status, 413);
}

#[tokio::test]
async fn only_json_is_read() {
    let (s, token) = start().await;
    let body = br#"{"email":"a@b.io","name":"a"}"#.to_vec();
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "json",
        "",
        "application/json2",
    ] {
        let answer = request("POST", "/v1/users")
            .header("content-type", kind)
            .bytes(body.clone())
            .bearer(&token)
            .send(&s)
            .await;
        assert_eq!(answer.verdict(), "415 UNSUPPORTED_MEDIA_TYPE", "{kind}");
    }
    let nothing = request("POST", "/v1/users").bytes(body.clone()).bearer(&token).send(&s).await;
    assert_eq!(nothing.verdict(), "415 UNSUPPORTED_MEDIA_TYPE");
    for (kind, email) in [
        ("application/json; charset=utf-8", "a"),
        ("APPLICATION/JSON", "b"),
        ("application/merge-patch+json", "c"),
    ] {
        let body = format!(r#"{{"email":"{email}@b.io","name":"a"}}"#);
        let answer = request("POST", "/v1/users")
            .header("content-type", kind)
            .bytes(body)
            .bearer(&token)
            .send(&s)
            .await;
        assert_eq!(answer.status, 201, "{kind}");
    }
    for (method, path) in
        [("GET", "/v1/me"), ("GET", "/v1/users"), ("DELETE", "/v1/users/usr_01h455vb4pex5vsknk084sn02q")]
    {
        let answer = request(method, path).json(&json!({})).bearer(&token).send(&s).await;
        assert_eq!(answer.verdict(), "400 MALFORMED_REQUEST", "{method} {path}");
    }
}

#[tokio::test]
async fn parameters_are_as_strict_as_bodies() {
    let (s, token) = start().await;
    let list = |query: &'static str| {
        let request = get(format!("/v1/users?{query}")).bearer(&token);
        let s = &s;
        async move { request.send(s).await.rules() }
    };
    for (query, rules) in [
        ("nope=1", vec!["?nope unknown_parameter"]),
        ("page=0", vec!["?page range"]),
        ("page=-1", vec!["?page range"]),
        ("page=x", vec!["?page type"]),
        ("page=1.5", vec!["?page type"]),
        ("page=99999999999999999999", vec!["?page type"]),
        ("page=4294967296", vec!["?page range"]),
        ("page=4294967295&pageSize=1000", vec!["?page page_too_deep"]),
        ("pageSize=0", vec!["?pageSize range"]),
        ("pageSize=1001", vec!["?pageSize range"]),
        ("pageSize=", vec!["?pageSize type"]),
        ("sort=password", vec!["?sort invalid_sort"]),
        ("sort=--name", vec!["?sort invalid_sort"]),
        ("sort=name,email", vec!["?sort invalid_sort"]),
        ("sort=", vec!["?sort invalid_sort"]),
        ("total=all", vec!["?total enum"]),
        ("position=middle", vec!["?position enum"]),
        ("include=orders", vec!["?include invalid_include"]),
        ("include=", vec!["?include invalid_include"]),
        ("includeLimit=0", vec!["?includeLimit range"]),
        ("includeLimit=101", vec!["?includeLimit range"]),
        ("q=", vec!["?q length"]),
        ("filter[passwordHash]=x", vec!["?filter[passwordHash] invalid_filter"]),
        ("filter[name][like]=x", vec!["?filter[name][like] invalid_filter"]),
        ("filter[status][prefix]=a", vec!["?filter[status][prefix] invalid_filter"]),
        ("filter[status]=gone", vec!["?filter[status] invalid_filter"]),
        ("filter[createdAt][gte]=yesterday", vec!["?filter[createdAt][gte] invalid_filter"]),
        ("filter[createdAt][gte]=-99999999999999999999d", vec!["?filter[createdAt][gte] invalid_filter"]),
        ("filter[externalId][isnull]=maybe", vec!["?filter[externalId][isnull] invalid_filter"]),
        ("filter[name]=", vec!["?filter[name] invalid_filter"]),
        ("filter[name", vec!["?filter[name invalid_filter"]),
        ("filter[][]=1", vec!["?filter[][] invalid_filter"]),
        ("page=1&page=2", vec!["?page type"]),
        ("page=1&cursor=x", vec!["?page modes_mixed"]),
        ("cursor=x&position=end", vec!["?cursor modes_mixed"]),
        ("around=x&position=end", vec!["?cursor modes_mixed"]),
        ("after=1", vec!["?after unknown_parameter"]),
        ("dryRun=true", vec!["?dryRun unknown_parameter"]),
        (
            "sort=x&pageSize=0&nope=1&filter[x]=1",
            vec![
                "?filter[x] invalid_filter",
                "?nope unknown_parameter",
                "?pageSize range",
                "?sort invalid_sort",
            ],
        ),
    ] {
        assert_eq!(list(query).await, rules, "{query}");
    }
    for query in [
        "filter[createdAt][gte]=-9223372036854775807d",
        "filter[createdAt][gte]=-9223372036854775807s",
        "filter[createdAt][lte]=9999-12-31T23:59:59.999999Z",
        "filter[createdAt][gte]=-009999-01-01T00:00:00Z",
        "page=501&pageSize=20",
        "q=%ff%fe",
        "q=%25%27%3B--",
        "filter[name]=%27%20OR%201%3D1",
        "filter[name][prefix]=%25",
        "filter[name][prefix]=%F4%8F%BF%BF",
        "filter[role]=%27",
        "filter[email][in]=,,,",
        "filter[createdAt][gte]=",
    ] {
        // whatever it means, it is no fault of ours: `send` refuses a 5xx
        let answer = get(format!("/v1/users?{query}")).bearer(&token).send(&s).await;
        assert!([200, 422].contains(&answer.status), "{query}: {answer:?}");
    }
    let many = (0..101).map(|n| format!("x{n}")).collect::<Vec<_>>().join(",");
    let answer = get(format!("/v1/users?filter[name][in]={many}")).bearer(&token).send(&s).await;
    assert_eq!(answer.rules(), ["?filter[name][in] invalid_filter"]);
    for (method, path) in [("POST", "/v1/users"), ("DELETE", "/v1/sessions/ses_01h455vb4pex5vsknk084sn02q")] {
        let answer = request_of(
            if method == "POST" { Method::Post } else { Method::Delete },
            &format!("{path}?nope=1"),
        )
        .bearer(&token)
        .send(&s)
        .await;
        assert!(answer.rules().contains(&"?nope unknown_parameter".to_owned()), "{method}: {answer:?}");
        let answer = request_of(
            if method == "POST" { Method::Post } else { Method::Delete },
            &format!("{path}?dryRun=perhaps"),
        )
        .bearer(&token)
        .send(&s)
        .await;
        assert_eq!(answer.rules(), ["?dryRun type"], "{method}");
    }
    for query in ["after=-1", "after=x", "sort=type", "include=x", "q=x"] {
        let answer = get(format!("/v1/audit?{query}")).bearer(&token).send(&s).await;
        assert_eq!(answer.verdict(), "422 VALIDATION_FAILED", "{query}");
    }
    assert_eq!(get("/v1/audit?after=9223372036854775807").bearer(&token).send(&s).await.status, 200);
}

#[tokio::test]
async fn cursors_are_believed_only_as_they_were_given() {
    let (s, token) = start().await;
    for name in ["a", "b", "c"] {
        s.person(name, "customer").await;
    }
    let first = get("/v1/users?pageSize=1&sort=name").bearer(&token).send(&s).await;
    let cursor = first.pagination("nextCursor").as_str().unwrap().to_owned();
    let rules = |query: String| {
        let request = get(query).bearer(&token);
        let s = &s;
        async move { request.send(s).await.rules() }
    };
    let good = get(format!("/v1/users?pageSize=1&sort=name&cursor={cursor}")).bearer(&token).send(&s).await;
    assert_eq!(good.status, 200);
    for other in [
        "sort=-name",
        "sort=email",
        "filter[status]=active",
        "sort=name&filter[status]=active",
        "sort=name&q=a",
    ] {
        assert_eq!(
            rules(format!("/v1/users?{other}&cursor={cursor}")).await,
            ["?cursor cursor_mismatch"],
            "{other}"
        );
    }
    // without a sort of its own the request goes on as the cursor does
    assert_eq!(
        get(format!("/v1/users?pageSize=1&cursor={cursor}")).bearer(&token).send(&s).await.ids(),
        good.ids()
    );
    // another size or total is the same list
    assert_eq!(
        get(format!("/v1/users?pageSize=2&total=exact&sort=name&cursor={cursor}"))
            .bearer(&token)
            .send(&s)
            .await
            .status,
        200
    );
    assert_eq!(rules(format!("/v1/roles?sort=name&cursor={cursor}")).await, ["?cursor cursor_mismatch"]);
    let at = cursor.len() / 2;
    let letter = if &cursor[at..=at] == "A" { "B" } else { "A" };
    let tampered = format!("{}{letter}{}", &cursor[..at], &cursor[at + 1..]);
    let other = TestServer::start().await;
    let stranger = access(&other.signed_in("owner", "owner").await).await;
    other.person("a", "customer").await;
    let foreign = get("/v1/users?pageSize=1&sort=name").bearer(&stranger).send(&other).await;
    let foreign = foreign.pagination("nextCursor").as_str().unwrap().to_owned();
    for wrong in [
        tampered,
        foreign,
        cursor[..cursor.len() - 1].to_owned(),
        format!("{cursor}="),
        "x".to_owned(),
        String::new(),
        "x".repeat(5_000),
    ] {
        assert_eq!(
            rules(format!("/v1/users?sort=name&cursor={wrong}")).await,
            ["?cursor cursor_invalid"],
            "{wrong}"
        );
    }
    // a cursor carries no authority
    let customer = access(&s.signed_in("customer", "customer").await).await;
    assert_eq!(
        get(format!("/v1/users?sort=name&cursor={cursor}")).bearer(&customer).send(&s).await.status,
        403
    );
}

#[tokio::test]
async fn a_page_too_deep_brings_a_cursor_that_goes_on_there() {
    let (s, token) = start().await;
    let (series, id) = match s.is_postgres() {
        true => (
            "SELECT n FROM generate_series(1, 10050) AS t(n)",
            "right('00000000000000000000000000' || n, 26)",
        ),
        false => (
            "SELECT n FROM (WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 10050) SELECT n FROM t)",
            "substr('00000000000000000000000000' || n, -26)",
        ),
    };
    s.sql(&format!(
        "INSERT INTO users (id, email, name, name_sort, status, kind, metadata, version, created_at, updated_at)
         SELECT 'usr_' || {id}, 'p' || n || '@x.io', 'p', 'p', 'active', 'human', '{{}}', 1, n, n FROM ({series}) AS s"
    ))
    .await
    .unwrap();
    let deep = get("/v1/users?sort=createdAt&page=101&pageSize=100").bearer(&token).send(&s).await;
    assert_eq!(deep.rules(), ["?page page_too_deep"]);
    let cursor = deep.json["error"]["details"]["nextCursor"].as_str().unwrap();
    let next =
        get(format!("/v1/users?sort=createdAt&pageSize=100&cursor={cursor}")).bearer(&token).send(&s).await;
    assert_eq!(next.ids()[0], "usr_00000000000000000000010001");
    let last = get("/v1/users?sort=createdAt&page=100&pageSize=100").bearer(&token).send(&s).await;
    assert_eq!(last.ids()[99], "usr_00000000000000000000010000");
    assert_eq!(
        (last.pagination("total"), last.pagination("totalAccuracy")),
        (&json!(10_000), &json!("at_least"))
    );
    assert_eq!(last.pagination("totalPages"), &Value::Null);
    let exact = get("/v1/users?total=exact&pageSize=1").bearer(&token).send(&s).await;
    assert_eq!(
        (exact.pagination("total"), exact.pagination("totalAccuracy")),
        (&json!(10_051), &json!("exact"))
    );
}

#[tokio::test]
async fn ids_of_the_wrong_kind_are_refused() {
    let (s, token) = start().await;
    let wrong = [
        "ses_01h455vb4pex5vsknk084sn02q",
        "usr_01H455VB4PEX5VSKNK084SN02Q",
        "usr_01h455vb4pex5vsknk084sn02",
        "usr_81h455vb4pex5vsknk084sn02q",
        "usr_01h455vb4pex5vsknk084sn02l",
        "usr_",
        "1",
        "null",
        "..%2f..%2fetc",
        "%2e%2e",
        "%ef%bc%8e",
        "a%20b",
    ];
    for id in wrong {
        let answer = get(format!("/v1/users/{id}")).bearer(&token).send(&s).await;
        assert_eq!(answer.rules(), ["?id id_type"], "{id}");
        let answer =
            request("PATCH", format!("/v1/users/{id}")).json(&json!({})).bearer(&token).send(&s).await;
        assert_eq!(answer.rules(), ["/id id_type"], "{id}");
    }
    assert_eq!(
        post("/v1/sessions/revoke", &json!({"userId": 7})).bearer(&token).send(&s).await.rules(),
        ["/userId type"]
    );
    let answer =
        get("/v1/sessions?filter[userId]=ses_01h455vb4pex5vsknk084sn02q").bearer(&token).send(&s).await;
    assert_eq!(answer.rules(), ["?filter[userId] invalid_filter"]);
    for around in ["usr_01h455vb4pex5vsknk084sn02q", "nobody"] {
        let answer = get(format!("/v1/users?around={around}")).bearer(&token).send(&s).await;
        assert_eq!(answer.verdict(), "404 NOT_FOUND", "{around}");
    }
    assert_eq!(get("/v1/users/%ff").bearer(&token).send(&s).await.verdict(), "400 MALFORMED_REQUEST");
}

#[tokio::test]
async fn numbers_beyond_reason_are_refused() {
    let (s, token) = start().await;
    let id = s.person("bob", "customer").await.id;
    for (text, rule) in [
        ("9223372036854775808", "type"),
        ("-9223372036854775809", "type"),
        ("1e3", "type"),
        ("1.0", "type"),
        ("\"1\"", "type"),
        ("true", "type"),
    ] {
        let body = format!(
            r#"{{"mode":"independent","items":[{{"op":"update","id":"{id}","ifMatch":{text},"data":{{}}}}]}}"#
        );
        let answer = request("POST", "/v1/users/bulk")
            .header("content-type", "application/json")
            .bytes(body)
            .bearer(&token)
            .send(&s)
            .await;
        assert_eq!(answer.rules(), [format!("/items/0/ifMatch {rule}")], "{text}");
    }
    for text in ["9223372036854775807", "-9223372036854775808", "0", "-1"] {
        let body = format!(
            r#"{{"mode":"independent","items":[{{"op":"update","id":"{id}","ifMatch":{text},"data":{{}}}}]}}"#
        );
        let answer = request("POST", "/v1/users/bulk")
            .header("content-type", "application/json")
            .bytes(body)
            .bearer(&token)
            .send(&s)
            .await;
        assert_eq!(answer.data()["items"][0]["error"]["code"], "VERSION_MISMATCH", "{text}");
    }
    let items: Vec<Value> = (0..1_001).map(|_| json!({"op": "delete"})).collect();
    let answer =
        post("/v1/users/bulk", &json!({"mode": "atomic", "items": items})).bearer(&token).send(&s).await;
    assert_eq!(answer.rules(), ["/items length"]);
    let keys: Value =
        (0..51).map(|n| (format!("k{n}"), json!("v"))).collect::<serde_json::Map<_, _>>().into();
    let answer = create(&s, &token, &json!({"email": "a@b.io", "name": "a", "metadata": keys})).await;
    assert_eq!(answer.rules(), ["/metadata length"]);
}

#[tokio::test]
async fn headers_that_make_no_sense_are_refused_or_replaced() {
    let (s, token) = start().await;
    let id = s.person("bob", "customer").await.id;
    let edit = || request("PATCH", format!("/v1/users/{id}")).json(&json!({"name": "b"})).bearer(&token);
    for value in ["", "x", "W/\"1-0\"", "\"\"", "\"x-1\"", "99999999999999999999", "1.5"] {
        let answer = edit().header("if-match", value).send(&s).await;
        assert!(
            ["400 MALFORMED_REQUEST", "412 VERSION_MISMATCH"].contains(&answer.verdict().as_str()),
            "{value}: {answer:?}"
        );
    }
    // a list would be one copy that was read and others that were not
    let answer = edit().header("if-match", "\"1-0\", \"2-0\"").send(&s).await;
    assert_eq!(answer.verdict(), "400 MALFORMED_REQUEST");
    for value in [
        &b"short"[..],
        b"",
        &[b'x'; 129],
        b"with a space in it....",
        b"\"\"",
        "sch\u{f6}n-und-lang-genug".as_bytes(),
        b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8\xf7\xf6\xf5\xf4\xf3\xf2\xf1\xf0",
    ] {
        let answer = edit().header("idempotency-key", value).send(&s).await;
        assert_eq!(answer.verdict(), "400 MALFORMED_REQUEST", "{value:?}");
    }
    assert_eq!(
        rows(&s, &format!("SELECT CAST(version AS TEXT) AS value FROM users WHERE id = '{id}'")),
        ["1"]
    );
    for value in ["short", "with spaces in it", "semi;colon-and-more", "tab\tin-it-here", &"x".repeat(65), ""]
    {
        let answer = get("/v1/me").header("x-request-id", value).bearer(&token).send(&s).await;
        let made = answer.header("x-request-id").unwrap();
        assert!(made.starts_with("req_") && made.len() == 30, "{value}: {made}");
    }
    let kept = get("/v1/me").header("x-request-id", "mine-0123_ABC").bearer(&token).send(&s).await;
    assert_eq!(kept.header("x-request-id"), Some("mine-0123_ABC"));
    for value in [&b"Bearer"[..], b"Bearer ", b"Basic YTpi", b"", b"Bearer a b", b"\xff\xff", b"Bearer \xff"]
    {
        let answer = get("/v1/me").header("authorization", value).send(&s).await;
        assert_eq!(answer.verdict(), "401 TOKEN_INVALID", "{value:?}");
    }
    let long = "x".repeat(9_000);
    assert_eq!(get("/v1/me").bearer(&long).send(&s).await.verdict(), "401 TOKEN_INVALID");
    for value in ["x", "*, \"1\"", "\"\u{1}\""] {
        let answer = get(format!("/v1/users/{id}"))
            .header("if-none-match", value.replace('\u{1}', ""))
            .bearer(&token)
            .send(&s)
            .await;
        assert!([200, 304].contains(&answer.status));
    }
}

#[tokio::test]
async fn paths_that_are_not_there_say_so_in_the_envelope() {
    let (s, token) = start().await;
    for path in [
        "/",
        "/v1",
        "/v1/",
        "/v1/nope",
        "/v1/users/",
        "/v1//users",
        "/V1/users",
        "/v2/users",
        "/v1/users/%2e%2e/x",
        "/v1/%00",
        "/v1/%ff",
        "/v1/users/a/b/c",
        "/..",
        "/v1/users%3Fpage=1",
        "/v1/users;page=1",
    ] {
        let answer = get(path).bearer(&token).send(&s).await;
        assert_eq!(answer.verdict(), "404 NOT_FOUND", "{path}");
        assert!(answer.json["error"]["details"]["path"].is_string());
    }
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW", "PROPFIND"] {
        let answer = request(method, "/v1/users").bearer(&token).send(&s).await;
        assert_eq!(answer.verdict(), "405 METHOD_NOT_ALLOWED", "{method}");
        let allowed = answer.header("allow").unwrap_or_default();
        assert!(allowed.contains("GET") && allowed.contains("POST"), "{method}: {allowed}");
    }
    // other ways to name a method are not listened to
    let answer =
        post("/v1/users", &json!({})).header("x-http-method-override", "GET").bearer(&token).send(&s).await;
    assert_eq!(answer.verdict(), "422 VALIDATION_FAILED");
    assert_eq!(request("HEAD", "/v1/me").bearer(&token).send(&s).await.status, 200);
}

#[tokio::test]
async fn what_is_no_http_ends_the_connection_and_nothing_else() {
    let (s, token) = start().await;
    let big = format!("/v1/users?q={}", "x".repeat(8_200));
    assert_eq!(get(&big).bearer(&token).send_unchecked(&s).await.status, 414);
    let mut many = get("/v1/me").bearer(&token);
    for n in 0..101 {
        many = many.header(&format!("x-{n}"), "1");
    }
    assert_eq!(many.send_unchecked(&s).await.status, 431);
    let wide = get("/v1/me").bearer(&token).header("x-wide", "x".repeat(17 << 10));
    assert_eq!(wide.send_unchecked(&s).await.status, 431);
    let raw: Vec<&[u8]> = vec![
        b"\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /v1/me HTTP/9.9\r\n\r\n",
        b"GET /v1/\xff\xfe HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"GET /v1/me HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n",
        b"POST /v1/users HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/users HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
        b"POST /v1/auth/login HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"CONNECT x:1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"GET http://elsewhere/v1/me HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    ];
    for bytes in raw {
        // closed without a word is as good as a refusal; what is not sent whole needs an end
        let answer = tokio::time::timeout(std::time::Duration::from_secs(20), exchange(&s.url(), bytes))
            .await
            .unwrap();
        assert!(
            answer.status == 0 || (400..500).contains(&answer.status),
            "{:?}: {answer:?}",
            String::from_utf8_lossy(bytes)
        );
    }
    // two lengths of one body: the second one must never become a request
    let smuggled = b"POST /v1/auth/login HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = exchange(&s.url(), smuggled).await;
    assert!(!String::from_utf8_lossy(&answer.body).contains("ok"), "{answer:?}");
    assert_eq!(get("/v1/me").bearer(&token).send(&s).await.status, 200);
}

/// The members of every request that changes something.
struct Writes(Vec<(&'static str, Method, &'static str, Vec<String>)>);

impl Visitor for Writes {
    fn operation<O: Operation + schemars::JsonSchema>(&mut self) {
        if O::METHOD == Method::Get {
            return;
        }
        let schema = schemars::schema_for!(O).to_value();
        let members =
            schema["properties"].as_object().map(|all| all.keys().cloned().collect()).unwrap_or_default();
        self.0.push((O::NAME, O::METHOD, O::PATH, members));
    }
}

/// JSON of any shape, out of values that have broken programs before.
fn anything(members: Vec<String>) -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        3 => prop::sample::select(vec![
            "", "a", "ann@example.com", "owner", "support", "active", "atomic", "independent", "create", "update", "delete",
            "usr_01h455vb4pex5vsknk084sn02q", "ses_01h455vb4pex5vsknk084sn02q", "a long enough text for a password",
            "$2b$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy", "null", "\0", "'; --", "\u{202e}", "2026-01-01T00:00:00Z",
        ]).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    let names = prop_oneof![
        6 => prop::sample::select(if members.is_empty() { vec!["x".to_owned()] } else { members }),
        3 => prop::sample::select(vec!["op", "id", "ifMatch", "data", "email", "name", "roles", "metadata", "k"]).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    let object = |inner: BoxedStrategy<Value>, names: BoxedStrategy<String>| {
        prop::collection::vec((names, inner), 0..6)
            .prop_map(|pairs| Value::Object(pairs.into_iter().collect()))
    };
    let names = names.boxed();
    let deep = names.clone();
    let inner = leaf.prop_recursive(4, 24, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            object(inner.boxed(), deep.clone()),
        ]
    });
    prop_oneof![8 => object(inner.clone().boxed(), names), 1 => inner]
}

#[test]
fn no_json_breaks_a_write() {
    let seed = seed();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner =
        TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let mut writes = Writes(Vec::new());
    visit(&mut writes);
    assert_eq!(writes.0.len(), ALL.iter().filter(|row| row.method != Method::Get).count());
    let s = runtime.block_on(TestServer::start());
    let owner = runtime.block_on(s.person("owner", "owner"));
    runtime.block_on(s.person("spare", "owner"));
    let bob = runtime.block_on(s.person("bob", "customer")).id.to_string();
    let mut session = runtime.block_on(tokens(&s, &owner));
    let mut done = 0;
    for (name, method, path, members) in writes.0 {
        let bodies = anything(members);
        for round in 0..rounds(15, 500) {
            let body = bodies.new_tree(&mut runner).unwrap().current();
            let id = [&bob, unknown_id(path)][round as usize % 2];
            let target = fill(path, id, UNUSED_KEY);
            let mut request: Request = request(method.as_str(), target).bearer(&session.access_token);
            if method.has_body() {
                request = request.json(&body);
            }
            if round % 3 == 0 {
                request = request.header("idempotency-key", key());
            }
            let answer = runtime.block_on(request.send(&s));
            if answer.status == 401 && path != "/v1/auth/refresh" {
                // it signed itself out
                session = runtime.block_on(tokens(&s, &owner));
            }
            assert!(answer.status < 500, "{name} {body}: {answer:?}");
            done += 1;
        }
    }
    assert!(done > 200);
    let healthy =
        runtime.block_on(post("/v1/audit/verify", &json!({})).bearer(&session.access_token).send(&s));
    assert_eq!(healthy.data()["ok"], true, "{healthy:?}");
}

#[tokio::test]
async fn what_is_refused_changes_nothing() {
    let s = TestServer::start().await;
    let ann = s.signed_in("ann", "support").await;
    let bob = ann.call(&new("bob")).await.unwrap().0;
    let before = (crate::support::count(&s, "users"), crate::support::count(&s, "log"));
    let token = access(&ann).await;
    for body in [json!({"name": "x", "nope": 1}), json!({"name": 1}), json!([])] {
        let answer =
            request("PATCH", format!("/v1/users/{}", bob.id)).json(&body).bearer(&token).send(&s).await;
        assert_eq!(answer.status, 422);
    }
    assert_eq!((crate::support::count(&s, "users"), crate::support::count(&s, "log")), before);
    assert_eq!(ann.call(&GetUser { id: bob.id, include: None }).await.unwrap(), bob);
}
