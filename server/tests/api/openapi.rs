//! The OpenAPI document is true of every answer that the other tests see; `/metrics` has the basics.

use std::sync::LazyLock;

use bursar_server::{openapi_document, testing::TestServer};
use bursar_shared::{
    operation::Operation,
    operations::{ALL, Visitor, visit},
};
use serde_json::{Value, json};

use crate::support::{Answer, access, get, new, post};

static DOCUMENT: LazyLock<Value> = LazyLock::new(openapi_document);

/// What a reference stands for.
fn resolve(value: &Value) -> &Value {
    match value["$ref"].as_str() {
        Some(path) => {
            DOCUMENT.pointer(path.trim_start_matches('#')).unwrap_or_else(|| panic!("{path} leads nowhere"))
        }
        None => value,
    }
}

/// The operation of a request, if there is one; a fixed path comes before one with members.
fn operation(method: &str, target: &[u8]) -> Option<&'static Value> {
    let target = String::from_utf8_lossy(target).into_owned();
    let parts: Vec<&str> = target.split('?').next().unwrap_or_default().split('/').collect();
    let fits = |path: &str| {
        let known: Vec<&str> = path.split('/').collect();
        known.len() == parts.len()
            && known
                .iter()
                .zip(&parts)
                .all(|(known, part)| known == part || (known.starts_with('{') && !part.is_empty()))
    };
    let method = if method == "HEAD" { "get".to_owned() } else { method.to_lowercase() };
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let mut found: Vec<&String> = paths.keys().filter(|path| fits(path)).collect();
    found.sort_by_key(|path| path.matches('{').count());
    paths[found.first()?.as_str()].get(&method)
}

/// Checks that an answer stands in the document: its status, and the code of its error.
pub fn is_documented(method: &str, target: &[u8], answer: &Answer, shown: &dyn Fn() -> String) {
    let Some(operation) = operation(method, target) else {
        // not a path, not a method, or too many of either
        assert!([404, 405, 429].contains(&answer.status), "no such operation, and yet: {}", shown());
        return;
    };
    let response = resolve(&operation["responses"][answer.status.to_string()]);
    assert!(response.is_object(), "the document knows no {} here: {}", answer.status, shown());
    if answer.status < 400 {
        return;
    }
    let schema = response["content"]["application/json"]["schema"].to_string();
    assert!(
        schema.contains(&format!("\"{}\"", answer.code())),
        "the document knows no {} here: {}",
        answer.code(),
        shown()
    );
}

/// Compares an answer's data with the schema of the document: every member is there and none beside.
fn has_the_members(schema: &Value, data: &Value, at: &str) {
    let schema = resolve(schema);
    if let Some(any) = schema["anyOf"].as_array().or(schema["allOf"].as_array()) {
        let other: Vec<&Value> = any.iter().filter(|one| one["type"] != "null").collect();
        if let (false, [one]) = (data.is_null(), other.as_slice()) {
            has_the_members(one, data, at);
        }
        return;
    }
    match data {
        Value::Object(members) if schema["properties"].is_object() => {
            let properties = schema["properties"].as_object().unwrap();
            for (name, value) in members {
                let known =
                    properties.get(name).unwrap_or_else(|| panic!("{at}/{name} is not in the document"));
                has_the_members(known, value, &format!("{at}/{name}"));
            }
            for name in schema["required"].as_array().into_iter().flatten() {
                assert!(members.contains_key(name.as_str().unwrap()), "{at}/{name} is missing");
            }
        }
        Value::Array(items) => items.iter().for_each(|item| has_the_members(&schema["items"], item, at)),
        _ => {}
    }
}

#[tokio::test]
async fn the_document_is_served_and_has_every_operation() {
    let s = TestServer::start().await;
    let served = get("/openapi.json").send_unchecked(&s).await;
    assert_eq!(
        (served.status, served.json["openapi"].as_str().map(|version| &version[..3])),
        (200, Some("3.1"))
    );
    assert_eq!(served.json, *DOCUMENT);
    for row in ALL {
        let known = operation(row.method.as_str(), row.path.as_bytes())
            .unwrap_or_else(|| panic!("{} is missing", row.name));
        assert_eq!(known["operationId"].as_str().unwrap().to_lowercase(), row.name.to_lowercase());
    }
}

/// Counts what the table declares beyond the usual errors.
struct Declared(usize);

