//! Lists: the same rows whichever way they are paged, in the same order on both engines, in few
//! queries, by an index.

use std::{collections::BTreeMap, time::Duration};

use bursar_server::testing::TestServer;
use bursar_shared::{
    client::Client,
    field::{Position, TotalMode},
    operation::Operation,
    operations::{
        auth::Session,
        log::Event,
        roles::Role,
        users::{CreateUser, DeleteUser, SuspendUser, User},
    },
    page::{List, Op, Page, Resource, Sort},
};
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::money::{fund, open, pay};
use crate::support::{Random, access, but, get, new, rounds, seed};

/// Names with ties, mixed case, accents, digits and signs.
const NAMES: &[&str] = &[
    "ann",
    "Ann",
    "ANN",
    "Ábel",
    "abel",
    "zoe",
    "Zoë",
    "Émile",
    "emile",
    "Ömer",
    "ömer",
    "10",
    "9",
    "_x",
    "Ärger",
    "a b",
    "a-b",
    "ab",
    "ßtraße",
    "\u{10000}linear",
    "\u{ff21}wide",
    "-",
    "日本",
    "ann",
];

/// A daemon with an owner and these people, made one after the other.
async fn with_people(names: &[&str]) -> (TestServer, Client) {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    for (index, name) in names.iter().enumerate() {
        let user = CreateUser {
            email: format!("p{:02}@example.org", (index * 7) % names.len()).parse().unwrap(),
            name: name.parse().unwrap(),
            ..new("x")
        };
        owner.call(&user).await.unwrap();
    }
    (s, owner)
}

fn sorts<R: Resource>() -> Vec<Sort> {
    R::SORTS.iter().flat_map(|key| [false, true].map(|descending| Sort { key, descending })).collect()
}

/// All rows by page numbers.
async fn by_pages<R: Resource>(client: &Client, list: &List<R>, size: u32) -> Vec<String>
where
    List<R>: Operation<Answer = Page<R>>,
{
    let mut ids = Vec::new();
    for page in 1.. {
        let page = client
            .call(&but(list.clone().size(size), |list| {
                list.page = Some(page);
            }))
            .await
            .unwrap();
        ids.extend(page.rows.iter().map(Resource::id));
        if !page.pagination.has_more {
            assert!(page.pagination.next_cursor.is_none());
            break;
        }
    }
    ids
}

/// All rows by cursors, from one end to the other.
async fn by_cursors<R: Resource>(client: &Client, list: &List<R>, size: u32, from: Position) -> Vec<String>
where
    List<R>: Operation<Answer = Page<R>>,
{
    let mut ids: Vec<String> = Vec::new();
    let mut next = but(list.clone().size(size), |list| {
        list.position = Some(from);
    });
    loop {
        let page = client.call(&next).await.unwrap();
        let rows: Vec<String> = page.rows.iter().map(Resource::id).collect();
        let cursor = match from {
            Position::Start => {
                ids.extend(rows);
                page.pagination.next_cursor
            }
            Position::End => {
                // pages backwards, rows forwards
                ids.splice(0..0, rows);
                page.pagination.prev_cursor
            }
        };
        match cursor {
            Some(cursor) => {
                next = but(next, |list| {
                    list.cursor = Some(cursor);
                    list.position = None;
                })
            }
            None => return ids,
        }
    }
}

async fn agrees<R: Resource>(client: &Client, list: List<R>)
where
    List<R>: Operation<Answer = Page<R>>,
{
    for sort in sorts::<R>() {
        let list = list.clone().sorted(sort);
        let all = by_pages(client, &list, 1_000).await;
        assert!(!all.is_empty(), "{list:?}");
        for size in [1, 4, 7] {
            assert_eq!(by_pages(client, &list, size).await, all, "{list:?} by pages of {size}");
            assert_eq!(
                by_cursors(client, &list, size, Position::Start).await,
                all,
                "{list:?} onwards by {size}"
            );
            assert_eq!(
                by_cursors(client, &list, size, Position::End).await,
                all,
                "{list:?} backwards by {size}"
            );
        }
    }
}

#[tokio::test]
async fn pages_and_cursors_in_both_directions_show_the_same_rows() {
    let (s, owner) = with_people(&NAMES[..12]).await;
    let someone = s.person("someone", "support").await;
    for _ in 0..3 {
        s.sign_in(&someone).await;
    }
    agrees(&owner, List::<User>::new()).await;
    agrees(&owner, List::<User>::new().with("name", Op::Prefix, "a").unwrap()).await;
    agrees(&owner, List::<Role>::new()).await;
    agrees(&owner, List::<Session>::new()).await;
    agrees(&owner, List::<Event>::new()).await;
}

