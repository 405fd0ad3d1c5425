//! Money: accounts, transfers, holds, reversals, batches, statements and the books as a whole.

use std::time::Duration;

use bursar_server::testing::{TestServer, eventually};
use bursar_shared::{
    client::{Client, How},
    decode::Change,
    error::ErrorCode,
    field::{AccountStatus, BulkMode, Side, TransferKind, TransferMode, TransferStatus},
    money::{Amount, Limit, MAX_MINOR},
    operations::{
        accounts::{
            Account, AccountRef, CloseAccount, CreateAccount, Entry, FreezeAccount, GetAccount, GetBalance,
            GetStatement, ListEntries, UnfreezeAccount, UpdateAccount,
        },
        ledger::{GetTrialBalance, VerifyLedger},
        log::{AuditEntry, VerifyAudit},
        transfers::{
            BatchTransfers, CaptureTransfer, CreateTransfer, GetTransfer, ReverseTransfer, Seconds, Transfer,
            VoidTransfer,
        },
        users::{DeleteUser, User},
    },
    page::{List, Op},
    time::TimeExpr,
};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{access, but, code, count, get, held_up_by, in_flight, key, new, post, refusal, rows};

/// An amount.
pub fn amount(minor: i64) -> Amount {
    Amount::new(minor).unwrap()
}

/// Opens an account, changed as the test wants it.
pub async fn account(client: &Client, name: &str, change: impl FnOnce(&mut CreateAccount)) -> Account {
    let mut op = CreateAccount {
        name: name.parse().unwrap(),
        currency: "EUR".parse().unwrap(),
        owner_id: None,
        overdraft_limit: Change::Keep,
        max_balance: None,
        external_id: None,
        metadata: None,
    };
    change(&mut op);
    client.call(&op).await.unwrap().0
}

/// Opens an account of a currency.
pub async fn open(client: &Client, name: &str, currency: &str) -> Account {
    account(client, name, |op| op.currency = currency.parse().unwrap()).await
}

/// A transfer between two accounts, in the currency of the first.
pub fn transfer(from: &Account, to: &Account, minor: i64) -> CreateTransfer {
    between(from.id.into(), to.id.into(), minor, from.currency.code())
}

/// A transfer between accounts as they are named.
pub fn between(from: AccountRef, to: AccountRef, minor: i64, currency: &str) -> CreateTransfer {
    CreateTransfer {
        from_account_id: from,
        to_account_id: to,
        amount: amount(minor),
        currency: currency.parse().unwrap(),
        mode: None,
        expires_in_seconds: None,
        reason: None,
        description: None,
        external_id: None,
        metadata: None,
    }
}

/// A transfer that only holds.
pub fn hold(from: &Account, to: &Account, minor: i64) -> CreateTransfer {
    CreateTransfer { mode: Some(TransferMode::Hold), ..transfer(from, to, minor) }
}

/// An account by its name.
pub fn system(text: &str) -> AccountRef {
    text.parse().unwrap()
}

/// Brings money into the books.
pub async fn fund(client: &Client, account: &Account, minor: i64) -> Transfer {
    let world = system(&format!("world:{}", account.currency));
    client.call(&between(world, account.id.into(), minor, account.currency.code())).await.unwrap().0
}

/// Moves money.
pub async fn pay(client: &Client, from: &Account, to: &Account, minor: i64) -> Transfer {
    client.call(&transfer(from, to, minor)).await.unwrap().0
}

/// An account as it is now.
pub async fn now(client: &Client, account: &Account) -> Account {
    client.call(&GetAccount { id: account.id.into() }).await.unwrap()
}

async fn posted(client: &Client, account: &Account) -> i64 {
    now(client, account).await.balances.posted
}

/// The books are right: nothing is off, nothing is broken, the log is whole.
pub async fn sound(client: &Client) {
    let report = client.call(&VerifyLedger {}).await.unwrap();
    assert!(report.ok, "{report:?}");
    let sums = client.call(&GetTrialBalance {}).await.unwrap();
    assert!(sums.currencies.iter().all(|one| one.imbalance == 0), "{sums:?}");
    assert!(client.call(&VerifyAudit {}).await.unwrap().ok);
}

fn dry() -> How {
    How { dry_run: true, ..How::default() }
}

fn under(key: &str) -> How {
    How { key: Some(key.to_owned()), ..How::default() }
}

pub async fn start() -> (TestServer, Client) {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    (s, owner)
}

#[tokio::test]
async fn money_comes_from_the_world_and_everything_sums_to_nothing() {
    let (s, owner) = start().await;
    let token = access(&owner).await;
    let wallet = open(&owner, "wallet", "EUR").await;
    assert_eq!((wallet.number, wallet.version, wallet.entry_seq), (1, 1, 0));
    let body = json!({"fromAccountId": "world:EUR", "toAccountId": wallet.id, "amount": 1000, "currency": "EUR", "reason": "opening"});
    let made = post("/v1/transfers", &body).bearer(&token).header("idempotency-key", key()).send(&s).await;
    assert_eq!(made.status, 201);
    assert_eq!(
        made.header("location"),
        Some(format!("/v1/transfers/{}", made.data()["id"].as_str().unwrap()).as_str())
    );
    assert_eq!(made.json["meta"]["currencies"], json!({"EUR": 2}));
    let data = made.data();
    assert_eq!(
        (&data["kind"], &data["status"], &data["amount"]),
        (&json!("transfer"), &json!("posted"), &json!(1000))
    );
    assert_eq!(
        data["accounts"][0]["balances"],
        json!({"posted": -1000, "pendingIn": 0, "pendingOut": 0, "available": null})
    );
    assert_eq!(
        data["accounts"][1]["balances"],
        json!({"posted": 1000, "pendingIn": 0, "pendingOut": 0, "available": 1000})
    );
    // a read has no balances of accounts, and is the same otherwise
    let read = get(format!("/v1/transfers/{}", data["id"].as_str().unwrap())).bearer(&token).send(&s).await;
    let mut without = data.clone();
    without.as_object_mut().unwrap().remove("accounts");
    assert_eq!(read.data(), &without);
    // the system account is one like others, by its name too
    let world = get("/v1/accounts/world:EUR").bearer(&token).send(&s).await;
    assert_eq!(
        (&world.data()["systemKey"], &world.data()["balances"]["posted"]),
        (&json!("world"), &json!(-1000))
    );
    assert_eq!(world.data()["id"], data["fromAccountId"]);
    let sums = get("/v1/ledger/trial-balance").bearer(&token).send(&s).await;
    assert_eq!(
        sums.data()["currencies"],
        json!([{"currency": "EUR", "accounts": 2, "debits": 1000, "credits": 1000, "pending": 0, "imbalance": 0}])
    );
    let metrics = get("/metrics").send_unchecked(&s).await;
    let text = String::from_utf8(metrics.body).unwrap();
    assert!(text.contains("bursar_ledger_imbalance{currency=\"EUR\"} 0\n"), "{text}");
    sound(&owner).await;
}

#[tokio::test]
async fn money_moves_only_with_a_key_and_once_a_key() {
    let (s, owner) = start().await;
    let token = access(&owner).await;
    let (a, b) = (open(&owner, "a", "EUR").await, open(&owner, "b", "EUR").await);
    fund(&owner, &a, 100).await;
    let body = json!({"fromAccountId": a.id, "toAccountId": b.id, "amount": 60, "currency": "EUR"});
    let send = |body: &Value| post("/v1/transfers", body).bearer(&token);
    assert_eq!(send(&body).send(&s).await.verdict(), "400 IDEMPOTENCY_KEY_REQUIRED");
    let key = key();
    let keyed = |body: &Value| send(body).header("idempotency-key", &key);
    let first = keyed(&body).send(&s).await;
    let again = keyed(&body).send(&s).await;
    assert_eq!((first.status, again.status, again.header("idempotency-replayed")), (201, 201, Some("true")));
    assert_eq!(first.data(), again.data());
    let other = json!({"fromAccountId": a.id, "toAccountId": b.id, "amount": 1, "currency": "EUR"});
    assert_eq!(keyed(&other).send(&s).await.verdict(), "422 IDEMPOTENCY_KEY_REUSED");
    assert_eq!(posted(&owner, &b).await, 60);
    // a refusal is a verdict too: more money later changes nothing about it
    let refused = under(&"r".repeat(20));
    let op = transfer(&a, &b, 50);
    assert_eq!(code(owner.send(&op, &refused).await), ErrorCode::InsufficientFunds);
    fund(&owner, &a, 100).await;
    assert_eq!(code(owner.send(&op, &refused).await), ErrorCode::InsufficientFunds);
    assert_eq!(posted(&owner, &b).await, 60);
    // keys of others are others
    let ann = s.signed_in("ann", "finance").await;
    ann.send(&op, &refused).await.unwrap();
    assert_eq!(posted(&owner, &b).await, 110);
    // kept for a month
    s.clock.forward(Duration::from_secs(29 * 86_400));
    let owner = s.sign_in(&s.person("o2", "owner").await).await;
    assert_eq!(count(&s, "idempotency_keys WHERE expires_at - created_at = 2592000000000"), 5);
    sound(&owner).await;
}

