//! What is asked of the daemon about money.

use bursar_shared::{
    client::{Client, Error, How},
    id::{AccountId, TransferId, UserId},
    operations::{
        accounts::{
            Account, AccountRef, CloseAccount, Entry, FreezeAccount, GetAccount, ListEntries, UnfreezeAccount,
        },
        ledger::{GetFlows, GetTrialBalance, VerifyLedger},
        transfers::{CaptureTransfer, GetTransfer, ReverseTransfer, Transfer, VoidTransfer},
        users::User,
    },
    page::{List, MAX_PAGE_SIZE, Op, Sort},
    permission::{Permission, Permissions},
    time::Timestamp,
};
use futures_util::{StreamExt as _, future};

use super::{NAMES_AT_ONCE, send, trouble};
use crate::{
    Host,
    change::{Deed, Effect, Moved},
    message::{Answer, Found, Request, Seek, Trouble},
    screens::money::{Beside, Books, Subject},
};

/// Entries of an account in the pane.
const LATEST: u32 = 7;
/// What came of a transfer: captures and reversals that are shown.
const CHILDREN: u32 = 20;
/// Holds of which it is looked at when they end.
const HOLDS: u32 = 100;
/// What is offered for what is typed.
const OFFERS: u32 = 6;

/// Answers a request about money.
pub(super) async fn answer(client: &Client, request: Request) -> Result<Answer, Trouble> {
    let answer = match request {
        Request::Accounts(list) => client.call(&list).await.map(Answer::Accounts),
        Request::Transfers(list) => client.call(&list).await.map(Answer::Transfers),
        Request::Entries(list) => client.call(&*list).await.map(Answer::Entries),
        Request::Account(id) => {
            let op = GetAccount { id: id.into() };
            client.call(&op).await.map(Box::new).map(Answer::Account)
        }
        Request::Behind(account, from, to) => behind(client, account, from, to).await.map(Answer::Behind),
        Request::Labels(ids) => {
            let ask = |id: AccountId| async move { client.call(&GetAccount { id: id.into() }).await.ok() };
            Ok(Answer::Labels(several(ids, ask).await))
        }
        Request::Again(ids) => {
            let ask = |id: TransferId| async move { client.call(&GetTransfer { id }).await.ok() };
            Ok(Answer::Again(several(ids, ask).await))
        }
        Request::Beside(subject) => beside(client, subject).await.map(Box::new).map(Answer::Beside),
        Request::Books(permissions) => books(client, permissions).await.map(Box::new).map(Answer::Books),
        Request::VerifyLedger => client.call(&VerifyLedger {}).await.map(Answer::LedgerVerified),
        Request::Find(seek, text, permissions) => {
            let found = match seek {
                Seek::Account => accounts(client, &text, permissions).await,
                Seek::Person => people(client, &text).await,
            };
            found.map(|found| Answer::Found(text, found))
        }
        _ => Err(Error::Local("this is done elsewhere".to_owned())),
    };
    answer.map_err(trouble)
}

/// The answers for several ids, a few at a time; what cannot be read is left out.
async fn several<I, T, F: Future<Output = Option<T>>>(ids: Vec<I>, ask: impl Fn(I) -> F) -> Vec<T> {
    let asked = futures_util::stream::iter(ids.into_iter().map(ask)).buffer_unordered(NAMES_AT_ONCE);
    asked.filter_map(future::ready).collect().await
}

/// The same with a condition that the resource has.
fn with<R: bursar_shared::page::Resource>(
    list: List<R>,
    field: &str,
    op: Op,
    value: impl ToString,
) -> Result<List<R>, Error> {
    list.with(field, op, &value.to_string()).map_err(Error::Local)
}

