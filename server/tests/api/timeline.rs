//! The timeline of a person: what happened to them and what they did, and nothing else.

use bursar_server::testing::TestServer;
use bursar_shared::{
    client::Client,
    decode::Change,
    error::ErrorCode,
    field::TotalMode,
    id::UserId,
    operations::{
        accounts::{Entry, ListEntries},
        auth::{Me, RevokeSessions, Session},
        log::{Event, Timeline},
        users::{SuspendUser, UpdateUser},
    },
    page::{List, Op},
    permission::Permission,
};
use futures_util::StreamExt as _;

use crate::{
    lists::plan,
    money::{account, fund, open, pay},
    support::{but, code, new, refusal},
};

async fn timeline(client: &Client, id: UserId) -> Vec<Event> {
    client.call(&Timeline { id, list: List::new().size(1_000) }).await.unwrap().rows
}

fn told(events: &[Event]) -> Vec<(&str, &str)> {
    let resource = |event: &Event| event.resource.id.clone().unwrap_or_default();
    assert!(events.is_sorted_by(|a, b| a.seq > b.seq), "the newest first, each once");
    assert!(events.iter().all(|event| !resource(event).is_empty()));
    events.iter().map(|event| (event.kind.as_str(), event.resource.kind.as_str())).collect()
}

/// Bob has an account of a hundred and paid ten of it; Carol has what he paid.
async fn a_life(owner: &Client) -> (UserId, UserId) {
    let bob = owner.call(&new("bob")).await.unwrap().0.id;
    let carol = owner.call(&new("carol")).await.unwrap().0.id;
    let of = |id| move |op: &mut bursar_shared::operations::accounts::CreateAccount| op.owner_id = Some(id);
    let his = account(owner, "his", of(bob)).await;
    let hers = account(owner, "hers", of(carol)).await;
    let other = open(owner, "nobody's", "EUR").await;
    fund(owner, &his, 100).await;
    fund(owner, &other, 100).await;
    pay(owner, &his, &hers, 10).await;
    (bob, carol)
}

#[tokio::test]
async fn it_tells_of_a_person_their_sessions_accounts_and_transfers() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let (bob, carol) = a_life(&owner).await;
    owner.call(&SuspendUser { id: bob, reason: Some("rent".parse().unwrap()) }).await.unwrap();
    let expected = [
        ("user.suspended", "user"),
        ("transfer.posted", "transfer"),
        ("transfer.posted", "transfer"),
        ("account.created", "account"),
        ("user.created", "user"),
    ];
    assert_eq!(told(&timeline(&owner, bob).await), expected);
    let expected =
        [("transfer.posted", "transfer"), ("account.created", "account"), ("user.created", "user")];
    assert_eq!(told(&timeline(&owner, carol).await), expected);
}

#[tokio::test]
async fn it_tells_what_somebody_did() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let ann = s.person("ann", "support").await;
    let hers = s.sign_in(&ann).await;
    let bob = owner.call(&new("bob")).await.unwrap().0.id;
    let edit = UpdateUser {
        id: bob,
        email: Change::Keep,
        name: Change::Set("Robert".parse().unwrap()),
        external_id: Change::Keep,
        metadata: Change::Keep,
    };
    hers.call(&edit).await.unwrap();
    owner.call(&RevokeSessions { user_id: ann.id }).await.unwrap();
    let of_ann = timeline(&owner, ann.id).await;
    // what she did, when she came, and who sent her away
    let kinds: Vec<&str> = of_ann.iter().map(|event| event.kind.as_str()).collect();
    assert!(kinds.starts_with(&["session.revoked", "user.updated", "session.created"]), "{kinds:?}");
    assert_eq!(of_ann[1].resource.id, Some(bob.to_string()));
    assert_eq!(told(&timeline(&owner, bob).await)[0].0, "user.updated");
}

#[tokio::test]
async fn its_pages_are_the_list() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let (bob, carol) = a_life(&owner).await;
    let all = timeline(&owner, bob).await;
    for size in 1..=5 {
        let op =
            |page| Timeline { id: bob, list: but(List::new().size(size), |list| list.page = Some(page)) };
        let (mut by_number, mut by_cursor, mut back) = (Vec::new(), Vec::new(), Vec::new());
        for page in 1.. {
            let answer = owner.call(&op(page)).await.unwrap();
            assert_eq!(answer.pagination.total, Some(4));
            by_number.extend(answer.rows);
            if !answer.pagination.has_more {
                break;
            }
        }
        let (mut list, mut last) = (List::new().size(size), None);
        loop {
            let page = owner.call(&Timeline { id: bob, list: list.clone() }).await.unwrap();
            by_cursor.extend(page.rows);
            let Some(next) = page.pagination.next_cursor else { break };
            last = Some(next.clone());
            list.cursor = Some(next);
        }
        let mut list = but(List::new().size(size), |list| {
            list.position = Some(bursar_shared::field::Position::End);
        });
        loop {
            let page = owner.call(&Timeline { id: bob, list: list.clone() }).await.unwrap();
            back.splice(0..0, page.rows);
            let Some(before) = page.pagination.prev_cursor else { break };
            list = but(List::new().size(size), |list| list.cursor = Some(before));
        }
        assert_eq!((&by_number, &by_cursor, &back), (&all, &all, &all), "pages of {size}");
        if let Some(cursor) = last {
            let list = but(List::new(), |list| list.cursor = Some(cursor));
            let wrong = refusal(owner.call(&Timeline { id: carol, list }).await);
            assert!(
                wrong.to_string().contains("another list")
                    || wrong.details.to_string().contains("cursor_mismatch")
            );
        }
    }
    let some = List::new().with("type", Op::Prefix, "transfer.").unwrap();
    assert_eq!(owner.call(&Timeline { id: bob, list: some }).await.unwrap().rows.len(), 2);
    let exact = but(List::new().size(1), |list| list.total = Some(TotalMode::Exact));
    assert_eq!(owner.call(&Timeline { id: bob, list: exact }).await.unwrap().pagination.total, Some(4));
    let streamed: Vec<_> = owner.pages(List::<Event>::new()).collect().await;
    assert!(streamed.iter().all(Result::is_ok));
}