impl Visitor for Declared {
    fn operation<O: Operation + schemars::JsonSchema>(&mut self) {
        for code in O::ERRORS {
            let known = operation(O::METHOD.as_str(), O::PATH.as_bytes()).unwrap();
            let response = resolve(&known["responses"][code.status().to_string()]);
            let schema = response["content"]["application/json"]["schema"].to_string();
            assert!(schema.contains(&format!("\"{code}\"")), "{} does not say {code}", O::NAME);
            self.0 += 1;
        }
    }
}

#[test]
fn every_declared_error_stands_in_the_document() {
    let mut declared = Declared(0);
    visit(&mut declared);
    assert!(declared.0 > 50, "the table has lost its errors");
}

#[tokio::test]
async fn answers_have_the_members_that_the_document_says() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let token = access(&owner).await;
    let bob = owner.call(&new("bob")).await.unwrap().0;
    let (id, first) =
        (bob.id, get("/v1/audit?after=0&pageSize=1").bearer(&token).send(&s).await.ids().remove(0));
    let mut requests: Vec<(&str, String, Option<Value>)> = [
        "/v1/me",
        "/v1/me/sessions",
        "/v1/capabilities",
        "/v1/users?include=sessions",
        "/v1/roles",
        "/v1/roles/rol_00000000000000000000000001",
        "/v1/permissions",
        "/v1/sessions",
        "/v1/events",
        "/v1/audit",
        "/v1/stats",
        "/v1/version",
        "/v1/idempotency/0123456789abcdef",
    ]
    .into_iter()
    .map(|path| ("GET", path.to_owned(), None))
    .collect();
    for path in [
        format!("/v1/users/{id}"),
        format!("/v1/users/{id}?include=sessions"),
        format!("/v1/users/{id}/permissions"),
        format!("/v1/audit/{first}"),
    ] {
        requests.push(("GET", path, None));
    }
    requests.push(("POST", format!("/v1/users/{id}/password-reset"), Some(json!({}))));
    requests.push(("POST", "/v1/audit/verify".to_owned(), Some(json!({}))));
    requests.push(("POST", "/v1/users/bulk".to_owned(), Some(json!({"mode": "independent", "items": [{"op": "suspend", "id": id}, {"op": "suspend", "id": id}]}))));
    requests.push(("POST", "/v1/sessions/revoke".to_owned(), Some(json!({"userId": id}))));
    requests.push(("POST", "/v1/users".to_owned(), Some(json!({"email": "eve@b.io", "name": "eve"}))));
    requests.push((
        "POST",
        "/v1/auth/login".to_owned(),
        Some(json!({"email": "owner@example.com", "password": crate::support::PASSWORD})),
    ));
    requests.push(("POST", "/v1/users".to_owned(), Some(json!({"email": "eve@b.io", "name": ""}))));
    for (method, target, body) in requests {
        let request = body.as_ref().map_or_else(|| get(&target), |body| post(&target, body));
        let answer = request.bearer(&token).send(&s).await;
        let known = operation(method, target.as_bytes()).unwrap();
        let response = resolve(&known["responses"][answer.status.to_string()]);
        let schema = &response["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{target}");
        if answer.status < 400 {
            let schema = resolve(schema);
            let data = [&schema["properties"]["data"], &schema["allOf"][1]["properties"]["data"]]
                .into_iter()
                .find(|one| one.is_object());
            has_the_members(
                data.unwrap_or_else(|| panic!("{target} has no data in {schema}")),
                answer.data(),
                &target,
            );
        }
    }
}

#[tokio::test]
async fn the_metrics_tell_what_happened() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    owner.call(&new("bob")).await.unwrap();
    let metrics = get("/metrics").send_unchecked(&s).await;
    assert_eq!(metrics.status, 200);
    assert!(metrics.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    let text = String::from_utf8(metrics.body).unwrap();
    let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    for line in &samples {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        assert!(name.starts_with("bursar_") || name.starts_with("process_"), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
    let made = samples
        .iter()
        .find(|line| line.contains("CreateUser") && line.contains("201"))
        .unwrap_or_else(|| panic!("{text}"));
    assert!(made.ends_with(" 1"), "{made}");
    for kind in ["# TYPE", "# HELP"] {
        assert!(text.contains(kind));
    }
    assert!(!text.contains("bob") && !text.contains("usr_"), "people are no figures");
    // on an address of its own it is not beside the API
    let apart = TestServer::start_with(&[("limits", "off"), ("metrics-listen", "127.0.0.1:0")]).await;
    assert_eq!(get("/metrics").send_unchecked(&apart).await.status, 404);
}
