//! Who may call what: every operation by every kind of caller, as one table.

use std::{fmt::Write, time::Duration};

use bursar_server::testing::TestServer;
use bursar_shared::{
    operation::Access,
    operations::{ALL, Row, auth::Logout, users::SuspendUser},
    permission::BUILT_IN,
};
use serde_json::json;

use crate::support::{Request, UNUSED_KEY, access, fill, get, request_of, tokens, unknown_id};

fn request(row: &Row) -> Request {
    request_of(row.method, &fill(row.path, unknown_id(row.path), UNUSED_KEY))
}

/// A caller's column: what each operation answers them.
async fn column(s: &TestServer, token: Option<&str>, spare: Option<&str>) -> Vec<String> {
    let mut cells = Vec::new();
    for row in ALL {
        // signing out ends the session, so it is done with another one
        let token = if row.name == "Logout" { spare.or(token) } else { token };
        let request = token.map_or(request(row), |token| request(row).bearer(token));
        cells.push(request.send(s).await.verdict());
    }
    cells
}

#[tokio::test]
async fn every_operation_admits_whom_the_table_says() {
    let s = TestServer::start().await;
    let owner = s.signed_in("first-owner", "owner").await;
    let mut columns: Vec<(String, Vec<String>)> = vec![("nobody".to_owned(), column(&s, None, None).await)];
    for role in BUILT_IN {
        let person = s.person(role.name, role.name).await;
        let (session, spare) = (tokens(&s, &person).await, tokens(&s, &person).await);
        let cells = column(&s, Some(&session.access_token), Some(&spare.access_token)).await;
        columns.push((role.name.to_owned(), cells));
    }
    let mighty = s.person("mighty", "owner").await;
    let (session, over) = (tokens(&s, &mighty).await, tokens(&s, &mighty).await);
    let over_client = s.sign_in(&mighty).await;
    over_client.call(&Logout { refresh_token: Some(over.refresh_token.parse().unwrap()) }).await.unwrap();
    columns.push(("revoked".to_owned(), column(&s, Some(&over.access_token), None).await));
    columns.push(("refresh".to_owned(), column(&s, Some(&session.refresh_token), None).await));
    columns.push(("garbage".to_owned(), column(&s, Some("not.a.token"), None).await));
    let suspended = s.person("suspended", "admin").await;
    let live = tokens(&s, &suspended).await;
    owner.call(&SuspendUser { id: suspended.id, reason: None }).await.unwrap();
    columns.push(("suspended".to_owned(), column(&s, Some(&live.access_token), None).await));
    s.clock.forward(Duration::from_secs(16 * 60));
    columns.push(("expired".to_owned(), column(&s, Some(&session.access_token), None).await));

    let mut table = String::new();
    for (index, row) in ALL.iter().enumerate() {
        let access = match row.access {
            Access::Public => "public".to_owned(),
            Access::SignedIn => "signed in".to_owned(),
            Access::Needs(permission) => permission.to_string(),
        };
        writeln!(table, "{} {} [{access}]", row.method.as_str(), row.path).unwrap();
        // callers who get the same stand together
        let mut answers: Vec<(&str, Vec<&str>)> = Vec::new();
        for (who, cells) in &columns {
            match answers.iter_mut().find(|(answer, _)| *answer == cells[index]) {
                Some((_, whos)) => whos.push(who),
                None => answers.push((&cells[index], vec![who])),
            }
        }
        for (answer, whos) in answers {
            writeln!(table, "    {answer:<23} {}", whos.join(" ")).unwrap();
        }
    }
    insta::assert_snapshot!(table);
}

#[tokio::test]
async fn a_denial_names_what_is_missing_and_leaves_a_row_in_the_log() {
    let s = TestServer::start().await;
    let customer = access(&s.signed_in("customer", "customer").await).await;
    let auditor = access(&s.signed_in("auditor", "auditor").await).await;
    let mut seen = 0;
    for row in ALL {
        let Access::Needs(permission) = row.access else { continue };
        let denied = request(row).bearer(&customer).send(&s).await;
        assert_eq!(denied.verdict(), "403 FORBIDDEN", "{}", row.name);
        assert_eq!(denied.json["error"]["details"]["missing"], json!([permission.as_str()]), "{}", row.name);
        let id = denied.header("x-request-id").unwrap();
        let logged = get(format!("/v1/audit?filter[requestId]={id}")).bearer(&auditor).send(&s).await;
        let rows = logged.data().as_array().unwrap();
        assert_eq!(rows.len(), 1, "{}", row.name);
        assert_eq!(rows[0]["type"], "access.denied");
        assert_eq!(rows[0]["data"]["operation"], row.name);
        assert_eq!(rows[0]["data"]["details"]["missing"], json!([permission.as_str()]));
        assert_eq!(rows[0]["actor"]["kind"], "user");
        seen += 1;
    }
    assert!(seen >= 20, "the table has lost its permissions");
}

#[tokio::test]
async fn strangers_are_not_told_what_is_there() {
    let s = TestServer::start().await;
    let person = s.person("ann", "support").await;
    let known = get(format!("/v1/users/{}", person.id)).send(&s).await;
    let unknown = get("/v1/users/usr_01h455vb4pex5vsknk084sn02q").send(&s).await;
    assert_eq!((known.verdict(), &known.json["error"]), (unknown.verdict(), &unknown.json["error"]));
    assert_eq!(known.verdict(), "401 UNAUTHENTICATED");
    assert_eq!(known.header("www-authenticate"), Some("Bearer"));
}