#[tokio::test]
async fn names_and_emails_sort_alike_on_both_engines() {
    let (_s, owner) = with_people(NAMES).await;
    for key in ["name", "email"] {
        let sorted = |descending| List::<User>::new().sorted(Sort { key, descending }).size(100);
        let up = owner.call(&sorted(false)).await.unwrap().rows;
        let mut down = owner.call(&sorted(true)).await.unwrap().rows;
        down.reverse();
        assert_eq!(up, down, "{key}");
        // the order is that of the small letters' bytes, ids break ties
        let keyed = |user: &User| match key {
            "name" => (user.name.as_str().to_lowercase(), user.id.to_string()),
            _ => (user.email.to_string(), user.id.to_string()),
        };
        assert!(up.is_sorted_by_key(keyed), "{key}: {:?}", up.iter().map(keyed).collect::<Vec<_>>());
        assert_eq!(up.len(), NAMES.len() + 1);
    }
}

#[tokio::test]
async fn a_page_around_a_row_has_it_in_the_middle() {
    let (_s, owner) = with_people(&NAMES[..11]).await;
    let list = List::<User>::new().sorted(Sort { key: "name", descending: false });
    let all = by_pages(&owner, &list, 1_000).await;
    for (place, id) in all.iter().enumerate() {
        for size in [1, 2, 4, 5, 100] {
            let page = owner
                .call(&but(list.clone().size(size), |list| {
                    list.around = Some(id.clone());
                }))
                .await
                .unwrap();
            let ids: Vec<String> = page.rows.iter().map(Resource::id).collect();
            let from = place.saturating_sub(size as usize / 2);
            let to = (from + size as usize).min(all.len());
            assert_eq!(ids, all[from..to], "{size} around {place}");
            assert_eq!(page.pagination.prev_cursor.is_some(), from > 0, "{size} around {place}");
            assert_eq!(page.pagination.next_cursor.is_some(), to < all.len(), "{size} around {place}");
            if let Some(cursor) = page.pagination.prev_cursor {
                let before = owner
                    .call(&but(list.clone().size(3), |list| {
                        list.cursor = Some(cursor);
                    }))
                    .await
                    .unwrap();
                let before: Vec<String> = before.rows.iter().map(Resource::id).collect();
                assert_eq!(before, all[from.saturating_sub(3)..from]);
            }
        }
    }
    // outside the filter: its place without it
    let filtered = list.clone().with("name", Op::Prefix, "z").unwrap();
    let page = owner
        .call(&but(filtered, |list| {
            list.around = Some(all[0].clone());
        }))
        .await
        .unwrap();
    assert_eq!(page.rows.iter().map(|user| user.name.as_str()).collect::<Vec<_>>(), ["zoe", "Zoë"]);
}

