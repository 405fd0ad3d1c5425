//! Raw SQL against the books: whoever has a database shell cannot make money, lose it or hide it.

use std::collections::BTreeMap;

use bursar_server::testing::TestServer;
use bursar_shared::{
    client::Client,
    field::TransferMode,
    operations::{
        accounts::{Account, CloseAccount, FreezeAccount, GetAccount},
        ledger::VerifyLedger,
        transfers::{CaptureTransfer, CreateTransfer, Transfer, VoidTransfer},
    },
};

use crate::{
    money::{account, amount, fund, open, pay, transfer},
    support::rows,
};

/// A transfer to be written by hand; ids are made of one letter.
pub struct Forged {
    pub id: char,
    pub kind: &'static str,
    pub status: &'static str,
    pub parent: Option<String>,
    pub from: (String, i64),
    pub to: (String, i64),
    pub amount: i64,
    pub currency: &'static str,
    pub at: i64,
}

/// An id of that kind, made of one digit or letter.
pub fn id(prefix: &str, letter: char) -> String {
    format!("{prefix}_{}", letter.to_string().repeat(26))
}

impl Forged {
    pub fn sql(&self) -> String {
        let parent = self.parent.as_ref().map_or("NULL".to_owned(), |parent| format!("'{parent}'"));
        format!(
            "INSERT INTO transfers (id, kind, status, parent_id, from_account_id, from_seq, to_account_id, to_seq, amount, currency, captured_amount, reversed_amount, description, request_id, metadata, created_at)
             VALUES ('{}', '{}', '{}', {parent}, '{}', {}, '{}', {}, {}, '{}', 0, 0, '', 'req_forged', '{{}}', {});",
            id("trf", self.id), self.kind, self.status, self.from.0, self.from.1, self.to.0, self.to.1,
            self.amount, self.currency, self.at
        )
    }
}

/// An entry to be written by hand, with what the account holds afterwards.
pub fn entry(
    account: &str,
    seq: i64,
    of: char,
    side: &str,
    amount: i64,
    totals: [i64; 4],
    at: i64,
) -> String {
    let [debits, credits, debits_held, credits_held] = totals;
    format!(
        "INSERT INTO entries VALUES ('{account}', {seq}, '{}', '{side}', {amount}, {debits}, {credits}, {debits_held}, {credits_held}, {at});",
        id("trf", of)
    )
}

/// What an account is said to hold.
pub fn hold_of(account: &str, seq: i64, totals: [i64; 4], at: i64) -> String {
    let [debits, credits, debits_held, credits_held] = totals;
    format!(
        "UPDATE accounts SET debits_posted = {debits}, credits_posted = {credits}, debits_pending = {debits_held}, credits_pending = {credits_held}, entry_seq = {seq}, moved_at = {at} WHERE id = '{account}';"
    )
}

/// Books with something of everything in them.
pub struct Books {
    pub s: TestServer,
    pub owner: Client,
    pub a: Account,
    pub b: Account,
    pub dollars: Account,
    pub frozen: Account,
    pub closed: Account,
    pub limited: Account,
    pub paid: Transfer,
    pub hold: Transfer,
    pub captured: Transfer,
    pub voided: Transfer,
}

/// A moment after all that happened in them.
pub const LATER: i64 = 4_000_000_000_000_000;

