//! A small model that must agree with the daemon in everything: any steps, one after the other.

use bursar_server::testing::TestServer;
use bursar_shared::{
    client::{Client, Error},
    decode::Change,
    error::ErrorCode,
    field::TransferMode,
    id::TransferId,
    money::Limit,
    operations::{
        accounts::{Account, FreezeAccount, GetAccount, UnfreezeAccount},
        transfers::{CaptureTransfer, CreateTransfer, ReverseTransfer, Transfer, VoidTransfer},
    },
};
use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed, TestRunner},
};

use crate::{
    money::{account, amount, sound, transfer},
    support::{rounds, seed},
};

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
