//! The money of the desk: accounts, transfers and entries by their number, and what a change does to them.
//!
//! ```ignore
//! let mut desk = Desk::home(120, 36);
//! desk.press("7 j o");                       // the statement of the second account
//! assert!(desk.text().contains("re-added"));
//! ```

use bursar_shared::{
    field::{AccountStatus, TransferMode},
    id::{AccountId, TransferId, UserId},
    operations::{
        accounts::{Account, AccountRef, Entry},
        ledger::{Checked, LedgerReport, Problem, TrialBalance},
        log::Event,
        transfers::Transfer,
    },
};
use bursar_tui::{
    change::{Change, Deed, Effect, Moved},
    message::{Answer, Found, Request, Seek},
    screens::money::{Beside, Books, Subject},
};
use serde_json::json;

use crate::support::{Desk, at, page};

/// Accounts there are.
pub const ACCOUNTS: u32 = 150;
/// Transfers there are.
pub const TRANSFERS: u32 = 240;
/// Entries that every account has.
pub const ENTRIES: i64 = 130;

const NAMES: [&str; 5] = ["Wallet", "Corner coffee", "Rent", "Book cellar", "Refunds"];

pub fn account_id(n: u32) -> AccountId {
    AccountId::from_bits(u128::from(n) + 5_000)
}

fn number(id: AccountId) -> u32 {
    (0..9_000).find(|n| account_id(*n) == id).unwrap()
}

/// The n-th account: the first is the world, the fourth is frozen, the sixth closed, the eighth in yen.
pub fn account(n: u32) -> Account {
    let system = n == 0;
    let currency = if n % 9 == 7 { "JPY" } else { "EUR" };
    let status = match n {
        3 => "frozen",
        5 => "closed",
        _ => "active",
    };
    let (posted, held) = match n {
        0 => (-123_456_789, 0),
        5 => (0, 0),
        _ => (i64::from(n) * 1_234 + 5_000, if n % 4 == 1 { 1_500 } else { 0 }),
    };
    let available = (!system).then_some(posted - held);
    serde_json::from_value(json!({
        "id": account_id(n), "number": 1_000 + n, "name": if system { "world:EUR" } else { NAMES[n as usize % 5] },
        "ownerId": if system || n.is_multiple_of(5) { None } else { Some(UserId::from_bits(u128::from(n % 40))) },
        "systemKey": system.then_some("world"), "currency": currency, "status": status,
        "overdraftLimit": if system { json!(null) } else { json!(0) }, "maxBalance": if n % 4 == 2 { json!(5_000_000) } else { json!(null) },
        "balances": {"posted": posted, "pendingIn": 0, "pendingOut": held, "available": available},
        "entrySeq": ENTRIES, "externalId": (n % 6 == 1).then(|| format!("iban-{n}")),
        "metadata": if n % 2 == 1 { json!({"team": "north"}) } else { json!({}) }, "version": n % 5 + 1,
        "createdAt": at(i64::from(n) * 3_600 + 900_000), "updatedAt": at(i64::from(n) * 60),
    }))
    .unwrap()
}

/// An account whose every text attacks the terminal, and whose money is as large as money gets.
pub fn hostile_account(n: u32) -> Account {
    let mut account = account(n);
    let text = "\u{202e}gnp.exe\u{1b}[2J";
    account.name = serde_json::from_value(json!(text.replace('\u{1b}', "e"))).unwrap();
    let most = bursar_shared::money::MAX_MINOR;
    account.balances.posted = if n.is_multiple_of(2) { most } else { -most };
    account.balances.pending_out = most;
    account.balances.available = Some(-most);
    account.metadata.0.insert("\u{202e}k".into(), "\u{2066}v".into());
    account
}

pub fn transfer_id(n: u32) -> TransferId {
    TransferId::from_bits(u128::from(n) + 7_000)
}