impl Books {
    pub async fn open() -> Self {
        let s = TestServer::start().await;
        let owner = s.signed_in("owner", "owner").await;
        let (a, b) = (open(&owner, "a", "EUR").await, open(&owner, "b", "EUR").await);
        let (dollars, frozen) = (open(&owner, "dollars", "USD").await, open(&owner, "frozen", "EUR").await);
        let (closed, limited) = (
            open(&owner, "closed", "EUR").await,
            account(&owner, "limited", |op| {
                op.max_balance = bursar_shared::money::Limit::new(50);
            })
            .await,
        );
        for (account, amount) in [(&a, 1_000), (&frozen, 100)] {
            fund(&owner, account, amount).await;
        }
        let paid = pay(&owner, &a, &b, 300).await;
        let held = |amount| CreateTransfer { mode: Some(TransferMode::Hold), ..transfer(&a, &b, amount) };
        let hold = owner.call(&held(100)).await.unwrap().0;
        let captured = owner.call(&held(80)).await.unwrap().0;
        owner.call(&CaptureTransfer { id: captured.id, amount: Some(amount(50)) }).await.unwrap();
        let voided = owner.call(&held(70)).await.unwrap().0;
        owner.call(&VoidTransfer { id: voided.id, reason: None }).await.unwrap();
        owner.call(&FreezeAccount { id: frozen.id.into(), reason: None }).await.unwrap();
        let close = CloseAccount {
            id: closed.id.into(),
            sweep_to_account_id: None,
            expected_balance: None,
            reason: None,
        };
        owner.call(&close).await.unwrap();
        Self { s, owner, a, b, dollars, frozen, closed, limited, paid, hold, captured, voided }
    }

    /// Counters and the last entry, as the store has them.
    pub fn of(&self, account: &Account) -> ([i64; 4], i64) {
        let text = rows(
            &self.s,
            &format!(
                "SELECT CAST(debits_posted AS TEXT) || ' ' || CAST(credits_posted AS TEXT) || ' ' || CAST(debits_pending AS TEXT) || ' ' || CAST(credits_pending AS TEXT) || ' ' || CAST(entry_seq AS TEXT) AS value FROM accounts WHERE id = '{}'",
                account.id
            ),
        );
        let numbers: Vec<i64> = text[0].split(' ').map(|number| number.parse().unwrap()).collect();
        ([numbers[0], numbers[1], numbers[2], numbers[3]], numbers[4])
    }

    /// An honest transfer between two accounts, statement by statement.
    pub fn honest(&self, from: &Account, to: &Account, amount: i64) -> BTreeMap<&'static str, String> {
        let ((mut out, from_seq), (mut in_, to_seq)) = (self.of(from), self.of(to));
        out[0] += amount;
        in_[1] += amount;
        let (f, t) = (from.id.to_string(), to.id.to_string());
        let forged = Forged {
            id: '0',
            kind: "transfer",
            status: "posted",
            parent: None,
            from: (f.clone(), from_seq + 1),
            to: (t.clone(), to_seq + 1),
            amount,
            currency: "EUR",
            at: LATER,
        };
        BTreeMap::from([
            ("1 transfer", forged.sql()),
            ("2 debit", entry(&f, from_seq + 1, '0', "debit", amount, out, LATER)),
            ("3 credit", entry(&t, to_seq + 1, '0', "credit", amount, in_, LATER)),
            ("4 from", hold_of(&f, from_seq + 1, out, LATER)),
            ("5 to", hold_of(&t, to_seq + 1, in_, LATER)),
        ])
    }

    /// Runs statements as one transaction.
    pub async fn attempt(&self, statements: impl IntoIterator<Item = String>) -> Result<(), String> {
        let all: Vec<String> = statements.into_iter().collect();
        self.s.sql(&format!("BEGIN; {} COMMIT;", all.join(" "))).await
    }

    /// What is seen of the books: nothing of it may change.
    pub fn seen(&self) -> Vec<String> {
        let mut all = rows(
            &self.s,
            "SELECT id || ' ' || status || ' ' || CAST(debits_posted AS TEXT) || ' ' || CAST(credits_posted AS TEXT) || ' ' || CAST(debits_pending AS TEXT) || ' ' || CAST(credits_pending AS TEXT) || ' ' || CAST(entry_seq AS TEXT) AS value FROM accounts",
        );
        all.extend(rows(&self.s, "SELECT id || ' ' || status || ' ' || CAST(amount AS TEXT) || ' ' || CAST(captured_amount AS TEXT) || ' ' || CAST(reversed_amount AS TEXT) AS value FROM transfers"));
        all.extend(rows(&self.s, "SELECT account_id || ' ' || CAST(seq AS TEXT) || ' ' || CAST(credits_posted - debits_posted AS TEXT) AS value FROM entries"));
        all.sort();
        all
    }

    /// All that `verify` finds is this, of these: what nobody asked the daemon for is in no log.
    pub async fn found(&self, kind: &str, ids: &[String]) {
        let report = self.owner.call(&VerifyLedger {}).await.unwrap();
        let found: Vec<_> = report.problems.iter().map(|one| (one.kind.as_str(), &one.id)).collect();
        assert_eq!(found, ids.iter().map(|id| (kind, id)).collect::<Vec<_>>(), "{report:?}");
    }

    /// An attack that this rule refuses, and that leaves no trace.
    pub async fn refuses(&self, what: &str, attack: impl IntoIterator<Item = String>, rule: &str) {
        let before = self.seen();
        let refused = self.attempt(attack).await;
        let why = refused.expect_err(&format!("it was let through: {what}")).to_lowercase();
        assert!(why.contains(&rule.to_lowercase()), "{what}: {why}");
        assert_eq!(self.seen(), before, "{what}");
    }
}