#[tokio::test]
async fn the_default_order_is_the_newest_first() {
    let (s, owner) = with_people(&["a", "b", "c"]).await;
    let token = access(&owner).await;
    let listed = get("/v1/users").bearer(&token).send(&s).await;
    let names: Vec<&str> =
        listed.data().as_array().unwrap().iter().map(|user| user["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["c", "b", "a", "owner"]);
    let events = owner.call(&List::<Event>::new()).await.unwrap().rows;
    assert!(events.is_sorted_by_key(|event| -event.seq));
    let after = owner
        .call(&but(List::<Event>::new(), |list| {
            list.after = Some(events.last().unwrap().seq);
        }))
        .await
        .unwrap()
        .rows;
    assert!(after.is_sorted_by_key(|event| event.seq));
    assert_eq!(after.len(), events.len() - 1);
}

#[tokio::test]
async fn totals_are_counted_as_asked() {
    let (_s, owner) = with_people(&["a", "b", "c", "d"]).await;
    let list = List::<User>::new().size(2);
    let told = |page: Page<User>| {
        let p = page.pagination;
        let accuracy = serde_json::to_value(p.total_accuracy).unwrap();
        (p.total, p.total_pages, accuracy.as_str().unwrap().to_owned())
    };
    let exact = (Some(5), Some(3), "exact".to_owned());
    let none = (None, None, "none".to_owned());
    assert_eq!(told(owner.call(&list).await.unwrap()), exact);
    assert_eq!(
        told(
            owner
                .call(&but(list.clone(), |list| {
                    list.total = Some(TotalMode::Exact);
                }))
                .await
                .unwrap()
        ),
        exact
    );
    assert_eq!(
        told(
            owner
                .call(&but(list.clone(), |list| {
                    list.total = Some(TotalMode::None);
                }))
                .await
                .unwrap()
        ),
        none
    );
    let keyset = but(list.clone(), |list| {
        list.position = Some(Position::Start);
    });
    assert_eq!(told(owner.call(&keyset).await.unwrap()), none);
    assert_eq!(
        told(
            owner
                .call(&but(keyset, |list| {
                    list.total = Some(TotalMode::Bounded);
                }))
                .await
                .unwrap()
        ),
        exact
    );
    let filtered = list.with("name", Op::In, "a,b,x").unwrap();
    assert_eq!(told(owner.call(&filtered).await.unwrap()), (Some(2), Some(1), "exact".to_owned()));
    let beyond = but(List::<User>::new(), |list| {
        list.page = Some(9);
    });
    let page = owner.call(&beyond).await.unwrap();
    assert!(page.rows.is_empty() && !page.pagination.has_more && page.pagination.next_cursor.is_none());
}

#[tokio::test]
async fn the_link_header_leads_through_the_list() {
    let (s, owner) = with_people(&NAMES[..9]).await;
    let token = access(&owner).await;
    let mut path = "/v1/users?sort=name&pageSize=4&filter%5Bstatus%5D=active".to_owned();
    let mut ids = Vec::new();
    let rel = |header: &str, rel: &str| {
        let part = header.split(", ").find(|part| part.ends_with(&format!("rel=\"{rel}\"")))?;
        Some(part.split(['<', '>']).nth(1).unwrap().to_owned())
    };
    let mut pages = 0;
    let back = loop {
        let page = get(&path).bearer(&token).send(&s).await;
        ids.extend(page.ids());
        pages += 1;
        let link = page.header("link").unwrap();
        assert_eq!(rel(link, "prev").is_some(), pages > 1, "{link}");
        match rel(link, "next") {
            Some(next) => path = next,
            None => break rel(link, "prev").unwrap(),
        }
    };
    let list = List::<User>::new().sorted(Sort { key: "name", descending: false });
    assert_eq!((ids.clone(), pages), (by_pages(&owner, &list, 100).await, 3));
    assert_eq!(get(back).bearer(&token).send(&s).await.ids(), ids[4..8]);
    let all = get("/v1/users?pageSize=100").bearer(&token).send(&s).await;
    assert_eq!(all.header("link"), None);
}

#[tokio::test]
async fn every_filter_finds_what_it_names() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let begun = s.clock.now();
    let full = CreateUser {
        external_id: Some("x-1".parse().unwrap()),
        kind: Some("service".parse().unwrap()),
        roles: Some(vec!["support".parse().unwrap()]),
        ..new("Ada")
    };
    let ada = owner.call(&full).await.unwrap().0;
    s.clock.forward(Duration::from_secs(3_600));
    let bob = owner.call(&new("Bob")).await.unwrap().0;
    let eve = owner
        .call(&CreateUser {
            roles: Some(vec!["support".parse().unwrap(), "auditor".parse().unwrap()]),
            ..new("Adam")
        })
        .await
        .unwrap()
        .0;
    owner.call(&SuspendUser { id: bob.id, reason: None }).await.unwrap();
    let gone = owner.call(&new("gone")).await.unwrap().0;
    owner.call(&DeleteUser { id: gone.id }).await.unwrap();
    let token = access(&owner).await;
    let created = ada.created_at;
    let later = bob.created_at;
    for (query, expected) in [
        ("filter[status]=active".to_owned(), "Ada,Adam,owner"),
        ("filter[status]=suspended".to_owned(), "Bob"),
        ("filter[status]=deleted".to_owned(), "gone"),
        ("filter[status]=active,deleted".to_owned(), "Ada,Adam,gone,owner"),
        ("filter[status][in]=suspended,deleted".to_owned(), "Bob,gone"),
        ("filter[status][ne]=active".to_owned(), "Bob"),
        (String::new(), "Ada,Adam,Bob,owner"),
        ("filter[kind]=service".to_owned(), "Ada"),
        ("filter[kind][ne]=service".to_owned(), "Adam,Bob,owner"),
        ("filter[role]=support".to_owned(), "Ada,Adam"),
        ("filter[role]=auditor,owner".to_owned(), "Adam,owner"),
        ("filter[role]=nobody".to_owned(), ""),
        ("filter[email]=ADA@example.org".to_owned(), "Ada"),
        ("filter[email]=ada@example.org,BOB@example.org".to_owned(), "Ada,Bob"),
        ("filter[email][prefix]=AD".to_owned(), "Ada,Adam"),
        ("filter[name]=ada".to_owned(), "Ada"),
        ("filter[name][prefix]=ADA".to_owned(), "Ada,Adam"),
        ("filter[name][in]=bob,ADAM".to_owned(), "Adam,Bob"),
        ("filter[name][prefix]=%25".to_owned(), ""),
        ("filter[name][prefix]=_d".to_owned(), ""),
        ("filter[externalId]=x-1".to_owned(), "Ada"),
        ("filter[externalId][in]=x-1,x-2".to_owned(), "Ada"),
        ("filter[externalId][isnull]=true".to_owned(), "Adam,Bob,owner"),
        ("filter[externalId][isnull]=false".to_owned(), "Ada"),
        (format!("filter[createdAt]={created}"), "Ada"),
        (format!("filter[createdAt][gt]={created}"), "Adam,Bob"),
        (format!("filter[createdAt][gte]={created}"), "Ada,Adam,Bob"),
        (format!("filter[createdAt][lt]={created}"), "owner"),
        (format!("filter[createdAt][lte]={created}"), "Ada,owner"),
        (format!("filter[createdAt][gt]={created}&filter[createdAt][lte]={later}"), "Bob"),
        ("filter[createdAt][gte]=-30m".to_owned(), "Adam,Bob"),
        ("filter[createdAt][lt]=-1800s".to_owned(), "Ada,owner"),
        ("filter[lastLoginAt][isnull]=false".to_owned(), "owner"),
        ("filter[lastLoginAt][isnull]=true".to_owned(), "Ada,Adam,Bob"),
        (format!("filter[lastLoginAt][gt]={begun}"), ""),
        (format!("filter[lastLoginAt][lte]={begun}"), "owner"),
        (
            "filter[role]=support&filter[name][prefix]=ada&filter[status]=active&filter[kind]=human"
                .to_owned(),
            "Adam",
        ),
    ] {
        let page = get(format!("/v1/users?sort=name&{query}")).bearer(&token).send(&s).await;
        assert_eq!(page.status, 200, "{query}: {page:?}");
        let names: Vec<&str> =
            page.data().as_array().unwrap().iter().map(|user| user["name"].as_str().unwrap()).collect();
        assert_eq!(names.join(","), expected, "{query}");
        assert_eq!(page.pagination("total"), &json!(names.len()), "{query}");
    }
    assert_eq!(eve.roles, ["auditor", "support"]);
}

#[tokio::test]
async fn the_log_and_sessions_can_be_filtered_too() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let bob = s.person("bob", "customer").await;
    s.sign_in(&bob).await;
    let ended = s.sign_in(&bob).await;
    ended.sign_out().await.unwrap();
    owner.call(&SuspendUser { id: bob.id, reason: None }).await.unwrap();
    let token = access(&owner).await;
    let id = bob.id;
    for (query, expected) in [
        (format!("sessions?filter[userId]={id}"), 2),
        (format!("sessions?filter[userId][ne]={id}"), 1),
        (format!("sessions?filter[userId]={id}&filter[revokedAt][isnull]=true"), 0),
        ("sessions?filter[revokedAt][isnull]=false".to_owned(), 2),
        ("sessions?filter[expiresAt][gt]=today".to_owned(), 3),
        ("sessions?filter[lastUsedAt][lt]=-1h".to_owned(), 0),
        ("roles?filter[name]=owner".to_owned(), 1),
        ("roles?filter[name][prefix]=a".to_owned(), 2),
        ("roles?filter[name][in]=owner,admin,nobody".to_owned(), 2),
        ("events?filter[type]=session.created".to_owned(), 3),
        ("events?filter[type]=session.created,user.suspended".to_owned(), 4),
        ("events?filter[type][prefix]=user.".to_owned(), 3),
        (format!("events?filter[resourceId]={id}"), 2),
        (format!("events?filter[actorId]={id}&filter[type]=session.revoked"), 1),
        ("audit?filter[timestamp][gte]=-1h".to_owned(), 8),
        ("audit?filter[timestamp][gt]=2999-01-01".to_owned(), 0),
        ("audit?filter[requestId]=req_test".to_owned(), 2),
    ] {
        let page = get(format!("/v1/{query}&pageSize=100")).bearer(&token).send(&s).await;
        assert_eq!(page.status, 200, "{query}: {page:?}");
        assert_eq!(page.ids().len(), expected, "{query}: {page:?}");
    }
}

