//! What happens to the accounts of a change while it is under review: what would happen is asked anew.
//!
//! A change that names its amount stays what it is; what both accounts hold beside it is read again every
//! now and then. One that moves whatever is there cannot be agreed to before it was asked anew.

use std::{collections::BTreeMap, time::Duration};

use bursar_shared::{
    id::AccountId,
    operations::{accounts::Account, log::Event},
};
use serde_json::Value;

use super::{Focus, Review, Stage};
use crate::{
    change::{Change, Deed, Effect, Moved},
    message::{Alarm, Request, Slot, Task},
    model::Model,
    widgets::overlay::Overlay,
};

/// How often what both accounts hold is read again beside an amount that stays: seldom enough to agree in
/// between where money moves all the time.
const BESIDE: Duration = Duration::from_secs(2);
/// The same where the amount itself is what an account holds.
const AMOUNT: Duration = Duration::from_millis(500);

/// The last entry and the version of accounts.
type Seen = BTreeMap<AccountId, (i64, i64)>;

/// What happened to the accounts since it was asked what would happen.
#[derive(Debug, Default)]
pub(super) struct Meanwhile {
    /// When it was asked last.
    asked: Duration,
    /// It is asked again soon.
    due: bool,
    /// What stands there is older than what was heard.
    pub stale: bool,
    /// What was heard while the answer was under way.
    heard: Seen,
}

impl Meanwhile {
    /// It is asked now.
    pub(super) fn asked(tick: Duration) -> Self {
        Self { asked: tick, ..Self::default() }
    }
}

/// Where these events leave the accounts.
fn seen(events: &[Event]) -> Seen {
    let mut seen = Seen::new();
    let mut put = |id: Option<&str>, entry: i64, version: i64| {
        let Some(id) = id.and_then(|id| id.parse().ok()) else { return };
        let held = seen.entry(id).or_insert((0, 0));
        *held = (held.0.max(entry), held.1.max(version));
    };
    for event in events {
        for after in event.data.get("accounts").and_then(Value::as_array).into_iter().flatten() {
            put(after["id"].as_str(), after["entrySeq"].as_i64().unwrap_or(0), 0);
        }
        if event.resource.kind == "account" {
            put(event.resource.id.as_deref(), 0, event.resource.version.unwrap_or(i64::MAX));
        }
    }
    seen
}

/// Whether both say the same about the accounts.
fn same(one: &Moved, other: &Moved) -> bool {
    let before = |moved: &Moved| {
        moved.before.iter().map(|account| (account.id, account.balances, account.status)).collect::<Vec<_>>()
    };
    let after = |moved: &Moved| {
        let accounts = moved.transfer.accounts.iter().flatten();
        accounts.map(|account| (account.id, account.balances)).collect::<Vec<_>>()
    };
    before(one) == before(other) && after(one) == after(other)
}

impl Review {
    /// Whether it moves what an account holds, however much that is.
    pub(super) fn moves_what_is_there(&self) -> bool {
        matches!(&self.change, Change::Money(deed) if matches!(**deed, Deed::Close(..)))
    }