#[tokio::test]
async fn tables_of_a_session_fool_no_guard() {
    let books = Books::open().await;
    let (main, temp) = if books.s.is_postgres() { ("public", "pg_temp") } else { ("main", "temp") };
    let shadow = |table: &str| format!("CREATE TEMP TABLE {table} AS SELECT * FROM {main}.{table};");
    let (b, (mut held, seq)) = (books.b.id.to_string(), books.of(&books.b));
    held[1] += 5_000;
    let entry = entry(&b, seq + 1, '0', "credit", 5_000, held, LATER);
    let fooled = [
        shadow("entries"),
        entry.replace("INTO entries", &format!("INTO {temp}.entries")),
        hold_of(&b, seq + 1, held, LATER).replace("UPDATE accounts", &format!("UPDATE {main}.accounts")),
    ];
    books.refuses("an entry that only the session has", fooled, "accounts_follow_entries").await;
    let fooled = [
        shadow("log"),
        format!("DELETE FROM {temp}.log; INSERT INTO {temp}.log (seq) VALUES (998), (999);"),
        format!(
            "INSERT INTO {main}.log SELECT 999, 'evt_x', type, at, actor_id, actor_kind, actor_ip, request_id, resource_type, resource_id, resource_version, data, changes, hash FROM {main}.log WHERE seq = 1;"
        ),
    ];
    books.refuses("a log that only the session has", fooled, "log_has_no_gaps").await;
    let fooled = [shadow("accounts"), format!("UPDATE {temp}.accounts SET status = 'active';")]
        .into_iter()
        .chain(books.honest(&books.frozen, &books.a, 10).into_values());
    books.refuses("an account that only the session thaws", fooled, "transfers_spare_frozen_accounts").await;
    let fooled = [shadow("transfers")].into_iter().chain(
        books
            .honest(&books.a, &books.b, 10)
            .into_values()
            .map(|sql| sql.replace("INTO transfers", &format!("INTO {temp}.transfers"))),
    );
    books.refuses("a transfer that only the session has", fooled, "entries_chain").await;
    let hold = books.hold.id;
    let fooled = [
        shadow("transfers"),
        format!(
            "UPDATE {temp}.transfers SET parent_id = '{hold}', kind = 'void' WHERE id = '{}';",
            books.paid.id
        ),
        format!("UPDATE {main}.transfers SET status = 'voided' WHERE id = '{hold}';"),
    ];
    books.refuses("a void that only the session has", fooled, "transfers_follow_children").await;
}