#[tokio::test]
async fn a_search_finds_ids_emails_and_beginnings_of_words() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let ada = CreateUser {
        email: "countess.l@example.org".parse().unwrap(),
        external_id: Some("---".parse().unwrap()),
        ..new("ada")
    };
    let ada = CreateUser { name: "Ada King-Noël".parse().unwrap(), ..ada };
    let ada = owner.call(&ada).await.unwrap().0;
    owner.call(&new("Adam")).await.unwrap();
    let token = access(&owner).await;
    for (q, expected) in [
        (ada.id.to_string(), "Ada King-Noël"),
        ("COUNTESS.l@example.org".to_owned(), "Ada King-Noël"),
        ("ada".to_owned(), "Ada King-Noël,Adam"),
        ("ADA k".to_owned(), "Ada King-Noël"),
        ("king ada".to_owned(), "Ada King-Noël"),
        ("noël".to_owned(), "Ada King-Noël"),
        ("countess".to_owned(), "Ada King-Noël"),
        ("oun".to_owned(), ""),
        ("ada nobody".to_owned(), ""),
        ("---".to_owned(), "Ada King-Noël"),
        ("%".to_owned(), ""),
    ] {
        let escaped: String = q.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let page = get(format!("/v1/users?sort=name&q={escaped}")).bearer(&token).send(&s).await;
        let names: Vec<&str> =
            page.data().as_array().unwrap().iter().map(|user| user["name"].as_str().unwrap()).collect();
        assert_eq!(names.join(","), expected, "{q}");
    }
    // who is renamed is found by the new name alone, who is deleted not at all
    let patch = bursar_shared::operations::users::UpdateUser {
        id: ada.id,
        name: bursar_shared::decode::Change::Set("Grace".parse().unwrap()),
        email: bursar_shared::decode::Change::Keep,
        external_id: bursar_shared::decode::Change::Keep,
        metadata: bursar_shared::decode::Change::Keep,
    };
    owner.call(&patch).await.unwrap();
    let found = |q: &'static str| {
        let request = get(format!("/v1/users?q={q}")).bearer(&token);
        let s = &s;
        async move { request.send(s).await.ids().len() }
    };
    assert_eq!((found("king").await, found("grace").await, found("countess").await), (0, 1, 1));
    owner.call(&DeleteUser { id: ada.id }).await.unwrap();
    assert_eq!((found("grace").await, found("countess").await), (0, 0));
}