#[tokio::test]
async fn the_same_key_at_the_same_time_moves_money_once() {
    let (_s, owner) = start().await;
    let (a, b) = (open(&owner, "a", "EUR").await, open(&owner, "b", "EUR").await);
    fund(&owner, &a, 1_000).await;
    let same = key();
    let sent = join_all((0..32).map(|_| {
        let (owner, op, how) = (owner.clone(), transfer(&a, &b, 7), under(&same));
        async move { owner.send(&op, &how).await.unwrap() }
    }))
    .await;
    let first = &sent[0].answer.0;
    assert!(sent.iter().all(|one| one.answer.0.id == first.id));
    assert_eq!(sent.iter().filter(|one| !one.replayed).count(), 1);
    assert_eq!(posted(&owner, &b).await, 7);
    sound(&owner).await;
}

#[tokio::test]
async fn every_refusal_has_its_numbers_and_changes_nothing() {
    let (s, owner) = start().await;
    let (a, b) = (open(&owner, "a", "EUR").await, open(&owner, "b", "EUR").await);
    let (dollars, frozen) = (open(&owner, "dollars", "USD").await, open(&owner, "frozen", "EUR").await);
    let limited = account(&owner, "limited", |op| op.max_balance = Limit::new(50)).await;
    let overdrawn = account(&owner, "overdrawn", |op| op.overdraft_limit = Change::Set(Limit::new(30))).await;
    let closed = open(&owner, "closed", "EUR").await;
    fund(&owner, &a, 100).await;
    fund(&owner, &frozen, 100).await;
    owner.call(&FreezeAccount { id: frozen.id.into(), reason: None }).await.unwrap();
    owner
        .call(&CloseAccount {
            id: closed.id.into(),
            sweep_to_account_id: None,
            expected_balance: None,
            reason: None,
        })
        .await
        .unwrap();
    let before = count(&s, "entries");
    let refused = |op: CreateTransfer| {
        let owner = owner.clone();
        async move { refusal(owner.call(&op).await) }
    };
    let short = refused(transfer(&a, &b, 101)).await;
    assert_eq!(short.code, ErrorCode::InsufficientFunds);
    assert_eq!(short.details, json!({"accountId": a.id, "available": 100, "amount": 101, "currency": "EUR"}));
    assert!(short.message.contains("1.00 EUR"), "{}", short.message);
    let much = refused(transfer(&a, &limited, 51)).await;
    assert_eq!(
        (much.code, &much.details["maxBalance"], &much.details["wouldHold"]),
        (ErrorCode::BalanceLimit, &json!(50), &json!(51))
    );
    assert_eq!(refused(transfer(&overdrawn, &b, 31)).await.code, ErrorCode::InsufficientFunds);
    assert_eq!(refused(transfer(&frozen, &b, 1)).await.code, ErrorCode::AccountFrozen);
    assert_eq!(refused(hold(&frozen, &b, 1)).await.code, ErrorCode::AccountFrozen);
    assert_eq!(refused(transfer(&a, &closed, 1)).await.code, ErrorCode::AccountClosed);
    assert_eq!(refused(hold(&a, &closed, 1)).await.code, ErrorCode::AccountClosed);
    let mismatch = refused(transfer(&a, &dollars, 1)).await;
    assert_eq!(
        (mismatch.code, &mismatch.details["accountCurrency"]),
        (ErrorCode::CurrencyMismatch, &json!("USD"))
    );
    // as it was named: nobody opened this one, so an id would lead nowhere
    let unopened = refused(between(a.id.into(), system("revenue:NOK"), 1, "EUR")).await;
    assert_eq!(
        (unopened.code, &unopened.details["accountId"]),
        (ErrorCode::CurrencyMismatch, &json!("revenue:NOK"))
    );
    assert!(unopened.message.contains("revenue:NOK has NOK"), "{}", unopened.message);
    let nobody = refused(between(a.id.into(), bursar_shared::id::AccountId::new().into(), 1, "EUR")).await;
    assert_eq!((nobody.code, &nobody.details["resource"]), (ErrorCode::NotFound, &json!("account")));
    assert_eq!(refused(transfer(&a, &a, 1)).await.violations()[0].rule, "same_account");
    // by two names, the same account
    fund(&owner, &a, 1).await;
    let world = owner.call(&GetAccount { id: system("world:EUR") }).await.unwrap();
    let same = refused(between(system("world:EUR"), world.id.into(), 1, "EUR")).await;
    assert_eq!(same.violations()[0].rule, "same_account");
    // counters end at 2^53-1
    let whole = open(&owner, "whole", "EUR").await;
    let range = refused(between(system("world:EUR"), whole.id.into(), MAX_MINOR, "EUR")).await;
    assert_eq!((range.code, &range.details["max"]), (ErrorCode::AmountOutOfRange, &json!(MAX_MINOR)));
    assert_eq!(
        (&range.details["limit"], &range.details["accountId"]),
        (&json!("turnover"), &json!(world.id))
    );
    assert!(!range.message.contains("open another"), "there is one world: {}", range.message);
    assert_eq!(count(&s, "entries"), before + 2);
    // what may be done may be done to the last cent
    pay(&owner, &a, &limited, 50).await;
    pay(&owner, &overdrawn, &b, 30).await;
    assert_eq!(now(&owner, &overdrawn).await.balances.available, Some(0));
    pay(&owner, &b, &frozen, 30).await;
    sound(&owner).await;
}

#[tokio::test]
async fn bodies_are_judged_whole() {
    let (s, owner) = start().await;
    let token = access(&owner).await;
    let send = |body: Value| post("/v1/transfers", &body).bearer(&token).header("idempotency-key", key());
    let all = send(json!({"fromAccountId": "usr_1", "toAccountId": "mars:EUR", "amount": "1.50", "currency": "eur", "mode": "gift", "expiresInSeconds": 0, "reason": "", "colour": 1})).send(&s).await;
    assert_eq!(all.verdict(), "422 VALIDATION_FAILED");
    assert_eq!(
        all.rules(),
        [
            "/amount minor_units",
            "/colour unknown_field",
            "/currency enum",
            "/expiresInSeconds range",
            "/fromAccountId id_type",
            "/mode enum",
            "/reason length",
            "/toAccountId id_type"
        ]
    );
    for (number, rule) in [
        (json!(0), "range"),
        (json!(-1), "range"),
        (json!(1.5), "minor_units"),
        (json!(MAX_MINOR + 1), "range"),
        (Value::Null, "type"),
        (json!(true), "type"),
    ] {
        let answer = send(json!({"fromAccountId": "world:EUR", "toAccountId": "revenue:EUR", "amount": number, "currency": "EUR"})).send(&s).await;
        assert_eq!(answer.rules(), [format!("/amount {rule}")], "{number}");
    }
    let late = send(json!({"fromAccountId": "world:EUR", "toAccountId": "revenue:EUR", "amount": 1, "currency": "EUR", "expiresInSeconds": 5})).send(&s).await;
    assert_eq!(late.rules(), ["/expiresInSeconds unknown_field"]);
    assert_eq!(count(&s, "accounts"), 0);
}

#[tokio::test]
async fn a_hold_keeps_money_back_and_ends_once() {
    let (s, owner) = start().await;
    let (a, b) = (open(&owner, "a", "EUR").await, open(&owner, "b", "EUR").await);
    fund(&owner, &a, 100).await;
    let told = CreateTransfer {
        reason: Some("deposit for the hall".parse().unwrap()),
        description: Some("two days".parse().unwrap()),
        ..hold(&a, &b, 80)
    };
    let held = owner.call(&told).await.unwrap().0;
    assert_eq!(
        (held.kind, held.status, held.expires_at),
        (TransferKind::Hold, TransferStatus::Pending, None)
    );
    let (from, to) = (now(&owner, &a).await.balances, now(&owner, &b).await.balances);
    assert_eq!((from.posted, from.pending_out, from.available), (100, 80, Some(20)));
    assert_eq!((to.posted, to.pending_in, to.available), (0, 80, Some(0)));
    assert_eq!(code(owner.call(&transfer(&a, &b, 21)).await), ErrorCode::InsufficientFunds);
    assert_eq!(code(owner.call(&hold(&a, &b, 21)).await), ErrorCode::InsufficientFunds);
    let too_much = refusal(owner.call(&CaptureTransfer { id: held.id, amount: Some(amount(81)) }).await);
    assert_eq!((too_much.code, &too_much.details["held"]), (ErrorCode::CaptureExceedsHold, &json!(80)));
    // a part is captured, the rest is free again
    let captured = owner.call(&CaptureTransfer { id: held.id, amount: Some(amount(50)) }).await.unwrap().0;
    assert_eq!(
        (captured.kind, captured.parent_id, captured.amount),
        (TransferKind::Capture, Some(held.id), 50)
    );
    // it moves the money, for what it was held
    assert_eq!((&captured.reason, &captured.description), (&held.reason, &held.description));
    assert!(captured.reason.is_some());
    let (from, to) = (now(&owner, &a).await.balances, now(&owner, &b).await.balances);
    assert_eq!((from.posted, from.pending_out, from.available), (50, 0, Some(50)));
    assert_eq!((to.posted, to.pending_in), (50, 0));
    let ended = owner.call(&GetTransfer { id: held.id }).await.unwrap();
    assert_eq!((ended.status, ended.captured_amount), (TransferStatus::Captured, 50));
    for (refused, why) in [
        (refusal(owner.call(&CaptureTransfer { id: held.id, amount: None }).await), "it is captured"),
        (refusal(owner.call(&VoidTransfer { id: held.id, reason: None }).await), "it is captured"),
        (refusal(owner.call(&VoidTransfer { id: captured.id, reason: None }).await), "a capture and no hold"),
    ] {
        assert_eq!(refused.code, ErrorCode::HoldNotPending);
        assert!(refused.message.contains(why), "{}", refused.message);
    }
    // all of it is let go
    let other = owner.call(&hold(&a, &b, 50)).await.unwrap().0;
    let reason = Some("changed their mind".parse().unwrap());
    let voided = owner.call(&VoidTransfer { id: other.id, reason }).await.unwrap().0;
    assert_eq!((voided.kind, voided.amount), (TransferKind::Void, 50));
    assert_eq!(now(&owner, &a).await.balances.available, Some(50));
    let pending = List::<Transfer>::new().with("status", Op::Eq, "pending").unwrap();
    assert!(owner.call(&pending).await.unwrap().rows.is_empty());
    // a hold is no money: its account cannot be captured when frozen, but let go
    let third = owner.call(&hold(&a, &b, 10)).await.unwrap().0;
    owner.call(&FreezeAccount { id: a.id.into(), reason: None }).await.unwrap();
    assert_eq!(
        code(owner.call(&CaptureTransfer { id: third.id, amount: None }).await),
        ErrorCode::AccountFrozen
    );
    owner.call(&VoidTransfer { id: third.id, reason: None }).await.unwrap();
    assert_eq!(count(&s, "log WHERE type = 'transfer.captured'"), 1);
    sound(&owner).await;
}