#[tokio::test]
async fn an_honest_transfer_by_hand_is_let_through_and_each_lie_in_it_is_not() {
    let books = Books::open().await;
    let honest = || books.honest(&books.a, &books.b, 10);
    let with = |name: &'static str, from: &str, to: &str| {
        let mut all = honest();
        let changed = all[name].replacen(from, to, 1);
        assert_ne!(changed, all[name], "{name}: {from}");
        all.insert(name, changed);
        all.into_values()
    };
    let without = |names: &[&str]| {
        let mut all = honest();
        all.retain(|name, _| !names.contains(name));
        all.into_values()
    };
    let ((held, seq), (_, to_seq)) = (books.of(&books.a), books.of(&books.b));
    // entries that are not there, not in their place, or not what the transfer does
    books
        .refuses(
            "a transfer without entries",
            without(&["2 debit", "3 credit", "4 from", "5 to"]),
            "foreign key",
        )
        .await;
    books.refuses("a transfer with a debit alone", without(&["3 credit", "5 to"]), "foreign key").await;
    books.refuses("entries without a transfer", without(&["1 transfer"]), "entries_chain").await;
    books
        .refuses("a debit that is too small", with("2 debit", "'debit', 10", "'debit', 1"), "entries_chain")
        .await;
    let (now, then) = (format!("{}, {}", held[0] + 10, held[1]), format!("{}, {}", held[0], held[1]));
    books.refuses("a debit that debits nothing", with("2 debit", &now, &then), "entries_chain").await;
    books
        .refuses("a credit on the debtor's side", with("2 debit", "'debit'", "'credit'"), "entries_chain")
        .await;
    let gap = format!("{}, 'trf", seq + 2);
    books
        .refuses(
            "an entry that leaves a gap",
            with("2 debit", &format!("{}, 'trf", seq + 1), &gap),
            "entries_chain",
        )
        .await;
    books
        .refuses(
            "an entry in a place that is taken",
            with("2 debit", &format!("{}, 'trf", seq + 1), &format!("{seq}, 'trf")),
            "entries",
        )
        .await;
    books
        .refuses(
            "an entry at another time",
            with("2 debit", &LATER.to_string(), &(LATER + 1).to_string()),
            "entries_chain",
        )
        .await;
    books
        .refuses(
            "a transfer of the past",
            honest().into_values().map(|sql| sql.replace(&LATER.to_string(), "1")),
            "entries_chain",
        )
        .await;
    // counters that say something else than the entries
    books
        .refuses(
            "more than the entry says",
            with("5 to", "credits_posted = ", "credits_posted = 1"),
            "accounts_follow_entries",
        )
        .await;
    // one statement for both, true of one and a lie about the other
    let both = |and: i64| {
        let mut all = honest();
        let (from, to) = (all.remove("4 from").unwrap(), all.remove("5 to").unwrap());
        let of = |sql: &str, column: &str| -> i64 {
            let (_, rest) = sql.split_once(&format!("{column} = ")).unwrap();
            rest.split([',', ' ']).next().unwrap().parse().unwrap()
        };
        let set = ["debits_posted", "credits_posted", "debits_pending", "credits_pending", "entry_seq"].map(
            |column| {
                let more = if column == "credits_posted" { and } else { 0 };
                format!(
                    "{column} = CASE id WHEN '{}' THEN {} ELSE {} END",
                    books.a.id,
                    of(&from, column),
                    of(&to, column) + more
                )
            },
        );
        let update = format!(
            "UPDATE accounts SET {}, moved_at = {LATER} WHERE id IN ('{}', '{}');",
            set.join(", "),
            books.a.id,
            books.b.id
        );
        all.into_values().chain([update])
    };
    books
        .refuses("one account of two holds more than its entry says", both(1), "accounts_follow_entries")
        .await;
    books.attempt(both(0).chain(["ROLLBACK; BEGIN;".to_owned()])).await.unwrap();
    books
        .refuses(
            "counters without an entry",
            [hold_of(&books.a.id.to_string(), seq + 1, held, LATER)],
            "accounts_follow_entries",
        )
        .await;
    let mut richer = held;
    richer[1] += 1_000;
    books
        .refuses(
            "money from nowhere",
            [hold_of(&books.a.id.to_string(), seq, richer, LATER)],
            "accounts_follow_entries",
        )
        .await;
    books.refuses("an account that goes back to an older entry", [format!("UPDATE accounts SET entry_seq = 1, debits_posted = 0, credits_posted = 1000, debits_pending = 0, moved_at = (SELECT created_at FROM entries WHERE account_id = '{0}' AND seq = 1) WHERE id = '{0}';", books.a.id)], "accounts_follow_entries").await;
    // what nobody may do at all
    books
        .refuses(
            "a transfer to oneself",
            with(
                "1 transfer",
                &format!("'{}', {}", books.b.id, to_seq + 1),
                &format!("'{}', {}", books.a.id, seq + 2),
            ),
            "transfers_have_two_accounts",
        )
        .await;
    books
        .refuses(
            "a transfer of nothing",
            with("1 transfer", " 10, 'EUR'", " 0, 'EUR'"),
            "transfers_amount_counts",
        )
        .await;
    books
        .refuses(
            "a negative transfer",
            with("1 transfer", " 10, 'EUR'", " -10, 'EUR'"),
            "transfers_amount_counts",
        )
        .await;
    books
        .refuses(
            "a transfer beyond 2^53",
            with("1 transfer", " 10, 'EUR'", " 9007199254740992, 'EUR'"),
            "transfers_amount_counts",
        )
        .await;
    books
        .refuses("a transfer of another currency", with("1 transfer", "'EUR'", "'USD'"), "transfers_from")
        .await;
    books
        .refuses(
            "a transfer that is reversed before it is made",
            with("1 transfer", " 0, 0, ''", " 0, 5, ''"),
            "transfers_begin_fresh",
        )
        .await;
    books
        .refuses("a transfer of an unknown kind", with("1 transfer", "'transfer'", "'gift'"), "transfers_")
        .await;
    books.refuses("a pending transfer", with("1 transfer", "'posted'", "'pending'"), "transfers_").await;
    books
        .refuses(
            "a transfer with a parent",
            with("1 transfer", "'posted', NULL", &format!("'posted', '{}'", books.paid.id)),
            "transfers_parent_fits_kind",
        )
        .await;
    // and with nothing wrong in it
    books.attempt(honest().into_values()).await.unwrap();
    books.found("transfer_unlogged", &[id("trf", '0')]).await;
    let b = books.owner.call(&GetAccount { id: books.b.id.into() }).await.unwrap();
    assert_eq!(b.balances.posted, 360);
}