/// The n-th transfer, the newest first: holds, captures, reversals and plain ones take turns.
pub fn transfer(n: u32) -> Transfer {
    let (kind, status) = match n % 8 {
        1 => ("hold", "pending"),
        2 => ("capture", "posted"),
        3 => ("hold", "captured"),
        4 => ("reversal", "posted"),
        6 => ("hold", "voided"),
        _ => ("transfer", "posted"),
    };
    let amount = i64::from(n % 60) * 425 + 1_250;
    let reversed = match n % 16 {
        5 => amount,
        7 => amount / 2,
        _ => 0,
    };
    let parent = matches!(n % 8, 2 | 4).then(|| transfer_id(n + 1));
    serde_json::from_value(json!({
        "id": transfer_id(n), "kind": kind, "status": status, "parentId": parent,
        "fromAccountId": account_id(n % 7), "toAccountId": account_id(n % 7 + 8), "amount": amount, "currency": "EUR",
        "capturedAmount": if n % 8 == 3 { amount } else { 0 }, "reversedAmount": reversed,
        "reason": (n % 3 != 2).then_some("coffee and cake"), "description": if n.is_multiple_of(5) { "two lines\nof words" } else { "" },
        "externalId": null, "actorId": UserId::from_bits(3), "requestId": "req_01j9zq3v5tf8c8m1k2n3p4q5r6",
        "expiresAt": (n % 8 == 1).then(|| at(-7_200)), "metadata": {}, "createdAt": at(i64::from(n) * 431 + 60),
    }))
    .unwrap()
}

/// The entry of this number in an account: it ends at what the account holds.
pub fn entry(account: &Account, seq: i64) -> Entry {
    let change = |seq: i64| match seq % 5 {
        1 => 5_000,
        2 => -1_299,
        3 => 0,
        4 => -40,
        _ => 715,
    };
    let later: i64 = (seq + 1..=account.entry_seq).map(change).sum();
    let posted = account.balances.posted - later;
    // an account begins with nothing
    let change = if seq == 1 { posted } else { change(seq) };
    let n = u32::try_from(account.entry_seq - seq).unwrap();
    let Transfer { to_account_id, reason, description, .. } = transfer(n);
    serde_json::from_value(json!({
        "accountId": account.id, "seq": seq, "transferId": transfer_id(n), "kind": if change == 0 { "hold" } else { "transfer" },
        "side": if change > 0 { "credit" } else { "debit" }, "amount": if change == 0 { 1_500 } else { change.abs() }, "change": change,
        "posted": posted, "pendingOut": if change == 0 { 1_500 } else { 0 }, "pendingIn": 0, "currency": account.currency,
        "counterpartyId": to_account_id, "reason": reason, "description": description, "createdAt": at(i64::from(n) * 431 + 60),
    }))
    .unwrap()
}

fn of(desk: &Desk, id: AccountRef) -> Account {
    match id {
        AccountRef::Id(id) => desk.account_of(number(id)),
        AccountRef::System(..) => desk.account_of(0),
    }
}

