//! Raw SQL from shells that the daemon knows nothing of: two sessions at once, and SQLite with its guards off.

use bursar_server::Location;
use bursar_shared::operations::ledger::VerifyLedger;
use diesel::{Connection, PgConnection, SqliteConnection, connection::SimpleConnection};

use crate::{
    attack::{Books, Forged, LATER, entry, hold_of, id},
    money::{account, fund, open, pay},
    support::rows,
};

/// Runs SQL in one session.
type Shell = Box<dyn FnMut(&str) -> Result<(), String>>;

/// A session of `psql` or `sqlite3`, as it is opened: on SQLite without foreign keys and recursive triggers.
fn shell(books: &Books) -> Shell {
    match books.s.location() {
        Location::Sqlite(path) => {
            let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
            conn.batch_execute(
                "PRAGMA busy_timeout=5000; PRAGMA foreign_keys=OFF; PRAGMA recursive_triggers=OFF;",
            )
            .unwrap();
            Box::new(move |sql| conn.batch_execute(sql).map_err(|why| why.to_string()))
        }
        Location::Postgres(url) => {
            let mut conn = PgConnection::establish(url).unwrap();
            conn.batch_execute("SET lock_timeout = '300ms'").unwrap();
            Box::new(move |sql| conn.batch_execute(sql).map_err(|why| why.to_string()))
        }
    }
}

/// The first money back from `b` to `a`, statement by statement.
fn reversal(books: &Books, letter: char, amount: i64) -> Vec<String> {
    let ((mut to, to_seq), (mut from, from_seq)) = (books.of(&books.a), books.of(&books.b));
    let (a, b) = (books.a.id.to_string(), books.b.id.to_string());
    let back = Forged {
        id: letter,
        kind: "reversal",
        status: "posted",
        parent: Some(books.paid.id.to_string()),
        from: (b.clone(), from_seq + 1),
        to: (a.clone(), to_seq + 1),
        amount,
        currency: "EUR",
        at: LATER + from_seq,
    };
    from[0] += amount;
    to[1] += amount;
    vec![
        back.sql(),
        entry(&b, from_seq + 1, letter, "debit", amount, from, back.at),
        entry(&a, to_seq + 1, letter, "credit", amount, to, back.at),
        hold_of(&b, from_seq + 1, from, back.at),
        hold_of(&a, to_seq + 1, to, back.at),
        format!(
            "UPDATE transfers SET reversed_amount = reversed_amount + {amount} WHERE id = '{}';",
            books.paid.id
        ),
    ]
}

#[tokio::test]
async fn two_sessions_reverse_a_transfer_once() {
    let books = Books::open().await;
    if !books.s.is_postgres() {
        return;
    }
    let (mut one, mut other) = (shell(&books), shell(&books));
    let whole = reversal(&books, '0', 300);
    one("BEGIN").unwrap();
    one(&whole[0]).unwrap();
    // while it is undecided, nobody else begins another, nor ends one
    let second: Vec<String> = reversal(&books, '1', 300);
    let refused = other(&format!("BEGIN; {}", second.join(" "))).unwrap_err();
    assert!(refused.contains("lock timeout"), "{refused}");
    other("ROLLBACK").unwrap();
    one(&whole[1..].join(" ")).unwrap();
    one("COMMIT").unwrap();
    let second = reversal(&books, '1', 1);
    let refused = other(&format!("BEGIN; {}", second.join(" "))).unwrap_err();
    assert!(refused.contains("transfers_reverse_within_amount"), "{refused}");
    other("ROLLBACK").unwrap();
    books.found("transfer_unlogged", &[id("trf", '0')]).await;
    // the daemon sees it, too
    let again = bursar_shared::operations::transfers::ReverseTransfer {
        id: books.paid.id,
        amount: None,
        reason: "again".parse().unwrap(),
    };
    assert!(books.owner.call(&again).await.is_err());
}

