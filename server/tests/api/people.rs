//! People: created, found, edited, suspended, deleted.

use bursar_server::testing::TestServer;
use bursar_shared::{
    operations::{
        auth::Me,
        users::{CreateUser, GetUser, User},
    },
    page::List,
};

fn new(name: &str) -> CreateUser {
    CreateUser {
        email: format!("{name}@example.org").parse().unwrap(),
        name: name.parse().unwrap(),
        password: None,
        password_hash: None,
        roles: None,
        kind: None,
        external_id: None,
        metadata: None,
    }
}

#[tokio::test]
async fn a_person_is_created_and_found() {
    let s = TestServer::start().await;
    let ann = s.signed_in("ann", "support").await;
    let created = ann.call(&new("bob")).await.unwrap().0;
    let found = ann.call(&GetUser { id: created.id, include: None }).await.unwrap();
    assert_eq!(created, found);
    assert_eq!(ann.call(&Me {}).await.unwrap().name.as_str(), "ann");
}

#[tokio::test]
async fn a_list_takes_three_queries_whatever_its_size() {
    let s = TestServer::start().await;
    let ann = s.signed_in("ann", "support").await;
    for name in ["bob", "eve", "dan"] {
        ann.call(&new(name)).await.unwrap();
    }
    for size in [1, 3] {
        let list = List::<User>::new().size(size);
        assert_eq!(s.queries(async { ann.call(&list).await.unwrap() }).await, 3);
    }
}