#[tokio::test]
async fn a_list_takes_the_same_few_queries_whatever_its_size() {
    let (s, owner) = with_people(NAMES).await;
    for _ in 0..3 {
        s.signed_in(&format!("u{}", crate::support::key()), "customer").await;
    }
    for size in [1, 5, 100] {
        let list = List::<User>::new().size(size);
        let with = but(list.clone(), |list| {
            list.include = vec!["sessions"];
        });
        let uncounted = |list: &List<User>| {
            but(list.clone(), |list| {
                list.total = Some(TotalMode::None);
            })
        };
        for (list, queries) in
            [(list.clone(), 3), (with.clone(), 4), (uncounted(&list), 2), (uncounted(&with), 3)]
        {
            let took = s.queries(async { owner.call(&list).await.unwrap() }).await;
            assert_eq!(took, queries, "{list:?}");
        }
    }
}

#[tokio::test]
async fn sessions_come_along_when_asked_for() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let bob = s.person("bob", "customer").await;
    for _ in 0..4 {
        s.sign_in(&bob).await;
    }
    s.sign_in(&bob).await.sign_out().await.unwrap();
    let token = access(&owner).await;
    let page = get("/v1/users?sort=name&include=sessions&includeLimit=3").bearer(&token).send(&s).await;
    assert_eq!(page.data()[0]["sessions"].as_array().unwrap().len(), 3);
    assert_eq!(page.data()[1]["sessions"][0]["current"], true);
    assert_eq!(
        page.json["meta"]["included"],
        json!({"sessions": {"limit": 3, "truncated": [bob.id.to_string()]}})
    );
    let whole = get("/v1/users?sort=name&include=sessions").bearer(&token).send(&s).await;
    assert_eq!(whole.json["meta"]["included"], json!({"sessions": {"limit": 10, "truncated": []}}));
    let sessions = whole.data()[0]["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 4, "the ended one is not live");
    assert!(
        sessions.is_sorted_by_key(|one| std::cmp::Reverse(one["createdAt"].as_str().unwrap().to_owned()))
    );
    let one = get(format!("/v1/users/{}?include=sessions", bob.id)).bearer(&token).send(&s).await;
    assert_eq!(one.data()["sessions"].as_array().unwrap().len(), 4);
    assert_eq!(get("/v1/users").bearer(&token).send(&s).await.data()[0].get("sessions"), None);
    // it needs the permission of what comes along
    let finance = access(&s.signed_in("finance", "finance").await).await;
    let denied = get("/v1/users?include=sessions").bearer(&finance).send(&s).await;
    assert_eq!(
        (denied.verdict(), &denied.json["error"]["details"]["missing"]),
        ("403 FORBIDDEN".to_owned(), &json!(["sessions:read"]))
    );
    assert_eq!(
        get(format!("/v1/users/{}?include=sessions", bob.id)).bearer(&finance).send(&s).await.verdict(),
        "403 FORBIDDEN"
    );
}