#[tokio::test]
async fn it_shows_no_more_than_the_reader_may_see() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let (bob, _) = a_life(&owner).await;
    let support = s.signed_in("sue", "support").await;
    let customer = s.signed_in("cus", "customer").await;
    let held = support.call(&bursar_shared::operations::auth::GetCapabilities {}).await.unwrap();
    let sees = |needs| held.permissions.has(needs);
    let seen = timeline(&support, bob).await;
    for (kind, needs) in [
        ("account", Permission::AccountsRead),
        ("transfer", Permission::TransfersRead),
        ("user", Permission::UsersRead),
    ] {
        assert_eq!(seen.iter().any(|event| event.resource.kind == kind), sees(needs), "{kind}");
    }
    let list = List::new();
    assert_eq!(code(customer.call(&Timeline { id: bob, list: list.clone() }).await), ErrorCode::Forbidden);
    let nobody = "usr_01h455vb4pex5vsknk084sn02q".parse().unwrap();
    assert_eq!(code(owner.call(&Timeline { id: nobody, list }).await), ErrorCode::NotFound);
}

#[tokio::test]
async fn no_part_of_it_walks_the_log() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let (bob, _) = a_life(&owner).await;
    let made = s.statements(async { timeline(&owner, bob).await }).await;
    // those of the request: the daemon reads the log for its streams at the same time
    let follows = |sql: &str| sql.replace(['"', '`'], "").contains("WHERE (log.seq >");
    let parts: Vec<&String> =
        made.iter().filter(|one| one.contains("resource_type") && !follows(one)).collect();
    // five to be shown, five to be counted
    assert_eq!(parts.len(), 10, "{made:#?}");
    for part in parts {
        let plan = plan(&s, part).join("\n");
        let by = ["log_by_resource", "log_by_actor"].iter().any(|index| plan.contains(index));
        assert!(by && !plan.contains("SCAN log"), "{part}\n{plan}");
    }
}

#[tokio::test]
async fn sessions_come_with_their_people_in_two_queries_more() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    for name in ["ann", "bob", "carol"] {
        s.signed_in(name, "support").await;
    }
    let with = but(List::<Session>::new(), |list| list.include = vec!["user"]);
    owner.call(&with).await.unwrap();
    let few = s.queries(async { owner.call(&List::<Session>::new()).await.unwrap() }).await;
    let many = s.queries(async { owner.call(&with).await.unwrap() }).await;
    assert_eq!(many, few + 2);
    let rows = owner.call(&with).await.unwrap().rows;
    assert!(rows.len() >= 4);
    for session in &rows {
        let user = session.user.as_ref().unwrap();
        assert_eq!(user.id, session.user_id);
        assert!(!user.roles.is_empty());
    }
    let me = owner.call(&Me {}).await.unwrap();
    assert!(rows.iter().any(|session| session.current && session.user.as_ref().unwrap().email == me.email));
}

#[tokio::test]
async fn a_cursor_fits_the_account_that_it_is_of() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let (a, b) = (open(&owner, "a", "EUR").await, open(&owner, "b", "EUR").await);
    fund(&owner, &a, 100).await;
    pay(&owner, &a, &b, 1).await;
    pay(&owner, &a, &b, 1).await;
    let page = |id: bursar_shared::id::AccountId, list: List<Entry>| ListEntries { id: id.into(), list };
    let first = owner.call(&page(a.id, List::new().size(1))).await.unwrap();
    let on = but(List::new().size(1), |list| list.cursor = first.pagination.next_cursor);
    assert_eq!(owner.call(&page(a.id, on.clone())).await.unwrap().rows[0].seq, 2);
    let wrong = refusal(owner.call(&page(b.id, on)).await);
    assert_eq!(wrong.code, ErrorCode::ValidationFailed);
    assert!(wrong.details.to_string().contains("cursor_mismatch"), "{wrong:?}");
}