#[tokio::test]
async fn a_hold_runs_out_also_when_nobody_looks() {
    let (s, owner) = start().await;
    let (a, b) = (open(&owner, "a", "EUR").await, open(&owner, "b", "EUR").await);
    fund(&owner, &a, 100).await;
    let until = |seconds| CreateTransfer { expires_in_seconds: Some(Seconds(seconds)), ..hold(&a, &b, 40) };
    let (short, long) =
        (owner.call(&until(600)).await.unwrap().0, owner.call(&until(6_000)).await.unwrap().0);
    assert_eq!(short.expires_at.unwrap().since(short.created_at), Duration::from_secs(600));
    s.clock.forward(Duration::from_secs(601));
    // whether the daemon has let it go already or not
    let late = refusal(owner.call(&CaptureTransfer { id: short.id, amount: None }).await);
    assert_eq!(late.code, ErrorCode::HoldNotPending);
    eventually("it is let go", || async {
        owner.call(&GetTransfer { id: short.id }).await.unwrap().status == TransferStatus::Expired
    })
    .await;
    let from = now(&owner, &a).await.balances;
    assert_eq!((from.pending_out, from.available), (40, Some(60)));
    owner.call(&CaptureTransfer { id: long.id, amount: None }).await.unwrap();
    let expiry = List::<Transfer>::new().with("kind", Op::Eq, "expiry").unwrap();
    let expired = owner.call(&expiry).await.unwrap().rows;
    assert_eq!(
        (expired.len(), expired[0].parent_id, expired[0].actor_id.as_deref()),
        (1, Some(short.id), None)
    );
    sound(&owner).await;
}

#[tokio::test]
async fn of_32_ends_of_one_hold_exactly_one_is_made() {
    let (s, owner) = start().await;
    let (a, b) = (open(&owner, "a", "EUR").await, open(&owner, "b", "EUR").await);
    for round in 0..crate::support::rounds(4, 60) {
        fund(&owner, &a, 50).await;
        let op = CreateTransfer { expires_in_seconds: Some(Seconds(10)), ..hold(&a, &b, 50) };
        let held = owner.call(&op).await.unwrap().0;
        // in every other round it also runs out meanwhile
        if round % 2 == 1 {
            s.clock.forward(Duration::from_millis(9_950));
        }
        let forward = async {
            if round % 2 == 1 {
                s.clock.forward(Duration::from_millis(60));
            }
        };
        let ends = join_all((0..32).map(|n| {
            let owner = owner.clone();
            async move {
                let sent = match n % 2 {
                    0 => owner.call(&CaptureTransfer { id: held.id, amount: Some(amount(1 + n)) }).await,
                    _ => owner.call(&VoidTransfer { id: held.id, reason: None }).await,
                };
                match sent {
                    Ok(made) => Some(made.0),
                    Err(why) => {
                        assert_eq!(code::<()>(Err(why)), ErrorCode::HoldNotPending);
                        None
                    }
                }
            }
        }));
        let (ends, ()) = futures_util::join!(ends, forward);
        let made: Vec<Transfer> = ends.into_iter().flatten().collect();
        assert!(made.len() <= 1, "{made:?}");
        eventually("it has ended", || async {
            owner.call(&GetTransfer { id: held.id }).await.unwrap().status != TransferStatus::Pending
        })
        .await;
        let children = List::<Transfer>::new().with("parentId", Op::Eq, &held.id.to_string()).unwrap();
        assert_eq!(owner.call(&children).await.unwrap().rows.len(), 1);
        let left = now(&owner, &a).await;
        assert_eq!((left.balances.pending_out, now(&owner, &b).await.balances.pending_in), (0, 0));
    }
    sound(&owner).await;
}

#[tokio::test]
async fn money_is_moved_back_in_parts_and_never_more() {
    let (_s, owner) = start().await;
    let (a, b) = (open(&owner, "a", "EUR").await, open(&owner, "b", "EUR").await);
    fund(&owner, &a, 100).await;
    let paid = pay(&owner, &a, &b, 60).await;
    let back = |id, minor: Option<i64>| ReverseTransfer {
        id,
        amount: minor.map(amount),
        reason: "mistake".parse().unwrap(),
    };
    let first = owner.call(&back(paid.id, Some(20))).await.unwrap().0;
    assert_eq!(
        (first.kind, first.parent_id, first.from_account_id, first.to_account_id),
        (TransferKind::Reversal, Some(paid.id), b.id, a.id)
    );
    let much = refusal(owner.call(&back(paid.id, Some(41))).await);
    assert_eq!((much.code, &much.details["left"]), (ErrorCode::ReversalExceedsTransfer, &json!(40)));
    // the money may be gone meanwhile
    let away = pay(&owner, &b, &a, 40).await;
    assert_eq!(code(owner.call(&back(paid.id, None)).await), ErrorCode::InsufficientFunds);
    owner.call(&back(away.id, None)).await.unwrap();
    let rest = owner.call(&back(paid.id, None)).await.unwrap().0;
    assert_eq!(rest.amount, 40);
    assert_eq!(code(owner.call(&back(paid.id, None)).await), ErrorCode::ReversalExceedsTransfer);
    assert_eq!(owner.call(&GetTransfer { id: paid.id }).await.unwrap().reversed_amount, 60);
    assert_eq!((posted(&owner, &a).await, posted(&owner, &b).await), (100, 0));
    assert_eq!(code(owner.call(&back(first.id, None)).await), ErrorCode::NotReversible);
    let held = owner.call(&hold(&a, &b, 30)).await.unwrap().0;
    assert_eq!(code(owner.call(&back(held.id, None)).await), ErrorCode::NotReversible);
    let captured = owner.call(&CaptureTransfer { id: held.id, amount: None }).await.unwrap().0;
    owner.call(&back(captured.id, None)).await.unwrap();
    sound(&owner).await;
}

