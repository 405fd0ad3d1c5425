//! A bank under load and under fire: clients move money at random while the daemon is killed, breaks or
//! loses its database. Afterwards every key has one effect, every acknowledged transfer is there once, and
//! the sum is what it was, to the cent. And a small model that must agree with the daemon in everything.

use std::{collections::BTreeMap, time::Duration};

use bursar_server::testing::{TestServer, eventually};
use bursar_shared::{
    client::{Client, Error, How},
    decode::Change,
    error::ErrorCode,
    field::{TransferKind, TransferMode},
    id::{AccountId, TransferId},
    money::Limit,
    operations::{
        accounts::{Account, FreezeAccount, GetAccount, UnfreezeAccount},
        transfers::{CaptureTransfer, CreateTransfer, ReverseTransfer, Transfer, VoidTransfer},
    },
};
use futures_util::future::join_all;
use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed, TestRunner},
};

use crate::{
    faults::{Daemon, paused},
    money::{account, amount, fund, now, open, sound, transfer},
    support::{Random, count, get, key, rounds, seed},
};

/// What a client of the bank does.
#[derive(Debug, Clone)]
enum Deed {
    Create(CreateTransfer),
    Capture(CaptureTransfer),
    Void(TransferId),
    Reverse(ReverseTransfer),
}

/// A deed under its key, and what it came to as far as its client was told.
struct Sent {
    deed: Deed,
    key: String,
    told: Option<Result<Transfer, ErrorCode>>,
}

/// Sends a deed; nothing when its outcome stays unknown.
async fn send(client: &Client, deed: &Deed, key: &str) -> (Option<Result<Transfer, ErrorCode>>, bool) {
    let how = How { key: Some(key.to_owned()), ..How::default() };
    let sent = match deed {
        Deed::Create(op) => client.send(op, &how).await,
        Deed::Capture(op) => client.send(op, &how).await,
        Deed::Void(id) => client.send(&VoidTransfer { id: *id, reason: None }, &how).await,
        Deed::Reverse(op) => client.send(op, &how).await,
    };
    match sent {
        Ok(reply) => (Some(Ok(reply.answer.0)), reply.replayed),
        Err(Error::Api { status: 500.., .. } | Error::Unknown { .. } | Error::Unreachable { .. }) => {
            (None, false)
        }
        Err(Error::Api { error, .. }) => (Some(Err(error.code)), false),
        Err(other) => panic!("{other}"),
    }
}

/// Moves money at random until the daemon does not answer any more, or enough is done.
async fn customer(client: Client, accounts: Vec<Account>, mut random: Random, most: usize) -> Vec<Sent> {
    let mut all: Vec<Sent> = Vec::new();
    let mut made: Vec<Transfer> = Vec::new();
    let mut failures = 0;
    while all.len() < most && failures < 3 {
        let (from, to) = (random.below(accounts.len()), random.below(accounts.len() - 1));
        let to = if to >= from { to + 1 } else { to };
        let op = transfer(&accounts[from], &accounts[to], 1 + random.below(150) as i64);
        let old = (!made.is_empty()).then(|| made[random.below(made.len())].clone());
        let deed = match (random.below(10), old) {
            (0..=1, _) => Deed::Create(CreateTransfer { mode: Some(TransferMode::Hold), ..op }),
            (2..=3, Some(old)) if old.kind == TransferKind::Hold => {
                let part = amount(1 + random.below(old.amount as usize) as i64);
                Deed::Capture(CaptureTransfer { id: old.id, amount: Some(part) })
            }
            (4, Some(old)) if old.kind == TransferKind::Hold => Deed::Void(old.id),
            (2..=4, Some(old)) => Deed::Reverse(ReverseTransfer {
                id: old.id,
                amount: Some(amount(1)),
                reason: "random".parse().unwrap(),
            }),
            _ => Deed::Create(op),
        };
        let key = key();
        let (told, _) = send(&client, &deed, &key).await;
        failures = if told.is_none() { failures + 1 } else { 0 };
        made.extend(told.iter().flatten().cloned());
        all.push(Sent { deed, key, told });
    }
    all
}