#[tokio::test]
async fn nothing_goes_out_of_an_account_that_another_session_froze() {
    let books = Books::open().await;
    if !books.s.is_postgres() {
        return;
    }
    let (mut one, mut other) = (shell(&books), shell(&books));
    let status = |is: &str| format!("UPDATE accounts SET status = '{is}' WHERE id = '{}'", books.a.id);
    let honest: Vec<String> = books.honest(&books.a, &books.b, 10).into_values().collect();
    // it is frozen first: whoever pays waits, and is refused
    one(&format!("BEGIN; {}", status("frozen"))).unwrap();
    let refused = other(&format!("BEGIN; {}", honest.join(" "))).unwrap_err();
    assert!(refused.contains("lock timeout"), "{refused}");
    other("ROLLBACK").unwrap();
    one("COMMIT").unwrap();
    let refused = other(&format!("BEGIN; {}", honest.join(" "))).unwrap_err();
    assert!(refused.contains("transfers_spare_frozen_accounts"), "{refused}");
    other("ROLLBACK").unwrap();
    one(&status("active")).unwrap();
    // it pays first: whoever freezes waits for that
    other(&format!("BEGIN; {}", honest[0])).unwrap();
    let refused = one(&status("frozen")).unwrap_err();
    assert!(refused.contains("lock timeout"), "{refused}");
    other(&format!("{} COMMIT;", honest[1..].join(" "))).unwrap();
    one(&status("frozen")).unwrap();
    books.found("transfer_unlogged", &[id("trf", '0')]).await;
}

#[tokio::test]
async fn sessions_that_meet_head_on_wait_and_do_not_deadlock() {
    let books = Books::open().await;
    if !books.s.is_postgres() {
        return;
    }
    let there: Vec<String> = books.honest(&books.a, &books.b, 10).into_values().collect();
    let mut one = shell(&books);
    one("SET lock_timeout = 0; BEGIN").unwrap();
    one(&there[0]).unwrap();
    let paying = {
        let (owner, a, b) = (books.owner.clone(), books.a.clone(), books.b.clone());
        // the other way round, by the daemon
        tokio::spawn(async move { owner.call(&crate::money::transfer(&b, &a, 5)).await })
    };
    bursar_server::testing::eventually("the daemon waits", || async {
        rows(&books.s, "SELECT CAST(COUNT(*) AS TEXT) AS value FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()")[0] != "0"
    })
    .await;
    one(&format!("{} COMMIT;", there[1..].join(" "))).unwrap();
    // it waited, and was not torn down; the entry of the far future is another matter
    let answered = crate::support::refusal(paying.await.unwrap());
    assert!(answered.message.contains("ahead of this machine's clock"), "{answered:?}");
    books.found("transfer_unlogged", &[id("trf", '0')]).await;
}