/// What the books say to a request about money.
pub fn answer(desk: &Desk, request: Request) -> Answer {
    match request {
        Request::Accounts(list) => {
            let count = if list.filter.is_empty() { ACCOUNTS } else { 4 };
            Answer::Accounts(page(&list, count, |n| desk.account_of(n)))
        }
        Request::Transfers(list) => {
            let count = if list.filter.is_empty() { TRANSFERS } else { 3 };
            Answer::Transfers(page(&list, count, transfer))
        }
        Request::Entries(op) => {
            let account = of(desk, op.id);
            let count = u32::try_from(account.entry_seq).unwrap();
            let row = |n: u32| {
                let seq = account.entry_seq - i64::from(n);
                let mut entry = entry(&account, seq);
                if desk.falsified == Some(seq) {
                    entry.posted += 1;
                }
                entry
            };
            // a filter leaves gaps
            match op.list.filter.is_empty() {
                true => Answer::Entries(page(&op.list, count, row)),
                false => Answer::Entries(page(&op.list, count / 5, |n| row(n * 5))),
            }
        }
        Request::Account(id) => Answer::Account(Box::new(of(desk, id.into()))),
        Request::Behind(account, ..) => {
            let behind = (0..TRANSFERS).map(|n| Transfer { from_account_id: account, ..transfer(n) });
            Answer::Behind(behind.collect())
        }
        Request::Labels(ids) => Answer::Labels(ids.into_iter().map(|id| of(desk, id.into())).collect()),
        Request::Beside(Subject::Account(id)) => {
            let account = of(desk, id.into());
            let last = account.entry_seq;
            let entries = (0..7).map(|n| entry(&account, last - n)).collect();
            Answer::Beside(Box::new(Beside::Latest(entries)))
        }
        Request::Beside(Subject::Transfer(of_this, _)) => {
            let sides = [of_this.from_account_id, of_this.to_account_id];
            let entries = sides.map(|id| entry(&of(desk, id.into()), 77)).into();
            let parent = of_this.parent_id.map(|_| Box::new(transfer(3)));
            let children = if of_this.reversed_amount > 0 { vec![transfer(4)] } else { Vec::new() };
            Answer::Beside(Box::new(Beside::Related { entries, parent, children }))
        }
        Request::Again(ids) => {
            let again = ids.into_iter().filter_map(|id| (0..TRANSFERS).map(transfer).find(|t| t.id == id));
            let moved = again.map(|transfer| Transfer { reversed_amount: 100, ..transfer });
            Answer::Again(moved.collect())
        }
        Request::Books(_) => Answer::Books(Box::new(books(desk))),
        Request::VerifyLedger => Answer::LedgerVerified(LedgerReport {
            ok: desk.broken.is_none(),
            checked: Checked { accounts: 150, transfers: 240, entries: 480 },
            problems: desk.broken.map(problem).into_iter().collect(),
        }),
        Request::Find(seek, text, _) => {
            let found = match seek {
                Seek::Account => (0..ACCOUNTS)
                    .map(|n| desk.account_of(n))
                    .filter(|account| {
                        let number = account.number.to_string();
                        number == text
                            || account.name.as_str().to_lowercase().starts_with(&text.to_lowercase())
                    })
                    .take(6)
                    .map(|account| Found::Account(Box::new(account), Some("ada0@example.com".to_owned())))
                    .collect(),
                Seek::Person => (0..desk.people)
                    .map(desk.person)
                    .filter(|user| user.email.as_str().starts_with(&text))
                    .take(6)
                    .map(|user| Found::Person(user.id, user.email.to_string()))
                    .collect(),
            };
            Answer::Found(text, found)
        }
        other => panic!("not about money: {other:?}"),
    }
}

fn problem(seq: i64) -> Problem {
    Problem {
        kind: "entry_chain".to_owned(),
        id: format!("{}/{seq}", account_id(1)),
        expected: "5000".to_owned(),
        actual: "5001".to_owned(),
    }
}

fn books(desk: &Desk) -> Books {
    let imbalance = if desk.broken.is_some() { 1 } else { 0 };
    let trial: TrialBalance = serde_json::from_value(json!({"currencies": [
        {"currency": "EUR", "accounts": 130, "debits": 81_240_411, "credits": 81_240_411 + imbalance, "pending": 4_500, "imbalance": imbalance},
        {"currency": "JPY", "accounts": 20, "debits": 40_000, "credits": 40_000, "pending": 0, "imbalance": 0},
    ]}))
    .unwrap();
    let holds = (0..40).map(transfer).filter(|one| one.expires_at.is_some()).collect::<Vec<_>>();
    let flow = |currency: &str, hours: fn(i64) -> [i64; 2]| {
        let [came, went] = [0, 1].map(|side| (0..24).map(|hour| hours(hour)[side]).collect::<Vec<i64>>());
        json!({"currency": currency, "moneyIn": came.iter().sum::<i64>(), "moneyOut": went.iter().sum::<i64>(),
            "moneyInHourly": came, "moneyOutHourly": went})
    };
    let flows = serde_json::from_value(json!({"from": at(86_400), "to": at(0), "currencies": [
        flow("EUR", |hour| [(hour * 7_919) % 90_000, (hour * 3_571) % 30_000]),
        flow("JPY", |hour| [if hour == 20 { 40_000 } else { 0 }, 0]),
        flow("USD", |_| [0, 0]),
    ]}))
    .unwrap();
    Books {
        trial: Some(trial),
        flows: Some(flows),
        holds: Some((holds.len() as u64, true, holds)),
        frozen: Some(1),
    }
}