/// What each transfer does to each account's `posted`.
fn effects(done: &[Transfer]) -> BTreeMap<AccountId, i64> {
    let mut of = BTreeMap::new();
    for one in done {
        if matches!(one.kind, TransferKind::Transfer | TransferKind::Capture | TransferKind::Reversal) {
            *of.entry(one.from_account_id).or_insert(0) -= one.amount;
            *of.entry(one.to_account_id).or_insert(0) += one.amount;
        }
    }
    of
}

/// Every key is asked again: what was told stays, what was not is done now or was done; then the books are
/// compared with what everybody was told.
async fn settles(s: &TestServer, client: &Client, accounts: &[Account], funded: i64, all: Vec<Sent>) {
    let (mut done, mut acknowledged) = (Vec::new(), 0);
    for sent in &all {
        let (told, replayed) = send(client, &sent.deed, &sent.key).await;
        let told = told.unwrap_or_else(|| panic!("no verdict: {:?}", sent.deed));
        match (&sent.told, &told) {
            (Some(Ok(before)), Ok(after)) => {
                assert!(replayed, "it was acknowledged and is done again: {before:?}");
                assert_eq!(before, after);
                acknowledged += 1;
            }
            (Some(Err(before)), Err(after)) => assert_eq!(before, after),
            (None, _) => {}
            (before, after) => panic!("one key, two verdicts: {before:?}, {after:?}"),
        }
        done.extend(told.ok());
    }
    println!("{} deeds, {acknowledged} acknowledged, {} done", all.len(), done.len());
    assert!(acknowledged > 10, "hardly anything was done");
    let mut ids: Vec<TransferId> = done.iter().map(|one| one.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), done.len(), "two keys had one effect");
    assert_eq!(count(s, "transfers"), (done.len() + accounts.len()) as i64);
    let effects = effects(&done);
    let mut sum = 0;
    for account in accounts {
        let held = now(client, account).await.balances;
        assert_eq!(held.posted, funded + effects.get(&account.id).copied().unwrap_or(0), "{}", account.id);
        sum += held.posted;
    }
    assert_eq!(sum, funded * accounts.len() as i64);
    sound(client).await;
}

async fn wallets(client: &Client, number: usize, funded: i64) -> Vec<Account> {
    let mut all = Vec::new();
    for n in 0..number {
        let one = open(client, &format!("wallet {n}"), "EUR").await;
        fund(client, &one, funded).await;
        all.push(one);
    }
    all
}

