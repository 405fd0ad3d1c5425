//! A bank under load and under fire: clients move money at random while daemons are killed, break, or lose
//! their database or their answers. After every round every key has one effect, every acknowledged transfer is
//! there once, the sum is what it was, to the cent, and the books verify.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bursar_server::testing::{TestServer, eventually};
use bursar_shared::{
    client::{Client, Error, How},
    error::ErrorCode,
    field::{TransferKind, TransferMode},
    id::{AccountId, TransferId},
    operations::{
        accounts::Account,
        transfers::{CaptureTransfer, CreateTransfer, ReverseTransfer, Transfer, VoidTransfer},
    },
};
use tokio::task::JoinHandle;

use crate::{
    ballast::{figure, kept_back_on},
    faults::{Daemon, bearer, paused},
    money::{amount, fund, now, open, sound, transfer},
    nemesis::{Disk, Fault, Postgres, Wire},
    support::{Random, access, get, key, rounds, rows, seed},
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

/// The same deed under the same key, at two daemons at the same time: both say the same.
async fn send_twice(
    one: &Client,
    other: &Client,
    deed: &Deed,
    key: &str,
) -> Option<Result<Transfer, ErrorCode>> {
    let ((one, _), (other, _)) = tokio::join!(send(one, deed, key), send(other, deed, key));
    if let (Some(one), Some(other)) = (&one, &other) {
        assert_eq!(one, other, "two daemons, two verdicts");
    }
    one.or(other)
}

/// How long customers go on.
#[derive(Clone)]
struct Shift {
    /// Deeds of one at most.
    most: usize,
    /// Deeds without an answer, one after the other.
    patience: usize,
    over: Arc<AtomicBool>,
}

impl Shift {
    fn of(most: usize, patience: usize) -> Self {
        Self { most, patience, over: Arc::default() }
    }
}

/// Moves money at random, at any of these daemons and sometimes at two at once, until the shift is over.
async fn customer(
    clients: Vec<Client>,
    accounts: Vec<Account>,
    mut random: Random,
    shift: Shift,
) -> Vec<Sent> {
    let mut all: Vec<Sent> = Vec::new();
    let mut made: Vec<Transfer> = Vec::new();
    let mut failures = 0;
    while all.len() < shift.most && failures < shift.patience && !shift.over.load(Ordering::Relaxed) {
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
        let at = random.below(clients.len());
        let told = match clients.get(1 - at.min(1)) {
            Some(other) if clients.len() > 1 && random.below(8) == 0 => {
                send_twice(&clients[at], other, &deed, &key).await
            }
            _ => send(&clients[at], &deed, &key).await.0,
        };
        failures = if told.is_none() { failures + 1 } else { 0 };
        made.extend(told.iter().flatten().cloned());
        all.push(Sent { deed, key, told });
    }
    all
}

/// A bank, and all that was ever done in it.
struct Bank {
    wallets: Vec<Account>,
    funded: i64,
    done: BTreeSet<TransferId>,
    effects: BTreeMap<AccountId, i64>,
    rounds: usize,
    deeds: usize,
    acknowledged: usize,
}

impl Bank {
    async fn open(client: &Client, wallets: usize, funded: i64) -> Self {
        let (effects, done) = (BTreeMap::new(), BTreeSet::new());
        let (rounds, deeds, acknowledged) = (0, 0, 0);
        let mut bank = Self { wallets: Vec::new(), funded, done, effects, rounds, deeds, acknowledged };
        for n in 0..wallets {
            let one = open(client, &format!("wallet {n}"), "EUR").await;
            bank.done.insert(fund(client, &one, funded).await.id);
            bank.wallets.push(one);
        }
        bank
    }

    /// Customers who begin their shift now.
    fn customers(
        &self,
        clients: &[Client],
        random: &mut Random,
        shift: &Shift,
    ) -> Vec<JoinHandle<Vec<Sent>>> {
        let one = |_| {
            let random = Random(random.next());
            tokio::spawn(customer(clients.to_vec(), self.wallets.clone(), random, shift.clone()))
        };
        (0..8).map(one).collect()
    }

    /// Every key of a round is asked again: what was told stays, what was not is done now or was done; then
    /// the books are compared with what everybody was told.
    async fn settles(&mut self, s: &TestServer, client: &Client, round: Vec<JoinHandle<Vec<Sent>>>) {
        self.rounds += 1;
        let mut all = Vec::new();
        for customer in round {
            all.extend(customer.await.unwrap());
        }
        for sent in all {
            let (told, replayed) = send(client, &sent.deed, &sent.key).await;
            let told = told.unwrap_or_else(|| panic!("no verdict: {:?}", sent.deed));
            match (&sent.told, &told) {
                (Some(Ok(before)), Ok(after)) => {
                    assert!(replayed, "it was acknowledged and is done again: {before:?}");
                    assert_eq!(before, after);
                    self.acknowledged += 1;
                }
                (Some(Err(before)), Err(after)) => assert_eq!(before, after),
                (None, _) => {}
                (before, after) => panic!("one key, two verdicts: {before:?}, {after:?}"),
            }
            self.deeds += 1;
            let Ok(done) = told else { continue };
            assert!(self.done.insert(done.id), "two keys had one effect: {done:?}");
            if matches!(done.kind, TransferKind::Transfer | TransferKind::Capture | TransferKind::Reversal) {
                *self.effects.entry(done.from_account_id).or_insert(0) -= done.amount;
                *self.effects.entry(done.to_account_id).or_insert(0) += done.amount;
            }
        }
        let there: BTreeSet<TransferId> =
            rows(s, "SELECT id AS value FROM transfers").iter().map(|id| id.parse().unwrap()).collect();
        assert_eq!(there, self.done, "what is there is what was told, and nothing else");
        let mut sum = 0;
        for wallet in &self.wallets {
            let held = now(client, wallet).await.balances;
            let moved = self.effects.get(&wallet.id).copied().unwrap_or(0);
            assert_eq!(held.posted, self.funded + moved, "{}", wallet.id);
            sum += held.posted;
        }
        assert_eq!(sum, self.funded * self.wallets.len() as i64);
        sound(client).await;
        // what nobody knows of any more would keep the money of the next round back
        for id in rows(s, "SELECT id AS value FROM transfers WHERE status = 'pending'") {
            let void = VoidTransfer { id: id.parse().unwrap(), reason: None };
            self.done.insert(client.call(&void).await.unwrap().0.id);
        }
    }

    /// Ends it: something must have happened.
    fn over(self) {
        let Self { rounds, deeds, acknowledged, done, .. } = self;
        println!("{rounds} rounds, {deeds} deeds, {acknowledged} acknowledged, {} transfers", done.len());
        assert!(acknowledged > 10, "hardly anything was done");
    }
}

/// A moment passes while customers move money.
async fn passes(random: &mut Random, most: usize) {
    let moment = Duration::from_millis(80 + random.below(most) as u64);
    let _ = tokio::time::timeout(moment, std::future::pending::<()>()).await;
}

/// A bank whose daemon is killed in every round, at any moment.
async fn killed(wallets: usize) {
    let mut random = Random(seed());
    let (s, _) = paused().await;
    let mut daemon = Daemon::start(&s);
    let mut bank = Bank::open(&daemon.owner().await, wallets, 500).await;
    for _ in 0..rounds(4, 150) {
        let round = bank.customers(&[daemon.owner().await], &mut random, &Shift::of(usize::MAX, 3));
        passes(&mut random, 350).await;
        daemon.kill();
        daemon = Daemon::start(&s);
        bank.settles(&s, &daemon.owner().await, round).await;
    }
    daemon.kill();
    bank.over();
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
async fn two_daemons_of_one_bank_lose_no_cent_when_one_is_killed() {
    let (s, _) = paused().await;
    if !s.is_postgres() {
        println!("SQLite has one daemon");
        return;
    }
    let mut random = Random(seed());
    let (mut one, mut other) = (Daemon::start(&s), Daemon::start(&s));
    let mut bank = Bank::open(&one.owner().await, 4, 500).await;
    for _ in 0..rounds(4, 150) {
        let clients = [one.owner().await, other.owner().await];
        let shift = Shift::of(usize::MAX, usize::MAX);
        let round = bank.customers(&clients, &mut random, &shift);
        passes(&mut random, 500).await;
        // one dies, and the other goes on beside what it left
        other.kill();
        passes(&mut random, 300).await;
        shift.over.store(true, Ordering::Relaxed);
        bank.settles(&s, &clients[0], round).await;
        // whoever survived is the next to die
        other = std::mem::replace(&mut one, Daemon::start(&s));
    }
    one.kill();
    other.kill();
    bank.over();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_breaks_at_the_worst_moments_does_everything_once() {
    let mut random = Random(seed());
    let (s, token) = paused().await;
    let mut daemon = Daemon::start(&s).settled(&token).await;
    let owner = daemon.owner().await;
    let mut bank = Bank::open(&owner, 6, 500).await;
    // before it is done, while it is done, before it is committed, and after that with the answer lost
    for (place, action) in [
        ("in-money", "15%panic"),
        ("before-commit", "15%panic"),
        ("after-commit", "25%panic"),
        ("before-commit", "sleep(3)"),
    ] {
        daemon.breaks(place, action);
        let shift = Shift::of(rounds(25, 400) as usize, 3);
        let round = bank.customers(&[daemon.client(&token)], &mut random, &shift);
        while round.iter().any(|customer| !customer.is_finished()) {
            tokio::task::yield_now().await;
            passes(&mut random, 1).await;
        }
        daemon.breaks(place, "off");
        bank.settles(&s, &owner, round).await;
    }
    daemon.kill();
    bank.over();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_whose_answers_get_lost_does_everything_once() {
    let mut random = Random(seed());
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let mut bank = Bank::open(&owner, 6, 500).await;
    let wire = Wire::to(&s.url(), 3, Random(random.next())).await;
    for _ in 0..rounds(3, 150) {
        let before = wire.lost();
        // whoever hears nothing asks again under the same key, and in the end is told or goes
        let customer = bearer(&wire.url, &access(&owner).await);
        let round = bank.customers(&[customer], &mut random, &Shift::of(20, usize::MAX));
        bank.settles(&s, &owner, round).await;
        assert!(wire.lost() > before + 10, "hardly any answer was lost");
    }
    println!("{} answers were lost", wire.lost());
    bank.over();
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
    let mut bank = Bank::open(&owner, 6, 500).await;
    for _ in 0..rounds(2, 100) {
        let round = bank.customers(std::slice::from_ref(&owner), &mut random, &Shift::of(15, usize::MAX));
        let mut ticks = tokio::time::interval(Duration::from_millis(120));
        while round.iter().any(|customer| !customer.is_finished()) {
            ticks.tick().await;
            s.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()").await.unwrap();
        }
        is_ready(&s).await;
        bank.settles(&s, &owner, round).await;
    }
    bank.over();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_whose_postgresql_crashes_loses_no_cent() {
    let Some(postgres) = Postgres::start() else {
        println!("SQLite has no server that could crash: see the daemon that is killed");
        return;
    };
    let mut random = Random(seed());
    let s = TestServer::start_on(&postgres.url("postgres", "postgres")).await;
    let owner = s.signed_in("owner", "owner").await;
    let mut bank = Bank::open(&owner, 6, 500).await;
    for _ in 0..rounds(3, 200) {
        let shift = Shift::of(usize::MAX, usize::MAX);
        let round = bank.customers(std::slice::from_ref(&owner), &mut random, &shift);
        passes(&mut random, 400).await;
        postgres.crash();
        postgres.go_on();
        is_ready(&s).await;
        passes(&mut random, 300).await;
        shift.over.store(true, Ordering::Relaxed);
        bank.settles(&s, &owner, round).await;
    }
    bank.over();
}

/// A bank whose disk breaks in every round in one of these ways, and is whole again a moment later.
async fn on_a_disk(faults: &[Fault]) {
    let mut random = Random(seed());
    let (s, _) = paused().await;
    if s.is_postgres() {
        println!("see the server of PostgreSQL on a disk that fills up");
        return;
    }
    let disk = Disk::of("bursar.db");
    let daemon = Daemon::start_in(&s, disk.environment());
    let owner = daemon.owner().await;
    let mut bank = Bank::open(&owner, 6, 500).await;
    for round in 0..rounds(3, 60) as usize {
        let shift = Shift::of(usize::MAX, usize::MAX);
        let customers = bank.customers(std::slice::from_ref(&owner), &mut random, &shift);
        passes(&mut random, 150).await;
        disk.breaks(faults[round % faults.len()]);
        passes(&mut random, 300).await;
        disk.mend();
        passes(&mut random, 300).await;
        shift.over.store(true, Ordering::Relaxed);
        bank.settles(&s, &owner, customers).await;
    }
    daemon.kill();
    bank.over();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_whose_disk_breaks_and_mends_loses_no_cent() {
    on_a_disk(&[Fault::Full, Fault::Sync, Fault::ReadOnly]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_on_a_disk_that_fills_up_and_is_cleared_loses_no_cent() {
    let mut random = Random(seed());
    // in hundreds of rounds the store grows beyond what a small one could ever give back
    let Some((disk, s)) = kept_back_on(rounds(128, 384) as usize).await else { return };
    let owner = s.signed_in("owner", "owner").await;
    let mut bank = Bank::open(&owner, 6, 500).await;
    for _ in 0..rounds(3, 60) {
        let shift = Shift::of(usize::MAX, usize::MAX);
        let customers = bank.customers(std::slice::from_ref(&owner), &mut random, &shift);
        passes(&mut random, 150).await;
        disk.fill(0);
        eventually("it is seen", || async { figure(&s.url(), "bursar_storage_short").await == 1 }).await;
        passes(&mut random, 300).await;
        disk.clear();
        eventually("there is room", || async { figure(&s.url(), "bursar_storage_short").await == 0 }).await;
        passes(&mut random, 300).await;
        shift.over.store(true, Ordering::Relaxed);
        bank.settles(&s, &owner, customers).await;
    }
    bank.over();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_dies_at_any_sync_or_write_loses_no_cent() {
    let mut random = Random(seed());
    let (s, _) = paused().await;
    if s.is_postgres() {
        println!("the daemon writes no file then: see the PostgreSQL that crashes");
        return;
    }
    let disk = Disk::of("bursar.db");
    let first = Daemon::start(&s);
    let mut bank = Bank::open(&first.owner().await, 6, 500).await;
    first.kill();
    for round in 0..rounds(4, 120) {
        let daemon = Daemon::start_in(&s, disk.environment());
        let customer = daemon.owner().await;
        // a commit of a group writes some pages, and syncs once
        disk.breaks(match round % 2 {
            0 => Fault::DiesAtSync(1 + random.below(40)),
            _ => Fault::DiesAtWrite(1 + random.below(1_000)),
        });
        let customers = bank.customers(&[customer], &mut random, &Shift::of(usize::MAX, 3));
        daemon.dies().await;
        disk.mend();
        let daemon = Daemon::start(&s);
        bank.settles(&s, &daemon.owner().await, customers).await;
        daemon.kill();
    }
    bank.over();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_whose_postgresql_has_a_full_disk_loses_no_cent() {
    let disk = Disk::of("/base/");
    let Some(postgres) = Postgres::start_in(&[], disk.environment()) else {
        println!("see the store of SQLite on a disk that breaks");
        return;
    };
    let mut random = Random(seed());
    let s = TestServer::start_on(&postgres.url("postgres", "postgres")).await;
    let owner = s.signed_in("owner", "owner").await;
    let mut bank = Bank::open(&owner, 6, 500).await;
    for _ in 0..rounds(2, 60) {
        let shift = Shift::of(usize::MAX, usize::MAX);
        let customers = bank.customers(std::slice::from_ref(&owner), &mut random, &shift);
        passes(&mut random, 150).await;
        disk.breaks(Fault::Full);
        passes(&mut random, 400).await;
        disk.mend();
        passes(&mut random, 300).await;
        shift.over.store(true, Ordering::Relaxed);
        bank.settles(&s, &owner, customers).await;
    }
    bank.over();
}

async fn is_ready(s: &TestServer) {
    eventually("the daemon is ready again", || async {
        get("/readyz").send_unchecked(s).await.status == 200
    })
    .await;
}