/// The property of the design: a full scan by cursor sees every row that existed throughout exactly
/// once, while others come and go.
#[tokio::test]
async fn a_scan_sees_each_untouched_row_once_while_others_come_and_go() {
    let mut random = Random(seed());
    let (_s, owner) = with_people(&[]).await;
    for round in 0..rounds(3, 40) {
        let mut stay = Vec::new();
        let mut leave = Vec::new();
        for n in 0..40 {
            // few letters, so that there are ties
            let name = ["a", "B", "c"][random.below(3)];
            let user =
                CreateUser { email: format!("r{round}n{n}@example.org").parse().unwrap(), ..new(name) };
            let user = CreateUser { name: name.parse().unwrap(), ..user };
            let id = owner.call(&user).await.unwrap().0.id;
            if n % 4 == 0 { leave.push(id) } else { stay.push(id.to_string()) }
        }
        let sort = *random.pick(&sorts::<User>());
        let size = 1 + random.below(7) as u32;
        let list = List::<User>::new()
            .sorted(sort)
            .size(size)
            .with("email", Op::Prefix, &format!("r{round}n"))
            .unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        let mut noise = random.clone();
        let scan = async {
            let backwards = random.below(2) == 0;
            let from = if backwards { Position::End } else { Position::Start };
            let ids = by_cursors(&owner, &list, size, from).await;
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            ids
        };
        let churn = async {
            let mut n = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let user = CreateUser {
                    email: format!("r{round}nx{n}@example.org").parse().unwrap(),
                    name: ["a", "B", "c"][noise.below(3)].parse().unwrap(),
                    ..new("x")
                };
                owner.call(&user).await.unwrap();
                if let Some(id) = leave.pop() {
                    owner.call(&DeleteUser { id }).await.unwrap();
                }
                n += 1;
            }
        };
        let (seen, ()) = futures_util::join!(scan, churn);
        let mut times: BTreeMap<&String, usize> = BTreeMap::new();
        for id in &seen {
            *times.entry(id).or_default() += 1;
        }
        assert!(times.values().all(|times| *times == 1), "a row twice, by {sort} and {size}");
        for id in &stay {
            assert_eq!(times.get(id), Some(&1), "{id} was missed, by {sort} and {size}");
        }
    }
}

#[tokio::test]
async fn a_relative_time_stays_where_it_was_when_the_scan_began() {
    let (s, owner) = with_people(&["a", "b", "c", "d"]).await;
    s.clock.forward(Duration::from_secs(60));
    let list = List::<User>::new().size(2).with("createdAt", Op::Gte, "-10m").unwrap();
    let first = owner.call(&list).await.unwrap();
    s.clock.forward(Duration::from_secs(600));
    assert!(owner.call(&list).await.unwrap().rows.is_empty(), "by now all of them are too old");
    let mut seen = first.rows.len();
    let mut cursor = first.pagination.next_cursor;
    while let Some(text) = cursor {
        let page = owner
            .call(&but(list.clone(), |list| {
                list.cursor = Some(text);
            }))
            .await
            .unwrap();
        seen += page.rows.len();
        cursor = page.pagination.next_cursor;
    }
    assert_eq!(seen, 5);
}