#[tokio::test]
async fn limits_hold_for_every_entry_also_in_the_middle_of_many() {
    let books = Books::open().await;
    let honest = |from: &Account, to: &Account, amount| books.honest(from, to, amount).into_values();
    let left =
        books.owner.call(&GetAccount { id: books.a.id.into() }).await.unwrap().balances.available.unwrap();
    books.refuses("more than is there", honest(&books.a, &books.b, left + 1), "accounts_funds").await;
    books.refuses("what is held", honest(&books.a, &books.b, left + 100), "accounts_funds").await;
    books
        .refuses("more than may be there", honest(&books.a, &books.limited, 51), "accounts_balance_limit")
        .await;
    books
        .refuses(
            "from a frozen account",
            honest(&books.frozen, &books.b, 1),
            "transfers_spare_frozen_accounts",
        )
        .await;
    books
        .refuses("to a closed account", honest(&books.a, &books.closed, 1), "transfers_spare_closed_accounts")
        .await;
    books.refuses("to another currency", honest(&books.a, &books.dollars, 1), "transfers_to").await;
    // there and back in one transaction: the accounts end where they were, and were below nothing between
    let ((out, from_seq), (in_, to_seq)) = (books.of(&books.b), books.of(&books.limited));
    let (b, limited) = (books.b.id.to_string(), books.limited.id.to_string());
    let there = Forged {
        id: '0',
        kind: "transfer",
        status: "posted",
        parent: None,
        from: (limited.clone(), to_seq + 1),
        to: (b.clone(), from_seq + 1),
        amount: 5,
        currency: "EUR",
        at: LATER,
    };
    let back = Forged {
        id: '1',
        from: (b.clone(), from_seq + 2),
        to: (limited.clone(), to_seq + 2),
        at: LATER + 1,
        ..there.sibling()
    };
    let plus = |mut totals: [i64; 4], debits: i64, credits: i64| {
        totals[0] += debits;
        totals[1] += credits;
        totals
    };
    let all = [
        there.sql(),
        back.sql(),
        entry(&limited, to_seq + 1, '0', "debit", 5, plus(in_, 5, 0), LATER),
        entry(&limited, to_seq + 2, '1', "credit", 5, plus(in_, 5, 5), LATER + 1),
        entry(&b, from_seq + 1, '0', "credit", 5, plus(out, 0, 5), LATER),
        entry(&b, from_seq + 2, '1', "debit", 5, plus(out, 5, 5), LATER + 1),
        hold_of(&limited, to_seq + 2, plus(in_, 5, 5), LATER + 1),
        hold_of(&b, from_seq + 2, plus(out, 5, 5), LATER + 1),
    ];
    books.refuses("a loan for a moment", all, "accounts_funds").await;
    // limits cannot be set to what is passed already, and no account is closed with money or holds
    let set =
        |account: &Account, what: &str| [format!("UPDATE accounts SET {what} WHERE id = '{}';", account.id)];
    books
        .refuses("a maximum below the balance", set(&books.b, "max_balance = 1"), "accounts_balance_limit")
        .await;
    books
        .refuses("a negative overdraft", set(&books.b, "overdraft_limit = -1"), "accounts_overdraft_counts")
        .await;
    books.refuses("closing with money", set(&books.b, "status = 'closed'"), "accounts_closed_is_empty").await;
    books
        .refuses(
            "opening a closed account again",
            set(&books.closed, "status = 'active'"),
            "accounts_closed_is_final",
        )
        .await;
    books
        .refuses("another currency", set(&books.closed, "currency = 'USD'"), "accounts_identity_is_fixed")
        .await;
    books
        .refuses(
            "another owner",
            set(&books.a, "owner_id = (SELECT id FROM users)"),
            "accounts_identity_is_fixed",
        )
        .await;
    books.refuses("another number", set(&books.a, "number = 77"), "accounts_identity_is_fixed").await;
    let world = |what: &str| [format!("UPDATE accounts SET {what} WHERE system_key = 'world';")];
    books.refuses("a limit for the world", world("overdraft_limit = 0"), "accounts_").await;
    books.refuses("a frozen world", world("status = 'frozen'"), "accounts_system_is_unlimited").await;
    let copy = |what: &str| {
        format!(
            "INSERT INTO accounts SELECT '{}', 99, name, name_sort, owner_id, system_key, currency, status, overdraft_limit, max_balance, {what}, external_id, metadata, version, created_at, updated_at FROM accounts WHERE id = '{}';",
            id("acc", '0'),
            books.a.id
        )
    };
    books
        .refuses("an account that begins rich", [copy("0, 500, 0, 0, 0, 0")], "accounts_begin_at_zero")
        .await;
    books
        .refuses("an account that begins with entries", [copy("0, 0, 0, 0, 3, 0")], "accounts_begin_at_zero")
        .await;
    books.attempt([copy("0, 0, 0, 0, 0, 0")]).await.unwrap();
    assert!(books.owner.call(&VerifyLedger {}).await.unwrap().ok);
}

