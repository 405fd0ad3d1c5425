//! What scripts/bench measures the daemon against.
//!
//! `neighbours hello` serves a bare axum hello; `argon2 SECONDS` hashes on every core; `writes FILE
//! SECONDS` makes people by Diesel, one transaction each; `bank URL EMAIL PASSWORD NUMBER` opens accounts
//! for transfers and says their ids; `sync FILE` says what a sync costs.

use std::{
    env,
    error::Error,
    io::Write,
    time::{Duration, Instant},
};

use argon2::{Algorithm, Argon2, Params, Version};
use bursar_shared::{
    client::{Client, Options, session::Store},
    decode::Change,
    field::BulkMode,
    id::{EventId, UserId},
    operations::{accounts::CreateAccount, transfers::BatchTransfers},
};
use diesel::{
    Connection, RunQueryDsl, SqliteConnection,
    connection::SimpleConnection,
    sql_query,
    sql_types::{BigInt, Text},
};
use serde_json::json;

type Done = Result<(), Box<dyn Error + Send + Sync>>;

fn main() -> Done {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["hello"] => hello(),
        ["argon2", seconds] => hashes(Duration::from_secs_f64(seconds.parse()?)),
        ["writes", file, seconds] => writes(file, Duration::from_secs_f64(seconds.parse()?)),
        ["bank", url, email, password, number] => bank(url, email, password, number.parse()?),
        ["sync", file] => sync(file),
        _ => Err("neighbours hello | argon2 SECONDS | writes FILE SECONDS | bank URL EMAIL PASSWORD NUMBER \
                  | sync FILE"
            .into()),
    }
}

fn say(text: &str) -> Done {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

fn runtime() -> Result<tokio::runtime::Runtime, std::io::Error> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

fn hello() -> Done {
    runtime()?.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        say(&format!("listening on http://{}", listener.local_addr()?))?;
        let app = axum::Router::new().route("/", axum::routing::get(|| async { "hello" }));
        Ok(axum::serve(listener, app).await?)
    })
}

/// Hashes a second, with the daemon's parameters, one thread a core and memory used again.
fn hashes(time: Duration) -> Done {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let begun = Instant::now();
    let each = |_| {
        std::thread::spawn(move || {
            let params = Params::new(19 * 1024, 2, 1, Some(32)).unwrap_or_default();
            let mut memory = vec![argon2::Block::default(); params.block_count()];
            let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
            let (mut out, mut count) = ([0; 32], 0_u32);
            while begun.elapsed() < time {
                let done = hasher.hash_password_into_with_memory(
                    b"some password",
                    b"sixteen of salt.",
                    &mut out,
                    &mut memory,
                );
                count += u32::from(done.is_ok());
            }
            count
        })
    };
    let threads: Vec<_> = (0..cores).map(each).collect();
    let count: u32 = threads.into_iter().filter_map(|thread| thread.join().ok()).sum();
    say(&format!("{:.1}", f64::from(count) / begun.elapsed().as_secs_f64()))
}

#[derive(diesel::QueryableByName)]
struct Seq {
    #[diesel(sql_type = BigInt)]
    seq: i64,
}

/// Writes a second: the rows that creating a person leaves, with nothing but Diesel around them.
fn writes(file: &str, time: Duration) -> Done {
    let mut conn = SqliteConnection::establish(file)?;
    conn.batch_execute(
        "PRAGMA busy_timeout=5000; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
         PRAGMA foreign_keys=ON; PRAGMA recursive_triggers=ON; PRAGMA wal_autocheckpoint=4000;",
    )?;
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < time {
        let id = UserId::new().to_string();
        #[expect(clippy::disallowed_methods, reason = "this is what the daemon is compared with")]
        conn.immediate_transaction(|conn| write_one(conn, &id))?;
        count += 1;
    }
    say(&format!("{:.1}", f64::from(count) / begun.elapsed().as_secs_f64()))
}

fn write_one(conn: &mut SqliteConnection, id: &str) -> diesel::QueryResult<()> {
    sql_query(
        "INSERT INTO users (id, email, name, name_sort, status, kind, metadata, version, created_at, updated_at)
         VALUES (?1, lower(?1) || '@example.com', ?1, lower(?1), 'active', 'human', '{}', 1, 1, 1)",
    )
    .bind::<Text, _>(id)
    .execute(conn)?;
    for term in ["some", "body", id] {
        sql_query("INSERT INTO user_terms (term, user_id) VALUES (?1, ?2)")
            .bind::<Text, _>(term)
            .bind::<Text, _>(id)
            .execute(conn)?;
    }
    let head: Seq =
        sql_query("UPDATE log_head SET seq = seq + 1 WHERE id = 1 RETURNING seq").get_result(conn)?;
    sql_query(
        "INSERT INTO log (seq, id, type, at, actor_kind, request_id, resource_type, resource_id,
         resource_version, data, changes, hash)
         VALUES (?1, ?2, 'user.created', 1, 'system', 'req_bench', 'user', ?3, 1, '{}', '{}', ?3)",
    )
    .bind::<BigInt, _>(head.seq)
    .bind::<Text, _>(EventId::new().to_string())
    .bind::<Text, _>(id)
    .execute(conn)?;
    sql_query("UPDATE log_head SET hash = ?1 WHERE id = 1").bind::<Text, _>(id).execute(conn)?;
    Ok(())
}

/// Accounts with money in them, their ids a line each: the rules of funds are asked in every transfer.
fn bank(url: &str, email: &str, password: &str, number: usize) -> Done {
    use futures_util::{StreamExt, TryStreamExt, stream};
    runtime()?.block_on(async {
        let client = Client::new(url, Options::default())?.with_session(Store::memory());
        client.sign_in(email.parse()?, password.parse()?).await?;
        let name = |n: usize| format!("bench {n}").parse();
        let open = |n| {
            let client = client.clone();
            async move {
                let op = CreateAccount {
                    name: name(n)?,
                    currency: "EUR".parse()?,
                    owner_id: None,
                    overdraft_limit: Change::Keep,
                    max_balance: None,
                    external_id: None,
                    metadata: None,
                };
                Ok::<_, Box<dyn Error + Send + Sync>>(client.call(&op).await?.0.id.to_string())
            }
        };
        let ids: Vec<String> = stream::iter(0..number).map(open).buffered(32).try_collect().await?;
        // one has most of it: everything may come from there
        for (some, amount) in ids[1..].chunks(1_000).map(|some| (some, 1_000_000_i64)).chain([(&ids[..1], 1 << 50)]) {
            let item = |id: &String| json!({ "fromAccountId": "world:EUR", "toAccountId": id, "amount": amount, "currency": "EUR" });
            let items = some.iter().map(item).collect();
            client.call(&BatchTransfers { mode: BulkMode::Atomic, items }).await?;
        }
        ids.iter().try_for_each(|id| say(id))
    })
}

/// Milliseconds that a sync costs of as many pages as a transfer alone writes; the median of many.
fn sync(file: &str) -> Done {
    let mut to = std::fs::File::create(file)?;
    let pages = vec![7; 22 * 4096];
    let mut costs = Vec::new();
    for _ in 0..200 {
        to.write_all(&pages)?;
        let begun = Instant::now();
        to.sync_all()?;
        costs.push(begun.elapsed());
    }
    std::fs::remove_file(file)?;
    costs.sort();
    say(&format!("{:.3}", costs[100].as_secs_f64() * 1_000.0))
}