/// What a change about money does.
pub fn changed(desk: &Desk, deed: &Deed) -> Effect {
    if let Some(sides) = deed.sides() {
        let before: Vec<Account> = sides.iter().map(|id| of(desk, *id)).collect();
        return Effect::Moved(Box::new(Moved { transfer: moved(deed, &before), before }));
    }
    let mut account = match deed.account() {
        Some(account) => account.clone(),
        None => account(8_000),
    };
    account.version += 1;
    match deed {
        Deed::Open(op, _) => account.name = op.name.clone(),
        Deed::Edit(_, op) => {
            account.name = op.name.value().cloned().unwrap_or(account.name);
            account.overdraft_limit = op.overdraft_limit.value().copied().unwrap_or(account.overdraft_limit);
            account.max_balance = op.max_balance.value().copied().unwrap_or(account.max_balance);
        }
        Deed::Freeze(..) => account.status = AccountStatus::Frozen,
        Deed::Unfreeze(..) => account.status = AccountStatus::Active,
        Deed::Close(..) => {
            account.status = AccountStatus::Closed;
            account.balances.posted = 0;
        }
        _ => {}
    }
    Effect::Account(Box::new(account))
}

/// The same while it is only tried: an account that is to be closed is read before.
pub fn rehearsed(desk: &Desk, change: &Change, effect: Effect) -> Effect {
    match (change, effect) {
        (Change::Money(deed), Effect::Account(after)) if matches!(**deed, Deed::Close(..)) => {
            Effect::Closing(Box::new(desk.account_of(number(after.id))), after)
        }
        (_, effect) => effect,
    }
}

fn moved(deed: &Deed, before: &[Account]) -> Transfer {
    let minor = match deed {
        Deed::Void(hold, _) => hold.amount,
        _ => deed.amount().unwrap().1,
    };
    let (kind, holds) = match deed {
        Deed::Post(op, _) if op.mode == Some(TransferMode::Hold) => ("hold", true),
        Deed::Post(..) => ("transfer", false),
        Deed::Capture(..) => ("capture", false),
        Deed::Void(..) => ("void", true),
        _ => ("reversal", false),
    };
    let sign = |side: usize| if side == 0 { -minor } else { minor };
    let accounts: Vec<_> = before
        .iter()
        .enumerate()
        .map(|(side, account)| {
            let mut balances = account.balances;
            if !holds {
                balances.posted += sign(side);
            } else if side == 0 {
                balances.pending_out += minor;
            } else {
                balances.pending_in += minor;
            }
            let out = balances.pending_out;
            balances.available = balances.available.map(|_| balances.posted - out);
            json!({"id": account.id, "balances": balances, "entrySeq": account.entry_seq + 1})
        })
        .collect();
    let mut made = serde_json::to_value(transfer(9)).unwrap();
    made["id"] = json!(transfer_id(8_000));
    made["kind"] = json!(kind);
    made["status"] = json!(if kind == "hold" { "pending" } else { "posted" });
    made["amount"] = json!(minor);
    made["currency"] = json!(before[0].currency);
    made["fromAccountId"] = json!(before[0].id);
    made["toAccountId"] = json!(before[1].id);
    made["reversedAmount"] = json!(0);
    made["accounts"] = json!(accounts);
    made["createdAt"] = json!(at(-5));
    serde_json::from_value(made).unwrap()
}

/// The row of the log for money that moved between the n-th account and another.
pub fn moved_event(desk: &Desk, seq: i64, from: u32, to: u32, minor: i64) -> Event {
    let sides = [desk.account_of(from), desk.account_of(to)];
    let op = json!({"fromAccountId": sides[0].id, "toAccountId": sides[1].id, "amount": minor, "currency": sides[0].currency});
    let mut wrong = Vec::new();
    let mut at_it = bursar_shared::decode::Decoder::new(&mut wrong, false);
    let op = bursar_shared::decode::Decode::decode(&op, &mut at_it).unwrap();
    let mut transfer = moved(&Deed::Post(Box::new(op), Default::default()), &sides);
    transfer.id = transfer_id(9_000 + u32::try_from(seq).unwrap());
    serde_json::from_value(json!({
        "id": bursar_shared::id::EventId::from_bits(seq as u128), "seq": seq, "type": "transfer.posted", "timestamp": at(-5),
        "actor": {"id": UserId::from_bits(3), "kind": "user", "ip": "203.0.113.7"}, "requestId": "req_01j9zq3v5tf8c8m1k2n3p4q5r6",
        "resource": {"type": "transfer", "id": transfer.id, "version": null}, "data": transfer, "changes": {}, "hash": "9f86d081884c7d65",
    }))
    .unwrap()
}