/// The transfers of an account in a time, both ends included.
async fn behind(
    client: &Client,
    account: AccountId,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<Transfer>, Error> {
    let list = with(List::<Transfer>::new().size(MAX_PAGE_SIZE), "accountId", Op::Eq, account)?;
    let list = with(list, "createdAt", Op::Gte, from)?;
    let list = with(list, "createdAt", Op::Lte, to)?;
    Ok(client.call(&list).await?.rows)
}

async fn beside(client: &Client, subject: Subject) -> Result<Beside, Error> {
    match subject {
        Subject::Account(id) => {
            let list = ListEntries { id: id.into(), list: List::new().size(LATEST) };
            Ok(Beside::Latest(client.call(&list).await?.rows))
        }
        Subject::Transfer(transfer, may) => {
            let at = transfer.created_at;
            let of = |id: AccountId| async move {
                let list = with(List::<Entry>::new().size(1), "createdAt", Op::Gte, at)?;
                let list = with(list, "createdAt", Op::Lte, at)?;
                Ok(client.call(&ListEntries { id: id.into(), list }).await?.rows)
            };
            let parent = async {
                match transfer.parent_id {
                    Some(id) => client.call(&GetTransfer { id }).await.map(Box::new).map(Some),
                    None => Ok(None),
                }
            };
            let sort = Sort { key: "createdAt", descending: false };
            let list = List::<Transfer>::new().size(CHILDREN).sorted(sort);
            let list = with(list, "parentId", Op::Eq, transfer.id)?;
            let entries = async {
                if !may {
                    return Ok(Vec::new());
                }
                let both = future::try_join(of(transfer.from_account_id), of(transfer.to_account_id));
                both.await.map(|(from, to)| from.into_iter().chain(to).collect())
            };
            let (entries, parent, children) = future::try_join3(entries, parent, client.call(&list)).await?;
            Ok(Beside::Related { entries, parent, children: children.rows })
        }
    }
}

async fn books(client: &Client, permissions: Permissions) -> Result<Books, Error> {
    let trial = async {
        match permissions.has(Permission::LedgerRead) {
            true => client.call(&GetTrialBalance {}).await.map(Some),
            false => Ok(None),
        }
    };
    let flows = async {
        match permissions.has(Permission::LedgerRead) {
            true => client.call(&GetFlows {}).await.map(Some),
            false => Ok(None),
        }
    };
    let holds = async {
        if !permissions.has(Permission::TransfersRead) {
            return Ok(None);
        }
        let sort = Sort { key: "createdAt", descending: false };
        let list = List::<Transfer>::new().size(HOLDS).sorted(sort);
        let mut list = with(list, "status", Op::Eq, "pending")?;
        list.total = Some(bursar_shared::field::TotalMode::Bounded);
        let page = client.call(&list).await?;
        let exact = page.pagination.total_accuracy == bursar_shared::page::TotalAccuracy::Exact;
        Ok(Some((page.pagination.total.unwrap_or(page.rows.len() as u64), exact, page.rows)))
    };
    let frozen = async {
        if !permissions.has(Permission::AccountsRead) {
            return Ok(None);
        }
        let mut list = with(List::<Account>::new().size(1), "status", Op::Eq, "frozen")?;
        list.total = Some(bursar_shared::field::TotalMode::Bounded);
        Ok(client.call(&list).await?.pagination.total)
    };
    let (trial, flows, holds, frozen) = future::try_join4(trial, flows, holds, frozen).await?;
    Ok(Books { trial, flows, holds, frozen })
}

/// Accounts that a text may mean: by id, number or name, and those of people it may mean.
async fn accounts(client: &Client, text: &str, may: Permissions) -> Result<Vec<Found>, Error> {
    if let Ok(id) = text.parse::<AccountRef>() {
        return match client.call(&GetAccount { id }).await {
            Ok(account) => Ok(vec![Found::Account(Box::new(account), None)]),
            // a system account that nobody has named yet is made when it is
            Err(Error::Api { error, .. }) if error.code.status() == 404 => Ok(Vec::new()),
            Err(why) => Err(why),
        };
    }
    let mut found: Vec<Found> = Vec::new();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number {
        let list = with(List::<Account>::new().size(1), "number", Op::Eq, text)?;
        let rows = client.call(&list).await?.rows;
        found.extend(rows.into_iter().map(|account| Found::Account(Box::new(account), None)));
        return Ok(found);
    }
    let mut list = List::<Account>::new().size(OFFERS);
    list.q = Some(text.to_owned());
    let rows = client.call(&list).await?.rows;
    found.extend(rows.into_iter().map(|account| Found::Account(Box::new(account), None)));
    if may.has(Permission::UsersRead) {
        let mut list = List::<User>::new().size(OFFERS);
        list.q = Some(text.to_owned());
        list.include = vec!["accounts"];
        for user in client.call(&list).await?.rows {
            let email = user.email.to_string();
            for account in user.accounts.into_iter().flatten() {
                let known = |one: &Found| matches!(one, Found::Account(held, _) if held.id == account.id);
                if !found.iter().any(known) {
                    found.push(Found::Account(Box::new(account), Some(email.clone())));
                }
            }
        }
    }
    found.truncate(OFFERS as usize);
    Ok(found)
}

/// People that a text may mean.
async fn people(client: &Client, text: &str) -> Result<Vec<Found>, Error> {
    let mut list = List::<User>::new().size(OFFERS);
    list.q = Some(text.to_owned());
    let rows = client.call(&list).await?.rows;
    let person = |user: User| -> (UserId, String) { (user.id, user.email.into_string()) };
    Ok(rows.into_iter().map(person).map(|(id, email)| Found::Person(id, email)).collect())
}

/// The account as it is now, if it is there and may be read: nobody has named a system account before it
/// is used.
async fn now(client: &Client, id: AccountRef) -> Result<Option<Account>, Error> {
    match client.call(&GetAccount { id }).await {
        Ok(account) => Ok(Some(account)),
        Err(Error::Api { error, .. }) if matches!(error.code.status(), 403 | 404) => Ok(None),
        Err(why) => Err(why),
    }
}

/// Makes a change about money, or tries it. Before it is tried, the accounts are read between which money
/// moves: what they hold then stands beside what they would hold.
pub(super) async fn carry(
    client: &Client,
    host: &dyn Host,
    mut deed: Deed,
    how: &How,
) -> Result<Effect, Error> {
    let mut before = Vec::new();
    if let Some(sides) = deed.sides().filter(|_| how.dry_run) {
        for id in sides {
            before.extend(now(client, id).await?);
        }
    }
    let mut closes = None;
    if let (Deed::Close(of, ..), true) = (&deed, how.dry_run) {
        closes = now(client, of.id.into()).await?;
        // the row that it was chosen in may be old; what was read now is what is agreed to
        if let Some(account) = &closes {
            deed = deed.onto(account.clone());
        }
    }
    // transfers have no version
    let bare = How { if_match: None, ..how.clone() };
    let moved = |transfer| Effect::Moved(Box::new(Moved { transfer, before }));
    let account = |account| Effect::Account(Box::new(account));
    match deed {
        Deed::Post(op, _) => send(client, host, &*op, &bare).await.map(|r| moved(r.answer.0)),
        Deed::Capture(hold, amount) => {
            let op = CaptureTransfer { id: hold.id, amount };
            send(client, host, &op, &bare).await.map(|r| moved(r.answer.0))
        }
        Deed::Void(hold, reason) => {
            let op = VoidTransfer { id: hold.id, reason };
            send(client, host, &op, &bare).await.map(|r| moved(r.answer.0))
        }
        Deed::Reverse(of, amount, reason) => {
            let op = ReverseTransfer { id: of.id, amount, reason };
            send(client, host, &op, &bare).await.map(|r| moved(r.answer.0))
        }
        Deed::Open(op, _) => send(client, host, &*op, &bare).await.map(|r| account(r.answer.0)),
        Deed::Edit(_, op) => send(client, host, &*op, how).await.map(|r| account(r.answer)),
        Deed::Freeze(of, reason) => {
            let op = FreezeAccount { id: of.id.into(), reason };
            send(client, host, &op, how).await.map(|r| account(r.answer))
        }
        Deed::Unfreeze(of, reason) => {
            let op = UnfreezeAccount { id: of.id.into(), reason };
            send(client, host, &op, how).await.map(|r| account(r.answer))
        }
        Deed::Close(of, sweep, reason) => {
            // what was typed moves, or nothing
            let expected_balance = sweep.as_ref().map(|_| of.balances.posted);
            let sweep_to_account_id = sweep.map(|(to, _)| to);
            let op = CloseAccount { id: of.id.into(), sweep_to_account_id, expected_balance, reason };
            let after = send(client, host, &op, how).await?.answer;
            Ok(match closes {
                Some(before) => Effect::Closing(Box::new(before), Box::new(after)),
                None => account(after),
            })
        }
    }
}