#[tokio::test]
async fn the_client_streams_all_pages() {
    let (_s, owner) = with_people(&NAMES[..10]).await;
    let pages: Vec<Page<User>> = owner.pages(List::<User>::new().size(3)).map(Result::unwrap).collect().await;
    assert_eq!(pages.iter().map(|page| page.rows.len()).collect::<Vec<_>>(), [3, 3, 3, 2]);
    let ids: Vec<String> = pages.iter().flat_map(|page| page.rows.iter().map(Resource::id)).collect();
    assert_eq!(ids, by_pages(&owner, &List::<User>::new(), 100).await);
}

#[tokio::test]
async fn answers_carry_every_field() {
    let (s, owner) = with_people(&[]).await;
    let bob = owner.call(&new("bob")).await.unwrap().0;
    let token = access(&owner).await;
    let read = get(format!("/v1/users/{}", bob.id)).bearer(&token).send(&s).await;
    let names: Vec<&String> = read.data().as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        [
            "createdAt",
            "email",
            "externalId",
            "id",
            "kind",
            "lastLoginAt",
            "metadata",
            "name",
            "roles",
            "status",
            "updatedAt",
            "version"
        ]
    );
    assert_eq!(
        (&read.data()["externalId"], &read.data()["lastLoginAt"], &read.data()["metadata"]),
        (&Value::Null, &Value::Null, &json!({}))
    );
    let page = get("/v1/users").bearer(&token).send(&s).await;
    let names: Vec<&String> = page.json["meta"]["pagination"].as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        [
            "hasMore",
            "mode",
            "nextCursor",
            "page",
            "pageSize",
            "prevCursor",
            "total",
            "totalAccuracy",
            "totalPages"
        ]
    );
}

/// How the database would run a statement.
pub fn plan(s: &TestServer, statement: &str) -> Vec<String> {
    use bursar_server::Location;
    use diesel::{
        Connection, PgConnection, RunQueryDsl, SqliteConnection, connection::SimpleConnection,
        sql_types::Text,
    };

    #[derive(diesel::QueryableByName)]
    struct Detail {
        #[diesel(sql_type = Text)]
        detail: String,
    }
    #[derive(diesel::QueryableByName)]
    struct Line {
        #[diesel(sql_type = Text, column_name = "QUERY PLAN")]
        line: String,
    }
    // what is bound stands behind the statement; the plan does not depend on it
    let sql = statement.split(" -- binds").next().unwrap();
    match s.location() {
        Location::Sqlite(path) => {
            let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
            let lines: Vec<Detail> =
                diesel::sql_query(format!("EXPLAIN QUERY PLAN {sql}")).load(&mut conn).unwrap();
            lines.into_iter().map(|line| line.detail).collect()
        }
        Location::Postgres(url) => {
            let mut conn = PgConnection::establish(url).unwrap();
            let binds = (1..).take_while(|n| sql.contains(&format!("${n}"))).count();
            // a few rows are read quickest without an index: here it is asked whether there is one
            conn.batch_execute(&format!(
                "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_sort = off;
                 SET enable_bitmapscan = off; PREPARE explained AS {sql}"
            ))
            .unwrap();
            let nulls = vec!["NULL"; binds].join(", ");
            let lines: Vec<Line> =
                diesel::sql_query(format!("EXPLAIN (COSTS OFF) EXECUTE explained({nulls})"))
                    .load(&mut conn)
                    .unwrap();
            lines.into_iter().map(|line| line.line).collect()
        }
    }
}

#[tokio::test]
async fn verification_goes_on_in_the_middle_of_an_account() {
    let (s, owner) = with_people(&NAMES[..2]).await;
    let (a, b) = (open(&owner, "a", "EUR").await, open(&owner, "b", "EUR").await);
    fund(&owner, &a, 100).await;
    pay(&owner, &a, &b, 1).await;
    let verify = bursar_shared::operations::ledger::VerifyLedger {};
    let made = s.statements(async { owner.call(&verify).await.unwrap() }).await;
    let walk = made.iter().find(|one| one.contains("entries.account_id, entries.seq) > (")).unwrap();
    let plan = plan(&s, walk).join("\n");
    // not by the account alone: the one that all money comes from has most of the entries
    let bound =
        if s.is_postgres() { "Index Cond: (ROW(account_id, seq) > ROW(" } else { "(account_id,seq)>(?,?)" };
    assert!(plan.contains(bound), "{walk}\n{plan}");
}