/// A bank whose daemon is killed in every round, at any moment.
async fn killed(wallets_of: usize) {
    let mut random = Random(seed());
    let (s, token) = paused().await;
    let first = Daemon::start(&s);
    let accounts = wallets(&first.client(&token), wallets_of, 500).await;
    first.kill();
    let mut all = Vec::new();
    for _ in 0..rounds(4, 150) {
        let daemon = Daemon::start(&s);
        let customers: Vec<_> = (0..8)
            .map(|_| {
                let (client, accounts) = (daemon.client(&token), accounts.clone());
                let random = Random(random.next());
                tokio::spawn(customer(client, accounts, random, usize::MAX))
            })
            .collect();
        let moment = Duration::from_millis(80 + random.below(350) as u64);
        // the moment passes while the customers write
        let _ = tokio::time::timeout(moment, std::future::pending::<()>()).await;
        daemon.kill();
        for one in customers {
            all.extend(one.await.unwrap());
        }
    }
    let daemon = Daemon::start(&s);
    settles(&s, &daemon.client(&token), &accounts, 500, all).await;
    daemon.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_bank_loses_no_cent() {
    killed(12).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_bank_with_two_hot_accounts_loses_no_cent() {
    killed(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_breaks_at_the_worst_moments_does_everything_once() {
    let mut random = Random(seed());
    let (s, token) = paused().await;
    let mut daemon = Daemon::start(&s).settled(&token).await;
    let accounts = wallets(&daemon.client(&token), 6, 500).await;
    let mut all = Vec::new();
    // before it is done, while it is done, before it is committed, and after that with the answer lost
    for (place, action) in [
        ("in-money", "15%panic"),
        ("before-commit", "15%panic"),
        ("after-commit", "25%panic"),
        ("before-commit", "sleep(3)"),
    ] {
        daemon.breaks(place, action);
        let customers = join_all((0..8).map(|_| {
            let (client, accounts) = (daemon.client(&token), accounts.clone());
            customer(client, accounts, Random(random.next()), rounds(25, 400) as usize)
        }));
        all.extend(customers.await.into_iter().flatten());
        daemon.breaks(place, "off");
    }
    settles(&s, &daemon.client(&token), &accounts, 500, all).await;
    daemon.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_whose_database_cuts_connections_does_everything_once() {
    let s = TestServer::start().await;
    if !s.is_postgres() {
        println!("SQLite has no connections that somebody could cut: see the daemon that is killed");
        return;
    }
    let mut random = Random(seed());
    let owner = s.signed_in("owner", "owner").await;
    let accounts = wallets(&owner, 6, 500).await;
    let over = std::sync::atomic::AtomicBool::new(false);
    let customers = async {
        let all = join_all((0..8).map(|_| {
            customer(owner.clone(), accounts.clone(), Random(random.next()), rounds(15, 1_500) as usize)
        }))
        .await;
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        all
    };
    let cuts = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(120));
        while !over.load(std::sync::atomic::Ordering::Relaxed) {
            ticks.tick().await;
            s.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()").await.unwrap();
        }
    };
    let (all, ()) = futures_util::join!(customers, cuts);
    eventually("the daemon is ready again", || async {
        get("/readyz").send_unchecked(&s).await.status == 200
    })
    .await;
    settles(&s, &owner, &accounts, 500, all.into_iter().flatten().collect()).await;
}

// ---------- a model

/// A step of the model; accounts and older transfers by their place, modulo how many there are.
#[derive(Debug, Clone)]
enum Step {
    Fund(usize, i64),
    Move(usize, usize, i64),
    Hold(usize, usize, i64),
    Capture(usize, Option<i64>),
    Void(usize),
    Reverse(usize, Option<i64>),
    Freeze(usize),
    Unfreeze(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let (place, minor) = (0..3usize, 1..120i64);
    let part = prop::option::of(1..120i64);
    prop_oneof![
        2 => (place.clone(), minor.clone()).prop_map(|(at, minor)| Step::Fund(at, minor)),
        6 => (place.clone(), place.clone(), minor.clone()).prop_map(|(from, to, minor)| Step::Move(from, to, minor)),
        4 => (place.clone(), place.clone(), minor).prop_map(|(from, to, minor)| Step::Hold(from, to, minor)),
        4 => (0..64usize, part.clone()).prop_map(|(of, part)| Step::Capture(of, part)),
        2 => (0..64usize).prop_map(Step::Void),
        3 => (0..64usize, part).prop_map(|(of, part)| Step::Reverse(of, part)),
        1 => place.clone().prop_map(Step::Freeze),
        1 => place.prop_map(Step::Unfreeze),
    ]
}

#[derive(Debug, Clone, Default)]
struct Purse {
    posted: i64,
    out: i64,
    incoming: i64,
    overdraft: Option<i64>,
    most: Option<i64>,
    frozen: bool,
}

/// A transfer of the model: what is left of it to be reversed, or that it is a hold and pending.
#[derive(Debug, Clone)]
struct Past {
    id: TransferId,
    from: usize,
    to: usize,
    amount: i64,
    /// Left to reverse; nothing for what moved no money.
    left: Option<i64>,
    pending: bool,
}

#[derive(Debug, Default)]
struct Model {
    purses: Vec<Purse>,
    past: Vec<Past>,
}

impl Model {
    /// Moves `post` and changes what is held by `hold`, or says why not. `None` is the world.
    fn shift(&mut self, from: Option<usize>, to: usize, post: i64, hold: i64) -> Result<(), ErrorCode> {
        let goes_out = post > 0 || hold > 0;
        if let Some(from) = from {
            let purse = &self.purses[from];
            if goes_out && purse.frozen {
                return Err(ErrorCode::AccountFrozen);
            }
            if goes_out
                && purse.overdraft.is_some_and(|limit| purse.posted - post - purse.out - hold < -limit)
            {
                return Err(ErrorCode::InsufficientFunds);
            }
        }
        let purse = &self.purses[to];
        if goes_out && purse.most.is_some_and(|most| purse.posted + post + purse.incoming + hold > most) {
            return Err(ErrorCode::BalanceLimit);
        }
        if let Some(from) = from {
            self.purses[from].posted -= post;
            self.purses[from].out += hold;
        }
        self.purses[to].posted += post;
        self.purses[to].incoming += hold;
        Ok(())
    }

    fn run(&mut self, step: &Step) -> Result<Option<Past>, ErrorCode> {
        let blank =
            Past { id: TransferId::from_bits(0), from: 0, to: 0, amount: 0, left: None, pending: false };
        match *step {
            Step::Fund(at, amount) => {
                self.shift(None, at, amount, 0)?;
                // moved back it would go to the world: left out of the model's past
                Ok(None)
            }
            Step::Move(from, to, _) | Step::Hold(from, to, _) if from == to => {
                Err(ErrorCode::ValidationFailed)
            }
            Step::Move(from, to, amount) => {
                self.shift(Some(from), to, amount, 0)?;
                Ok(Some(Past { from, to, amount, left: Some(amount), ..blank }))
            }
            Step::Hold(from, to, amount) => {
                self.shift(Some(from), to, 0, amount)?;
                Ok(Some(Past { from, to, amount, pending: true, ..blank }))
            }
            Step::Capture(of, part) => {
                let past = self.past[of % self.past.len()].clone();
                if !past.pending {
                    return Err(ErrorCode::HoldNotPending);
                }
                let amount = part.unwrap_or(past.amount);
                if amount > past.amount {
                    return Err(ErrorCode::CaptureExceedsHold);
                }
                self.shift(Some(past.from), past.to, amount, -past.amount)?;
                let place = of % self.past.len();
                self.past[place].pending = false;
                Ok(Some(Past { amount, left: Some(amount), pending: false, ..past }))
            }
            Step::Void(of) => {
                let place = of % self.past.len();
                let past = self.past[place].clone();
                if !past.pending {
                    return Err(ErrorCode::HoldNotPending);
                }
                self.shift(Some(past.from), past.to, 0, -past.amount)?;
                self.past[place].pending = false;
                Ok(Some(Past { left: None, pending: false, ..past }))
            }
            Step::Reverse(of, part) => {
                let place = of % self.past.len();
                let past = self.past[place].clone();
                let Some(left) = past.left else { return Err(ErrorCode::NotReversible) };
                let amount = part.unwrap_or(left);
                if amount > left || left == 0 {
                    return Err(ErrorCode::ReversalExceedsTransfer);
                }
                self.shift(Some(past.to), past.from, amount, 0)?;
                self.past[place].left = Some(left - amount);
                Ok(Some(Past { from: past.to, to: past.from, amount, left: None, ..blank }))
            }
            Step::Freeze(at) | Step::Unfreeze(at) => {
                let freeze = matches!(step, Step::Freeze(_));
                if self.purses[at].frozen == freeze {
                    return Err(ErrorCode::IllegalTransition);
                }
                self.purses[at].frozen = freeze;
                Ok(None)
            }
        }
    }
}

/// The same step at the daemon: the transfer that was made, if one was.
async fn really(
    client: &Client,
    accounts: &[Account],
    past: &[Past],
    step: &Step,
) -> Result<Option<Transfer>, ErrorCode> {
    let code = |why: Error| match why {
        Error::Api { error, .. } => error.code,
        other => panic!("{other}"),
    };
    let of = |place: usize| past[place % past.len()].id;
    let made = match *step {
        Step::Fund(at, minor) => {
            let world = "world:EUR".parse().unwrap();
            let op =
                CreateTransfer { from_account_id: world, ..transfer(&accounts[at], &accounts[at], minor) };
            client.call(&op).await.map_err(code)?
        }
        Step::Move(from, to, minor) => {
            client.call(&transfer(&accounts[from], &accounts[to], minor)).await.map_err(code)?
        }
        Step::Hold(from, to, minor) => {
            let op = CreateTransfer {
                mode: Some(TransferMode::Hold),
                ..transfer(&accounts[from], &accounts[to], minor)
            };
            client.call(&op).await.map_err(code)?
        }
        Step::Capture(place, part) => {
            client.call(&CaptureTransfer { id: of(place), amount: part.map(amount) }).await.map_err(code)?
        }
        Step::Void(place) => {
            client.call(&VoidTransfer { id: of(place), reason: None }).await.map_err(code)?
        }
        Step::Reverse(place, part) => {
            let op =
                ReverseTransfer { id: of(place), amount: part.map(amount), reason: "model".parse().unwrap() };
            client.call(&op).await.map_err(code)?
        }
        Step::Freeze(at) => {
            client.call(&FreezeAccount { id: accounts[at].id.into(), reason: None }).await.map_err(code)?;
            return Ok(None);
        }
        Step::Unfreeze(at) => {
            client.call(&UnfreezeAccount { id: accounts[at].id.into(), reason: None }).await.map_err(code)?;
            return Ok(None);
        }
    };
    Ok(Some(made.0))
}

async fn agrees(owner: &Client, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let limits = [(Some(0), None), (Some(50), None), (None, Some(300))];
    let mut model = Model::default();
    let mut accounts = Vec::new();
    for (overdraft, most) in limits {
        let one = account(owner, "model", |op| {
            op.overdraft_limit = Change::Set(overdraft.and_then(Limit::new));
            op.max_balance = most.and_then(Limit::new);
        });
        accounts.push(one.await);
        model.purses.push(Purse { overdraft, most, ..Purse::default() });
    }
    for step in steps {
        let refers = matches!(step, Step::Capture(..) | Step::Void(_) | Step::Reverse(..));
        if refers && model.past.is_empty() {
            continue;
        }
        let real = really(owner, &accounts, &model.past, &step).await;
        let expected = model.run(&step);
        prop_assert_eq!(real.as_ref().err(), expected.as_ref().err(), "{:?}", step);
        if let (Ok(Some(real)), Ok(Some(past))) = (&real, expected) {
            prop_assert_eq!(real.amount, past.amount, "{:?}", step);
            model.past.push(Past { id: real.id, ..past });
        }
        for (account, purse) in accounts.iter().zip(&model.purses) {
            let seen = owner.call(&GetAccount { id: account.id.into() }).await.unwrap().balances;
            let available = purse.overdraft.map(|limit| purse.posted - purse.out + limit);
            prop_assert_eq!(
                (seen.posted, seen.pending_out, seen.pending_in, seen.available),
                (purse.posted, purse.out, purse.incoming, available),
                "{:?}",
                step
            );
        }
    }
    Ok(())
}

#[test]
fn the_daemon_and_a_simple_model_agree_in_everything() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (s, owner) = runtime.block_on(async {
        let s = TestServer::start().await;
        let owner = s.signed_in("owner", "owner").await;
        (s, owner)
    });
    let config = Config {
        cases: rounds(12, 400),
        rng_seed: RngSeed::Fixed(seed()),
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    runner
        .run(&prop::collection::vec(step(), 10..40), |steps| runtime.block_on(agrees(&owner, steps)))
        .unwrap();
    runtime.block_on(sound(&owner));
    drop(s);
}