impl Forged {
    fn sibling(&self) -> Self {
        Self { parent: self.parent.clone(), from: self.from.clone(), to: self.to.clone(), ..*self }
    }
}

#[tokio::test]
async fn a_hold_is_resolved_once_and_nothing_is_reversed_twice() {
    let books = Books::open().await;
    let (a, b) = (books.a.id.to_string(), books.b.id.to_string());
    let ((out, from_seq), (in_, to_seq)) = (books.of(&books.a), books.of(&books.b));
    // a resolution with everything that belongs to it, of a hold of so much
    let resolve = |kind: &'static str, parent: &Transfer, amount: i64, held: i64, at: i64| {
        let post = if kind == "capture" { amount } else { 0 };
        let forged = Forged {
            id: '0',
            kind,
            status: "posted",
            parent: Some(parent.id.to_string()),
            from: (a.clone(), from_seq + 1),
            to: (b.clone(), to_seq + 1),
            amount,
            currency: "EUR",
            at,
        };
        let (from, to) =
            ([out[0] + post, out[1], out[2] - held, out[3]], [in_[0], in_[1] + post, in_[2], in_[3] - held]);
        vec![
            forged.sql(),
            entry(&a, from_seq + 1, '0', "debit", amount, from, at),
            entry(&b, to_seq + 1, '0', "credit", amount, to, at),
            hold_of(&a, from_seq + 1, from, at),
            hold_of(&b, to_seq + 1, to, at),
        ]
    };
    let rule = "transfers_resolve_a_hold";
    books
        .refuses(
            "capturing what was captured",
            resolve("capture", &books.captured, 30, 0, LATER),
            "transfers_",
        )
        .await;
    books
        .refuses("capturing what was let go", resolve("capture", &books.voided, 70, 0, LATER), "transfers_")
        .await;
    books
        .refuses("voiding what was captured", resolve("void", &books.captured, 80, 0, LATER), "transfers_")
        .await;
    books
        .refuses("capturing more than was held", resolve("capture", &books.hold, 101, 100, LATER), rule)
        .await;
    books.refuses("voiding less than was held", resolve("void", &books.hold, 99, 100, LATER), rule).await;
    books
        .refuses(
            "letting go of more than was held",
            resolve("void", &books.hold, 100, 101, LATER),
            "entries_chain",
        )
        .await;
    books
        .refuses("letting go of nothing", resolve("void", &books.hold, 100, 0, LATER), "entries_chain")
        .await;
    books.refuses("expiring what never expires", resolve("expiry", &books.hold, 100, 100, LATER), rule).await;
    books.refuses("capturing a transfer", resolve("capture", &books.paid, 10, 0, LATER), rule).await;
    let mut twice = resolve("capture", &books.hold, 60, 100, LATER);
    let second = Forged {
        id: '1',
        kind: "void",
        status: "posted",
        parent: Some(books.hold.id.to_string()),
        from: (a.clone(), from_seq + 2),
        to: (b.clone(), to_seq + 2),
        amount: 100,
        currency: "EUR",
        at: LATER + 1,
    };
    twice.push(second.sql());
    books.refuses("capture and void in one transaction", twice, "parent_id").await;
    // what a hold says follows from what was made of it
    let set = |of: &Transfer, what: &str| [format!("UPDATE transfers SET {what} WHERE id = '{}';", of.id)];
    books
        .refuses(
            "a hold that is let go by itself",
            set(&books.hold, "status = 'voided'"),
            "transfers_follow_children",
        )
        .await;
    books
        .refuses(
            "a hold that is captured by itself",
            set(&books.hold, "status = 'captured', captured_amount = 100"),
            "transfers_follow_children",
        )
        .await;
    books
        .refuses(
            "a capture undone",
            set(&books.captured, "status = 'pending', captured_amount = 0"),
            "transfers_follow_children",
        )
        .await;
    books
        .refuses(
            "more captured than was",
            set(&books.captured, "captured_amount = 80"),
            "transfers_follow_children",
        )
        .await;
    books
        .refuses("reversed by itself", set(&books.paid, "reversed_amount = 300"), "transfers_follow_children")
        .await;
    for what in [
        "amount = 1",
        "currency = 'USD'",
        "created_at = 1",
        "description = 'x'",
        "reason = 'x'",
        "metadata = '[]'",
        "request_id = 'x'",
        "expires_at = 5",
        "from_seq = 99",
    ] {
        books.refuses(what, set(&books.hold, what), "transfers_are_append_only").await;
    }
    // back, in the wrong direction, too much, or of a reversal
    let reversal = |parent: String, amount: i64, letter: char, step: i64| Forged {
        id: letter,
        kind: "reversal",
        status: "posted",
        parent: Some(parent),
        from: (b.clone(), to_seq + step),
        to: (a.clone(), from_seq + step),
        amount,
        currency: "EUR",
        at: LATER + step,
    };
    let back = |parent: String, amounts: &[i64]| {
        let (mut from, mut to, mut all) = (in_, out, Vec::new());
        let letters = ['0', '1', '2'];
        all.extend(
            amounts
                .iter()
                .zip(letters)
                .zip(1..)
                .map(|((amount, letter), step)| reversal(parent.clone(), *amount, letter, step).sql()),
        );
        for ((amount, letter), step) in amounts.iter().zip(letters).zip(1..) {
            from[0] += amount;
            to[1] += amount;
            all.push(entry(&b, to_seq + step, letter, "debit", *amount, from, LATER + step));
            all.push(entry(&a, from_seq + step, letter, "credit", *amount, to, LATER + step));
        }
        let step = amounts.len() as i64;
        all.push(hold_of(&b, to_seq + step, from, LATER + step));
        all.push(hold_of(&a, from_seq + step, to, LATER + step));
        all
    };
    let rule = "transfers_reverse_within_amount";
    books.refuses("reversing more than was paid", back(books.paid.id.to_string(), &[301]), rule).await;
    books.refuses("reversing twice", back(books.paid.id.to_string(), &[300, 1]), rule).await;
    books.refuses("reversing a hold", back(books.hold.id.to_string(), &[10]), rule).await;
    let mut wrong = back(books.paid.id.to_string(), &[10]);
    wrong[0] = Forged {
        from: (a.clone(), from_seq + 1),
        to: (b.clone(), to_seq + 1),
        ..reversal(books.paid.id.to_string(), 10, '0', 1)
    }
    .sql();
    books.refuses("reversing forwards", wrong, rule).await;
    let mut chain = back(books.paid.id.to_string(), &[10]);
    chain.push(reversal(id("trf", '0'), 5, '1', 2).sql());
    books.refuses("reversing a reversal", chain, rule).await;
    let mut honest = back(books.paid.id.to_string(), &[100, 50]);
    honest.push(format!("UPDATE transfers SET reversed_amount = 150 WHERE id = '{}';", books.paid.id));
    books.attempt(honest).await.unwrap();
    books
        .refuses(
            "a reversal taken back",
            set(&books.paid, "reversed_amount = 100"),
            "transfers_follow_children",
        )
        .await;
    books.found("transfer_unlogged", &[id("trf", '0'), id("trf", '1')]).await;
}