/// The statement of a handbook.
fn handbook() -> String {
    let text = include_str!("../../../docs/operations.md");
    let (_, rest) = text.split_once("```sql\n").unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

#[tokio::test]
async fn an_entry_that_its_account_does_not_know_is_named_and_repaired_by_the_handbook() {
    let books = Books::open().await;
    let now = books.s.clock.now().micros().to_string();
    let mut half = books.honest(&books.a, &books.b, 10);
    half.remove("5 to");
    books.attempt(half.into_values().map(|sql| sql.replace(&LATER.to_string(), &now))).await.unwrap();
    let report = books.owner.call(&VerifyLedger {}).await.unwrap();
    let beyond: Vec<_> = report.problems.iter().filter(|one| one.kind == "entry_beyond_account").collect();
    assert!(beyond.len() == 1 && beyond[0].id.starts_with(&books.b.id.to_string()), "{report:?}");
    assert!(books.owner.call(&crate::money::transfer(&books.a, &books.b, 1)).await.is_err());
    // what is wrong with its counters keeps nobody from freezing it
    let status = |to: &str| format!("UPDATE accounts SET status = '{to}' WHERE id = '{}'", books.b.id);
    books.attempt([status("frozen") + ";", status("active") + ";"]).await.unwrap();
    books.attempt([handbook()]).await.unwrap();
    pay(&books.owner, &books.a, &books.b, 1).await;
    books.found("transfer_unlogged", &[id("trf", '0')]).await;
}

#[tokio::test]
async fn an_entry_belongs_to_one_transfer() {
    let books = Books::open().await;
    let (a, b) = (books.a.id.to_string(), books.b.id.to_string());
    let (mut from, from_seq) = books.of(&books.b);
    from[0] += 10;
    // money of `b` goes where an entry of `a` is already: the debit of a payment
    let place = rows(
        &books.s,
        &format!("SELECT CAST(from_seq AS TEXT) AS value FROM transfers WHERE id = '{}'", books.paid.id),
    );
    let theft = |to: (String, i64)| Forged {
        id: '0',
        kind: "transfer",
        status: "posted",
        parent: None,
        from: (b.clone(), from_seq + 1),
        to,
        amount: 10,
        currency: "EUR",
        at: LATER,
    };
    let lost = |forged: &Forged| {
        vec![
            forged.sql(),
            entry(&b, from_seq + 1, '0', "debit", 10, from, LATER),
            hold_of(&b, from_seq + 1, from, LATER),
        ]
    };
    let rule = "transfers_share_no_entry";
    books
        .refuses(
            "a credit that is another's debit",
            lost(&theft((a.clone(), place[0].parse().unwrap()))),
            rule,
        )
        .await;
    // the same within one transaction
    let honest: Vec<String> = books.honest(&books.a, &books.limited, 10).into_values().collect();
    let (_, a_seq) = books.of(&books.a);
    let mut second = theft((a.clone(), a_seq + 1));
    second.id = '1';
    second.at = LATER + 1;
    let mut all = vec![honest[0].clone(), second.sql()];
    all.extend(honest[1..].iter().cloned());
    books.refuses("two transfers of one entry", all, rule).await;
}

#[tokio::test]
async fn an_id_that_nobody_could_read_is_not_written() {
    let books = Books::open().await;
    for letter in ['o', 'i', 'l', 'u', 'A', '-', '8', 'z'] {
        let honest = books.honest(&books.a, &books.b, 10);
        let bad = honest.into_values().map(|sql| sql.replace(&id("trf", '0'), &id("trf", letter)));
        books.refuses(&format!("a transfer of {letter}"), bad, "transfers_id_is_typed").await;
        let copy = format!(
            "INSERT INTO accounts SELECT '{}', 99, name, name_sort, owner_id, system_key, currency, status, overdraft_limit, max_balance, 0, 0, 0, 0, 0, 0, external_id, metadata, version, created_at, updated_at FROM accounts WHERE id = '{}';",
            id("acc", letter),
            books.a.id
        );
        books.refuses(&format!("an account of {letter}"), [copy], "accounts_id_is_typed").await;
    }
}

/// The columns of a table, one of them replaced by something else.
fn but(books: &Books, table: &str, changes: &[(&str, &str)]) -> String {
    let columns = rows(&books.s, &format!("SELECT name AS value FROM pragma_table_info('{table}')"));
    let values: Vec<String> = columns
        .iter()
        .map(|column| {
            let change = changes.iter().find(|(name, _)| name == column);
            change.map_or_else(|| column.clone(), |(_, value)| (*value).to_owned())
        })
        .collect();
    values.join(", ")
}

#[tokio::test]
async fn a_plain_sqlite_shell_replaces_nothing() {
    let books = Books::open().await;
    if books.s.is_postgres() {
        return;
    }
    let named = |name: &'static str| {
        account(&books.owner, name, move |op| op.external_id = Some(name.parse().unwrap()))
    };
    let (x, y) = (named("x").await, named("y").await);
    fund(&books.owner, &x, 100).await;
    fund(&books.owner, &y, 100).await;
    let mut sh = shell(&books);
    let zero = [
        ("debits_posted", "0"),
        ("credits_posted", "0"),
        ("debits_pending", "0"),
        ("credits_pending", "0"),
        ("entry_seq", "0"),
        ("moved_at", "0"),
    ];
    let new_acc = format!("'{}'", id("acc", '0'));
    let account = |changes: &[(&str, &str)], of: &str| {
        let all: Vec<(&str, &str)> = zero.iter().chain(changes).copied().collect();
        format!(
            "INSERT OR REPLACE INTO accounts SELECT {} FROM accounts WHERE {of}",
            but(&books, "accounts", &all)
        )
    };
    let x_is = format!("id = '{}'", x.id);
    let (fresh_id, fresh_number, fresh_name) =
        (("id", new_acc.as_str()), ("number", "9999"), ("external_id", "'z'"));
    let columns = rows(&books.s, "SELECT name AS value FROM pragma_table_info('accounts')").join(", ");
    let mut attacks = vec![
        (account(&[fresh_number, fresh_name], &x_is), "accounts_id"),
        (account(&[fresh_id, fresh_name], &x_is), "accounts_number"),
        (account(&[fresh_id, fresh_number], &x_is), "accounts_external_id"),
        (account(&[fresh_id, fresh_number], "system_key = 'world'"), "accounts_system_key"),
        (
            format!(
                "INSERT OR REPLACE INTO accounts (rowid, {columns}) SELECT rowid, {} FROM accounts WHERE {x_is}",
                but(
                    &books,
                    "accounts",
                    &zero.iter().copied().chain([fresh_id, fresh_number, fresh_name]).collect::<Vec<_>>()
                )
            ),
            "accounts_id",
        ),
        (format!("UPDATE OR REPLACE accounts SET external_id = 'y' WHERE {x_is}"), "accounts_external_id"),
        (
            format!("UPDATE OR REPLACE accounts SET number = {} WHERE {x_is}", y.number),
            "accounts_identity_is_fixed",
        ),
        (
            format!(
                "UPDATE OR REPLACE accounts SET rowid = (SELECT rowid FROM accounts WHERE id = '{}') WHERE {x_is}",
                y.id
            ),
            "accounts_identity_is_fixed",
        ),
    ];
    let new_trf = format!("'{}'", id("trf", '0'));
    let transfer = |changes: &[(&str, &str)], of: &str| {
        let fresh = [("captured_amount", "0"), ("reversed_amount", "0")];
        let all: Vec<(&str, &str)> = fresh.iter().chain(changes).copied().collect();
        format!(
            "INSERT OR REPLACE INTO transfers SELECT {} FROM transfers WHERE {of}",
            but(&books, "transfers", &all)
        )
    };
    let paid = format!("id = '{}'", books.paid.id);
    let fresh = ("id", new_trf.as_str());
    let resolved = format!("parent_id = '{}'", books.voided.id);
    let columns = rows(&books.s, "SELECT name AS value FROM pragma_table_info('transfers')").join(", ");
    attacks.extend([
        (transfer(&[("amount", "1")], &paid), "transfers_id"),
        (transfer(&[fresh, ("to_seq", "77")], &paid), "transfers_share_no_entry"),
        (transfer(&[fresh, ("from_seq", "77")], &paid), "transfers_share_no_entry"),
        (transfer(&[fresh, ("from_seq", "77"), ("to_seq", "77")], &resolved), "transfers_parent_id"),
        (
            format!(
                "INSERT OR REPLACE INTO transfers (rowid, {columns}) SELECT rowid, {} FROM transfers WHERE {paid}",
                but(&books, "transfers", &[fresh, ("from_seq", "77"), ("to_seq", "77")])
            ),
            "transfers_id",
        ),
        (
            format!("UPDATE OR REPLACE transfers SET rowid = (SELECT MIN(rowid) FROM transfers) WHERE {paid}"),
            "transfers_are_append_only",
        ),
        (format!("UPDATE OR REPLACE transfers SET external_id = 'x' WHERE {paid}"), "transfers_are_append_only"),
        ("INSERT OR REPLACE INTO entries SELECT * FROM entries WHERE side = 'credit'".to_owned(), "entries_chain"),
        ("UPDATE OR REPLACE entries SET seq = seq + 1".to_owned(), "entries_are_append_only"),
        ("UPDATE OR REPLACE users SET external_id = 'x', email = email || 'x'; UPDATE OR REPLACE users SET rowid = 1".to_owned(), "users_"),
        ("INSERT OR REPLACE INTO users SELECT * FROM users".to_owned(), "users_id"),
        ("INSERT OR REPLACE INTO log_head VALUES (1, 0, '')".to_owned(), "log_is_append_only"),
        (
            "INSERT OR REPLACE INTO log SELECT 1 + (SELECT MAX(seq) FROM log), id, type, at, actor_id, actor_kind, actor_ip, request_id, resource_type, resource_id, resource_version, data, changes, hash FROM log WHERE seq = 1".to_owned(),
            "log_has_no_gaps",
        ),
    ]);
    books.s.person("another", "customer").await;
    let people = rows(&books.s, "SELECT id || email AS value FROM users");
    for (attack, rule) in attacks {
        let before = books.seen();
        let refused = sh(&format!("BEGIN; {attack}; COMMIT;")).expect_err(&attack);
        assert!(refused.contains(rule), "{attack}: {refused}");
        sh("ROLLBACK").unwrap();
        assert_eq!(books.seen(), before, "{attack}");
    }
    assert_eq!(rows(&books.s, "SELECT id || email AS value FROM users"), people);
    let c = open(&books.owner, "c", "EUR").await;
    pay(&books.owner, &x, &c, 5).await;
    assert!(books.owner.call(&VerifyLedger {}).await.unwrap().ok);
}