#[tokio::test]
async fn guaranteed_pairs_of_filter_and_sort_have_an_index() {
    let (s, owner) = with_people(&NAMES[..8]).await;
    let token = access(&owner).await;
    let mut pairs: Vec<String> = Vec::new();
    for sort in ["createdAt", "-createdAt"] {
        for filter in [
            "",
            "filter[status]=active",
            "filter[createdAt][gte]=-7d",
            "filter[createdAt][gte]=-7d&filter[createdAt][lt]=-0d",
        ] {
            pairs.push(format!("users?sort={sort}&{filter}"));
        }
        pairs.push(format!("sessions?sort={sort}&"));
        pairs.push(format!("sessions?sort={sort}&filter[userId]=usr_01h455vb4pex5vsknk084sn02q"));
        pairs.push(format!("sessions?sort={sort}&filter[createdAt][gte]=-7d"));
    }
    for key in ["name", "email"] {
        for sign in ["", "-"] {
            pairs.push(format!("users?sort={sign}{key}&"));
            pairs.push(format!("users?sort={sign}{key}&filter[{key}][prefix]=a"));
        }
    }
    for sort in ["lastUsedAt", "-lastUsedAt"] {
        pairs.push(format!("sessions?sort={sort}&"));
    }
    let (a, b) = (open(&owner, "a", "EUR").await, open(&owner, "b", "EUR").await);
    fund(&owner, &a, 100).await;
    for _ in 0..4 {
        pay(&owner, &a, &b, 1).await;
    }
    for sort in ["createdAt", "-createdAt"] {
        for filter in [
            "",
            "filter[ownerId]=usr_01h455vb4pex5vsknk084sn02q",
            "filter[status]=active",
            "filter[currency]=EUR",
            "filter[createdAt][gte]=-7d",
        ] {
            pairs.push(format!("accounts?sort={sort}&{filter}"));
        }
        for filter in ["", "filter[status]=posted", "filter[createdAt][gte]=-7d"] {
            pairs.push(format!("transfers?sort={sort}&{filter}"));
        }
        for side in ["fromAccountId", "toAccountId", "accountId"] {
            pairs.push(format!("transfers?sort={sort}&filter[{side}]={}", b.id));
        }
        pairs.push(format!("transfers?sort={sort}&filter[parentId]=trf_01h455vb4pex5vsknk084sn02q"));
    }
    for sign in ["", "-"] {
        pairs.push(format!("accounts?sort={sign}number&"));
        pairs.push(format!("accounts?sort={sign}name&"));
        pairs.push(format!("accounts?sort={sign}name&filter[name][prefix]=a"));
        pairs.push(format!("transfers?sort={sign}amount&"));
        pairs.push(format!("accounts/{}/entries?sort={sign}seq&", a.id));
    }
    for list in ["events", "audit"] {
        for sort in ["seq", "-seq"] {
            for filter in [
                "",
                "filter[type]=user.created",
                "filter[resourceId]=x",
                "filter[actorId]=x",
                "filter[requestId]=x",
            ] {
                pairs.push(format!("{list}?sort={sort}&{filter}"));
            }
        }
    }
    let mut broken = Vec::new();
    for pair in &pairs {
        let mut targets =
            vec![format!("/v1/{pair}&pageSize=2"), format!("/v1/{pair}&pageSize=2&position=end")];
        let first = get(&targets[0]).bearer(&token).send(&s).await;
        if let Some(cursor) = first.pagination("nextCursor").as_str() {
            targets.push(format!("/v1/{pair}&pageSize=2&cursor={cursor}"));
        }
        for target in targets {
            let statements = s.statements(get(&target).bearer(&token).send(&s)).await;
            let lists: Vec<&String> = statements
                .iter()
                .filter(|sql| sql.contains("ORDER BY") && (sql.contains("OFFSET") || sql.contains("_seq")))
                .collect();
            let sides = if target.contains("filter[accountId]") { 2 } else { 1 };
            assert_eq!(lists.len(), sides, "{target}: {statements:?}");
            let plan: Vec<String> = lists.iter().flat_map(|sql| plan(&s, sql)).collect();
            let bad = |line: &str| match s.is_postgres() {
                true => line.contains("Seq Scan") || line.contains("Sort"),
                // the log itself lies in the order of its numbers
                false => {
                    let in_order = line.contains("SCAN log") && pair.ends_with('&');
                    line.contains("TEMP B-TREE")
                        || (line.contains("SCAN") && !line.contains("INDEX") && !in_order)
                }
            };
            if plan.iter().any(|line| bad(line)) {
                broken.push(format!("{target}\n    {}\n    {}", lists[0], plan.join("\n    ")));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