#[tokio::test]
async fn the_books_are_kept() {
    let books = Books::open().await;
    let rule = |table: &str| if table == "accounts" { "accounts_are_kept" } else { "_are_append_only" };
    for table in ["accounts", "transfers", "entries"] {
        books.refuses("everything gone", [format!("DELETE FROM {table};")], rule(table)).await;
        if books.s.is_postgres() {
            books
                .refuses("everything gone", [format!("TRUNCATE {table} CASCADE;")], "books_are_not_truncated")
                .await;
        } else {
            let replace = format!("INSERT OR REPLACE INTO {table} SELECT * FROM {table} LIMIT 1;");
            let refused = books.attempt([replace]).await.unwrap_err();
            assert!(!refused.is_empty(), "{table}");
        }
    }
    books
        .refuses("an entry edited", ["UPDATE entries SET amount = 1;".to_owned()], "entries_are_append_only")
        .await;
    books
        .refuses(
            "an entry moved",
            ["UPDATE entries SET seq = seq + 100;".to_owned()],
            "entries_are_append_only",
        )
        .await;
    let person = books.s.person("rich", "customer").await;
    let theirs = account(&books.owner, "theirs", |op| op.owner_id = Some(person.id)).await;
    let gone = format!("UPDATE users SET status = 'deleted' WHERE id = '{}';", person.id);
    books.refuses("a person with an account gone", [gone.clone()], "users_with_accounts_stay").await;
    books
        .owner
        .call(&CloseAccount {
            id: theirs.id.into(),
            sweep_to_account_id: None,
            expected_balance: None,
            reason: None,
        })
        .await
        .unwrap();
    books.attempt([gone]).await.unwrap();
}