    /// The accounts that it was judged by.
    fn judged_by(&self) -> Vec<&Account> {
        match (&self.stage, &self.change) {
            // what has no limit always has enough, and moves all the time
            (Stage::Ready(Effect::Moved(moved)), _) => {
                moved.before.iter().filter(|account| account.balances.available.is_some()).collect()
            }
            (Stage::Ready(_), Change::Money(deed)) => match &**deed {
                Deed::Close(account, ..) => vec![account],
                _ => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    /// Whether more is heard of its accounts than it was judged by.
    fn outdated_by(&self, seen: &Seen) -> bool {
        self.judged_by().into_iter().any(|account| {
            seen.get(&account.id)
                .is_some_and(|(entry, version)| *entry > account.entry_seq || *version > account.version)
        })
    }

    /// What stands there is old: it is asked again, now or soon.
    fn outdated(model: &mut Model) -> Vec<Task> {
        let tick = model.tick;
        let Some(Overlay::Review(review)) = &mut model.overlay else { return Vec::new() };
        model.dirty = true;
        review.meanwhile.stale = true;
        let amount = review.moves_what_is_there();
        if amount && review.focus == Focus::Go {
            // the amount may be another one
            review.focus = if review.asks_for().is_some() { Focus::Amount } else { Focus::Cancel };
        }
        if std::mem::replace(&mut review.meanwhile.due, true) {
            return Vec::new();
        }
        let pause = if amount { AMOUNT } else { BESIDE };
        match pause.checked_sub(tick.saturating_sub(review.meanwhile.asked)) {
            Some(wait) if !wait.is_zero() => vec![Task::Wake(wait, Alarm::Again)],
            _ => Self::ask_again(model),
        }
    }

    /// Whether the daemon is there. While it is not, nothing is agreed to; what can be agreed to afterwards is
    /// new, whatever the key was on before.
    pub(super) fn see_link(model: &mut Model) {
        let (tick, offline) = (model.tick, model.is_offline());
        let Some(Overlay::Review(review)) = &mut model.overlay else { return };
        if std::mem::replace(&mut review.offline, offline) == offline {
            return;
        }
        review.shown = tick;
        if review.focus == Focus::Go {
            review.focus = Focus::Cancel;
        }
    }

    /// The daemon is there again: what it said before it was gone may not be so any more.
    pub(crate) fn back(model: &mut Model) -> Vec<Task> {
        match &model.overlay {
            Some(Overlay::Review(review)) if matches!(review.stage, Stage::Ready(_)) => Self::outdated(model),
            _ => Vec::new(),
        }
    }

    /// The pause is over: what would happen is asked anew. What stands there stays until that is known.
    pub fn ask_again(model: &mut Model) -> Vec<Task> {
        let (tick, offline) = (model.tick, model.is_offline());
        let Some(Overlay::Review(review)) = &mut model.overlay else { return Vec::new() };
        if !review.meanwhile.due || !matches!(review.stage, Stage::Ready(_)) {
            return Vec::new();
        }
        if offline {
            return vec![Task::Wake(BESIDE, Alarm::Again)];
        }
        review.meanwhile = Meanwhile { stale: true, ..Meanwhile::asked(tick) };
        let request = Request::Rehearse(review.change.clone(), review.version);
        vec![Task::Ask(model.tickets.issue(Slot::Change), request)]
    }

    /// What would happen is known.
    pub fn rehearsed(model: &mut Model, effect: Effect) -> Vec<Task> {
        let tick = model.tick;
        // the accounts were read for it, so they have names
        match &effect {
            Effect::Moved(moved) => moved.before.iter().for_each(|account| model.money.learn(account)),
            Effect::Closing(before, _) => model.money.learn(before),
            _ => {}
        }
        let Some(Overlay::Review(review)) = &mut model.overlay else { return Vec::new() };
        let again = matches!(review.stage, Stage::Ready(_));
        let mut other = match (&review.stage, &effect) {
            (Stage::Ready(Effect::Moved(before)), Effect::Moved(now)) => !same(before, now),
            _ => !again,
        };
        if let (Change::Money(deed), Effect::Closing(before, _)) = (&mut review.change, &effect) {
            let moved = deed.account().is_some_and(|account| account.balances != before.balances);
            **deed = deed.as_ref().clone().onto(*before.clone());
            other |= moved;
            if again && moved {
                review.agreed = 0;
            }
        }
        if again && other {
            review.note = Some(
                "something happened to these accounts meanwhile: this is how it would be now".to_owned(),
            );
        }
        review.stage = Stage::Ready(effect);
        if other {
            // what is new can be read before the button works
            review.shown = tick;
        }
        if !again {
            review.agreed = 0;
        }
        review.read.get_or_insert(tick);
        review.meanwhile.stale = false;
        let heard = std::mem::take(&mut review.meanwhile.heard);
        if review.outdated_by(&heard) {
            return Self::outdated(model);
        }
        Vec::new()
    }
}

/// Something happened: to an account that is shown with what it holds, so that it is asked anew.
pub(crate) fn watch(model: &mut Model, events: &[Event]) -> Vec<Task> {
    let asking = model.tickets.waits_for(Slot::Change);
    let Some(Overlay::Review(review)) = &mut model.overlay else { return Vec::new() };
    if !matches!((&review.stage, &review.change), (Stage::Asking | Stage::Ready(_), Change::Money(_))) {
        return Vec::new();
    }
    let seen = seen(events);
    if asking {
        // whether the answer under way knows of it is seen when it is here
        for (id, (entry, version)) in seen {
            let held = review.meanwhile.heard.entry(id).or_insert((0, 0));
            *held = (held.0.max(entry), held.1.max(version));
        }
        return Vec::new();
    }
    if review.outdated_by(&seen) { Review::outdated(model) } else { Vec::new() }
}