#[tokio::test]
async fn a_batch_is_done_as_a_whole_or_each_item_by_itself() {
    let (s, owner) = start().await;
    let (a, b) = (open(&owner, "a", "EUR").await, open(&owner, "b", "EUR").await);
    fund(&owner, &a, 100).await;
    let item = |minor: i64| serde_json::to_value(transfer(&a, &b, minor)).unwrap();
    let batch = |mode, items: Vec<Value>| BatchTransfers { mode, items };
    // later items see what earlier ones did
    let there = vec![item(100), serde_json::to_value(transfer(&b, &a, 70)).unwrap(), item(70)];
    let done = owner.call(&batch(BulkMode::Atomic, there)).await.unwrap();
    assert_eq!(done.items.iter().map(|one| one.status).collect::<Vec<_>>(), [201, 201, 201]);
    assert_eq!((posted(&owner, &a).await, posted(&owner, &b).await), (0, 100));
    fund(&owner, &a, 10).await;
    let aborted = refusal(owner.call(&batch(BulkMode::Atomic, vec![item(5), item(6), item(1)])).await);
    assert_eq!((aborted.code, &aborted.details["index"]), (ErrorCode::InsufficientFunds, &json!(1)));
    assert_eq!(
        aborted.details["items"],
        json!([{"index": 0, "status": 409, "code": "BATCH_ABORTED"}, {"index": 1, "status": 409, "code": "INSUFFICIENT_FUNDS"}, {"index": 2, "status": 409, "code": "BATCH_ABORTED"}])
    );
    assert_eq!(posted(&owner, &a).await, 10);
    let mixed = vec![item(5), item(6), json!({"amount": 1}), item(5)];
    let (key, op) = (key(), batch(BulkMode::Independent, mixed));
    let each = owner.send(&op, &under(&key)).await.unwrap();
    let codes: Vec<_> =
        each.answer.items.iter().map(|one| (one.status, one.error.as_ref().map(|why| why.code))).collect();
    assert_eq!(
        codes,
        [
            (201, None),
            (409, Some(ErrorCode::InsufficientFunds)),
            (422, Some(ErrorCode::ValidationFailed)),
            (201, None)
        ]
    );
    assert!(
        each.answer.items[2]
            .error
            .as_ref()
            .unwrap()
            .violations()
            .iter()
            .all(|one| one.pointer.starts_with("/items/2/"))
    );
    let again = owner.send(&op, &under(&key)).await.unwrap();
    assert!(again.replayed && again.answer == each.answer);
    assert_eq!(posted(&owner, &a).await, 0);
    // a thousand in one request, of which the last is refused
    fund(&owner, &a, 999).await;
    let thousand = batch(BulkMode::Independent, vec![item(1); 1_000]);
    let done = owner.call(&thousand).await.unwrap();
    assert_eq!(done.items.iter().filter(|one| one.status == 201).count(), 999);
    assert_eq!(done.items[999].error.as_ref().unwrap().code, ErrorCode::InsufficientFunds);
    let token = access(&owner).await;
    let keyless =
        post("/v1/transfers/batch", &json!({"mode": "atomic", "items": []})).bearer(&token).send(&s).await;
    assert_eq!(keyless.verdict(), "400 IDEMPOTENCY_KEY_REQUIRED");
    sound(&owner).await;
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_and_leaves_nothing() {
    let (s, owner) = start().await;
    let (a, b) = (open(&owner, "a", "EUR").await, open(&owner, "b", "EUR").await);
    let tables = ["accounts", "transfers", "entries", "log", "idempotency_keys"];
    let sizes = |s: &TestServer| tables.map(|table| count(s, table));
    let before = sizes(&s);
    let op = between(system("world:EUR"), a.id.into(), 500, "EUR");
    let shown = owner.send(&op, &dry()).await.unwrap();
    assert!(shown.dry_run);
    assert_eq!(shown.answer.0.accounts.as_ref().unwrap()[1].balances.posted, 500);
    assert_eq!(code(owner.send(&transfer(&a, &b, 1), &dry()).await), ErrorCode::InsufficientFunds);
    let token = access(&owner).await;
    let keyless =
        post("/v1/transfers?dryRun=true", &serde_json::to_value(&op).unwrap()).bearer(&token).send(&s).await;
    assert_eq!((keyless.status, &keyless.json["meta"]["dryRun"]), (200, &json!(true)));
    assert_eq!(sizes(&s), before);
    fund(&owner, &a, 10).await;
    sound(&owner).await;
}

#[tokio::test]
async fn accounts_are_opened_edited_frozen_and_closed() {
    let (s, owner) = start().await;
    let ada = owner.call(&new("ada")).await.unwrap().0;
    let wallet = account(&owner, "Ada's wallet", |op| {
        op.owner_id = Some(ada.id);
        op.external_id = Some("w-1".parse().unwrap());
    })
    .await;
    assert_eq!(
        (wallet.owner_id, wallet.overdraft_limit, wallet.max_balance),
        (Some(ada.id), Limit::new(0), None)
    );
    let taken = CreateAccount { external_id: Some("w-1".parse().unwrap()), ..creation("other") };
    assert_eq!(refusal(owner.call(&taken).await).details, json!({"field": "externalId"}));
    let nobody = CreateAccount { owner_id: Some(bursar_shared::id::UserId::new()), ..creation("x") };
    assert_eq!(code(owner.call(&nobody).await), ErrorCode::NotFound);
    // edits have versions, and edits of nothing are none
    let edit = |change: fn(&mut UpdateAccount)| {
        let mut op = UpdateAccount {
            id: wallet.id.into(),
            name: Change::Keep,
            overdraft_limit: Change::Keep,
            max_balance: Change::Keep,
            external_id: Change::Keep,
            metadata: Change::Keep,
        };
        change(&mut op);
        op
    };
    let renamed = owner.call(&edit(|op| op.name = Change::Set("Wallet".parse().unwrap()))).await.unwrap();
    assert_eq!((renamed.version, renamed.name.as_str()), (2, "Wallet"));
    assert_eq!(owner.call(&edit(|_| {})).await.unwrap(), renamed);
    let stale = How { if_match: Some(1), ..How::default() };
    assert_eq!(
        code(owner.send(&edit(|op| op.max_balance = Change::Set(None)), &stale).await),
        ErrorCode::VersionMismatch
    );
    fund(&owner, &wallet, 100).await;
    let token = access(&owner).await;
    let read = get(format!("/v1/accounts/{}", wallet.id)).bearer(&token).send(&s).await;
    assert_eq!(read.header("etag"), Some("\"2-1\""), "money changes the tag and not the version");
    let low = refusal(owner.call(&edit(|op| op.max_balance = Change::Set(Limit::new(99)))).await);
    assert_eq!(low.code, ErrorCode::BalanceLimit);
    owner.call(&edit(|op| op.overdraft_limit = Change::Set(None))).await.unwrap();
    let poor = open(&owner, "poor", "EUR").await;
    pay(&owner, &wallet, &poor, 150).await;
    assert_eq!(now(&owner, &wallet).await.balances.available, None);
    let short = refusal(owner.call(&edit(|op| op.overdraft_limit = Change::Set(Limit::new(49)))).await);
    assert_eq!(
        (short.code, &short.details["balances"]["posted"]),
        (ErrorCode::InsufficientFunds, &json!(-50))
    );
    // states
    let (freeze, unfreeze) = (
        FreezeAccount { id: wallet.id.into(), reason: Some("suspicious".parse().unwrap()) },
        UnfreezeAccount { id: wallet.id.into(), reason: None },
    );
    assert_eq!(owner.call(&freeze).await.unwrap().status, AccountStatus::Frozen);
    assert_eq!(code(owner.call(&freeze).await), ErrorCode::IllegalTransition);
    assert_eq!(owner.call(&unfreeze).await.unwrap().status, AccountStatus::Active);
    assert_eq!(code(owner.call(&unfreeze).await), ErrorCode::IllegalTransition);
    for op in [FreezeAccount { id: system("world:EUR"), reason: None }] {
        assert_eq!(code(owner.call(&op).await), ErrorCode::IllegalTransition);
    }
    // a debt is covered, a rest is swept, a hold is in the way
    let close = |account: &Account, to: Option<&Account>| CloseAccount {
        id: account.id.into(),
        sweep_to_account_id: to.map(|to| to.id.into()),
        expected_balance: None,
        reason: None,
    };
    assert_eq!(code(owner.call(&close(&wallet, None)).await), ErrorCode::AccountNotEmpty);
    let other = open(&owner, "other", "EUR").await;
    assert_eq!(code(owner.call(&close(&wallet, Some(&other))).await), ErrorCode::InsufficientFunds);
    let held = owner.call(&hold(&poor, &other, 10)).await.unwrap().0;
    assert_eq!(code(owner.call(&close(&poor, Some(&other))).await), ErrorCode::AccountNotEmpty);
    owner.call(&VoidTransfer { id: held.id, reason: None }).await.unwrap();
    // money that came meanwhile is seen, which changes no version
    let expecting = |balance| CloseAccount { expected_balance: Some(balance), ..close(&wallet, Some(&poor)) };
    let changed = refusal(owner.call(&expecting(-49)).await);
    assert_eq!(
        (changed.code, &changed.details["balances"]["posted"]),
        (ErrorCode::VersionMismatch, &json!(-50))
    );
    let closed = owner.call(&expecting(-50)).await.unwrap();
    assert_eq!((closed.status, closed.balances.posted), (AccountStatus::Closed, 0));
    assert_eq!(posted(&owner, &poor).await, 100);
    let overdraft = Change::Set(Limit::new(500));
    let wider = UpdateAccount { overdraft_limit: overdraft, ..untouched(&poor) };
    owner.call(&wider).await.unwrap();
    let gone = owner.call(&close(&poor, Some(&other))).await.unwrap();
    assert_eq!(
        (gone.overdraft_limit, gone.balances.available),
        (Limit::new(500), Some(0)),
        "nothing can be spent"
    );
    let then = owner.call(&GetBalance { id: poor.id.into(), as_of: None }).await.unwrap();
    assert_eq!(then.balances.available, Some(0));
    assert_eq!(posted(&owner, &other).await, 100);
    assert_eq!(code(owner.call(&close(&poor, None)).await), ErrorCode::IllegalTransition);
    assert_eq!(code(owner.call(&close(&other, Some(&other))).await), ErrorCode::ValidationFailed);
    let by_ada = List::<Account>::new().with("ownerId", Op::Eq, &ada.id.to_string()).unwrap();
    assert_eq!(owner.call(&by_ada).await.unwrap().rows.len(), 1);
    sound(&owner).await;
}

fn untouched(account: &Account) -> UpdateAccount {
    UpdateAccount {
        id: account.id.into(),
        name: Change::Keep,
        overdraft_limit: Change::Keep,
        max_balance: Change::Keep,
        external_id: Change::Keep,
        metadata: Change::Keep,
    }
}

fn creation(name: &str) -> CreateAccount {
    CreateAccount {
        name: name.parse().unwrap(),
        currency: "EUR".parse().unwrap(),
        owner_id: None,
        overdraft_limit: Change::Keep,
        max_balance: None,
        external_id: None,
        metadata: None,
    }
}

#[tokio::test]
async fn who_may_issue_limit_and_close_is_asked() {
    let (s, owner) = start().await;
    let (admin, finance) = (s.signed_in("admin", "admin").await, s.signed_in("finance", "finance").await);
    let (a, b) = (open(&admin, "a", "EUR").await, open(&admin, "b", "EUR").await);
    let issue = refusal(admin.call(&between(system("world:EUR"), a.id.into(), 5, "EUR")).await);
    assert_eq!((issue.code, &issue.details["missing"]), (ErrorCode::Forbidden, &json!(["ledger:issue"])));
    assert_eq!(count(&s, "accounts"), 2, "a refusal opens no system account");
    fund(&finance, &a, 5).await;
    // by its id it is the same account
    let world = owner.call(&GetAccount { id: system("world:EUR") }).await.unwrap();
    assert_eq!(code(admin.call(&transfer(&a, &world, 1)).await), ErrorCode::Forbidden);
    pay(&admin, &a, &b, 5).await;
    let limits = CreateAccount { overdraft_limit: Change::Set(None), ..creation("c") };
    assert_eq!(refusal(admin.call(&limits).await).details["missing"], json!(["accounts:limits"]));
    finance.call(&limits).await.unwrap();
    let denied = List::<AuditEntry>::new().with("type", Op::Eq, "access.denied").unwrap();
    assert_eq!(owner.call(&denied).await.unwrap().rows.len(), 3);
    sound(&owner).await;
}

#[tokio::test]
async fn people_with_open_accounts_stay_and_lists_show_them() {
    let (s, owner) = start().await;
    let (ada, bob) = (owner.call(&new("ada")).await.unwrap().0, owner.call(&new("bob")).await.unwrap().0);
    let mut theirs = Vec::new();
    for n in 0..3 {
        theirs.push(account(&owner, &format!("w{n}"), |op| op.owner_id = Some(ada.id)).await);
    }
    let in_use = refusal(owner.call(&DeleteUser { id: ada.id }).await);
    assert_eq!((in_use.code, &in_use.details["accounts"]), (ErrorCode::InUse, &json!(3)));
    let token = access(&owner).await;
    let list = get("/v1/users?include=accounts&includeLimit=2&sort=email").bearer(&token).send(&s).await;
    let row = |email: &str| {
        list.data().as_array().unwrap().iter().find(|row| row["email"] == email).unwrap().clone()
    };
    let shown = row("ada@example.org")["accounts"].as_array().unwrap().clone();
    let newest = [&theirs[2], &theirs[1]].map(|account| json!(account.id));
    assert_eq!(shown.iter().map(|account| account["id"].clone()).collect::<Vec<_>>(), newest);
    assert_eq!(row("bob@example.org")["accounts"], json!([]));
    assert_eq!(list.json["meta"]["included"]["accounts"], json!({"limit": 2, "truncated": [ada.id]}));
    assert_eq!(list.json["meta"]["currencies"], json!({"EUR": 2}));
    let with = but(List::<User>::new(), |list| list.include = vec!["accounts"]);
    assert_eq!(s.queries(owner.call(&with)).await, 4);
    for account in theirs {
        owner
            .call(&CloseAccount {
                id: account.id.into(),
                sweep_to_account_id: None,
                expected_balance: None,
                reason: None,
            })
            .await
            .unwrap();
    }
    owner.call(&DeleteUser { id: ada.id }).await.unwrap();
    let late = CreateAccount { owner_id: Some(ada.id), ..creation("late") };
    assert_eq!(code(owner.call(&late).await), ErrorCode::IllegalTransition);
    owner.call(&DeleteUser { id: bob.id }).await.unwrap();
}

#[tokio::test]
async fn entries_statement_and_balance_tell_one_story() {
    let (s, owner) = start().await;
    let (a, b) = (open(&owner, "a", "EUR").await, open(&owner, "b", "EUR").await);
    let mut times = Vec::new();
    for n in 1..=25 {
        s.clock.forward(Duration::from_secs(60));
        let made = match n {
            1 => fund(&owner, &a, 1_000).await,
            6 => {
                let (reason, description) = ("=1+1".parse().unwrap(), "coffee, \"black\"".parse().unwrap());
                let told = CreateTransfer {
                    reason: Some(reason),
                    description: Some(description),
                    ..transfer(&a, &b, n)
                };
                owner.call(&told).await.unwrap().0
            }
            _ => pay(&owner, &a, &b, n).await,
        };
        times.push(made.created_at);
    }
    let held = owner.call(&hold(&a, &b, 100)).await.unwrap().0;
    let all = owner.call(&entries_of(&a, |list| list.page_size = Some(100))).await.unwrap().rows;
    assert_eq!(all.iter().map(|entry| entry.seq).collect::<Vec<_>>(), (1..=26).rev().collect::<Vec<_>>());
    assert_eq!(
        (all[0].transfer_id, all[0].kind, all[0].side, all[0].change, all[0].pending_out),
        (held.id, TransferKind::Hold, Side::Debit, 0, 100)
    );
    let with: Vec<_> = all.iter().map(|entry| entry.counterparty_id).collect();
    assert!(with[..25].iter().all(|other| *other == b.id) && with[25] != b.id, "{with:?}");
    let other = owner.call(&entries_of(&b, |list| list.page_size = Some(1))).await.unwrap().rows;
    assert_eq!((other[0].counterparty_id, other[0].reason.as_ref()), (a.id, None));
    for pair in all.windows(2) {
        assert_eq!(pair[1].posted + pair[0].change, pair[0].posted);
        assert!(pair[0].created_at > pair[1].created_at);
    }
    // both directions, from either end, around a place
    let mut seen = Vec::new();
    let mut page = owner
        .call(&entries_of(&a, |list| {
            list.page_size = Some(7);
            list.position = Some(bursar_shared::field::Position::Start)
        }))
        .await
        .unwrap();
    loop {
        seen.extend(page.rows.iter().map(|entry| entry.seq));
        let Some(next) = page.pagination.next_cursor.clone() else { break };
        page = owner
            .call(&entries_of(&a, |list| {
                list.page_size = Some(7);
                list.cursor = Some(next)
            }))
            .await
            .unwrap();
    }
    assert_eq!(seen, (1..=26).rev().collect::<Vec<_>>());
    let back = page.pagination.prev_cursor.unwrap();
    let before = owner
        .call(&entries_of(&a, |list| {
            list.page_size = Some(7);
            list.cursor = Some(back)
        }))
        .await
        .unwrap();
    assert_eq!(
        before.rows.iter().map(|entry| entry.seq).collect::<Vec<_>>(),
        (6..=12).rev().collect::<Vec<_>>()
    );
    let around = owner
        .call(&entries_of(&a, |list| {
            list.page_size = Some(4);
            list.around = Some("10".to_owned())
        }))
        .await
        .unwrap();
    assert_eq!(around.rows.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [12, 11, 10, 9]);
    let credits = owner
        .call(&entries_of(&a, |list| *list = list.clone().with("side", Op::Eq, "credit").unwrap()))
        .await
        .unwrap();
    assert_eq!(credits.rows.len(), 1);
    // a balance of any time
    let at = |time| GetBalance { id: a.id.into(), as_of: Some(TimeExpr::At(time)) };
    for (place, time) in times.iter().enumerate() {
        let then = owner.call(&at(*time)).await.unwrap();
        assert_eq!(then.entry_seq as usize, place + 1);
        let spent: i64 = (2..=place as i64 + 1).sum();
        assert_eq!(then.balances.posted, 1_000 - spent);
    }
    assert_eq!(owner.call(&at(a.created_at)).await.unwrap().balances.posted, 0);
    let tomorrow = owner
        .call(&GetBalance {
            id: a.id.into(),
            as_of: Some(TimeExpr::At(s.clock.now() + Duration::from_secs(60))),
        })
        .await;
    assert_eq!(refusal(tomorrow).violations()[0].pointer, "?asOf");
    let today = owner.call(&GetBalance { id: a.id.into(), as_of: None }).await.unwrap();
    assert_eq!(today.balances, now(&owner, &a).await.balances);
    // from <= t < to
    let op = GetStatement { id: a.id.into(), from: TimeExpr::At(times[4]), to: TimeExpr::At(times[9]) };
    let statement = owner.call(&op).await.unwrap();
    assert_eq!(
        statement.entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(),
        (5..=9).collect::<Vec<_>>()
    );
    let moved: i64 = statement.entries.iter().map(|entry| entry.change).sum();
    assert_eq!(statement.opening.posted + moved, statement.closing.posted);
    let token = access(&owner).await;
    let target = format!("/v1/accounts/{}/statement?from={}&to={}", a.id, times[4], times[9]);
    let table = get(&target).header("accept", "text/csv").bearer(&token).send_unchecked(&s).await;
    assert_eq!((table.status, table.header("content-type")), (200, Some("text/csv; charset=utf-8")));
    let text = String::from_utf8(table.body).unwrap();
    let lines: Vec<&str> = text.split("\r\n").collect();
    assert_eq!(lines.len(), 1 + 1 + 5 + 1 + 1);
    assert_eq!(
        lines[0],
        "time,seq,transfer,kind,side,amount,change,posted,currency,counterparty,reason,description"
    );
    assert!(lines[1].ends_with(&format!(",opening,,,,{},EUR,,,", statement.opening.posted)), "{}", lines[1]);
    assert!(lines[2].contains(",transfer,debit,5,-5,"), "{}", lines[2]);
    assert!(lines[2].ends_with(&format!(",EUR,{},,", b.id)), "{}", lines[2]);
    // no formula, and one cell each
    assert!(lines[3].ends_with(&format!(",EUR,{},'=1+1,\"coffee, \"\"black\"\"\"", b.id)), "{}", lines[3]);
    let told = &statement.entries[1];
    assert_eq!(
        (told.reason.as_ref().map(|it| it.as_str()), told.description.as_str()),
        (Some("=1+1"), "coffee, \"black\"")
    );
    assert!(lines[7].ends_with(&format!(",closing,,,,{},EUR,,,", statement.closing.posted)), "{}", lines[7]);
    let wrong = get(format!("/v1/accounts/{}/statement?from=today", a.id))
        .header("accept", "text/csv")
        .bearer(&token)
        .send(&s)
        .await;
    assert_eq!(wrong.rules(), ["?to required"], "errors have the envelope");
    let order = GetStatement { id: a.id.into(), from: TimeExpr::At(times[9]), to: TimeExpr::At(times[4]) };
    assert_eq!(code(owner.call(&order).await), ErrorCode::ValidationFailed);
    sound(&owner).await;
}

fn entries_of(account: &Account, change: impl FnOnce(&mut List<Entry>)) -> ListEntries {
    let mut list = List::new();
    change(&mut list);
    ListEntries { id: account.id.into(), list }
}

#[tokio::test]
async fn transfers_are_listed_by_account_time_and_amount() {
    let (_s, owner) = start().await;
    let (a, b) = (open(&owner, "a", "EUR").await, open(&owner, "b", "EUR").await);
    fund(&owner, &a, 10_000).await;
    let mut ids = Vec::new();
    for n in 0..30 {
        let made = if n % 3 == 0 { pay(&owner, &a, &b, 100 - n).await } else { pay(&owner, &b, &a, 1).await };
        ids.push((n, made.id));
    }
    let walk = |filter: &'static [(&'static str, String)], sort: &'static str| {
        let owner = owner.clone();
        async move {
            let mut list = List::<Transfer>::new().size(7);
            for (field, value) in filter {
                list = list.with(field, Op::Eq, value).unwrap();
            }
            list.sort = Transfer::sort_of(sort);
            list.position = Some(bursar_shared::field::Position::Start);
            let (mut seen, mut last) = (Vec::new(), owner.call(&list).await.unwrap());
            loop {
                seen.extend(last.rows.iter().cloned());
                let Some(next) = last.pagination.next_cursor.clone() else { break };
                let mut further = list.clone();
                (further.position, further.cursor) = (None, Some(next));
                last = owner.call(&further).await.unwrap();
            }
            seen
        }
    };
    let leak = |pairs: Vec<(&'static str, String)>| -> &'static [(&'static str, String)] { Vec::leak(pairs) };
    let from_a = walk(leak(vec![("fromAccountId", a.id.to_string())]), "-createdAt").await;
    let expected: Vec<_> = ids.iter().rev().filter(|(n, _)| n % 3 == 0).map(|(_, id)| *id).collect();
    assert_eq!(from_a.iter().map(|one| one.id).collect::<Vec<_>>(), expected);
    let to_a = walk(leak(vec![("toAccountId", a.id.to_string())]), "createdAt").await;
    assert_eq!(to_a.len(), 21);
    let either = walk(leak(vec![("accountId", b.id.to_string())]), "createdAt").await;
    assert_eq!(
        either.iter().map(|one| one.id).collect::<Vec<_>>(),
        ids.iter().map(|(_, id)| *id).collect::<Vec<_>>()
    );
    let all = walk(leak(vec![]), "amount").await;
    assert_eq!(all.len(), 31);
    assert!(all.is_sorted_by_key(|one| one.amount));
    // by page and backwards
    let list = List::<Transfer>::new().size(7).with("accountId", Op::Eq, &b.id.to_string()).unwrap();
    let second = owner.call(&but(list.clone(), |list| list.page = Some(2))).await.unwrap();
    assert_eq!(second.rows[0].id, ids[22].1);
    assert_eq!(second.pagination.total, Some(30));
    let back = owner.call(&but(list, |list| list.cursor = second.pagination.prev_cursor)).await.unwrap();
    assert_eq!(
        back.rows.iter().map(|one| one.id).collect::<Vec<_>>(),
        ids[23..].iter().rev().map(|(_, id)| *id).collect::<Vec<_>>()
    );
    let external = CreateTransfer { external_id: Some("inv-7".parse().unwrap()), ..transfer(&a, &b, 1) };
    let made = owner.call(&external).await.unwrap().0;
    assert_eq!(refusal(owner.call(&external).await).details, json!({"field": "externalId"}));
    let found =
        owner.call(&but(List::<Transfer>::new(), |list| list.q = Some("inv-7".to_owned()))).await.unwrap();
    assert_eq!(found.rows.iter().map(|one| one.id).collect::<Vec<_>>(), [made.id]);
}

/// A sort by its name.
trait SortOf {
    fn sort_of(text: &str) -> Option<bursar_shared::page::Sort>;
}

impl SortOf for Transfer {
    fn sort_of(text: &str) -> Option<bursar_shared::page::Sort> {
        <Self as bursar_shared::page::Resource>::sort(text)
    }
}

#[tokio::test]
async fn what_moves_is_in_the_log_and_seen_by_who_may() {
    let (s, owner) = start().await;
    let (a, b) = (open(&owner, "a", "EUR").await, open(&owner, "b", "EUR").await);
    fund(&owner, &a, 10).await;
    let made = pay(&owner, &a, &b, 4).await;
    let token = access(&owner).await;
    let seen = get(format!("/v1/events?filter[resourceId]={}", made.id)).bearer(&token).send(&s).await;
    let row = &seen.data()[0];
    assert_eq!(
        (&row["type"], &row["data"]["amount"], &row["resource"]["type"]),
        (&json!("transfer.posted"), &json!(4), &json!("transfer"))
    );
    let opened = get("/v1/events?filter[type]=account.created").bearer(&token).send(&s).await;
    assert_eq!(opened.data().as_array().unwrap().len(), 3, "the world's account too");
    // one more row, one more entry each, in one order
    let verified = post("/v1/ledger/verify", &json!({})).bearer(&token).send(&s).await;
    assert_eq!(
        verified.data(),
        &json!({"ok": true, "checked": {"accounts": 3, "transfers": 2, "entries": 4}, "problems": []})
    );
    let hidden = get("/v1/events?filter[type]=ledger.verified").bearer(&token).send(&s).await;
    assert_eq!(hidden.data(), &json!([]));
}

#[tokio::test]
async fn who_tampers_with_the_books_is_found() {
    let (s, owner) = start().await;
    let (a, b) = (open(&owner, "a", "EUR").await, open(&owner, "b", "EUR").await);
    fund(&owner, &a, 100).await;
    let paid = pay(&owner, &a, &b, 30).await;
    let held = owner.call(&hold(&a, &b, 10)).await.unwrap().0;
    let some =
        ReverseTransfer { id: paid.id, amount: Some(amount(5)), reason: "some of it".parse().unwrap() };
    let back = owner.call(&some).await.unwrap().0;
    let off = disarm(&s).await;
    for (attack, undo, kind) in [
        (
            format!("UPDATE accounts SET credits_posted = 90 WHERE id = '{}'", b.id),
            format!("UPDATE accounts SET credits_posted = 30 WHERE id = '{}'", b.id),
            "account_totals",
        ),
        (
            format!("UPDATE entries SET credits_posted = 31 WHERE account_id = '{}' AND seq = 1", b.id),
            format!("UPDATE entries SET credits_posted = 30 WHERE account_id = '{}' AND seq = 1", b.id),
            "entry_chain",
        ),
        (
            format!("UPDATE transfers SET amount = 31 WHERE id = '{}'", paid.id),
            format!("UPDATE transfers SET amount = 30 WHERE id = '{}'", paid.id),
            "entry_chain",
        ),
        (
            format!("UPDATE transfers SET status = 'voided' WHERE id = '{}'", held.id),
            format!("UPDATE transfers SET status = 'pending' WHERE id = '{}'", held.id),
            "hold_state",
        ),
        (
            format!("UPDATE transfers SET reversed_amount = 6 WHERE id = '{}'", paid.id),
            format!("UPDATE transfers SET reversed_amount = 5 WHERE id = '{}'", paid.id),
            "reversed_amount",
        ),
        (
            format!("UPDATE accounts SET entry_seq = 1 WHERE id = '{}'", b.id),
            format!("UPDATE accounts SET entry_seq = 3 WHERE id = '{}'", b.id),
            "entry_beyond_account",
        ),
        (
            format!("UPDATE entries SET seq = 9 WHERE account_id = '{}' AND seq = 3", b.id),
            format!("UPDATE entries SET seq = 3 WHERE account_id = '{}' AND seq = 9", b.id),
            "entry_missing",
        ),
        (
            format!("UPDATE accounts SET moved_at = moved_at + 1 WHERE id = '{}'", b.id),
            format!("UPDATE accounts SET moved_at = moved_at - 1 WHERE id = '{}'", b.id),
            "account_time",
        ),
        (
            format!("UPDATE entries SET created_at = created_at - 9999999 WHERE account_id = '{}' AND seq = 2", b.id),
            format!("UPDATE entries SET created_at = created_at + 9999999 WHERE account_id = '{}' AND seq = 2", b.id),
            "entry_time",
        ),
        (
            format!("UPDATE accounts SET overdraft_limit = -66 WHERE id = '{}'", a.id),
            format!("UPDATE accounts SET overdraft_limit = 0 WHERE id = '{}'", a.id),
            "account_funds",
        ),
        (
            format!("UPDATE accounts SET max_balance = 34 WHERE id = '{}'", b.id),
            format!("UPDATE accounts SET max_balance = NULL WHERE id = '{}'", b.id),
            "account_limit",
        ),
        (
            format!("UPDATE accounts SET overdraft_limit = {MAX_MINOR} WHERE id = '{}'", a.id),
            format!("UPDATE accounts SET overdraft_limit = 0 WHERE id = '{}'", a.id),
            "account_counters",
        ),
        (
            format!("UPDATE accounts SET status = 'closed' WHERE id = '{}'", a.id),
            format!("UPDATE accounts SET status = 'active' WHERE id = '{}'", a.id),
            "account_closed",
        ),
        (
            "UPDATE accounts SET max_balance = 9 WHERE system_key = 'world'".to_owned(),
            "UPDATE accounts SET max_balance = NULL WHERE system_key = 'world'".to_owned(),
            "account_system",
        ),
        (
            format!("UPDATE transfers SET currency = 'USD' WHERE id = '{}'", paid.id),
            format!("UPDATE transfers SET currency = 'EUR' WHERE id = '{}'", paid.id),
            "currency",
        ),
        (
            format!("UPDATE transfers SET parent_id = '{}' WHERE id = '{}'", paid.id, held.id),
            format!("UPDATE transfers SET parent_id = NULL WHERE id = '{}'", held.id),
            "parent",
        ),
        (
            format!("UPDATE transfers SET parent_id = '{}' WHERE id = '{}'", held.id, back.id),
            format!("UPDATE transfers SET parent_id = '{}' WHERE id = '{}'", paid.id, back.id),
            "parent",
        ),
        (
            format!("UPDATE transfers SET created_at = created_at + 9999999 WHERE id = '{}'", paid.id),
            format!("UPDATE transfers SET created_at = created_at - 9999999 WHERE id = '{}'", paid.id),
            "entry_time",
        ),
        (
            format!("UPDATE transfers SET to_account_id = '{}', to_seq = 99 WHERE id = '{}'", a.id, paid.id),
            format!("UPDATE transfers SET to_account_id = '{}', to_seq = 1 WHERE id = '{}'", b.id, paid.id),
            "transfer_accounts",
        ),
        (
            format!("UPDATE transfers SET amount = 0 WHERE id = '{}'", paid.id),
            format!("UPDATE transfers SET amount = 30 WHERE id = '{}'", paid.id),
            "transfer_amount",
        ),
        (
            format!("UPDATE transfers SET amount = 31 WHERE id = '{}'", back.id),
            format!("UPDATE transfers SET amount = 5 WHERE id = '{}'", back.id),
            "reversed_too_much",
        ),
        (
            format!("UPDATE transfers SET kind = 'capture', parent_id = '{}', amount = 11 WHERE id = '{}'", held.id, back.id),
            format!("UPDATE transfers SET kind = 'reversal', parent_id = '{}', amount = 5 WHERE id = '{}'", paid.id, back.id),
            "captured_too_much",
        ),
        (
            format!("UPDATE transfers SET amount = 11 WHERE id = '{}'", held.id),
            format!("UPDATE transfers SET amount = 10 WHERE id = '{}'", held.id),
            "transfer_unlogged",
        ),
        // numbers that do not add up in 64 bits are findings like others
        (
            format!("UPDATE entries SET debits_posted = {} WHERE account_id = '{}' AND seq = 2", i64::MAX, a.id),
            format!("UPDATE entries SET debits_posted = 30 WHERE account_id = '{}' AND seq = 2", a.id),
            "entry_chain",
        ),
        (
            format!("UPDATE accounts SET debits_pending = {}, debits_posted = {}", i64::MAX, i64::MIN),
            "UPDATE accounts SET debits_pending = e.debits_pending, debits_posted = e.debits_posted FROM entries AS e WHERE e.account_id = accounts.id AND e.seq = accounts.entry_seq".to_owned(),
            "imbalance",
        ),
    ] {
        assert!(owner.call(&VerifyLedger {}).await.unwrap().ok, "before {attack}");
        s.sql(&format!("{off}{attack}")).await.unwrap();
        let report = owner.call(&VerifyLedger {}).await.unwrap();
        assert!(!report.ok && report.problems.iter().any(|one| one.kind == kind), "{attack}: {report:?}");
        if kind == "reversed_amount" {
            let told = report.problems.iter().find(|one| one.kind == kind).unwrap();
            assert_eq!((told.expected.as_str(), told.actual.as_str()), ("5", "6"), "the sum, and what is written");
        }
        if kind == "reversed_too_much" {
            let told = report.problems.iter().find(|one| one.kind == kind).unwrap();
            assert_eq!((told.expected.as_str(), told.actual.as_str()), ("at most 30", "31"));
        }
        s.sql(&format!("{off}{undo}")).await.unwrap();
    }
    s.sql(&format!("UPDATE accounts SET credits_posted = 90 WHERE id = '{}'", b.id)).await.unwrap();
    let report = owner.call(&VerifyLedger {}).await.unwrap();
    assert!(report.problems.iter().any(|one| one.kind == "imbalance" && one.actual == "60"), "{report:?}");
    s.sql(&format!("{off}DELETE FROM transfers WHERE id = '{}'", held.id)).await.unwrap();
    let report = owner.call(&VerifyLedger {}).await.unwrap();
    let is_it = |one: &bursar_shared::operations::ledger::Problem| {
        one.kind == "event_without_transfer" && one.id == held.id.to_string()
    };
    assert!(report.problems.iter().any(is_it), "{report:?}");
    s.clock.forward(Duration::from_secs(60));
    let text = String::from_utf8(get("/metrics").send_unchecked(&s).await.body).unwrap();
    assert!(text.contains("bursar_ledger_imbalance{currency=\"EUR\"} 60\n"), "{text}");
}

/// Takes every guard of the books away; answers what a shell must say first to be let.
async fn disarm(s: &TestServer) -> &'static str {
    if s.is_postgres() {
        let guards = "ALTER TABLE accounts DISABLE TRIGGER USER; ALTER TABLE transfers DISABLE TRIGGER ALL; \
                      ALTER TABLE entries DISABLE TRIGGER ALL; DO $$ DECLARE c record; BEGIN \
                      FOR c IN SELECT conrelid::regclass AS of, conname FROM pg_constraint WHERE contype = 'c' \
                      AND conrelid IN ('accounts'::regclass, 'transfers'::regclass) LOOP \
                      EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', c.of, c.conname); END LOOP; END $$";
        s.sql(guards).await.unwrap();
        return "";
    }
    let guards = "SELECT name AS value FROM sqlite_schema WHERE type = 'trigger' AND tbl_name IN ('accounts', 'transfers', 'entries')";
    for guard in rows(s, guards) {
        s.sql(&format!("DROP TRIGGER {guard}")).await.unwrap();
    }
    "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON;"
}

#[tokio::test]
async fn what_went_out_of_a_frozen_account_is_found() {
    let (s, owner) = start().await;
    let (a, b) = (open(&owner, "a", "EUR").await, open(&owner, "b", "EUR").await);
    fund(&owner, &a, 100).await;
    pay(&owner, &a, &b, 30).await;
    owner.call(&FreezeAccount { id: a.id.into(), reason: None }).await.unwrap();
    pay(&owner, &b, &a, 5).await;
    sound(&owner).await;
    let is = |status: &str| format!("UPDATE accounts SET status = '{status}' WHERE id = '{}'", a.id);
    s.sql(&is("active")).await.unwrap();
    let out = pay(&owner, &a, &b, 1).await;
    s.sql(&is("frozen")).await.unwrap();
    let report = owner.call(&VerifyLedger {}).await.unwrap();
    let found: Vec<_> = report.problems.iter().map(|one| (one.kind.as_str(), one.actual.clone())).collect();
    assert_eq!(found, [("account_frozen", out.id.to_string())]);
}

#[tokio::test]
async fn a_refused_transfer_opens_no_system_account_and_leaves_no_gap() {
    let (s, owner) = start().await;
    let (a, b) = (open(&owner, "a", "CHF").await, open(&owner, "b", "EUR").await);
    let none = "acc_01h455vb4pex5vsknk084sn02q".parse::<AccountRef>().unwrap();
    for (to, why) in [(none, ErrorCode::NotFound), (b.id.into(), ErrorCode::CurrencyMismatch)] {
        assert_eq!(code(owner.call(&between(system("world:CHF"), to, 1, "CHF")).await), why);
    }
    let short = between(a.id.into(), system("revenue:CHF"), 1, "CHF");
    assert_eq!(code(owner.call(&short).await), ErrorCode::InsufficientFunds);
    let independent =
        BatchTransfers { mode: BulkMode::Independent, items: vec![serde_json::to_value(&short).unwrap()] };
    assert_eq!(owner.call(&independent).await.unwrap().items[0].status, 409);
    assert_eq!(count(&s, "accounts WHERE system_key IS NOT NULL"), 0);
    assert_eq!(open(&owner, "c", "CHF").await.number, b.number + 1);
    // opened by the first that moves money, with the next number, once
    fund(&owner, &a, 10).await;
    owner.call(&short).await.unwrap();
    owner.call(&short).await.unwrap();
    assert_eq!(count(&s, "accounts WHERE system_key IS NOT NULL"), 2);
    assert_eq!(count(&s, "log WHERE type = 'account.created'"), 5);
    assert_eq!(open(&owner, "d", "CHF").await.number, b.number + 4);
    sound(&owner).await;
}

#[tokio::test]
async fn what_is_available_can_always_be_counted() {
    let (_s, owner) = start().await;
    let limit = |minor| Change::Set(Limit::new(minor));
    let a = account(&owner, "a", |op| op.overdraft_limit = limit(MAX_MINOR - 100)).await;
    let more = between(system("world:EUR"), a.id.into(), 101, "EUR");
    let refused = refusal(owner.call(&more).await);
    assert_eq!((refused.code, &refused.details["limit"]), (ErrorCode::AmountOutOfRange, &json!("overdraft")));
    assert!(refused.message.contains("lower its overdraft limit"), "{}", refused.message);
    fund(&owner, &a, 100).await;
    assert_eq!(now(&owner, &a).await.balances.available, Some(MAX_MINOR));
    let wider = UpdateAccount {
        id: a.id.into(),
        name: Change::Keep,
        overdraft_limit: limit(MAX_MINOR - 99),
        max_balance: Change::Keep,
        external_id: Change::Keep,
        metadata: Change::Keep,
    };
    let refused = refusal(owner.call(&wider).await);
    assert_eq!((refused.code, &refused.details["max"]), (ErrorCode::AmountOutOfRange, &json!(MAX_MINOR)));
    // what is held is no way round, and letting go is never refused
    let b = open(&owner, "b", "EUR").await;
    let held = owner.call(&hold(&a, &b, 50)).await.unwrap().0;
    assert_eq!(code(owner.call(&more).await), ErrorCode::AmountOutOfRange);
    owner.call(&VoidTransfer { id: held.id, reason: None }).await.unwrap();
    assert_eq!(now(&owner, &a).await.balances.available, Some(MAX_MINOR));
    sound(&owner).await;
}

#[tokio::test]
async fn an_account_through_which_all_went_is_told_apart() {
    let (_s, owner) = start().await;
    let (a, b) = (open(&owner, "a", "EUR").await, open(&owner, "b", "EUR").await);
    fund(&owner, &a, MAX_MINOR - 5).await;
    pay(&owner, &a, &b, 10).await;
    let op = between(b.id.into(), a.id.into(), 6, "EUR");
    let refused = refusal(owner.call(&op).await);
    assert_eq!(
        (refused.code, &refused.details["limit"], &refused.details["accountId"]),
        (ErrorCode::AmountOutOfRange, &json!("turnover"), &json!(a.id))
    );
    assert!(
        refused.message.contains("All that ever went") && refused.message.contains("open another account")
    );
    pay(&owner, &b, &a, 5).await;
    sound(&owner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_swept_into_system_accounts_that_others_open_meanwhile() {
    let (s, owner) = start().await;
    for currency in ["EUR", "USD", "CHF", "GBP", "SEK", "NOK"] {
        let mut all = Vec::new();
        for _ in 0..6 {
            let one = open(&owner, "some", currency).await;
            fund(&owner, &one, 100).await;
            all.push(one);
        }
        let revenue = system(&format!("revenue:{currency}"));
        let close = |one: &Account| CloseAccount {
            id: one.id.into(),
            sweep_to_account_id: Some(revenue),
            expected_balance: None,
            reason: None,
        };
        let sweeps = join_all(all[..4].iter().map(|one| {
            let (owner, op) = (owner.clone(), close(one));
            async move { owner.call(&op).await.unwrap() }
        }));
        let pays = join_all((0..8).map(|n| {
            let one = &all[4 + n % 2];
            let (owner, op) = (owner.clone(), between(one.id.into(), revenue, 1, currency));
            async move { owner.call(&op).await.unwrap() }
        }));
        futures_util::join!(sweeps, pays);
        assert_eq!(
            count(&s, &format!("accounts WHERE system_key = 'revenue' AND currency = '{currency}'")),
            1
        );
    }
    if s.is_postgres() {
        let circles = "SELECT CAST(deadlocks AS TEXT) AS value FROM pg_stat_database WHERE datname = current_database()";
        assert_eq!(rows(&s, circles), ["0"]);
    }
    sound(&owner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_with_one_key_each_is_judged_by_their_own_rights() {
    let (s, owner) = start().await;
    let finance = s.person("finance", "finance").await;
    let (gone, live) = (s.sign_in(&finance).await, s.sign_in(&finance).await);
    let sessions = rows(
        &s,
        &format!("SELECT id AS value FROM sessions WHERE user_id = '{}' ORDER BY created_at, id", finance.id),
    );
    let (a, b) = (open(&owner, "a", "EUR").await, open(&owner, "b", "EUR").await);
    fund(&owner, &a, 100).await;
    let keys: Vec<String> = (0..4).map(|_| key()).collect();
    let once = |client: &Client, key: String| {
        let (client, op) = (client.clone(), transfer(&a, &b, 1));
        let how = How { key: Some(key), once: true, ..How::default() };
        async move { client.send(&op, &how).await.map(|reply| reply.answer.0.id) }
    };
    // both are admitted and wait in one batch, behind others, while the session of one of them ends
    get("/v1/me").bearer(&access(&gone).await).send(&s).await;
    let revoke = format!("UPDATE sessions SET revoked_at = 1 WHERE id = '{}'", sessions[0]);
    let others = (0..8).map(|_| tokio::spawn(once(&owner, key())));
    let (of_gone, of_live, others) =
        held_up_by(&s, &revoke, "SELECT 1 FROM accounts FOR UPDATE", 16, || async {
            let others: Vec<_> = others.collect();
            in_flight(&s, 8).await;
            let all = |client| join_all(keys.iter().map(|key| once(client, key.clone())));
            let (of_gone, of_live) = futures_util::join!(all(&gone), all(&live));
            (of_gone, of_live, join_all(others).await)
        })
        .await;
    assert!(others.into_iter().all(|one| one.unwrap().is_ok()));
    for one in of_gone {
        assert_eq!(refusal(one).code.status(), 401);
    }
    let mut made: Vec<_> = of_live.into_iter().map(|one| one.unwrap()).collect();
    made.dedup();
    assert_eq!(made.len(), 4);
    assert_eq!(posted(&owner, &b).await, 12);
    sound(&owner).await;
}

#[tokio::test]
async fn a_cursor_goes_on_in_the_account_that_gave_it_out() {
    let (s, owner) = start().await;
    let (a, b) = (open(&owner, "a", "EUR").await, open(&owner, "b", "EUR").await);
    fund(&owner, &a, 100).await;
    for _ in 0..3 {
        pay(&owner, &a, &b, 1).await;
    }
    let token = access(&owner).await;
    let entries = |account: &Account, cursor: &str| {
        get(format!("/v1/accounts/{}/entries?pageSize=1{cursor}", account.id)).bearer(&token).send(&s)
    };
    let first = entries(&a, "&position=start").await;
    let cursor = format!("&cursor={}", first.pagination("nextCursor").as_str().unwrap());
    assert_eq!(entries(&a, &cursor).await.status, 200);
    let other = entries(&b, &cursor).await;
    assert_eq!((other.status, other.rules()), (422, vec!["?cursor cursor_mismatch".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_with_one_external_id_one_is_made_and_all_verdicts_stay() {
    let (_s, owner) = start().await;
    // between accounts of their own, so that none waits for the other's
    let mut pairs = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let (from, to) = (open(&owner, name, "EUR").await, open(&owner, name, "EUR").await);
        fund(&owner, &from, 10_000).await;
        pairs.push((from, to));
    }
    for round in 0..8 {
        let name = format!("invoice-{round}");
        let create = |pair: usize, external_id: Option<&str>| {
            let external_id = external_id.map(|text| text.parse().unwrap());
            let (from, to) = &pairs[pair % pairs.len()];
            CreateTransfer { external_id, ..transfer(from, to, 1) }
        };
        let keys: Vec<String> = (0..16).map(|_| key()).collect();
        let batch = BatchTransfers {
            mode: BulkMode::Independent,
            items: [None, Some(name.as_str()), None]
                .map(|id| serde_json::to_value(create(3, id)).unwrap())
                .to_vec(),
        };
        let of_batch = key();
        let all = || {
            join_all(keys.iter().enumerate().map(|(n, key)| {
                let (owner, op, how) = (owner.clone(), create(n % 3, Some(&name)), under(key));
                async move {
                    owner
                        .send(&op, &how)
                        .await
                        .map(|done| done.answer.0.id)
                        .map_err(|why| code::<()>(Err(why)))
                }
            }))
        };
        let whole = || async {
            let done = owner.send(&batch, &under(&of_batch)).await.unwrap().answer;
            done.items.into_iter().map(|item| item.status).collect::<Vec<_>>()
        };
        let (first, of_first) = futures_util::join!(all(), whole());
        let made = first.iter().filter(|one| one.is_ok()).count();
        assert_eq!(made + usize::from(of_first[1] == 201), 1, "{first:?} {of_first:?}");
        assert_eq!((of_first[0], of_first[2]), (201, 201), "what others did is no reason to refuse these");
        assert!(first.iter().all(|one| !matches!(one, Err(other) if *other != ErrorCode::AlreadyExists)));
        // whoever was told "refused" is told so again, and nothing moves
        let before = posted(&owner, &pairs[3].1).await;
        assert_eq!((all().await, whole().await), (first, of_first));
        assert_eq!(posted(&owner, &pairs[3].1).await, before);
    }
    sound(&owner).await;
}

#[tokio::test]
async fn rights_that_are_withdrawn_while_money_waits_count() {
    let (s, owner) = start().await;
    let finance = s.person("finance", "finance").await;
    let client = s.sign_in(&finance).await;
    let (a, b) = (open(&owner, "a", "EUR").await, open(&owner, "b", "EUR").await);
    fund(&client, &a, 100).await;
    let nothing = bursar_shared::operations::users::SetUserRoles { id: finance.id, roles: vec![] };
    let (sends, withdraw) = (
        join_all((0..40).map(|_| {
            let (client, op) = (client.clone(), transfer(&a, &b, 1));
            async move { client.send(&op, &How { once: true, ..How::default() }).await.is_ok() }
        })),
        owner.call(&nothing),
    );
    let (sends, withdrawn) = futures_util::join!(sends, withdraw);
    withdrawn.unwrap();
    assert_eq!(posted(&owner, &b).await, sends.iter().filter(|done| **done).count() as i64);
    assert_eq!(code(client.call(&transfer(&a, &b, 1)).await), ErrorCode::Forbidden);
    sound(&owner).await;
}
